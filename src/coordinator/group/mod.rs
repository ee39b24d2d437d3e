//! Groups of consumers and the offsets that they commit: one machine per partition of
//! `__consumer_offsets`. Pure.
//!
//! - [`command`]: what is asked, what is answered; [`record`], [`stored`]: the durable facts, as Kafka
//!   writes them; `encoding`: their bytes, and the machine's side of the shard that keeps them
//! - `machine`: [`GroupMachine`]: what belongs to whom; `draft`: a decision in the making
//! - `classic`: groups whose members assign partitions among themselves
//! - `consumer`: groups whose partitions the broker assigns (KIP-848); `assignor`: how
//! - `offsets`: committed offsets and their expiry
//! - `admin`: listing, describing and deleting groups
//! - [`rebalance`]: what is remembered of a rebalance

mod admin;
mod assignor;
mod classic;
pub mod command;
mod config;
mod consumer;
mod draft;
mod encoding;
pub mod ids;
mod machine;
mod offsets;
pub mod rebalance;
pub mod record;
pub mod stored;
#[cfg(test)]
mod tests;

pub use config::{GroupConfig, MemberTimes, MigrationPolicy};
pub use encoding::decode as decode_record;
pub use machine::{GroupMachine, Note};
pub use offsets::lag;
