//! Appending: one write to the page cache, then the batches are published. A follower's batches keep
//! their offsets; a leader's get theirs in `leading`.

use std::io::IoSlice;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use arc_swap::Guard;
use bytes::Bytes;

use crate::log::config::LogConfig;
use crate::log::error::{AppendError, InvalidBatch, StorageError};
use crate::log::partition_log::{Log, Writer};
use crate::log::producers::{ProducerAppend, ProducerBatch, Sequence};
use crate::log::rolling::Filled;
use crate::log::segment::Segment;
use crate::log::validate::{AppendOrigin, Few};
use crate::record::{Batch, BatchHeader, EndTransactionMarker, HEADER_BYTES};
use crate::storage::offload;
use crate::types::{ErrorCode, LeaderEpoch, Offset, ProducerId, TimestampMs};

/// Where an append went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AppendInfo {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// The offset of the last record.
    pub last_offset: Offset,
    /// One past the last record: what the high watermark must reach.
    pub next_offset: Offset,
    /// The timestamp that the broker gave the records, where the topic wants that.
    pub log_append_time: Option<TimestampMs>,
    /// The largest timestamp of the records.
    pub max_timestamp: TimestampMs,
    /// The batch was in the log already, at these offsets (a producer sent it again).
    pub duplicate: bool,
}

impl Log {
    /// Appends batches that a leader of `epoch` sent, with the offsets and epochs that they bear.
    /// An incomplete batch at the end is left out: the leader sends it again.
    pub fn append_as_follower(
        &self,
        records: Bytes,
        epoch: LeaderEpoch,
    ) -> Result<AppendInfo, AppendError> {
        self.check_writable()?;
        let now = self.shared.clock.wall();
        let batches = whole_batches(&records, epoch)?;
        let first = &batches[0].header;

        let mut writer = self.writer.lock();
        self.check_writable()?;
        let expected = self.log_end_offset();
        let base_offset = first.base_offset;
        if base_offset < expected {
            return Err(match self.is_empty() && first.last_offset() >= expected {
                true => AppendError::AroundStart { log_start: expected, got: base_offset },
                false => AppendError::OffsetGap { expected, got: base_offset },
            });
        }
        let info = self.take_batches(&mut writer, &records, &batches, now)?;
        drop(writer);
        self.flush_where_due(&self.config.load(), info.next_offset);
        Ok(info)
    }

    /// Whether it holds no record.
    fn is_empty(&self) -> bool {
        self.log_start_offset() == self.log_end_offset()
    }

    /// As [`Log::append_as_follower`], for an empty log that begins within the first batch: the
    /// leader has deleted the records before, but not the batch (KAFKA-6975). The log is begun anew
    /// with that batch; its start stays where it is.
    pub async fn append_around_start(
        self: &Arc<Self>,
        records: Bytes,
        epoch: LeaderEpoch,
    ) -> Result<AppendInfo, AppendError> {
        let log = Arc::clone(self);
        let job = move || log.append_around_start_blocking(records, epoch);
        offload(&*self.shared.offload, job).await.map_err(StorageError::from)?
    }

    /// As [`Log::append_around_start`], on the caller's thread.
    pub fn append_around_start_blocking(
        &self,
        records: Bytes,
        epoch: LeaderEpoch,
    ) -> Result<AppendInfo, AppendError> {
        let now = self.shared.clock.wall();
        let batches = whole_batches(&records, epoch)?;
        let first = &batches[0].header;
        let mut writer = self.writer.lock();
        self.check_writable()?;
        let log_start = self.log_start_offset();
        let is_around = first.base_offset < log_start && first.last_offset() >= log_start;
        if !self.is_empty() || !is_around {
            return Err(AppendError::OffsetGap { expected: log_start, got: first.base_offset });
        }
        let anew = |writer: &mut Writer, offset| {
            let begun = self.start_anew(writer, offset, log_start);
            begun.map_err(|error| StorageError::Poisoned(error.to_string()))
        };
        anew(&mut writer, first.base_offset)?;
        let taken = self.take_batches(&mut writer, &records, &batches, now);
        if taken.is_err() && !self.is_poisoned() {
            // As it was: empty, from its start on.
            anew(&mut writer, log_start)?;
        }
        drop(writer);
        taken.inspect(|info| self.flush_where_due(&self.config.load(), info.next_offset))
    }

