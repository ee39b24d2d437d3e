//! One partition's log: the handle that every other room holds, its ends, and its locks.
//!
//! Lock order: `writer`, then the catalog's gate, then the leaves `epochs` and `transactions`.
//! Readers take none of them but the leaves: they see the segment list and the published sizes.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};

use crate::log::config::LogConfig;
use crate::log::epochs::{EpochEnd, EpochHistory, EpochStart};
use crate::log::error::StorageError;
use crate::log::flush::Flushes;
use crate::log::incidents::{Incident, IncidentKind, Incidents};
use crate::log::producers::{ProducerState, Producers};
use crate::log::recovery::RecoverySummary;
use crate::log::rot::Rot;
use crate::log::segment::Segment;
use crate::log::shared::DirectoryShared;
use crate::log::transactions::{AbortedTransaction, Transactions};
use crate::types::{
    DirectoryId, LeaderEpoch, Offset, ProducerId, TimestampMs, TopicId, TopicPartition,
};

/// What the writer of a log holds while it appends or cuts.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    pub(crate) producers: Producers,
    /// Segment files were made or removed since the directory was synced.
    pub(crate) directory_dirty: bool,
    /// When the active segment was begun or opened.
    pub(crate) active_since: TimestampMs,
}

/// One partition's log in one data directory.
#[derive(Debug)]
pub struct Log {
    /// For work that goes on elsewhere.
    pub(crate) me: Weak<Log>,
    pub(crate) topic_partition: TopicPartition,
    pub(crate) topic_id: TopicId,
    pub(crate) path: PathBuf,
    pub(crate) shared: Arc<DirectoryShared>,
    pub(crate) config: ArcSwap<LogConfig>,
    pub(crate) writer: Mutex<Writer>,
    pub(crate) epochs: RwLock<EpochHistory>,
    pub(crate) transactions: Mutex<Transactions>,
    pub(crate) segments: ArcSwap<Vec<Arc<Segment>>>,
    pub(crate) ends: Ends,
    /// Rises each time published bytes were withdrawn: a reader that sees it move reads again.
    pub(crate) cuts: AtomicU64,
    pub(crate) poison: Mutex<Option<String>>,
    pub(crate) is_poisoned: AtomicBool,
    /// The directory is being closed: the last checkpoint is still to come.
    pub(crate) is_closing: AtomicBool,
    /// The log was deleted, or its directory closed: nothing is stored any more.
    pub(crate) is_closed: AtomicBool,
    /// The data directory to which it is about to move, or was when the last run ended.
    pub(crate) moving_to: Mutex<Option<DirectoryId>>,
    pub(crate) flushes: Flushes,
    /// A file that is to replace segments is being written: one at a time.
    pub(crate) is_replacing: AtomicBool,
    /// A future log is being filled from it: the cleaner waits until that has taken its place.
    pub(crate) is_copied: AtomicBool,
    pub(crate) recovery: RecoverySummary,
    pub(crate) incidents: Mutex<Incidents>,
    pub(crate) rot: Rot,
}

/// What a log is made of when it is opened.
pub(crate) struct LogParts {
    pub(crate) topic_partition: TopicPartition,
    pub(crate) topic_id: TopicId,
    pub(crate) path: PathBuf,
    pub(crate) config: LogConfig,
    pub(crate) log_start: Offset,
    pub(crate) high_watermark: Offset,
    pub(crate) recovery_point: Offset,
    pub(crate) compacted: Offset,
    /// By base offset; at least one.
    pub(crate) segments: Vec<Arc<Segment>>,
    pub(crate) epochs: EpochHistory,
    pub(crate) transactions: Transactions,
    pub(crate) producers: Producers,
    pub(crate) moving_to: Option<DirectoryId>,
    pub(crate) summary: RecoverySummary,
    pub(crate) incidents: Incidents,
}

