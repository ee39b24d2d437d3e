//! Coordinators: what a broker keeps in memory for clients, and in the partitions of an internal
//! topic for whoever leads them next.
//!
//! - [`shard`]: one partition of such a topic, around a pure machine
//! - [`shards`]: all partitions of one topic that this broker leads
//! - [`group`]: groups and committed offsets (pure)

pub mod group;
pub mod shard;
pub mod shards;
