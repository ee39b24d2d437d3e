//! DescribeLogDirs (key 35), versions 1-4 (KIP-113, KIP-784, KIP-827).

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Asks a broker for its log directories.
    pub request DescribeLogDirsRequest: ApiKey::DescribeLogDirs, (1..=4, flexible 2) => DescribeLogDirsResponse {
        /// Which partitions; null means all.
        topics: Option<Vec<DescribableLogDirTopic>> [0..];
    }

    /// Partitions of one topic.
    pub struct DescribableLogDirTopic {
        topic: Str [0..];
        partitions: Vec<i32> [0..];
    }

    /// The log directories.
    pub message DescribeLogDirsResponse (flexible 2) {
        throttle_time_ms: i32 [0..];
        error_code: i16 [3..; ignorable];
        results: Vec<DescribeLogDirsResult> [0..];
    }

    /// One directory.
    pub struct DescribeLogDirsResult {
        error_code: i16 [0..];
        log_dir: Str [0..];
        topics: Vec<DescribeLogDirsTopic> [0..];
        /// The size of its file system; -1: not known.
        total_bytes: i64 [4..; ignorable] = -1;
        /// What may still be written there; -1: not known.
        usable_bytes: i64 [4..; ignorable] = -1;
    }

    /// Logs of one topic.
    pub struct DescribeLogDirsTopic {
        name: Str [0..];
        partitions: Vec<DescribeLogDirsPartition> [0..];
    }

    /// One log.
    pub struct DescribeLogDirsPartition {
        partition_index: i32 [0..];
        partition_size: i64 [0..];
        /// How far it is behind the high watermark, or, if it is a future log, behind the current one.
        offset_lag: i64 [0..];
        is_future_key: bool [0..];
    }
}
