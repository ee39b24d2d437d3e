//! OffsetCommit (key 8), versions 2-10: how far a group has come; topics by id from version 10.

use uuid::Uuid;

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Commits offsets.
    pub request OffsetCommitRequest: ApiKey::OffsetCommit, (2..=10, flexible 8) => OffsetCommitResponse {
        group_id: Str [0..];
        /// The generation of a classic group or the member epoch of a consumer group; -1 for none.
        generation_id_or_member_epoch: i32 [1..; ignorable] = -1;
        member_id: Str [1..; ignorable];
        group_instance_id: Option<Str> [7.., nullable 7..];
        /// -1: the broker's retention.
        retention_time_ms: i64 [2..=4; ignorable] = -1;
        topics: Vec<OffsetCommitRequestTopic> [0..];
    }

    /// One topic.
    pub struct OffsetCommitRequestTopic {
        name: Str [0..=9; ignorable];
        topic_id: Uuid [10..; ignorable];
        partitions: Vec<OffsetCommitRequestPartition> [0..];
    }

    /// One partition's offset.
    pub struct OffsetCommitRequestPartition {
        partition_index: i32 [0..];
        /// The next offset to be read.
        committed_offset: i64 [0..];
        /// Of the last record read; -1 if not known.
        committed_leader_epoch: i32 [6..; ignorable] = -1;
        committed_metadata: Option<Str> [0.., nullable 0..];
    }

    /// How it went.
    pub message OffsetCommitResponse (flexible 8) {
        throttle_time_ms: i32 [3..; ignorable];
        topics: Vec<OffsetCommitResponseTopic> [0..];
    }

    /// One topic's results.
    pub struct OffsetCommitResponseTopic {
        name: Str [0..=9; ignorable];
        topic_id: Uuid [10..; ignorable];
        partitions: Vec<OffsetCommitResponsePartition> [0..];
    }

    /// One partition's result.
    pub struct OffsetCommitResponsePartition {
        partition_index: i32 [0..];
        error_code: i16 [0..];
    }
}
