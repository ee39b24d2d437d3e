//! What lies between two assignments.

use std::collections::BTreeMap;

use crate::coordinator::group::assignor::Partitions;
use crate::coordinator::group::ids::MemberId;
use crate::coordinator::group::rebalance::Moved;
use crate::types::{TopicId, TopicIdPartition, TopicName, TopicPartition};

/// The partitions whose owner in `new` is another than in `old`, in the order of their topics' ids;
/// without those whose topic `name` does not know any more.
pub(in crate::coordinator::group) fn moved<'a>(
    old: impl Iterator<Item = (&'a MemberId, &'a Partitions)>,
    new: impl Iterator<Item = (&'a MemberId, &'a Partitions)>,
    name: impl Fn(TopicId) -> Option<TopicName>,
) -> Vec<Moved> {
    let mut owners: BTreeMap<TopicIdPartition, (Option<&MemberId>, Option<&MemberId>)> =
        BTreeMap::new();
    for (member, partitions) in old {
        for partition in partitions.iter() {
            owners.entry(partition).or_default().0 = Some(member);
        }
    }
    for (member, partitions) in new {
        for partition in partitions.iter() {
            owners.entry(partition).or_default().1 = Some(member);
        }
    }
    let changed = owners.into_iter().filter(|(_, (from, to))| from != to);
    changed
        .filter_map(|(partition, (from, to))| {
            let topic = name(partition.topic_id)?;
            Some(Moved {
                partition: TopicPartition { topic, partition: partition.partition },
                from: from.cloned(),
                to: to.cloned(),
            })
        })
        .collect()
}
