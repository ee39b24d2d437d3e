//! AlterReplicaLogDirs (key 34), versions 1-2: replicas of this broker move to other log directories
//! of its own, in the background; DescribeLogDirs shows how far they are.
//!
//! Unlike Kafka, a partition of which no replica is on this broker is not remembered for the time when
//! one may come: it is answered with REPLICA_NOT_AVAILABLE and nothing else.

use std::path::Path;
use std::sync::Arc;

use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse,
};
use crate::replication::Replicas;
use crate::types::{ErrorCode, TopicName, TopicPartition};

/// See the module's documentation.
pub(crate) struct AlterReplicaLogDirs {
    /// This node's replicas.
    pub replicas: Arc<Replicas>,
}

impl Handler for AlterReplicaLogDirs {
    type Request = AlterReplicaLogDirsRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<AlterReplicaLogDirsRequest>,
    ) -> Outcome<AlterReplicaLogDirsResponse> {
        Outcome::later(async move {
            let mut results = Vec::new();
            for directory in &call.request.dirs {
                self.move_to(directory, &mut results).await;
            }
            AlterReplicaLogDirsResponse { throttle_time_ms: 0, results }
        })
    }
}

impl AlterReplicaLogDirs {
    async fn move_to(
        &self,
        directory: &AlterReplicaLogDir,
        results: &mut Vec<AlterReplicaLogDirTopicResult>,
    ) {
        let to = Path::new(&*directory.path);
        for topic in &directory.topics {
            let name = TopicName::new(&topic.name);
            let mut partitions = Vec::with_capacity(topic.partitions.len());
            for &partition in &topic.partitions {
                let place = TopicPartition::new(name.clone(), partition);
                let result = self.replicas.alter_directory(&place, to).await;
                let error = result.err().unwrap_or(ErrorCode::None);
                partitions.push(AlterReplicaLogDirPartitionResult {
                    partition_index: partition,
                    error_code: error.code(),
                });
            }
            results
                .push(AlterReplicaLogDirTopicResult { topic_name: topic.name.clone(), partitions });
        }
    }
}
