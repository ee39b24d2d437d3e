//! The catalog's keys, and what a log puts under them. Values stay under 4 KiB.
//!
//! ```text
//! L <topic id, 16 bytes> <partition, 4 bytes> i                          identity
//!                                             p                          progress
//!                                             e <chunk>                  leader epochs
//!                                             s <base offset>            one segment
//!                                             x <base offset> <chunk>    the segment's marks
//!                                             q <producer id>            one producer
//!                                             t <marker's offset>        one aborted transaction
//!                                             c                          how far it was compacted
//!                                             w <base offset>            a replacement of segments
//!                                             m                          about to move (see promote)
//!                                             r                          the last incidents
//! D                                                                      whose the catalog is
//! ```

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use crate::log::epochs::EpochStart;
use crate::log::format::{
    AbortedEntry, CatalogOwner, Compacted, EpochEntry, Epochs, FormatError, Identity, Mark, Marks,
    MovingTo, PendingSwap, ProducerBatchEntry, ProducerEntry, Progress, SegmentEntry, from_bytes,
    to_bytes,
};
use crate::log::incidents::{self, Incident};
use crate::log::index::IndexEntry;
use crate::log::partition_log::{Log, Writer};
use crate::log::producers::{Forgotten, ProducerBatch, ProducerState};
use crate::log::segment::{Segment, SegmentPoint};
use crate::log::transactions::AbortedTransaction;
use crate::storage::{Catalog, CatalogBatch, CatalogError};
use crate::types::{
    DirectoryId, LeaderEpoch, Offset, PartitionId, ProducerEpoch, ProducerId, TimestampMs, TopicId,
    TopicIdPartition, TopicName, TopicPartition,
};

/// Marks in one value: 24 bytes each.
const MARKS_PER_VALUE: usize = 128;
/// Epochs in one value: 12 bytes each.
const EPOCHS_PER_VALUE: usize = 256;

/// What the catalog knows of one log.
#[derive(Debug, Clone, Default)]
pub struct StoredLog {
    /// Which partition it is; `None` only in a damaged catalog.
    pub topic_partition: Option<TopicPartition>,
    /// How far it had come; `None` before its first checkpoint.
    pub progress: Option<Progress>,
    /// The leader epochs, oldest first.
    pub epochs: Vec<EpochStart>,
    /// The segments by base offset.
    pub segments: BTreeMap<Offset, SegmentEntry>,
    /// The marks of the segments' indexes.
    pub marks: BTreeMap<Offset, Vec<IndexEntry>>,
    /// The producers.
    pub producers: BTreeMap<ProducerId, ProducerState>,
    /// The aborted transactions.
    pub aborted: Vec<AbortedTransaction>,
    /// Up to where it was compacted.
    pub compacted: Option<Offset>,
    /// Replacements that may not be finished: where the new file begins, and what follows it.
    pub swaps: BTreeMap<Offset, Offset>,
    /// What happened to it, oldest first.
    pub incidents: Vec<Incident>,
    /// The data directory to which it was about to move.
    pub moving_to: Option<DirectoryId>,
}

fn log_prefix(topic_id: TopicId, partition: PartitionId) -> Vec<u8> {
    let mut key = Vec::with_capacity(40);
    key.push(b'L');
    key.extend_from_slice(topic_id.0.as_bytes());
    key.extend_from_slice(&partition.0.to_be_bytes());
    key
}

fn key(log: &Log, kind: u8, rest: &[&[u8]]) -> Vec<u8> {
    let mut key = log_prefix(log.topic_id, log.topic_partition.partition);
    key.push(kind);
    for part in rest {
        key.extend_from_slice(part);
    }
    key
}

fn chunk_number(chunk: usize) -> [u8; 4] {
    u32::try_from(chunk).unwrap_or(u32::MAX).to_be_bytes()
}

