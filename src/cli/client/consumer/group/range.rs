//! The range assignor: of each topic, every member gets a run of neighbouring partitions; where
//! they cannot be shared out evenly the first members get one more. All clients know it by this
//! name, so that they can be members of one group.

use std::collections::{BTreeMap, BTreeSet};

use crate::types::{TopicName, TopicPartition};

/// Its name in JoinGroup.
pub(super) const RANGE: &str = "range";

/// A member as the leader sees it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Subscriber {
    /// Its id.
    pub(super) member_id: String,
    /// Its `group.instance.id`, if it is a static one.
    pub(super) instance_id: Option<String>,
    /// What it wants to read.
    pub(super) topics: BTreeSet<TopicName>,
}

/// Each member's partitions. Static members come first, by their instance ids, so that one that
/// comes back gets what it had; then the others by their member ids.
pub(super) fn assign(
    members: &[Subscriber],
    partition_counts: &BTreeMap<TopicName, usize>,
) -> BTreeMap<String, BTreeSet<TopicPartition>> {
    let mut ordered: Vec<&Subscriber> = members.iter().collect();
    ordered.sort_by_key(|member| {
        (member.instance_id.is_none(), &member.instance_id, &member.member_id)
    });
    let mut assignment: BTreeMap<String, BTreeSet<TopicPartition>> =
        members.iter().map(|member| (member.member_id.clone(), BTreeSet::new())).collect();
    for (topic, &count) in partition_counts {
        let readers: Vec<&&Subscriber> =
            ordered.iter().filter(|member| member.topics.contains(topic)).collect();
        let Some(each) = count.checked_div(readers.len()) else { continue };
        let with_one_more = count % readers.len();
        let mut partitions = 0..;
        for (index, reader) in readers.iter().enumerate() {
            let share = each + usize::from(index < with_one_more);
            let own = partitions.by_ref().take(share);
            let own = own.map(|partition| TopicPartition::new(topic.as_str(), partition));
            assignment.entry(reader.member_id.clone()).or_default().extend(own);
        }
    }
    assignment
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn member(text: &str) -> Subscriber {
        let (id, topics) = text.split_once(':').unwrap();
        let (instance_id, id) = match id.split_once('/') {
            Some((instance, id)) => (Some(instance.to_owned()), id),
            None => (None, id),
        };
        let topics = topics.split(',').filter(|topic| !topic.is_empty()).map(TopicName::new);
        Subscriber { member_id: id.to_owned(), instance_id, topics: topics.collect() }
    }

    fn told(assignment: &BTreeMap<String, BTreeSet<TopicPartition>>) -> String {
        let members: Vec<String> = assignment
            .iter()
            .map(|(member, own)| {
                let own: Vec<String> = own.iter().map(ToString::to_string).collect();
                format!("{member}:{}", own.join(","))
            })
            .collect();
        members.join(" ")
    }

    #[test]
    fn partitions_go_to_members_in_runs() {
        for (members, topics, expected) in [
            ("", "t3", ""),
            ("a:t", "", "a:"),
            ("a:t", "t3", "a:t-0,t-1,t-2"),
            ("a:t b:t", "t3", "a:t-0,t-1 b:t-2"),
            ("b:t a:t", "t2", "a:t-0 b:t-1"),
            ("a:t b:t c:t", "t2", "a:t-0 b:t-1 c:"),
            ("a:t b:t c:t", "t7", "a:t-0,t-1,t-2 b:t-3,t-4 c:t-5,t-6"),
            // Each topic begins anew with the first member.
            ("a:t,u b:t,u", "t1 u1", "a:t-0,u-0 b:"),
            ("a:t b:t,u", "t2 u2", "a:t-0 b:t-1,u-0,u-1"),
            ("a:t b:", "t2", "a:t-0,t-1 b:"),
            ("a:gone", "t2", "a:"),
            // A static member keeps its place whatever its member id is.
            ("a:t i/z:t", "t3", "a:t-2 z:t-0,t-1"),
            ("j/a:t i/z:t", "t2", "a:t-1 z:t-0"),
        ] {
            let members: Vec<Subscriber> = members.split_whitespace().map(member).collect();
            let counts = topics
                .split_whitespace()
                .map(|topic| (TopicName::new(&topic[..1]), topic[1..].parse().unwrap()))
                .collect();
            assert_eq!(told(&assign(&members, &counts)), expected, "{members:?}");
        }
    }

    #[test]
    fn every_partition_has_one_reader_and_shares_differ_by_one() {
        for count in 0..20 {
            for readers in 1..8 {
                let members: Vec<Subscriber> =
                    (0..readers).map(|index| member(&format!("m{index}:t"))).collect();
                let counts = BTreeMap::from([(TopicName::new("t"), count)]);
                let shares: Vec<BTreeSet<TopicPartition>> =
                    assign(&members, &counts).into_values().collect();
                let all: BTreeSet<&TopicPartition> = shares.iter().flatten().collect();
                let sizes: Vec<usize> = shares.iter().map(BTreeSet::len).collect();
                assert_eq!((all.len(), sizes.iter().sum::<usize>()), (count, count));
                assert!(sizes.iter().max().unwrap() - sizes.iter().min().unwrap() <= 1);
            }
        }
    }
}
