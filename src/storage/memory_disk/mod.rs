//! A disk in memory that fails and crashes as a real one does.
//!
//! - `file_content`: what is in a file, now and after a power failure
//! - `tree`: the names, now and after a power failure
//! - `seeded`: the choices of one crash

mod file_content;
mod seeded;
mod tree;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, IoSlice};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::{Mutex, MutexGuard};

use super::disk::{DirEntry, DirLock, Disk, DiskFile, OpenMode, Space};
use super::memory_catalog::falls_due;
use file_content::FileContent;
pub(super) use seeded::Seeded;
use tree::{Node, NodeId, Tree};

/// Linux's number for a medium that cannot be read.
const EIO: i32 = 5;

/// What can be made to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Operation {
    /// A write to a file; half of it is done all the same.
    Write,
    /// A sync of a file or directory; a file's unsynced writes are then lost for good, though
    /// they can still be read until a crash.
    Sync,
    /// Something that needs room: there is none, nor for anything after it, until
    /// [`MemoryDisk::set_capacity`] makes some or the process ends.
    Grow,
    /// Any call at all that can fail.
    Any,
}

/// A handle on a disk in memory. Clones share it; a crash makes all handles, open files and locks
/// of before useless, as the death of their process would.
#[derive(Debug, Clone, Default)]
pub struct MemoryDisk {
    state: Arc<Mutex<State>>,
    life: u64,
}

#[derive(Debug, Default)]
struct State {
    tree: Tree,
    files: BTreeMap<NodeId, FileContent>,
    locks: BTreeSet<PathBuf>,
    life: u64,
    capacity_bytes: Option<u64>,
    fail_in: BTreeMap<Operation, Option<u64>>,
    fails_for_good: bool,
    fails_for_good_in: Option<u64>,
    short_reads: bool,
    read_only: bool,
    /// [`Operation::Grow`] fell due.
    is_full_for_now: bool,
    unreadable: BTreeSet<NodeId>,
    operations: u64,
    counts: BTreeMap<Operation, u64>,
    /// Which bytes of which file were read, in order.
    reads: Option<Vec<(NodeId, Range<u64>)>>,
}

impl MemoryDisk {
    /// An empty disk without a limit.
    pub fn new() -> Self {
        Self::default()
    }

    /// The power fails. What was not synced is kept, lost or torn as the seed says. Gives the
    /// handle for the time after, on which nothing fails.
    pub fn crash(&self, seed: u64) -> MemoryDisk {
        let mut state = self.state.lock();
        let mut seeded = Seeded::new(seed);
        state.tree.crash(&mut seeded);
        for content in state.files.values_mut() {
            content.crash(&mut seeded);
        }
        self.next_life(&mut state)
    }

    /// The process dies; the page cache survives. Gives the handle for the time after, on which
    /// nothing fails.
    pub fn kill(&self) -> MemoryDisk {
        self.next_life(&mut self.state.lock())
    }

    /// The `nth` such operation from now (1: the next) fails.
    pub fn fail(&self, operation: Operation, nth: u64) {
        self.state.lock().fail_in.insert(operation, Some(nth));
    }

    /// Whether every call fails from now on.
    pub fn set_broken(&self, broken: bool) {
        self.state.lock().fails_for_good = broken;
    }

    /// Whether every call fails.
    pub fn is_broken(&self) -> bool {
        self.state.lock().fails_for_good
    }

    /// From the `nth` call from now (1: the next) on every call fails: the power is going.
    pub fn fail_from(&self, nth: u64) {
        self.state.lock().fails_for_good_in = Some(nth);
    }

    /// What [`Self::fail_from`] announced does not come.
    pub fn lives_on(&self) {
        self.state.lock().fails_for_good_in = None;
    }

    /// How much fits on the disk; `None`: no limit.
    pub fn set_capacity(&self, capacity_bytes: Option<u64>) {
        self.state.lock().capacity_bytes = capacity_bytes;
    }

    /// Whether a read may give less than asked for and there is.
    pub fn set_short_reads(&self, short_reads: bool) {
        self.state.lock().short_reads = short_reads;
    }

    /// Whether every change is refused, as on a file system that is mounted to be read only.
    pub fn set_read_only(&self, read_only: bool) {
        self.state.lock().read_only = read_only;
    }

    /// Whether what is in a file cannot be read (EIO). A file that takes its name can.
    pub fn set_unreadable(&self, path: &Path, unreadable: bool) {
        let mut state = self.state.lock();
        if let Ok(Node::File(id)) = state.tree.find(path) {
            match unreadable {
                true => state.unreadable.insert(id),
                false => state.unreadable.remove(&id),
            };
        }
    }

    /// How many calls that can fail were made so far: a test can fail each of them in turn.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// How many calls of that kind were made so far.
    pub fn count(&self, operation: Operation) -> u64 {
        match operation {
            Operation::Any => self.operations(),
            _ => self.state.lock().counts.get(&operation).copied().unwrap_or(0),
        }
    }

