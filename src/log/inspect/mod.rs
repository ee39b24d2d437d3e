//! Looking into the files of a log without opening its directory, for `dump-log`: nothing is
//! locked and nothing is changed, so that a file that is being written can be looked at.
//!
//! - `reader`: the batches of one segment file, and what lies between them where it is damaged
//! - `known`: what a catalog says of the logs; `marks`: whether its index is right
//! - `derived`: what the batches of a log add up to, where the catalog cannot be asked

mod derived;
mod known;
mod marks;
mod reader;

use std::path::{Path, PathBuf};

use crate::log::error::StorageError;
use crate::log::segment::base_offset_of;
use crate::storage::Disk;
use crate::types::Offset;

pub use crate::log::index::IndexEntry;
pub use derived::{Derived, derive};
pub use known::{KnownLog, KnownProgress, KnownSegment, known_logs};
pub use marks::{Mismatch, mismatches};
pub use reader::{DamagedBytes, InspectedBatch, Piece, SegmentReader};

/// The segment files in a log's directory, oldest first.
///
/// # Errors
/// The directory cannot be listed.
pub fn segment_files(disk: &dyn Disk, directory: &Path) -> Result<Vec<PathBuf>, StorageError> {
    let entries = disk.list(directory).map_err(StorageError::io("list", directory))?;
    let mut bases: Vec<(Offset, String)> = entries
        .into_iter()
        .filter_map(|entry| base_offset_of(&entry.name).map(|base| (base, entry.name)))
        .collect();
    bases.sort_unstable();
    Ok(bases.into_iter().map(|(_, name)| directory.join(name)).collect())
}
