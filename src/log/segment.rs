//! One segment: a file of record batches, byte for byte as Kafka writes them, whose name is the
//! offset of its first record. Readers see what is published and take no lock of the log.

use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use bytes::Bytes;
use parking_lot::RwLock;

use crate::log::error::{ReadError, StorageError};
use crate::log::index::SegmentIndex;
use crate::log::read_ends::ReadEnds;
use crate::log::scan::Headers;
use crate::record::{Batch, BatchHeader};
use crate::storage::{Disk, DiskFile, OpenMode};
use crate::types::{Offset, TimestampMs};

/// Bytes that are read and written at once where a segment's end is written once more.
const REWRITTEN_AT_A_TIME: u64 = 1 << 20;

/// The ending of a segment's file name.
pub const LOG_SUFFIX: &str = ".log";
/// The ending that is added to the name of a file that will be removed.
pub const DELETED_SUFFIX: &str = ".deleted";
/// The ending that is added to the name of a file that is being written to replace segments.
pub const CLEANED_SUFFIX: &str = ".cleaned";
/// The ending that is added to the name of a file that is about to replace segments.
pub const SWAP_SUFFIX: &str = ".swap";

/// The ending that is added to the name of a file that does not belong to the log, or no longer
/// can, and is kept for a while.
pub const DAMAGED_SUFFIX: &str = ".damaged";

/// The name of the segment that begins at `base_offset`.
pub fn file_name(base_offset: Offset) -> String {
    format!("{:020}{LOG_SUFFIX}", base_offset.0)
}

/// The base offset that a file's name tells, if it is a segment's.
pub fn base_offset_of(name: &str) -> Option<Offset> {
    let digits = name.strip_suffix(LOG_SUFFIX)?;
    let all_digits = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
    if all_digits { digits.parse().ok().map(Offset) } else { None }
}

/// A segment as it was at one moment.
#[derive(Debug, Clone)]
pub struct SegmentPoint {
    /// The segment.
    pub segment: Arc<Segment>,
    /// Its published bytes then.
    pub size_bytes: u64,
    /// The offset after its last record then.
    pub next_offset: Offset,
    /// The largest timestamp of its first batch; [`TimestampMs::NONE`]: it was empty.
    pub first_timestamp: TimestampMs,
    /// The largest timestamp in it then.
    pub max_timestamp: TimestampMs,
    /// Where the first batch with that timestamp begins.
    pub max_timestamp_position: u64,
}

/// One segment of a log.
#[derive(Debug)]
pub struct Segment {
    base_offset: Offset,
    path: PathBuf,
    file: Arc<dyn DiskFile>,
    /// Published bytes: what lies beyond is not part of the log.
    size_bytes: AtomicU64,
    /// The offset after the last published record.
    next_offset: AtomicI64,
    /// Bytes that are known to be on the device.
    synced_bytes: AtomicU64,
    /// From here on this process wrote the bytes, or checked them when it opened the log.
    own_from: AtomicU64,
    /// Before this, readers have found every checksum right since the log was opened.
    verified_bytes: AtomicU64,
    /// The largest timestamp of the first batch; tells the segment's age.
    first_timestamp: AtomicI64,
    /// Nothing was written since then, as far as is known; -1: it is written still.
    idle_since: AtomicI64,
    /// Room was reserved behind its end.
    is_allocated: AtomicBool,
    /// How many bytes of it the catalog knows; `u64::MAX`: it does not know the segment.
    stored_bytes: AtomicU64,
    /// How many marks of its index the catalog has, and the most that it may have had.
    stored_marks: AtomicUsize,
    most_marks: AtomicUsize,
    index: RwLock<SegmentIndex>,
    read_ends: ReadEnds,
}

impl Segment {
    /// Opens the file, which may not exist yet, with nothing published.
    pub fn open(
        disk: &dyn Disk,
        directory: &Path,
        base_offset: Offset,
    ) -> Result<Self, StorageError> {
        let path = directory.join(file_name(base_offset));
        let file = disk.open(&path, OpenMode::Create).map_err(StorageError::io("open", &path))?;
        Ok(Self::over(file, path, base_offset))
    }

