//! Mending a segment: what is sound is copied from it, batch by batch, what is damaged comes from
//! another replica, and the copy takes its place. A compacted log's segments are taken whole from the
//! other replica: its cleaner may have been further than ours, or not as far, and halves of two do not
//! fit together.
//!
//! Nothing is taken that was not committed, that bears another epoch than this log knows for its
//! offset, or that does not fit between its neighbours. A crash leaves the old segment or the new
//! one (see `replace`).

use std::collections::VecDeque;
use std::sync::Arc;

use crate::log::epochs::EpochHistory;
use crate::log::error::{AppendError, MendError, StorageError};
use crate::log::partition_log::Log;
use crate::log::replace::ReplacementFile;
use crate::log::rot::Finding;
use crate::log::scan::Headers;
use crate::log::segment::Segment;
use crate::log::verify::SegmentCheck;
use crate::record::{Batch, BatchBuilder, BatchHeader, RecordError};
use crate::types::{LeaderEpoch, Offset};

/// What a mending needs next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MendStep {
    /// To be asked again: there is more to copy.
    More,
    /// Batches from this offset to before that one: [`Mending::fill`].
    Missing {
        /// The first offset that is missing.
        from: Offset,
        /// The offset after the last.
        to: Offset,
    },
    /// Nothing: [`Mending::finish`].
    Complete,
}

/// The mending of one segment. Its methods block while the disk is read and written.
#[derive(Debug)]
pub struct Mending {
    log: Arc<Log>,
    segment: Arc<Segment>,
    file: ReplacementFile,
    damaged: VecDeque<Finding>,
    epochs: EpochHistory,
    log_start: Offset,
    /// How much of the old file is dealt with.
    position: u64,
    /// Up to where the new file holds all that there is.
    next: Offset,
    /// The offset after its last batch.
    written: Offset,
    copies_whole: bool,
    filled_bytes: u64,
}

impl Mending {
    /// Begins to mend the segment that was verified.
    ///
    /// # Errors
    /// [`MendError::NotYet`] if that can only be done later: what is damaged must be committed,
    /// closed and checkpointed. A segment that is still written to is closed by this.
    pub fn begin(check: &SegmentCheck) -> Result<Mending, MendError> {
        let (log, segment) = (check.log(), check.segment());
        let copies_whole = check.is_compacted();
        let damaged: VecDeque<Finding> = match copies_whole {
            true => VecDeque::from([Finding {
                segment: segment.base_offset(),
                position: 0,
                end: check.size_bytes(),
                from: segment.base_offset(),
                to: segment.next_offset(),
                reason: String::new(),
            }]),
            false => check.findings().iter().cloned().collect(),
        };
        if damaged.iter().any(|damaged| damaged.to > log.high_watermark()) {
            return Err(MendError::NotYet("not all that is damaged is committed"));
        }
        log.close_for_mending(segment)?;
        if segment.next_offset() > log.recovery_point() {
            return Err(MendError::NotYet("the segment is not checkpointed"));
        }
        let file = ReplacementFile::begin(log, segment.base_offset())?.as_of(check.cuts());
        Ok(Mending {
            log: Arc::clone(log),
            segment: Arc::clone(segment),
            file,
            damaged,
            epochs: log.epochs.read().clone(),
            log_start: log.log_start_offset(),
            position: 0,
            next: segment.base_offset(),
            written: segment.base_offset(),
            copies_whole,
            filled_bytes: 0,
        })
    }

    /// Copies what is sound, about `budget_bytes` of it at most.
    pub fn advance(&mut self, budget_bytes: u64) -> Result<MendStep, MendError> {
        let end = self.damaged.front().map_or(self.segment.size_bytes(), |next| next.position);
        if self.position < end {
            self.copy(end, budget_bytes)?;
            return Ok(MendStep::More);
        }
        let Some(damaged) = self.damaged.front() else { return Ok(MendStep::Complete) };
        // What lies before the log's start nobody keeps.
        let (from, to) = (self.next.max(damaged.from).max(self.log_start), damaged.to);
        if from < to {
            return Ok(MendStep::Missing { from, to });
        }
        self.position = damaged.end;
        self.next = to;
        self.damaged.pop_front();
        Ok(MendStep::More)
    }

