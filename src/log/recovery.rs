//! Opening a log: what the catalog knows is taken as it is, what lies beyond is read and checked
//! batch by batch, and the log is cut at the first batch that is not whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::log::append::note_producer;
use crate::log::config::LogConfig;
use crate::log::damage::DamageNotes;
use crate::log::epochs::EpochHistory;
use crate::log::error::{ReadError, StorageError};
use crate::log::format::SegmentEntry;
use crate::log::incidents::{Incident, IncidentKind, Incidents};
use crate::log::index::SegmentIndex;
use crate::log::partition_log::{Log, LogParts};
use crate::log::producers::{Forgotten, Producers};
use crate::log::scan::Headers;
use crate::log::segment::{DAMAGED_SUFFIX, DELETED_SUFFIX, Segment, base_offset_of};
use crate::log::shared::{DAMAGED_KEPT, DirectoryShared};
use crate::log::stored::{self, StoredLog};
use crate::log::swap::finish_swaps;
use crate::log::tail::{NoBatch, Tail, check_batch};
use crate::log::transactions::Transactions;
use crate::log::truncate::seen_at;
use crate::types::{Offset, ProducerId, TimestampMs, TopicId, TopicIdPartition, TopicPartition};

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
    /// The directory had a catalog, and it is gone.
    pub(crate) catalog_lost: bool,
    /// What lies beyond the recovery point may be in the page cache only, and count as clean there:
    /// an earlier process wrote it, and its sync may have failed.
    pub(crate) cache_only: bool,
}

/// Opens a log that exists.
pub(crate) fn recover(
    shared: &Arc<DirectoryShared>,
    mut log: LogToOpen,
    damage: &DamageNotes,
) -> Result<Arc<Log>, StorageError> {
    let stored = log.stored.take().unwrap_or_default();
    finish_swaps(shared, &log, &stored, stored.progress.is_some())?;
    let mut recovery = Recovery::new(shared, &log, stored, damage);
    recovery.read_files()?;
    recovery.finish(log)
}

/// What is built up while the files are gone through.
struct Recovery<'a> {
    shared: &'a Arc<DirectoryShared>,
    path: PathBuf,
    name: TopicPartition,
    stored: StoredLog,
    log_start: Offset,
    recovery_point: Offset,
    segments: Vec<Arc<Segment>>,
    tail: Tail,
    summary: RecoverySummary,
    cache_only: bool,
    damage: &'a DamageNotes,
    incidents: Incidents,
    /// Where the log was cut, and how many bytes that took.
    cut_at: Offset,
    cut_bytes: u64,
}

