//! One partition's log, and the data directory that holds it: segments hold the bytes, the catalog
//! is the truth about them up to the recovery points.
//!
//! The handle and what it does:
//! - `partition_log`: [`Log`], its ends and its locks
//! - `append`, `read`, `lookup`: in, out, and by time; `rolling`: into which segment
//! - `leading`: what a leader appends; `rounds`: tasks that append at the same time share one write
//! - `flush`, `truncate`, `retention`: making durable; moving either end
//! - `replace`, `swap`: one new file in the place of sealed segments; finishing that after a crash
//! - `reigns`: a leader epoch, durable before its first append
//! - [`compact`]: what compaction removes, and one pass of it
//! - `verify`, `rot`, `mend`: whether what lies on the disk is what was written; what is known not
//!   to be; a copy with what is missing in its place
//!
//! The directory:
//! - `directory`, `opening`, `create`: [`LogDirectory`]; the order of opening it; making logs
//! - `gathering`: what comes from many sides at once is served together
//! - `checkpoint`, `recovery`, `tail`: the catalog catches up with the files; the files with the
//!   catalog
//! - `damage`: what opening finds is noted before it is mended
//! - `marker`, `meta_properties`, `names`: how the last run ended; whose directory it is
//! - `shared`: the seams, the catalog's gate, whether there is room; `flush_timers`: what `flush.ms`
//!   makes due
//! - `scrubbed`, `rot_kept`: how far the verification of its segments has come; what it found
//! - `shared`: the seams, the catalog's gate, whether there is room
//! - [`inspect`]: looking into files without opening the directory
//!
//! What they stand on:
//! - `segment`, `index`, `scan`: one file, where in it what is, its headers one after another
//! - `future`, `copying`, `promote`: a log moves to another data directory of the same broker
//! - `segment`, `index`, `scan`: one file, where in it what is, its headers one after another;
//!   `read_ends`: where recent reads ended
//! - `stored`, `format`: the catalog's keys and values
//! - `unpacking`: how much memory producers' batches take while they are looked at
//!
//! Pure:
//! - [`epochs`], [`producers`], [`transactions`]: what a log knows beside its records
//! - `validate`, `frames`, `stamp`, `recompress`: what a producer's batch goes through
//! - `incidents`: why a log was cut, rebuilt or found damaged
//! - `config`, `error`

mod append;
mod checkpoint;
pub mod compact;
mod config;
mod copying;
mod create;
mod damage;
mod directory;
pub mod epochs;
mod error;
mod flush;
mod flush_timers;
mod format;
mod frames;
mod future;
mod gathering;
mod incidents;
mod index;
pub mod inspect;
mod leading;
mod lookup;
mod marker;
mod mend;
mod meta_properties;
mod names;
mod opening;
mod partition_log;
pub mod producers;
mod promote;
mod read;
mod read_ends;
mod recompress;
mod recovery;
mod reigns;
mod replace;
mod retention;
mod rolling;
mod rot;
mod rot_kept;
mod rounds;
mod scan;
mod scrubbed;
mod segment;
mod shared;
mod stamp;
mod stored;
mod swap;
mod tail;
pub mod transactions;
mod truncate;
mod unpacking;
mod validate;
mod verify;

pub use append::AppendInfo;
pub use compact::{CleanError, Cleanable, Cleaned, Cleaning, PassLimits, Step};
pub use config::LogConfig;
pub use create::NewLog;
pub use directory::{
    CHECKPOINT_INTERVAL, CatalogOpener, LogDirectory, LogDirectoryOptions, LogEnvironment,
    STRAY_KEPT, StrayLog,
};
pub use epochs::{EpochEnd, EpochStart};
pub use error::{
    AppendError, CopyError, CreateError, InvalidBatch, MendError, OpenError, ReadError,
    RecordError, ReplaceError, StorageError, TruncateError,
};
pub use incidents::{Incident, IncidentKind, KEPT_INCIDENTS};
pub use leading::{COPIED_BYTES, Prepared};
pub use lookup::FoundByTime;
pub use marker::{PreviousRun, kernel_boot_id};
pub use mend::{MendStep, Mending};
pub use names::METADATA_TOPIC;
pub use partition_log::Log;
pub use promote::{CheckpointTurn, PromoteError, settle_moves};
pub use read::Slice;
pub use recovery::RecoverySummary;
pub use replace::{Replaced, ReplacementFile};
pub use rot::Finding;
pub use rounds::{Round, Rounds, Unserved};
pub use scrubbed::ScrubProgress;
pub use segment::Segment;
pub use transactions::AbortedTransaction;
pub use validate::AppendOrigin;
pub use verify::SegmentCheck;

#[cfg(test)]
mod tests;
