//! Shards on real replicas, around a machine that counts.
//!
//! - `world`: the broker, the machine
//! - `answering`: what is held, released, refused, given up
//! - `reigning`: loading, losing, ticks, metadata
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answering;
mod reigning;
mod world;
