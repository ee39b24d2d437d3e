//! ListOffsets (key 2), versions 1-11: earliest, latest, by time, max timestamp.
//!
//! Earliest-local equals earliest and latest-tiered is unknown (-1), as nothing is tiered.

use std::sync::Arc;

use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse,
    ListOffsetsTopicResponse,
};
use crate::replication::{Isolation, ListOffset, Replicas};
use crate::types::{ErrorCode, LeaderEpoch, TimestampMs, TopicName, TopicPartition};

/// The isolation level of that number.
pub(crate) fn isolation(level: i8) -> Isolation {
    match level {
        1 => Isolation::ReadCommitted,
        _ => Isolation::ReadUncommitted,
    }
}

/// See the module's documentation.
pub(crate) struct ListOffsets {
    /// This node's replicas.
    pub replicas: Arc<Replicas>,
}

impl Handler for ListOffsets {
    type Request = ListOffsetsRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<ListOffsetsRequest>,
    ) -> Outcome<ListOffsetsResponse> {
        let request = call.request;
        let isolation = isolation(request.isolation_level);
        let is_replica = request.replica_id >= 0;
        let topics = request.topics.into_iter().map(|topic| {
            let name = TopicName::new(&topic.name);
            let partitions = topic
                .partitions
                .into_iter()
                .map(|partition| self.look_up(&name, &partition, isolation, is_replica))
                .collect();
            ListOffsetsTopicResponse { name: topic.name, partitions }
        });
        Outcome::Now(ListOffsetsResponse { throttle_time_ms: 0, topics: topics.collect() })
    }
}

impl ListOffsets {
    fn look_up(
        &self,
        topic: &TopicName,
        asked: &ListOffsetsPartition,
        isolation: Isolation,
        is_replica: bool,
    ) -> ListOffsetsPartitionResponse {
        let place = TopicPartition::new(topic.clone(), asked.partition_index);
        let query = ListOffset {
            timestamp: TimestampMs(asked.timestamp),
            isolation,
            current_leader_epoch: LeaderEpoch(asked.current_leader_epoch),
            is_replica,
        };
        let found = self.replicas.partition(&place).and_then(|found| found.list_offset(query));
        let mut answer = ListOffsetsPartitionResponse {
            partition_index: asked.partition_index,
            error_code: ErrorCode::None.code(),
            timestamp: -1,
            offset: -1,
            leader_epoch: -1,
        };
        match found {
            Ok(found) => {
                answer.timestamp = found.timestamp.0;
                answer.offset = found.offset.0;
                answer.leader_epoch = found.leader_epoch.0;
            }
            Err(error) => answer.error_code = error.code(),
        }
        answer
    }
}
