//! The batches of one segment file. Behind damage it goes on with the next batch whose checksum is
//! right.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};

use crate::log::error::{ReadError, StorageError};
use crate::record::{Batch, BatchHeader, HEADER_BYTES};
use crate::storage::{Disk, DiskFile, OpenMode};
use crate::types::Offset;

/// How much is read at once.
const WINDOW_BYTES: u64 = 1 << 20;
/// Where a header has its format number, and which one it is: what a search goes by.
const MAGIC_AT: usize = 16;
const MAGIC: u8 = 2;
/// The bits of a header's attributes that mean something.
const KNOWN_ATTRIBUTES: i16 = 0x7f;

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

/// Bytes that are no batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DamagedBytes {
    /// Where they begin.
    pub position: u64,
    /// How many they are: up to the next batch, or to the end of what is read.
    pub size_bytes: u64,
    /// What is wrong with the first of them.
    pub reason: String,
    /// Whether there is a batch behind them.
    pub is_followed: bool,
}

/// What comes next in a file.
#[derive(Debug, Clone)]
pub enum Piece {
    /// A batch, perhaps one whose checksum is wrong.
    Batch(InspectedBatch),
    /// Something else.
    Damaged(DamagedBytes),
}

/// Goes through the batches of one segment file.
#[derive(Debug)]
pub struct SegmentReader {
    file: Arc<dyn DiskFile>,
    path: PathBuf,
    position: u64,
    end: u64,
    file_bytes: u64,
    /// Behind damage, a batch that begins below this is not believed to be one.
    next_offset: Offset,
    largest_found: u64,
    window: Bytes,
    window_start: u64,
}

