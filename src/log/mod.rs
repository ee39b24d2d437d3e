//! One partition's log, and the data directory that holds it: segments hold the bytes, the catalog
//! is the truth about them up to the recovery points.
//!
//! The handle and what it does:
//! - `partition_log`: [`Log`], its ends and its locks
//! - `append`, `read`, `lookup`: in, out, and by time
//! - `flush`, `truncate`, `retention`: making durable; moving either end
//!
//! The directory:
//! - `directory`, `opening`: [`LogDirectory`]; the order of opening it
//! - `checkpoint`, `recovery`, `tail`: the catalog catches up with the files; the files with the
//!   catalog
//! - `marker`, `meta_properties`, `names`: how the last run ended; whose directory it is
//! - `shared`: the seams, the catalog's gate, whether there is room
//! - [`inspect`]: looking into files without opening the directory
//!
//! What they stand on:
//! - `segment`, `index`, `scan`: one file, where in it what is, its headers one after another
//! - `stored`, `format`: the catalog's keys and values
//!
//! Pure:
//! - [`epochs`], [`producers`], [`transactions`]: what a log knows beside its records
//! - `validate`, `frames`, `stamp`, `recompress`: what a producer's batch goes through
//! - `config`, `error`

mod append;
mod checkpoint;
mod config;
mod directory;
pub mod epochs;
mod error;
mod flush;
mod format;
mod frames;
mod index;
pub mod inspect;
mod lookup;
mod marker;
mod meta_properties;
mod names;
mod opening;
mod partition_log;
pub mod producers;
mod read;
mod recompress;
mod recovery;
mod retention;
mod scan;
mod segment;
mod shared;
mod stamp;
mod stored;
mod tail;
pub mod transactions;
mod truncate;
mod validate;

pub use append::AppendInfo;
pub use config::LogConfig;
pub use directory::{
    CHECKPOINT_INTERVAL, CatalogOpener, LogDirectory, LogDirectoryOptions, LogEnvironment,
    STRAY_KEPT, StrayLog,
};
pub use epochs::{EpochEnd, EpochStart};
pub use error::{
    AppendError, CreateError, InvalidBatch, OpenError, ReadError, RecordError, StorageError,
    TruncateError,
};
pub use lookup::FoundByTime;
pub use marker::{PreviousRun, kernel_boot_id};
pub use partition_log::Log;
pub use read::Slice;
pub use recovery::RecoverySummary;
pub use transactions::AbortedTransaction;
pub use validate::AppendOrigin;

#[cfg(test)]
mod tests;
