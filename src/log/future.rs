//! Future logs: copies that are being filled in one data directory to take the place of a log in
//! another one of the same broker (KIP-113). A future log lies in a directory whose name says so;
//! that name is all that makes it one, so it takes the log's place by losing it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use crate::log::config::LogConfig;
use crate::log::directory::LogDirectory;
use crate::log::error::{CreateError, StorageError};
use crate::log::meta_properties::{read_partition_metadata, write_partition_metadata};
use crate::log::names::{DirectoryName, discarded_name, is_too_long_for_a_future};
use crate::log::partition_log::{Log, LogParts};
use crate::log::recovery::LogToOpen;
use crate::log::segment::Segment;
use crate::log::shared::DirectoryShared;
use crate::log::stored;
use crate::storage::offload;
use crate::types::{Offset, TopicId, TopicIdPartition, TopicPartition};

/// Future logs by partition.
pub(crate) type Futures = BTreeMap<TopicPartition, Arc<Log>>;

impl LogDirectory {
    /// The future logs that are being filled here.
    pub fn futures(&self) -> Vec<Arc<Log>> {
        self.futures.read().values().cloned().collect()
    }

    /// The future log of one partition.
    pub fn future(&self, topic_partition: &TopicPartition) -> Option<Arc<Log>> {
        self.futures.read().get(topic_partition).cloned()
    }

    /// Every log, the future ones too.
    pub(crate) fn all_logs(&self) -> Vec<Arc<Log>> {
        let mut all = self.logs();
        all.extend(self.futures());
        all
    }

    /// Makes a future log of a partition that begins at `start`, or gives it if it is there already.
    /// Blocks.
    ///
    /// # Errors
    /// The log itself lies here, or the partition's name is too long to be marked.
    pub fn create_future_blocking(
        &self,
        topic_partition: &TopicPartition,
        topic_id: TopicId,
        config: LogConfig,
        start: Offset,
    ) -> Result<Arc<Log>, CreateError> {
        let mut futures = self.futures.write();
        if let Some(log) = futures.get(topic_partition).filter(|log| log.topic_id == topic_id) {
            return Ok(Arc::clone(log));
        }
        if self.log(topic_partition).is_some() {
            return Err(CreateError::LiesHere(topic_partition.clone()));
        }
        if is_too_long_for_a_future(topic_partition) {
            return Err(CreateError::NameTooLong(topic_partition.clone()));
        }
        self.shared.check_writable()?;
        let (since, random) = (self.shared.clock.wall(), &*self.environment.random);
        let name = discarded_name(topic_partition, since, random, DirectoryName::FUTURE);
        let path = self.shared.path.join(name);
        let disk = &*self.shared.disk;
        disk.create_dir_all(&path).map_err(StorageError::io("make", &path))?;
        write_partition_metadata(disk, &path, topic_id)?;
        let segment = Arc::new(Segment::open(disk, &path, start)?);
        let name = topic_partition.clone();
        let parts = LogParts {
            log_start: start,
            high_watermark: start,
            recovery_point: start,
            ..LogParts::empty(name.clone(), topic_id, path, config, segment)
        };
        let log = Log::from_parts(Arc::clone(&self.shared), parts);
        futures.insert(name, Arc::clone(&log));
        Ok(log)
    }

    /// Removes a future log; its files go a moment later. False if there is none.
    pub async fn discard_future(
        self: &Arc<Self>,
        topic_partition: &TopicPartition,
    ) -> Result<bool, StorageError> {
        let (directory, topic_partition) = (Arc::clone(self), topic_partition.clone());
        let job = move || directory.discard_future_blocking(&topic_partition);
        offload(&*self.shared.offload, job).await?
    }

    /// As [`LogDirectory::discard_future`], on the caller's thread.
    pub fn discard_future_blocking(
        &self,
        topic_partition: &TopicPartition,
    ) -> Result<bool, StorageError> {
        let future = {
            // No checkpoint may put the log back while it is forgotten.
            let _checkpoint = self.checkpointing.lock();
            let Some(future) = self.futures.write().remove(topic_partition) else {
                return Ok(false);
            };
            future.close();
            let (topic_id, partition) = (future.topic_id, topic_partition.partition);
            let id = TopicIdPartition { topic_id, partition };
            let catalog = self.shared.gate.catalog();
            self.shared.gate.durably(|batch| stored::delete_log(catalog, batch, id))??;
            future
        };
        let renamed = self.rename(topic_partition, future.path(), DirectoryName::DELETED)?;
        self.shared.discard_later(renamed, Duration::ZERO);
        Ok(true)
    }
}

/// The future logs that an earlier run left: directories' names with their partitions. One whose log
/// lies here too is of no use.
pub(crate) fn futures_found(
    shared: &DirectoryShared,
    stored: &mut BTreeMap<TopicIdPartition, stored::StoredLog>,
    found: Vec<(String, TopicPartition)>,
    logs: &[LogToOpen],
) -> Vec<LogToOpen> {
    let mut taken: BTreeSet<&TopicPartition> =
        logs.iter().map(|log| &log.topic_partition).collect();
    let mut futures = Vec::new();
    for (name, topic_partition) in &found {
        let path = shared.path.join(name);
        let topic_id = read_partition_metadata(&*shared.disk, &path);
        let Some(topic_id) = topic_id.filter(|_| taken.insert(topic_partition)) else {
            shared.discard_later(path, Duration::ZERO);
            continue;
        };
        let id = TopicIdPartition { topic_id, partition: topic_partition.partition };
        futures.push(LogToOpen {
            topic_partition: topic_partition.clone(),
            topic_id,
            path,
            config: LogConfig::default(),
            stored: stored.remove(&id),
            catalog_lost: false,
            cache_only: false,
        });
    }
    futures
}
