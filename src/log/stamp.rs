//! The header of a batch as the log writes it: the producer's, with the fields that are the
//! broker's to fill in. Pure. The records behind it are never copied.

use crate::log::validate::ValidBatch;
use crate::record::{BatchHeader, HEADER_BYTES};
use crate::types::{LeaderEpoch, Offset, TimestampMs};

/// Where the checksum begins to count: everything from the attributes on.
const CRC_FROM: usize = 21;
/// Attribute bit: the timestamps are the broker's append time.
const LOG_APPEND_TIME_BIT: u16 = 0x08;

/// A header as it is written.
pub type Head = [u8; HEADER_BYTES];

/// Gives `batch` its place in the log: its header becomes what will be read back. Gives that
/// header's bytes, which replace the first ones of the batch.
pub fn stamp(batch: &mut ValidBatch, base_offset: Offset, epoch: LeaderEpoch) -> Head {
    let header = &mut batch.header;
    let mut head = [0u8; HEADER_BYTES];
    head.copy_from_slice(&batch.bytes[..HEADER_BYTES]);
    let body = &batch.bytes[HEADER_BYTES..];

    header.base_offset = base_offset;
    head[0..8].copy_from_slice(&base_offset.0.to_be_bytes());
    header.partition_leader_epoch = epoch;
    head[12..16].copy_from_slice(&epoch.0.to_be_bytes());

    if let Some(append_time) = batch.append_time {
        let attributes = u16::from_be_bytes([head[21], head[22]]) | LOG_APPEND_TIME_BIT;
        head[21..23].copy_from_slice(&attributes.to_be_bytes());
        header.attributes = i16::from_be_bytes([head[21], head[22]]);
        set_max_timestamp(header, &mut head, body, append_time);
    } else if let Some(max_timestamp) = batch.corrected_max_timestamp {
        set_max_timestamp(header, &mut head, body, max_timestamp);
    }
    head
}

fn set_max_timestamp(
    header: &mut BatchHeader,
    head: &mut Head,
    body: &[u8],
    max_timestamp: TimestampMs,
) {
    header.max_timestamp = max_timestamp;
    head[35..43].copy_from_slice(&max_timestamp.0.to_be_bytes());
    header.crc = crc32c::crc32c_append(crc32c::crc32c(&head[CRC_FROM..]), body);
    head[17..21].copy_from_slice(&header.crc.to_be_bytes());
}
