//! The records inside a batch. No length and no count is believed: each is held against the
//! bytes that are left before anything is sliced or reserved.

use bytes::Bytes;

use crate::record::{BatchHeader, RecordError, TimestampType, varint};
use crate::types::{Offset, TimestampMs};

/// The shortest record: a length, attributes, two deltas, two null lengths and a count.
const MIN_RECORD_BYTES: usize = 7;
/// The shortest header: an empty key and a null value.
const MIN_HEADER_BYTES: usize = 2;

/// One record. Key and value are slices of the batch, or of what it was unpacked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Its place in the partition.
    pub offset: Offset,
    /// When it was made or appended, as the batch's timestamp type says.
    pub timestamp: TimestampMs,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; none is a tombstone under compaction.
    pub value: Option<Bytes>,
    /// Its headers, in order; keys may repeat.
    pub headers: Vec<Header>,
}

/// A header of a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Header {
    /// Its name.
    pub key: String,
    /// Its value.
    pub value: Option<Bytes>,
}

/// The records in `content`, which is unpacked and must hold exactly what `header` says.
pub(super) fn records(header: &BatchHeader, content: Bytes) -> Result<Vec<Record>, RecordError> {
    let count = usize::try_from(header.record_count)
        .map_err(|_| RecordError::Invalid("the record count is negative"))?;
    if count > content.len() / MIN_RECORD_BYTES {
        return Err(RecordError::Invalid("more records are claimed than fit"));
    }
    let mut rest = Cursor { bytes: content };
    let mut records = Vec::with_capacity(count);
    for _ in 0..count {
        let length = rest.length()?.ok_or(RecordError::Invalid("a record's length is negative"))?;
        let mut body = Cursor { bytes: rest.take(length)? };
        records.push(record(header, &mut body)?);
        if !body.bytes.is_empty() {
            return Err(RecordError::Invalid("a record is longer than its content"));
        }
    }
    if !rest.bytes.is_empty() {
        return Err(RecordError::Invalid("bytes are left behind the last record"));
    }
    Ok(records)
}

fn record(header: &BatchHeader, body: &mut Cursor) -> Result<Record, RecordError> {
    let _attributes = body.take(1)?;
    let timestamp_delta = body.number(varint::read_long)?;
    let offset_delta = body.number(varint::read_int)?;
    let key = body.nullable()?;
    let value = body.nullable()?;
    let header_count = usize::try_from(body.number(varint::read_int)?)
        .map_err(|_| RecordError::Invalid("the header count is negative"))?;
    if header_count > body.bytes.len() / MIN_HEADER_BYTES {
        return Err(RecordError::Invalid("more headers are claimed than fit"));
    }
    let mut headers = Vec::with_capacity(header_count);
    for _ in 0..header_count {
        headers.push(record_header(body)?);
    }
    let timestamp = match header.timestamp_type() {
        TimestampType::CreateTime => {
            TimestampMs(header.base_timestamp.0.saturating_add(timestamp_delta))
        }
        TimestampType::LogAppendTime => header.max_timestamp,
    };
    let offset = Offset(header.base_offset.0.saturating_add(i64::from(offset_delta)));
    Ok(Record { offset, timestamp, key, value, headers })
}

fn record_header(body: &mut Cursor) -> Result<Header, RecordError> {
    let length = body.length()?.ok_or(RecordError::Invalid("a header has no key"))?;
    let key = body.take(length)?;
    let key = std::str::from_utf8(&key)
        .map_err(|_| RecordError::Invalid("a header's key is not UTF-8"))?
        .to_owned();
    Ok(Header { key, value: body.nullable()? })
}

/// Bytes that are taken off from the front.
struct Cursor {
    bytes: Bytes,
}

impl Cursor {
    fn number<T>(
        &mut self,
        read: fn(&mut &[u8]) -> Result<T, RecordError>,
    ) -> Result<T, RecordError> {
        let mut rest = &self.bytes[..];
        let value = read(&mut rest)?;
        let used = self.bytes.len() - rest.len();
        bytes::Buf::advance(&mut self.bytes, used);
        Ok(value)
    }

    /// A length; a negative one is null.
    fn length(&mut self) -> Result<Option<usize>, RecordError> {
        match self.number(varint::read_int)? {
            -1 => Ok(None),
            length => usize::try_from(length)
                .map(Some)
                .map_err(|_| RecordError::Invalid("a length is negative")),
        }
    }

    fn take(&mut self, length: usize) -> Result<Bytes, RecordError> {
        if length > self.bytes.len() {
            return Err(RecordError::Invalid("a length exceeds the bytes that are left"));
        }
        Ok(self.bytes.split_to(length))
    }

    fn nullable(&mut self) -> Result<Option<Bytes>, RecordError> {
        match self.length()? {
            None => Ok(None),
            Some(length) => self.take(length).map(Some),
        }
    }
}
