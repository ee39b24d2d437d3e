//! Real broker processes on loopback with a real client, librdkafka.
//!
//! - `harness`: starts, kills and restarts the processes of one cluster in a temporary directory
//! - `history`: what was sent and acknowledged, and whether the logs on disk agree with it
//! - `logs`: replicas as their files say them
//! - `data_path`: what a program produces comes back byte for byte
//! - `topics`: creating, describing and deleting topics
//! - `compaction`: compacted topics as clients see them
//! - `configs`: configurations that change while the cluster runs
//! - `console_groups`: groups as the command line's user sees them
//! - `failover`: kills under load; nothing acknowledged is lost, doubled or moved
//! - `damage`: a killed broker's directory is damaged; it comes back whole or says why not
//! - `chaos`: mixed load while brokers die and their files are damaged; nothing acknowledged is lost
//! - `recorded`: clients' histories under kills, pauses and cut networks, judged by the `checker` of
//!   the simulation
//! - `log_dirs`: a data directory disappears under a running broker; replicas move between two
//! - `unsafe_recovery`: a lost majority; the survivor is made the only voter and others join it
//! - `bit_rot`: a bit flips in a segment; it is found on demand, and mended from a replica
//! - `groups`: consumers that share, take over and commit, whoever is killed; `members`: their processes
//! - `attacks`: what broken or hostile peers do, for `hostile_peers` and a benchmark
//! - `hostile_peers`: idle, greedy and deaf clients and decompression bombs; memory stays bounded
//! - `start_errors`: a start that cannot succeed says why in one line
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod attacks;
mod bit_rot;
mod chaos;
// Its own tests run in `tests/sim`.
#[allow(dead_code)]
#[path = "../sim/checker/mod.rs"]
mod checker;
mod compaction;
mod configs;
mod console_groups;
mod damage;
mod data_path;
mod failover;
mod groups;
mod harness;
mod history;
mod hostile_peers;
mod log_dirs;
mod logs;
mod members;
mod recorded;
mod start_errors;
mod topics;
mod unsafe_recovery;