pub(crate) fn put_identity(batch: &mut CatalogBatch, log: &Log) {
    let identity = Identity {
        topic: log.topic_partition.topic.as_str().into(),
        partition: log.topic_partition.partition.0,
        topic_id: log.topic_id.0,
    };
    batch.put(key(log, b'i', &[]), to_bytes(&identity));
}

/// Puts the progress, with the high watermark and the log start as they are now. `recovery_point`
/// must be on the device.
pub(crate) fn put_progress(
    batch: &mut CatalogBatch,
    log: &Log,
    forgotten: Forgotten,
    recovery_point: Offset,
) {
    let log_start = log.ends.log_start_target.load(Ordering::Acquire);
    let recovery_point = recovery_point.0.max(log_start);
    log.ends.stored_recovery_point.store(recovery_point, Ordering::Release);
    let progress = Progress {
        recovery_point,
        high_watermark: log.high_watermark().0.max(log_start),
        log_start,
        highest_forgotten_producer: forgotten.highest.map_or(-1, |id| id.0),
        producers_incomplete: forgotten.incomplete,
    };
    batch.put(key(log, b'p', &[]), to_bytes(&progress));
}

/// Puts the leader epochs as they are now. A value that is not full is the last one.
pub(crate) fn put_epochs(batch: &mut CatalogBatch, log: &Log) {
    let epochs = log.epochs.read();
    let mut chunks: Vec<&[EpochStart]> = epochs.entries().chunks(EPOCHS_PER_VALUE).collect();
    if chunks.is_empty() {
        chunks.push(&[]);
    }
    for (number, chunk) in chunks.iter().enumerate() {
        let entries = chunk
            .iter()
            .map(|entry| EpochEntry { epoch: entry.epoch.0, start_offset: entry.start_offset.0 })
            .collect();
        batch.put(key(log, b'e', &[&chunk_number(number)]), to_bytes(&Epochs { entries }));
    }
    batch.delete(key(log, b'e', &[&chunk_number(chunks.len())]));
}

/// Puts a segment as it was noted, and those of its marks that the catalog does not have.
pub(crate) fn put_segment(batch: &mut CatalogBatch, log: &Log, point: &SegmentPoint) {
    let segment = &point.segment;
    let marks = segment.with_index(|index| index.marks(point.size_bytes));
    let entry = SegmentEntry {
        size_bytes: i64::try_from(point.size_bytes).unwrap_or(i64::MAX),
        next_offset: point.next_offset.0,
        first_timestamp: point.first_timestamp.0,
        max_timestamp: point.max_timestamp.0,
        max_timestamp_position: i64::try_from(point.max_timestamp_position).unwrap_or(i64::MAX),
        marks: i32::try_from(marks.len()).unwrap_or(i32::MAX),
    };
    let base = segment.base_offset().0.to_be_bytes();
    batch.put(key(log, b's', &[&base]), to_bytes(&entry));
    if marks.len() <= segment.stored_marks() {
        return;
    }
    let complete = segment.stored_marks() / MARKS_PER_VALUE;
    for (number, chunk) in marks.chunks(MARKS_PER_VALUE).enumerate().skip(complete) {
        let entries = chunk
            .iter()
            .map(|mark| Mark {
                offset: mark.offset.0,
                position: i64::try_from(mark.position).unwrap_or(i64::MAX),
                timestamp_before: mark.timestamp_before.0,
            })
            .collect();
        let key = key(log, b'x', &[&base, &chunk_number(number)]);
        batch.put(key, to_bytes(&Marks { entries }));
    }
}

/// Deletes all that the catalog has of a segment.
pub(crate) fn delete_segment(batch: &mut CatalogBatch, log: &Log, segment: &Segment) {
    delete_segment_at(batch, log, segment.base_offset(), segment.most_marks());
}

/// Deletes all that the catalog has of the segment at `base`, which is at most `marks` marks.
pub(crate) fn delete_segment_at(batch: &mut CatalogBatch, log: &Log, base: Offset, marks: usize) {
    let base = base.0.to_be_bytes();
    batch.delete(key(log, b's', &[&base]));
    for number in 0..marks.div_ceil(MARKS_PER_VALUE) {
        batch.delete(key(log, b'x', &[&base, &chunk_number(number)]));
    }
}

