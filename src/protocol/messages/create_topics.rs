//! CreateTopics (key 19), versions 2-7.

use uuid::Uuid;

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Creates topics.
    pub request CreateTopicsRequest: ApiKey::CreateTopics, (2..=7, flexible 5) => CreateTopicsResponse {
        topics: Vec<CreatableTopic> [0..];
        timeout_ms: i32 [0..] = 60_000;
        /// Only say what would happen.
        validate_only: bool [1..];
    }

    /// A topic to create.
    pub struct CreatableTopic {
        name: Str [0..];
        /// -1: the default, or as many as are assigned.
        num_partitions: i32 [0..];
        /// -1: the default, or as many as are assigned.
        replication_factor: i16 [0..];
        assignments: Vec<CreatableReplicaAssignment> [0..];
        configs: Vec<CreatableTopicConfig> [0..];
    }

    /// The replicas of one partition.
    pub struct CreatableReplicaAssignment {
        partition_index: i32 [0..];
        broker_ids: Vec<i32> [0..];
    }

    /// One configuration of the topic.
    pub struct CreatableTopicConfig {
        name: Str [0..];
        value: Option<Str> [0..];
    }

    /// What became of each topic.
    pub message CreateTopicsResponse (flexible 5) {
        throttle_time_ms: i32 [2..; ignorable];
        topics: Vec<CreatableTopicResult> [0..];
    }

    /// One topic's result.
    pub struct CreatableTopicResult {
        name: Str [0..];
        topic_id: Uuid [7..; ignorable];
        error_code: i16 [0..];
        error_message: Option<Str> [1..; ignorable];
        /// Why the configuration is not told, if it may not be.
        topic_config_error_code: i16 [5.., tag 0; ignorable];
        num_partitions: i32 [5..; ignorable] = -1;
        replication_factor: i16 [5..; ignorable] = -1;
        configs: Option<Vec<CreatableTopicConfigs>> [5..; ignorable];
    }

    /// One configuration of the created topic.
    pub struct CreatableTopicConfigs {
        name: Str [5..];
        value: Option<Str> [5..];
        read_only: bool [5..];
        config_source: i8 [5..; ignorable] = -1;
        is_sensitive: bool [5..];
    }
}
