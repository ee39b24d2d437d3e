//! Data directories of brokers: those that fail, and in which of them replicas lie (KIP-858).

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::controller::machine::draft::{Draft, cause_of, leave_isr, leave_isrs};
use crate::controller::machine::fencing::current;
use crate::controller::machine::{AssignedDirectory, Decision, Reply, Situation};
use crate::metadata::{BrokerRegistration, Cause, Image, MetadataRecord, Partition, Topic};
use crate::types::{BrokerEpoch, DirectoryId, NodeId};

/// How many replicas lie in each data directory, counted when that is first asked for.
#[derive(Debug)]
pub(super) struct DirectoryLoads<'a> {
    image: &'a Image,
    counts: Option<BTreeMap<DirectoryId, usize>>,
}

impl<'a> DirectoryLoads<'a> {
    /// The replicas of `image`.
    pub(super) fn of(image: &'a Image) -> Self {
        Self { image, counts: None }
    }

    /// The directory for a new replica: the one with fewest, of equals the first. None if there is
    /// no directory.
    pub(super) fn place(&mut self, online: &[DirectoryId]) -> Option<DirectoryId> {
        let (first, others) = online.split_first()?;
        if others.is_empty() {
            return Some(*first);
        }
        let counts = self.counts.get_or_insert_with(|| count(self.image));
        let load = |directory: &DirectoryId| counts.get(directory).copied().unwrap_or(0);
        let chosen = online.iter().copied().min_by_key(load)?;
        *counts.entry(chosen).or_default() += 1;
        Some(chosen)
    }

    /// The directory for a new replica on `node`.
    pub(super) fn place_on(&mut self, node: NodeId) -> DirectoryId {
        let image = self.image;
        let online = image.broker(node).map_or(&[][..], |broker| &broker.directories);
        self.place(online).unwrap_or_default()
    }
}

fn count(image: &Image) -> BTreeMap<DirectoryId, usize> {
    let mut counts = BTreeMap::new();
    for (_, _, partition) in image.partitions() {
        for directory in &partition.directories {
            *counts.entry(*directory).or_default() += 1;
        }
    }
    counts
}

/// The directories have failed: what lies in them leaves the ISRs and leads no more. Nobody knows
/// what of it is on the disk, so it is not eligible either. The registration comes last, so that an
/// entry in between never shows a leader in a directory that is offline.
pub(super) fn offline(
    situation: &Situation<'_>,
    node: NodeId,
    epoch: BrokerEpoch,
    directories: &[DirectoryId],
) -> Decision {
    let mut draft = Draft::default();
    let known = match current(situation, node, epoch) {
        Ok(known) => known,
        Err(refusal) => return draft.reply(refusal),
    };
    let mut left = BrokerRegistration { has_offline_directories: true, ..(**known).clone() };
    left.directories.retain(|directory| !directories.contains(directory));
    if left.directories == known.directories {
        return draft.reply(Reply::Done);
    }
    let cause = Cause::DirectoryOffline(node);
    let lies_there = |partition: &Partition| {
        partition.directory_of(node).is_some_and(|directory| directories.contains(&directory))
    };
    leave_isrs(situation, &mut draft, node, cause, &lies_there, &lies_there);
    draft.push(MetadataRecord::Broker { registration: Arc::new(left), cause });
    draft.reply(Reply::Done)
}

/// Takes down where replicas lie in truth. One that lies in a directory which is not online leaves
/// the ISR with it.
pub(super) fn assign(
    situation: &Situation<'_>,
    node: NodeId,
    epoch: BrokerEpoch,
    replicas: &[AssignedDirectory],
) -> Decision {
    let mut draft = Draft::default();
    let known = match current(situation, node, epoch) {
        Ok(known) => known,
        Err(refusal) => return draft.reply(refusal),
    };
    let latest: BTreeMap<_, _> =
        replicas.iter().map(|it| ((it.topic_id, it.partition), it.directory)).collect();
    for ((topic_id, index), directory) in latest {
        let Some(topic) = situation.image.topic_by_id(topic_id) else { continue };
        let Some(partition) = topic.partition(index) else { continue };
        if let Some((next, cause)) = moved(situation, known, topic, partition, directory) {
            draft.push_partition(topic, index, next, cause);
        }
    }
    draft.reply(Reply::Done)
}

fn moved(
    situation: &Situation<'_>,
    broker: &BrokerRegistration,
    topic: &Topic,
    partition: &Partition,
    directory: DirectoryId,
) -> Option<(Partition, Cause)> {
    let node = broker.node_id;
    let position = partition.replicas.iter().position(|replica| *replica == node)?;
    if partition.directories.get(position) == Some(&directory) {
        return None;
    }
    let cause = Cause::DirectoryAssigned(node);
    let left = if broker.has_directory(directory) {
        None
    } else {
        leave_isr(situation, topic, partition, node, true)
    };
    let cause = left.as_ref().map_or(cause, |outcome| cause_of(outcome, cause));
    let mut next = left.map_or_else(|| partition.clone(), |outcome| outcome.partition);
    *next.directories.get_mut(position)? = directory;
    next.partition_epoch = partition.partition_epoch.next();
    Some((next, cause))
}
