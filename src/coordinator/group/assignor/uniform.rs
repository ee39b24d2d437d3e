//! The uniform assignor when all members subscribe to the same topics: sizes differ by one at most,
//! no more partitions move than that takes, and among the moves a replica's rack decides.

use std::collections::BTreeMap;

use crate::coordinator::group::assignor::{Partitions, Subscriptions};
use crate::types::{PartitionId, TopicIdPartition};

/// The new assignment of each member.
pub(super) fn assign(subscriptions: &Subscriptions) -> Vec<Partitions> {
    let Some(first) = subscriptions.members.first() else {
        return Vec::new();
    };
    let mut kept: Vec<Vec<TopicIdPartition>> = (0..subscriptions.members.len())
        .map(|member| subscriptions.kept(member).iter().collect())
        .collect();
    let mut free: BTreeMap<TopicIdPartition, ()> = BTreeMap::new();
    for topic_id in first.topics.iter() {
        let count = subscriptions.topics.get(topic_id).map_or(0, |topic| topic.partitions);
        free.extend((0..count).map(|index| {
            (TopicIdPartition { topic_id: *topic_id, partition: PartitionId(index) }, ())
        }));
    }
    let total = free.len();
    claim_once(&mut kept, &mut free);
    let quotas = quotas(&kept, total);
    let mut free: Vec<TopicIdPartition> = free.into_keys().collect();
    for (member, quota) in quotas.iter().enumerate() {
        free.extend(give_up(subscriptions, member, &mut kept[member], *quota));
    }
    free.sort_unstable();
    hand_out(subscriptions, &mut kept, &quotas, free);
    kept.into_iter().map(|partitions| partitions.into_iter().collect()).collect()
}

/// Takes what is kept out of what is free. A partition that two members had (no log of ours says
/// so) stays with the first.
fn claim_once(kept: &mut [Vec<TopicIdPartition>], free: &mut BTreeMap<TopicIdPartition, ()>) {
    for partitions in kept {
        partitions.retain(|partition| free.remove(partition).is_some());
    }
}

/// How many each member gets. The odd ones go to who has most: that moves least.
fn quotas(kept: &[Vec<TopicIdPartition>], total: usize) -> Vec<usize> {
    let (each, odd) = (total / kept.len(), total % kept.len());
    let mut by_size: Vec<usize> = (0..kept.len()).collect();
    by_size.sort_by_key(|member| std::cmp::Reverse(kept[*member].len()));
    let mut quotas = vec![each; kept.len()];
    for member in by_size.into_iter().take(odd) {
        quotas[member] += 1;
    }
    quotas
}

/// Takes from a member what it has too much: first what is far from it, then the highest.
fn give_up(
    subscriptions: &Subscriptions,
    member: usize,
    kept: &mut Vec<TopicIdPartition>,
    quota: usize,
) -> Vec<TopicIdPartition> {
    if kept.len() <= quota {
        return Vec::new();
    }
    let rack = subscriptions.members[member].rack.as_deref();
    kept.sort_by_key(|one| {
        let topic = subscriptions.topics.get(&one.topic_id);
        let near = topic.is_some_and(|topic| topic.is_in_rack(one.partition.0, rack));
        (!near, one.partition, one.topic_id)
    });
    kept.split_off(quota)
}

/// Gives what is free to who has room: first to members in a replica's rack, the partitions with
/// the fewest such members before the others.
fn hand_out(
    subscriptions: &Subscriptions,
    kept: &mut [Vec<TopicIdPartition>],
    quotas: &[usize],
    free: Vec<TopicIdPartition>,
) {
    let mut rest = hand_out_near(subscriptions, kept, quotas, free).into_iter();
    for (partitions, quota) in kept.iter_mut().zip(quotas) {
        let room = quota.saturating_sub(partitions.len());
        partitions.extend(rest.by_ref().take(room));
    }
}

fn hand_out_near(
    subscriptions: &Subscriptions,
    kept: &mut [Vec<TopicIdPartition>],
    quotas: &[usize],
    free: Vec<TopicIdPartition>,
) -> Vec<TopicIdPartition> {
    if subscriptions.members.iter().all(|member| member.rack.is_none()) {
        return free;
    }
    let near = |one: &TopicIdPartition, member: usize| {
        let topic = subscriptions.topics.get(&one.topic_id);
        let rack = subscriptions.members[member].rack.as_deref();
        topic.is_some_and(|topic| topic.is_in_rack(one.partition.0, rack))
    };
    let has_room =
        |kept: &[Vec<TopicIdPartition>], member: &usize| kept[*member].len() < quotas[*member];
    let roomy: Vec<usize> = (0..kept.len()).filter(|member| has_room(kept, member)).collect();
    let mut wanted: Vec<(usize, TopicIdPartition)> = free
        .into_iter()
        .map(|one| (roomy.iter().filter(|member| near(&one, **member)).count(), one))
        .collect();
    wanted.sort_by_key(|(choices, one)| (*choices, *one));
    let mut rest = Vec::new();
    for (_, one) in wanted {
        let candidates =
            roomy.iter().filter(|member| has_room(kept, member) && near(&one, **member));
        match candidates.max_by_key(|member| quotas[**member] - kept[**member].len()) {
            Some(member) => kept[*member].push(one),
            None => rest.push(one),
        }
    }
    rest.sort_unstable();
    rest
}
