//! A broker's way to the active controller, wherever that is.

use std::sync::Arc;
use std::time::Duration;

use crate::controller::machine::{Command, Reply};
use crate::controller::{Controller, RequestContext as Origin};
use crate::metadata::{Image, MetadataSource};
use crate::net::server::RequestContext;
use crate::types::{BrokerEpoch, Clock, ErrorCode, NodeId};

/// A request's own timeout, within bounds that keep a broken client from waiting for ever.
pub(crate) fn timeout(timeout_ms: i32) -> Duration {
    Duration::from_millis(timeout_ms.clamp(0, 300_000).unsigned_abs().into())
}

/// Submits commands in the name of clients.
pub(crate) struct ControllerLink {
    node_id: NodeId,
    controller: Arc<Controller>,
    metadata: Arc<dyn MetadataSource>,
    clock: Arc<dyn Clock>,
}

impl ControllerLink {
    /// For the broker `node_id`.
    pub fn new(node_id: NodeId, controller: Arc<Controller>, clock: Arc<dyn Clock>) -> Self {
        let metadata = controller.metadata();
        Self { node_id, controller, metadata, clock }
    }

    /// This broker.
    pub fn node_id(&self) -> NodeId {
        self.node_id
    }

    /// This broker's registration as the metadata has it; [`BrokerEpoch::NONE`] before that.
    pub fn broker_epoch(&self) -> BrokerEpoch {
        let image = self.metadata.image();
        image.broker(self.node_id).map_or(BrokerEpoch::NONE, |broker| broker.broker_epoch)
    }

    /// Has the active controller decide `command` for the client of `context`.
    ///
    /// # Errors
    /// NOT_CONTROLLER or REQUEST_TIMED_OUT if none could be asked within `wait`.
    pub async fn submit(
        &self,
        command: Command,
        context: &RequestContext,
        wait: Duration,
    ) -> Result<Reply, ErrorCode> {
        let origin = Origin {
            principal: context.principal.to_string(),
            client_id: context.client_id.clone(),
            client_address: context.peer.to_string(),
            listener: context.listener.to_string(),
            deadline: self.clock.monotonic().plus(wait),
        };
        self.controller.submit(command, origin).await
    }

    /// Waits, at most `wait`, until this node has applied metadata of which `is_there` is true: a
    /// client that was told of a change must find it here.
    pub async fn await_image(&self, wait: Duration, is_there: impl Fn(&Image) -> bool + Send) {
        let mut versions = self.metadata.subscribe();
        let seen = async {
            while !is_there(&self.metadata.image()) {
                if versions.changed().await.is_err() {
                    return;
                }
            }
        };
        // Whether it came in time the caller need not know: the change is made either way.
        let _ = tokio::time::timeout(wait, seen).await;
    }
}
