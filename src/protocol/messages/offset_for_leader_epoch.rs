//! OffsetForLeaderEpoch (key 23), versions 2-4: where epochs end (KIP-101, KIP-320).

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Asks where epochs end.
    pub request OffsetForLeaderEpochRequest: ApiKey::OffsetForLeaderEpoch, (2..=4, flexible 4) => OffsetForLeaderEpochResponse {
        /// The follower that asks; -1 for a consumer.
        replica_id: i32 [3..; ignorable] = -2;
        topics: Vec<OffsetForLeaderTopic> [0..];
    }

    /// One topic.
    pub struct OffsetForLeaderTopic {
        topic: Str [0..];
        partitions: Vec<OffsetForLeaderPartition> [0..];
    }

    /// One partition.
    pub struct OffsetForLeaderPartition {
        partition: i32 [0..];
        /// What the client takes the leader epoch to be; -1: not checked.
        current_leader_epoch: i32 [2..; ignorable] = -1;
        /// The epoch whose end is asked for.
        leader_epoch: i32 [0..];
    }

    /// Where they end.
    pub message OffsetForLeaderEpochResponse (flexible 4) {
        throttle_time_ms: i32 [2..; ignorable];
        topics: Vec<OffsetForLeaderTopicResult> [0..];
    }

    /// One topic's ends.
    pub struct OffsetForLeaderTopicResult {
        topic: Str [0..];
        partitions: Vec<EpochEndOffset> [0..];
    }

    /// One partition's end.
    pub struct EpochEndOffset {
        error_code: i16 [0..];
        partition: i32 [0..];
        leader_epoch: i32 [1..; ignorable] = -1;
        end_offset: i64 [0..] = -1;
    }
}
