//! The controller: the openraft group of cluster metadata, the loop that decides its changes, and
//! the table that says which brokers live.
//!
//! - [`handle`]: [`Controller`], as the rest of the broker holds it; `start` puts it together
//! - [`machine`]: the decisions, pure
//! - [`decision`]: the loop that has them made and committed
//! - [`office`]: whether this node is the active controller, and the brokers' heartbeats
//! - [`liveness`]: the table of the brokers' sessions
//! - [`lifecycle`]: the broker as the controller's client
//! - [`admission`], [`formation`]: how a node becomes a member, and how a cluster comes to be
//! - [`membership`]: whom the leader takes in
//! - [`peer`]: the RPC between nodes; `service`: what this node answers
//! - [`quorum_info`]: the quorum as DescribeQuorum shows it
//! - [`unsafe_recovery`]: what brings a lost majority back, at a price
//! - [`raft`]: everything that knows openraft: store, state machine, network

pub mod admission;
#[cfg(test)]
mod cluster_tests;
pub mod decision;
pub mod formation;
pub mod handle;
pub mod lifecycle;
pub mod liveness;
pub mod machine;
pub mod membership;
pub mod office;
pub mod peer;
pub mod quorum_info;
pub mod raft;
mod service;
mod start;
#[cfg(test)]
pub(crate) mod test_network;
#[cfg(test)]
mod test_support;
pub mod unsafe_recovery;

pub use handle::{Controller, RequestContext};
pub use lifecycle::{BrokerLifecycle, BrokerState, LifecycleOptions};
pub use peer::message::{HeartbeatAnswer, HeartbeatRequest};
pub use quorum_info::{QuorumInfo, QuorumMember};
pub use raft::types::MemberNode;
pub use start::{
    ControllerOptions, Environment, METADATA_TOPIC, METADATA_TOPIC_ID, RaftTimings, StartError,
};
