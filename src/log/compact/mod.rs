//! Compaction: of records with the same key the last stays. What was not compacted yet is the
//! dirty part of a log; a pass makes it clean, and the catalog remembers how far.
//!
//! - `pass`: [`Cleaning`], one compaction of one log, step by step
//! - `reader`: through a segment, batch by batch
//!
//! Pure:
//! - `range`: which part of a log may be compacted, how urgent that is, what becomes one segment
//! - `decide`, `batch`: what may be removed; what a batch is afterwards
//! - `offset_map`, `hash`: the last offset of each key in bounded memory

pub(crate) mod batch;
pub(crate) mod decide;
pub(crate) mod hash;
pub(crate) mod offset_map;
mod pass;
pub(crate) mod range;
mod reader;

use std::sync::atomic::Ordering;

use crate::log::error::{AppendError, StorageError};
use crate::log::partition_log::Log;
use crate::log::segment::Segment;
use crate::log::stored;
use crate::types::{Offset, TimestampMs};

pub use pass::{CleanError, Cleaned, Cleaning, PassLimits, Step};
pub use range::Cleanable;

use range::{Limits, Sealed};

impl Segment {
    /// What is known of it without reading it.
    pub(crate) fn sealed(&self) -> Sealed {
        Sealed {
            base_offset: self.base_offset(),
            next_offset: self.next_offset(),
            size_bytes: self.size_bytes(),
            first_timestamp: self.first_timestamp(),
            max_timestamp: self.max_timestamp(),
        }
    }
}

impl Log {
    /// Up to where the log was compacted: no key stands twice below.
    pub fn compacted_to(&self) -> Offset {
        Offset(self.ends.compacted.load(Ordering::Acquire)).max(self.log_start_offset())
    }

    /// What of the log may be compacted: whole sealed segments, committed, without open
    /// transactions, on the device, and older than `min.compaction.lag.ms`. `None` where the
    /// topic is not compacted, nothing is written any more, the log is on its way to another
    /// directory, or it is not certain since the log was opened which transactions have ended for
    /// good.
    pub fn cleanable(&self, now: TimestampMs) -> Option<Cleanable> {
        let config = self.config();
        if !config.cleanup_compact
            || self.is_copied.load(Ordering::Acquire)
            || self.check_writable().is_err()
            || self.high_watermark().0 < self.ends.resumed_at.load(Ordering::Acquire)
        {
            return None;
        }
        let sealed: Vec<Sealed> =
            self.sealed_segments().iter().map(|segment| segment.sealed()).collect();
        let limits = Limits {
            first_dirty: self.compacted_to(),
            uncleanable: self.last_stable_offset().min(self.recovery_point()),
            now,
            min_lag: config.min_compaction_lag,
            max_lag: config.max_compaction_lag,
        };
        Some(range::cleanable(&sealed, limits))
    }

    /// Notes that no key stands twice below `to`, unless the log was cut since its count of cuts
    /// was `cuts`. A crash may lose the note: the next pass then finds nothing to do.
    pub(crate) fn note_compacted(&self, to: Offset, cuts: u64) -> Result<(), CleanError> {
        let _writer = self.writer.lock();
        self.check_writable()?;
        if self.cuts() != cuts {
            return Err(CleanError::Interrupted("the log was cut"));
        }
        self.ends.compacted.store(to.0, Ordering::Release);
        let id = self.topic_id_partition();
        let stored = self.shared.gate.lazily(|batch| stored::put_compacted(batch, id, to));
        Ok(stored.map_err(|error| self.poison_always(StorageError::Catalog(error)))?)
    }

    /// Whether the active segment holds something that `max.compaction.lag.ms` wants compacted: it
    /// can be only once it is sealed (KIP-354).
    pub fn must_roll_for_compaction(&self, now: TimestampMs) -> bool {
        let config = self.config();
        let Some(limit) = config.max_compaction_lag.filter(|_| config.cleanup_compact) else {
            return false;
        };
        let active = self.active();
        let age_ms = active.first_timestamp().map_or(0, |first| now.0.saturating_sub(first.0));
        active.size_bytes() > 0
            && u128::try_from(age_ms).is_ok_and(|age_ms| age_ms > limit.as_millis())
    }

    /// Seals the active segment if [`Self::must_roll_for_compaction`] says so. Blocks.
    pub fn roll_for_compaction_blocking(&self, now: TimestampMs) -> Result<bool, StorageError> {
        let mut writer = self.writer.lock();
        self.check_writable()?;
        if !self.must_roll_for_compaction(now) {
            return Ok(false);
        }
        match self.roll(&mut writer, self.log_end_offset()) {
            Ok(_) => Ok(true),
            Err(AppendError::Storage(storage)) => Err(storage),
            Err(other) => Err(StorageError::Poisoned(other.to_string())),
        }
    }
}
