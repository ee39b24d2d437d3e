//! Moving the ends of a log. The order is always: the catalog learns it, durably; then the files
//! follow. A crash in between leaves more bytes than the catalog knows, never fewer.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::log::append::note_producer;
use crate::log::error::{ReadError, StorageError, TruncateError};
use crate::log::incidents::IncidentKind;
use crate::log::partition_log::{Log, Writer};
use crate::log::scan::Headers;
use crate::log::segment::Segment;
use crate::log::stored;
use crate::log::transactions::{AbortedTransaction, Transactions};
use crate::storage::{CatalogBatch, offload};
use crate::types::{Offset, ProducerId, TimestampMs};

/// Where a log is cut: the segments that stay, the size of the last of them, the new end.
struct Cut {
    kept: usize,
    last_size_bytes: u64,
    log_end: Offset,
}

impl Log {
    /// Cuts off everything from `offset` on. Where `offset` lies within a batch, the whole batch
    /// goes. Epochs, producers, recovery point and high watermark follow.
    pub async fn truncate_to(self: &Arc<Self>, offset: Offset) -> Result<(), TruncateError> {
        let log = Arc::clone(self);
        offload(&*self.shared.offload, move || log.truncate_to_blocking(offset))
            .await
            .map_err(StorageError::from)?
    }

    /// As [`Log::truncate_to`], on the caller's thread.
    pub fn truncate_to_blocking(&self, offset: Offset) -> Result<(), TruncateError> {
        let mut writer = self.writer.lock();
        self.check_writable()?;
        let log_end = self.log_end_offset();
        if offset >= log_end {
            // The end of the history may still be that of a leader that wrote nothing.
            if self.epochs.write().truncate_end(offset) {
                self.cuts.fetch_add(1, Ordering::AcqRel);
                self.ends.durable_epoch.store(-1, Ordering::Release);
                self.store(|batch| stored::put_epochs(batch, self))?;
            }
            return Ok(());
        }
        let log_start = self.log_start_offset();
        if offset < log_start {
            return Err(TruncateError::OutOfRange { offset, log_start, log_end });
        }
        let cut = self.find_cut(offset)?;
        tracing::info!(log = %self.topic_partition, from = %log_end, to = %cut.log_end, "truncating");
        self.cut(&mut writer, &cut).inspect_err(|error| self.poison_because(&error.to_string()))
    }

    fn find_cut(&self, offset: Offset) -> Result<Cut, ReadError> {
        let segments = self.segments.load();
        let kept = segments.partition_point(|segment| segment.base_offset() <= offset).max(1);
        let last = &segments[kept - 1];
        let (last_size_bytes, log_end) = match last.headers_from(offset).next().transpose()? {
            Some(located) if located.header.base_offset > offset => {
                (located.position, self.end_before_gap(last, offset)?)
            }
            Some(located) => {
                let batch_start = located.header.base_offset.max(self.log_start_offset());
                (located.position, offset.min(batch_start))
            }
            None => (last.size_bytes(), offset),
        };
        Ok(Cut { kept, last_size_bytes, log_end })
    }

    /// Where the records before `offset` end, which lies in a gap that compaction has left. A log
    /// ends where its last batch ends, so that whoever has only the files finds the same end, and
    /// the next segment begins there.
    fn end_before_gap(&self, segment: &Segment, offset: Offset) -> Result<Offset, ReadError> {
        let from = segment.with_index(|index| index.position_for_offset(offset));
        let mut end = segment.base_offset();
        for located in Headers::new(segment, from, segment.size_bytes()) {
            let header = located?.header;
            if header.base_offset > offset {
                break;
            }
            end = header.next_offset();
        }
        Ok(end.max(self.log_start_offset()))
    }

