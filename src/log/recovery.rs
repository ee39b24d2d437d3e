//! Opening a log: what the catalog knows is taken as it is, what lies beyond is read and checked
//! batch by batch, and the log is cut at the first batch that is not whole.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::log::append::note_producer;
use crate::log::config::LogConfig;
use crate::log::epochs::EpochHistory;
use crate::log::error::StorageError;
use crate::log::format::SegmentEntry;
use crate::log::index::SegmentIndex;
use crate::log::partition_log::{Log, LogParts};
use crate::log::producers::{Forgotten, Producers};
use crate::log::scan::Headers;
use crate::log::segment::{DELETED_SUFFIX, Segment, base_offset_of};
use crate::log::shared::DirectoryShared;
use crate::log::stored::StoredLog;
use crate::log::tail::{Tail, check_batch};
use crate::log::transactions::Transactions;
use crate::log::truncate::seen_at;
use crate::types::{Offset, ProducerId, TimestampMs, TopicId, TopicPartition};

/// What opening a log found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RecoverySummary {
    /// The bytes that were checked.
    pub scanned_bytes: u64,
    /// Why the log was cut, if it was.
    pub truncated: Option<String>,
    /// The log ends below its recovery point: what was known to be on the device is gone.
    pub lost_below_recovery_point: bool,
    /// The catalog did not know the log: everything was read from its segments.
    pub rebuilt: bool,
}

/// Which log to open, and what is known of it.
pub(crate) struct LogToOpen {
    pub(crate) topic_partition: TopicPartition,
    pub(crate) topic_id: TopicId,
    pub(crate) path: PathBuf,
    pub(crate) config: LogConfig,
    pub(crate) stored: Option<StoredLog>,
}

/// Opens a log that exists.
pub(crate) fn recover(
    shared: &Arc<DirectoryShared>,
    log: LogToOpen,
) -> Result<Arc<Log>, StorageError> {
    let known = log.stored.as_ref().is_some_and(|stored| stored.progress.is_some());
    let stored = log.stored.clone().unwrap_or_default();
    let mut recovery = Recovery::new(shared, &log, stored, known);
    recovery.read_files()?;
    recovery.finish(log)
}

/// What is built up while the files are gone through.
struct Recovery<'a> {
    shared: &'a Arc<DirectoryShared>,
    path: PathBuf,
    name: TopicPartition,
    contiguous: bool,
    stored: StoredLog,
    log_start: Offset,
    recovery_point: Offset,
    segments: Vec<Arc<Segment>>,
    tail: Tail,
    summary: RecoverySummary,
}

impl<'a> Recovery<'a> {
    fn new(
        shared: &'a Arc<DirectoryShared>,
        log: &LogToOpen,
        stored: StoredLog,
        known: bool,
    ) -> Self {
        let progress = stored.progress.clone().unwrap_or_default();
        let forgotten = Forgotten {
            highest: (progress.highest_forgotten_producer >= 0 && known)
                .then_some(ProducerId(progress.highest_forgotten_producer)),
            incomplete: progress.producers_incomplete,
        };
        let ongoing = stored
            .producers
            .iter()
            .filter_map(|(&id, state)| state.transaction_start.map(|first| (first, id)));
        let epochs = EpochHistory::from_entries(stored.epochs.iter().copied());
        let last_epoch = epochs.epoch_at(Offset(progress.recovery_point - 1));
        let tail = Tail {
            epochs,
            transactions: Transactions::from_parts(ongoing, stored.aborted.iter().copied()),
            producers: Producers::from_parts(stored.producers.clone(), forgotten),
            last_epoch,
        };
        Self {
            shared,
            path: log.path.clone(),
            name: log.topic_partition.clone(),
            contiguous: !log.config.cleanup_compact,
            log_start: Offset(progress.log_start),
            recovery_point: Offset(progress.recovery_point),
            stored,
            segments: Vec::new(),
            tail,
            summary: RecoverySummary { rebuilt: !known, ..RecoverySummary::default() },
        }
    }

