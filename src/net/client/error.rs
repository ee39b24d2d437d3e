//! What can go wrong between us and a broker.

use std::io;
use std::ops::RangeInclusive;
use std::time::Duration;

use crate::net::transport::HostPort;
use crate::protocol::ApiKey;

/// Why a request to a broker failed. Errors that the broker reports stand in its answers.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClientError {
    /// The host is there and nobody listens: the process is not running.
    #[error("{address} refuses connections: nobody listens there")]
    Refused {
        /// What was dialled.
        address: HostPort,
    },
    /// The address cannot be resolved or reached.
    #[error("{address} cannot be reached: {reason}")]
    Unreachable {
        /// What was dialled.
        address: HostPort,
        /// What the system says.
        reason: String,
    },
    /// The connection ended. Whether the request was carried out is not known.
    #[error("the connection to {address} ended: {reason}")]
    Closed {
        /// Where it led.
        address: HostPort,
        /// Why it ended.
        reason: String,
    },
    /// No answer came in time. Whether the request was carried out is not known.
    #[error("{address}: {what} took more than {after:?}")]
    Timeout {
        /// Where it was asked.
        address: HostPort,
        /// What was asked.
        what: String,
        /// How long was waited.
        after: Duration,
    },
    /// The answer is not what the protocol says.
    #[error("{address} answered what cannot be read: {reason}")]
    Malformed {
        /// Who answered.
        address: HostPort,
        /// What is wrong.
        reason: String,
    },
    /// There is no version of the API that both sides know.
    #[error("{api:?} is asked here in versions {ours:?}, and served there in {}", versions(theirs))]
    UnsupportedVersion {
        /// The API.
        api: ApiKey,
        /// What the broker serves; nothing if it does not serve the API.
        theirs: Option<RangeInclusive<i16>>,
        /// What is known here.
        ours: RangeInclusive<i16>,
    },
    /// The request holds what its version cannot say.
    #[error("a {api:?} request cannot be written in version {version}: {reason}")]
    Unencodable {
        /// The API.
        api: ApiKey,
        /// The version.
        version: i16,
        /// What is in the way.
        reason: String,
    },
    /// Too many requests are unanswered.
    #[error("{0} requests are unanswered on this connection")]
    TooManyInFlight(usize),
}

fn versions(theirs: &Option<RangeInclusive<i16>>) -> String {
    match theirs {
        Some(versions) => format!("{versions:?}"),
        None => "none".to_owned(),
    }
}

impl ClientError {
    /// What dialling came to.
    pub(super) fn from_dialling(address: &HostPort, error: &io::Error) -> Self {
        let address = address.clone();
        if error.kind() == io::ErrorKind::ConnectionRefused {
            ClientError::Refused { address }
        } else {
            ClientError::Unreachable { address, reason: error.to_string() }
        }
    }
}
