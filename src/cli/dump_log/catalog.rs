//! Asking the catalog of a directory that no broker has open. A copy is asked: opening a database
//! writes to it, and what is looked into must stay as it is.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use crate::log::inspect::{KnownLog, known_logs};
use crate::storage::{Disk, FileDisk, SledCatalog};
use crate::types::random::{Random, SystemRandom};

/// What a catalog said.
#[derive(Debug)]
pub(super) enum Asked {
    /// The logs, and what of them cannot be read.
    Known(Vec<KnownLog>, Vec<String>),
    /// Why it cannot be asked.
    Not(String),
}

/// Asks the catalog of the data directory `directory`.
pub(super) fn ask(directory: &Path) -> Asked {
    let place = directory.join("catalog");
    if !place.is_dir() {
        return Asked::Not(format!("there is no catalog in {}", directory.display()));
    }
    match ask_copy(directory, &place) {
        Ok(asked) => asked,
        Err(error) => {
            Asked::Not(format!("the catalog {} cannot be read: {error}", place.display()))
        }
    }
}

fn ask_copy(directory: &Path, place: &Path) -> io::Result<Asked> {
    let copy = TemporaryDirectory::make()?;
    // Held while it is copied, so that no broker begins to write in between.
    let lock = directory.join(".lock");
    let held =
        if lock.exists() { FileDisk.lock(&lock) } else { Err(io::ErrorKind::NotFound.into()) };
    if held.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
        return Ok(Asked::Not(format!("the catalog {} is in use by a broker", place.display())));
    }
    copy_tree(place, &copy.0)?;
    drop(held);
    let catalog = SledCatalog::open(&copy.0).map_err(io::Error::other)?;
    let (logs, unreadable) = known_logs(&catalog).map_err(io::Error::other)?;
    Ok(Asked::Known(logs, unreadable))
}

fn copy_tree(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy_tree(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    Ok(())
}

/// A directory that goes when it is dropped.
struct TemporaryDirectory(PathBuf);

impl TemporaryDirectory {
    fn make() -> io::Result<Self> {
        let unique = SystemRandom.bits();
        let path = std::env::temp_dir().join(format!("ottla-dump-log-{unique:016x}"));
        fs::create_dir(&path)?;
        Ok(Self(path))
    }
}

impl Drop for TemporaryDirectory {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.0) {
            eprintln!("{} stays: {error}", self.0.display());
        }
    }
}