    /// Notes from now on which bytes are read.
    pub fn trace_reads(&self) {
        self.state.lock().reads = Some(Vec::new());
    }

    /// Which bytes of a file were read since [`Self::trace_reads`], in order.
    pub fn reads(&self, path: &Path) -> Vec<Range<u64>> {
        let state = self.state.lock();
        let Ok(Node::File(file)) = state.tree.find(path) else { return Vec::new() };
        let of_file = state.reads.iter().flatten().filter(|(id, _)| *id == file);
        of_file.map(|(_, range)| range.clone()).collect()
    }

    /// How much room is reserved for a file; 0: none, or there is no such file.
    pub fn allocated_bytes(&self, path: &Path) -> u64 {
        let state = self.state.lock();
        match state.tree.find(path) {
            Ok(Node::File(id)) => state.files.get(&id).map_or(0, |it| it.allocated_bytes),
            Ok(Node::Directory(_)) | Err(_) => 0,
        }
    }

    fn next_life(&self, state: &mut State) -> MemoryDisk {
        state.life += 1;
        state.locks.clear();
        state.fail_in.clear();
        (state.fails_for_good, state.fails_for_good_in) = (false, None);
        if std::mem::take(&mut state.is_full_for_now) {
            state.capacity_bytes = None;
        }
        MemoryDisk { state: self.state.clone(), life: state.life }
    }

    fn begin(&self) -> io::Result<MutexGuard<'_, State>> {
        begin(&self.state, self.life)
    }
}

/// Enters the disk for one call, if the handle's life goes on and the call is not to fail.
fn begin(state: &Mutex<State>, life: u64) -> io::Result<MutexGuard<'_, State>> {
    let mut state = state.lock();
    if state.life != life {
        return Err(io::Error::other("the process of this handle is dead"));
    }
    state.operations += 1;
    state.fails_for_good |= falls_due(&mut state.fails_for_good_in);
    if state.fails_for_good || state.falls_due(Operation::Any) {
        return Err(on_demand());
    }
    Ok(state)
}

fn on_demand() -> io::Error {
    io::Error::other("fails on demand")
}

impl State {
    fn falls_due(&mut self, operation: Operation) -> bool {
        *self.counts.entry(operation).or_default() += 1;
        self.fail_in.get_mut(&operation).is_some_and(falls_due)
    }

    /// Something is to take room.
    fn grow(&mut self) -> io::Result<()> {
        if self.falls_due(Operation::Grow) {
            self.is_full_for_now = true;
            self.capacity_bytes = Some(self.used_bytes());
        }
        if self.is_full_for_now { Err(io::ErrorKind::StorageFull.into()) } else { Ok(()) }
    }

    fn change(&self) -> io::Result<()> {
        if self.read_only { Err(io::ErrorKind::ReadOnlyFilesystem.into()) } else { Ok(()) }
    }

    fn used_bytes(&self) -> u64 {
        self.files.values().map(|content| content.current.len() as u64).sum()
    }

    fn available_bytes(&self) -> u64 {
        self.capacity_bytes.unwrap_or(u64::MAX).saturating_sub(self.used_bytes())
    }
}

impl Disk for MemoryDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut state = self.begin()?;
        let id = match state.tree.find(path) {
            Ok(Node::File(id)) => id,
            Ok(Node::Directory(_)) => return Err(io::ErrorKind::IsADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound && mode == OpenMode::Create => {
                state.change()?;
                state.grow()?;
                let id = state.tree.make_file(path)?;
                state.files.insert(id, FileContent::default());
                id
            }
            Err(error) => return Err(error),
        };
        let writable = mode != OpenMode::Read;
        if writable {
            state.change()?;
        }
        Ok(Arc::new(MemoryFile { state: self.state.clone(), life: self.life, id, writable }))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let state = self.begin()?;
        let directory = state.tree.find_directory(path)?;
        let entries = state.tree.names(directory).map(|(name, node)| {
            let (is_dir, size_bytes) = match node {
                Node::Directory(_) => (true, 0),
                Node::File(id) => {
                    (false, state.files.get(id).map_or(0, |c| c.current.len() as u64))
                }
            };
            DirEntry { name: name.clone(), is_dir, size_bytes }
        });
        Ok(entries.collect())
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.begin()?.tree.make_directory(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin()?;
        if state.tree.find_directory(path).is_err() {
            state.change()?;
            state.grow()?;
        }
        state.tree.make_directories(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.begin()?;
        state.change()?;
        state.tree.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin()?;
        state.change()?;
        state.tree.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin()?;
        state.change()?;
        state.tree.remove_directory(path)
    }

    fn exists(&self, path: &Path) -> bool {
        self.state.lock().tree.find(path).is_ok()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        let mut state = self.begin()?;
        let directory = state.tree.find_directory(path)?;
        if state.falls_due(Operation::Sync) {
            return Err(on_demand());
        }
        state.tree.sync(directory);
        Ok(())
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        self.open(path, OpenMode::Create)?;
        if !self.begin()?.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemoryLock { disk: self.clone(), path: path.to_owned() }))
    }

    fn space(&self, _path: &Path) -> io::Result<Space> {
        let state = self.begin()?;
        let total_bytes = state.capacity_bytes.unwrap_or(u64::MAX);
        Ok(Space { total_bytes, available_bytes: state.available_bytes() })
    }
}

