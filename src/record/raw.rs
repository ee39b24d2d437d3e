//! The records of a batch as they lie in it, looked at and not decoded: what compaction needs.

use crate::record::{RecordError, varint};

/// One record's bytes, and where in them is what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RawRecord<'a> {
    /// All of it, its length included.
    pub bytes: &'a [u8],
    /// Its timestamp, counted from the batch's base timestamp.
    pub timestamp_delta: i64,
    /// Its offset, counted from the batch's base offset.
    pub offset_delta: i32,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Whether its value is not null.
    pub has_value: bool,
    /// What follows the timestamp.
    after_timestamp: &'a [u8],
    attributes: u8,
}

impl RawRecord<'_> {
    /// Writes the record with another timestamp delta.
    pub(super) fn write_with(&self, timestamp_delta: i64, buffer: &mut Vec<u8>) {
        let length = 1 + varint::size_bytes(timestamp_delta) + self.after_timestamp.len();
        varint::write(buffer, i64::try_from(length).unwrap_or(i64::MAX));
        buffer.push(self.attributes);
        varint::write(buffer, timestamp_delta);
        buffer.extend_from_slice(self.after_timestamp);
    }
}

/// The records in `content`, the unpacked content of a batch. Ends after the first error.
pub fn raw_records(content: &[u8]) -> RawRecords<'_> {
    RawRecords { rest: content }
}

/// See [`raw_records`].
#[derive(Debug, Clone)]
pub struct RawRecords<'a> {
    rest: &'a [u8],
}

impl<'a> RawRecords<'a> {
    fn read(&mut self) -> Result<RawRecord<'a>, RecordError> {
        let whole = self.rest;
        let length = length(&mut self.rest)?;
        let length = length.ok_or(RecordError::Invalid("a record's length is negative"))?;
        let mut body = take(&mut self.rest, length)?;
        let bytes = &whole[..whole.len() - self.rest.len()];
        let [attributes, ..] = *body else {
            return Err(RecordError::Invalid("a record is empty"));
        };
        body = &body[1..];
        let timestamp_delta = varint::read_long(&mut body)?;
        let after_timestamp = body;
        let offset_delta = varint::read_int(&mut body)?;
        let key = nullable(&mut body)?;
        let has_value = nullable(&mut body)?.is_some();
        Ok(RawRecord {
            bytes,
            timestamp_delta,
            offset_delta,
            key,
            has_value,
            after_timestamp,
            attributes,
        })
    }
}

impl<'a> Iterator for RawRecords<'a> {
    type Item = Result<RawRecord<'a>, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let record = self.read();
        if record.is_err() {
            self.rest = &[];
        }
        Some(record)
    }
}

fn length(rest: &mut &[u8]) -> Result<Option<usize>, RecordError> {
    match varint::read_int(rest)? {
        -1 => Ok(None),
        length => usize::try_from(length)
            .map(Some)
            .map_err(|_| RecordError::Invalid("a length is negative")),
    }
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> Result<&'a [u8], RecordError> {
    let (taken, left) = rest
        .split_at_checked(length)
        .ok_or(RecordError::Invalid("a length exceeds the bytes that are left"))?;
    *rest = left;
    Ok(taken)
}

fn nullable<'a>(rest: &mut &'a [u8]) -> Result<Option<&'a [u8]>, RecordError> {
    match length(rest)? {
        None => Ok(None),
        Some(length) => take(rest, length).map(Some),
    }
}
