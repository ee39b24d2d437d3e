//! OffsetCommit (key 8), versions 2-10; topics by id from version 10 (KIP-848).
//!
//! What is unknown here (a topic, an id, a partition) is sorted out before the group is asked; the
//! answer names the topics in the order of the request.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::broker::handlers::asking::{asker, topic};
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::coordinator::groups::Groups;
use crate::metadata::{Image, MetadataSource};
use crate::protocol::Str;
use crate::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestTopic, OffsetCommitResponse,
    OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::types::{ErrorCode, PartitionId, TopicId};

/// See the module's documentation.
pub(crate) struct OffsetCommit {
    /// The groups that this broker coordinates.
    pub groups: Arc<Groups>,
    /// Which topics there are.
    pub metadata: Arc<dyn MetadataSource>,
}

/// The first version with topic ids.
const TOPIC_IDS: i16 = 10;

impl Handler for OffsetCommit {
    type Request = OffsetCommitRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<OffsetCommitRequest>,
    ) -> Outcome<OffsetCommitResponse> {
        let Call { context, version, mut request } = call;
        let asked = std::mem::take(&mut request.topics);
        let (known, mut results) = sort_out(&self.metadata.image(), version, &asked);
        if known.is_empty() {
            return Outcome::Now(response(&asked, &results));
        }
        request.topics = known;
        let committed = self.groups.commit_offsets(asker(&context, version), request);
        Outcome::later(async move {
            match committed.await {
                Ok(committed) => results.take(&committed),
                Err(error) => results.refuse(&asked, error),
            }
            response(&asked, &results)
        })
    }
}

/// Each partition's result, by the topic as the request named it.
#[derive(Debug, Default)]
struct Results {
    version: i16,
    errors: BTreeMap<(TopicId, Str, i32), i16>,
}

impl Results {
    /// What names a topic in this version.
    fn key(&self, name: &Str, id: TopicId, partition: i32) -> (TopicId, Str, i32) {
        match self.version {
            TOPIC_IDS.. => (id, Str::default(), partition),
            _ => (TopicId::ZERO, name.clone(), partition),
        }
    }

    fn take(&mut self, committed: &OffsetCommitResponse) {
        for topic in &committed.topics {
            for partition in &topic.partitions {
                let id = TopicId(topic.topic_id);
                let key = self.key(&topic.name, id, partition.partition_index);
                self.errors.insert(key, partition.error_code);
            }
        }
    }

    /// All that have no result yet get `error`.
    fn refuse(&mut self, asked: &[OffsetCommitRequestTopic], error: ErrorCode) {
        for topic in asked {
            for partition in &topic.partitions {
                let id = TopicId(topic.topic_id);
                let key = self.key(&topic.name, id, partition.partition_index);
                self.errors.entry(key).or_insert(error.code());
            }
        }
    }
}

/// What the group is to be asked for, each topic with name and id, and the results of the rest.
fn sort_out(
    image: &Image,
    version: i16,
    asked: &[OffsetCommitRequestTopic],
) -> (Vec<OffsetCommitRequestTopic>, Results) {
    let mut results = Results { version, errors: BTreeMap::new() };
    let mut known = Vec::with_capacity(asked.len());
    for wanted in asked {
        let id = TopicId(wanted.topic_id);
        let found = match (version, id) {
            (TOPIC_IDS.., TopicId::ZERO) => Err(ErrorCode::UnknownTopicId),
            (TOPIC_IDS.., _) => topic(image, "", id),
            _ => topic(image, &wanted.name, TopicId::ZERO),
        };
        let mut partitions = Vec::with_capacity(wanted.partitions.len());
        for partition in &wanted.partitions {
            let index = partition.partition_index;
            let exists = found.and_then(|topic| match topic.partition(PartitionId(index)) {
                Some(_) => Ok(()),
                None => Err(ErrorCode::UnknownTopicOrPartition),
            });
            match exists {
                Ok(()) => partitions.push(partition.clone()),
                Err(error) => {
                    let key = results.key(&wanted.name, id, index);
                    results.errors.insert(key, error.code());
                }
            }
        }
        if let Ok(topic) = found
            && !partitions.is_empty()
        {
            let name = topic.name.as_str().into();
            known.push(OffsetCommitRequestTopic { name, topic_id: topic.id.0, partitions });
        }
    }
    (known, results)
}

fn response(asked: &[OffsetCommitRequestTopic], results: &Results) -> OffsetCommitResponse {
    let topics = asked.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| {
            let index = partition.partition_index;
            let result =
                results.errors.get(&results.key(&topic.name, TopicId(topic.topic_id), index));
            let unanswered = ErrorCode::UnknownServerError.code();
            OffsetCommitResponsePartition {
                partition_index: index,
                error_code: result.copied().unwrap_or(unanswered),
            }
        });
        OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: partitions.collect(),
        }
    });
    OffsetCommitResponse { topics: topics.collect(), ..Default::default() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::broker::tests::world::{image, topic_id};
    use crate::protocol::messages::offset_commit::OffsetCommitRequestPartition;

    fn asked(name: &str, id: TopicId, partitions: &[i32]) -> OffsetCommitRequestTopic {
        let partition = |index: &i32| OffsetCommitRequestPartition {
            partition_index: *index,
            ..Default::default()
        };
        OffsetCommitRequestTopic {
            name: name.into(),
            topic_id: id.0,
            partitions: partitions.iter().map(partition).collect(),
        }
    }

    fn errors(response: &OffsetCommitResponse) -> Vec<i16> {
        let partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
        partitions.map(|partition| partition.error_code).collect()
    }

    #[test]
    fn the_unknown_is_told_and_the_known_passed_on() {
        let image = image(&[("orders", &[1, 2])]);
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        let named =
            [asked("orders", TopicId::ZERO, &[0, 2]), asked("nowhere", TopicId::ZERO, &[0])];
        let (known, mut results) = sort_out(&image, 9, &named);
        assert_eq!(known, [asked("orders", topic_id(0), &[0])]);
        results.refuse(&named, ErrorCode::NotCoordinator);
        assert_eq!(errors(&response(&named, &results)), [16, unknown, unknown]);

        let elsewhere = topic_id(7);
        let by_id = [
            asked("", topic_id(0), &[1, 5]),
            asked("", elsewhere, &[0]),
            asked("", TopicId::ZERO, &[0]),
        ];
        let (known, mut results) = sort_out(&image, 10, &by_id);
        assert_eq!(known, [asked("orders", topic_id(0), &[1])]);
        results.take(&OffsetCommitResponse {
            topics: vec![OffsetCommitResponseTopic {
                name: "orders".into(),
                topic_id: topic_id(0).0,
                partitions: vec![OffsetCommitResponsePartition {
                    partition_index: 1,
                    error_code: 0,
                }],
            }],
            ..Default::default()
        });
        let unknown_id = ErrorCode::UnknownTopicId.code();
        assert_eq!(errors(&response(&by_id, &results)), [0, unknown, unknown_id, unknown_id]);
    }
}
