//! Several disks as one tree, each mounted at a path: so that one can fail without the others.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{DirEntry, DirLock, Disk, DiskFile, OpenMode, Space};

/// Disks by where they are mounted. What lies under none of the paths is not there. A name cannot
/// move from one disk to another.
#[derive(Debug, Clone, Default)]
pub struct MountedDisks {
    mounts: Vec<(PathBuf, Arc<dyn Disk>)>,
}

impl MountedDisks {
    /// No disks yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Mounts a disk; paths on it are the whole paths.
    pub fn mount(mut self, at: impl Into<PathBuf>, disk: Arc<dyn Disk>) -> Self {
        self.mounts.push((at.into(), disk));
        self
    }

    fn of(&self, path: &Path) -> io::Result<&dyn Disk> {
        let mount = self.mounts.iter().find(|(at, _)| path.starts_with(at));
        let (_, disk) = mount.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        Ok(&**disk)
    }
}

impl Disk for MountedDisks {
    fn open(&self, path: &Path, mode: OpenMode) -> io::Result<Arc<dyn DiskFile>> {
        self.of(path)?.open(path, mode)
    }

    fn list(&self, path: &Path) -> io::Result<Vec<DirEntry>> {
        self.of(path)?.list(path)
    }

    fn create_dir_all(&self, path: &Path) -> io::Result<()> {
        self.of(path)?.create_dir_all(path)
    }

    fn create_dir(&self, path: &Path) -> io::Result<()> {
        self.of(path)?.create_dir(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.of(from)?.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.of(path)?.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> io::Result<()> {
        self.of(path)?.remove_dir_all(path)
    }

    fn exists(&self, path: &Path) -> bool {
        self.of(path).is_ok_and(|disk| disk.exists(path))
    }

    fn sync_dir(&self, path: &Path) -> io::Result<()> {
        self.of(path)?.sync_dir(path)
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DirLock>> {
        self.of(path)?.lock(path)
    }

    fn space(&self, path: &Path) -> io::Result<Space> {
        self.of(path)?.space(path)
    }
}
