//! The range assignor: of each topic every subscriber gets as many partitions as any other, one
//! after the other as far as what they had before allows; topics alike are shared out alike, so
//! that their partitions can be joined.

use crate::coordinator::group::assignor::{Partitions, Subscriptions};
use crate::types::{PartitionId, TopicId, TopicIdPartition};

/// The new assignment of each member.
pub(super) fn assign(subscriptions: &Subscriptions) -> Vec<Partitions> {
    let mut all: Vec<Vec<TopicIdPartition>> = vec![Vec::new(); subscriptions.members.len()];
    let kept: Vec<Partitions> =
        (0..subscriptions.members.len()).map(|member| subscriptions.kept(member)).collect();
    for (topic_id, topic) in &subscriptions.topics {
        let of_topic =
            |partition| TopicIdPartition { topic_id: *topic_id, partition: PartitionId(partition) };
        for (member, partitions) in share(subscriptions, &kept, *topic_id, topic.partitions) {
            all[member].extend(partitions.into_iter().map(of_topic));
        }
    }
    all.into_iter().map(|partitions| partitions.into_iter().collect()).collect()
}

/// Shares one topic out: who has more than its part gives up its highest partitions, who has less
/// gets the lowest free ones.
fn share(
    subscriptions: &Subscriptions,
    kept: &[Partitions],
    topic: TopicId,
    count: i32,
) -> Vec<(usize, Vec<i32>)> {
    let subscribers = subscriptions.members.iter().enumerate();
    let subscribers: Vec<usize> = subscribers
        .filter(|(_, member)| member.topics.binary_search(&topic).is_ok())
        .map(|(index, _)| index)
        .collect();
    let count = usize::try_from(count).unwrap_or(0);
    if subscribers.is_empty() {
        return Vec::new();
    }
    let (each, mut odd) = (count / subscribers.len(), count % subscribers.len());
    let mut taken = vec![false; count];
    let mut shares: Vec<(usize, usize, Vec<i32>)> = Vec::with_capacity(subscribers.len());
    for member in subscribers {
        let had = kept[member].of_topic(topic).iter().copied();
        let mut had: Vec<i32> = had.filter(|partition| !is_taken(&taken, *partition)).collect();
        let quota = if had.len() > each && odd > 0 {
            odd -= 1;
            each + 1
        } else {
            each
        };
        had.truncate(quota);
        for partition in &had {
            take(&mut taken, *partition);
        }
        shares.push((member, quota, had));
    }
    let free: Vec<i32> =
        (0i32..).zip(&taken).filter(|(_, taken)| !**taken).map(|(at, _)| at).collect();
    let mut free = free.into_iter();
    let filled = shares.into_iter().map(|(member, mut quota, mut partitions)| {
        if quota == each && odd > 0 {
            odd -= 1;
            quota += 1;
        }
        let room = quota.saturating_sub(partitions.len());
        partitions.extend(free.by_ref().take(room));
        (member, partitions)
    });
    filled.collect()
}

fn is_taken(taken: &[bool], partition: i32) -> bool {
    usize::try_from(partition).ok().and_then(|at| taken.get(at)).copied().unwrap_or(true)
}

fn take(taken: &mut [bool], partition: i32) {
    if let Some(slot) = usize::try_from(partition).ok().and_then(|at| taken.get_mut(at)) {
        *slot = true;
    }
}