    /// Writes and publishes a leader's batches behind the log's end.
    fn take_batches(
        &self,
        writer: &mut Writer,
        records: &Bytes,
        batches: &[Batch],
        now: TimestampMs,
    ) -> Result<AppendInfo, AppendError> {
        let extent = Extent::of(batches.iter().map(|batch| &batch.header));
        let active = self.ready(writer, &self.config.load(), &extent)?;
        let length = usize::try_from(extent.size_bytes).unwrap_or(usize::MAX);
        self.write(active.segment(), &[IoSlice::new(&records[..length])])?;
        let published = batches.iter().map(|batch| (&batch.header, &batch.bytes));
        self.publish_all(writer, active.segment(), self.latest_epoch(), published, now);
        let next_offset = extent.next_offset();
        self.ends.log_end.store(next_offset.0, Ordering::Release);
        Ok(AppendInfo {
            base_offset: batches[0].header.base_offset,
            last_offset: extent.last_offset,
            next_offset,
            log_append_time: None,
            max_timestamp: extent.max_timestamp,
            duplicate: false,
        })
    }

    /// The active segment, ready to take batches of this extent: sealed before, and another begun,
    /// if that is due.
    pub(crate) fn ready(
        &self,
        writer: &mut Writer,
        config: &LogConfig,
        extent: &Extent,
    ) -> Result<Active, AppendError> {
        let active = Active(self.segments.load());
        if !self.must_roll(writer, &Filled::of(active.segment()), config, extent) {
            return Ok(active);
        }
        // Named for where the log ends, not for its first batch: a leader that compacts sends
        // gaps, and between two files a gap must mean that one is missing.
        self.roll(writer, self.log_end_offset())?;
        Ok(Active(self.segments.load()))
    }

    /// Writes behind the active segment's published bytes. A failure that may have left something
    /// unknown behind poisons the log.
    pub(crate) fn write(
        &self,
        segment: &Segment,
        parts: &[IoSlice<'_>],
    ) -> Result<(), AppendError> {
        let Err(error) = segment.write(parts) else { return Ok(()) };
        if matches!(error, StorageError::DiskFull(_)) {
            // What found room of it must not stay behind a shorter batch that finds room
            // later: it would look like damage, not like a write that was interrupted.
            segment.cut_file_unsynced().map_err(|error| self.poison_always(error))?;
        }
        Err(self.poison_unless_full(error).into())
    }

    /// Makes written batches part of the log's state, whose latest reign is `latest`. The caller
    /// moves the log's end.
    pub(crate) fn publish_all<'a>(
        &self,
        writer: &mut Writer,
        segment: &Segment,
        mut latest: Option<LeaderEpoch>,
        batches: impl Iterator<Item = (&'a BatchHeader, &'a Bytes)>,
        now: TimestampMs,
    ) {
        for (header, bytes) in batches {
            let epoch = header.partition_leader_epoch;
            if latest != Some(epoch) {
                self.note_reign(latest, header);
                latest = self.latest_epoch();
            }
            segment.publish(header);
            if header.producer_id != ProducerId::NONE {
                self.note_producer(writer, header, bytes, now);
            }
        }
    }

    /// Notes that a batch bears another reign than the latest.
    fn note_reign(&self, latest: Option<LeaderEpoch>, header: &BatchHeader) {
        let epoch = header.partition_leader_epoch;
        if latest < Some(epoch) {
            self.epochs.write().assign(epoch, header.base_offset);
        } else {
            // A reign was assigned here that wrote nothing, and the leader's log has another's.
            self.epochs.write().witness(epoch, header.base_offset);
            self.ends.durable_epoch.store(-1, Ordering::Release);
        }
    }

    /// Notes what a batch says about its producer and its transaction.
    pub(crate) fn note_producer(
        &self,
        writer: &mut Writer,
        header: &BatchHeader,
        bytes: &Bytes,
        now: TimestampMs,
    ) {
        let mut transactions = self.transactions.lock();
        note_producer(&mut writer.producers, &mut transactions, header, bytes, now);
        self.publish_first_unstable(&transactions);
    }
}

/// What batches that follow each other will take of a segment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Extent {
    pub(crate) size_bytes: u64,
    pub(crate) last_offset: Offset,
    pub(crate) max_timestamp: TimestampMs,
}

impl Extent {
    pub(crate) fn of<'a>(headers: impl Iterator<Item = &'a BatchHeader>) -> Self {
        let nothing =
            Self { size_bytes: 0, last_offset: Offset::UNKNOWN, max_timestamp: TimestampMs::NONE };
        headers.fold(nothing, |extent, header| Self {
            size_bytes: extent.size_bytes + header.size_bytes() as u64,
            last_offset: header.last_offset(),
            max_timestamp: extent.max_timestamp.max(header.max_timestamp),
        })
    }

    pub(crate) fn next_offset(&self) -> Offset {
        self.last_offset.plus(1)
    }
}

