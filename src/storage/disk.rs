//! What Ottla asks of a file system.

use std::ffi::OsString;
use std::fmt::Debug;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// How a file is opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenMode {
    /// An existing file, to be read.
    Read,
    /// An existing file, to be read and written.
    Write,
    /// To be read and written; made if it does not exist, kept as it is if it does.
    Create,
}

/// One name in a directory.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name, without the directory's path.
    pub name: String,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// A file's length; 0 for a directory.
    pub size_bytes: u64,
}

/// How much room a file system has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Space {
    /// Its size.
    pub total_bytes: u64,
    /// What may still be written.
    pub available_bytes: u64,
}

/// Holds a directory for this process until it is dropped.
pub trait DirLock: Send + Sync + Debug {}

/// A file system. A name that was made, renamed or removed is durable after [`Disk::sync_dir`] of
/// its directory; what is in a file, after [`DiskFile::sync_data`].
///
/// Errors tell the usual causes by their [`io::ErrorKind`]: `NotFound`, `AlreadyExists`,
/// `StorageFull`, and `WouldBlock` for a lock that another process holds.
pub trait Disk: Send + Sync + Debug {
    /// Opens a file.
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>>;
    /// The names in a directory, in order.
    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>>;
    /// Makes one directory in one that is there; durable after [`Disk::sync_dir`] of that. One
    /// that is there already is fine.
    fn create_dir(&self, path: &Path) -> io::Result<()>;
    /// Makes a directory and those above it; those that it makes are durable when it returns.
    fn create_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Gives a file or directory another name; a file of that name is replaced.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file. Whoever has it open can go on reading it.
    fn remove_file(&self, path: &Path) -> io::Result<()>;
    /// Removes a directory and all that is in it.
    fn remove_dir_all(&self, path: &Path) -> io::Result<()>;
    /// Whether there is something of that name.
    fn exists(&self, path: &Path) -> bool;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, path: &Path) -> io::Result<()>;
    /// Takes the lock file `path`, making it if need be; `WouldBlock` if somebody else holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>>;
    /// The room on the file system that `path` lies on.
    fn space(&self, path: &Path) -> io::Result<Space>;

    /// All that is in a file.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        let file = self.open(path, OpenMode::Read)?;
        let size = usize::try_from(file.size_bytes()?).map_err(io::Error::other)?;
        let mut content = vec![0; size];
        file.read_exact_at(&mut content, 0)?;
        Ok(content)
    }

    /// Replaces what is in a file, or makes it: after a crash either the old or the new content
    /// is there, and after this has returned the new one.
    fn write_atomic(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let temporary = temporary_name(path)?;
        let file = self.open(&temporary, OpenMode::Create)?;
        file.set_len(0)?;
        file.write_at(&[IoSlice::new(content)], 0)?;
        file.sync_data()?;
        drop(file);
        self.rename(&temporary, path)?;
        self.sync_dir(parent(path))
    }
}

/// An open file. It can be used from many threads at once.
pub trait DiskFile: Send + Sync + Debug {
    /// Its length.
    fn size_bytes(&self) -> io::Result<u64>;
    /// Reads at a position; says how much. 0: the position is at or behind the end.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;
    /// Writes all of `parts`, one behind the other, in one call to the system if it takes them.
    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()>;
    /// Cuts the file, or lengthens it with zeros.
    fn set_len(&self, size_bytes: u64) -> io::Result<()>;
    /// Reserves room on the device for a length of `size_bytes`, without changing the length or
    /// anything that can be read; [`DiskFile::set_len`] gives back what lies behind. A hint: a file
    /// system that has no such thing does nothing.
    fn allocate(&self, size_bytes: u64) -> io::Result<()> {
        let _ = size_bytes;
        Ok(())
    }
    /// Makes its content and length durable. After an error nobody knows what is durable.
    fn sync_data(&self) -> io::Result<()>;

    /// `length` bytes from a position; `UnexpectedEof` if the file ends before.
    fn read_vec_at(&self, length: usize, position: u64) -> io::Result<Vec<u8>> {
        let mut content = vec![0; length];
        self.read_exact_at(&mut content, position)?;
        Ok(content)
    }

    /// Asks that what is kept of it in memory be forgotten, as far as it is on the device: the next
    /// reads are the device's. Only advice.
    fn forget_cached(&self) {}

    /// Fills the buffer from a position; `UnexpectedEof` if the file ends before.
    fn read_exact_at(&self, buffer: &mut [u8], position: u64) -> io::Result<()> {
        let mut done = 0;
        while done < buffer.len() {
            match self.read_at(&mut buffer[done..], position + done as u64) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// The directory that a name stands in.
pub(super) fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    }
}

fn temporary_name(path: &Path) -> io::Result<PathBuf> {
    let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
    let mut temporary = OsString::from(name);
    temporary.push(".tmp");
    Ok(path.with_file_name(temporary))
}
