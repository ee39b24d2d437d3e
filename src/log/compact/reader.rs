//! The batches of a sealed segment one after another, each checked, through one buffer.

use std::ops::Range;
use std::sync::Arc;

use crate::log::error::ReadError;
use crate::log::segment::Segment;
use crate::record::{BatchHeader, HEADER_BYTES, verify_crc};

/// Goes through a segment from a position on.
#[derive(Debug)]
pub struct BatchReader {
    segment: Arc<Segment>,
    position: u64,
    end: u64,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    from: u64,
    window_bytes: usize,
}

impl BatchReader {
    /// The batches of `segment` from `position` on, where one must begin; read `window_bytes` at a
    /// time. `buffer` is room to work in.
    pub fn new(
        segment: Arc<Segment>,
        position: u64,
        window_bytes: usize,
        mut buffer: Vec<u8>,
    ) -> Self {
        buffer.clear();
        let end = segment.size_bytes();
        Self { segment, position, end, buffer, from: position, window_bytes }
    }

    /// The segment.
    pub fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// Its room, for the next.
    pub fn into_buffer(self) -> Vec<u8> {
        self.buffer
    }

    /// The next batch's header, and where in [`Self::bytes`] all of it lies.
    pub fn next_batch(&mut self) -> Result<Option<(BatchHeader, Range<usize>)>, ReadError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let at = self.position;
        let corrupt = |segment: &Segment, reason: String| segment.corrupt(at, reason);
        self.fill(HEADER_BYTES)?;
        let header = BatchHeader::parse(&self.buffer[self.start()..])
            .map_err(|error| corrupt(&self.segment, error.to_string()))?;
        let size_bytes = header.size_bytes();
        if at + size_bytes as u64 > self.end {
            let reason = format!("a batch of {size_bytes} bytes goes beyond {}", self.end);
            return Err(corrupt(&self.segment, reason));
        }
        self.fill(size_bytes)?;
        let range = self.start()..self.start() + size_bytes;
        verify_crc(&header, &self.buffer[range.clone()])
            .map_err(|error| corrupt(&self.segment, error.to_string()))?;
        self.position += size_bytes as u64;
        Ok(Some((header, range)))
    }

    /// What was read last.
    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    fn start(&self) -> usize {
        usize::try_from(self.position - self.from).unwrap_or(usize::MAX)
    }

    /// Sees to it that `needed` bytes from the position on are in the buffer.
    fn fill(&mut self, needed: usize) -> Result<(), ReadError> {
        let start = self.start();
        if self.buffer.len() >= start + needed {
            return Ok(());
        }
        self.buffer.drain(..start);
        self.from = self.position;
        let held = self.buffer.len();
        let left = usize::try_from(self.end - self.from).unwrap_or(usize::MAX);
        let wanted = needed.max(self.window_bytes).min(left).max(held);
        self.buffer.resize(wanted, 0);
        self.segment.read_at(&mut self.buffer[held..], self.from + held as u64)?;
        if wanted < needed {
            let reason = format!("{wanted} bytes are left of {needed}");
            return Err(self.segment.corrupt(self.position, reason));
        }
        Ok(())
    }
}
