//! Reading: whole batches of one segment, without the writer's lock.
//!
//! Nothing is served that is not what was written, as far as it can be told at a price that readers
//! do not notice. Each batch must lie where its header says, between its neighbours and within the
//! reign that the history names: no checksum covers that. What lay on the disk when the log was
//! opened has its checksums verified the first time that it is read; what this process wrote was
//! verified when it came and is not read back for it: the scrubber does that, and so do followers
//! and most consumers with what they get.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::log::error::ReadError;
use crate::log::incidents::IncidentKind;
use crate::log::partition_log::Log;
use crate::log::scan::{Located, misplaced};
use crate::log::segment::Segment;
use crate::record::{BatchHeader, BatchSpan, HEADER_BYTES, RecordError, verify_crc};
use crate::types::{LeaderEpoch, Offset};

/// In the place of a number of cuts: what was noted of places is not made use of.
const UNDER_THE_LOCK: u64 = u64::MAX;

/// Batches as they lie in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// Whole batches; the first is the one that holds the offset that was asked for, or the first
    /// after it.
    pub records: Bytes,
    /// Where to go on reading.
    pub next_offset: Offset,
}

impl Slice {
    /// Whether there are batches, and none of them has a record.
    pub fn has_no_record(&self) -> bool {
        let mut rest = &self.records[..];
        let mut any = false;
        while let Ok(header) = BatchHeader::parse(rest)
            && let Some(behind) = rest.get(header.size_bytes()..)
        {
            if header.record_count > 0 {
                return false;
            }
            (any, rest) = (true, behind);
        }
        any
    }
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
            let result = self.read_published(from, limit, max_bytes, at_least_one, cuts);
            // Bytes that were cut off while they were read may have been another's already.
            match result {
                Err(ReadError::Corrupt { .. }) => break,
                result if self.cuts.load(Ordering::Acquire) == cuts => return result,
                _ => {}
            }
        }
        // A cut that is under way looks like damage too: none is, while its lock is held here.
        let writer = self.writer.lock();
        let result = self.read_published(from, limit, max_bytes, at_least_one, UNDER_THE_LOCK);
        drop(writer);
        result.inspect_err(|error| self.note_corrupt(from, error))
    }

    /// Damage that a reader met is logged and kept, once, and told to whoever mends it.
    pub(crate) fn note_corrupt(&self, offset: Offset, error: &ReadError) {
        self.suspect(error);
        if matches!(error, ReadError::Corrupt { .. }) {
            let reason = error.to_string();
            if self.note_incident(IncidentKind::Corrupt, offset, offset, 0, &reason) {
                tracing::error!(log = %self.topic_partition, %offset, reason, "damage was met");
            }
        }
    }

    fn read_published(
        &self,
        from: Offset,
        limit: Offset,
        max_bytes: usize,
        at_least_one: bool,
        cuts: u64,
    ) -> Result<Slice, ReadError> {
        let log_end = self.log_end_offset();
        self.check_range(from, log_end)?;
        let limit = self.undamaged_limit(from, limit.min(log_end))?;
        let nothing = Slice { records: Bytes::new(), next_offset: from };
        if from >= limit || (max_bytes == 0 && !at_least_one) {
            return Ok(nothing);
        }
        if let Some(slice) = self.read_on(from, limit, max_bytes, cuts)? {
            return Ok(slice);
        }
        let Some((segment, first)) = self.locate(from, cuts)? else { return Ok(nothing) };
        if first.header.last_offset() >= limit {
            return Ok(nothing);
        }
        let first_bytes = first.header.size_bytes();
        if first_bytes > max_bytes && !at_least_one {
            return Ok(nothing);
        }
        let available = segment.size_bytes().saturating_sub(first.position);
        let wanted = (max_bytes.max(first_bytes) as u64).min(available);
        // And the header behind, which tells whether the last batch ends where it should.
        let with_next = wanted.saturating_add(HEADER_BYTES as u64).min(available);
        let mut records = segment.bytes_at(first.position, with_next)?;
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let floor = first.header.base_offset;
        let (length, next_offset) =
            self.check(&segment, first.position, floor, &records, wanted, limit)?;
        if cuts != UNDER_THE_LOCK {
            segment.note_read_end(from, next_offset, first.position + length as u64, cuts);
        }
        records.truncate(length);
        Ok(Slice { records, next_offset })
    }

    /// As [`Self::read_published`], where a read ended at `from`: the first batch's header comes
    /// with what is read, and is not looked at before. `None` where no read ended there, and
    /// where something is not as it nearly always is: what to make of that is told by who looks at
    /// the header first.
    fn read_on(
        &self,
        from: Offset,
        limit: Offset,
        max_bytes: usize,
        cuts: u64,
    ) -> Result<Option<Slice>, ReadError> {
        let segments = self.segments.load();
        let after = segments.partition_point(|segment| segment.base_offset() <= from);
        let Some(segment) = after.checked_sub(1).and_then(|index| segments.get(index)) else {
            return Ok(None);
        };
        let Some(position) = segment.read_end_at(from, cuts) else { return Ok(None) };
        let available = segment.size_bytes().saturating_sub(position);
        let wanted = (max_bytes as u64).min(available);
        let with_next = wanted.saturating_add(HEADER_BYTES as u64).min(available);
        let mut records = segment.bytes_at(position, with_next)?;
        let wanted = usize::try_from(wanted).unwrap_or(usize::MAX);
        let is_usual = |first: &BatchSpan| {
            let fits = first.size_bytes <= wanted && first.last_offset() < limit;
            fits && misplaced(segment, first, from).is_none()
        };
        if !BatchSpan::parse(&records).is_ok_and(|first| is_usual(&first)) {
            return Ok(None);
        }
        let (length, next_offset) = self.check(segment, position, from, &records, wanted, limit)?;
        segment.note_read_end(from, next_offset, position + length as u64, cuts);
        records.truncate(length);
        Ok(Some(Slice { records, next_offset }))
    }

    /// How many bytes of `records`, which lie at `first_position` and hold nothing from before
    /// `floor`, are whole batches that end below `limit`, and where the next one begins. Ends before the first that is not as it should be; an error if that is the
    /// first of all.
    fn check(
        &self,
        segment: &Segment,
        first_position: u64,
        floor: Offset,
        records: &[u8],
        wanted: usize,
        limit: Offset,
    ) -> Result<(usize, Offset), ReadError> {
        let mut found = BatchSpan::parse(records);
        let mut walk = Walk { log: self, segment, floor, reign: None };
        let (mut length, mut next_offset) = (0, Offset::UNKNOWN);
        let wrong = loop {
            let span = match &found {
                Ok(span) if length + span.size_bytes > wanted => break None,
                Ok(span) => span,
                Err(error) => break Some(error.to_string()),
            };
            let (bytes, behind) = records[length..].split_at(span.size_bytes);
            let position = first_position + length as u64;
            let next = (!behind.is_empty()).then(|| BatchSpan::parse(behind));
            if let Some(wrong) = walk.is_damaged(position, span, bytes, next.as_ref()) {
                break Some(wrong);
            }
            if span.last_offset() >= limit {
                break None;
            }
            length += span.size_bytes;
            next_offset = span.next_offset();
            walk.floor = next_offset;
            match next {
                Some(next) => found = next,
                None => break None,
            }
        };
        match wrong {
            Some(wrong) if length == 0 => Err(segment.corrupt(first_position, wrong)),
            Some(_) | None => {
                segment.note_verified(first_position, first_position + length as u64);
                Ok((length, next_offset))
            }
        }
    }

    pub(crate) fn check_range(&self, from: Offset, log_end: Offset) -> Result<(), ReadError> {
        let log_start = self.log_start_offset();
        if from < log_start || from > log_end {
            return Err(ReadError::OutOfRange { offset: from, log_start, log_end });
        }
        Ok(())
    }

    /// The batch that holds `offset`, or the first after it, in a log that was cut `cuts` times.
    pub(crate) fn locate(
        &self,
        offset: Offset,
        cuts: u64,
    ) -> Result<Option<(Arc<Segment>, Located)>, ReadError> {
        let segments = self.segments.load();
        let after = segments.partition_point(|segment| segment.base_offset() <= offset);
        for segment in &segments[after.saturating_sub(1)..] {
            if let Some(located) = segment.headers_on_from(offset, cuts).next() {
                return Ok(Some((Arc::clone(segment), located?)));
            }
        }
        Ok(None)
    }
}

