//! OffsetFetch (key 9), versions 1-10; many groups from version 8, topics by id from version 10.
//!
//! Up to version 9 a topic need not exist: what was committed for it is told until it expires. From
//! version 10 an unknown id is UNKNOWN_TOPIC_ID, and topics that are gone are not among all topics.

use std::sync::Arc;

use futures::future::join_all;

use crate::broker::handlers::asking::{asker, topic};
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::coordinator::group::command::RequireStable;
use crate::coordinator::groups::{Asker, Groups};
use crate::metadata::{Image, MetadataSource};
use crate::protocol::Str;
use crate::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponse,
    OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
    OffsetFetchResponseTopic, OffsetFetchResponseTopics,
};
use crate::types::{ErrorCode, TopicId};

/// See the module's documentation.
pub(crate) struct OffsetFetch {
    /// The groups that this broker coordinates.
    pub groups: Arc<Groups>,
    /// Which topics there are.
    pub metadata: Arc<dyn MetadataSource>,
}

/// The first version with an error for the whole.
const TOP_ERROR: i16 = 2;
/// The first version with many groups.
const BATCHED: i16 = 8;
/// The first version with topic ids.
const TOPIC_IDS: i16 = 10;

impl Handler for OffsetFetch {
    type Request = OffsetFetchRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<OffsetFetchRequest>,
    ) -> Outcome<OffsetFetchResponse> {
        let Call { context, version, request } = call;
        let stable = RequireStable(request.require_stable);
        let asker = asker(&context, version);
        let groups = if version < BATCHED { vec![one_group(request)] } else { request.groups };
        let one = |group| self.fetch(&asker, group, stable);
        let fetched: Vec<_> = groups.into_iter().map(one).collect();
        Outcome::later(async move {
            let mut groups = join_all(fetched).await;
            if version < BATCHED {
                return of_one(groups.pop().unwrap_or_default(), version);
            }
            OffsetFetchResponse { groups, ..Default::default() }
        })
    }
}

impl OffsetFetch {
    fn fetch(
        &self,
        asker: &Asker,
        mut group: OffsetFetchRequestGroup,
        stable: RequireStable,
    ) -> impl Future<Output = OffsetFetchResponseGroup> + Send + use<> {
        let (image, by_id) = (self.metadata.image(), asker.version >= TOPIC_IDS);
        let mut unknown = Vec::new();
        if let Some(topics) = &mut group.topics {
            name_topics(&image, by_id, topics, &mut unknown);
        }
        let (group_id, asked) = (group.group_id.clone(), group.topics.clone());
        let fetched = self.groups.fetch_offsets(asker.clone(), group, stable);
        async move {
            let mut told = fetched.await.unwrap_or_else(|error| OffsetFetchResponseGroup {
                group_id,
                topics: Vec::new(),
                error_code: in_fetchers_words(error).code(),
            });
            if told.error_code != 0 {
                // Before there was an error for the whole each partition bears it.
                let topics = asked.unwrap_or_default().into_iter();
                let error = ErrorCode::from_code(told.error_code);
                let error = error.unwrap_or(ErrorCode::UnknownServerError);
                told.topics = topics.map(|topic| nothing(topic, error)).collect();
            }
            if by_id {
                name_results(&image, &mut told.topics);
            }
            told.topics.extend(unknown);
            told
        }
    }
}

/// As Kafka's coordinator has it: consumers before 3.9 take COORDINATOR_NOT_AVAILABLE in this answer
/// for the end, and ask again after NOT_COORDINATOR.
fn in_fetchers_words(error: ErrorCode) -> ErrorCode {
    match error {
        ErrorCode::CoordinatorNotAvailable => ErrorCode::NotCoordinator,
        other => other,
    }
}

/// Gives the topics both name and id; takes out those whose id is not known.
fn name_topics(
    image: &Image,
    by_id: bool,
    topics: &mut Vec<OffsetFetchRequestTopics>,
    unknown: &mut Vec<OffsetFetchResponseTopics>,
) {
    for mut wanted in std::mem::take(topics) {
        let found = match by_id {
            true => image.topic_by_id(TopicId(wanted.topic_id)).map(|topic| &**topic),
            false => topic(image, &wanted.name, TopicId::ZERO).ok(),
        };
        match found {
            Some(found) => {
                wanted.name = found.name.as_str().into();
                wanted.topic_id = found.id.0;
                topics.push(wanted);
            }
            None if by_id => unknown.push(nothing(wanted, ErrorCode::UnknownTopicId)),
            None => topics.push(wanted),
        }
    }
}

