//! What the logs of one directory share: the seams, the catalog's gate, and whether the directory
//! can be written to.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use parking_lot::Mutex;

use crate::log::create::{Made, NewLog};
use crate::log::error::StorageError;
use crate::log::flush_timers::FlushTimers;
use crate::log::gathering::Gathering;
use crate::log::reigns::Reign;
use crate::log::segment::{DAMAGED_SUFFIX, DELETED_SUFFIX};
use crate::storage::{Catalog, CatalogBatch, CatalogError, Disk, Offload};
use crate::types::{Clock, DirectoryId, Monotonic, watch};

/// How often logs that are stray are looked for.
const STRAYS_LOOKED_FOR: Duration = Duration::from_secs(60);
/// How long a file that was set aside stays before it is removed.
pub(crate) const DAMAGED_KEPT: Duration = Duration::from_secs(24 * 3600);

/// Orders the writers of a catalog and lets them share flushes.
#[derive(Debug)]
pub(crate) struct CatalogGate {
    catalog: Arc<dyn Catalog>,
    /// Number of the last batch that was applied. Held while a batch is filled and applied, so
    /// that what is stored later was also read later.
    applied: Mutex<u64>,
    /// Number of the last batch that is durable. Held during the flush: who waits for it finds
    /// that the flush before covered it too.
    flushed: Mutex<u64>,
}

impl CatalogGate {
    pub(crate) fn new(catalog: Arc<dyn Catalog>) -> Self {
        Self { catalog, applied: Mutex::new(0), flushed: Mutex::new(0) }
    }

    /// Applies what `fill` puts into a batch, atomically, and makes it durable.
    pub(crate) fn durably<T>(
        &self,
        fill: impl FnOnce(&mut CatalogBatch) -> T,
    ) -> Result<T, CatalogError> {
        let (number, value) = {
            let mut applied = self.applied.lock();
            let mut batch = CatalogBatch::default();
            let value = fill(&mut batch);
            self.catalog.apply(batch)?;
            *applied += 1;
            (*applied, value)
        };
        let mut flushed = self.flushed.lock();
        if *flushed < number {
            let covered = *self.applied.lock();
            self.catalog.flush()?;
            *flushed = covered;
        }
        Ok(value)
    }

    /// Applies what `fill` puts into a batch. A crash may lose it, but not without losing all
    /// that was applied later.
    pub(crate) fn lazily(&self, fill: impl FnOnce(&mut CatalogBatch)) -> Result<(), CatalogError> {
        let mut applied = self.applied.lock();
        let mut batch = CatalogBatch::default();
        fill(&mut batch);
        self.catalog.apply(batch)?;
        *applied += 1;
        Ok(())
    }

    pub(crate) fn catalog(&self) -> &dyn Catalog {
        &*self.catalog
    }
}

/// What the logs of one directory share.
#[derive(Debug)]
pub(crate) struct DirectoryShared {
    pub(crate) id: DirectoryId,
    pub(crate) path: PathBuf,
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) offload: Arc<dyn Offload>,
    pub(crate) gate: CatalogGate,
    pub(crate) flush_timers: FlushTimers,
    offline: watch::Sender<Option<String>>,
    is_offline: AtomicBool,
    is_full: AtomicBool,
    /// Logs that are to be made.
    pub(crate) creations: Arc<Gathering<NewLog, Made>>,
    /// Held while logs are made.
    pub(crate) making: Mutex<()>,
    /// Reigns that are to be made durable.
    pub(crate) reigns: Arc<Gathering<Reign, Result<(), StorageError>>>,
    /// When logs that are stray are looked for again.
    next_look_for_strays: Mutex<Monotonic>,
    /// Counts the damage that was met in the directory's logs.
    damage: watch::Sender<u64>,
    /// Renamed files and directories, and when they may go.
    trash: Mutex<Vec<(Monotonic, PathBuf)>>,
}

impl DirectoryShared {
    pub(crate) fn new(
        id: DirectoryId,
        path: PathBuf,
        disk: Arc<dyn Disk>,
        clock: Arc<dyn Clock>,
        offload: Arc<dyn Offload>,
        catalog: Arc<dyn Catalog>,
    ) -> Self {
        Self {
            id,
            path,
            disk,
            clock,
            offload,
            gate: CatalogGate::new(catalog),
            flush_timers: FlushTimers::default(),
            offline: watch::Sender::new(None),
            is_offline: AtomicBool::new(false),
            is_full: AtomicBool::new(false),
            creations: Arc::default(),
            making: Mutex::new(()),
            reigns: Arc::default(),
            next_look_for_strays: Mutex::default(),
            damage: watch::Sender::new(0),
            trash: Mutex::new(Vec::new()),
        }
    }

