//! DeleteRecords (key 21), versions 0-2 (KIP-107).

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Drops the oldest records of partitions.
    pub request DeleteRecordsRequest: ApiKey::DeleteRecords, (0..=2, flexible 2) => DeleteRecordsResponse {
        topics: Vec<DeleteRecordsTopic> [0..];
        /// How long to wait until the followers have dropped them too.
        timeout_ms: i32 [0..];
    }

    /// One topic's partitions.
    pub struct DeleteRecordsTopic {
        name: Str [0..];
        partitions: Vec<DeleteRecordsPartition> [0..];
    }

    /// One partition.
    pub struct DeleteRecordsPartition {
        partition_index: i32 [0..];
        /// What lies below goes; -1: below the high watermark.
        offset: i64 [0..];
    }

    /// Where the partitions begin now.
    pub message DeleteRecordsResponse (flexible 2) {
        throttle_time_ms: i32 [0..];
        topics: Vec<DeleteRecordsTopicResult> [0..];
    }

    /// One topic's partitions.
    pub struct DeleteRecordsTopicResult {
        name: Str [0..];
        partitions: Vec<DeleteRecordsPartitionResult> [0..];
    }

    /// One partition.
    pub struct DeleteRecordsPartitionResult {
        partition_index: i32 [0..];
        /// The lowest log start of all replicas that are up; -1 with an error.
        low_watermark: i64 [0..];
        error_code: i16 [0..];
    }
}