/// The segments, of which the last is appended to: borrowed, for the writer holds his lock.
pub(crate) struct Active(Guard<Arc<Vec<Arc<Segment>>>>);

impl Active {
    pub(crate) fn segment(&self) -> &Segment {
        // Every log has a segment from its making on.
        &self.0[self.0.len() - 1]
    }
}

/// Folds one batch into the producers and transactions of a log; recovery does the same.
pub(crate) fn note_producer(
    producers: &mut crate::log::producers::Producers,
    transactions: &mut crate::log::transactions::Transactions,
    header: &BatchHeader,
    bytes: &Bytes,
    now: TimestampMs,
) {
    if header.is_control() {
        let batch = Batch { header: header.clone(), bytes: bytes.clone() };
        let Some(marker) = end_of_transaction(&batch) else { return };
        let ended = producers.apply_marker(
            header.producer_id,
            header.producer_epoch,
            marker.coordinator_epoch.0,
            header.base_offset,
            now,
        );
        if let Some(first_offset) = ended {
            let aborted = !marker.committed;
            transactions.end(header.producer_id, first_offset, header.base_offset, aborted);
        }
        return;
    }
    let append = producer_append(header);
    let known = producers.get(header.producer_id).and_then(|state| state.transaction_start);
    if append.transactional && known.is_none() {
        transactions.begin(header.producer_id, header.base_offset);
    }
    producers.apply(&append, now);
}

/// The marker that a control batch consists of; control records of other kinds say nothing about
/// producers.
fn end_of_transaction(batch: &Batch) -> Option<EndTransactionMarker> {
    let records = batch.records().ok()?;
    EndTransactionMarker::of(records.first()?).ok().flatten()
}

fn producer_append(header: &BatchHeader) -> ProducerAppend {
    ProducerAppend {
        producer_id: header.producer_id,
        producer_epoch: header.producer_epoch,
        batch: ProducerBatch {
            base_sequence: header.base_sequence,
            last_sequence: header.last_sequence(),
            base_offset: header.base_offset,
            last_offset: header.last_offset(),
            timestamp: header.max_timestamp,
        },
        transactional: header.is_transactional(),
    }
}

/// Whether an idempotent producer's batch may be appended; where it is if it has been already.
pub(crate) fn check_sequence(
    writer: &Writer,
    header: &BatchHeader,
    origin: AppendOrigin,
) -> Result<Option<ProducerBatch>, AppendError> {
    let idempotent = header.producer_id != ProducerId::NONE && !header.is_control();
    let checked = match origin {
        AppendOrigin::Client | AppendOrigin::Transaction => idempotent,
        AppendOrigin::Coordinator | AppendOrigin::RaftLeader => false,
    };
    if !checked {
        return Ok(None);
    }
    match writer.producers.check(&producer_append(header))? {
        Sequence::Next => Ok(None),
        Sequence::Duplicate(original) => Ok(Some(original)),
    }
}

/// The whole batches in `records`, each with its checksum verified, offsets rising and no epoch
/// above `epoch`.
fn whole_batches(records: &Bytes, epoch: LeaderEpoch) -> Result<Few<Batch>, InvalidBatch> {
    let corrupt = |message: String| InvalidBatch::new(ErrorCode::CorruptMessage, message);
    let mut batches: Few<Batch> = Few::new();
    let mut rest = records.clone();
    while rest.len() >= HEADER_BYTES {
        let header = BatchHeader::parse(&rest).map_err(|error| corrupt(error.to_string()))?;
        if header.size_bytes() > rest.len() {
            break;
        }
        if header.base_offset.0 < 0 || header.last_offset_delta < 0 {
            let (base, delta) = (header.base_offset, header.last_offset_delta);
            return Err(corrupt(format!("a batch at offset {base} spans {delta} more")));
        }
        let batch = Batch { bytes: rest.split_to(header.size_bytes()), header };
        batch.verify_crc().map_err(|error| corrupt(error.to_string()))?;
        let header = &batch.header;
        if header.partition_leader_epoch > epoch {
            return Err(corrupt(format!(
                "the batch at offset {} bears leader epoch {}, its leader is of epoch {epoch}",
                header.base_offset, header.partition_leader_epoch
            )));
        }
        if let Some(last) = batches.last()
            && (header.base_offset < last.header.next_offset()
                || header.partition_leader_epoch < last.header.partition_leader_epoch)
        {
            return Err(corrupt(format!(
                "the batch at offset {} follows one that ends at {}",
                header.base_offset,
                last.header.last_offset()
            )));
        }
        batches.push(batch);
    }
    if batches.is_empty() {
        return Err(corrupt(format!("{} bytes hold no whole batch", records.len())));
    }
    Ok(batches)
}