impl LogParts {
    /// A new log with one empty segment.
    pub(crate) fn empty(
        topic_partition: TopicPartition,
        topic_id: TopicId,
        path: PathBuf,
        config: LogConfig,
        segment: Arc<Segment>,
    ) -> Self {
        Self {
            topic_partition,
            topic_id,
            path,
            config,
            log_start: Offset::ZERO,
            high_watermark: Offset::ZERO,
            recovery_point: Offset::ZERO,
            compacted: Offset::ZERO,
            segments: vec![segment],
            epochs: EpochHistory::default(),
            transactions: Transactions::default(),
            producers: Producers::default(),
            moving_to: None,
            summary: RecoverySummary::default(),
            incidents: Incidents::default(),
        }
    }
}

/// The offsets that a log is known by. Invariant: log start ≤ last stable offset ≤ high watermark
/// ≤ log end, and recovery point ≤ flushed ≤ log end.
#[derive(Debug, Default)]
pub(crate) struct Ends {
    pub(crate) log_start: AtomicI64,
    /// What the catalog shall hold as log start: ahead of `log_start` while that is being moved.
    pub(crate) log_start_target: AtomicI64,
    pub(crate) log_end: AtomicI64,
    pub(crate) high_watermark: AtomicI64,
    /// `i64::MAX` where no transaction is under way.
    pub(crate) first_unstable: AtomicI64,
    pub(crate) flushed: AtomicI64,
    pub(crate) recovery_point: AtomicI64,
    /// The recovery point that the catalog was last given; the producers that it has belong to it.
    pub(crate) stored_recovery_point: AtomicI64,
    /// The recovery point with which the log was opened. Of the transactions that were committed
    /// below it the catalog knows nothing more: while the high watermark is lower, the markers of
    /// some may still be cut off, and the last stable offset does not show it.
    pub(crate) resumed_at: AtomicI64,
    /// No key stands twice below.
    pub(crate) compacted: AtomicI64,
    /// The high watermark that the catalog holds; -1: it does not know the log.
    pub(crate) stored_high_watermark: AtomicI64,
    /// The latest epoch that the catalog is known to hold durably; -1: none.
    pub(crate) durable_epoch: AtomicI32,
}

impl Log {
    pub(crate) fn from_parts(shared: Arc<DirectoryShared>, parts: LogParts) -> Arc<Log> {
        let log_end = parts.segments.last().map_or(parts.log_start, |last| last.next_offset());
        let at = |offset: Offset| AtomicI64::new(offset.0);
        let now = shared.clock.wall();
        for segment in &parts.segments {
            segment.note_idle_since(now);
        }
        let first_unstable = parts.transactions.first_unstable().unwrap_or(Offset(i64::MAX));
        Arc::new_cyclic(|me| Log {
            me: Weak::clone(me),
            topic_partition: parts.topic_partition,
            topic_id: parts.topic_id,
            path: parts.path,
            shared,
            config: ArcSwap::from_pointee(parts.config),
            writer: Mutex::new(Writer {
                producers: parts.producers,
                // The names of a run that was killed may not be on the device yet.
                directory_dirty: true,
                active_since: now,
            }),
            epochs: RwLock::new(parts.epochs),
            transactions: Mutex::new(parts.transactions),
            segments: ArcSwap::from_pointee(parts.segments),
            ends: Ends {
                log_start: at(parts.log_start),
                log_start_target: at(parts.log_start),
                log_end: at(log_end),
                high_watermark: at(parts.high_watermark),
                first_unstable: at(first_unstable),
                flushed: at(parts.recovery_point),
                recovery_point: at(parts.recovery_point),
                stored_recovery_point: at(parts.recovery_point),
                resumed_at: at(parts.recovery_point),
                compacted: at(parts.compacted),
                stored_high_watermark: AtomicI64::new(-1),
                durable_epoch: AtomicI32::new(-1),
            },
            cuts: AtomicU64::new(0),
            poison: Mutex::new(None),
            is_poisoned: AtomicBool::new(false),
            is_closing: AtomicBool::new(false),
            is_closed: AtomicBool::new(false),
            moving_to: Mutex::new(parts.moving_to),
            flushes: Flushes::default(),
            is_replacing: AtomicBool::new(false),
            is_copied: AtomicBool::new(false),
            recovery: parts.summary,
            incidents: Mutex::new(parts.incidents),
            rot: Rot::default(),
        })
    }

