//! Making appended records durable: fdatasync of the dirty segments, shared by all who wait.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::log::error::StorageError;
use crate::log::partition_log::{Log, Writer};
use crate::log::segment::{Segment, SegmentPoint};
use crate::storage::offload;
use crate::types::Offset;

/// What a sync has to cover, noted under the writer's lock.
#[derive(Debug)]
pub(crate) struct SyncPlan {
    pub(crate) log_end: Offset,
    pub(crate) cuts: u64,
    pub(crate) segments: Vec<SegmentPoint>,
    directory_dirty: bool,
}

impl Log {
    /// Makes all that is appended so far durable, off the async workers, and gives the flushed
    /// offset. Whoever comes while a sync runs waits and shares the next one.
    pub async fn flush(self: &Arc<Self>) -> Result<Offset, StorageError> {
        let wanted = self.log_end_offset();
        if self.flushed_offset() >= wanted && !self.is_poisoned() {
            return Ok(self.flushed_offset());
        }
        // The semaphore is never closed, so the permit always comes.
        let _turn = self.flush_turn.acquire().await.ok();
        if self.flushed_offset() >= wanted && !self.is_poisoned() {
            return Ok(self.flushed_offset());
        }
        let log = Arc::clone(self);
        offload(&*self.shared.offload, move || log.flush_blocking()).await?
    }

    /// As [`Log::flush`], on the caller's thread.
    pub fn flush_blocking(&self) -> Result<Offset, StorageError> {
        loop {
            self.check_poison()?;
            let plan = self.plan_sync();
            self.sync(&plan)?;
            if self.publish_flushed(&plan) {
                return Ok(self.flushed_offset());
            }
        }
    }

    pub(crate) fn plan_sync(&self) -> SyncPlan {
        self.plan_sync_with(&mut self.writer.lock())
    }

    pub(crate) fn plan_sync_with(&self, writer: &mut Writer) -> SyncPlan {
        let due = |segment: &&Arc<Segment>| segment.is_dirty() || segment.is_unstored();
        writer.unflushed_since = None;
        SyncPlan {
            log_end: self.log_end_offset(),
            cuts: self.cuts.load(Ordering::Acquire),
            segments: self.segments.load().iter().filter(due).map(Segment::point).collect(),
            directory_dirty: std::mem::take(&mut writer.directory_dirty),
        }
    }

    /// Syncs what `plan` names. A failure poisons the log: what is on the device is unknown.
    pub(crate) fn sync(&self, plan: &SyncPlan) -> Result<(), StorageError> {
        for point in plan.segments.iter().filter(|point| point.segment.is_dirty()) {
            point.segment.sync().map_err(|error| self.poison_always(error))?;
        }
        if plan.directory_dirty {
            self.shared
                .disk
                .sync_dir(&self.path)
                .map_err(StorageError::io("sync", &self.path))
                .map_err(|error| self.poison_always(error))?;
        }
        Ok(())
    }

    /// Publishes what was synced, unless the log was cut meanwhile.
    pub(crate) fn publish_flushed(&self, plan: &SyncPlan) -> bool {
        let _writer = self.writer.lock();
        let valid = self.cuts.load(Ordering::Acquire) == plan.cuts;
        if valid {
            self.ends.flushed.fetch_max(plan.log_end.0, Ordering::AcqRel);
        }
        valid
    }

    fn check_poison(&self) -> Result<(), StorageError> {
        if self.is_poisoned() {
            let reason = self.poison.lock().clone().unwrap_or_default();
            return Err(StorageError::Poisoned(reason));
        }
        Ok(())
    }
}
