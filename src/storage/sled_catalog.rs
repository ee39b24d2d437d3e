//! The catalog in sled 0.34. Every call is wrapped, because sled panics where it should return an
//! error; large values never reach it; and a flush goes all the way to the device.

use std::any::Any;
use std::fs::{self, File};
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use super::catalog::{Catalog, CatalogBatch, CatalogChange, CatalogError, Entries};

/// sled treats this as advice; the number of keys is what bounds its memory.
const CACHE_BYTES: u64 = 16 << 20;

/// A sled database as a [`Catalog`].
pub struct SledCatalog {
    /// Taken out, and forgotten, once sled has panicked.
    database: Mutex<State>,
    directory: PathBuf,
}

enum State {
    Open(sled::Db),
    Broken(CatalogError),
}

impl std::fmt::Debug for SledCatalog {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SledCatalog").field("directory", &self.directory).finish_non_exhaustive()
    }
}

impl SledCatalog {
    /// Opens the database in `directory`, or makes it.
    pub fn open(directory: &Path) -> Result<SledCatalog, CatalogError> {
        let config = sled::Config::new()
            .path(directory)
            .cache_capacity(CACHE_BYTES)
            .flush_every_ms(None)
            .print_profile_on_drop(false);
        let database = guarded(|| config.open().map_err(open_error))?;
        Ok(SledCatalog {
            database: Mutex::new(State::Open(database)),
            directory: directory.to_owned(),
        })
    }

    /// How many values sled has put into files of their own. It never syncs those, so that any
    /// number but 0 is an alarm.
    pub fn blob_files(&self) -> Result<usize, CatalogError> {
        match fs::read_dir(self.directory.join("blobs")) {
            Ok(entries) => Ok(entries.count()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(0),
            Err(error) => Err(CatalogError::Failed(error.to_string())),
        }
    }

    /// Asks sled, unless it has panicked before.
    fn ask<T>(&self, ask: impl FnOnce(&sled::Db) -> sled::Result<T>) -> Result<T, CatalogError> {
        let database = match &*self.database.lock() {
            State::Open(database) => database.clone(),
            State::Broken(error) => return Err(error.clone()),
        };
        let answer = guarded(|| ask(&database).map_err(failed));
        if let Err(error @ CatalogError::Panicked(_)) = &answer {
            let broken = State::Broken(error.clone());
            let open = std::mem::replace(&mut *self.database.lock(), broken);
            // Dropping a database flushes it, and may panic once more.
            let _ = guarded(|| {
                drop((open, database));
                Ok(())
            });
        }
        answer
    }
}

impl Catalog for SledCatalog {
    fn get(&self, key: &[u8]) -> Result<Option<Vec<u8>>, CatalogError> {
        self.ask(|database| Ok(database.get(key)?.map(|value| value.to_vec())))
    }

    fn scan_prefix(&self, prefix: &[u8]) -> Result<Entries, CatalogError> {
        self.ask(|database| {
            database
                .scan_prefix(prefix)
                .map(|entry| entry.map(|(key, value)| (key.to_vec(), value.to_vec())))
                .collect()
        })
    }

    fn apply(&self, batch: CatalogBatch) -> Result<(), CatalogError> {
        batch.check_sizes()?;
        let mut changes = sled::Batch::default();
        for change in batch.changes() {
            match change {
                CatalogChange::Put(key, value) => changes.insert(key.as_slice(), value.as_slice()),
                CatalogChange::Delete(key) => changes.remove(key.as_slice()),
            }
        }
        self.ask(|database| database.apply_batch(changes))
    }

    fn flush(&self) -> Result<(), CatalogError> {
        self.ask(|database| database.flush().map(|_| ()))?;
        // sled's own flush ends in the page cache.
        File::open(self.directory.join("db"))
            .and_then(|file| file.sync_data())
            .map_err(|error| CatalogError::Failed(error.to_string()))
    }
}

fn guarded<T>(run: impl FnOnce() -> Result<T, CatalogError>) -> Result<T, CatalogError> {
    catch_unwind(AssertUnwindSafe(run))
        .unwrap_or_else(|panic| Err(CatalogError::Panicked(panic_text(&*panic))))
}

/// What a panic said.
pub(super) fn panic_text(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message")
        .to_owned()
}

/// Linux's numbers for what a disk says that is none of the database's fault: EIO, EACCES, ENFILE,
/// EMFILE, ENOSPC, EROFS, EDQUOT. sled wraps most errors, so that only their words are left.
const DISK_REFUSES: [i32; 7] = [5, 13, 23, 24, 28, 30, 122];

fn failed(error: sled::Error) -> CatalogError {
    let text = error.to_string();
    let refused = DISK_REFUSES.iter().any(|number| text.contains(&format!("os error {number})")));
    if refused { CatalogError::Unavailable(text) } else { CatalogError::Failed(text) }
}

fn open_error(error: sled::Error) -> CatalogError {
    match &error {
        // sled wraps the lock's refusal into an error of kind Other; only its words tell.
        sled::Error::Io(inner) if inner.to_string().contains("could not acquire lock") => {
            CatalogError::Locked
        }
        _ => failed(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_disk_refuses_is_not_the_catalogs_damage() {
        for (number, refused) in [(5, true), (28, true), (30, true), (2, false), (280, false)] {
            let error = failed(sled::Error::Io(io::Error::from_raw_os_error(number)));
            assert_eq!(matches!(error, CatalogError::Unavailable(_)), refused, "{number}: {error}");
        }
        let corrupt = failed(sled::Error::Corruption { at: None, bt: () });
        assert!(matches!(corrupt, CatalogError::Failed(_)), "{corrupt}");
    }
}