/// Puts one producer, or deletes it where it is unknown now.
pub(crate) fn put_producer(
    batch: &mut CatalogBatch,
    log: &Log,
    id: ProducerId,
    state: Option<&ProducerState>,
) {
    let key = key(log, b'q', &[&id.0.to_be_bytes()]);
    let Some(state) = state else {
        batch.delete(key);
        return;
    };
    let entry = ProducerEntry {
        epoch: state.epoch.0,
        last_seen: state.last_seen.0,
        coordinator_epoch: state.coordinator_epoch,
        transaction_start: state.transaction_start.map_or(-1, |offset| offset.0),
        first_offset: state.first_offset.0,
        batches: state
            .batches
            .iter()
            .map(|batch| ProducerBatchEntry {
                base_sequence: batch.base_sequence,
                last_sequence: batch.last_sequence,
                base_offset: batch.base_offset.0,
                last_offset: batch.last_offset.0,
                timestamp: batch.timestamp.0,
            })
            .collect(),
    };
    batch.put(key, to_bytes(&entry));
}

/// Puts all producers and deletes those that were forgotten.
pub(crate) fn put_all_producers(batch: &mut CatalogBatch, log: &Log, writer: &mut Writer) {
    for id in writer.producers.take_changed() {
        put_producer(batch, log, id, None);
    }
    for (&id, state) in writer.producers.states() {
        put_producer(batch, log, id, Some(state));
    }
}

/// Puts an aborted transaction.
pub(crate) fn put_aborted(batch: &mut CatalogBatch, log: &Log, aborted: &AbortedTransaction) {
    let entry = AbortedEntry {
        producer_id: aborted.producer_id.0,
        first_offset: aborted.first_offset.0,
        last_offset: aborted.last_offset.0,
        last_stable_offset: aborted.last_stable_offset.0,
    };
    batch.put(key(log, b't', &[&aborted.last_offset.0.to_be_bytes()]), to_bytes(&entry));
}

/// Deletes an aborted transaction that is out of the log's range.
pub(crate) fn delete_aborted(batch: &mut CatalogBatch, log: &Log, aborted: &AbortedTransaction) {
    batch.delete(key(log, b't', &[&aborted.last_offset.0.to_be_bytes()]));
}

/// Puts how far a log was compacted.
pub(crate) fn put_compacted(batch: &mut CatalogBatch, id: TopicIdPartition, to: Offset) {
    let mut key = log_prefix(id.topic_id, id.partition);
    key.push(b'c');
    batch.put(key, to_bytes(&Compacted { first_dirty: to.0 }));
}

fn swap_key(id: TopicIdPartition, base_offset: Offset) -> Vec<u8> {
    let mut key = log_prefix(id.topic_id, id.partition);
    key.push(b'w');
    key.extend_from_slice(&base_offset.0.to_be_bytes());
    key
}

/// Puts a replacement that is decided from now on.
pub(crate) fn put_swap(
    batch: &mut CatalogBatch,
    id: TopicIdPartition,
    base_offset: Offset,
    next_offset: Offset,
) {
    batch.put(swap_key(id, base_offset), to_bytes(&PendingSwap { next_offset: next_offset.0 }));
}

/// Deletes a replacement that is finished.
pub(crate) fn delete_swap(batch: &mut CatalogBatch, id: TopicIdPartition, base_offset: Offset) {
    batch.delete(swap_key(id, base_offset));
}

/// Puts what happened to the log. Gives the number to note once it is stored.
pub(crate) fn put_incidents(batch: &mut CatalogBatch, log: &Log) -> u64 {
    let (stored, number) = log.incidents.lock().to_store();
    batch.put(key(log, b'r', &[]), to_bytes(&stored));
    number
}