    fn cut(&self, writer: &mut Writer, cut: &Cut) -> Result<(), TruncateError> {
        let mut segments = Vec::clone(&self.segments.load());
        let (old_end, old_bytes) = (self.log_end_offset(), self.size_bytes());
        let removed = segments.split_off(cut.kept);
        let last = Arc::clone(&segments[cut.kept - 1]);
        last.unpublish(cut.last_size_bytes, cut.log_end)?;
        self.segments.store(Arc::new(segments));
        let ends = &self.ends;
        ends.log_end.store(cut.log_end.0, Ordering::Release);
        for end in [&ends.high_watermark, &ends.recovery_point, &ends.flushed, &ends.resumed_at] {
            end.fetch_min(cut.log_end.0, Ordering::AcqRel);
        }
        self.cuts.fetch_add(1, Ordering::AcqRel);
        self.epochs.write().truncate_end(cut.log_end);
        ends.compacted.fetch_min(cut.log_end.0, Ordering::AcqRel);
        let mut undone: Vec<AbortedTransaction> =
            self.transactions.lock().aborted().copied().collect();
        self.rewind_producers(writer, cut.log_end)?;
        // Of those whose records compaction has taken, reading the log again finds nothing either.
        undone.retain(|known| !self.transactions.lock().is_aborted_at(known.last_offset));

        let bytes = old_bytes.saturating_sub(self.size_bytes());
        let reason = "the records of another leader take this place";
        self.note_incident(IncidentKind::Truncated, cut.log_end, old_end, bytes, reason);
        ends.durable_epoch.store(-1, Ordering::Release);
        self.settle(writer, |batch| {
            for aborted in &undone {
                stored::delete_aborted(batch, self, aborted);
            }
            for segment in &removed {
                stored::delete_segment(batch, self, segment);
            }
            let compacted = Offset(ends.compacted.load(Ordering::Acquire));
            stored::put_compacted(batch, self.topic_id_partition(), compacted);
        })?;

        for segment in removed.iter().rev() {
            self.discard_segment(segment)?;
        }
        last.cut_file()?;
        if !removed.is_empty() {
            self.sync_directory()?;
        }
        Ok(())
    }

    /// Makes all that the log holds durable and lets the catalog know it, together with what `fill`
    /// adds: the recovery point is then the log's end, which is what the producers' state must
    /// belong to.
    pub(crate) fn settle(
        &self,
        writer: &mut Writer,
        fill: impl FnOnce(&mut CatalogBatch),
    ) -> Result<(), StorageError> {
        let plan = self.plan_sync_with(writer);
        self.sync(&plan)?;
        let mut incidents = 0;
        self.store(|batch| {
            stored::put_progress(batch, self, writer.producers.forgotten(), plan.log_end);
            stored::put_epochs(batch, self);
            stored::put_all_producers(batch, self, writer);
            for aborted in self.transactions.lock().aborted() {
                stored::put_aborted(batch, self, aborted);
            }
            for point in &plan.segments {
                stored::put_segment(batch, self, point);
            }
            incidents = stored::put_incidents(batch, self);
            fill(batch);
        })?;
        self.incidents.lock().note_stored(incidents);
        for point in &plan.segments {
            point.segment.note_stored(point);
        }
        self.ends.flushed.fetch_max(plan.log_end.0, Ordering::AcqRel);
        self.ends.recovery_point.fetch_max(plan.log_end.0, Ordering::AcqRel);
        Ok(())
    }

    /// Brings producers and transactions back to what they were when the log ended at `log_end`;
    /// from what is remembered where that suffices, otherwise from the batch headers.
    fn rewind_producers(&self, writer: &mut Writer, log_end: Offset) -> Result<(), ReadError> {
        let enough = writer.producers.truncate_end(log_end);
        if enough {
            let mut transactions = self.transactions.lock();
            transactions.truncate_end(log_end);
            self.publish_first_unstable(&transactions);
            return Ok(());
        }
        tracing::info!(log = %self.topic_partition, "reading the producers' state from the log");
        writer.producers.clear();
        if self.log_start_offset() > Offset::ZERO {
            writer.producers.set_incomplete();
        }
        let mut transactions = Transactions::default();
        let now = self.shared.clock.wall();
        for segment in self.segments.load().iter() {
            for located in Headers::new(segment, 0, segment.size_bytes()) {
                let located = located?;
                let header = &located.header;
                if header.producer_id == ProducerId::NONE {
                    continue;
                }
                let bytes = if header.is_control() {
                    segment.batch_at(located.position, header)?.bytes
                } else {
                    bytes::Bytes::new()
                };
                let seen = seen_at(header.max_timestamp, now);
                note_producer(&mut writer.producers, &mut transactions, header, &bytes, seen);
            }
        }
        transactions.replicated_to(self.high_watermark());
        let mut current = self.transactions.lock();
        *current = transactions;
        self.publish_first_unstable(&current);
        Ok(())
    }