#[derive(Debug)]
struct MemoryLock {
    disk: MemoryDisk,
    path: PathBuf,
}

impl DirLock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        let mut state = self.disk.state.lock();
        if state.life == self.disk.life {
            state.locks.remove(&self.path);
        }
    }
}

#[derive(Debug)]
struct MemoryFile {
    state: Arc<Mutex<State>>,
    life: u64,
    id: NodeId,
    writable: bool,
}

impl MemoryFile {
    fn begin(&self) -> io::Result<MutexGuard<'_, State>> {
        begin(&self.state, self.life)
    }

    fn begin_change(&self) -> io::Result<MutexGuard<'_, State>> {
        if !self.writable {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        let state = self.begin()?;
        state.change()?;
        Ok(state)
    }
}

impl DiskFile for MemoryFile {
    fn size_bytes(&self) -> io::Result<u64> {
        let state = self.begin()?;
        Ok(state.files.get(&self.id).map_or(0, |content| content.current.len() as u64))
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut state = self.begin()?;
        if state.unreadable.contains(&self.id) {
            return Err(io::Error::from_raw_os_error(EIO));
        }
        let short_reads = state.short_reads;
        let content = state.files.get(&self.id).ok_or(io::ErrorKind::NotFound)?;
        let from = usize::try_from(position).unwrap_or(usize::MAX);
        let there = content.current.get(from..).unwrap_or_default();
        let mut count = there.len().min(buffer.len());
        if short_reads {
            count = count.div_ceil(2);
        }
        buffer[..count].copy_from_slice(&there[..count]);
        if let Some(reads) = &mut state.reads {
            reads.push((self.id, position..position + count as u64));
        }
        Ok(count)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        let mut bytes: Vec<u8> = parts.iter().flat_map(|part| part.iter().copied()).collect();
        let mut state = self.begin_change()?;
        let position = usize::try_from(position).map_err(io::Error::other)?;
        let mut outcome = state.grow();
        if outcome.is_err() {
            bytes.truncate(bytes.len() / 3);
        }
        if state.falls_due(Operation::Write) {
            bytes.truncate(bytes.len() / 2);
            outcome = Err(on_demand());
        }
        let available = usize::try_from(state.available_bytes()).unwrap_or(usize::MAX);
        let content = state.files.get_mut(&self.id).ok_or(io::ErrorKind::NotFound)?;
        let limit = content.current.len().saturating_add(available);
        if outcome.is_ok() && position.saturating_add(bytes.len()) > limit {
            bytes.truncate(limit.saturating_sub(position));
            outcome = Err(io::ErrorKind::StorageFull.into());
        }
        if !bytes.is_empty() {
            content.write(position, bytes);
        }
        outcome
    }

    fn set_len(&self, size_bytes: u64) -> io::Result<()> {
        let mut state = self.begin_change()?;
        let len = usize::try_from(size_bytes).map_err(io::Error::other)?;
        let len_now = state.files.get(&self.id).map_or(0, |content| content.current.len());
        if len > len_now {
            state.grow()?;
        }
        let available = state.available_bytes();
        let content = state.files.get_mut(&self.id).ok_or(io::ErrorKind::NotFound)?;
        if size_bytes.saturating_sub(content.current.len() as u64) > available {
            return Err(io::ErrorKind::StorageFull.into());
        }
        content.set_len(len);
        content.allocated_bytes = 0;
        Ok(())
    }

    fn allocate(&self, size_bytes: u64) -> io::Result<()> {
        let mut state = self.begin_change()?;
        let available = state.available_bytes();
        let content = state.files.get_mut(&self.id).ok_or(io::ErrorKind::NotFound)?;
        if size_bytes.saturating_sub(content.current.len() as u64) > available {
            return Err(io::ErrorKind::StorageFull.into());
        }
        content.allocated_bytes = content.allocated_bytes.max(size_bytes);
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut state = self.begin()?;
        let fails = state.falls_due(Operation::Sync);
        let content = state.files.get_mut(&self.id).ok_or(io::ErrorKind::NotFound)?;
        if fails {
            content.fail_sync();
            return Err(on_demand());
        }
        content.sync();
        Ok(())
    }
}
