//! A set of partitions, as small as it can be kept.

use crate::coordinator::group::stored::StoredTopicPartitions;
use crate::types::{PartitionId, TopicId, TopicIdPartition};

/// Partitions by topic id, in order; no topic without partitions.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::coordinator::group) struct Partitions(Vec<(TopicId, Vec<i32>)>);

impl Partitions {
    /// The partitions of `topics`, in whatever order and however often they are named.
    pub fn of(topics: impl IntoIterator<Item = (TopicId, Vec<i32>)>) -> Self {
        let mut all: Vec<(TopicId, Vec<i32>)> = topics.into_iter().collect();
        all.sort_by_key(|(topic, _)| *topic);
        let mut merged: Vec<(TopicId, Vec<i32>)> = Vec::with_capacity(all.len());
        for (topic, partitions) in all {
            match merged.last_mut().filter(|(last, _)| *last == topic) {
                Some((_, known)) => known.extend(partitions),
                None => merged.push((topic, partitions)),
            }
        }
        for (_, partitions) in &mut merged {
            partitions.sort_unstable();
            partitions.dedup();
        }
        merged.retain(|(_, partitions)| !partitions.is_empty());
        Self(merged)
    }

    /// As they stand in a record.
    pub fn from_stored(stored: &[StoredTopicPartitions]) -> Self {
        Self::of(stored.iter().map(|topic| (TopicId(topic.topic_id), topic.partitions.clone())))
    }

    /// For a record.
    pub fn to_stored(&self) -> Vec<StoredTopicPartitions> {
        let topics = self.0.iter();
        topics
            .map(|(topic, partitions)| StoredTopicPartitions {
                topic_id: topic.0,
                partitions: partitions.clone(),
                assignment_epochs: None,
            })
            .collect()
    }

    /// The topics with their partitions.
    pub fn topics(&self) -> impl Iterator<Item = (TopicId, &[i32])> {
        self.0.iter().map(|(topic, partitions)| (*topic, partitions.as_slice()))
    }

    /// The partitions of one topic.
    pub fn of_topic(&self, topic: TopicId) -> &[i32] {
        match self.0.binary_search_by_key(&topic, |(topic, _)| *topic) {
            Ok(at) => &self.0[at].1,
            Err(_) => &[],
        }
    }

    /// Every partition.
    pub fn iter(&self) -> impl Iterator<Item = TopicIdPartition> + '_ {
        self.0.iter().flat_map(|(topic, partitions)| {
            partitions.iter().map(|partition| TopicIdPartition {
                topic_id: *topic,
                partition: PartitionId(*partition),
            })
        })
    }

    /// Whether `partition` of `topic` is one of them.
    pub fn contains(&self, topic: TopicId, partition: i32) -> bool {
        self.of_topic(topic).binary_search(&partition).is_ok()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    #[cfg(test)]
    pub fn len(&self) -> usize {
        self.0.iter().map(|(_, partitions)| partitions.len()).sum()
    }

    /// Those for which `keep` holds.
    pub fn filter(&self, mut keep: impl FnMut(TopicId, i32) -> bool) -> Self {
        let topics = self.0.iter().map(|(topic, partitions)| {
            let kept = partitions.iter().copied().filter(|partition| keep(*topic, *partition));
            (*topic, kept.collect::<Vec<i32>>())
        });
        Self(topics.filter(|(_, kept)| !kept.is_empty()).collect())
    }

    /// Those of both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        self.filter(|topic, partition| other.contains(topic, partition))
    }

    /// Those that are not in `other`.
    pub fn difference(&self, other: &Self) -> Self {
        self.filter(|topic, partition| !other.contains(topic, partition))
    }

    /// Those of either set.
    pub fn union(&self, other: &Self) -> Self {
        Self::of(self.0.iter().chain(&other.0).cloned())
    }

    /// Whether a partition is in both sets.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.iter().any(|one| other.contains(one.topic_id, one.partition.0))
    }

    /// Whether every partition is in `other`.
    pub fn is_subset(&self, other: &Self) -> bool {
        self.iter().all(|one| other.contains(one.topic_id, one.partition.0))
    }
}

impl FromIterator<TopicIdPartition> for Partitions {
    fn from_iter<T: IntoIterator<Item = TopicIdPartition>>(partitions: T) -> Self {
        Self::of(partitions.into_iter().map(|one| (one.topic_id, vec![one.partition.0])))
    }
}