    /// A segment over a file that is open, with nothing published.
    pub fn over(file: Arc<dyn DiskFile>, path: PathBuf, base_offset: Offset) -> Self {
        Self {
            base_offset,
            path,
            file,
            size_bytes: AtomicU64::new(0),
            next_offset: AtomicI64::new(base_offset.0),
            synced_bytes: AtomicU64::new(0),
            own_from: AtomicU64::new(0),
            verified_bytes: AtomicU64::new(0),
            first_timestamp: AtomicI64::new(TimestampMs::NONE.0),
            idle_since: AtomicI64::new(TimestampMs::NONE.0),
            is_allocated: AtomicBool::new(false),
            stored_bytes: AtomicU64::new(u64::MAX),
            stored_marks: AtomicUsize::new(0),
            most_marks: AtomicUsize::new(0),
            index: RwLock::new(SegmentIndex::default()),
            read_ends: ReadEnds::default(),
        }
    }

    /// The offset that its name tells.
    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Its file.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The bytes that belong to the log.
    pub fn size_bytes(&self) -> u64 {
        self.size_bytes.load(Ordering::Acquire)
    }

    /// The offset after its last record.
    pub fn next_offset(&self) -> Offset {
        Offset(self.next_offset.load(Ordering::Acquire))
    }

    /// Whether there are bytes that may not be on the device.
    pub fn is_dirty(&self) -> bool {
        self.synced_bytes.load(Ordering::Acquire) < self.size_bytes()
    }

    /// The largest timestamp of its first batch, if it has one.
    pub fn first_timestamp(&self) -> Option<TimestampMs> {
        let timestamp = self.first_timestamp.load(Ordering::Acquire);
        (timestamp >= 0).then_some(TimestampMs(timestamp))
    }

    /// The largest timestamp in it.
    pub fn max_timestamp(&self) -> TimestampMs {
        self.index.read().max_timestamp()
    }

    /// The time by which retention judges a sealed segment: its largest timestamp, or, where its
    /// records bear none, when it was sealed or, if that is later, opened.
    pub fn newest(&self) -> TimestampMs {
        match self.max_timestamp() {
            TimestampMs::NONE => TimestampMs(self.idle_since.load(Ordering::Acquire)),
            newest => newest,
        }
    }

    /// Nothing has been written to it since `now`.
    pub fn note_idle_since(&self, now: TimestampMs) {
        self.idle_since.store(now.0, Ordering::Release);
    }

    /// Reserves room for `size_bytes` on the device. A file system that cannot, or has not so
    /// much, is no error: the writes will tell.
    pub fn allocate(&self, size_bytes: u64) {
        self.is_allocated.store(true, Ordering::Release);
        if let Err(error) = self.file.allocate(size_bytes) {
            tracing::warn!(path = %self.path.display(), %error, "cannot reserve room");
        }
    }

    /// Gives back what was reserved and is not needed, as nothing more will be written; with
    /// `always` also what an earlier run may have reserved.
    pub fn give_back_room(&self, always: bool) {
        if (self.is_allocated.swap(false, Ordering::AcqRel) || always)
            && let Err(error) = self.file.set_len(self.size_bytes())
        {
            tracing::warn!(path = %self.path.display(), %error, "cannot give back reserved room");
        }
    }

    /// Its index, for a moment.
    pub fn with_index<T>(&self, look: impl FnOnce(&SegmentIndex) -> T) -> T {
        look(&self.index.read())
    }

    /// The length of its file, published or not.
    pub fn file_bytes(&self) -> Result<u64, StorageError> {
        self.file.size_bytes().map_err(StorageError::io("size of", &self.path))
    }