impl SegmentReader {
    /// Opens the file `path`, whatever its name.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self, StorageError> {
        let file = disk.open(path, OpenMode::Read).map_err(StorageError::io("open", path))?;
        let file_bytes = file.size_bytes().map_err(StorageError::io("size of", path))?;
        Ok(Self {
            file,
            path: path.to_owned(),
            position: 0,
            end: file_bytes,
            file_bytes,
            next_offset: Offset::ZERO,
            largest_found: u64::MAX,
            window: Bytes::new(),
            window_start: 0,
        })
    }

    /// Reads no more than the first `bytes` of the file.
    #[must_use]
    pub fn within(mut self, bytes: u64) -> Self {
        self.end = self.file_bytes.min(bytes);
        self
    }

    /// Behind damage, takes nothing for a batch that claims more than `bytes`.
    #[must_use]
    pub fn finding_at_most(mut self, bytes: u64) -> Self {
        self.largest_found = bytes;
        self
    }

    /// The file's length.
    pub fn file_bytes(&self) -> u64 {
        self.file_bytes
    }

    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// The file cannot be read on.
    pub fn next_piece(&mut self) -> Result<Option<Piece>, StorageError> {
        if self.position >= self.end {
            return Ok(None);
        }
        let position = self.position;
        let reason = match self.batch_at(position)? {
            Ok(batch) => {
                let after = position + batch.header.size_bytes() as u64;
                let wrong = batch.verify_crc().err();
                // Where the length is what is wrong, there is no batch behind it.
                if wrong.is_none() || after == self.end || self.header_at(after)?.is_some() {
                    self.position = after;
                    self.next_offset = self.next_offset.max(batch.header.next_offset());
                    let is_valid = wrong.is_none();
                    return Ok(Some(Piece::Batch(InspectedBatch { position, batch, is_valid })));
                }
                wrong.map(|wrong| wrong.to_string()).unwrap_or_default()
            }
            Err(reason) => reason,
        };
        let found = self.find(position + 1)?;
        self.position = found.unwrap_or(self.end);
        Ok(Some(Piece::Damaged(DamagedBytes {
            position,
            size_bytes: self.position - position,
            reason,
            is_followed: found.is_some(),
        })))
    }

    /// The batch at a position, its checksum not looked at; or what is wrong with its header.
    fn batch_at(&mut self, position: u64) -> Result<Result<Batch, String>, StorageError> {
        let left = self.end - position;
        let head = self.bytes_at(position, left.min(HEADER_BYTES as u64))?;
        let header = match BatchHeader::parse(&head) {
            Ok(header) => header,
            Err(_) if head.iter().all(|byte| *byte == 0) => {
                return Ok(Err("there are zeros where a batch should begin".to_owned()));
            }
            Err(error) => return Ok(Err(error.to_string())),
        };
        let needed = header.size_bytes() as u64;
        if needed > left {
            let reason = format!("{left} bytes are left, the whole batch would have {needed}");
            return Ok(Err(reason));
        }
        let bytes = self.bytes_at(position, needed)?;
        Ok(Ok(Batch { header, bytes }))
    }

    /// The header at a position, if it can be one.
    fn header_at(&mut self, position: u64) -> Result<Option<BatchHeader>, StorageError> {
        let left = self.end.saturating_sub(position);
        if left < HEADER_BYTES as u64 {
            return Ok(None);
        }
        let head = self.bytes_at(position, HEADER_BYTES as u64)?;
        let header = BatchHeader::parse(&head).ok();
        Ok(header.filter(|header| {
            let size_bytes = header.size_bytes() as u64;
            size_bytes <= left
                && size_bytes <= self.largest_found
                && header.base_offset >= self.next_offset
                && header.last_offset_delta >= 0
                && header.record_count >= 0
                && header.attributes & !KNOWN_ATTRIBUTES == 0
        }))
    }

    /// Where the next whole batch with the right checksum begins.
    fn find(&mut self, from: u64) -> Result<Option<u64>, StorageError> {
        let mut position = from;
        while position + (HEADER_BYTES as u64) <= self.end {
            let length = WINDOW_BYTES.min(self.end - position);
            let bytes = self.bytes_at(position, length)?;
            let candidates = bytes.len() - (HEADER_BYTES - 1);
            for at in (0..candidates).filter(|at| bytes[at + MAGIC_AT] == MAGIC) {
                let candidate = position + at as u64;
                if self.header_at(candidate)?.is_none() {
                    continue;
                }
                if self.batch_at(candidate)?.is_ok_and(|batch| batch.verify_crc().is_ok()) {
                    return Ok(Some(candidate));
                }
            }
            position += candidates as u64;
        }
        Ok(None)
    }

    /// `length` bytes at `position`, which the file has.
    fn bytes_at(&mut self, position: u64, length: u64) -> Result<Bytes, StorageError> {
        let window_end = self.window_start + self.window.len() as u64;
        if position < self.window_start || position + length > window_end {
            let read = length.max(WINDOW_BYTES).min(self.end - position);
            let mut window = BytesMut::zeroed(usize::try_from(read).unwrap_or(usize::MAX));
            self.file
                .read_exact_at(&mut window, position)
                .map_err(StorageError::io("read", &self.path))?;
            self.window = window.freeze();
            self.window_start = position;
        }
        let at = usize::try_from(position - self.window_start).unwrap_or(usize::MAX);
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        Ok(self.window.slice(at..at + length))
    }
}

/// The batches up to the first damage, which is the last thing that is given.
impl Iterator for SegmentReader {
    type Item = Result<InspectedBatch, ReadError>;

    fn next(&mut self) -> Option<Self::Item> {
        let path = self.path.clone();
        let wrong = match self.next_piece() {
            Ok(None) => return None,
            Ok(Some(Piece::Batch(batch))) => return Some(Ok(batch)),
            Ok(Some(Piece::Damaged(DamagedBytes { position, reason, .. }))) => {
                ReadError::Corrupt { path, position, reason }
            }
            Err(StorageError::Io { source, .. }) => ReadError::Io { path, source },
            Err(error) => ReadError::Io { path, source: std::io::Error::other(error) },
        };
        self.position = self.end;
        Some(Err(wrong))
    }
}
