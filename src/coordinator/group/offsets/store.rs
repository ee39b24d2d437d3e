//! What is committed.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use crate::coordinator::group::ids::GroupId;
use crate::coordinator::group::stored::OffsetCommitValue;
use crate::types::{
    LeaderEpoch, Offset, PartitionId, TimestampMs, TopicId, TopicName, TopicPartition,
};

/// One committed offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::coordinator::group) struct Committed {
    /// The next offset to be read.
    pub offset: Offset,
    /// Of the last record read.
    pub leader_epoch: LeaderEpoch,
    /// What the client wrote beside it.
    pub metadata: Box<str>,
    /// When it was committed.
    pub committed_at: TimestampMs,
    /// When it expires whatever the broker's retention is; none: not said.
    pub expires_at: TimestampMs,
    /// The topic's id at that time; zero: not known.
    pub topic_id: TopicId,
}

impl From<&OffsetCommitValue> for Committed {
    fn from(value: &OffsetCommitValue) -> Self {
        Self {
            offset: Offset(value.offset),
            leader_epoch: LeaderEpoch(value.leader_epoch),
            metadata: Box::from(value.metadata.as_str()),
            committed_at: TimestampMs(value.commit_timestamp),
            expires_at: TimestampMs(value.expire_timestamp),
            topic_id: TopicId(value.topic_id),
        }
    }
}

/// All committed offsets of one partition of `__consumer_offsets`.
///
/// Nothing here is a slice of a request or of the log, and names that are equal are one. A group with
/// ten offsets takes 1.2 KB (its ten entries fill one node of a B-tree), to which metadata adds its
/// length.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::coordinator::group) struct Offsets {
    groups: BTreeMap<GroupId, BTreeMap<TopicPartition, Committed>>,
    /// Which groups have offsets of a topic.
    topics: BTreeSet<(TopicName, GroupId)>,
}

impl Offsets {
    /// Folds a record in.
    pub fn apply(
        &mut self,
        group: &GroupId,
        partition: &TopicPartition,
        value: Option<&OffsetCommitValue>,
    ) {
        match value {
            Some(value) => self.put(group, partition, Committed::from(value)),
            None => self.remove(group, partition),
        }
    }

    fn put(&mut self, group: &GroupId, partition: &TopicPartition, committed: Committed) {
        let offsets = self.groups.get_mut(group);
        if let Some(known) = offsets.and_then(|offsets| offsets.get_mut(partition)) {
            *known = committed;
            return;
        }
        let group = self.groups.get_key_value(group).map_or(group, |(known, _)| known).clone();
        let topic = self.topic(&partition.topic);
        let key = TopicPartition { topic: topic.clone(), partition: partition.partition };
        self.groups.entry(group.clone()).or_default().insert(key, committed);
        self.topics.insert((topic, group));
    }

    /// The name that is kept already, if it is.
    fn topic(&self, name: &TopicName) -> TopicName {
        let known = self.topics.range((name.clone(), first_group())..).next();
        known.filter(|(known, _)| known == name).map_or(name, |(known, _)| known).clone()
    }

    fn remove(&mut self, group: &GroupId, partition: &TopicPartition) {
        let Some(offsets) = self.groups.get_mut(group) else { return };
        offsets.remove(partition);
        if offsets.is_empty() {
            self.groups.remove(group);
        }
        if self.of_topic(group, &partition.topic).next().is_none() {
            self.topics.remove(&(partition.topic.clone(), group.clone()));
        }
    }

    /// What `group` has committed for `partition`.
    pub fn get(&self, group: &str, partition: &TopicPartition) -> Option<&Committed> {
        self.groups.get(group)?.get(partition)
    }

    /// What `group` has committed, in the order of topics and partitions.
    pub fn of(&self, group: &str) -> impl Iterator<Item = (&TopicPartition, &Committed)> {
        self.groups.get(group).into_iter().flatten()
    }

    /// What `group` has committed for partitions of `topic`.
    pub fn of_topic<'a>(
        &'a self,
        group: &str,
        topic: &'a TopicName,
    ) -> impl Iterator<Item = (&'a TopicPartition, &'a Committed)> {
        let first = TopicPartition { topic: topic.clone(), partition: PartitionId(i32::MIN) };
        let offsets = self.groups.get(group).map(|offsets| offsets.range(first..));
        offsets.into_iter().flatten().take_while(move |(key, _)| key.topic == *topic)
    }

    /// The groups that have committed offsets of `topic`.
    pub fn groups_of<'a>(&'a self, topic: &'a TopicName) -> impl Iterator<Item = &'a GroupId> {
        let first = Bound::Included((topic.clone(), first_group()));
        let all = self.topics.range((first, Bound::Unbounded));
        all.take_while(move |(name, _)| name == topic).map(|(_, group)| group)
    }

    /// Everything, by group, topic and partition.
    pub fn all(&self) -> impl Iterator<Item = (&GroupId, &TopicPartition, &Committed)> {
        self.groups.iter().flat_map(|(group, offsets)| {
            offsets.iter().map(move |(partition, committed)| (group, partition, committed))
        })
    }
}

fn first_group() -> GroupId {
    GroupId::from("")
}