    /// Goes through the segments from the lowest on.
    fn read_files(&mut self) -> Result<(), StorageError> {
        let bases = self.list()?;
        if self.summary.rebuilt {
            self.log_start = bases.first().copied().unwrap_or(Offset::ZERO);
        }
        let last_stored = self.stored.segments.last_key_value().map(|(&base, _)| base);
        for (index, &base) in bases.iter().enumerate() {
            let segment = Segment::open(&*self.shared.disk, &self.path, base)?;
            let ends_below_start = bases.get(index + 1).is_some_and(|&next| next <= self.log_start);
            if ends_below_start {
                // Its removal was decided, and a crash came in between.
                self.discard(&segment)?;
                continue;
            }
            if let Some(reason) = self.gap_before(base) {
                self.cut_here(reason);
            }
            if self.summary.truncated.is_some() {
                self.discard(&segment)?;
                continue;
            }
            let entry = self.stored.segments.get(&base).cloned();
            let sealed_long_ago = entry.is_some() && last_stored != Some(base);
            self.take(Arc::new(segment), entry, sealed_long_ago)?;
        }
        Ok(())
    }

    fn list(&mut self) -> Result<Vec<Offset>, StorageError> {
        let disk = &self.shared.disk;
        let entries = disk.list(&self.path).map_err(StorageError::io("list", &self.path))?;
        let mut bases: Vec<Offset> = Vec::new();
        for entry in entries {
            if entry.name.ends_with(DELETED_SUFFIX) {
                self.shared.discard_later(self.path.join(&entry.name), Duration::ZERO);
            } else if let Some(base) = base_offset_of(&entry.name) {
                bases.push(base);
            }
        }
        bases.sort_unstable();
        Ok(bases)
    }

    fn log_end(&self) -> Offset {
        self.segments.last().map_or(self.log_start, |segment| segment.next_offset())
    }

    /// Whether something is missing between the segments so far and one that begins at `base`.
    /// Where the catalog knows that segment, or compaction makes gaps, it may begin later.
    fn gap_before(&self, base: Offset) -> Option<String> {
        let end = self.segments.last()?.next_offset();
        let known = self.stored.segments.contains_key(&base);
        let gap_allowed =
            base > end && (known || !self.contiguous) && !self.summary.lost_below_recovery_point;
        (base != end && !gap_allowed).then(|| {
            format!("the segment {base} does not begin where the one before ends, at {end}")
        })
    }

    fn cut_here(&mut self, reason: String) {
        if self.summary.truncated.is_none() {
            tracing::warn!(log = %self.name, at = %self.log_end(), %reason, "the log is cut");
            self.summary.truncated = Some(reason);
        }
    }

    fn discard(&mut self, segment: &Segment) -> Result<(), StorageError> {
        self.shared.discard_file(segment.path(), Duration::ZERO)
    }

    /// Takes a segment: what the catalog knows of it as it is, the rest checked.
    fn take(
        &mut self,
        segment: Arc<Segment>,
        entry: Option<SegmentEntry>,
        sealed_long_ago: bool,
    ) -> Result<(), StorageError> {
        let file_bytes = segment.file_bytes()?;
        if let Some(entry) = entry {
            let size_bytes = u64::try_from(entry.size_bytes).unwrap_or(0);
            if file_bytes < size_bytes {
                let reason = format!(
                    "{} has {file_bytes} bytes, {size_bytes} were on the device",
                    segment.path().display()
                );
                tracing::error!(log = %self.name, %reason, "the segment is damaged");
                self.summary.lost_below_recovery_point = true;
            } else {
                let marks = self.stored.marks.remove(&segment.base_offset()).unwrap_or_default();
                let max_timestamp = TimestampMs(entry.max_timestamp);
                let position = u64::try_from(entry.max_timestamp_position).unwrap_or(0);
                segment.restore(
                    size_bytes,
                    Offset(entry.next_offset),
                    TimestampMs(entry.first_timestamp),
                    SegmentIndex::from_marks(marks, max_timestamp, position),
                );
            }
        }
        self.segments.push(Arc::clone(&segment));
        let trusted = sealed_long_ago && segment.size_bytes() > 0;
        if !trusted {
            self.scan(&segment, file_bytes)?;
        }
        if segment.size_bytes() < file_bytes {
            segment.cut_file()?;
        }
        Ok(())
    }

