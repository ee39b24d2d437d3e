//! The RPC between nodes on the CONTROLLER listener.
//!
//! A peer opens with [`frame::MAGIC`] and a version, says who it is ([`frame::Hello`]) and is
//! welcomed or refused with the reason; then both sides send length-prefixed bincode frames, each
//! with the correlation id of its request. Answers come in any order. Every kind of traffic has a
//! connection of its own, so that raft's heartbeats never wait behind a snapshot.
//!
//! - [`frame`]: bytes on the wire
//! - [`message`]: what is asked and answered
//! - [`connection`]: one connection as its opener sees it
//! - [`client`]: a connection that is made again when it breaks
//! - [`server`]: one connection as its acceptor sees it

pub mod client;
pub mod connection;
pub mod frame;
pub mod message;
pub mod server;

pub use client::{PeerClient, PeerClientOptions};
pub use frame::{Hello, Kind, MAGIC};
pub use server::{PeerService, serve_peer};

/// Why a request to a peer has no answer.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum PeerError {
    /// No connection could be made. Nothing was sent.
    #[error("cannot reach {target}: {reason}")]
    Unreachable {
        /// Where the peer should be.
        target: String,
        /// What the system said.
        reason: String,
    },
    /// The peer does not want to speak with us. Nothing was sent.
    #[error("{target} refuses this node: {reason}")]
    Refused {
        /// Where the peer is.
        target: String,
        /// What the peer said.
        reason: String,
    },
    /// The connection ended; whether the request was carried out is not known.
    #[error("the connection to {target} ended before an answer came")]
    Closed {
        /// Where the peer was.
        target: String,
    },
    /// No answer in time; whether the request was carried out is not known.
    #[error("{target} did not answer in time")]
    TimedOut {
        /// Where the peer is.
        target: String,
    },
    /// The peer answered something that does not fit the question.
    #[error("{target} answered out of turn: {what}")]
    Unexpected {
        /// Where the peer is.
        target: String,
        /// What is wrong.
        what: String,
    },
}