/// Whose the catalog is; `None` in one that has just been made.
pub(crate) fn owner(catalog: &dyn Catalog) -> Result<Option<DirectoryId>, LoadError> {
    let Some(value) = catalog.get(b"D")? else { return Ok(None) };
    Ok(Some(DirectoryId(from_bytes::<CatalogOwner>(&value)?.directory_id)))
}

/// Puts whose the catalog is.
pub(crate) fn put_owner(batch: &mut CatalogBatch, directory_id: DirectoryId) {
    batch.put(*b"D", to_bytes(&CatalogOwner { directory_id: directory_id.0 }));
}

/// Puts the data directory to which the log is about to move.
pub(crate) fn put_moving_to(batch: &mut CatalogBatch, log: &Log, to: Option<DirectoryId>) {
    let key = key(log, b'm', &[]);
    match to {
        Some(directory) => batch.put(key, to_bytes(&MovingTo { directory_id: directory.0 })),
        None => batch.delete(key),
    }
}

/// Deletes all that the catalog has of a log.
pub(crate) fn delete_log(
    catalog: &dyn Catalog,
    batch: &mut CatalogBatch,
    id: TopicIdPartition,
) -> Result<(), CatalogError> {
    for (key, _) in catalog.scan_prefix(&log_prefix(id.topic_id, id.partition))? {
        batch.delete(key);
    }
    Ok(())
}

/// Why the catalog could not be read: it is then set aside and rebuilt from the segments.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// It failed.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// A value is not what it should be.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// A key is not what it should be.
    #[error("key {0:02x?} is not known")]
    Key(Vec<u8>),
}

/// Everything that the catalog knows, by log.
pub fn load(catalog: &dyn Catalog) -> Result<BTreeMap<TopicIdPartition, StoredLog>, LoadError> {
    let (logs, unreadable) = load_readable(catalog)?;
    match unreadable.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(logs),
    }
}

/// What can be read of what the catalog knows, and why the rest cannot.
pub fn load_readable(
    catalog: &dyn Catalog,
) -> Result<(BTreeMap<TopicIdPartition, StoredLog>, Vec<LoadError>), CatalogError> {
    let mut logs: BTreeMap<TopicIdPartition, StoredLog> = BTreeMap::new();
    let unreadable = load_into(&mut logs, catalog, b"L")?;
    Ok((logs, unreadable))
}

/// What the catalog knows of one log.
pub fn load_log(catalog: &dyn Catalog, id: TopicIdPartition) -> Result<StoredLog, LoadError> {
    let mut logs = BTreeMap::new();
    let unreadable = load_into(&mut logs, catalog, &log_prefix(id.topic_id, id.partition))?;
    match unreadable.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(logs.remove(&id).unwrap_or_default()),
    }
}

/// Loads what lies under `prefix`. Gives why something cannot be read.
fn load_into(
    logs: &mut BTreeMap<TopicIdPartition, StoredLog>,
    catalog: &dyn Catalog,
    prefix: &[u8],
) -> Result<Vec<LoadError>, CatalogError> {
    let mut unreadable = Vec::new();
    for (key, value) in catalog.scan_prefix(prefix)? {
        let loaded = parse_key(&key)
            .map(|(id, kind, rest)| load_value(logs.entry(id).or_default(), kind, rest, &value));
        match loaded {
            Some(Ok(true)) => {}
            Some(Ok(false)) | None => unreadable.push(LoadError::Key(key)),
            Some(Err(error)) => unreadable.push(error.into()),
        }
    }
    for log in logs.values_mut() {
        let StoredLog { segments, marks, .. } = log;
        marks.retain(|base, _| segments.contains_key(base));
        for (base, segment) in segments.iter() {
            let known = marks.entry(*base).or_default();
            known.truncate(usize::try_from(segment.marks).unwrap_or(0));
        }
    }
    Ok(unreadable)
}