    /// Which partition this is.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// The id of the topic that it belongs to.
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// The data directory that it lies in.
    pub fn directory_id(&self) -> DirectoryId {
        self.shared.id
    }

    /// The directory that holds its segments.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Its configuration now.
    pub fn config(&self) -> Arc<LogConfig> {
        self.config.load_full()
    }

    /// Takes another configuration; the next append obeys it.
    pub fn set_config(&self, config: LogConfig) {
        self.config.store(Arc::new(config));
    }

    /// What opening it found.
    pub fn recovery(&self) -> &RecoverySummary {
        &self.recovery
    }

    /// What happened to it, oldest first: the last [`crate::log::KEPT_INCIDENTS`] reasons why it
    /// was cut, rebuilt or found damaged.
    pub fn incidents(&self) -> Vec<Incident> {
        self.incidents.lock().kept()
    }

    /// Notes that something happened to `from..to`; the next checkpoint stores it. Damage that is
    /// known already is not noted again.
    pub fn note_incident(
        &self,
        kind: IncidentKind,
        from: Offset,
        to: Offset,
        bytes: u64,
        reason: &str,
    ) -> bool {
        let at = self.shared.clock.wall();
        let reason = reason.to_owned();
        self.incidents.lock().add(Incident { at, kind, from, to, bytes, reason })
    }

    /// The first offset that can be read.
    pub fn log_start_offset(&self) -> Offset {
        Offset(self.ends.log_start.load(Ordering::Acquire))
    }

    /// One past the last record.
    pub fn log_end_offset(&self) -> Offset {
        Offset(self.ends.log_end.load(Ordering::Acquire))
    }

    /// What the replication rooms last said is committed.
    pub fn high_watermark(&self) -> Offset {
        Offset(self.ends.high_watermark.load(Ordering::Acquire))
    }

    /// Takes the high watermark, held within log start and log end. Only the replication rooms
    /// decide it.
    pub fn set_high_watermark(&self, high_watermark: Offset) {
        let bounded = high_watermark.min(self.log_end_offset()).max(self.log_start_offset());
        self.ends.high_watermark.store(bounded.0, Ordering::Release);
        if self.ends.first_unstable.load(Ordering::Acquire) != i64::MAX {
            let mut transactions = self.transactions.lock();
            transactions.replicated_to(bounded);
            self.publish_first_unstable(&transactions);
        }
    }

    pub(crate) fn publish_first_unstable(&self, transactions: &Transactions) {
        let first = transactions.first_unstable().map_or(i64::MAX, |offset| offset.0);
        self.ends.first_unstable.store(first, Ordering::Release);
    }

    /// Up to where readers of committed data may go.
    pub fn last_stable_offset(&self) -> Offset {
        let first_unstable = Offset(self.ends.first_unstable.load(Ordering::Acquire));
        self.high_watermark().min(first_unstable)
    }

    /// Everything below is on the device.
    pub fn flushed_offset(&self) -> Offset {
        Offset(self.ends.flushed.load(Ordering::Acquire))
    }

    /// Everything below is on the device, and the catalog knows it: recovery begins here.
    pub fn recovery_point(&self) -> Offset {
        Offset(self.ends.recovery_point.load(Ordering::Acquire))
    }

    /// The bytes of all segments.
    pub fn size_bytes(&self) -> u64 {
        self.segments.load().iter().map(|segment| segment.size_bytes()).sum()
    }

    /// How many segments there are, the active one included.
    pub fn segment_count(&self) -> usize {
        self.segments.load().len()
    }