    /// Throws everything away and begins again, empty, at `offset`: a follower whose log ends
    /// below its leader's start. The high watermark moves too (rule 5, KAFKA-9491).
    pub async fn truncate_fully_and_start_at(
        self: &Arc<Self>,
        offset: Offset,
    ) -> Result<(), TruncateError> {
        let log = Arc::clone(self);
        offload(&*self.shared.offload, move || log.truncate_fully_and_start_at_blocking(offset))
            .await
            .map_err(StorageError::from)?
    }

    /// As [`Log::truncate_fully_and_start_at`], on the caller's thread.
    pub fn truncate_fully_and_start_at_blocking(
        &self,
        offset: Offset,
    ) -> Result<(), TruncateError> {
        let mut writer = self.writer.lock();
        self.check_writable()?;
        tracing::info!(log = %self.topic_partition, at = %offset, "starting anew");
        self.start_anew(&mut writer, offset, offset)
    }

    /// Throws everything away; what comes next is appended at `offset` and kept from `log_start` on,
    /// which may lie within the first batch to come. A failure poisons the log.
    pub(crate) fn start_anew(
        &self,
        writer: &mut Writer,
        offset: Offset,
        log_start: Offset,
    ) -> Result<(), TruncateError> {
        self.replace_by_nothing(writer, offset, log_start)
            .inspect_err(|error| self.poison_because(&error.to_string()))
    }

    fn replace_by_nothing(
        &self,
        writer: &mut Writer,
        offset: Offset,
        log_start: Offset,
    ) -> Result<(), TruncateError> {
        let removed = Vec::clone(&self.segments.load());
        let (start, end) = (self.log_start_offset(), self.log_end_offset());
        let reason = format!("begun anew at {offset}: the leader's log does not reach back here");
        self.note_incident(IncidentKind::Truncated, start, end, self.size_bytes(), &reason);
        self.epochs.write().clear();
        let aborted = {
            let mut transactions = self.transactions.lock();
            let aborted: Vec<AbortedTransaction> = transactions.aborted().copied().collect();
            transactions.clear();
            self.publish_first_unstable(&transactions);
            aborted
        };
        writer.producers.clear();
        if offset > Offset::ZERO {
            writer.producers.set_incomplete();
        }
        let ends = &self.ends;
        ends.log_start_target.store(log_start.0, Ordering::Release);
        ends.durable_epoch.store(-1, Ordering::Release);
        self.cuts.fetch_add(1, Ordering::AcqRel);
        self.store(|batch| {
            stored::put_progress(batch, self, writer.producers.forgotten(), offset);
            stored::put_epochs(batch, self);
            stored::put_all_producers(batch, self, writer);
            stored::put_compacted(batch, self.topic_id_partition(), offset);
            for aborted in &aborted {
                stored::delete_aborted(batch, self, aborted);
            }
            for segment in &removed {
                stored::delete_segment(batch, self, segment);
            }
        })?;

        for segment in removed.iter().rev() {
            self.discard_segment(segment)?;
        }
        let fresh = Arc::new(Segment::open(&*self.shared.disk, &self.path, offset)?);
        if offset < log_start {
            // Below the recovery point no segment is believed that the catalog does not know.
            let point = fresh.point();
            self.store(|batch| stored::put_segment(batch, self, &point))?;
            fresh.note_stored(&point);
        }
        self.segments.store(Arc::new(vec![fresh]));
        for end in [&ends.log_start, &ends.high_watermark] {
            end.store(log_start.0, Ordering::Release);
        }
        for end in [&ends.flushed, &ends.recovery_point, &ends.resumed_at, &ends.compacted] {
            end.store(offset.0, Ordering::Release);
        }
        ends.log_end.store(offset.0, Ordering::Release);
        self.cuts.fetch_add(1, Ordering::AcqRel);
        self.sync_directory()?;
        Ok(())
    }

