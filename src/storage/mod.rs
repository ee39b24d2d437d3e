//! What the node keeps: files through [`Disk`], small facts through [`Catalog`], and the threads
//! that wait for both through [`Offload`]. Each is a narrow trait with a real implementation and
//! a twin in memory that fails and crashes as real ones do.
//!
//! - `disk`: the traits [`Disk`], [`DiskFile`], [`DirLock`]
//! - `file_disk`: the file system
//! - `memory_disk`: a disk in memory that loses what was not synced
//! - `mounted_disks`: several disks as one tree
//! - `catalog`: the trait [`Catalog`] and its batches
//! - `sled_catalog`: sled, kept away from what it does badly
//! - `memory_catalog`: a catalog in memory that loses what was not flushed
//! - `offload`: where blocking work runs
//! - `share`: blocking work on many things, by several threads

mod catalog;
#[cfg(test)]
mod contract_tests;
mod disk;
mod file_disk;
mod memory_catalog;
mod memory_disk;
mod mounted_disks;
mod offload;
mod share;
mod sled_catalog;

pub use catalog::{
    Catalog, CatalogBatch, CatalogChange, CatalogError, MAX_KEY_BYTES, MAX_VALUE_BYTES,
};
pub use disk::{DirEntry, DirLock, Disk, DiskFile, OpenMode, Space};
pub use file_disk::FileDisk;
pub use memory_catalog::MemoryCatalog;
pub use memory_disk::{MemoryDisk, Operation};
pub use mounted_disks::MountedDisks;
pub use offload::{InlineOffload, Offload, OffloadError, ThreadOffload, cores, offload};
pub use share::share_out;
pub use sled_catalog::SledCatalog;
