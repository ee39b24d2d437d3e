//! The 61 bytes that open every batch.

use crate::record::{Compression, RecordError};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

/// The length of a batch's header.
pub const HEADER_BYTES: usize = 61;
/// Base offset and length field: what the length does not count.
pub(super) const LOG_OVERHEAD_BYTES: usize = 12;
/// Where the checksum begins to count: everything from the attributes on.
pub const CRC_FROM: usize = 21;
const MAGIC_AT: usize = 16;

pub(super) const COMPRESSION_BITS: i16 = 0x07;
pub(super) const LOG_APPEND_TIME_BIT: i16 = 0x08;
pub(super) const TRANSACTIONAL_BIT: i16 = 0x10;
pub(super) const CONTROL_BIT: i16 = 0x20;
pub(super) const DELETE_HORIZON_BIT: i16 = 0x40;

/// Whose clock a batch's timestamps are from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum TimestampType {
    /// The producer's, one per record.
    #[default]
    CreateTime,
    /// The broker's, one for the batch: its largest timestamp.
    LogAppendTime,
}

/// The part of a header that tells a batch's place in the log. The checksum covers none of it but the
/// offset delta.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchSpan {
    /// The offset of its first record, kept when compaction removes that.
    pub base_offset: Offset,
    /// The last record's offset, counted from the base offset; kept by compaction.
    pub last_offset_delta: i32,
    /// The reign in which it was appended.
    pub partition_leader_epoch: LeaderEpoch,
    /// The whole batch's length.
    pub size_bytes: usize,
}

impl BatchSpan {
    /// Reads it off the header at the start of `bytes`, by the rules of [`BatchHeader::parse`].
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<BatchSpan, RecordError> {
        Ok(BatchSpan::of(head_of(bytes)?))
    }

    #[inline]
    fn of(head: &[u8; HEADER_BYTES]) -> BatchSpan {
        BatchSpan {
            base_offset: Offset(i64::from_be_bytes(field(head, 0))),
            last_offset_delta: i32::from_be_bytes(field(head, 23)),
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(field(head, 12))),
            size_bytes: whole_bytes(i32::from_be_bytes(field(head, 8))),
        }
    }

    /// The last record's offset.
    #[inline]
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(i64::from(self.last_offset_delta)))
    }

    /// The offset of the batch that follows.
    #[inline]
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }
}

/// The header at the start of `bytes`, if there is one of this format and with a possible length.
#[inline]
fn head_of(bytes: &[u8]) -> Result<&[u8; HEADER_BYTES], RecordError> {
    // The old formats have the same byte here, and their messages may be shorter.
    match bytes.get(MAGIC_AT) {
        None | Some(2) => {}
        Some(old @ (0 | 1)) => return Err(RecordError::OldFormat(old.cast_signed())),
        Some(other) => return Err(RecordError::UnknownFormat(other.cast_signed())),
    }
    let Some(head) = bytes.first_chunk::<HEADER_BYTES>() else {
        let available_bytes = bytes.len();
        return Err(RecordError::Incomplete { needed_bytes: HEADER_BYTES, available_bytes });
    };
    let batch_length = i32::from_be_bytes(field(head, 8));
    let least = (HEADER_BYTES - LOG_OVERHEAD_BYTES) as i64;
    if i64::from(batch_length) < least {
        return Err(RecordError::InvalidLength(batch_length));
    }
    Ok(head)
}

#[inline]
fn whole_bytes(batch_length: i32) -> usize {
    LOG_OVERHEAD_BYTES + usize::try_from(batch_length).unwrap_or(0)
}

