//! Filling a log from another one of the same partition on the same machine: what a follower does
//! over the wire, without the wire.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use crate::log::epochs::EpochHistory;
use crate::log::error::{AppendError, CopyError, StorageError};
use crate::log::partition_log::Log;
use crate::types::LeaderEpoch;

impl Log {
    /// Copies the next records of `source`, about `max_bytes` of them, after cutting off what
    /// `source` does not have (rules 3 and 4). Gives how many bytes were copied; 0: this log has
    /// everything. Blocks.
    ///
    /// From here on until [`Log::is_copied_no_more`] the cleaner leaves `source` alone: what it
    /// removes may stay here if it was copied before, and what it removes next is the tombstone
    /// that would have hidden it. Damage that is met is told to whoever mends `source`.
    pub fn copy_from(&self, source: &Log, max_bytes: usize) -> Result<usize, CopyError> {
        source.is_copied.store(true, Ordering::Release);
        self.converge(source)?;
        let from = self.log_end_offset();
        let slice = source
            .read(from, source.log_end_offset(), max_bytes, true)
            .and_then(|slice| {
                source.check_before_replication(from, &slice.records)?;
                Ok(slice)
            })
            .inspect_err(|error| source.suspect(error))?;
        let count = slice.records.len();
        if count > 0 {
            let epoch = source.latest_epoch().unwrap_or(LeaderEpoch(0));
            match self.append_as_follower(slice.records.clone(), epoch) {
                Ok(_) => {}
                Err(AppendError::AroundStart { .. }) => {
                    self.append_around_start_blocking(slice.records, epoch)?;
                }
                // Compaction has merged a batch that was copied before with one behind it.
                Err(AppendError::OffsetGap { got, expected }) if got < expected => {
                    self.truncate_to_blocking(got.max(self.log_start_offset()))?;
                }
                Err(error) => {
                    if matches!(error, AppendError::Invalid(_)) {
                        // What the source took it would take again, were it what was written.
                        source.suspect_at(from, &error.to_string());
                    }
                    return Err(error.into());
                }
            }
        }
        self.set_high_watermark(source.high_watermark());
        Ok(count)
    }

    /// Cuts this log back to where it agrees with `source`.
    fn converge(&self, source: &Log) -> Result<(), CopyError> {
        let start = source.log_start_offset();
        if self.log_end_offset() < start {
            self.truncate_fully_and_start_at_blocking(start)?;
        }
        while let Some(epoch) = self.latest_epoch() {
            let (theirs, end) = (source.end_offset_for_epoch(epoch), self.log_end_offset());
            let agreed = if theirs.epoch == epoch {
                theirs.end_offset
            } else if theirs.epoch == LeaderEpoch::NONE {
                // Above all that the source knows: reigns that it has lost.
                let lost = |latest| self.end_offset_for_epoch(latest).end_offset;
                let end = source.log_end_offset();
                source.latest_epoch().map_or(end, |latest| lost(latest).min(end))
            } else {
                self.end_offset_for_epoch(theirs.epoch).end_offset.min(theirs.end_offset)
            };
            if agreed >= end {
                return Ok(());
            }
            if agreed < self.log_start_offset() {
                self.truncate_fully_and_start_at_blocking(start)?;
                return Ok(());
            }
            self.truncate_to_blocking(agreed)?;
            if theirs.epoch == epoch {
                return Ok(());
            }
        }
        // Nothing is known of reigns: only what both have can agree.
        let end = source.log_end_offset();
        if self.log_end_offset() > end {
            self.truncate_to_blocking(end)?;
        }
        Ok(())
    }

    /// Takes over all that `source` knows beside its records, which this log has to the last one:
    /// reigns, producers, transactions, the log's start; and makes all of it durable. `source` must
    /// not change meanwhile. Blocks.
    pub(crate) fn become_copy_of(&self, source: &Log) -> Result<(), CopyError> {
        let (end, theirs) = (self.log_end_offset(), source.log_end_offset());
        if end != theirs {
            return Err(CopyError::Behind { end, source_end: theirs });
        }
        self.advance_log_start_blocking(source.log_start_offset())?;
        self.set_high_watermark(source.high_watermark());
        let (producers, transactions) = {
            let writer = source.writer.lock();
            (writer.producers.clone(), source.transactions.lock().clone())
        };
        let mut writer = self.writer.lock();
        let known: BTreeSet<_> = writer.producers.states().keys().copied().collect();
        writer.producers = producers;
        writer.producers.put_back_changed(known);
        {
            // Of an aborted transaction whose records the cleaner has taken since, some may be here.
            let mut ours = self.transactions.lock();
            let aborted: Vec<_> = ours.aborted().copied().collect();
            *ours = transactions;
            ours.remember_aborted(aborted);
        }
        *self.epochs.write() = EpochHistory::from_entries(source.epochs());
        self.ends.durable_epoch.store(-1, Ordering::Release);
        self.settle(&mut writer, |_| {})?;
        Ok(())
    }

    /// The copy that was being made is given up.
    pub fn is_copied_no_more(&self) {
        self.is_copied.store(false, Ordering::Release);
    }

    /// Takes no appends, cuts or moves of the start until [`Log::resume_writes`]; one that is under
    /// way has ended when this returns.
    pub(crate) fn pause_writes(&self) {
        self.refuse_writes();
    }

    /// See [`Log::pause_writes`].
    pub(crate) fn resume_writes(&self) {
        self.is_closing.store(false, Ordering::Release);
    }
}

impl From<StorageError> for CopyError {
    fn from(error: StorageError) -> Self {
        CopyError::Append(AppendError::Storage(error))
    }
}
