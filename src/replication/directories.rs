//! The data directories of this node as tools are shown them (KIP-113, KIP-827).

use std::path::PathBuf;
use std::sync::Arc;

use super::replicas::Replicas;
use crate::controller::METADATA_TOPIC_ID;
use crate::log::{Log, LogDirectory};
use crate::storage::{Space, offload};
use crate::types::TopicPartition;

/// One data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryDescription {
    /// Where it is.
    pub path: PathBuf,
    /// It has failed: nothing in it is served.
    pub is_offline: bool,
    /// The room on its file system, if that can be told.
    pub space: Option<Space>,
    /// The logs of topics in it.
    pub logs: Vec<LogDescription>,
}

/// One log in a data directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDescription {
    /// Which partition's.
    pub topic_partition: TopicPartition,
    /// The bytes of its segments.
    pub size_bytes: u64,
    /// By how many offsets it lacks behind the high watermark, or behind the current log if it is a
    /// future one; none if no replica serves the partition here.
    pub offset_lag: Option<i64>,
    /// It is being filled to take the current log's place.
    pub is_future: bool,
}

impl Replicas {
    /// Every data directory with the logs in it, those that could not be opened last.
    pub async fn describe_directories(&self) -> Vec<DirectoryDescription> {
        let mut described = Vec::new();
        for directory in self.directories() {
            described.push(self.describe_directory(directory).await);
        }
        let offline = |path: &PathBuf| DirectoryDescription {
            path: path.clone(),
            is_offline: true,
            space: None,
            logs: Vec::new(),
        };
        described.extend(self.unopened.iter().map(offline));
        described
    }

    async fn describe_directory(&self, directory: &Arc<LogDirectory>) -> DirectoryDescription {
        let path = directory.path().to_owned();
        if directory.is_offline() {
            return DirectoryDescription { path, is_offline: true, space: None, logs: Vec::new() };
        }
        let asked = Arc::clone(directory);
        let space = match offload(&*self.offload, move || asked.space()).await {
            Ok(Ok(space)) => Some(space),
            Ok(Err(_)) | Err(_) => None,
        };
        let logs = directory.logs().into_iter();
        let logs = logs.filter(|log| log.topic_id() != METADATA_TOPIC_ID);
        let mut logs: Vec<_> = logs.map(|log| self.describe_log(&log, false)).collect();
        let futures = directory.futures();
        logs.extend(futures.iter().map(|future| self.describe_log(future, true)));
        DirectoryDescription { path, is_offline: false, space, logs }
    }

    fn describe_log(&self, log: &Arc<Log>, is_future: bool) -> LogDescription {
        let topic_partition = log.topic_partition().clone();
        let current = self.partition(&topic_partition).ok().map(|partition| partition.log());
        let lag = |current: Arc<Log>| {
            let end = if is_future { current.log_end_offset() } else { current.high_watermark() };
            end.since(log.log_end_offset()).max(0)
        };
        LogDescription {
            topic_partition,
            size_bytes: log.size_bytes(),
            offset_lag: current.map(lag),
            is_future,
        }
    }
}
