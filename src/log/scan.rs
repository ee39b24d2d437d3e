//! Walks over the batch headers of a segment without reading what lies between them when that is
//! large, and over whole batches when they must be checked.

use bytes::Bytes;

use crate::log::error::ReadError;
use crate::log::segment::Segment;
use crate::record::{BatchHeader, BatchSpan, HEADER_BYTES};
use crate::types::Offset;

/// How much is read at once when headers are close to each other.
const WINDOW_BYTES: u64 = 32 << 10;

/// A position in a segment and the header of the batch that begins there.
#[derive(Debug, Clone)]
pub struct Located {
    /// Where the batch begins.
    pub position: u64,
    /// Its header.
    pub header: BatchHeader,
}

impl Located {
    /// Where the batch ends.
    pub fn end(&self) -> u64 {
        self.position + self.header.size_bytes() as u64
    }
}

/// What is wrong with a batch of `segment` by its place alone: the checksum does not cover where
/// it lies in the log. `floor` is where the batch before it ends.
#[inline]
pub(crate) fn misplaced(segment: &Segment, span: &BatchSpan, floor: Offset) -> Option<String> {
    let (base, last, end) = (span.base_offset, span.last_offset(), segment.next_offset());
    if base < floor {
        return Some(format!("a batch at offset {base} lies where {floor} or more is due"));
    }
    (span.last_offset_delta < 0 || last >= end)
        .then(|| format!("a batch of the offsets {base} to {last} in a segment that ends at {end}"))
}

/// The headers from a position on, up to an end that must be the end of a batch.
#[derive(Debug)]
pub struct Headers<'a> {
    segment: &'a Segment,
    position: u64,
    end: u64,
    window: Bytes,
    window_start: u64,
    /// Where the batch before ends.
    floor: Offset,
    window_bytes: u64,
    /// What went wrong while batches were passed over.
    failed: Option<ReadError>,
}

impl<'a> Headers<'a> {
    /// The batches of `segment` in `position..end`.
    pub fn new(segment: &'a Segment, position: u64, end: u64) -> Self {
        Self {
            segment,
            position,
            end,
            window: Bytes::new(),
            window_start: position,
            floor: segment.base_offset(),
            window_bytes: WINDOW_BYTES,
            failed: None,
        }
    }

    /// The first batch lies at `floor` or behind.
    #[must_use]
    pub fn not_before(mut self, floor: Offset) -> Self {
        self.floor = floor;
        self
    }

    /// As [`Headers::new`], for one who wants only the first header or two.
    pub fn one_by_one(segment: &'a Segment, position: u64, end: u64) -> Self {
        Self { window_bytes: HEADER_BYTES as u64, ..Self::new(segment, position, end) }
    }

    /// Passes over the batches that end before `offset`.
    pub fn skip_to(&mut self, offset: Offset) {
        let mut passed = None;
        while self.position < self.end {
            match self.parse() {
                Ok(located) if located.header.last_offset() < offset => {
                    self.pass(&located);
                    passed = Some(located);
                }
                Ok(located) => {
                    let skips = located.header.base_offset > offset;
                    self.failed = passed.filter(|_| skips).and_then(|last| self.is_short(&last));
                    return;
                }
                Err(error) => {
                    self.failed = Some(error);
                    return;
                }
            }
        }
        self.failed = passed.and_then(|last| self.is_short(&last));
    }

    /// A batch before a gap may be one that says wrongly where it ends.
    fn is_short(&self, passed: &Located) -> Option<ReadError> {
        if self.segment.is_verified(passed.position, passed.end()) {
            return None;
        }
        self.segment.batch_at(passed.position, &passed.header).err()
    }

    fn pass(&mut self, located: &Located) {
        self.position = located.end();
        self.floor = located.header.next_offset();
    }

    fn parse(&mut self) -> Result<Located, ReadError> {
        let header_bytes = HEADER_BYTES as u64;
        let window_end = self.window_start + self.window.len() as u64;
        if self.position < self.window_start || self.position + header_bytes > window_end {
            let length = self.window_bytes.min(self.end - self.position);
            self.window = self.segment.bytes_at(self.position, length)?;
            self.window_start = self.position;
        }
        let at = usize::try_from(self.position - self.window_start).unwrap_or(usize::MAX);
        let header = self.window.get(at..).unwrap_or_default();
        let header = BatchHeader::parse(header)
            .map_err(|error| self.segment.corrupt(self.position, error.to_string()))?;
        let located = Located { position: self.position, header };
        if located.end() > self.end {
            let reason =
                format!("the batch ends at {}, the segment at {}", located.end(), self.end);
            return Err(self.segment.corrupt(self.position, reason));
        }
        if let Some(reason) = misplaced(self.segment, &located.header.span(), self.floor) {
            return Err(self.segment.corrupt(self.position, reason));
        }
        Ok(located)
    }
}

impl Iterator for Headers<'_> {
    type Item = Result<Located, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(error) = self.failed.take() {
            self.position = self.end;
            return Some(Err(error));
        }
        if self.position >= self.end {
            return None;
        }
        let result = self.parse();
        match &result {
            Ok(located) => self.pass(located),
            Err(_) => self.position = self.end,
        }
        Some(result)
    }
}