    /// The latest leader epoch that the log has seen.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.read().latest().map(|latest| latest.epoch)
    }

    /// All leader epochs and where they began, oldest first.
    pub fn epochs(&self) -> Vec<EpochStart> {
        self.epochs.read().entries().to_vec()
    }

    /// The leader epoch that wrote `offset`, or would write it if it is the log's end.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.read().epoch_at(offset)
    }

    /// Rule 3: where `requested` ended in this log.
    pub fn end_offset_for_epoch(&self, requested: LeaderEpoch) -> EpochEnd {
        self.epochs.read().end_offset_for(requested, self.log_end_offset())
    }

    /// What is known about each idempotent producer.
    pub fn producer_states(&self) -> Vec<(ProducerId, ProducerState)> {
        let writer = self.writer.lock();
        writer.producers.states().iter().map(|(&id, state)| (id, state.clone())).collect()
    }

    /// The aborted transactions that have records in `from..to`.
    pub fn aborted_transactions(&self, from: Offset, to: Offset) -> Vec<AbortedTransaction> {
        self.transactions.lock().aborted_between(from, to)
    }

    /// Takes no more writes; one that is under way has ended when this returns.
    pub(crate) fn refuse_writes(&self) {
        self.is_closing.store(true, Ordering::Release);
        drop(self.writer.lock());
    }

    /// Takes no more writes and stores nothing any more.
    pub(crate) fn close(&self) {
        self.is_closed.store(true, Ordering::Release);
        self.refuse_writes();
    }

    /// A checkpoint took these producers' changes and did not store them.
    pub(crate) fn producers_changed_again(&self, changed: BTreeSet<ProducerId>) {
        self.writer.lock().producers.put_back_changed(changed);
    }

    /// The segment that is appended to.
    pub(crate) fn active(&self) -> Arc<Segment> {
        let segments = self.segments.load();
        // Every log has a segment from its making on.
        Arc::clone(&segments[segments.len() - 1])
    }

    /// Whether the log refuses writes since a write or a sync failed.
    pub fn is_poisoned(&self) -> bool {
        self.is_poisoned.load(Ordering::Acquire)
    }

    /// A write or a sync failed: what reached the disk is unknown. The log refuses from now on and
    /// takes its directory offline, so that the controller elects elsewhere. A log that is closed was
    /// deleted, or has moved away: that its files are not where they were is nobody's failure.
    pub(crate) fn poison_because(&self, reason: &str) {
        if self.is_closed.load(Ordering::Acquire) {
            tracing::debug!(log = %self.topic_partition, reason, "the log was closed meanwhile");
            self.poison.lock().get_or_insert_with(|| reason.to_owned());
            self.is_poisoned.store(true, Ordering::Release);
            return;
        }
        tracing::error!(log = %self.topic_partition, reason, "the log takes no more writes");
        self.poison.lock().get_or_insert_with(|| reason.to_owned());
        self.is_poisoned.store(true, Ordering::Release);
        self.shared.go_offline(&format!("{}: {reason}", self.topic_partition));
    }

    /// Poisons the log for a failed write, unless there was only no room for it.
    pub(crate) fn poison_unless_full(&self, error: StorageError) -> StorageError {
        match &error {
            StorageError::DiskFull(_)
            | StorageError::TooManyOpenFiles(_)
            | StorageError::Poisoned(_) => {}
            StorageError::Io { .. } | StorageError::Catalog(_) | StorageError::Offload(_) => {
                self.poison_because(&error.to_string());
            }
        }
        error
    }

    /// Poisons the log for a failed sync or catalog write, where even a full disk is no excuse.
    pub(crate) fn poison_always(&self, error: StorageError) -> StorageError {
        self.poison_because(&error.to_string());
        error
    }

    pub(crate) fn check_writable(&self) -> Result<(), StorageError> {
        if self.is_poisoned() {
            let reason = self.poison.lock().clone().unwrap_or_default();
            return Err(StorageError::Poisoned(reason));
        }
        if self.is_closing.load(Ordering::Acquire) {
            return Err(StorageError::Poisoned("the log was closed".to_owned()));
        }
        self.shared.check_writable()
    }
}
