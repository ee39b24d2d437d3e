//! OffsetForLeaderEpoch (key 23), versions 2-4: where an epoch ends in this leader's log (rule 3).

use std::sync::Arc;

use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::protocol::messages::offset_for_leader_epoch::{
    EpochEndOffset, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse,
    OffsetForLeaderTopicResult,
};
use crate::replication::Replicas;
use crate::types::{ErrorCode, LeaderEpoch, TopicName, TopicPartition};

/// See the module's documentation.
pub(crate) struct OffsetForLeaderEpoch {
    /// This node's replicas.
    pub replicas: Arc<Replicas>,
}

impl Handler for OffsetForLeaderEpoch {
    type Request = OffsetForLeaderEpochRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<OffsetForLeaderEpochRequest>,
    ) -> Outcome<OffsetForLeaderEpochResponse> {
        let topics = call.request.topics.into_iter().map(|asked| {
            let name = TopicName::new(&asked.topic);
            let partitions = asked.partitions.into_iter().map(|partition| {
                let place = TopicPartition::new(name.clone(), partition.partition);
                let current = LeaderEpoch(partition.current_leader_epoch);
                let requested = LeaderEpoch(partition.leader_epoch);
                let found = self
                    .replicas
                    .partition(&place)
                    .and_then(|found| found.offset_for_leader_epoch(current, requested));
                let (error, epoch, end) = match found {
                    Ok(end) => (ErrorCode::None, end.epoch.0, end.end_offset.0),
                    Err(error) => (error, -1, -1),
                };
                EpochEndOffset {
                    error_code: error.code(),
                    partition: partition.partition,
                    leader_epoch: epoch,
                    end_offset: end,
                }
            });
            OffsetForLeaderTopicResult { topic: asked.topic, partitions: partitions.collect() }
        });
        Outcome::Now(OffsetForLeaderEpochResponse { throttle_time_ms: 0, topics: topics.collect() })
    }
}
