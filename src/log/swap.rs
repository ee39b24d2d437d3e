//! Finishing the replacements of segments that a crash interrupted; see `replace`.
//!
//! | what is found | what it means | what is done |
//! |---|---|---|
//! | `w` in the catalog | decided | the old files go, `.swap` takes its place if it has not yet |
//! | `.swap`, no `w`, the catalog knows the log | not decided | it is removed |
//! | `.swap`, the catalog was lost | it may have been decided | it takes its place, if all of it is valid |
//! | `.cleaned` | it was being written | it is removed |

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use crate::log::error::StorageError;
use crate::log::inspect::SegmentReader;
use crate::log::recovery::LogToOpen;
use crate::log::segment::{CLEANED_SUFFIX, SWAP_SUFFIX, base_offset_of, file_name};
use crate::log::shared::DirectoryShared;
use crate::log::stored::{self, StoredLog};
use crate::storage::Disk;
use crate::types::{Offset, TopicIdPartition};

/// The files of a log's directory that matter here.
#[derive(Debug, Default)]
struct Files {
    segments: Vec<Offset>,
    swaps: Vec<Offset>,
    cleaned: Vec<PathBuf>,
}

/// Finishes or undoes the replacements in a log's directory, durably. `known`: the catalog knows
/// the log.
pub(crate) fn finish_swaps(
    shared: &Arc<DirectoryShared>,
    log: &LogToOpen,
    stored: &StoredLog,
    known: bool,
) -> Result<(), StorageError> {
    let (disk, path) = (&*shared.disk, &log.path);
    let files = list(disk, path)?;
    if files.swaps.is_empty() && files.cleaned.is_empty() && stored.swaps.is_empty() {
        return Ok(());
    }
    tracing::info!(log = %log.topic_partition, decided = stored.swaps.len(), "finishing replacements");
    for cleaned in &files.cleaned {
        disk.remove_file(cleaned).map_err(StorageError::io("remove", cleaned))?;
    }
    let mut decided: BTreeMap<Offset, Offset> = stored.swaps.clone();
    for &base in &files.swaps {
        if decided.contains_key(&base) {
            continue;
        }
        let swap = swap_path(path, base);
        match covered_by(disk, &swap).filter(|_| !known) {
            Some(next_offset) => {
                decided.insert(base, next_offset);
            }
            None => disk.remove_file(&swap).map_err(StorageError::io("remove", &swap))?,
        }
    }
    for (&base, &next_offset) in &decided {
        finish(shared, path, &files, base, next_offset)?;
    }
    disk.sync_dir(path).map_err(StorageError::io("sync", path))?;
    forget(shared, log, stored)
}

fn list(disk: &dyn Disk, path: &Path) -> Result<Files, StorageError> {
    let mut files = Files::default();
    for entry in disk.list(path).map_err(StorageError::io("list", path))? {
        if let Some(base) = base_offset_of(&entry.name) {
            files.segments.push(base);
        } else if let Some(base) = entry.name.strip_suffix(SWAP_SUFFIX).and_then(base_offset_of) {
            files.swaps.push(base);
        } else if entry.name.ends_with(CLEANED_SUFFIX) {
            files.cleaned.push(path.join(entry.name));
        }
    }
    Ok(files)
}

fn swap_path(path: &Path, base: Offset) -> PathBuf {
    path.join(format!("{}{SWAP_SUFFIX}", file_name(base)))
}

/// The offset after the last batch of a file all of whose batches are valid.
fn covered_by(disk: &dyn Disk, path: &Path) -> Option<Offset> {
    let mut next_offset = None;
    for batch in SegmentReader::open(disk, path).ok()? {
        let batch = batch.ok().filter(|batch| batch.is_valid)?;
        next_offset = Some(batch.batch.header.next_offset());
    }
    next_offset
}

/// The old files go first: whoever finds the new one in its place finds none of them.
fn finish(
    shared: &Arc<DirectoryShared>,
    path: &Path,
    files: &Files,
    base: Offset,
    next_offset: Offset,
) -> Result<(), StorageError> {
    for &covered in files.segments.iter().filter(|&&at| at > base && at < next_offset) {
        shared.discard_file(&path.join(file_name(covered)), Duration::ZERO)?;
    }
    if files.swaps.contains(&base) {
        let (swap, place) = (swap_path(path, base), path.join(file_name(base)));
        shared.disk.rename(&swap, &place).map_err(StorageError::io("rename", &swap))?;
    }
    Ok(())
}

fn forget(
    shared: &Arc<DirectoryShared>,
    log: &LogToOpen,
    stored: &StoredLog,
) -> Result<(), StorageError> {
    if stored.swaps.is_empty() {
        return Ok(());
    }
    let partition = log.topic_partition.partition;
    let id = TopicIdPartition { topic_id: log.topic_id, partition };
    let forgotten = shared.gate.durably(|batch| {
        for &base in stored.swaps.keys() {
            stored::delete_swap(batch, id, base);
        }
    });
    forgotten.map_err(StorageError::from)
}
