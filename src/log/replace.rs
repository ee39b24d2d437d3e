//! One new file in the place of sealed segments: compaction's result, or a copy of a segment that
//! was damaged. Whatever crashes in between, the log is the old segments or the new one.
//!
//! 1. The file is written beside the segments as `<base>.log.cleaned` and synced. What fails so
//!    far has changed nothing.
//! 2. Under the writer's lock, once it is certain that the old segments are still those of the
//!    log: it is renamed `<base>.log.swap`, durably. Such a file is always fit to take its place.
//! 3. One durable batch of the catalog decides: the new segment is known, the old ones are not,
//!    and `w <base>` says that the files are to follow.
//! 4. The files follow, `w` goes, and the new list of segments is published. Who still reads an
//!    old segment has its file open.
//!
//! `swap` finishes after a crash.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::BytesMut;

use crate::log::error::{ReplaceError, StorageError};
use crate::log::partition_log::{Log, Writer};
use crate::log::segment::{CLEANED_SUFFIX, SWAP_SUFFIX, Segment, file_name};
use crate::log::stored;
use crate::log::transactions::AbortedTransaction;
use crate::record::BatchHeader;
use crate::storage::OpenMode;
use crate::types::{Offset, TopicIdPartition};

/// How much is gathered before it is written.
const WRITE_BYTES: usize = 1 << 20;

/// A file that is being written to replace segments. It is removed when this is dropped.
#[derive(Debug)]
pub struct ReplacementFile {
    log: Arc<Log>,
    cleaned: PathBuf,
    segment: Arc<Segment>,
    /// The log's count of cuts when what is written was read.
    cuts: u64,
    buffer: BytesMut,
    gathered: Vec<BatchHeader>,
    next_offset: Offset,
    /// Whether the file bears the name with which it was made.
    is_cleaned: bool,
    gone: Vec<AbortedTransaction>,
}

/// What a replacement came to.
#[derive(Debug, Clone)]
pub struct Replaced {
    /// The segment that the log has now.
    pub segment: Arc<Segment>,
    /// The bytes of the segments that it had.
    pub old_bytes: u64,
    /// The bytes of the one that it has.
    pub new_bytes: u64,
    /// The log's count of cuts now; see [`ReplacementFile::as_of`].
    pub cuts: u64,
}

impl ReplacementFile {
    /// Makes the file that is to replace the segments from `base_offset` on. What goes into it
    /// must be read from the log after this call; otherwise see [`Self::as_of`]. There is at most
    /// one in a log at a time.
    pub fn begin(log: &Arc<Log>, base_offset: Offset) -> Result<Self, ReplaceError> {
        log.check_present()?;
        log.check_writable()?;
        if log.is_replacing.swap(true, Ordering::AcqRel) {
            return Err(ReplaceError::Busy);
        }
        let made = Self::make(log, base_offset);
        if made.is_err() {
            log.is_replacing.store(false, Ordering::Release);
        }
        Ok(made?)
    }

    fn make(log: &Arc<Log>, base_offset: Offset) -> Result<Self, StorageError> {
        let cuts = log.cuts.load(Ordering::Acquire);
        let place = log.path.join(file_name(base_offset));
        let cleaned = log.path.join(format!("{}{CLEANED_SUFFIX}", file_name(base_offset)));
        let disk = &log.shared.disk;
        let file =
            disk.open(&cleaned, OpenMode::Create).map_err(StorageError::io("make", &cleaned))?;
        file.set_len(0).map_err(StorageError::io("empty", &cleaned))?;
        Ok(Self {
            log: Arc::clone(log),
            cleaned,
            segment: Arc::new(Segment::over(file, place, base_offset)),
            cuts,
            buffer: BytesMut::new(),
            gathered: Vec::new(),
            next_offset: base_offset,
            is_cleaned: true,
            gone: Vec::new(),
        })
    }

    /// What is written depends on what the log was when its count of cuts was `cuts` (see
    /// [`Log::cuts`]): the replacement is refused if something was cut off since.
    #[must_use]
    pub fn as_of(mut self, cuts: u64) -> Self {
        self.cuts = cuts;
        self
    }

    /// Of these aborted transactions nothing but the marker is left in the log once the segments
    /// are replaced: the log forgets them together with the old segments.
    pub fn forget_aborted(&mut self, gone: Vec<AbortedTransaction>) {
        self.gone = gone;
    }

