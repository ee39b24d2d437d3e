//! Which partitions `--topic` means: `orders` all, `orders:0,2` two.

use std::collections::BTreeSet;

use crate::cli::client::Cluster;
use crate::types::{PartitionId, TopicName, TopicPartition};

/// One value of `--topic`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::consumer_groups) struct TopicArg {
    /// The topic.
    pub(in crate::cli::consumer_groups) topic: TopicName,
    /// Its partitions; `None` for all.
    pub(in crate::cli::consumer_groups) partitions: Option<Vec<PartitionId>>,
}

/// Reads one value.
pub(in crate::cli::consumer_groups) fn parse(text: &str) -> Result<TopicArg, String> {
    let Some((topic, partitions)) = text.split_once(':') else {
        return Ok(TopicArg { topic: TopicName::new(text), partitions: None });
    };
    if topic.is_empty() || partitions.is_empty() || partitions.contains(':') {
        return Err(format!("Invalid topic arg '{text}', expected topic name and partitions"));
    }
    let partition =
        |number: &str| {
            number.trim().parse().map(PartitionId).map_err(|_| {
                format!("Invalid partition '{number}' specified in topic arg '{text}'")
            })
        };
    let partitions = partitions.split(',').map(partition).collect::<Result<_, _>>()?;
    Ok(TopicArg { topic: TopicName::new(topic), partitions: Some(partitions) })
}

/// The partitions that all values together mean.
pub(in crate::cli::consumer_groups) async fn partitions(
    cluster: &Cluster,
    topics: &[String],
) -> anyhow::Result<BTreeSet<TopicPartition>> {
    let mut all = BTreeSet::new();
    for text in topics {
        let TopicArg { topic, partitions } = parse(text).map_err(anyhow::Error::msg)?;
        let partitions = match partitions {
            Some(partitions) => partitions,
            None => cluster.topic(&topic, false).await?.partitions.into_keys().collect(),
        };
        all.extend(
            partitions
                .into_iter()
                .map(|partition| TopicPartition { topic: topic.clone(), partition }),
        );
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_topic_may_name_partitions() {
        for (text, expected) in [
            ("orders", Ok(None)),
            ("orders:0", Ok(Some(vec![0]))),
            ("orders:2,0, 1", Ok(Some(vec![2, 0, 1]))),
            ("orders:", Err("expected topic name and partitions")),
            (":0", Err("expected topic name and partitions")),
            ("orders:0:1", Err("expected topic name and partitions")),
            ("orders:0,x", Err("Invalid partition 'x'")),
            ("orders:0,", Err("Invalid partition ''")),
        ] {
            match (parse(text), expected) {
                (Ok(arg), Ok(expected)) => {
                    assert_eq!(arg.topic.as_str(), "orders");
                    let indexes = arg.partitions.map(|all| all.iter().map(|p| p.0).collect());
                    assert_eq!(indexes, expected, "{text}");
                }
                (Err(said), Err(expected)) => assert!(said.contains(expected), "{said}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }
}
