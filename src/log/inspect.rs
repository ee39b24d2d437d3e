//! Looking into segment files without opening their directory: for `dump-log` and for tests.
//! Nothing is locked and nothing is changed, so a file that is being written can be looked at.

use std::path::{Path, PathBuf};

use crate::log::epochs::EpochStart;
use crate::log::error::{ReadError, StorageError};
use crate::log::producers::ProducerState;
use crate::log::segment::{Segment, base_offset_of};
use crate::log::tail::Tail;
use crate::record::{Batch, BatchHeader, HEADER_BYTES};
use crate::storage::{Disk, OpenMode};
use crate::types::{Offset, ProducerId, TimestampMs};

/// A batch as it lies in a file.
#[derive(Debug, Clone)]
pub struct InspectedBatch {
    /// Where it begins.
    pub position: u64,
    /// The batch.
    pub batch: Batch,
    /// Whether its checksum is right.
    pub is_valid: bool,
}

/// Goes through the batches of one segment file.
#[derive(Debug)]
pub struct SegmentReader {
    segment: Segment,
    position: u64,
    file_bytes: u64,
}

impl SegmentReader {
    /// Opens the file `path`, whatever its name.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self, StorageError> {
        let file = disk.open(path, OpenMode::Read).map_err(StorageError::io("open", path))?;
        let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
        let base_offset = base_offset_of(&name).unwrap_or(Offset::ZERO);
        let segment = Segment::over(file, path.to_owned(), base_offset);
        let file_bytes = segment.file_bytes()?;
        Ok(Self { segment, position: 0, file_bytes })
    }

    /// The offset that the file's name tells; 0 if it tells none.
    pub fn base_offset(&self) -> Offset {
        self.segment.base_offset()
    }

    /// The file's length.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    fn read(&mut self) -> Result<InspectedBatch, ReadError> {
        let position = self.position;
        let left = self.file_bytes - position;
        let cut_off = |needed: u64| {
            let reason = format!("{left} bytes are left, a whole batch needs {needed}");
            self.segment.corrupt(position, reason)
        };
        if left < HEADER_BYTES as u64 {
            return Err(cut_off(HEADER_BYTES as u64));
        }
        let head = self.segment.bytes_at(position, HEADER_BYTES as u64)?;
        let header = BatchHeader::parse(&head)
            .map_err(|error| self.segment.corrupt(position, error.to_string()))?;
        let size_bytes = header.size_bytes() as u64;
        if size_bytes > left {
            return Err(cut_off(size_bytes));
        }
        let bytes = self.segment.bytes_at(position, size_bytes)?;
        self.position += size_bytes;
        let batch = Batch { header, bytes };
        let is_valid = batch.verify_crc().is_ok();
        Ok(InspectedBatch { position, batch, is_valid })
    }
}

impl Iterator for SegmentReader {
    type Item = Result<InspectedBatch, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.position >= self.file_bytes {
            return None;
        }
        let result = self.read();
        if result.is_err() {
            self.position = self.file_bytes;
        }
        Some(result)
    }
}

/// The segment files in a log's directory, oldest first.
pub fn segment_files(disk: &dyn Disk, directory: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let entries = disk.list(directory).map_err(StorageError::io("list", directory))?;
    let mut bases: Vec<(Offset, String)> = entries
        .into_iter()
        .filter_map(|entry| base_offset_of(&entry.name).map(|base| (base, entry.name)))
        .collect();
    bases.sort_unstable();
    Ok(bases.into_iter().map(|(_, name)| directory.join(name)).collect())
}

/// What the batches of a log's directory add up to.
#[derive(Debug, Clone, Default)]
pub struct Derived {
    /// The leader epochs, oldest first.
    pub epochs: Vec<EpochStart>,
    /// The producers.
    pub producers: Vec<(ProducerId, ProducerState)>,
}

/// Derives epochs and producers from the batches in a log's directory, as recovery would.
pub fn derive(disk: &dyn Disk, directory: &Path) -> Result<Derived, StorageError> {
    let mut tail = Tail::default();
    for path in segment_files(disk, directory)? {
        for batch in SegmentReader::open(disk, &path)?.map_while(Result::ok) {
            tail.fold(&batch.batch, true, TimestampMs(i64::MAX));
        }
    }
    let producers = tail.producers.states();
    Ok(Derived {
        epochs: tail.epochs.entries().to_vec(),
        producers: producers.iter().map(|(&id, state)| (id, state.clone())).collect(),
    })
}
