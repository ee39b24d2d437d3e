//! Where in a segment which batch begins. Pure. While a segment is written its index is dense
//! (an entry per [`DENSE_INTERVAL_BYTES`]); what the catalog keeps of it, and what stays in memory
//! once the segment is sealed, are the marks: an entry per [`MARK_INTERVAL_BYTES`].

use crate::types::{Offset, TimestampMs};

/// Bytes between two entries while the segment is written.
pub const DENSE_INTERVAL_BYTES: u64 = 16 << 10;
/// Bytes between two entries in the catalog.
pub const MARK_INTERVAL_BYTES: u64 = 1 << 20;

/// A batch that a search can begin at.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct IndexEntry {
    /// The batch's base offset.
    pub offset: Offset,
    /// Its position in the segment's file.
    pub position: u64,
    /// The largest timestamp of all that lies before it in the segment.
    pub timestamp_before: TimestampMs,
}

/// One segment's index.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentIndex {
    entries: Vec<IndexEntry>,
    next_entry_position: u64,
    max_timestamp: TimestampMs,
    max_timestamp_position: u64,
}

impl Default for SegmentIndex {
    fn default() -> Self {
        Self::from_marks(Vec::new(), TimestampMs::NONE, 0)
    }
}

impl SegmentIndex {
    /// An index as the catalog kept it; `max_timestamp_position` is where the batch with the
    /// largest timestamp begins.
    pub fn from_marks(
        entries: Vec<IndexEntry>,
        max_timestamp: TimestampMs,
        max_timestamp_position: u64,
    ) -> Self {
        let next_entry_position = entries
            .last()
            .map_or(DENSE_INTERVAL_BYTES, |last| last.position + DENSE_INTERVAL_BYTES);
        Self { entries, next_entry_position, max_timestamp, max_timestamp_position }
    }

    /// A batch was appended at `position`.
    pub fn note(&mut self, offset: Offset, position: u64, max_timestamp: TimestampMs) {
        if position >= self.next_entry_position {
            let timestamp_before = self.max_timestamp;
            self.entries.push(IndexEntry { offset, position, timestamp_before });
            self.next_entry_position = position + DENSE_INTERVAL_BYTES;
        }
        if max_timestamp > self.max_timestamp {
            self.max_timestamp = max_timestamp;
            self.max_timestamp_position = position;
        }
    }

    /// Where to begin looking for the batch that holds `offset`.
    pub fn position_for_offset(&self, offset: Offset) -> u64 {
        self.entry_before(offset).map_or(0, |entry| entry.position)
    }

    /// The last batch at or before `offset` that a search can begin at; `None`: the first.
    pub fn entry_before(&self, offset: Offset) -> Option<IndexEntry> {
        let after = self.entries.partition_point(|entry| entry.offset <= offset);
        after.checked_sub(1).map(|index| self.entries[index])
    }

    /// Where to begin looking for the first batch with a timestamp of at least `timestamp`.
    pub fn position_for_timestamp(&self, timestamp: TimestampMs) -> u64 {
        let after = self.entries.partition_point(|entry| entry.timestamp_before < timestamp);
        after.checked_sub(1).map_or(0, |index| self.entries[index].position)
    }

    /// The largest timestamp in the segment; [`TimestampMs::NONE`] if it is empty.
    pub fn max_timestamp(&self) -> TimestampMs {
        self.max_timestamp
    }

    /// Where the first batch with the largest timestamp begins.
    pub fn max_timestamp_position(&self) -> u64 {
        self.max_timestamp_position
    }

    /// The entries that the catalog keeps of what lies before `end`. Longer segments only add to
    /// the list.
    pub fn marks(&self, end: u64) -> Vec<IndexEntry> {
        let mut next = MARK_INTERVAL_BYTES;
        let mut marks = Vec::new();
        for entry in self.entries.iter().take_while(|entry| entry.position < end) {
            if entry.position >= next {
                marks.push(*entry);
                next = entry.position + MARK_INTERVAL_BYTES;
            }
        }
        marks
    }

    /// The segment is sealed: only the marks stay.
    pub fn seal(&mut self) {
        self.entries = self.marks(u64::MAX);
    }

    /// The last entry before `end`, and the index without what lies at or behind it: a scan from
    /// there on rebuilds the rest. The largest timestamp is then that of the part that is left.
    pub fn truncate(&mut self, end: u64) -> u64 {
        let keep = self.entries.partition_point(|entry| entry.position < end);
        self.entries.truncate(keep);
        let last = self.entries.pop();
        let resume_at = last.map_or(0, |entry| entry.position);
        self.next_entry_position = if resume_at == 0 { DENSE_INTERVAL_BYTES } else { resume_at };
        if self.max_timestamp_position >= resume_at {
            self.max_timestamp = last.map_or(TimestampMs::NONE, |entry| entry.timestamp_before);
            self.max_timestamp_position = resume_at;
        }
        resume_at
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const BATCH: u64 = 10_000;

    fn index_of(batches: i64) -> SegmentIndex {
        let mut index = SegmentIndex::default();
        for i in 0..batches {
            index.note(Offset(i * 10), BATCH * u64::try_from(i).unwrap(), TimestampMs(i * 100));
        }
        index
    }

    #[test]
    fn a_search_begins_at_or_before_what_it_looks_for() {
        let index = index_of(300);
        for offset in [0, 5, 19, 20, 777, 2_999] {
            let batch_position = BATCH * u64::try_from(offset / 10).unwrap();
            let position = index.position_for_offset(Offset(offset));
            assert!(position <= batch_position, "offset {offset}");
            assert!(batch_position - position <= DENSE_INTERVAL_BYTES + BATCH, "offset {offset}");
            let by_time = index.position_for_timestamp(TimestampMs(offset / 10 * 100));
            assert!(by_time <= batch_position);
        }
        assert_eq!(index.max_timestamp(), TimestampMs(29_900));
        assert_eq!(index.max_timestamp_position(), 299 * BATCH);
    }

    #[test]
    fn marks_are_a_mebibyte_apart_and_only_grow() {
        let index = index_of(500);
        let marks = index.marks(u64::MAX);
        assert_eq!(marks.len(), 4);
        assert!(marks.windows(2).all(|w| w[1].position - w[0].position >= MARK_INTERVAL_BYTES));
        let shorter = index.marks(250 * BATCH);
        assert_eq!(shorter[..], marks[..shorter.len()]);
        let mut sealed = index.clone();
        sealed.seal();
        assert_eq!(sealed.marks(u64::MAX), marks);
        assert!(sealed.position_for_offset(Offset(4_999)) <= 4_990 * BATCH);
    }

    #[test]
    fn a_truncated_index_can_be_rebuilt_from_where_it_says() {
        let full = index_of(100);
        let mut cut = index_of(300);
        let resume = cut.truncate(100 * BATCH);
        assert!(resume <= 100 * BATCH);
        for i in (resume / BATCH)..100 {
            let i = i64::try_from(i).unwrap();
            cut.note(Offset(i * 10), BATCH * u64::try_from(i).unwrap(), TimestampMs(i * 100));
        }
        assert_eq!(cut, full);
    }
}
