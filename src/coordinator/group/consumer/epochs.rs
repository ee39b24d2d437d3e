//! Since which epoch a member has each of its partitions (KIP-1251): a commit that was on its way
//! while the member's epoch rose is as good as before for what the member had then and has still.

use std::sync::Arc;

use crate::coordinator::group::assignor::Partitions;
use crate::coordinator::group::stored::StoredTopicPartitions;
use crate::types::TopicId;

/// The partitions of one topic, each with its epoch; sorted.
type TopicEpochs = (TopicId, Vec<(i32, i32)>);

/// The epochs of a set of partitions: by topic id, then by partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::coordinator::group) struct AssignmentEpochs(Arc<[TopicEpochs]>);

impl AssignmentEpochs {
    /// For `partitions`: what `self` knows, and `epoch` for what is new.
    pub fn carried_over(&self, partitions: &Partitions, epoch: i32) -> Self {
        let topics = partitions.topics().map(|(topic, partitions)| {
            let since =
                |partition: &i32| (*partition, self.since(topic, *partition).unwrap_or(epoch));
            (topic, partitions.iter().map(since).collect())
        });
        Self(topics.collect())
    }

    /// Since which epoch the member has the partition; none if it has not.
    pub fn since(&self, topic: TopicId, partition: i32) -> Option<i32> {
        let topic = self.0.binary_search_by_key(&topic, |(topic, _)| *topic).ok()?;
        let partitions = &self.0[topic].1;
        let at = partitions.binary_search_by_key(&partition, |(partition, _)| *partition).ok()?;
        Some(partitions[at].1)
    }

    /// As they stand in a record; `epoch` where an earlier version wrote none.
    pub fn from_stored<'a>(
        stored: impl Iterator<Item = &'a StoredTopicPartitions> + Clone,
        epoch: i32,
    ) -> Self {
        let of = |one: &StoredTopicPartitions| (TopicId(one.topic_id), one.partitions.clone());
        let mut epochs =
            Self::default().carried_over(&Partitions::of(stored.clone().map(of)), epoch);
        let mut all = epochs.0.to_vec();
        for topic in stored {
            let known = topic.assignment_epochs.iter().flatten();
            let place = all.binary_search_by_key(&TopicId(topic.topic_id), |(topic, _)| *topic);
            let Ok(place) = place else { continue };
            for (partition, since) in topic.partitions.iter().zip(known) {
                let found =
                    all[place].1.binary_search_by_key(partition, |(partition, _)| *partition);
                if let Ok(at) = found {
                    all[place].1[at].1 = *since;
                }
            }
        }
        epochs.0 = all.into();
        epochs
    }

    /// `partitions` with their epochs, for a record.
    pub fn to_stored(&self, partitions: &Partitions) -> Vec<StoredTopicPartitions> {
        let mut stored = partitions.to_stored();
        for topic in &mut stored {
            let since =
                |partition: &i32| self.since(TopicId(topic.topic_id), *partition).unwrap_or(-1);
            topic.assignment_epochs = Some(topic.partitions.iter().map(since).collect());
        }
        stored
    }
}