impl<'a> Recovery<'a> {
    fn new(
        shared: &'a Arc<DirectoryShared>,
        log: &LogToOpen,
        mut stored: StoredLog,
        damage: &'a DamageNotes,
    ) -> Self {
        let known = stored.progress.is_some();
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
            log_start: Offset(progress.log_start),
            recovery_point: Offset(progress.recovery_point),
            segments: Vec::new(),
            tail,
            summary: RecoverySummary { rebuilt: !known, ..RecoverySummary::default() },
            cache_only: log.cache_only,
            damage,
            incidents: Incidents::from_stored(std::mem::take(&mut stored.incidents)),
            cut_at: Offset(progress.recovery_point),
            cut_bytes: 0,
            stored,
        }
    }

    /// Goes through the segments from the lowest on.
    fn read_files(&mut self) -> Result<(), StorageError> {
        let bases = self.list()?;
        if self.summary.rebuilt {
            self.log_start = bases.first().copied().unwrap_or(Offset::ZERO);
        }
        let bases = self.without_strangers(bases)?;
        let last_stored = self.stored.segments.last_key_value().map(|(&base, _)| base);
        let mut missing = self.missing(&bases).into_iter().peekable();
        for (index, &base) in bases.iter().enumerate() {
            let segment = Segment::open(&*self.shared.disk, &self.path, base)?;
            let ends_below_start = bases.get(index + 1).is_some_and(|&next| next <= self.log_start);
            if ends_below_start {
                // Its removal was decided, and a crash came in between.
                self.shared.discard_file(segment.path(), Duration::ZERO)?;
                continue;
            }
            if let Some(gone) = missing.next_if(|&gone| gone < base) {
                self.cut_at_missing(gone)?;
            }
            let overlaps = self.segments.last().is_some_and(|last| base < last.next_offset());
            if self.summary.truncated.is_none() && overlaps {
                self.set_aside(&segment, "it begins within the segment before it")?;
                continue;
            }
            if let Some(reason) = self.gap_before(base) {
                self.cut_here(reason, false)?;
            }
            if self.summary.truncated.is_some() {
                self.cut_bytes += segment.file_bytes()?;
                self.shared.set_aside_file(segment.path())?;
                continue;
            }
            let entry = self.stored.segments.get(&base).cloned();
            let sealed_long_ago = entry.is_some() && last_stored != Some(base);
            self.take(Arc::new(segment), entry, sealed_long_ago)?;
        }
        missing.next().map_or(Ok(()), |gone| self.cut_at_missing(gone))
    }

    fn list(&mut self) -> Result<Vec<Offset>, StorageError> {
        let disk = &self.shared.disk;
        let entries = disk.list(&self.path).map_err(StorageError::io("list", &self.path))?;
        let mut bases: Vec<Offset> = Vec::new();
        for entry in entries {
            if entry.name.ends_with(DELETED_SUFFIX) {
                self.shared.discard_later(self.path.join(&entry.name), Duration::ZERO);
            } else if entry.name.ends_with(DAMAGED_SUFFIX) {
                self.shared.discard_later(self.path.join(&entry.name), DAMAGED_KEPT);
            } else if let Some(base) = base_offset_of(&entry.name) {
                bases.push(base);
            }
        }
        bases.sort_unstable();
        Ok(bases)
    }

    /// Up to the recovery point the catalog says which segments there are: any other is a stranger
    /// there, or was to be removed when a crash came in between.
    fn without_strangers(&mut self, mut bases: Vec<Offset>) -> Result<Vec<Offset>, StorageError> {
        if self.summary.rebuilt {
            return Ok(bases);
        }
        let stored = &self.stored.segments;
        let is_stranger = |base: &Offset| *base < self.recovery_point && !stored.contains_key(base);
        let strangers: Vec<Offset> = bases.iter().copied().filter(is_stranger).collect();
        bases.retain(|base| !strangers.contains(base));
        for base in strangers {
            let segment = Segment::open(&*self.shared.disk, &self.path, base)?;
            if base < self.log_start {
                self.shared.discard_file(segment.path(), Duration::ZERO)?;
            } else {
                self.set_aside(&segment, "the catalog knows no such segment")?;
            }
        }
        Ok(bases)
    }

    /// The segments with records that the catalog lists and that are not among `bases`.
    fn missing(&self, bases: &[Offset]) -> Vec<Offset> {
        let has_records = |entry: &SegmentEntry| {
            entry.size_bytes > 0 && Offset(entry.next_offset) > self.log_start
        };
        let stored = self.stored.segments.iter();
        let gone = stored.filter(|(base, entry)| !bases.contains(base) && has_records(entry));
        gone.map(|(&base, _)| base).collect()
    }

    fn log_end(&self) -> Offset {
        self.segments.last().map_or(self.log_start, |segment| segment.next_offset())
    }

    /// Whether something is missing between the segments so far and one that begins at `base`.
    /// Where the catalog knows that segment it may begin later. Compaction leaves gaps only within
    /// a segment.
    fn gap_before(&self, base: Offset) -> Option<String> {
        let end = self.segments.last()?.next_offset();
        let known = self.stored.segments.contains_key(&base);
        let gap_allowed = base > end && known && !self.summary.lost_below_recovery_point;
        (base != end && !gap_allowed).then(|| {
            format!("the segment {base} does not begin where the one before ends, at {end}")
        })
    }

    fn cut_at_missing(&mut self, base: Offset) -> Result<(), StorageError> {
        self.summary.lost_below_recovery_point = true;
        self.cut_here(format!("the segment {base} is missing"), false)
    }

    /// From here on nothing belongs to the log. `torn`: as an interrupted write leaves it.
    fn cut_here(&mut self, reason: String, torn: bool) -> Result<(), StorageError> {
        if self.summary.truncated.is_some() {
            return Ok(());
        }
        let log_end = self.log_end();
        let was_durable = self.summary.lost_below_recovery_point || log_end < self.recovery_point;
        if was_durable && !self.summary.rebuilt {
            tracing::error!(log = %self.name, at = %log_end, %reason, "the log is damaged, and cut");
            self.damage.lost()?;
        } else {
            tracing::warn!(log = %self.name, at = %log_end, %reason, "the log is cut");
            if !torn {
                self.damage.lost_unsynced()?;
            }
        }
        self.cut_at = log_end;
        self.summary.truncated = Some(reason);
        Ok(())
    }

    /// Puts a file aside that is not the log's.
    fn set_aside(&mut self, segment: &Segment, why: &str) -> Result<(), StorageError> {
        let bytes = segment.file_bytes()?;
        let aside = self.shared.set_aside_file(segment.path())?;
        let reason = format!("{}: {why}; it is now {}", segment.path().display(), aside.display());
        tracing::error!(log = %self.name, %reason, "a file is set aside");
        self.note(
            IncidentKind::SetAside,
            segment.base_offset(),
            segment.base_offset(),
            bytes,
            reason,
        );
        Ok(())
    }

    fn note(&mut self, kind: IncidentKind, from: Offset, to: Offset, bytes: u64, reason: String) {
        let at = self.shared.clock.wall();
        self.incidents.add(Incident { at, kind, from, to, bytes, reason });
    }

    /// Takes a segment: what the catalog knows of it as it is, the rest checked.
    fn take(
        &mut self,
        segment: Arc<Segment>,
        entry: Option<SegmentEntry>,
        sealed_long_ago: bool,
    ) -> Result<(), StorageError> {
        let file_bytes = segment.file_bytes()?;
        let stored_bytes = entry.as_ref().map_or(0, |e| u64::try_from(e.size_bytes).unwrap_or(0));
        let is_short = file_bytes < stored_bytes;
        if let Some(entry) = entry.filter(|_| !is_short) {
            let marks = self.stored.marks.remove(&segment.base_offset()).unwrap_or_default();
            let max_timestamp = TimestampMs(entry.max_timestamp);
            let position = u64::try_from(entry.max_timestamp_position).unwrap_or(0);
            segment.restore(
                stored_bytes,
                Offset(entry.next_offset),
                TimestampMs(entry.first_timestamp),
                SegmentIndex::from_marks(marks, max_timestamp, position),
            );
        }
        self.segments.push(Arc::clone(&segment));
        if is_short {
            self.summary.lost_below_recovery_point = true;
            self.damage.lost()?;
        }
        let trusted = sealed_long_ago && segment.size_bytes() > 0;
        if !trusted {
            self.scan(&segment, file_bytes)?;
            if self.cache_only {
                // Before any sync takes it for durable, be it the one after a cut.
                segment.rewrite_unsynced()?;
            }
        }
        if is_short {
            let path = segment.path().display();
            let reason =
                format!("{path} has {file_bytes} bytes, {stored_bytes} were on the device");
            self.cut_here(reason, false)?;
        }
        let behind = file_bytes - segment.size_bytes();
        if behind > 0 {
            if trusted {
                let reason = format!(
                    "{} was sealed at {stored_bytes} bytes: {behind} that lie behind are cut off",
                    segment.path().display()
                );
                tracing::warn!(log = %self.name, %reason, "a segment is longer than it should be");
                let end = segment.next_offset();
                self.note(IncidentKind::Cut, end, end, behind, reason);
            } else {
                self.cut_bytes += behind;
            }
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
            let (reason, torn) = match check_batch(segment, file_bytes, self.tail.last_epoch) {
                Ok(batch) => {
                    self.summary.scanned_bytes += batch.bytes.len() as u64;
                    let beyond = batch.header.base_offset >= self.recovery_point;
                    segment.publish(&batch.header);
                    self.tail.fold(&batch, beyond || self.summary.rebuilt, now);
                    continue;
                }
                Err(NoBatch::Unreadable(error)) => return Err(error),
                Err(NoBatch::Torn(reason)) => (reason, true),
                Err(NoBatch::Damaged(reason)) => (reason, false),
            };
            let (path, position) = (segment.path().display(), segment.size_bytes());
            return self.cut_here(format!("{path} at {position}: {reason}"), torn);
        }
        Ok(())
    }

    fn finish(mut self, log: LogToOpen) -> Result<Arc<Log>, StorageError> {
        if self.log_end().max(self.log_start) < self.recovery_point && !self.summary.rebuilt {
            self.summary.lost_below_recovery_point = true;
            self.damage.lost()?;
        }
        if self.log_end() < self.log_start {
            for segment in std::mem::take(&mut self.segments) {
                self.shared.set_aside_file(segment.path())?;
            }
        }
        self.note_outcome(log.catalog_lost);
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
        self.repair_producers(log_end)?;
        let progress = self.stored.progress.clone().unwrap_or_default();
        let stored_high_watermark = if self.summary.rebuilt { -1 } else { progress.high_watermark };
        let high_watermark = Offset(stored_high_watermark).min(log_end).max(self.log_start);
        self.tail.transactions.hold_uncommitted(high_watermark);
        self.tail.transactions.replicated_to(high_watermark);
        let recovery_point =
            if self.summary.rebuilt { self.log_start } else { self.recovery_point };
        let compacted = self.stored.compacted.unwrap_or(Offset::ZERO);
        if compacted > log_end {
            // Forgotten before anything is appended there.
            let id = TopicIdPartition {
                topic_id: log.topic_id,
                partition: log.topic_partition.partition,
            };
            self.shared.gate.lazily(|batch| stored::put_compacted(batch, id, log_end))?;
        }
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
                compacted: compacted.min(log_end),
                segments: self.segments,
                epochs: self.tail.epochs,
                transactions: self.tail.transactions,
                producers: self.tail.producers,
                moving_to: self.stored.moving_to,
                summary: self.summary,
                incidents: self.incidents,
            },
        );
        opened.ends.stored_high_watermark.store(stored_high_watermark, Ordering::Release);
        opened.ends.durable_epoch.store(durable_epoch, Ordering::Release);
        forget_what_is_gone(&opened, &self.stored.segments)?;
        Ok(opened)
    }

    /// Says, for good, what became of the log.
    fn note_outcome(&mut self, catalog_lost: bool) {
        let (log_start, log_end) = (self.log_start, self.log_end());
        if self.summary.rebuilt && catalog_lost {
            let reason = "the catalog was lost: all was derived from the segments".to_owned();
            let scanned_bytes = self.summary.scanned_bytes;
            self.note(IncidentKind::Rebuilt, log_start, log_end, scanned_bytes, reason);
        }
        let kind = match self.summary.lost_below_recovery_point {
            true => IncidentKind::Lost,
            false => IncidentKind::Cut,
        };
        let to = self.recovery_point.max(self.cut_at);
        if let Some(reason) = self.summary.truncated.clone() {
            self.note(kind, self.cut_at, to, self.cut_bytes, reason);
        } else if self.summary.lost_below_recovery_point {
            let reason = format!("the log ends at {log_end}, {to} was on the device");
            self.note(kind, log_end, to, 0, reason);
        }
    }

    /// Where the log lost what was stored, the producers' state may be ahead of it.
    fn repair_producers(&mut self, log_end: Offset) -> Result<(), StorageError> {
        if self.summary.rebuilt && self.log_start > Offset::ZERO {
            self.tail.producers.set_incomplete();
        }
        if log_end >= self.recovery_point {
            return Ok(());
        }
        if self.tail.producers.truncate_end(log_end) {
            self.tail.transactions.truncate_end(log_end);
            return Ok(());
        }
        let now = self.shared.clock.wall();
        self.tail.producers.clear();
        if self.log_start > Offset::ZERO {
            self.tail.producers.set_incomplete();
        }
        self.tail.transactions.clear();
        for segment in &self.segments {
            if let Err(error) = fold_producers(&mut self.tail, segment, now) {
                let ReadError::Io { path, source } = error else {
                    tracing::error!(log = %self.name, %error, "producers may be unknown");
                    self.tail.producers.set_incomplete();
                    continue;
                };
                return Err(StorageError::Io { action: "read", path, source });
            }
        }
        Ok(())
    }
}

