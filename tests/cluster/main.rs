//! Real broker processes on loopback with a real client, librdkafka.
//!
//! - `harness`: starts, kills and restarts the processes of one cluster in a temporary directory
//! - `history`: what was sent and acknowledged, and whether the logs on disk agree with it
//! - `data_path`: what a program produces comes back byte for byte
//! - `topics`: creating, describing and deleting topics
//! - `console_groups`: groups as the command line's user sees them
//! - `failover`: kills under load; nothing acknowledged is lost, doubled or moved
//! - `unsafe_recovery`: a lost majority; the survivor is made the only voter and others join it
//! - `groups`: consumers that share, take over and commit, whoever is killed; `members`: their processes
//! - `start_errors`: a start that cannot succeed says why in one line
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod console_groups;
mod data_path;
mod failover;
mod groups;
mod harness;
mod history;
mod members;
mod start_errors;
mod topics;
mod unsafe_recovery;
