//! A raft entry as it lies in the metadata log: one record batch with one record, whose offset is
//! the entry's index; the batch's leader epoch is its term. The record's key says what the entry
//! is; its value is a version and a message.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use openraft::{EntryPayload, RaftLogId};

use crate::controller::raft::stored::{EntryBody, MembershipBody, Stored, StoredError};
use crate::controller::raft::types::{Entry, EntryData, Membership, log_id};
use crate::record::{Batch, BatchBuilder, Record, RecordError};
use crate::types::{LeaderEpoch, Offset, TimestampMs};

const BLANK: &[u8] = b"blank";
const MEMBERSHIP: &[u8] = b"membership";
const RECORDS: &[u8] = b"records";

/// Why a batch is no entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// The batch or its records are not whole.
    #[error("entry {index}: {reason}")]
    Batch {
        /// The entry.
        index: i64,
        /// What is wrong.
        reason: String,
    },
    /// What it holds cannot be understood.
    #[error("entry {index}: {source}")]
    Stored {
        /// The entry.
        index: i64,
        /// What is wrong.
        source: StoredError,
    },
}

/// The term of an entry as an epoch of the log.
pub fn epoch(entry: &Entry) -> LeaderEpoch {
    LeaderEpoch(i32::try_from(entry.log_id.leader_id.term).unwrap_or(i32::MAX))
}

/// The entry as a batch. `now` is when this node got to know of it.
pub fn encode(entry: &Entry, now: TimestampMs) -> Result<Bytes, EntryError> {
    let index = entry.get_log_id().index as i64;
    let (key, value) = match &entry.payload {
        EntryPayload::Blank => (BLANK, None),
        EntryPayload::Membership(membership) => {
            (MEMBERSHIP, Some(versioned(&MembershipBody::from(membership))))
        }
        EntryPayload::Normal(data) => {
            let body = EntryBody {
                decided_in_term: data.decided_in_term as i64,
                decided_on_version: data.decided_on_version as i64,
                records: data.records.clone(),
            };
            (RECORDS, Some(versioned(&body)))
        }
    };
    let failed = |error: RecordError| EntryError::Batch { index, reason: error.to_string() };
    let mut builder = BatchBuilder::new(Offset(index)).leader_epoch(epoch(entry));
    builder.push(now, Some(key), value.as_deref(), &[]).map_err(failed)?;
    builder.build().map_err(failed)
}

/// The batch as an entry.
pub fn decode(batch: &Batch) -> Result<Entry, EntryError> {
    let header = &batch.header;
    let index = header.base_offset.0;
    let failed = |reason: String| EntryError::Batch { index, reason };
    let records = batch.records().map_err(|error| failed(error.to_string()))?;
    let [record] = &records[..] else {
        return Err(failed(format!("it has {} records", records.len())));
    };
    let kind = record.key.as_deref().unwrap_or_default();
    let payload = match kind {
        BLANK => EntryPayload::Blank,
        MEMBERSHIP => {
            let body: MembershipBody = read_versioned(index, record)?;
            EntryPayload::Membership(Membership::from(&body))
        }
        RECORDS => {
            let body: EntryBody = read_versioned(index, record)?;
            EntryPayload::Normal(EntryData {
                records: body.records,
                decided_in_term: body.decided_in_term as u64,
                decided_on_version: body.decided_on_version as u64,
            })
        }
        other => {
            return Err(failed(format!(
                "its kind {:?} is not known here",
                Bytes::copy_from_slice(other)
            )));
        }
    };
    let log_id = log_id(header.partition_leader_epoch.0 as u64, index as u64);
    Ok(Entry { log_id, payload })
}

/// A message's version, then the message.
fn versioned<M: Stored>(message: &M) -> Bytes {
    let body = message.to_bytes();
    let mut bytes = BytesMut::with_capacity(2 + body.len());
    bytes.put_i16(M::VERSION);
    bytes.put(body);
    bytes.freeze()
}

fn read_versioned<M: Stored>(index: i64, record: &Record) -> Result<M, EntryError> {
    let mut body = record.value.clone().unwrap_or_default();
    if body.len() < 2 {
        return Err(EntryError::Batch { index, reason: "its record is too short".to_owned() });
    }
    let version = body.get_i16();
    M::from_bytes(body, version).map_err(|source| EntryError::Stored { index, source })
}