    /// Forgets what lies below `offset` and removes the segments that hold nothing else. The high
    /// watermark is never below the log start, so it may rise with it.
    pub async fn advance_log_start(self: &Arc<Self>, offset: Offset) -> Result<(), TruncateError> {
        let log = Arc::clone(self);
        offload(&*self.shared.offload, move || log.advance_log_start_blocking(offset))
            .await
            .map_err(StorageError::from)?
    }

    /// As [`Log::advance_log_start`], on the caller's thread.
    pub fn advance_log_start_blocking(&self, offset: Offset) -> Result<(), TruncateError> {
        if offset > self.recovery_point() && offset <= self.log_end_offset() {
            // Little is left to be synced then while appends wait.
            self.flush_blocking()?;
        }
        let mut writer = self.writer.lock();
        self.check_writable()?;
        let (log_start, log_end) = (self.log_start_offset(), self.log_end_offset());
        if offset > log_end {
            return Err(TruncateError::OutOfRange { offset, log_start, log_end });
        }
        if offset <= log_start {
            return Ok(());
        }
        self.move_log_start(&mut writer, offset)?;
        Ok(())
    }

    pub(crate) fn move_log_start(
        &self,
        writer: &mut Writer,
        offset: Offset,
    ) -> Result<(), StorageError> {
        let mut segments = Vec::clone(&self.segments.load());
        let sealed = segments.len() - 1;
        let removed: Vec<Arc<Segment>> = segments
            .iter()
            .take(sealed)
            .take_while(|segment| segment.next_offset() <= offset)
            .cloned()
            .collect();
        segments.drain(..removed.len());

        let ends = &self.ends;
        ends.log_start_target.store(offset.0, Ordering::Release);
        self.epochs.write().truncate_start(offset);
        if offset > self.recovery_point() {
            // The stored producers belong to the recovery point, which is never below the start.
            self.settle(writer, |_| {})?;
        }
        self.store(|batch| {
            // A checkpoint may have stored more than it has published yet.
            let same = Offset(self.ends.stored_recovery_point.load(Ordering::Acquire));
            stored::put_progress(batch, self, writer.producers.forgotten(), same);
            stored::put_epochs(batch, self);
            for aborted in self.transactions.lock().aborted().filter(|a| a.last_offset < offset) {
                stored::delete_aborted(batch, self, aborted);
            }
            for segment in &removed {
                stored::delete_segment(batch, self, segment);
            }
        })?;

        ends.high_watermark.fetch_max(offset.0, Ordering::AcqRel);
        ends.log_start.store(offset.0, Ordering::Release);
        self.transactions.lock().truncate_start(offset);
        self.segments.store(Arc::new(segments));
        for segment in &removed {
            self.discard_segment(segment).map_err(|error| self.poison_always(error))?;
        }
        if !removed.is_empty() {
            writer.directory_dirty = true;
        }
        Ok(())
    }

    pub(crate) fn discard_segment(&self, segment: &Segment) -> Result<(), StorageError> {
        self.shared.discard_file(segment.path(), self.config.load().file_delete_delay)
    }

    pub(crate) fn sync_directory(&self) -> Result<(), StorageError> {
        self.shared.disk.sync_dir(&self.path).map_err(StorageError::io("sync", &self.path))
    }

    /// Stores what `fill` puts into a batch, with the log's identity, durably. A failure poisons
    /// the log. Nothing is stored of a log that is closed: the catalog has forgotten it, or soon will.
    pub(crate) fn store(&self, fill: impl FnOnce(&mut CatalogBatch)) -> Result<(), StorageError> {
        let stored = self.shared.gate.durably(|batch| {
            if self.is_closed.load(Ordering::Acquire) {
                return false;
            }
            stored::put_identity(batch, self);
            fill(batch);
            true
        });
        match stored {
            Ok(true) => Ok(()),
            Ok(false) => Err(StorageError::Poisoned("the log was closed".to_owned())),
            Err(error) => Err(self.poison_always(StorageError::Catalog(error))),
        }
    }
}

/// When the producer of a batch that is read back wrote it, as far as that can be told.
pub(crate) fn seen_at(max_timestamp: TimestampMs, now: TimestampMs) -> TimestampMs {
    if max_timestamp.0 < 0 { now } else { max_timestamp.min(now) }
}
