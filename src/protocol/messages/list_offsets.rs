//! ListOffsets (key 2), versions 1-11: offsets by time.

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Looks offsets up.
    pub request ListOffsetsRequest: ApiKey::ListOffsets, (1..=11, flexible 6) => ListOffsetsResponse {
        /// The follower that asks; -1 for a client.
        replica_id: i32 [0..];
        isolation_level: i8 [2..];
        topics: Vec<ListOffsetsTopic> [0..];
        timeout_ms: i32 [10..; ignorable];
    }

    /// One topic to look up.
    pub struct ListOffsetsTopic {
        name: Str [0..];
        partitions: Vec<ListOffsetsPartition> [0..];
    }

    /// One partition to look up.
    pub struct ListOffsetsPartition {
        partition_index: i32 [0..];
        current_leader_epoch: i32 [4..; ignorable] = -1;
        /// A time, or -1 latest, -2 earliest, -3 of the greatest timestamp, -4 earliest local,
        /// -5 latest tiered, -6 earliest pending upload.
        timestamp: i64 [0..];
    }

    /// What was found.
    pub message ListOffsetsResponse (flexible 6) {
        throttle_time_ms: i32 [2..; ignorable];
        topics: Vec<ListOffsetsTopicResponse> [0..];
    }

    /// One topic's offsets.
    pub struct ListOffsetsTopicResponse {
        name: Str [0..];
        partitions: Vec<ListOffsetsPartitionResponse> [0..];
    }

    /// One partition's offset; -1 if there is none.
    pub struct ListOffsetsPartitionResponse {
        partition_index: i32 [0..];
        error_code: i16 [0..];
        timestamp: i64 [1..; ignorable] = -1;
        offset: i64 [1..; ignorable] = -1;
        leader_epoch: i32 [4..; ignorable] = -1;
    }
}
