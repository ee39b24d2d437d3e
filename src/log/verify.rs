//! Verifying a segment as it lies on the disk: every batch's frame, checksum, offsets and leader
//! epoch, against what is known beside the file: its size, where it ends, the marks of its index,
//! the log's epochs. Checksums do not cover offsets and epochs, so these are held against each other.
//! Offsets may be missing, for the log may have been compacted once; they must not go back, and a
//! batch that claims to be further on than it is runs into the one behind it.
//!
//! A verification goes in steps, as large as the caller wants, so that it can be slow and paused; it
//! holds no lock, and says nothing about a segment that went or was cut meanwhile.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use crate::log::epochs::EpochHistory;
use crate::log::index::IndexEntry;
use crate::log::partition_log::Log;
use crate::log::rot::Finding;
use crate::log::segment::Segment;
use crate::record::{BatchHeader, CRC_FROM, HEADER_BYTES};
use crate::storage::Offload;
use crate::types::Offset;

/// How much is read at once.
const WINDOW_BYTES: u64 = 128 << 10;

/// The last batch that was found sound.
#[derive(Debug, Clone, Copy)]
struct Passed {
    position: u64,
    /// Where the batch before it ended, which is further down where offsets are missing.
    offset_before: Offset,
    base_offset: Offset,
}

/// The verification of one segment.
#[derive(Debug)]
pub struct SegmentCheck {
    log: Arc<Log>,
    segment: Arc<Segment>,
    /// The bytes to be verified.
    size_bytes: u64,
    /// Where the last of them ends.
    next_offset: Offset,
    marks: Vec<IndexEntry>,
    epochs: EpochHistory,
    /// How many batches do not begin where the one before ends: a cleaner was here.
    gaps: u64,
    /// Nothing is appended to it any more.
    is_sealed: bool,
    cuts: u64,
    position: u64,
    expected: Offset,
    passed: Option<Passed>,
    window: Bytes,
    window_start: u64,
    read_bytes: u64,
    findings: Vec<Finding>,
}

impl Log {
    /// The base offsets of the segments that hold something, oldest first.
    pub fn segments_to_verify(&self) -> Vec<Offset> {
        let segments = self.segments.load();
        let holding =
            segments.iter().filter(|segment| segment.next_offset() > segment.base_offset());
        holding.map(|segment| segment.base_offset()).collect()
    }

    /// Where what blocks is run.
    pub fn offload(&self) -> &dyn Offload {
        &*self.shared.offload
    }

    /// The bytes of the segment that begins at `base`; 0 if there is none.
    pub fn segment_bytes(&self, base: Offset) -> u64 {
        self.listed(base).map_or(0, |segment| segment.size_bytes())
    }

    /// Begins to verify the segment `base`, up to where it ends now; none if it is not there.
    pub fn verify_segment(self: &Arc<Self>, base: Offset) -> Option<SegmentCheck> {
        let segment = self.listed(base)?;
        let (cuts, point) = {
            // Size and end belong together only while nothing is appended.
            let _writer = self.writer.lock();
            (self.cuts.load(Ordering::Acquire), segment.point())
        };
        Some(SegmentCheck {
            log: Arc::clone(self),
            marks: segment.with_index(|index| index.marks(point.size_bytes)),
            is_sealed: !Arc::ptr_eq(&self.active(), &segment),
            segment,
            size_bytes: point.size_bytes,
            next_offset: point.next_offset,
            epochs: self.epochs.read().clone(),
            gaps: 0,
            cuts,
            position: 0,
            expected: base,
            passed: None,
            window: Bytes::new(),
            window_start: 0,
            read_bytes: 0,
            findings: Vec::new(),
        })
    }

    fn listed(&self, base: Offset) -> Option<Arc<Segment>> {
        self.segments.load().iter().find(|segment| segment.base_offset() == base).cloned()
    }
}

impl SegmentCheck {
    /// Verifies on, until about `budget_bytes` more have been read or all is done. Gives how many
    /// were read; 0 once it is done. Blocks while the disk is read.
    pub fn step(&mut self, budget_bytes: u64) -> u64 {
        let before = self.read_bytes;
        if before == 0 && self.is_sealed {
            // What is verified is what the device holds.
            self.segment.forget_cached();
        }
        while !self.is_done() && self.read_bytes - before < budget_bytes {
            match self.judge(self.position) {
                Ok(header) => self.pass(&header),
                Err(reason) => self.find(reason),
            }
            if self.is_done() {
                self.check_end();
                self.leave();
            }
        }
        self.read_bytes - before
    }

