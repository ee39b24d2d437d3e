//! The uniform assignor when members subscribe to different topics: everybody keeps what it had,
//! what is free goes to the subscriber with the least, and then partitions move one by one as long
//! as a move makes two members more alike.

use std::collections::BTreeMap;

use crate::coordinator::group::assignor::{Partitions, Subscriptions, Topic};
use crate::types::{PartitionId, TopicId, TopicIdPartition};

/// The new assignment of each member.
pub(super) fn assign(subscriptions: &Subscriptions) -> Vec<Partitions> {
    let mut sharing = Sharing::new(subscriptions);
    sharing.keep();
    sharing.hand_out();
    sharing.balance();
    sharing.finish()
}

struct Sharing<'a> {
    subscriptions: &'a Subscriptions,
    /// The subscribers of each topic, topics with few of them first.
    topics: Vec<(TopicId, &'a Topic, Vec<usize>)>,
    /// Who has each partition of each topic.
    owners: BTreeMap<TopicId, Vec<Option<usize>>>,
    /// How many partitions each member has.
    loads: Vec<usize>,
}

impl<'a> Sharing<'a> {
    fn new(subscriptions: &'a Subscriptions) -> Self {
        let mut subscribers: BTreeMap<TopicId, Vec<usize>> = BTreeMap::new();
        for (index, member) in subscriptions.members.iter().enumerate() {
            for topic in member.topics.iter() {
                subscribers.entry(*topic).or_default().push(index);
            }
        }
        let known = subscribers.into_iter().filter_map(|(id, members)| {
            subscriptions.topics.get(&id).map(|topic| (id, topic, members))
        });
        let mut topics: Vec<_> = known.collect();
        topics.sort_by_key(|(id, _, members)| (members.len(), *id));
        let empty = |topic: &Topic| vec![None; usize::try_from(topic.partitions).unwrap_or(0)];
        let owners = topics.iter().map(|(id, topic, _)| (*id, empty(topic))).collect();
        Self { subscriptions, topics, owners, loads: vec![0; subscriptions.members.len()] }
    }

    fn keep(&mut self) {
        for member in 0..self.subscriptions.members.len() {
            for one in self.subscriptions.kept(member).iter() {
                let index = usize::try_from(one.partition.0).unwrap_or(usize::MAX);
                let owners = self.owners.get_mut(&one.topic_id);
                if let Some(owner @ None) = owners.and_then(|owners| owners.get_mut(index)) {
                    *owner = Some(member);
                    self.loads[member] += 1;
                }
            }
        }
    }

    /// Gives each free partition to the subscriber with the least; among those to one that is near.
    fn hand_out(&mut self) {
        for (id, topic, members) in &self.topics {
            let Some(owners) = self.owners.get_mut(id) else { continue };
            for (partition, owner) in (0..).zip(owners.iter_mut()) {
                if owner.is_some() {
                    continue;
                }
                let least = members.iter().min_by_key(|member| {
                    let rack = self.subscriptions.members[**member].rack.as_deref();
                    (self.loads[**member], !topic.is_in_rack(partition, rack))
                });
                if let Some(least) = least {
                    *owner = Some(*least);
                    self.loads[*least] += 1;
                }
            }
        }
    }

    /// Each move brings two members' loads nearer, so the sum of their squares falls: it ends.
    fn balance(&mut self) {
        let mut settled = false;
        while !settled {
            settled = true;
            for at in 0..self.topics.len() {
                while self.level(at) {
                    settled = false;
                }
            }
        }
    }

    /// Moves one partition of a topic from its owner with the most to its subscriber with the
    /// least, if that has at least two fewer.
    fn level(&mut self, at: usize) -> bool {
        let (id, topic, members) = &self.topics[at];
        let Some(least) = members.iter().copied().min_by_key(|member| self.loads[*member]) else {
            return false;
        };
        let Some(owners) = self.owners.get_mut(id) else { return false };
        let rack = |member: usize| self.subscriptions.members[member].rack.as_deref();
        let owned = (0i32..).zip(owners.iter_mut());
        let owned =
            owned.filter_map(|(partition, owner)| owner.as_mut().map(|owner| (partition, owner)));
        let most = owned.max_by_key(|(partition, owner)| {
            let gain = topic.is_in_rack(*partition, rack(least));
            let loss = topic.is_in_rack(*partition, rack(**owner));
            (self.loads[**owner], gain, !loss)
        });
        match most {
            Some((_, owner)) if self.loads[*owner] > self.loads[least] + 1 => {
                self.loads[*owner] -= 1;
                self.loads[least] += 1;
                *owner = least;
                true
            }
            _ => false,
        }
    }

    fn finish(self) -> Vec<Partitions> {
        let mut all: Vec<Vec<TopicIdPartition>> = vec![Vec::new(); self.loads.len()];
        for (topic_id, owners) in self.owners {
            for (partition, owner) in (0..).zip(owners) {
                if let Some(owner) = owner {
                    all[owner]
                        .push(TopicIdPartition { topic_id, partition: PartitionId(partition) });
                }
            }
        }
        all.into_iter().map(|partitions| partitions.into_iter().collect()).collect()
    }
}