/// Derives the producers' state from the headers of a segment.
fn fold_producers(tail: &mut Tail, segment: &Segment, now: TimestampMs) -> Result<(), ReadError> {
    for located in Headers::new(segment, 0, segment.size_bytes()) {
        let located = located?;
        let header = &located.header;
        if header.producer_id == ProducerId::NONE {
            continue;
        }
        let batch = segment.batch_at(located.position, header)?;
        let seen = seen_at(header.max_timestamp, now);
        let Tail { producers, transactions, .. } = &mut *tail;
        note_producer(producers, transactions, header, &batch.bytes, seen);
    }
    Ok(())
}

/// Where something is gone that the catalog has, it learns so, durably, before the log is used:
/// its next opening must not miss the same segments once more.
fn forget_what_is_gone(
    log: &Log,
    stored: &BTreeMap<Offset, SegmentEntry>,
) -> Result<(), StorageError> {
    let kept: BTreeSet<Offset> =
        log.segments.load().iter().map(|segment| segment.base_offset()).collect();
    let gone: Vec<(Offset, usize)> = stored
        .iter()
        .filter(|(base, _)| !kept.contains(base))
        .map(|(&base, entry)| (base, usize::try_from(entry.marks).unwrap_or(0)))
        .collect();
    if gone.is_empty() && !log.recovery().lost_below_recovery_point {
        return Ok(());
    }
    let mut writer = log.writer.lock();
    log.settle(&mut writer, |batch| {
        for (base, marks) in &gone {
            stored::delete_segment_at(batch, log, *base, *marks);
        }
    })
}
