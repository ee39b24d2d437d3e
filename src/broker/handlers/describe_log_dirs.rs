//! DescribeLogDirs (key 35), versions 1-4: what lies in each log directory of this broker.
//!
//! As in Kafka the log of the cluster's metadata is not listed, every directory is, even without any
//! of the partitions that were asked for, and an offline one is nothing but its error.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;

use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::protocol::messages::describe_log_dirs::{
    DescribableLogDirTopic, DescribeLogDirsPartition, DescribeLogDirsRequest,
    DescribeLogDirsResponse, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use crate::replication::{DirectoryDescription, LogDescription, Replicas};
use crate::types::ErrorCode;

/// What is given where a number is not known.
const UNKNOWN: i64 = -1;

/// See the module's documentation.
pub(crate) struct DescribeLogDirs {
    /// This node's replicas.
    pub replicas: Arc<Replicas>,
}

impl Handler for DescribeLogDirs {
    type Request = DescribeLogDirsRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<DescribeLogDirsRequest>,
    ) -> Outcome<DescribeLogDirsResponse> {
        Outcome::later(async move {
            let wanted = Wanted::of(call.request.topics.as_deref());
            let directories = self.replicas.describe_directories().await;
            DescribeLogDirsResponse {
                throttle_time_ms: 0,
                error_code: ErrorCode::None.code(),
                results: directories.iter().map(|directory| result(directory, &wanted)).collect(),
            }
        })
    }
}

/// The partitions that were asked for; none: all.
struct Wanted<'a>(Option<BTreeSet<(&'a str, i32)>>);

impl<'a> Wanted<'a> {
    fn of(topics: Option<&'a [DescribableLogDirTopic]>) -> Self {
        Self(topics.map(|topics| {
            let partitions = topics.iter().flat_map(|topic| {
                topic.partitions.iter().map(|partition| (&*topic.topic, *partition))
            });
            partitions.collect()
        }))
    }

    fn has(&self, log: &LogDescription) -> bool {
        let name = &log.topic_partition;
        self.0.as_ref().is_none_or(|wanted| wanted.contains(&(&*name.topic, name.partition.0)))
    }
}

/// A directory's absolute path, as Kafka names directories.
pub(crate) fn absolute(path: &Path) -> String {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).display().to_string()
}

fn result(directory: &DirectoryDescription, wanted: &Wanted<'_>) -> DescribeLogDirsResult {
    let log_dir = absolute(&directory.path).into();
    if directory.is_offline {
        return DescribeLogDirsResult {
            error_code: ErrorCode::KafkaStorageError.code(),
            log_dir,
            topics: Vec::new(),
            total_bytes: UNKNOWN,
            usable_bytes: UNKNOWN,
        };
    }
    let mut topics: BTreeMap<&str, Vec<DescribeLogDirsPartition>> = BTreeMap::new();
    for log in directory.logs.iter().filter(|log| wanted.has(log)) {
        topics.entry(&log.topic_partition.topic).or_default().push(partition(log));
    }
    let bytes = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
    DescribeLogDirsResult {
        error_code: ErrorCode::None.code(),
        log_dir,
        topics: topics
            .into_iter()
            .map(|(name, partitions)| DescribeLogDirsTopic { name: name.into(), partitions })
            .collect(),
        total_bytes: directory.space.map_or(UNKNOWN, |space| bytes(space.total_bytes)),
        usable_bytes: directory.space.map_or(UNKNOWN, |space| bytes(space.available_bytes)),
    }
}

fn partition(log: &LogDescription) -> DescribeLogDirsPartition {
    DescribeLogDirsPartition {
        partition_index: log.topic_partition.partition.0,
        partition_size: i64::try_from(log.size_bytes).unwrap_or(i64::MAX),
        offset_lag: log.offset_lag.unwrap_or(UNKNOWN),
        is_future_key: log.is_future,
    }
}
