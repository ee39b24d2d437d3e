//! Reading: whole batches of one segment, without the writer's lock.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::log::error::ReadError;
use crate::log::partition_log::Log;
use crate::log::scan::Located;
use crate::log::segment::Segment;
use crate::record::{BatchHeader, HEADER_BYTES};
use crate::types::Offset;

/// Batches as they lie in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Whole batches; the first is the one that holds the offset that was asked for, or the first
    /// after it.
    pub records: Bytes,
    /// Where to go on reading.
    pub next_offset: Offset,
}

impl Log {
    /// The batches from the one that holds `from` on, all of whose records lie below `limit`, as
    /// many as fit into `max_bytes`. With `at_least_one` the first is given even if it is larger,
    /// so that a reader never stands still. What is given ends with a segment at the latest.
    pub fn read(
        &self,
        from: Offset,
        limit: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Slice, ReadError> {
        loop {
            let cuts = self.cuts.load(Ordering::Acquire);
            let result = self.read_published(from, limit, max_bytes, at_least_one);
            // Bytes that were cut off while they were read may have been another's already.
            if self.cuts.load(Ordering::Acquire) == cuts {
                return result;
            }
        }
    }

    fn read_published(
        &self,
        from: Offset,
        limit: Offset,
        max_bytes: usize,
        at_least_one: bool,
    ) -> Result<Slice, ReadError> {
        let log_end = self.log_end_offset();
        let limit = limit.min(log_end);
        self.check_range(from, log_end)?;
        let nothing = Slice { records: Bytes::new(), next_offset: from };
        if from >= limit || (max_bytes == 0 && !at_least_one) {
            return Ok(nothing);
        }
        let Some((segment, first)) = self.locate(from)? else { return Ok(nothing) };
        if first.header.last_offset() >= limit {
            return Ok(nothing);
        }
        let first_bytes = first.header.size_bytes();
        if first_bytes > max_bytes && !at_least_one {
            return Ok(nothing);
        }
        let available = segment.size_bytes() - first.position;
        let wanted = (max_bytes.max(first_bytes) as u64).min(available);
        let records = segment.bytes_at(first.position, wanted)?;
        let (length, next_offset) = whole_batches_below(&records, limit);
        Ok(Slice { records: records.slice(..length), next_offset })
    }

    pub(crate) fn check_range(&self, from: Offset, log_end: Offset) -> Result<(), ReadError> {
        let log_start = self.log_start_offset();
        if from < log_start || from > log_end {
            return Err(ReadError::OutOfRange { offset: from, log_start, log_end });
        }
        Ok(())
    }

    /// The batch that holds `offset`, or the first after it.
    pub(crate) fn locate(
        &self,
        offset: Offset,
    ) -> Result<Option<(Arc<Segment>, Located)>, ReadError> {
        let segments = self.segments.load();
        let after = segments.partition_point(|segment| segment.base_offset() <= offset);
        for segment in &segments[after.saturating_sub(1)..] {
            if let Some(located) = segment.headers_from(offset).next() {
                return Ok(Some((Arc::clone(segment), located?)));
            }
        }
        Ok(None)
    }
}

/// How many bytes of `records` are whole batches that end below `limit`, and where the next one
/// begins.
fn whole_batches_below(records: &[u8], limit: Offset) -> (usize, Offset) {
    let mut length = 0;
    let mut next_offset = Offset::UNKNOWN;
    while let Some(rest) = records.get(length..)
        && rest.len() >= HEADER_BYTES
        && let Ok(header) = BatchHeader::parse(rest)
        && header.size_bytes() <= rest.len()
        && header.last_offset() < limit
    {
        length += header.size_bytes();
        next_offset = header.next_offset();
    }
    (length, next_offset)
}
