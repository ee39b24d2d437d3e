//! Tests of logs and directories on disks and catalogs in memory.
//!
//! - `world`: one machine that can crash and be started again
//! - `appending`, `validating`, `reading`: what goes in and what comes out
//! - `concurrent`: many threads at once
//! - `truncating`: moving either end
//! - `failing`: failing and full disks
//! - `model`: random calls, failures and crashes against a model
//! - `restarting`: crashes, recovery, markers
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod appending;
mod concurrent;
mod failing;
mod model;
mod reading;
mod restarting;
mod truncating;
mod validating;
pub(super) mod world;