    fn copy(&mut self, end: u64, budget_bytes: u64) -> Result<(), MendError> {
        let segment = Arc::clone(&self.segment);
        let until = self.position.saturating_add(budget_bytes.max(1));
        for located in Headers::new(&segment, self.position, end) {
            if self.position >= until {
                break;
            }
            let located = located?;
            let batch = segment.batch_at(located.position, &located.header)?;
            self.file.append(&batch.bytes, &batch.header)?;
            self.position = located.end();
            self.next = batch.header.next_offset();
            self.written = self.next;
        }
        Ok(())
    }

    /// Takes a batch for the range that [`Self::advance`] said was missing.
    ///
    /// # Errors
    /// [`MendError::Unfit`] if it is not what was written there; another replica may have it.
    pub fn fill(&mut self, batch: &Batch) -> Result<(), MendError> {
        let header = &batch.header;
        let unfit = |reason: String| {
            Err(MendError::Unfit(format!("the batch at offset {}: {reason}", header.base_offset)))
        };
        let Some(damaged) = self.damaged.front() else {
            return unfit("nothing is missing".to_owned());
        };
        if let Err(error) = batch.verify_crc() {
            return unfit(error.to_string());
        }
        let due = self.next.max(damaged.from);
        // The first batch that is kept may begin before the log's start.
        let latest = due.max(self.log_start);
        let (base, next) = (header.base_offset, header.next_offset());
        let skips = base > latest && !self.copies_whole;
        if base < due || skips || header.last_offset_delta < 0 || next > damaged.to {
            return unfit(format!("it ends before {next}, {latest} to {} is missing", damaged.to));
        }
        let epoch = header.partition_leader_epoch;
        match self.epochs.epoch_at(base.max(self.log_start)) {
            Some(known) if known == epoch => {}
            known => return unfit(format!("leader epoch {epoch}, and not {known:?}")),
        }
        self.file.append(&batch.bytes, header)?;
        self.next = next;
        self.written = next;
        self.filled_bytes += batch.bytes.len() as u64;
        Ok(())
    }

    /// The other replica holds nothing more of what is missing: its cleaner has removed it.
    ///
    /// # Errors
    /// [`MendError::Unfit`] where nothing can have been removed.
    pub fn fill_no_more(&mut self) -> Result<(), MendError> {
        match self.damaged.front() {
            Some(damaged) if self.copies_whole => self.next = damaged.to,
            Some(_) | None => {
                return Err(MendError::Unfit(format!("there is nothing from {} on", self.next)));
            }
        }
        Ok(())
    }

    /// Puts the copy into the segment's place, durably; gives how many bytes came from elsewhere.
    pub fn finish(mut self) -> Result<u64, MendError> {
        let (base, end) = (self.segment.base_offset(), self.segment.next_offset());
        if self.copies_whole && self.written < end {
            self.reach_to(end.plus(-1))?;
        }
        self.log.replace_segments(&[self.segment], self.file)?;
        self.log.note_damage(base, &[]);
        Ok(self.filled_bytes)
    }
}

impl Mending {
    /// The other replica's cleaner has removed what ended here; a segment keeps its end all the same.
    fn reach_to(&mut self, last: Offset) -> Result<(), MendError> {
        let unfit = |error: RecordError| MendError::Unfit(error.to_string());
        let epoch = self.epochs.epoch_at(last).unwrap_or(LeaderEpoch::NONE);
        let mut nothing = BatchBuilder::new(last).leader_epoch(epoch);
        nothing.reach_to(last).map_err(unfit)?;
        let bytes = nothing.build().map_err(unfit)?;
        let header = BatchHeader::parse(&bytes).map_err(unfit)?;
        self.file.append(&bytes, &header)?;
        Ok(())
    }
}

impl Log {
    /// Closes `segment` if it is still written to, so that it can be mended.
    fn close_for_mending(&self, segment: &Arc<Segment>) -> Result<(), MendError> {
        let mut writer = self.writer.lock();
        if Arc::ptr_eq(&self.active(), segment) {
            self.check_writable()?;
            tracing::info!(log = %self.topic_partition, "closing the damaged active segment");
            self.roll(&mut writer, self.log_end_offset()).map_err(|error| match error {
                AppendError::Storage(storage) => storage,
                other => StorageError::Poisoned(other.to_string()),
            })?;
        }
        Ok(())
    }
}