/// What a batch says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchHeader {
    /// The offset of its first record, kept when compaction removes that.
    pub base_offset: Offset,
    /// The bytes that follow this field.
    pub batch_length: i32,
    /// The reign in which it was appended.
    pub partition_leader_epoch: LeaderEpoch,
    /// The format: 2.
    pub magic: i8,
    /// CRC-32C of all that follows.
    pub crc: u32,
    /// Codec and flags; the methods tell them.
    pub attributes: i16,
    /// The last record's offset, counted from the base offset; kept by compaction.
    pub last_offset_delta: i32,
    /// What the records' timestamps are counted from.
    pub base_timestamp: TimestampMs,
    /// The largest of the records' timestamps.
    pub max_timestamp: TimestampMs,
    /// The idempotent producer, or none.
    pub producer_id: ProducerId,
    /// The producer's generation.
    pub producer_epoch: ProducerEpoch,
    /// The first record's sequence number; -1 without a producer id.
    pub base_sequence: i32,
    /// How many records there are.
    pub record_count: i32,
}

impl BatchHeader {
    /// Reads the header at the start of `bytes`, which may end before the batch does.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, RecordError> {
        let head = head_of(bytes)?;
        Ok(BatchHeader {
            base_offset: Offset(i64::from_be_bytes(field(head, 0))),
            batch_length: i32::from_be_bytes(field(head, 8)),
            partition_leader_epoch: LeaderEpoch(i32::from_be_bytes(field(head, 12))),
            magic: i8::from_be_bytes(field(head, MAGIC_AT)),
            crc: u32::from_be_bytes(field(head, 17)),
            attributes: i16::from_be_bytes(field(head, CRC_FROM)),
            last_offset_delta: i32::from_be_bytes(field(head, 23)),
            base_timestamp: TimestampMs(i64::from_be_bytes(field(head, 27))),
            max_timestamp: TimestampMs(i64::from_be_bytes(field(head, 35))),
            producer_id: ProducerId(i64::from_be_bytes(field(head, 43))),
            producer_epoch: ProducerEpoch(i16::from_be_bytes(field(head, 51))),
            base_sequence: i32::from_be_bytes(field(head, 53)),
            record_count: i32::from_be_bytes(field(head, 57)),
        })
    }

    /// The part that tells its place.
    pub fn span(&self) -> BatchSpan {
        BatchSpan {
            base_offset: self.base_offset,
            last_offset_delta: self.last_offset_delta,
            partition_leader_epoch: self.partition_leader_epoch,
            size_bytes: self.size_bytes(),
        }
    }

    /// The whole batch's length.
    pub fn size_bytes(&self) -> usize {
        whole_bytes(self.batch_length)
    }

    /// The last record's offset.
    pub fn last_offset(&self) -> Offset {
        Offset(self.base_offset.0.saturating_add(i64::from(self.last_offset_delta)))
    }

    /// The offset of the batch that follows.
    pub fn next_offset(&self) -> Offset {
        Offset(self.last_offset().0.saturating_add(1))
    }

    /// How the records are packed.
    pub fn compression(&self) -> Result<Compression, RecordError> {
        Compression::from_attributes(self.attributes)
    }

    /// Whether it belongs to a transaction.
    pub fn is_transactional(&self) -> bool {
        self.attributes & TRANSACTIONAL_BIT != 0
    }

    /// Whether its records are marks of the brokers, which consumers do not get to see.
    pub fn is_control(&self) -> bool {
        self.attributes & CONTROL_BIT != 0
    }

    /// Whose clock its timestamps are from.
    pub fn timestamp_type(&self) -> TimestampType {
        match self.attributes & LOG_APPEND_TIME_BIT {
            0 => TimestampType::CreateTime,
            _ => TimestampType::LogAppendTime,
        }
    }

    /// When compaction may remove its tombstones (KIP-534); it then stands in the base timestamp.
    pub fn delete_horizon(&self) -> Option<TimestampMs> {
        (self.attributes & DELETE_HORIZON_BIT != 0).then_some(self.base_timestamp)
    }

    /// The last record's sequence number; sequences go from `i32::MAX` on to 0. -1 without one.
    pub fn last_sequence(&self) -> i32 {
        if self.base_sequence < 0 {
            return -1;
        }
        let last = i64::from(self.base_sequence) + i64::from(self.last_offset_delta);
        i32::try_from(last.rem_euclid(1 << 31)).unwrap_or(-1)
    }
}

#[inline]
fn field<const N: usize>(head: &[u8; HEADER_BYTES], at: usize) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&head[at..at + N]);
    bytes
}
