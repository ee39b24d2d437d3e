//! Making logs. Many at once share one sync of the directory and one flush of the catalog; none is
//! used before both: a log that somebody appended to is found again, under its topic's id, after
//! any crash.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::log::config::LogConfig;
use crate::log::directory::LogDirectory;
use crate::log::error::{CreateError, StorageError};
use crate::log::meta_properties::write_partition_metadata;
use crate::log::names::{DirectoryName, log_name};
use crate::log::partition_log::{Log, LogParts};
use crate::log::producers::Forgotten;
use crate::log::segment::Segment;
use crate::log::stored;
use crate::storage::OffloadError;
use crate::types::{Offset, TopicId, TopicPartition};

/// A log that is to be made.
#[derive(Debug, Clone)]
pub struct NewLog {
    /// Which partition's.
    pub topic_partition: TopicPartition,
    /// The topic that it belongs to.
    pub topic_id: TopicId,
    /// Its configuration.
    pub config: LogConfig,
}

/// What became of one log that was to be made.
pub(crate) type Made = Result<Arc<Log>, CreateError>;

impl LogDirectory {
    /// Makes the log of a partition, or gives it if it is there already. Logs that are asked for
    /// at the same time are made together, off the async workers.
    pub async fn create_together(self: &Arc<Self>, new: NewLog) -> Made {
        let directory = Arc::clone(self);
        let made = self
            .shared
            .creations
            .ask(&*self.shared.offload, new, move |wanted| directory.create_all(wanted))
            .await;
        made.map_err(StorageError::from)?
    }

    /// As [`LogDirectory::create_together`] for one log, on the caller's thread.
    pub fn create(
        &self,
        topic_partition: &TopicPartition,
        topic_id: TopicId,
        config: LogConfig,
    ) -> Made {
        let topic_partition = topic_partition.clone();
        let made = self.create_all(vec![NewLog { topic_partition, topic_id, config }]);
        // One was asked for.
        made.into_iter().next().unwrap_or(Err(StorageError::from(OffloadError::Stopped).into()))
    }

    /// Makes logs, each with a result of its own, in their order.
    pub fn create_all(&self, wanted: Vec<NewLog>) -> Vec<Made> {
        let _one_round_at_a_time = self.shared.making.lock();
        let mut fresh = BTreeMap::new();
        let begin = |new| {
            self.begin_log(new, &mut fresh).inspect_err(|error| {
                if let CreateError::Storage(error) = error {
                    self.shared.offline_if_failed(error);
                }
            })
        };
        let begun: Vec<Made> = wanted.into_iter().map(begin).collect();
        if fresh.is_empty() {
            return begun;
        }
        match self.make_durable(&fresh) {
            Ok(()) => {
                self.logs.write().extend(fresh);
                begun
            }
            Err(error) => {
                let reason = error.to_string();
                self.shared.go_offline(&reason);
                let unless_known = |made: Made| match made {
                    Ok(log) if fresh.contains_key(log.topic_partition()) => {
                        Err(StorageError::Poisoned(reason.clone()).into())
                    }
                    known => known,
                };
                begun.into_iter().map(unless_known).collect()
            }
        }
    }

    /// The log that is there, or one whose files are made and that nobody may use yet.
    fn begin_log(&self, new: NewLog, fresh: &mut BTreeMap<TopicPartition, Arc<Log>>) -> Made {
        let NewLog { topic_partition, topic_id, config } = new;
        // What was on its way here is not needed any more.
        if self.future(&topic_partition).is_some() {
            self.discard_future_blocking(&topic_partition)?;
        }
        let known = self.log(&topic_partition).or_else(|| fresh.get(&topic_partition).cloned());
        if let Some(log) = known {
            if log.topic_id != topic_id {
                let (found, expected) = (log.topic_id, topic_id);
                return Err(CreateError::OtherTopic { log: topic_partition, found, expected });
            }
            log.set_config(config);
            return Ok(log);
        }
        self.shared.check_writable()?;
        let path = self.shared.path.join(log_name(&topic_partition));
        let disk = &*self.shared.disk;
        if disk.exists(&path) {
            // What is left of a log that could not be removed: nobody may read it as the new one.
            let aside = self.rename(&topic_partition, &path, DirectoryName::STRAY)?;
            tracing::warn!(path = %aside.display(), "set aside what stood in a new log's place");
        }
        disk.create_dir(&path).map_err(StorageError::io("make", &path))?;
        write_partition_metadata(disk, &path, topic_id)?;
        let segment = Arc::new(Segment::open(disk, &path, Offset::ZERO)?);
        if config.preallocate {
            segment.allocate(config.segment_bytes);
        }
        let parts = LogParts::empty(topic_partition.clone(), topic_id, path, config, segment);
        let log = Log::from_parts(Arc::clone(&self.shared), parts);
        fresh.insert(topic_partition, Arc::clone(&log));
        Ok(log)
    }

    /// The directories of new logs are on the device before the catalog names them: one that it
    /// names and that is not there counts as lost.
    fn make_durable(&self, fresh: &BTreeMap<TopicPartition, Arc<Log>>) -> Result<(), StorageError> {
        let path = &self.shared.path;
        self.shared.disk.sync_dir(path).map_err(StorageError::io("sync", path))?;
        self.shared.gate.durably(|batch| {
            for log in fresh.values() {
                stored::put_identity(batch, log);
                stored::put_progress(batch, log, Forgotten::default(), Offset::ZERO);
            }
        })?;
        for log in fresh.values() {
            log.ends.stored_high_watermark.store(0, Ordering::Release);
        }
        Ok(())
    }
}
