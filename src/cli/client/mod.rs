//! A Kafka client, as small as the tools need it.
//!
//! - [`Cluster`]: connections to brokers, metadata and its refresh, retries
//! - [`admin`]: what is asked of topics and of the quorum
//! - [`deletions`]: dropping the oldest records
//! - [`groups`]: what is asked of the coordinators of groups
//! - [`log_offsets`]: the starts, ends and times of logs
//! - [`producer`]: batches, partitions, acknowledgements, idempotence
//! - [`consumer`]: fetching from assigned partitions; [`consumed`] is what it hands out
//! - [`options`]: settings by Kafka's names
//! - [`batch`]: record batches, written and read
//! - [`description`], [`partitioner`]: plain data and plain arithmetic

pub mod admin;
mod batch;
mod cluster;
pub mod configs;
pub mod consumed;
pub mod consumer;
pub mod deletions;
pub mod description;
mod error;
pub mod groups;
pub mod log_offsets;
mod metadata;
pub mod options;
pub mod partitioner;
pub mod producer;
#[cfg(test)]
mod tests;

pub use cluster::Cluster;
pub use error::ClientFailure;
pub use metadata::{Metadata, PartitionMetadata, TopicMetadata};
pub use options::ClusterOptions;