/// What is known while batches are walked over, one after another.
struct Walk<'a> {
    log: &'a Log,
    segment: &'a Segment,
    /// Where the batch before ends.
    floor: Offset,
    /// The reign of the batch before, and where the next one begins.
    reign: Option<(LeaderEpoch, Offset)>,
}

impl Walk<'_> {
    /// What is wrong with a batch, which `next` follows unless it is the segment's last.
    #[inline]
    fn is_damaged(
        &mut self,
        position: u64,
        span: &BatchSpan,
        bytes: &[u8],
        next: Option<&Result<BatchSpan, RecordError>>,
    ) -> Option<String> {
        if let Some(reason) = misplaced(self.segment, span, self.floor) {
            return Some(reason);
        }
        let base = span.base_offset;
        // Either this one tells its length wrongly, or it is the next one that is damaged.
        let mut in_doubt = false;
        match next {
            Some(Ok(next)) if next.base_offset < span.next_offset() => {
                let next = next.base_offset;
                return Some(format!("the batch at offset {base} reaches into the one at {next}"));
            }
            Some(Err(_)) => in_doubt = true,
            Some(Ok(_)) | None => {}
        }
        let epoch = span.partition_leader_epoch;
        if let Some(reign) = self.reign_at(base).filter(|reign| *reign != epoch) {
            return Some(format!("it bears leader epoch {epoch}, written in {reign}"));
        }
        if !in_doubt && self.segment.is_verified(position, position + bytes.len() as u64) {
            return None;
        }
        let header = BatchHeader::parse(bytes);
        let verified = header.and_then(|header| verify_crc(&header, bytes));
        verified.err().map(|error| error.to_string())
    }

    #[inline]
    fn reign_at(&mut self, base: Offset) -> Option<LeaderEpoch> {
        let at = base.max(self.log.log_start_offset());
        if self.reign.is_none_or(|(_, end)| at >= end) {
            self.reign = self.log.epochs.read().reign_at(at);
        }
        self.reign.map(|(epoch, _)| epoch)
    }
}
