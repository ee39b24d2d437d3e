//! Ottla: a Raft-replicated, Kafka-compatible event broker in one binary.
//!
//! The rooms, from the ground floor up; each imports only rooms below it (`tests/tidy.rs`
//! enforces that):
//!
//! - [`cli`]: the command line: broker, dev, and Kafka's tools by their names and flags
//! - [`http`]: health over HTTP
//! - [`broker`]: configuration, assembly, handlers
//! - [`coordinator`]: what is coordinated for clients, in partitions of internal topics
//! - [`replication`]: the replicas of this node: leader, follower, high watermark, ISR
//! - [`controller`]: the metadata quorum, the decision loop, which brokers live
//! - [`metadata`]: what the whole cluster agrees on: image, records, placement, election
//! - [`log`]: one partition's log and the data directory that holds it
//! - [`net`]: frames, connections and listeners; the client to other brokers
//! - [`protocol`]: Kafka's messages in all versions
//! - [`record`]: record batches: headers, records, codecs
//! - [`storage`]: files, the catalog, blocking work, and their twins in memory
//! - [`types`]: ids, offsets, epochs, error codes, clocks, randomness

pub mod broker;
pub mod cli;
pub mod controller;
pub mod coordinator;
pub mod http;
pub mod log;
pub mod metadata;
pub mod net;
pub mod protocol;
pub mod record;
pub mod replication;
pub mod storage;
pub mod types;
