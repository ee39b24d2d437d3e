//! Making appended records durable: fdatasync of the dirty segments, shared by all who wait.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Weak};

use tokio::sync::Notify;

use crate::log::config::LogConfig;
use crate::log::directory::CHECKPOINT_INTERVAL;
use crate::log::error::StorageError;
use crate::log::partition_log::{Log, Writer};
use crate::log::segment::{Segment, SegmentPoint};
use crate::storage::OffloadError;
use crate::types::Offset;

/// After so many syncs of one log in a row, the jobs that wait for the thread get their turn.
const FLUSHES_AT_A_TIME: usize = 8;

/// What a sync has to cover, noted under the writer's lock.
#[derive(Debug)]
pub(crate) struct SyncPlan {
    pub(crate) log_end: Offset,
    pub(crate) cuts: u64,
    pub(crate) segments: Vec<SegmentPoint>,
    directory_dirty: bool,
}

/// Syncs under way and wanted.
#[derive(Debug, Default)]
pub(crate) struct Flushes {
    /// Somebody syncs, or is about to.
    is_running: AtomicBool,
    /// Up to where a sync is wanted.
    wanted: AtomicI64,
    /// A sync has ended, well or badly.
    ended: Notify,
    /// Nothing runs any more that could sync.
    is_stopped: AtomicBool,
    /// `flush.ms` is running for something that is not synced.
    pub(crate) is_timed: AtomicBool,
}

/// Syncs that were handed over to another thread.
struct Handed {
    log: Arc<Log>,
    is_done: bool,
}

impl Handed {
    fn run(mut self) {
        self.log.run_flushes();
        self.is_done = true;
    }
}

impl Drop for Handed {
    /// If they were dropped without being run, or did not come to their end, nobody waits for ever.
    fn drop(&mut self) {
        if !self.is_done {
            let flushes = &self.log.flushes;
            flushes.is_stopped.store(true, Ordering::Release);
            flushes.is_running.store(false, Ordering::Release);
            flushes.ended.notify_waiters();
        }
    }
}

impl Log {
    /// Makes all that is appended so far durable, off the async workers, and gives the flushed
    /// offset. Whoever comes while a sync runs shares the next one with all who wait.
    pub async fn flush(self: &Arc<Self>) -> Result<Offset, StorageError> {
        let wanted = self.log_end_offset();
        loop {
            let ended = self.flushes.ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            self.check_poison()?;
            // What was cut off meanwhile needs no sync.
            if self.flushed_offset() >= wanted.min(self.log_end_offset()) {
                return Ok(self.flushed_offset());
            }
            if self.flushes.is_stopped.load(Ordering::Acquire) {
                return Err(OffloadError::Stopped.into());
            }
            self.start_flush(wanted);
            ended.await;
        }
    }

    /// Has everything below `wanted` synced, by whoever syncs or by a thread of the offload.
    pub(crate) fn start_flush(&self, wanted: Offset) {
        self.flushes.wanted.fetch_max(wanted.0, Ordering::AcqRel);
        if self.flushes.is_running.swap(true, Ordering::AcqRel) {
            // Whoever runs looks at what is wanted after he has said that he does not any more.
            return;
        }
        let Some(log) = self.me.upgrade() else { return };
        let handed = Handed { log, is_done: false };
        self.shared.offload.run(Box::new(move || handed.run()));
    }

    fn run_flushes(&self) {
        for _ in 0..FLUSHES_AT_A_TIME {
            // A failure poisons the log, which tells those who wait.
            let failed = self.flush_blocking().is_err();
            self.flushes.is_running.swap(false, Ordering::AcqRel);
            self.flushes.ended.notify_waiters();
            let wanted = Offset(self.flushes.wanted.load(Ordering::Acquire));
            let is_done = self.flushed_offset() >= wanted.min(self.log_end_offset());
            if failed || is_done || self.flushes.is_running.swap(true, Ordering::AcqRel) {
                return;
            }
        }
        // Others wait for this thread too.
        self.flushes.is_running.store(false, Ordering::Release);
        self.start_flush(self.log_end_offset());
    }

    /// After an append: has it synced if `flush.messages` says so, or sees to it that it will be
    /// before `flush.ms` is over. The checkpoint syncs everything at its own pace besides.
    pub(crate) fn flush_where_due(&self, config: &LogConfig, log_end: Offset) {
        let unsynced = u64::try_from(log_end.since(self.flushed_offset())).unwrap_or(0);
        if config.flush_messages.is_some_and(|messages| unsynced >= messages) {
            self.start_flush(log_end);
        } else if let Some(interval) = config.flush_interval
            && interval < CHECKPOINT_INTERVAL
            && !self.flushes.is_timed.swap(true, Ordering::AcqRel)
        {
            let due = self.shared.clock.monotonic().plus(interval);
            self.shared.flush_timers.add(due, Weak::clone(&self.me));
        }
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
