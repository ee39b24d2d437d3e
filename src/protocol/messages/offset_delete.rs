//! OffsetDelete (key 47), version 0: forgets committed offsets (KIP-496).

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Forgets offsets of a group.
    pub request OffsetDeleteRequest: ApiKey::OffsetDelete, (0..=0, flexible i16::MAX) => OffsetDeleteResponse {
        group_id: Str [0..];
        topics: Vec<OffsetDeleteRequestTopic> [0..];
    }

    /// One topic.
    pub struct OffsetDeleteRequestTopic {
        name: Str [0..];
        partitions: Vec<OffsetDeleteRequestPartition> [0..];
    }

    /// One partition.
    pub struct OffsetDeleteRequestPartition {
        partition_index: i32 [0..];
    }

    /// How it went.
    pub message OffsetDeleteResponse (flexible i16::MAX) {
        error_code: i16 [0..];
        throttle_time_ms: i32 [0..; ignorable];
        topics: Vec<OffsetDeleteResponseTopic> [0..];
    }

    /// One topic's results.
    pub struct OffsetDeleteResponseTopic {
        name: Str [0..];
        partitions: Vec<OffsetDeleteResponsePartition> [0..];
    }

    /// One partition's result.
    pub struct OffsetDeleteResponsePartition {
        partition_index: i32 [0..];
        error_code: i16 [0..];
    }
}
