//! ElectLeaders (key 43), versions 0-2 (KIP-183, KIP-460).

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Elects leaders.
    pub request ElectLeadersRequest: ApiKey::ElectLeaders, (0..=2, flexible 2) => ElectLeadersResponse {
        /// 0: the preferred replica, 1: any live one.
        election_type: i8 [1..];
        /// Which partitions; null means all.
        topic_partitions: Option<Vec<TopicPartitions>> [0..];
        timeout_ms: i32 [0..] = 60_000;
    }

    /// Partitions of one topic.
    pub struct TopicPartitions {
        topic: Str [0..];
        partitions: Vec<i32> [0..];
    }

    /// What became of each.
    pub message ElectLeadersResponse (flexible 2) {
        throttle_time_ms: i32 [0..];
        error_code: i16 [1..; ignorable];
        replica_election_results: Vec<ReplicaElectionResult> [0..];
    }

    /// One topic's results.
    pub struct ReplicaElectionResult {
        topic: Str [0..];
        partition_result: Vec<PartitionResult> [0..];
    }

    /// One partition's result.
    pub struct PartitionResult {
        partition_id: i32 [0..];
        error_code: i16 [0..];
        error_message: Option<Str> [0..];
    }
}
