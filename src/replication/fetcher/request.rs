//! Fetch requests, and answers matched with what was asked.

use std::sync::Arc;

use uuid::Uuid;

use super::session::Terms;
use crate::protocol::codec::Str;
use crate::protocol::messages::fetch::{
    self, FetchRequest, FetchResponse, FetchTopic, ForgottenTopic, PartitionData, ReplicaState,
};
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use crate::replication::epochs::{EpochEnd, is_defined};
use crate::replication::follower::{FetchAnswer, FetchAsk};
use crate::replication::options::NodeContext;
use crate::replication::partition::{FollowedRecords, ListOffset, Partition};
use crate::types::{ErrorCode, LeaderEpoch, NodeId, Offset, TimestampMs, TopicId, TopicPartition};

/// One partition of a fetch under way.
pub(super) struct Asked {
    pub(super) partition: Arc<Partition>,
    pub(super) ask: FetchAsk,
}

impl Asked {
    /// What the leader is told about it.
    pub(super) fn told(&self) -> (&TopicPartition, TopicId, FetchAsk) {
        (self.partition.topic_partition(), self.partition.topic_id(), self.ask)
    }
}

/// From this version on a fetch names its broker epoch (KIP-903).
const REPLICA_STATE_SINCE: i16 = 15;

/// Before this version a fetch cannot tell where logs part (KIP-595).
pub(super) const OLDEST_FETCH: i16 = 12;

/// A fetch of everything asked, of which `terms` tell what is named.
pub(super) fn fetch_request(
    context: &NodeContext,
    asked: &[Asked],
    terms: &Terms,
    version: i16,
) -> FetchRequest {
    let options = &context.options;
    let mut topics: Vec<FetchTopic> = Vec::new();
    for Asked { partition, ask } in terms.named.iter().filter_map(|&index| asked.get(index)) {
        let topic_id = partition.topic_id().0;
        let entry = fetch::FetchPartition {
            partition: partition.topic_partition().partition.0,
            current_leader_epoch: ask.leader_epoch.0,
            fetch_offset: ask.position.fetch_offset.0,
            last_fetched_epoch: ask.position.last_fetched_epoch.0,
            log_start_offset: ask.log_start.0,
            partition_max_bytes: options.fetch_max_bytes,
            ..fetch::FetchPartition::default()
        };
        match topics.last_mut() {
            Some(topic) if topic.topic_id == topic_id => topic.partitions.push(entry),
            Some(_) | None => topics.push(FetchTopic {
                topic: partition.topic_partition().topic.as_str().into(),
                topic_id,
                partitions: vec![entry],
            }),
        }
    }
    let world = context.world.load();
    let broker_epoch = world.standings.get(&context.node).map_or(-1, |it| it.broker_epoch.0);
    let replica = if version >= REPLICA_STATE_SINCE {
        let replica_id = context.node.0;
        (-1, ReplicaState { replica_id, replica_epoch: broker_epoch })
    } else {
        (context.node.0, ReplicaState::default())
    };
    FetchRequest {
        replica_id: replica.0,
        replica_state: replica.1,
        max_wait_ms: i32::try_from(options.fetch_wait_max.as_millis()).unwrap_or(i32::MAX),
        min_bytes: options.fetch_min_bytes,
        max_bytes: options.fetch_response_max_bytes,
        session_id: terms.session_id,
        session_epoch: terms.session_epoch,
        topics,
        forgotten_topics_data: forgotten(terms),
        ..FetchRequest::default()
    }
}

fn forgotten(terms: &Terms) -> Vec<ForgottenTopic> {
    let mut topics: Vec<ForgottenTopic> = Vec::new();
    for (id, name) in &terms.forgotten {
        match topics.last_mut() {
            Some(topic) if topic.topic_id == id.topic_id.0 => topic.partitions.push(id.partition.0),
            Some(_) | None => topics.push(ForgottenTopic {
                topic: name.as_str().into(),
                topic_id: id.topic_id.0,
                partitions: vec![id.partition.0],
            }),
        }
    }
    topics
}

/// What of an answer belongs to what was asked.
pub(super) struct Matched {
    /// By the place of what was asked; `None`: it was not mentioned.
    pub(super) answers: Vec<Option<FollowedRecords>>,
    /// Something was mentioned that was not asked for.
    pub(super) has_strangers: bool,
}

/// Matches an answer with what was asked.
pub(super) fn match_answers(asked: &[Asked], response: FetchResponse) -> Matched {
    let mut has_strangers = false;
    let mut answers: Vec<Option<FollowedRecords>> = asked.iter().map(|_| None).collect();
    let mut cursor = 0;
    for topic in response.responses {
        for data in topic.partitions {
            let is_it = |asked: &Asked| answers_to(asked, topic.topic_id, &topic.topic, &data);
            // Answers come in the order of the request, as a rule.
            let found = asked[cursor..]
                .iter()
                .position(is_it)
                .map(|ahead| cursor + ahead)
                .or_else(|| asked[..cursor].iter().position(is_it));
            match found {
                Some(index) => {
                    answers[index] = Some(answer_of(data));
                    cursor = index + 1;
                }
                None => has_strangers = true,
            }
        }
    }
    Matched { answers, has_strangers }
}

fn answers_to(asked: &Asked, topic_id: Uuid, topic: &Str, data: &PartitionData) -> bool {
    let name = asked.partition.topic_partition();
    let same_topic = if topic_id.is_nil() {
        **topic == *name.topic
    } else {
        topic_id == asked.partition.topic_id().0
    };
    same_topic && data.partition_index == name.partition.0
}

fn answer_of(data: PartitionData) -> FollowedRecords {
    let diverging = EpochEnd {
        epoch: LeaderEpoch(data.diverging_epoch.epoch),
        end_offset: Offset(data.diverging_epoch.end_offset),
    };
    let error = ErrorCode::from_code(data.error_code).unwrap_or(ErrorCode::UnknownServerError);
    FollowedRecords {
        answer: FetchAnswer {
            error,
            high_watermark: Offset(data.high_watermark),
            log_start: Offset(data.log_start_offset),
            diverging: is_defined(diverging).then_some(diverging),
        },
        records: data.records.unwrap_or_default(),
    }
}

/// Asks the leader for its log's first offset and its end, as a replica sees them.
pub(super) fn bounds_requests(node: NodeId, asked: &Asked) -> [ListOffsetsRequest; 2] {
    [ListOffset::EARLIEST, ListOffset::LATEST].map(|TimestampMs(timestamp)| ListOffsetsRequest {
        replica_id: node.0,
        topics: vec![ListOffsetsTopic {
            name: asked.partition.topic_partition().topic.as_str().into(),
            partitions: vec![ListOffsetsPartition {
                partition_index: asked.partition.topic_partition().partition.0,
                current_leader_epoch: asked.ask.leader_epoch.0,
                timestamp,
            }],
        }],
        ..ListOffsetsRequest::default()
    })
}

/// The one offset that was asked for.
pub(super) fn listed_offset(response: &ListOffsetsResponse) -> Result<Offset, ErrorCode> {
    let partition = response
        .topics
        .first()
        .and_then(|topic| topic.partitions.first())
        .ok_or(ErrorCode::UnknownServerError)?;
    match ErrorCode::from_code(partition.error_code) {
        Some(ErrorCode::None) if partition.offset >= 0 => Ok(Offset(partition.offset)),
        Some(ErrorCode::None) => Err(ErrorCode::OffsetNotAvailable),
        Some(error) => Err(error),
        None => Err(ErrorCode::UnknownServerError),
    }
}
