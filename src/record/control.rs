//! The records that brokers write among those of producers: their keys say what they are.

use bytes::{BufMut, Bytes, BytesMut};

use crate::record::{BatchBuilder, Record, RecordError};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

/// What a control record marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ControlType {
    /// A transaction was aborted.
    Abort,
    /// A transaction was committed.
    Commit,
    /// One of KRaft's, or one that is not known yet: readers pass over it.
    Other(i16),
}

impl ControlType {
    /// Reads it from a control record's key: a version, of which any is read alike, and a type.
    pub fn of(record: &Record) -> Result<ControlType, RecordError> {
        Self::of_key(record.key.as_deref().unwrap_or_default())
    }

    /// As [`Self::of`], from the key alone.
    pub fn of_key(key: &[u8]) -> Result<ControlType, RecordError> {
        let Some([version_high, version_low, high, low]) = key.first_chunk() else {
            return Err(RecordError::Invalid("a control record's key is too short"));
        };
        if i16::from_be_bytes([*version_high, *version_low]) < 0 {
            return Err(RecordError::Invalid("a control record's version is negative"));
        }
        match i16::from_be_bytes([*high, *low]) {
            0 => Ok(ControlType::Abort),
            1 => Ok(ControlType::Commit),
            other => Ok(ControlType::Other(other)),
        }
    }

    /// Its number.
    pub fn number(self) -> i16 {
        match self {
            ControlType::Abort => 0,
            ControlType::Commit => 1,
            ControlType::Other(number) => number,
        }
    }
}

/// The end of a producer's transaction in one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndTransactionMarker {
    /// Committed, or else aborted.
    pub committed: bool,
    /// The reign of the transaction coordinator that decided it.
    pub coordinator_epoch: LeaderEpoch,
}

impl EndTransactionMarker {
    /// Reads it from a control record; `None` if that is of another type.
    pub fn of(record: &Record) -> Result<Option<EndTransactionMarker>, RecordError> {
        let committed = match ControlType::of(record)? {
            ControlType::Commit => true,
            ControlType::Abort => false,
            ControlType::Other(_) => return Ok(None),
        };
        let value = record.value.as_deref().unwrap_or_default();
        let Some([_, _, epoch @ ..]) = value.first_chunk::<6>() else {
            return Err(RecordError::Invalid("a transaction marker's value is too short"));
        };
        let coordinator_epoch = LeaderEpoch(i32::from_be_bytes(*epoch));
        Ok(Some(EndTransactionMarker { committed, coordinator_epoch }))
    }

    /// The batch that holds nothing but it.
    pub fn batch(
        self,
        timestamp: TimestampMs,
        producer_id: ProducerId,
        producer_epoch: ProducerEpoch,
    ) -> Result<Bytes, RecordError> {
        let marker = if self.committed { ControlType::Commit } else { ControlType::Abort };
        let mut key = BytesMut::new();
        key.put_i16(0);
        key.put_i16(marker.number());
        let mut value = BytesMut::new();
        value.put_i16(0);
        value.put_i32(self.coordinator_epoch.0);
        let mut builder = BatchBuilder::new(Offset::ZERO)
            .producer(producer_id, producer_epoch, -1)
            .transactional()
            .control();
        builder.push(timestamp, Some(&key), Some(&value), &[])?;
        builder.build()
    }
}
