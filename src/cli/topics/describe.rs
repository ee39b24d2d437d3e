//! `topics --describe`: the lines that Kafka 4 prints, tabs and all.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::io::{self, Write};

use crate::cli::client::description::{ConfigEntry, PartitionDescription, TopicDescription};
use crate::types::{NodeId, TopicId};

/// Which partitions and topics to show.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Selection {
    pub(super) under_replicated: bool,
    pub(super) unavailable: bool,
    pub(super) under_min_isr: bool,
    pub(super) at_min_isr: bool,
    pub(super) with_overrides: bool,
}

impl Selection {
    /// Asking for troubled partitions leaves the topics' own lines out.
    fn shows_topics(self) -> bool {
        !(self.under_replicated || self.unavailable || self.under_min_isr || self.at_min_isr)
    }

    fn shows(
        self,
        partition: &PartitionDescription,
        min_isr: usize,
        live: &BTreeSet<NodeId>,
    ) -> bool {
        let isr = partition.isr.len();
        self.shows_topics()
            || (self.under_replicated && isr < partition.replicas.len())
            || (self.unavailable && !partition.leader.is_some_and(|leader| live.contains(&leader)))
            || (self.under_min_isr && (partition.leader.is_none() || isr < min_isr))
            || (self.at_min_isr && isr == min_isr)
    }
}

/// Prints one topic.
pub(super) fn print_topic(
    out: &mut impl Write,
    topic: &TopicDescription,
    configs: &[ConfigEntry],
    live: &BTreeSet<NodeId>,
    selection: Selection,
) -> io::Result<()> {
    let set: Vec<&ConfigEntry> = configs.iter().filter(|entry| !entry.is_default).collect();
    if selection.shows_topics() && (!selection.with_overrides || !set.is_empty()) {
        print_topic_line(out, topic, &set)?;
    }
    if selection.with_overrides {
        return Ok(());
    }
    let min_isr = configs
        .iter()
        .find(|entry| entry.name == "min.insync.replicas")
        .and_then(|entry| entry.value.as_deref()?.parse().ok())
        .unwrap_or(1);
    for partition in &topic.partitions {
        if selection.shows(partition, min_isr, live) {
            print_partition_line(out, &topic.name, partition)?;
        }
    }
    Ok(())
}

fn print_topic_line(
    out: &mut impl Write,
    topic: &TopicDescription,
    set: &[&ConfigEntry],
) -> io::Result<()> {
    write!(out, "Topic: {}", topic.name)?;
    if topic.topic_id != TopicId::ZERO {
        write!(out, "\tTopicId: {}", topic.topic_id)?;
    }
    let replication_factor = topic.partitions.first().map_or(0, |first| first.replicas.len());
    let configs: Vec<String> = set
        .iter()
        .map(|entry| format!("{}={}", entry.name, entry.value.as_deref().unwrap_or("null")))
        .collect();
    writeln!(
        out,
        "\tPartitionCount: {}\tReplicationFactor: {replication_factor}\tConfigs: {}",
        topic.partitions.len(),
        configs.join(",")
    )
}

fn print_partition_line(
    out: &mut impl Write,
    topic: &str,
    partition: &PartitionDescription,
) -> io::Result<()> {
    let leader = partition.leader.map_or_else(|| "none".to_owned(), |leader| leader.to_string());
    writeln!(
        out,
        "\tTopic: {topic}\tPartition: {}\tLeader: {leader}\tReplicas: {}\tIsr: {}\tElr: {}\tLastKnownElr: {}",
        partition.partition,
        join(&partition.replicas),
        join(&partition.isr),
        join_or_unknown(partition.elr.as_deref()),
        join_or_unknown(partition.last_known_elr.as_deref()),
    )
}