fn parse_key(key: &[u8]) -> Option<(TopicIdPartition, u8, &[u8])> {
    let (topic_id, rest) = key.get(1..)?.split_first_chunk::<16>()?;
    let (partition, rest) = rest.split_first_chunk::<4>()?;
    let (&kind, rest) = rest.split_first()?;
    let topic_id = TopicId(Uuid::from_bytes(*topic_id));
    let partition = PartitionId(i32::from_be_bytes(*partition));
    Some((TopicIdPartition { topic_id, partition }, kind, rest))
}

/// Takes one value; false where the key is of an unknown kind or shape. The catalog gives keys in
/// order, so chunks come in order.
fn load_value(
    log: &mut StoredLog,
    kind: u8,
    rest: &[u8],
    value: &[u8],
) -> Result<bool, FormatError> {
    let leading = rest.first_chunk::<8>().map(|bytes| i64::from_be_bytes(*bytes));
    match (kind, leading) {
        (b'i', _) => {
            let identity = from_bytes::<Identity>(value)?;
            let topic = TopicName::new(&identity.topic);
            log.topic_partition = Some(TopicPartition::new(topic, identity.partition));
        }
        (b'm', _) => {
            log.moving_to = Some(DirectoryId(from_bytes::<MovingTo>(value)?.directory_id));
        }
        (b'p', _) => log.progress = Some(from_bytes::<Progress>(value)?),
        (b'e', _) => {
            let full = log.epochs.len().is_multiple_of(EPOCHS_PER_VALUE);
            if full {
                log.epochs.extend(from_bytes::<Epochs>(value)?.entries.iter().map(|entry| {
                    let start_offset = Offset(entry.start_offset);
                    EpochStart { epoch: LeaderEpoch(entry.epoch), start_offset }
                }));
            }
        }
        (b's', Some(base)) => {
            log.segments.insert(Offset(base), from_bytes::<SegmentEntry>(value)?);
        }
        (b'x', Some(base)) => {
            let marks = from_bytes::<Marks>(value)?.entries;
            log.marks.entry(Offset(base)).or_default().extend(marks.iter().map(|mark| {
                IndexEntry {
                    offset: Offset(mark.offset),
                    position: u64::try_from(mark.position).unwrap_or(0),
                    timestamp_before: TimestampMs(mark.timestamp_before),
                }
            }));
        }
        (b'r', None) => log.incidents = incidents::from_entries(&from_bytes(value)?),
        (b'q', Some(id)) => {
            let state = producer_state(from_bytes::<ProducerEntry>(value)?);
            log.producers.insert(ProducerId(id), state);
        }
        (b't', Some(_)) => {
            let entry = from_bytes::<AbortedEntry>(value)?;
            log.aborted.push(AbortedTransaction {
                producer_id: ProducerId(entry.producer_id),
                first_offset: Offset(entry.first_offset),
                last_offset: Offset(entry.last_offset),
                last_stable_offset: Offset(entry.last_stable_offset),
            });
        }
        (b'c', _) => log.compacted = Some(Offset(from_bytes::<Compacted>(value)?.first_dirty)),
        (b'w', Some(base)) => {
            let swap = from_bytes::<PendingSwap>(value)?;
            log.swaps.insert(Offset(base), Offset(swap.next_offset));
        }
        (_, _) => return Ok(false),
    }
    Ok(true)
}

fn producer_state(entry: ProducerEntry) -> ProducerState {
    ProducerState {
        epoch: ProducerEpoch(entry.epoch),
        batches: entry
            .batches
            .iter()
            .map(|batch| ProducerBatch {
                base_sequence: batch.base_sequence,
                last_sequence: batch.last_sequence,
                base_offset: Offset(batch.base_offset),
                last_offset: Offset(batch.last_offset),
                timestamp: TimestampMs(batch.timestamp),
            })
            .collect(),
        last_seen: TimestampMs(entry.last_seen),
        coordinator_epoch: entry.coordinator_epoch,
        transaction_start: (entry.transaction_start >= 0)
            .then_some(Offset(entry.transaction_start)),
        first_offset: Offset(entry.first_offset),
    }
}