    /// Checks and publishes what lies behind the published bytes, up to the first bad batch.
    fn scan(&mut self, segment: &Arc<Segment>, file_bytes: u64) -> Result<(), StorageError> {
        let now = self.shared.clock.wall();
        if segment.next_offset() < self.recovery_point {
            self.tail.last_epoch = None;
        }
        while segment.size_bytes() < file_bytes {
            match check_batch(segment, file_bytes, self.tail.last_epoch) {
                Ok(batch) => {
                    self.summary.scanned_bytes += batch.bytes.len() as u64;
                    let beyond = batch.header.base_offset >= self.recovery_point;
                    segment.publish(&batch.header);
                    self.tail.fold(&batch, beyond || self.summary.rebuilt, now);
                }
                Err(reason) => {
                    let position = segment.size_bytes();
                    let path = segment.path().display();
                    self.cut_here(format!("{path} at {position}: {reason}"));
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    fn finish(mut self, log: LogToOpen) -> Result<Arc<Log>, StorageError> {
        if self.log_end().max(self.log_start) < self.recovery_point && !self.summary.rebuilt {
            self.summary.lost_below_recovery_point = true;
        }
        if self.log_end() < self.log_start {
            for segment in std::mem::take(&mut self.segments) {
                self.discard(&segment)?;
            }
        }
        if self.segments.is_empty() {
            let fresh = Segment::open(&*self.shared.disk, &self.path, self.log_start)?;
            self.segments.push(Arc::new(fresh));
        }
        for sealed in self.segments.iter().rev().skip(1) {
            sealed.seal();
        }
        let log_end = self.log_end();
        self.tail.epochs.drop_beyond(log_end);
        self.tail.epochs.truncate_start(self.log_start);
        self.repair_producers(log_end);
        let progress = self.stored.progress.clone().unwrap_or_default();
        let stored_high_watermark = if self.summary.rebuilt { -1 } else { progress.high_watermark };
        let high_watermark = Offset(stored_high_watermark).min(log_end).max(self.log_start);
        self.tail.transactions.replicated_to(high_watermark);
        let recovery_point =
            if self.summary.rebuilt { self.log_start } else { self.recovery_point };
        let as_stored = self.tail.epochs.entries() == &self.stored.epochs[..];
        let durable_epoch =
            self.stored.epochs.last().filter(|_| as_stored).map_or(-1, |entry| entry.epoch.0);
        let opened = Log::from_parts(
            Arc::clone(self.shared),
            LogParts {
                topic_partition: log.topic_partition,
                topic_id: log.topic_id,
                path: log.path,
                config: log.config,
                log_start: self.log_start,
                high_watermark,
                recovery_point: recovery_point.min(log_end),
                segments: self.segments,
                epochs: self.tail.epochs,
                transactions: self.tail.transactions,
                producers: self.tail.producers,
                summary: self.summary,
            },
        );
        opened.ends.stored_high_watermark.store(stored_high_watermark, Ordering::Release);
        opened.ends.durable_epoch.store(durable_epoch, Ordering::Release);
        Ok(opened)
    }

    /// Where the log lost what was stored, the producers' state may be ahead of it.
    fn repair_producers(&mut self, log_end: Offset) {
        if self.summary.rebuilt && self.log_start > Offset::ZERO {
            self.tail.producers.set_incomplete();
        }
        if log_end >= self.recovery_point || self.tail.producers.truncate_end(log_end) {
            return;
        }
        let now = self.shared.clock.wall();
        self.tail.producers.clear();
        if self.log_start > Offset::ZERO {
            self.tail.producers.set_incomplete();
        }
        self.tail.transactions.clear();
        for segment in &self.segments {
            for located in Headers::new(segment, 0, segment.size_bytes()).map_while(Result::ok) {
                let header = &located.header;
                if header.producer_id == ProducerId::NONE {
                    continue;
                }
                let Ok(batch) = segment.batch_at(located.position, header) else { break };
                let seen = seen_at(header.max_timestamp, now);
                let Tail { producers, transactions, .. } = &mut self.tail;
                note_producer(producers, transactions, header, &batch.bytes, seen);
            }
        }
    }
}
