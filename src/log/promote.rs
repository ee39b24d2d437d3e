//! A future log takes the place of the log that it is a copy of. Each directory is another disk, so
//! this is no one step; the order makes it safe against a crash after each:
//!
//! 1. the log takes down durably where it is about to move to;
//! 2. while it takes no writes the future log gets what is missing, and all of it is made durable;
//! 3. the future log's directory loses the mark in its name, durably: from here on it is the log;
//! 4. the old log is removed.
//!
//! At a start ([`settle_moves`]) a log that was about to move is the old one if the directory that it
//! was to move to holds a log of that name, and the true one if that holds none. While that
//! directory cannot be opened nobody knows, and the log must not be used.

use std::sync::Arc;

use parking_lot::MutexGuard;

use crate::log::config::LogConfig;
use crate::log::damage::DamageNotes;
use crate::log::directory::LogDirectory;
use crate::log::error::{CopyError, StorageError};
use crate::log::names::log_name;
use crate::log::partition_log::Log;
use crate::log::recovery::{LogToOpen, recover};
use crate::log::stored;
use crate::types::{DirectoryId, TopicIdPartition};

/// How much is copied at once while nobody may write.
const LAST_COPY_BYTES: usize = 1 << 20;

/// Why a future log has not taken the log's place.
#[derive(Debug, thiserror::Error)]
pub enum PromoteError {
    /// Nothing has changed: the log stays where it is.
    #[error("the log stays where it is: {0}")]
    Before(CopyError),
    /// It is not known which of the two is the log: it must not be written to before the next start.
    #[error("nobody knows whether the log has moved: {0}")]
    Halfway(StorageError),
}

/// No checkpoint of the directory runs while this is held.
#[derive(Debug)]
pub struct CheckpointTurn<'a> {
    _turn: MutexGuard<'a, ()>,
}

impl Log {
    /// The directory to which the log was about to move when the last run ended, unless that is
    /// settled.
    pub fn moving_to(&self) -> Option<DirectoryId> {
        *self.moving_to.lock()
    }

    /// Notes durably that the log is about to move, or that it is not. Blocks.
    pub fn set_moving_to(&self, directory: Option<DirectoryId>) -> Result<(), StorageError> {
        self.store(|batch| stored::put_moving_to(batch, self, directory))?;
        *self.moving_to.lock() = directory;
        Ok(())
    }
}

impl LogDirectory {
    /// Waits until no checkpoint of this directory runs, and lets none begin. Blocks.
    pub fn checkpoint_turn(&self) -> CheckpointTurn<'_> {
        CheckpointTurn { _turn: self.checkpointing.lock() }
    }

    /// Steps 2 and 3: `source` takes no writes from here on; if it is to take them again, the caller
    /// has to see to it ([`Log::resume_writes`] is what [`PromoteError::Before`] has done). Blocks.
    pub fn promote_future(
        &self,
        _turn: &CheckpointTurn<'_>,
        future: &Arc<Log>,
        source: &Log,
    ) -> Result<Arc<Log>, PromoteError> {
        source.pause_writes();
        if let Err(error) = complete(future, source) {
            source.resume_writes();
            return Err(PromoteError::Before(error));
        }
        future.close();
        self.take_place(future, source).map_err(|error| {
            self.shared.go_offline(&format!("{}: {error}", future.topic_partition));
            PromoteError::Halfway(error)
        })
    }

    fn take_place(&self, future: &Arc<Log>, source: &Log) -> Result<Arc<Log>, StorageError> {
        let name = future.topic_partition().clone();
        let path = self.shared.path.join(log_name(&name));
        let disk = &self.shared.disk;
        disk.rename(&future.path, &path).map_err(StorageError::io("rename", &future.path))?;
        disk.sync_dir(&self.shared.path).map_err(StorageError::io("sync", &self.shared.path))?;
        let id = TopicIdPartition { topic_id: future.topic_id, partition: name.partition };
        let stored = stored::load_log(self.shared.gate.catalog(), id);
        let stored = stored.map_err(|error| StorageError::Poisoned(error.to_string()))?;
        let to_open = LogToOpen {
            topic_partition: name.clone(),
            topic_id: future.topic_id,
            path,
            config: LogConfig::clone(&source.config()),
            stored: Some(stored),
            catalog_lost: false,
            // This process wrote it, or wrote it once more, and its syncs have not failed.
            cache_only: false,
        };
        let damage = DamageNotes::new(self.markers(), self.previous_run);
        let log = recover(&self.shared, to_open, &damage)?;
        if log.log_end_offset() != source.log_end_offset() {
            let (end, wanted) = (log.log_end_offset(), source.log_end_offset());
            let reason = format!("the copy of a log that ends at {wanted} ends at {end}");
            return Err(StorageError::Poisoned(reason));
        }
        log.set_high_watermark(source.high_watermark());
        self.futures.write().remove(&name);
        self.logs.write().insert(name, Arc::clone(&log));
        Ok(log)
    }
}

/// Step 2.
fn complete(future: &Log, source: &Log) -> Result<(), CopyError> {
    while future.copy_from(source, LAST_COPY_BYTES)? > 0 {}
    future.become_copy_of(source)
}

/// Settles the moves that the last run was about to complete. Blocks. Call it before anything is
/// done with the logs.
pub fn settle_moves(directories: &[Arc<LogDirectory>]) -> Result<(), StorageError> {
    for directory in directories {
        for log in directory.logs() {
            let Some(to) = log.moving_to() else { continue };
            let name = log.topic_partition();
            let to = directories.iter().find(|other| other.directory_id() == to);
            let Some(to) = to else {
                tracing::error!(log = %name, directory = %directory.path().display(), "the log was about to move to a directory that is offline");
                continue;
            };
            if to.log(name).is_some_and(|moved| moved.topic_id() == log.topic_id()) {
                tracing::info!(log = %name, directory = %to.path().display(), "the log had moved");
                directory.delete_blocking(name)?;
            } else {
                log.set_moving_to(None)?;
            }
        }
    }
    Ok(())
}
