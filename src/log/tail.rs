//! What a log's state is derived from while its tail is read: one batch after another, each whole.

use crate::log::append::note_producer;
use crate::log::epochs::EpochHistory;
use crate::log::producers::Producers;
use crate::log::segment::Segment;
use crate::log::transactions::Transactions;
use crate::log::truncate::seen_at;
use crate::record::{Batch, BatchHeader, HEADER_BYTES};
use crate::types::{LeaderEpoch, ProducerId, TimestampMs};

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

/// The batch behind the published bytes of `segment`, if it is whole, follows in offset, and is
/// not of an earlier reign than the one before: bytes of a log that was cut may lie behind what
/// was written since. The error says what is wrong.
pub(crate) fn check_batch(
    segment: &Segment,
    file_bytes: u64,
    last_epoch: Option<LeaderEpoch>,
) -> Result<Batch, String> {
    let position = segment.size_bytes();
    let left = file_bytes - position;
    if left < HEADER_BYTES as u64 {
        return Err(format!("{left} bytes are no whole batch header"));
    }
    let head =
        segment.bytes_at(position, HEADER_BYTES as u64).map_err(|error| error.to_string())?;
    let header = BatchHeader::parse(&head).map_err(|error| error.to_string())?;
    if header.size_bytes() as u64 > left {
        return Err(format!("a batch of {} bytes is cut off after {left}", header.size_bytes()));
    }
    if header.base_offset < segment.next_offset() || header.last_offset_delta < 0 {
        return Err(format!("offset {} follows {}", header.base_offset, segment.next_offset()));
    }
    let epoch = header.partition_leader_epoch;
    if last_epoch.is_some_and(|last| epoch < last) {
        return Err(format!("a batch of leader epoch {epoch} follows one of a later epoch"));
    }
    segment.batch_at(position, &header).map_err(|error| error.to_string())
}
