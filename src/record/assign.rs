//! What a leader writes into a finished batch.

use crate::record::header::{CRC_FROM, LOG_APPEND_TIME_BIT};
use crate::record::{BatchHeader, RecordError};
use crate::types::{LeaderEpoch, Offset, TimestampMs};

/// Gives the batch that `batch` consists of its place. Offset and epoch lie outside the checksum;
/// an append time, which becomes every record's timestamp, makes it be computed anew.
pub fn assign(
    batch: &mut [u8],
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    append_time: Option<TimestampMs>,
) -> Result<(), RecordError> {
    let header = BatchHeader::parse(batch)?;
    let needed_bytes = header.size_bytes();
    let available_bytes = batch.len();
    let Some(batch) = batch.get_mut(..needed_bytes) else {
        return Err(RecordError::Incomplete { needed_bytes, available_bytes });
    };
    batch[0..8].copy_from_slice(&base_offset.0.to_be_bytes());
    batch[12..16].copy_from_slice(&leader_epoch.0.to_be_bytes());
    if let Some(append_time) = append_time {
        let attributes = header.attributes | LOG_APPEND_TIME_BIT;
        batch[CRC_FROM..23].copy_from_slice(&attributes.to_be_bytes());
        batch[35..43].copy_from_slice(&append_time.0.to_be_bytes());
        let crc = crc32c::crc32c(&batch[CRC_FROM..]);
        batch[17..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
    }
    Ok(())
}