    /// Writes behind the published bytes, without publishing.
    pub fn write(&self, parts: &[IoSlice<'_>]) -> Result<(), StorageError> {
        self.file.write_at(parts, self.size_bytes()).map_err(StorageError::io("write", &self.path))
    }

    /// Publishes one batch that has been written behind the published bytes.
    pub fn publish(&self, header: &BatchHeader) {
        let position = self.size_bytes();
        self.index.write().note(header.base_offset, position, header.max_timestamp);
        if position == 0 {
            self.first_timestamp.store(header.max_timestamp.0, Ordering::Release);
        }
        self.next_offset.store(header.next_offset().0, Ordering::Release);
        self.size_bytes.store(position + header.size_bytes() as u64, Ordering::Release);
    }

    /// The segment as it is now. The caller holds the writer's lock, so that it fits together.
    pub fn point(self: &Arc<Self>) -> SegmentPoint {
        let index = self.index.read();
        SegmentPoint {
            segment: Arc::clone(self),
            size_bytes: self.size_bytes(),
            next_offset: self.next_offset(),
            first_timestamp: TimestampMs(self.first_timestamp.load(Ordering::Acquire)),
            max_timestamp: index.max_timestamp(),
            max_timestamp_position: index.max_timestamp_position(),
        }
    }

    /// Whether the catalog does not know it as it is.
    pub fn is_unstored(&self) -> bool {
        self.stored_bytes.load(Ordering::Acquire) != self.size_bytes()
    }

    /// Whether a checkpoint has something to say about it: of an empty log's first segment nobody
    /// need know, which counts where there are thousands of them.
    pub fn is_worth_storing(&self) -> bool {
        let stored_bytes = self.stored_bytes.load(Ordering::Acquire);
        let is_new = self.base_offset == Offset::ZERO && stored_bytes == u64::MAX;
        let size_bytes = self.size_bytes();
        stored_bytes != size_bytes && !(is_new && size_bytes == 0)
    }

    /// How many marks of its index the catalog has.
    pub fn stored_marks(&self) -> usize {
        self.stored_marks.load(Ordering::Acquire)
    }

    /// The most marks that the catalog may have of it.
    pub fn most_marks(&self) -> usize {
        self.most_marks.load(Ordering::Acquire)
    }

    /// The catalog knows the segment as it was at `point`.
    pub fn note_stored(&self, point: &SegmentPoint) {
        let marks = self.with_index(|index| index.marks(point.size_bytes).len());
        self.stored_bytes.store(point.size_bytes, Ordering::Release);
        self.stored_marks.store(marks, Ordering::Release);
        self.most_marks.fetch_max(marks, Ordering::AcqRel);
    }

    /// Publishes what the catalog knows of the segment; all of it is on the device.
    pub fn restore(
        &self,
        size_bytes: u64,
        next_offset: Offset,
        first_timestamp: TimestampMs,
        index: SegmentIndex,
    ) {
        let marks = index.marks(size_bytes).len();
        self.stored_marks.store(marks, Ordering::Release);
        self.most_marks.store(marks, Ordering::Release);
        self.stored_bytes.store(size_bytes, Ordering::Release);
        *self.index.write() = index;
        self.first_timestamp.store(first_timestamp.0, Ordering::Release);
        self.next_offset.store(next_offset.0, Ordering::Release);
        self.own_from.store(size_bytes, Ordering::Release);
        self.verified_bytes.store(0, Ordering::Release);
        self.size_bytes.store(size_bytes, Ordering::Release);
        self.synced_bytes.store(size_bytes, Ordering::Release);
    }

    /// Whether the checksums in `from..to` need no look: the bytes were seen whole in this run.
    pub fn is_verified(&self, from: u64, to: u64) -> bool {
        from >= self.own_from.load(Ordering::Acquire)
            || to <= self.verified_bytes.load(Ordering::Acquire)
    }

    /// The checksums in `from..to` are right.
    pub fn note_verified(&self, from: u64, to: u64) {
        if from <= self.verified_bytes.load(Ordering::Acquire) {
            self.verified_bytes.fetch_max(to, Ordering::AcqRel);
        }
    }

    /// Writes once more, in place, what may not be on the device. What a process before this one
    /// wrote and could not sync is in the page cache and counts as clean there: no sync would write it.
    pub fn rewrite_unsynced(&self) -> Result<(), StorageError> {
        let (mut position, end) = (self.synced_bytes.load(Ordering::Acquire), self.size_bytes());
        while position < end {
            let length = (end - position).min(REWRITTEN_AT_A_TIME);
            let wanted = usize::try_from(length).unwrap_or(usize::MAX);
            let bytes = self
                .file
                .read_vec_at(wanted, position)
                .map_err(StorageError::io("read", &self.path))?;
            self.file
                .write_at(&[IoSlice::new(&bytes)], position)
                .map_err(StorageError::io("write", &self.path))?;
            position += length;
        }
        Ok(())
    }

    /// fdatasyncs the file; what was published before the call is then on the device.
    pub fn sync(&self) -> Result<(), StorageError> {
        let size_bytes = self.size_bytes();
        self.file.sync_data().map_err(StorageError::io("sync", &self.path))?;
        self.synced_bytes.fetch_max(size_bytes, Ordering::AcqRel);
        Ok(())
    }

    /// Nothing more will be appended: the index keeps only its marks.
    pub fn seal(&self) {
        self.index.write().seal();
    }

    /// Unpublishes what lies at or behind `size_bytes`, where a batch must begin, and rebuilds the
    /// index's end.
    pub fn unpublish(&self, size_bytes: u64, next_offset: Offset) -> Result<(), ReadError> {
        self.size_bytes.store(size_bytes, Ordering::Release);
        for bytes in [&self.synced_bytes, &self.own_from, &self.verified_bytes] {
            bytes.fetch_min(size_bytes, Ordering::AcqRel);
        }
        self.next_offset.store(next_offset.0, Ordering::Release);
        let mut index = self.with_index(Clone::clone);
        let resume_at = index.truncate(size_bytes);
        for located in Headers::new(self, resume_at, size_bytes) {
            let located = located?;
            let header = &located.header;
            index.note(header.base_offset, located.position, header.max_timestamp);
        }
        if size_bytes == 0 {
            self.first_timestamp.store(TimestampMs::NONE.0, Ordering::Release);
        }
        *self.index.write() = index;
        Ok(())
    }

    /// Cuts the file to the published bytes and syncs it.
    pub fn cut_file(&self) -> Result<(), StorageError> {
        let size_bytes = self.size_bytes();
        self.file.set_len(size_bytes).map_err(StorageError::io("truncate", &self.path))?;
        self.sync()
    }

    /// Cuts the file to the published bytes; a crash may bring the rest back.
    pub fn cut_file_unsynced(&self) -> Result<(), StorageError> {
        let size_bytes = self.size_bytes();
        if self.file_bytes()? > size_bytes {
            self.file.set_len(size_bytes).map_err(StorageError::io("truncate", &self.path))?;
        }
        Ok(())
    }

    /// `length` bytes at `position`; fewer are an error.
    pub fn bytes_at(&self, position: u64, length: u64) -> Result<Bytes, ReadError> {
        let wanted = usize::try_from(length).unwrap_or(usize::MAX);
        match self.file.read_vec_at(wanted, position) {
            Ok(bytes) => Ok(bytes.into()),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                Err(self.corrupt(position, format!("the file ends before {length} bytes")))
            }
            Err(source) => Err(ReadError::Io { path: self.path.clone(), source }),
        }
    }

