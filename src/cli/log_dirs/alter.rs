//! `--alter`: one replica moves to another directory of its broker. The move goes on behind;
//! `--describe` shows it as a future log until it is done.

use std::process::ExitCode;

use anyhow::{Context, anyhow, bail};

use crate::cli::client::{ClientFailure, Cluster};
use crate::protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use crate::types::NodeId;

/// Asks `broker` to move its replica of `place` to the directory `to`.
pub(super) async fn run(
    cluster: &Cluster,
    broker: NodeId,
    place: &str,
    to: &str,
) -> anyhow::Result<ExitCode> {
    let (topic, partition) = parse(place)?;
    let brokers = cluster.live_brokers().await?;
    if !brokers.contains_key(&broker) {
        bail!("broker {broker} is not there; those in service are {}", ids(brokers.keys()));
    }
    let topics = vec![AlterReplicaLogDirTopic { name: topic.into(), partitions: vec![partition] }];
    let request =
        AlterReplicaLogDirsRequest { dirs: vec![AlterReplicaLogDir { path: to.into(), topics }] };
    let response = cluster.broker(broker).await?.call(&request).await?;
    let partitions = response.results.iter().flat_map(|topic| &topic.partitions);
    let result = partitions.last().ok_or_else(|| anyhow!("the broker answered nothing"))?;
    ClientFailure::check(result.error_code, None)
        .with_context(|| format!("{place} cannot be moved to {to} on broker {broker}"))?;
    println!("Successfully started moving {place} to {to} on broker {broker}");
    Ok(ExitCode::SUCCESS)
}

/// `orders-3`: the partition follows the last dash, as in the names of logs.
fn parse(place: &str) -> anyhow::Result<(&str, i32)> {
    let parsed = place.rsplit_once('-').and_then(|(topic, partition)| {
        let partition = partition.parse().ok().filter(|partition| *partition >= 0)?;
        (!topic.is_empty()).then_some((topic, partition))
    });
    parsed.ok_or_else(|| anyhow!("'{place}' is no TOPIC-PARTITION, as in orders-3"))
}

fn ids<'a>(nodes: impl Iterator<Item = &'a NodeId>) -> String {
    nodes.map(ToString::to_string).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_partition_follows_the_last_dash() {
        assert_eq!(parse("orders-3").unwrap(), ("orders", 3));
        assert_eq!(parse("a-b-12").unwrap(), ("a-b", 12));
        for wrong in ["orders", "orders-", "-3", "orders-x", "orders--", ""] {
            assert!(parse(wrong).is_err(), "{wrong}");
        }
    }
}