/// Gives the results their topics' ids; takes out topics that are gone.
fn name_results(image: &Image, topics: &mut Vec<OffsetFetchResponseTopics>) {
    topics.retain_mut(|told| match image.topic(&told.name) {
        Some(topic) => {
            told.topic_id = topic.id.0;
            true
        }
        None => false,
    });
}

fn nothing(wanted: OffsetFetchRequestTopics, error: ErrorCode) -> OffsetFetchResponseTopics {
    let partitions = wanted.partition_indexes.into_iter();
    let partitions = partitions.map(|partition_index| OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Str::default()),
        error_code: error.code(),
    });
    OffsetFetchResponseTopics {
        name: wanted.name,
        topic_id: wanted.topic_id,
        partitions: partitions.collect(),
    }
}

fn one_group(request: OffsetFetchRequest) -> OffsetFetchRequestGroup {
    let topics = request.topics.map(|topics| {
        let topics = topics.into_iter().map(|topic| OffsetFetchRequestTopics {
            name: topic.name,
            topic_id: TopicId::ZERO.0,
            partition_indexes: topic.partition_indexes,
        });
        topics.collect()
    });
    OffsetFetchRequestGroup {
        group_id: request.group_id,
        member_id: None,
        member_epoch: -1,
        topics,
    }
}

fn of_one(group: OffsetFetchResponseGroup, version: i16) -> OffsetFetchResponse {
    let partition = |it: OffsetFetchResponsePartitions| OffsetFetchResponsePartition {
        partition_index: it.partition_index,
        committed_offset: it.committed_offset,
        committed_leader_epoch: it.committed_leader_epoch,
        metadata: it.metadata,
        error_code: it.error_code,
    };
    let failed = group.error_code != 0;
    let topics = group.topics.into_iter().map(|topic| OffsetFetchResponseTopic {
        name: topic.name,
        partitions: topic.partitions.into_iter().map(partition).collect(),
    });
    // An error for the whole says enough.
    let topics = if failed && version >= TOP_ERROR { Vec::new() } else { topics.collect() };
    OffsetFetchResponse { topics, error_code: group.error_code, ..Default::default() }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::*;
    use crate::broker::tests::world::{image, topic_id};

    fn wanted(name: &str, id: TopicId) -> OffsetFetchRequestTopics {
        OffsetFetchRequestTopics { name: name.into(), topic_id: id.0, partition_indexes: vec![0] }
    }

    #[test]
    fn only_ids_must_be_known() {
        let image = image(&[("orders", &[1])]);
        let mut unknown = Vec::new();
        let mut topics = vec![wanted("orders", TopicId::ZERO), wanted("gone", TopicId::ZERO)];
        name_topics(&image, false, &mut topics, &mut unknown);
        assert_eq!(topics, [wanted("orders", topic_id(0)), wanted("gone", TopicId::ZERO)]);
        assert_eq!(unknown, []);

        let mut topics = vec![wanted("", topic_id(0)), wanted("", topic_id(9))];
        name_topics(&image, true, &mut topics, &mut unknown);
        assert_eq!(topics, [wanted("orders", topic_id(0))]);
        assert_eq!(unknown, [nothing(wanted("", topic_id(9)), ErrorCode::UnknownTopicId)]);

        let mut told = ["orders", "gone"]
            .map(|name| nothing(wanted(name, TopicId::ZERO), ErrorCode::None))
            .to_vec();
        name_results(&image, &mut told);
        assert_eq!(told, [nothing(wanted("orders", topic_id(0)), ErrorCode::None)]);
    }

    #[test]
    fn what_passes_is_told_so_that_every_client_asks_again() {
        for (met, told) in [
            (ErrorCode::CoordinatorNotAvailable, ErrorCode::NotCoordinator),
            (ErrorCode::NotCoordinator, ErrorCode::NotCoordinator),
            (ErrorCode::CoordinatorLoadInProgress, ErrorCode::CoordinatorLoadInProgress),
            (ErrorCode::UnknownServerError, ErrorCode::UnknownServerError),
        ] {
            assert_eq!(in_fetchers_words(met), told, "{}", met.name());
        }
    }

    #[test]
    fn an_error_stands_where_the_version_has_room_for_it() {
        let error = ErrorCode::NotCoordinator;
        let group = OffsetFetchResponseGroup {
            group_id: "g".into(),
            topics: vec![nothing(wanted("orders", TopicId::ZERO), error)],
            error_code: error.code(),
        };
        let old = of_one(group.clone(), 1);
        assert_eq!(old.topics[0].partitions[0].error_code, error.code());
        let newer = of_one(group, 7);
        assert_eq!((newer.topics.len(), newer.error_code), (0, error.code()));
    }
}
