//! Coordinators: what a broker keeps in memory for clients, and in the partitions of an internal
//! topic for whoever leads them next.
//!
//! - [`shard`]: one partition of such a topic, around a pure machine
//! - [`group`]: groups and committed offsets (pure)

pub mod group;
pub mod shard;
