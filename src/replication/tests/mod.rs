//! Tests of whole replicas: several nodes in one process, over loopback, on disks in memory, with
//! metadata that the test publishes by hand.
//!
//! - `cluster`: the nodes, their metadata and the controller's part
//! - `service`: the few requests that a node answers
//! - `replicating`: records, acknowledgements, ISR
//! - `deleting`: DeleteRecords, retention, log starts that follow
//! - `leading`: changes of leader, divergence, zombies
//! - `reading`: long polls, offsets, follower reads
//! - `mending`: bit rot, found and mended
//! - `seen`: metadata as a test shows it to a node
//! - `directories`: several data directories: one fails, a replica moves
//! - `hosting`: topics that go and come, directories that fail, syncs before acknowledgements
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod cluster;
mod deleting;
mod directories;
mod hosting;
mod leading;
mod mending;
mod reading;
mod replicating;
pub(crate) mod seen;
mod service;