    pub(crate) fn tell_of_damage(&self) {
        self.damage.send_modify(|count| *count += 1);
    }

    pub(crate) fn watch_damage(&self) -> watch::Receiver<u64> {
        self.damage.subscribe()
    }

    pub(crate) fn go_offline(&self, reason: &str) {
        if !self.is_offline.swap(true, Ordering::AcqRel) {
            tracing::error!(directory = %self.path.display(), reason, "the directory goes offline");
            self.offline.send_replace(Some(reason.to_owned()));
        }
    }

    /// Goes offline if the disk has failed: whoever comes next could not be served either. What passes,
    /// as a full disk, does not count, nor that something is not there.
    pub(crate) fn offline_if_failed(&self, error: &StorageError) {
        if matches!(error, StorageError::Io { .. }) && !error.is_not_found() {
            self.go_offline(&error.to_string());
        }
    }

    pub(crate) fn is_offline(&self) -> bool {
        self.is_offline.load(Ordering::Acquire)
    }

    pub(crate) fn watch_offline(&self) -> watch::Receiver<Option<String>> {
        self.offline.subscribe()
    }

    pub(crate) fn set_full(&self, is_full: bool) {
        if self.is_full.swap(is_full, Ordering::AcqRel) != is_full {
            if is_full {
                tracing::error!(directory = %self.path.display(), "the disk is full: writes are refused");
            } else {
                tracing::info!(directory = %self.path.display(), "the disk has room again");
            }
        }
    }

    pub(crate) fn check_writable(&self) -> Result<(), StorageError> {
        if self.is_offline() {
            let reason = self.offline.borrow().clone().unwrap_or_default();
            return Err(StorageError::Poisoned(reason));
        }
        if self.is_full.load(Ordering::Acquire) {
            return Err(StorageError::DiskFull(self.path.clone()));
        }
        Ok(())
    }

    /// Whether it is time to look for logs that are stray; it then is not for a while.
    pub(crate) fn strays_are_due(&self) -> bool {
        let now = self.clock.monotonic();
        let mut next = self.next_look_for_strays.lock();
        let is_due = now >= *next;
        if is_due {
            *next = now.plus(STRAYS_LOOKED_FOR);
        }
        is_due
    }

    /// Renames a segment's file out of the log's sight; it goes after `delay`.
    pub(crate) fn discard_file(&self, path: &Path, delay: Duration) -> Result<(), StorageError> {
        let mut renamed = path.as_os_str().to_owned();
        renamed.push(DELETED_SUFFIX);
        let renamed = PathBuf::from(renamed);
        self.disk.rename(path, &renamed).map_err(StorageError::io("rename", path))?;
        self.discard_later(renamed, delay);
        Ok(())
    }

    /// Renames a file that is not, or no longer, part of a log, so that somebody may look into it;
    /// it goes after [`DAMAGED_KEPT`].
    pub(crate) fn set_aside_file(&self, path: &Path) -> Result<PathBuf, StorageError> {
        let mut renamed = path.as_os_str().to_owned();
        renamed.push(format!(".{}{DAMAGED_SUFFIX}", self.clock.wall()));
        let renamed = PathBuf::from(renamed);
        self.disk.rename(path, &renamed).map_err(StorageError::io("rename", path))?;
        self.discard_later(renamed.clone(), DAMAGED_KEPT);
        Ok(renamed)
    }

    pub(crate) fn discard_later(&self, path: PathBuf, delay: Duration) {
        let due = self.clock.monotonic().plus(delay);
        self.trash.lock().push((due, path));
    }

    /// Removes what is due. What cannot be removed is tried again the next time it is opened.
    pub(crate) fn empty_trash(&self) {
        let now = self.clock.monotonic();
        let due: Vec<PathBuf> = {
            let mut trash = self.trash.lock();
            let (due, kept) = trash.drain(..).partition(|(due, _)| *due <= now);
            *trash = kept;
            due.into_iter().map(|(_, path): (_, PathBuf)| path).collect()
        };
        for path in due {
            let name = path.to_string_lossy();
            let is_file = name.ends_with(DELETED_SUFFIX) || name.ends_with(DAMAGED_SUFFIX);
            let removed = if is_file {
                self.disk.remove_file(&path)
            } else {
                self.disk.remove_dir_all(&path)
            };
            if let Err(error) = removed
                && self.disk.exists(&path)
            {
                tracing::warn!(path = %path.display(), %error, "cannot remove");
            }
        }
    }
}
