//! OffsetFetch (key 9), versions 1-10: what a group has committed; many groups from version 8
//! (KIP-709), topics by id from version 10.

use uuid::Uuid;

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Asks for committed offsets.
    pub request OffsetFetchRequest: ApiKey::OffsetFetch, (1..=10, flexible 6) => OffsetFetchResponse {
        group_id: Str [0..=7];
        /// Null (from version 2): every topic with a committed offset.
        topics: Option<Vec<OffsetFetchRequestTopic>> [0..=7, nullable 2..=7];
        groups: Vec<OffsetFetchRequestGroup> [8..];
        /// Refuse while a transaction with offsets is open (KIP-447).
        require_stable: bool [7..];
    }

    /// One topic.
    pub struct OffsetFetchRequestTopic {
        name: Str [0..=7];
        partition_indexes: Vec<i32> [0..=7];
    }

    /// One group.
    pub struct OffsetFetchRequestGroup {
        group_id: Str [8..];
        /// For the consumer protocol.
        member_id: Option<Str> [9.., nullable 9..; ignorable];
        member_epoch: i32 [9..; ignorable] = -1;
        /// Null: every topic with a committed offset.
        topics: Option<Vec<OffsetFetchRequestTopics>> [8.., nullable 8..];
    }

    /// One topic of one group.
    pub struct OffsetFetchRequestTopics {
        name: Str [8..=9; ignorable];
        topic_id: Uuid [10..; ignorable];
        partition_indexes: Vec<i32> [8..];
    }

    /// The offsets.
    pub message OffsetFetchResponse (flexible 6) {
        throttle_time_ms: i32 [3..; ignorable];
        topics: Vec<OffsetFetchResponseTopic> [0..=7];
        error_code: i16 [2..=7; ignorable];
        groups: Vec<OffsetFetchResponseGroup> [8..];
    }

    /// One topic's offsets.
    pub struct OffsetFetchResponseTopic {
        name: Str [0..=7];
        partitions: Vec<OffsetFetchResponsePartition> [0..=7];
    }

    /// One partition's offset.
    pub struct OffsetFetchResponsePartition {
        partition_index: i32 [0..=7];
        /// -1: none.
        committed_offset: i64 [0..=7];
        committed_leader_epoch: i32 [5..=7; ignorable] = -1;
        metadata: Option<Str> [0..=7, nullable 0..=7];
        error_code: i16 [0..=7];
    }

    /// One group's offsets.
    pub struct OffsetFetchResponseGroup {
        group_id: Str [8..];
        topics: Vec<OffsetFetchResponseTopics> [8..];
        error_code: i16 [8..];
    }

    /// One topic of one group.
    pub struct OffsetFetchResponseTopics {
        name: Str [8..=9; ignorable];
        topic_id: Uuid [10..; ignorable];
        partitions: Vec<OffsetFetchResponsePartitions> [8..];
    }

    /// One partition's offset.
    pub struct OffsetFetchResponsePartitions {
        partition_index: i32 [8..];
        /// -1: none.
        committed_offset: i64 [8..];
        committed_leader_epoch: i32 [8..; ignorable] = -1;
        metadata: Option<Str> [8.., nullable 8..];
        error_code: i16 [8..];
    }
}
