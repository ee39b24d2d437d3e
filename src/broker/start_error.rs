//! Why a node does not start, in one line that says what to do.

use std::path::PathBuf;

use crate::broker::config::ConfigError;
use crate::controller::StartError as ControllerStartError;
use crate::log::OpenError;
use crate::net::HostPort;

/// Why a node does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error("{0}")]
    Config(#[from] ConfigError),
    /// A listener cannot be bound.
    #[error("listener {name} cannot listen on {address}: {error}; {advice}")]
    Bind {
        /// The listener.
        name: String,
        /// Where it was to listen.
        address: HostPort,
        /// What the system says.
        error: std::io::Error,
        /// What to do.
        advice: &'static str,
    },
    /// A data directory cannot be used.
    #[error("log directory {path}: {error}")]
    Directory {
        /// Which.
        path: PathBuf,
        /// Why.
        error: OpenError,
    },
    /// The directories belong to different clusters or nodes.
    #[error("{0}")]
    Directories(String),
    /// The quorum's part of this node does not start.
    #[error("{0}")]
    Controller(#[from] ControllerStartError),
    /// Blocking work failed.
    #[error("{0}")]
    Blocking(String),
}

impl StartError {
    /// A listener that cannot be bound, with advice that fits the error.
    pub(crate) fn bind(name: &str, address: &HostPort, error: std::io::Error) -> StartError {
        let advice = match error.kind() {
            std::io::ErrorKind::AddrInUse => {
                "stop what listens there (another broker?) or change the port in listeners"
            }
            std::io::ErrorKind::PermissionDenied => {
                "use a port from 1024 on, or run with the right to it"
            }
            std::io::ErrorKind::AddrNotAvailable => "use an address of this machine in listeners",
            _ => "check listeners",
        };
        StartError::Bind { name: name.to_owned(), address: address.clone(), error, advice }
    }
}
