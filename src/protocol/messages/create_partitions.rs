//! CreatePartitions (key 37), versions 0-3.

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Adds partitions to topics.
    pub request CreatePartitionsRequest: ApiKey::CreatePartitions, (0..=3, flexible 2) => CreatePartitionsResponse {
        topics: Vec<CreatePartitionsTopic> [0..];
        timeout_ms: i32 [0..];
        /// Only say what would happen.
        validate_only: bool [0..];
    }

    /// One topic.
    pub struct CreatePartitionsTopic {
        name: Str [0..];
        /// How many partitions it shall have.
        count: i32 [0..];
        assignments: Option<Vec<CreatePartitionsAssignment>> [0..];
    }

    /// The replicas of one new partition.
    pub struct CreatePartitionsAssignment {
        broker_ids: Vec<i32> [0..];
    }

    /// What became of each topic.
    pub message CreatePartitionsResponse (flexible 2) {
        throttle_time_ms: i32 [0..];
        results: Vec<CreatePartitionsTopicResult> [0..];
    }

    /// One topic's result.
    pub struct CreatePartitionsTopicResult {
        name: Str [0..];
        error_code: i16 [0..];
        error_message: Option<Str> [0..];
    }
}
