//! The file system of the machine.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IoSlice};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{Advice, FallocateFlags, FlockOperation, fadvise, flock, statvfs};
use rustix::io::Errno;

use super::disk::{DirEntry, DirLock, Disk, DiskFile, OpenMode, Space, parent};

/// How many parts the system takes in one call (Linux's IOV_MAX).
const MAX_PARTS: usize = 1024;

/// The file system of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileDisk;

#[derive(Debug)]
struct OpenFile(File);

/// The lock goes with the file's descriptor, thus with the process, however it ends.
#[derive(Debug)]
struct HeldLock {
    _file: File,
}

impl DirLock for HeldLock {}

impl Disk for FileDisk {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        let mut options = OpenOptions::new();
        match mode {
            OpenMode::Read => options.read(true),
            OpenMode::Write => options.read(true).write(true),
            OpenMode::Create => options.read(true).write(true).create(true).truncate(false),
        };
        Ok(Arc::new(OpenFile(options.open(path)?)))
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let metadata = match entry.metadata() {
                Ok(metadata) => metadata,
                // Removed while we were looking.
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(error),
            };
            let is_dir = metadata.is_dir();
            let name = entry.file_name().to_string_lossy().into_owned();
            entries.push(DirEntry {
                name,
                is_dir,
                size_bytes: if is_dir { 0 } else { metadata.len() },
            });
        }
        entries.sort();
        Ok(entries)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        match fs::create_dir(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => Ok(()),
            made => made,
        }
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|above| !above.as_os_str().is_empty() && !above.is_dir())
            .collect();
        for directory in missing.into_iter().rev() {
            self.create_dir(directory)?;
            self.sync_dir(parent(directory))?;
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        fs::remove_dir_all(path)
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        File::open(path)?.sync_all()
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        let file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        flock(&file, FlockOperation::NonBlockingLockExclusive)?;
        Ok(Box::new(HeldLock { _file: file }))
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        let stat = statvfs(path)?;
        Ok(Space {
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
        })
    }
}

impl DiskFile for OpenFile {
    fn size_bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        FileExt::read_at(&self.0, buffer, position)
    }

    /// Into memory that nobody has to clear first.
    fn read_vec_at(&self, length: usize, position: u64) -> io::Result<Vec<u8>> {
        let mut content = Vec::with_capacity(length);
        while content.len() < length {
            let at = position + content.len() as u64;
            match rustix::io::pread(&self.0, rustix::buffer::spare_capacity(&mut content), at) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        content.truncate(length);
        Ok(content)
    }

    fn write_at(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<()> {
        // The system has less to do for one part that is no list.
        if let [only] = parts {
            return self.0.write_all_at(only, position);
        }
        let mut position = position;
        for chunk in parts.chunks(MAX_PARTS) {
            position += self.write_chunk(chunk, position)?;
        }
        Ok(())
    }

    fn set_len(&self, size_bytes: u64) -> io::Result<()> {
        self.0.set_len(size_bytes)
    }

    fn allocate(&self, size_bytes: u64) -> io::Result<()> {
        match rustix::fs::fallocate(&self.0, FallocateFlags::KEEP_SIZE, 0, size_bytes) {
            Ok(()) | Err(Errno::OPNOTSUPP) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync_data()
    }

    fn forget_cached(&self) {
        // Some file systems do not take the advice.
        let _ = fadvise(&self.0, 0, None, Advice::DontNeed);
    }
}

impl OpenFile {
    /// Writes all of `parts` and says how much that was.
    fn write_chunk(&self, parts: &[IoSlice<'_>], position: u64) -> io::Result<u64> {
        let mut taken = loop {
            match rustix::io::pwritev(&self.0, parts, position) {
                Ok(taken) => break taken,
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        };
        // The system took less than all: rare, so the rest goes part by part.
        let mut at = position;
        for part in parts {
            let skip = taken.min(part.len());
            taken -= skip;
            if skip < part.len() {
                self.0.write_all_at(&part[skip..], at + skip as u64)?;
            }
            at += part.len() as u64;
        }
        Ok(at - position)
    }
}