fn join(items: &[impl Display]) -> String {
    items.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn join_or_unknown(items: Option<&[NodeId]>) -> String {
    items.map_or_else(|| "N/A".to_owned(), join)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::types::{LeaderEpoch, PartitionId};

    fn nodes(ids: &[i32]) -> Vec<NodeId> {
        ids.iter().copied().map(NodeId).collect()
    }

    fn partition(index: i32, leader: i32, isr: &[i32]) -> PartitionDescription {
        PartitionDescription {
            partition: PartitionId(index),
            leader: (leader >= 0).then_some(NodeId(leader)),
            leader_epoch: LeaderEpoch(0),
            replicas: nodes(&[1, 2, 3]),
            isr: nodes(isr),
            elr: Some(Vec::new()),
            last_known_elr: Some(Vec::new()),
        }
    }

    fn orders() -> TopicDescription {
        TopicDescription {
            name: "orders".to_owned(),
            topic_id: "L2n0nNHlRmyHgTdAJGc8eg".parse().unwrap(),
            partitions: vec![
                partition(0, 1, &[1, 2, 3]),
                partition(1, 2, &[2, 3]),
                partition(2, -1, &[3]),
            ],
        }
    }

    fn configs() -> Vec<ConfigEntry> {
        let entry = |name: &str, value: &str, is_default| ConfigEntry {
            name: name.to_owned(),
            value: Some(value.to_owned()),
            is_default,
        };
        vec![
            entry("cleanup.policy", "delete", true),
            entry("min.insync.replicas", "2", false),
            entry("segment.bytes", "1048576", false),
        ]
    }

    fn printed(topic: &TopicDescription, configs: &[ConfigEntry], selection: Selection) -> String {
        let mut out = Vec::new();
        let live = nodes(&[1, 2, 3]).into_iter().collect();
        print_topic(&mut out, topic, configs, &live, selection).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn the_lines_are_those_of_kafka_topics_4() {
        assert_eq!(
            printed(&orders(), &configs(), Selection::default()),
            "Topic: orders\tTopicId: L2n0nNHlRmyHgTdAJGc8eg\tPartitionCount: 3\tReplicationFactor: 3\tConfigs: min.insync.replicas=2,segment.bytes=1048576\n\
             \tTopic: orders\tPartition: 0\tLeader: 1\tReplicas: 1,2,3\tIsr: 1,2,3\tElr: \tLastKnownElr: \n\
             \tTopic: orders\tPartition: 1\tLeader: 2\tReplicas: 1,2,3\tIsr: 2,3\tElr: \tLastKnownElr: \n\
             \tTopic: orders\tPartition: 2\tLeader: none\tReplicas: 1,2,3\tIsr: 3\tElr: \tLastKnownElr: \n"
        );
    }

    #[test]
    fn a_broker_that_knows_no_elr_is_shown_so() {
        let mut topic = orders();
        topic.partitions.truncate(1);
        topic.partitions[0].elr = None;
        topic.partitions[0].last_known_elr = None;
        let text = printed(&topic, &[], Selection::default());
        assert!(text.ends_with("\tElr: N/A\tLastKnownElr: N/A\n"), "{text}");
    }

    #[test]
    fn troubled_partitions_are_shown_without_their_topic() {
        let all = Selection::default();
        for (selection, shown) in [
            (Selection { under_replicated: true, ..all }, vec![1, 2]),
            (Selection { unavailable: true, ..all }, vec![2]),
            (Selection { under_min_isr: true, ..all }, vec![2]),
            (Selection { at_min_isr: true, ..all }, vec![1]),
            (Selection { at_min_isr: true, unavailable: true, ..all }, vec![1, 2]),
        ] {
            let text = printed(&orders(), &configs(), selection);
            assert!(!text.contains("PartitionCount"), "{selection:?}");
            let partitions: Vec<i32> = text
                .lines()
                .map(|line| {
                    line.split('\t').nth(2).unwrap()["Partition: ".len()..].parse().unwrap()
                })
                .collect();
            assert_eq!(partitions, shown, "{selection:?}");
        }
    }

    #[test]
    fn topics_without_overrides_are_left_out_where_that_is_asked() {
        let selection = Selection { with_overrides: true, ..Selection::default() };
        assert_eq!(printed(&orders(), &configs(), selection).lines().count(), 1);
        assert_eq!(printed(&orders(), &configs()[..1], selection), "");
    }
}
