//! A connection to one peer for one kind of traffic, made again when it breaks.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::controller::peer::PeerError;
use crate::controller::peer::connection::PeerConnection;
use crate::controller::peer::frame::{Hello, Kind};
use crate::controller::peer::message::{PeerRequest, PeerResponse};
use crate::net::transport::{HostPort, Network};
use crate::types::{DirectoryId, NodeId};

/// What every connection of this node has in common.
#[derive(Debug)]
pub struct PeerClientOptions {
    /// How to reach other nodes.
    pub network: Arc<dyn Network>,
    /// This node's id.
    pub node_id: NodeId,
    /// This node's metadata directory.
    pub directory_id: DirectoryId,
    /// The cluster to which this node is bound; it changes once, when it is.
    pub cluster_id: Mutex<Option<String>>,
    /// How long to wait for a connection and its greeting.
    pub connect_timeout: Duration,
}

/// Asks one peer, over a connection that is kept as long as it lives.
#[derive(Debug)]
pub struct PeerClient {
    options: Arc<PeerClientOptions>,
    target: HostPort,
    expected_directory: Option<DirectoryId>,
    kind: Kind,
    connection: Mutex<Option<Arc<PeerConnection>>>,
}

impl PeerClient {
    /// A client for the node at `target`; it connects when it is first needed.
    pub fn new(
        options: Arc<PeerClientOptions>,
        target: HostPort,
        expected_directory: Option<DirectoryId>,
        kind: Kind,
    ) -> PeerClient {
        PeerClient { options, target, expected_directory, kind, connection: Mutex::new(None) }
    }

    /// Where the peer should be.
    pub fn target(&self) -> &HostPort {
        &self.target
    }

    /// Asks and awaits the answer, at most for `patience`. May be dropped at any point.
    pub async fn call(
        &self,
        request: &PeerRequest,
        patience: Duration,
    ) -> Result<PeerResponse, PeerError> {
        let connection = self.connection();
        tokio::time::timeout(patience, connection.call(request))
            .await
            .unwrap_or_else(|_| Err(PeerError::TimedOut { target: self.target.to_string() }))
    }

    /// The directory id with which the peer greets.
    pub async fn directory_id(&self, patience: Duration) -> Result<DirectoryId, PeerError> {
        let connection = self.connection();
        tokio::time::timeout(patience, connection.directory_id())
            .await
            .unwrap_or_else(|_| Err(PeerError::TimedOut { target: self.target.to_string() }))
    }

    fn connection(&self) -> Arc<PeerConnection> {
        let mut slot = self.connection.lock();
        match slot.as_ref() {
            Some(connection) if !connection.is_ended() => Arc::clone(connection),
            _ => {
                let hello = Hello {
                    node_id: self.options.node_id,
                    directory_id: self.options.directory_id,
                    cluster_id: self.options.cluster_id.lock().clone(),
                    expected_directory: self.expected_directory,
                    kind: self.kind,
                };
                let connection = Arc::new(PeerConnection::open(
                    Arc::clone(&self.options.network),
                    self.target.clone(),
                    hello,
                    self.options.connect_timeout,
                ));
                *slot = Some(Arc::clone(&connection));
                connection
            }
        }
    }
}
