//! Tests of logs and directories on disks and catalogs in memory.
//!
//! - `world`: one machine that can crash and be started again
//! - `appending`, `validating`, `reading`: what goes in and what comes out
//! - `creating`: many logs at once
//! - `concurrent`: many threads at once
//! - `truncating`: moving either end
//! - `rolling`, `reserving`: which segment, which segments go; room reserved ahead
//! - `flushing`: how often and when records are synced
//! - `deleting`: logs that are deleted and made again, crashing at every step
//! - `forgetting`: retention and deleted records against a model
//! - `compacting`, `compaction_model`: compaction, step by step and against a model
//! - `failing`: failing and full disks
//! - `damage`: what a damaged directory does, as a table
//! - `moving`: a log moves to another data directory
//! - `model`: random calls, failures and crashes against a model
//! - `replacing`: one file in the place of sealed segments, with a crash at every step
//! - `verifying`: each kind of damage at each place is found, and nothing else
//! - `mending`: a copy with what is missing, while everything around fails
//! - `restarting`: crashes, recovery, markers
//! - `together`: appends that come at the same time
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod appending;
mod compacting;
mod compaction_model;
mod concurrent;
mod creating;
mod damage;
mod deleting;
mod failing;
mod flushing;
mod forgetting;
mod mending;
mod model;
mod moving;
mod reading;
mod replacing;
mod reserving;
mod restarting;
mod rolling;
mod together;
mod truncating;
mod validating;
mod verifying;
pub(super) mod world;