    /// Adds a batch, whose `bytes` are all of it, behind those that were added before. Fails
    /// without harm to the log.
    pub fn append(&mut self, bytes: &[u8], header: &BatchHeader) -> Result<(), ReplaceError> {
        if header.base_offset < self.next_offset || header.last_offset_delta < 0 {
            let (got, end) = (header.base_offset, self.next_offset);
            return Err(ReplaceError::Unfit(format!("a batch at {got} follows offset {end}")));
        }
        if header.size_bytes() != bytes.len() {
            let reason = format!("a batch of {} bytes in {}", header.size_bytes(), bytes.len());
            return Err(ReplaceError::Unfit(reason));
        }
        self.buffer.extend_from_slice(bytes);
        self.gathered.push(header.clone());
        self.next_offset = header.next_offset();
        if self.buffer.len() >= WRITE_BYTES {
            self.write()?;
        }
        Ok(())
    }

    fn write(&mut self) -> Result<(), StorageError> {
        if self.gathered.is_empty() {
            return Ok(());
        }
        self.log.check_writable()?;
        self.segment.write(&[std::io::IoSlice::new(&self.buffer)])?;
        for header in self.gathered.drain(..) {
            self.segment.publish(&header);
        }
        self.buffer.clear();
        Ok(())
    }

    /// The offset after the last batch that was added.
    pub fn next_offset(&self) -> Offset {
        self.next_offset
    }

    /// How many bytes have been added.
    pub fn size_bytes(&self) -> u64 {
        self.segment.size_bytes() + self.buffer.len() as u64
    }

    /// Writes what is left and makes it durable. Fails without harm to the log.
    pub fn finish(&mut self) -> Result<(), ReplaceError> {
        self.write()?;
        if self.segment.is_dirty() {
            self.segment.sync()?;
        }
        self.segment.seal();
        Ok(())
    }

    fn swap_path(&self) -> PathBuf {
        let name = format!("{}{SWAP_SUFFIX}", file_name(self.segment.base_offset()));
        self.log.path.join(name)
    }
}

impl Drop for ReplacementFile {
    fn drop(&mut self) {
        // The directory of a log that is closed is, or will be, another's: the file goes with the log.
        if self.is_cleaned
            && !self.log.is_closed.load(Ordering::Acquire)
            && let Err(error) = self.log.shared.disk.remove_file(&self.cleaned)
            && self.log.shared.disk.exists(&self.cleaned)
        {
            // It is nobody's: the next opening removes it.
            tracing::warn!(path = %self.cleaned.display(), %error, "cannot remove");
        }
        self.log.is_replacing.store(false, Ordering::Release);
    }
}

impl Log {
    /// The segments that nothing is appended to any more, oldest first.
    pub fn sealed_segments(&self) -> Vec<Arc<Segment>> {
        let mut segments = Vec::clone(&self.segments.load());
        segments.pop();
        segments
    }

