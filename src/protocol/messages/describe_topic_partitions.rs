//! DescribeTopicPartitions (key 75), version 0 (KIP-966).

use uuid::Uuid;

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Asks for topics, page by page.
    pub request DescribeTopicPartitionsRequest: ApiKey::DescribeTopicPartitions, (0..=0, flexible 0) => DescribeTopicPartitionsResponse {
        topics: Vec<TopicRequest> [0..];
        response_partition_limit: i32 [0..] = 2000;
        /// Where the page begins.
        cursor: Option<Cursor> [0..];
    }

    /// A topic by name.
    pub struct TopicRequest {
        name: Str [0..];
    }

    /// The first partition of a page.
    pub struct Cursor {
        topic_name: Str [0..];
        partition_index: i32 [0..];
    }

    /// A page of topics.
    pub message DescribeTopicPartitionsResponse (flexible 0) {
        throttle_time_ms: i32 [0..];
        topics: Vec<DescribeTopicPartitionsResponseTopic> [0..];
        /// Where the next page begins; none after the last.
        next_cursor: Option<Cursor> [0..];
    }

    /// A topic.
    pub struct DescribeTopicPartitionsResponseTopic {
        error_code: i16 [0..];
        name: Option<Str> [0..];
        topic_id: Uuid [0..];
        is_internal: bool [0..];
        partitions: Vec<DescribeTopicPartitionsResponsePartition> [0..];
        topic_authorized_operations: i32 [0..] = i32::MIN;
    }

    /// A partition.
    pub struct DescribeTopicPartitionsResponsePartition {
        error_code: i16 [0..];
        partition_index: i32 [0..];
        leader_id: i32 [0..];
        leader_epoch: i32 [0..] = -1;
        replica_nodes: Vec<i32> [0..];
        isr_nodes: Vec<i32> [0..];
        eligible_leader_replicas: Option<Vec<i32>> [0..];
        last_known_elr: Option<Vec<i32>> [0..];
        offline_replicas: Vec<i32> [0..];
    }
}
