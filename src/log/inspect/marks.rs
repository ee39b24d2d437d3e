//! Whether a segment's index, as the catalog has it, tells the truth about the segment's file.

use std::path::Path;

use crate::log::error::StorageError;
use crate::log::index::IndexEntry;
use crate::log::inspect::{Piece, SegmentReader};
use crate::storage::Disk;
use crate::types::{Offset, TimestampMs};

/// A mark that is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mismatch {
    /// What the index says.
    pub mark: IndexEntry,
    /// The offset of the batch that begins there; `None`: none does.
    pub offset: Option<Offset>,
    /// The largest timestamp of what lies before, as the file has it.
    pub timestamp_before: TimestampMs,
}

/// Those of `marks` that do not fit the segment file `path`.
///
/// # Errors
/// The file cannot be read.
pub fn mismatches(
    disk: &dyn Disk,
    path: &Path,
    marks: &[IndexEntry],
) -> Result<Vec<Mismatch>, StorageError> {
    let mut wrong = Vec::new();
    let mut reader = SegmentReader::open(disk, path)?;
    let mut marks = marks.iter().copied().peekable();
    let mut largest = TimestampMs::NONE;
    while let Some(piece) = reader.next_piece()? {
        let Piece::Batch(found) = piece else { continue };
        let header = &found.batch.header;
        while let Some(mark) = marks.next_if(|mark| mark.position <= found.position) {
            let offset = (mark.position == found.position).then_some(header.base_offset);
            if offset != Some(mark.offset) || mark.timestamp_before != largest {
                wrong.push(Mismatch { mark, offset, timestamp_before: largest });
            }
        }
        largest = largest.max(header.max_timestamp);
    }
    wrong.extend(marks.map(|mark| Mismatch { mark, offset: None, timestamp_before: largest }));
    Ok(wrong)
}