    /// Rises each time something that could be read is no longer there, or is elsewhere.
    pub fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::Acquire)
    }

    /// Puts `new` in the place of `old`, which follow each other and are sealed and checkpointed.
    /// The new file covers the same offsets: it begins with the same name, and its last batch ends
    /// where theirs does. Blocks while files and catalog are synced.
    ///
    /// # Errors
    /// The log is as it was. A failure after the file was complete poisons it: what is on the disk
    /// is then unknown, and the next opening finds out.
    pub fn replace_segments(
        &self,
        old: &[Arc<Segment>],
        mut new: ReplacementFile,
    ) -> Result<Replaced, ReplaceError> {
        new.finish()?;
        let mut writer = self.writer.lock();
        let first = self.check_replaceable(old, &new)?;
        self.rename_to_swap(&mut new)?;
        // A checkpoint that noted the old segments must not store them after this.
        let cuts = self.cuts.fetch_add(1, Ordering::AcqRel) + 1;
        let segment = Arc::clone(&new.segment);
        self.decide(&writer, old, &segment, &new.gone)?;
        let moved = self.move_files(old, &new);
        moved.map_err(|error| self.poison_always(error))?;

        let id = self.topic_id_partition();
        let base = segment.base_offset();
        let forgotten = self.shared.gate.lazily(|batch| stored::delete_swap(batch, id, base));
        forgotten.map_err(|error| self.poison_always(StorageError::Catalog(error)))?;
        let mut segments = Vec::clone(&self.segments.load());
        segments.splice(first..first + old.len(), [Arc::clone(&segment)]);
        self.segments.store(Arc::new(segments));
        self.transactions.lock().forget_aborted(&new.gone);
        writer.directory_dirty = true;
        drop(writer);
        let old_bytes = old.iter().map(|segment| segment.size_bytes()).sum();
        Ok(Replaced { old_bytes, new_bytes: segment.size_bytes(), segment, cuts })
    }

    /// Where in the list of segments the old ones begin, if they can be replaced.
    fn check_replaceable(
        &self,
        old: &[Arc<Segment>],
        new: &ReplacementFile,
    ) -> Result<usize, ReplaceError> {
        self.check_present()?;
        self.check_open()?;
        if self.cuts() != new.cuts {
            return Err(ReplaceError::Stale("the log was cut"));
        }
        let segments = self.segments.load();
        let (Some(oldest), Some(newest)) = (old.first(), old.last()) else {
            return Err(ReplaceError::Stale("there is nothing to replace"));
        };
        let found = segments.iter().position(|segment| Arc::ptr_eq(segment, oldest));
        let first = found.ok_or(ReplaceError::Stale("a segment is gone"))?;
        let listed = segments.iter().skip(first).take(old.len());
        if first + old.len() > segments.len()
            || !listed.zip(old).all(|(listed, old)| Arc::ptr_eq(listed, old))
        {
            return Err(ReplaceError::Stale("a segment is gone"));
        }
        if first + old.len() == segments.len() {
            return Err(ReplaceError::Stale("the segment is written to"));
        }
        if newest.next_offset() > self.recovery_point() {
            return Err(ReplaceError::Stale("the segment is not checkpointed yet"));
        }
        let (from, to) = (oldest.base_offset(), newest.next_offset());
        let (begins, ends) = (new.segment.base_offset(), new.segment.next_offset());
        if (begins, ends) != (from, to) || new.segment.size_bytes() == 0 {
            let reason = format!("it holds {begins}..{ends}, the segments {from}..{to}");
            return Err(ReplaceError::Unfit(reason));
        }
        Ok(first)
    }

    /// From now on the file is fit to take its place, durably. A failed sync of the directory is
    /// one of the log's other names too, so it is fatal.
    fn rename_to_swap(&self, new: &mut ReplacementFile) -> Result<(), StorageError> {
        let (disk, swap) = (&self.shared.disk, new.swap_path());
        disk.rename(&new.cleaned, &swap).map_err(StorageError::io("rename", &new.cleaned))?;
        new.is_cleaned = false;
        self.sync_directory().map_err(|error| self.poison_always(error))
    }

    /// The high watermark goes with it: what replaces records must not be seen by readers that do
    /// not see what these records were replaced for.
    fn decide(
        &self,
        writer: &Writer,
        old: &[Arc<Segment>],
        new: &Arc<Segment>,
        gone: &[AbortedTransaction],
    ) -> Result<(), StorageError> {
        let point = new.point();
        self.store(|batch| {
            for segment in old {
                stored::delete_segment(batch, self, segment);
            }
            for aborted in gone {
                stored::delete_aborted(batch, self, aborted);
            }
            stored::put_segment(batch, self, &point);
            let same = Offset(self.ends.stored_recovery_point.load(Ordering::Acquire));
            stored::put_progress(batch, self, writer.producers.forgotten(), same);
            let id = self.topic_id_partition();
            stored::put_swap(batch, id, new.base_offset(), new.next_offset());
        })?;
        new.note_stored(&point);
        Ok(())
    }

    fn move_files(&self, old: &[Arc<Segment>], new: &ReplacementFile) -> Result<(), StorageError> {
        for segment in old.iter().skip(1) {
            self.discard_segment(segment)?;
        }
        let (disk, swap, place) = (&self.shared.disk, new.swap_path(), new.segment.path());
        disk.rename(&swap, place).map_err(StorageError::io("rename", &swap))?;
        self.sync_directory()
    }

    pub(crate) fn topic_id_partition(&self) -> TopicIdPartition {
        TopicIdPartition { topic_id: self.topic_id, partition: self.topic_partition.partition }
    }

    /// Fails if the log was deleted, or moves to another directory: that is no failure of the disk.
    fn check_present(&self) -> Result<(), ReplaceError> {
        match self.is_closing.load(Ordering::Acquire) {
            true => Err(ReplaceError::Stale("the log was closed")),
            false => Ok(()),
        }
    }

    /// Fails if the log is closed or poisoned; a full disk does not matter.
    fn check_open(&self) -> Result<(), StorageError> {
        match self.check_writable() {
            Err(StorageError::DiskFull(_)) => Ok(()),
            other => other,
        }
    }
}