    /// Fills `buffer` from `position` on.
    pub fn read_at(&self, buffer: &mut [u8], position: u64) -> Result<(), ReadError> {
        self.file
            .read_exact_at(buffer, position)
            .map_err(|source| ReadError::Io { path: self.path.clone(), source })
    }

    /// The batch at `position`, whole and with its checksum verified.
    pub fn batch_at(&self, position: u64, header: &BatchHeader) -> Result<Batch, ReadError> {
        let bytes = self.bytes_at(position, header.size_bytes() as u64)?;
        let batch = Batch { header: header.clone(), bytes };
        batch.verify_crc().map_err(|error| self.corrupt(position, error.to_string()))?;
        Ok(batch)
    }

    /// As [`Segment::headers_from`], beginning at once where a read ended, if one ended at
    /// `offset` and the log was cut `cuts` times then as now.
    pub(crate) fn headers_on_from(&self, offset: Offset, cuts: u64) -> Headers<'_> {
        match self.read_end_at(offset, cuts) {
            Some(position) => {
                Headers::one_by_one(self, position, self.size_bytes()).not_before(offset)
            }
            None => self.headers_from(offset),
        }
    }

    /// Where the batch of `offset` begins, if a read ended there and the log was cut `cuts` times
    /// then as now.
    pub(crate) fn read_end_at(&self, offset: Offset, cuts: u64) -> Option<u64> {
        self.read_ends.position_of(offset, cuts)
    }

    /// A read from `from` on ended before the batch of `offset`, which is at `position`.
    pub(crate) fn note_read_end(&self, from: Offset, offset: Offset, position: u64, cuts: u64) {
        self.read_ends.note(from, offset, position, cuts);
    }

    /// The published batches from the one that holds `offset`, or the first after it, on.
    pub fn headers_from(&self, offset: Offset) -> Headers<'_> {
        let entry = self.with_index(|index| index.entry_before(offset));
        let (position, floor) =
            entry.map_or((0, self.base_offset), |entry| (entry.position, entry.offset));
        let mut headers = Headers::new(self, position, self.size_bytes()).not_before(floor);
        headers.skip_to(offset);
        headers
    }

    /// Has the system forget what it keeps of the file in memory.
    pub fn forget_cached(&self) {
        self.file.forget_cached();
    }

    /// The error that says what lies at `position`.
    pub fn corrupt(&self, position: u64, reason: String) -> ReadError {
        ReadError::Corrupt { path: self.path.clone(), position, reason }
    }
}
