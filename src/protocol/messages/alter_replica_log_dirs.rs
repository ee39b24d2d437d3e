//! AlterReplicaLogDirs (key 34), versions 1-2 (KIP-113).

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Asks a broker to move replicas to other log directories of its own.
    pub request AlterReplicaLogDirsRequest: ApiKey::AlterReplicaLogDirs, (1..=2, flexible 2) => AlterReplicaLogDirsResponse {
        dirs: Vec<AlterReplicaLogDir> [0..];
    }

    /// What is to be in one directory.
    pub struct AlterReplicaLogDir {
        /// The directory's absolute path.
        path: Str [0..];
        topics: Vec<AlterReplicaLogDirTopic> [0..];
    }

    /// Partitions of one topic.
    pub struct AlterReplicaLogDirTopic {
        name: Str [0..];
        partitions: Vec<i32> [0..];
    }

    /// What became of each.
    pub message AlterReplicaLogDirsResponse (flexible 2) {
        throttle_time_ms: i32 [0..];
        results: Vec<AlterReplicaLogDirTopicResult> [0..];
    }

    /// One topic's partitions.
    pub struct AlterReplicaLogDirTopicResult {
        topic_name: Str [0..];
        partitions: Vec<AlterReplicaLogDirPartitionResult> [0..];
    }

    /// One partition.
    pub struct AlterReplicaLogDirPartitionResult {
        partition_index: i32 [0..];
        error_code: i16 [0..];
    }
}
