//! What a log's state is derived from while its tail is read: one batch after another, each whole.

use crate::log::append::note_producer;
use crate::log::epochs::EpochHistory;
use crate::log::error::{ReadError, StorageError};
use crate::log::producers::Producers;
use crate::log::segment::Segment;
use crate::log::transactions::Transactions;
use crate::log::truncate::seen_at;
use crate::record::{Batch, BatchHeader, HEADER_BYTES};
use crate::types::{LeaderEpoch, ProducerId, TimestampMs};

/// How far behind a batch that is cut off another one is looked for.
const MAX_SEARCHED_BYTES: u64 = 32 << 20;
/// Where in a batch the format's number stands.
const MAGIC_AT: usize = 16;

/// The state that the batches of a log add up to.
#[derive(Debug, Default)]
pub(crate) struct Tail {
    pub(crate) epochs: EpochHistory,
    pub(crate) producers: Producers,
    pub(crate) transactions: Transactions,
    /// The epoch of the last batch that was read.
    pub(crate) last_epoch: Option<LeaderEpoch>,
}

impl Tail {
    /// Folds one batch in; its producer only where the stored state does not have it yet.
    pub(crate) fn fold(&mut self, batch: &Batch, with_producer: bool, now: TimestampMs) {
        let header = &batch.header;
        self.last_epoch = Some(header.partition_leader_epoch);
        self.epochs.witness(header.partition_leader_epoch, header.base_offset);
        if with_producer && header.producer_id != ProducerId::NONE {
            let seen = seen_at(header.max_timestamp, now);
            let Tail { producers, transactions, .. } = self;
            note_producer(producers, transactions, header, &batch.bytes, seen);
        }
    }
}

/// Why there is no batch behind the published bytes.
#[derive(Debug)]
pub(crate) enum NoBatch {
    /// The file cannot be read, which says nothing about what is in it.
    Unreadable(StorageError),
    /// What is there is what an interrupted write leaves: the beginning of one batch.
    Torn(String),
    /// What is there was written otherwise, or something else than a batch.
    Damaged(String),
}

/// The batch behind the published bytes of `segment`, if it is whole, follows in offset, and is
/// not of an earlier reign than the one before: bytes of a log that was cut may lie behind what
/// was written since.
pub(crate) fn check_batch(
    segment: &Segment,
    file_bytes: u64,
    last_epoch: Option<LeaderEpoch>,
) -> Result<Batch, NoBatch> {
    let position = segment.size_bytes();
    let left = file_bytes - position;
    if left < HEADER_BYTES as u64 {
        return Err(NoBatch::Torn(format!("{left} bytes are no whole batch header")));
    }
    let head = segment.bytes_at(position, HEADER_BYTES as u64).map_err(unreadable)?;
    let damaged = |reason: String| Err(NoBatch::Damaged(reason));
    let header = match BatchHeader::parse(&head) {
        Ok(header) => header,
        Err(error) => return damaged(error.to_string()),
    };
    if header.base_offset < segment.next_offset() || header.last_offset_delta < 0 {
        let (base, end) = (header.base_offset, segment.next_offset());
        return damaged(format!("offset {base} follows {end}"));
    }
    if header.size_bytes() as u64 > left {
        let reason = format!("a batch of {} bytes is cut off after {left}", header.size_bytes());
        let torn = !has_batch_behind(segment, position, left, &header)?;
        return Err(if torn { NoBatch::Torn(reason) } else { NoBatch::Damaged(reason) });
    }
    let epoch = header.partition_leader_epoch;
    if last_epoch.is_some_and(|last| epoch < last) {
        return damaged(format!("a batch of leader epoch {epoch} follows one of a later epoch"));
    }
    if header.base_offset.since(segment.base_offset()) > i64::from(i32::MAX) {
        return damaged(format!("a batch at offset {} is out of place", header.base_offset));
    }
    let batch = match segment.batch_at(position, &header) {
        Ok(batch) => batch,
        Err(ReadError::Corrupt { reason, .. }) => return damaged(reason),
        Err(error) => return Err(unreadable(error)),
    };
    match contradicted(segment, file_bytes, &header, last_epoch)? {
        Some(reason) => damaged(reason),
        None => Ok(batch),
    }
}

/// The checksum covers neither where a batch lies nor its leader's epoch. Where either leaps, the
/// batch behind is asked: if that one follows the batch before this one, the leap is damage.
fn contradicted(
    segment: &Segment,
    file_bytes: u64,
    header: &BatchHeader,
    last_epoch: Option<LeaderEpoch>,
) -> Result<Option<String>, NoBatch> {
    let end = segment.next_offset();
    let (base, epoch) = (header.base_offset, header.partition_leader_epoch);
    let leaps = base > end || last_epoch.is_some_and(|last| epoch > last);
    let behind = segment.size_bytes() + header.size_bytes() as u64;
    if !leaps || behind + HEADER_BYTES as u64 > file_bytes {
        return Ok(None);
    }
    let head = segment.bytes_at(behind, HEADER_BYTES as u64).map_err(unreadable)?;
    let Ok(next) = BatchHeader::parse(&head) else { return Ok(None) };
    if behind + next.size_bytes() as u64 > file_bytes || segment.batch_at(behind, &next).is_err() {
        return Ok(None);
    }
    let count = i64::from(header.last_offset_delta) + 1;
    let (next_base, next_epoch) = (next.base_offset, next.partition_leader_epoch);
    if base > end && next_base < header.next_offset() && next_base.since(end) >= count {
        return Ok(Some(format!("the batch at offset {base} reaches into the one at {next_base}")));
    }
    let is_of_before = next_epoch < epoch && last_epoch.is_some_and(|last| next_epoch >= last);
    Ok((is_of_before && next_base == header.next_offset())
        .then(|| format!("a batch of leader epoch {next_epoch} follows one of {epoch}")))
}

fn unreadable(error: ReadError) -> NoBatch {
    match error {
        ReadError::Io { path, source } => {
            NoBatch::Unreadable(StorageError::Io { action: "read", path, source })
        }
        ReadError::Corrupt { .. } | ReadError::Damaged { .. } | ReadError::OutOfRange { .. } => {
            NoBatch::Damaged(error.to_string())
        }
    }
}

/// Whether a whole batch follows within the `left` bytes behind a header that claims more: then
/// it is the claim that is wrong, and not the end of an interrupted write.
fn has_batch_behind(
    segment: &Segment,
    position: u64,
    left: u64,
    claimed: &BatchHeader,
) -> Result<bool, NoBatch> {
    let bytes = segment.bytes_at(position, left.min(MAX_SEARCHED_BYTES)).map_err(unreadable)?;
    let is_whole = |at: usize| {
        let mut rest = bytes.slice(at..);
        let follows = |batch: &Batch| {
            let distance = batch.header.base_offset.since(claimed.base_offset);
            (1..=i64::from(i32::MAX)).contains(&distance) && batch.verify_crc().is_ok()
        };
        Batch::split_from(&mut rest).is_ok_and(|batch| follows(&batch))
    };
    let last = bytes.len().saturating_sub(HEADER_BYTES);
    Ok((HEADER_BYTES..=last).any(|at| bytes[at + MAGIC_AT] == 2 && is_whole(at)))
}