    /// Whether everything has been looked at.
    pub fn is_done(&self) -> bool {
        self.position >= self.size_bytes
    }

    /// How many bytes have been looked at.
    pub fn verified_bytes(&self) -> u64 {
        self.position.min(self.size_bytes)
    }

    /// How many bytes there are to be looked at.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes
    }

    /// Tells the log what was found and gives it, once all is looked at. None if the segment was
    /// cut, replaced or removed meanwhile: what was read may have been another's.
    pub fn conclude(&self) -> Option<Vec<Finding>> {
        if !self.is_done() || !self.is_current() {
            return None;
        }
        self.log.note_damage(self.segment.base_offset(), &self.findings);
        Some(self.findings.clone())
    }

    /// Whether the segment is still the log's, and was not cut. Other segments may have been replaced.
    fn is_current(&self) -> bool {
        let segments = self.log.segments.load();
        let found = segments.iter().position(|listed| Arc::ptr_eq(listed, &self.segment));
        let Some(index) = found else { return false };
        let is_sealed = index + 1 < segments.len();
        let (size_bytes, next_offset) = (self.segment.size_bytes(), self.segment.next_offset());
        let is_same = is_sealed && (size_bytes, next_offset) == (self.size_bytes, self.next_offset);
        is_same || self.log.cuts.load(Ordering::Acquire) == self.cuts
    }

    /// Whether a cleaner was here, or may have been: offsets are missing.
    pub fn is_compacted(&self) -> bool {
        self.gaps > 0 || self.log.config().cleanup_compact
    }

    pub(crate) fn log(&self) -> &Arc<Log> {
        &self.log
    }

    pub(crate) fn findings(&self) -> &[Finding] {
        &self.findings
    }

    /// The log's count of cuts when the verification began.
    pub(crate) fn cuts(&self) -> u64 {
        self.cuts
    }

    pub(crate) fn segment(&self) -> &Arc<Segment> {
        &self.segment
    }

    /// The batch that begins at `position`, if it is sound and may follow here.
    fn judge(&mut self, position: u64) -> Result<BatchHeader, String> {
        let header = self.sound_batch(position)?;
        let expected = self.expected;
        let base = header.base_offset;
        if base < expected {
            return self.blame(&header, format!("offset {base} follows where {expected} was due"));
        }
        if header.next_offset() > self.next_offset {
            let (last, end) = (header.last_offset(), self.next_offset);
            return Err(format!("a batch ends with offset {last}, the segment before {end}"));
        }
        Ok(header)
    }

    /// Offsets do not rise: where some were missing just before, it may be that not this batch lies
    /// but the one before it, which claimed to be further on.
    fn blame(&mut self, header: &BatchHeader, reason: String) -> Result<BatchHeader, String> {
        let Some(liar) = self.passed.filter(|passed| {
            passed.base_offset > passed.offset_before && passed.offset_before < header.base_offset
        }) else {
            return Err(reason);
        };
        self.gaps -= 1;
        self.findings.push(Finding {
            segment: self.segment.base_offset(),
            position: liar.position,
            end: self.position,
            from: liar.offset_before,
            to: header.base_offset,
            reason: format!(
                "a batch claims offset {} and is followed by {}",
                liar.base_offset, header.base_offset
            ),
        });
        self.expected = header.base_offset;
        Ok(header.clone())
    }

    /// The batch that begins at `position`, if it is whole, its checksum right, and its epoch that
    /// which the log knows for its offset.
    fn sound_batch(&mut self, position: u64) -> Result<BatchHeader, String> {
        let header = self.header_at(position)?;
        let crc =
            self.checksum(position + CRC_FROM as u64, position + header.size_bytes() as u64)?;
        if crc != header.crc {
            return Err(format!("the checksum is {crc:08x} and should be {:08x}", header.crc));
        }
        let (epoch, base) = (header.partition_leader_epoch, header.base_offset);
        match self.epochs.epoch_at(base) {
            Some(known) if known != epoch => {
                Err(format!("leader epoch {epoch} at offset {base}, which {known} wrote"))
            }
            Some(_) | None => Ok(header),
        }
    }

    /// The header at `position`, of a batch that ends within the segment.
    fn header_at(&mut self, position: u64) -> Result<BatchHeader, String> {
        let left = self.size_bytes.saturating_sub(position);
        let bytes = self.read(position, left.min(HEADER_BYTES as u64))?;
        let header = BatchHeader::parse(&bytes).map_err(|error| error.to_string())?;
        if header.size_bytes() as u64 > left {
            let size_bytes = header.size_bytes();
            return Err(format!("a batch of {size_bytes} bytes where {left} are left"));
        }
        if header.last_offset_delta < 0 {
            return Err(format!("a batch spans {} offsets", header.last_offset_delta));
        }
        Ok(header)
    }

    fn checksum(&mut self, from: u64, to: u64) -> Result<u32, String> {
        let mut crc = 0;
        let mut at = from;
        while at < to {
            let bytes = self.read_some(at, to - at)?;
            crc = crc32c::crc32c_append(crc, &bytes);
            at += bytes.len() as u64;
        }
        Ok(crc)
    }

    /// `length` bytes at `position`, at most a window's worth.
    fn read(&mut self, position: u64, length: u64) -> Result<Bytes, String> {
        let window_end = self.window_start + self.window.len() as u64;
        if position < self.window_start || position + length > window_end {
            let wanted = WINDOW_BYTES.min(self.size_bytes - position).max(length);
            let read = match self.segment.bytes_at(position, wanted) {
                // A bad sector further on is no reason to call this batch bad.
                Err(_) if wanted > length => self.segment.bytes_at(position, length),
                read => read,
            };
            self.window = read.map_err(|error| error.to_string())?;
            self.window_start = position;
            self.read_bytes += self.window.len() as u64;
        }
        let at = usize::try_from(position - self.window_start).unwrap_or(usize::MAX);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        Ok(self.window.slice(at..at + length))
    }

    /// Some of the `most` bytes at `position`, at least one: first those that are at hand.
    fn read_some(&mut self, position: u64, most: u64) -> Result<Bytes, String> {
        let window_end = self.window_start + self.window.len() as u64;
        let at_hand = match position >= self.window_start {
            true => window_end.saturating_sub(position),
            false => 0,
        };
        self.read(position, most.min(if at_hand > 0 { at_hand } else { WINDOW_BYTES }))
    }

    fn pass(&mut self, header: &BatchHeader) {
        self.gaps += u64::from(header.base_offset > self.expected);
        self.passed = Some(Passed {
            position: self.position,
            offset_before: self.expected,
            base_offset: header.base_offset,
        });
        self.position += header.size_bytes() as u64;
        self.expected = header.next_offset();
    }

    fn find(&mut self, reason: String) {
        let (end, to) = self.next_sound();
        self.findings.push(Finding {
            segment: self.segment.base_offset(),
            position: self.position,
            end,
            from: self.expected,
            to,
            reason,
        });
        // What cannot be read costs time all the same.
        self.read_bytes += HEADER_BYTES as u64;
        self.position = end;
        self.expected = to;
        self.passed = None;
    }

    /// Where the next batch begins that can be trusted to be one: where the damaged one claims to
    /// end, if that fits, or else at a mark of the index. Records may hold what looks like batches, so
    /// nothing is searched for.
    fn next_sound(&mut self) -> (u64, Offset) {
        let from = self.expected;
        if let Ok(header) = self.header_at(self.position) {
            let end = self.position + header.size_bytes() as u64;
            let is_plausible = header.base_offset == from;
            if end == self.size_bytes {
                return (end, self.next_offset);
            }
            if let Ok(next) = self.sound_batch(end) {
                let base = next.base_offset;
                let follows = match is_plausible {
                    true => base >= header.next_offset(),
                    false => base > from,
                };
                if follows && next.next_offset() <= self.next_offset {
                    return (end, base);
                }
            }
        }
        let marks: Vec<IndexEntry> = self
            .marks
            .iter()
            .filter(|mark| mark.position > self.position && mark.offset > from)
            .copied()
            .collect();
        for mark in marks {
            let sound = self.sound_batch(mark.position);
            if sound.is_ok_and(|header| header.base_offset == mark.offset) {
                return (mark.position, mark.offset);
            }
        }
        (self.size_bytes, self.next_offset)
    }

    /// What was read just for this need not stay in memory.
    fn leave(&mut self) {
        self.window = Bytes::new();
        if self.is_sealed {
            self.segment.forget_cached();
        }
    }

    /// The last batch must end where the segment does.
    fn check_end(&mut self) {
        if self.expected >= self.next_offset {
            return;
        }
        let (position, from) = self
            .passed
            .map_or((0, self.segment.base_offset()), |last| (last.position, last.offset_before));
        self.findings.push(Finding {
            segment: self.segment.base_offset(),
            position,
            end: self.size_bytes,
            from,
            to: self.next_offset,
            reason: format!(
                "it ends at offset {} and should at {}",
                self.expected, self.next_offset
            ),
        });
    }
}
