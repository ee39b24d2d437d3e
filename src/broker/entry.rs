//! A broker's way into service.

use std::sync::Arc;

use crate::broker::service::Gate;
use crate::controller::Controller;
use crate::controller::lifecycle::{BrokerLifecycle, BrokerState};
use crate::metadata::BrokerRegistration;
use crate::replication::Replicas;
use crate::types::{BrokerEpoch, NodeId};

/// What it takes to bring a broker into service.
pub(crate) struct Entry {
    /// This broker.
    pub node_id: NodeId,
    /// Its registrations.
    pub lifecycle: Arc<BrokerLifecycle>,
    /// What it is to serve.
    pub replicas: Arc<Replicas>,
    /// Where its registration appears in the metadata.
    pub controller: Arc<Controller>,
    /// What keeps clients waiting until then.
    pub gate: Gate,
}

impl Entry {
    /// Waits for the first registration, then starts the replicas on metadata that contains it, and
    /// opens the gate once they have taken their roles. Ends early if the node stops meanwhile.
    pub async fn run(self) {
        let Some(epoch) = self.registration().await else { return };
        let Some(version) = self.version_where(|broker| broker.broker_epoch >= epoch).await else {
            return;
        };
        self.replicas.start();
        let mut applied = self.replicas.applied();
        if applied.wait_for(|applied| *applied >= version).await.is_err() {
            return;
        }
        if let Err(error) = self.replicas.set_strays_aside().await {
            tracing::warn!(%error, "a stray log could not be set aside");
        }
        self.lifecycle.logs_loaded();
        // A client that is told of no broker at all may forget the cluster for good, so nobody is
        // let in before this broker's own image has it unfenced.
        if self
            .version_where(|broker| broker.broker_epoch >= epoch && !broker.fenced)
            .await
            .is_some()
        {
            self.gate.let_in();
        }
    }

    async fn registration(&self) -> Option<BrokerEpoch> {
        let mut state = self.lifecycle.state();
        loop {
            match *state.borrow_and_update() {
                BrokerState::Fenced(epoch) | BrokerState::Running(epoch) => return Some(epoch),
                BrokerState::Unregistered => {}
                BrokerState::Stopping(_) | BrokerState::Stopped => return None,
            }
            state.changed().await.ok()?;
        }
    }

    /// The version of the first metadata seen here in which this broker's registration is `such`.
    async fn version_where(&self, such: impl Fn(&BrokerRegistration) -> bool) -> Option<u64> {
        let metadata = self.controller.metadata();
        let mut versions = metadata.subscribe();
        loop {
            versions.borrow_and_update();
            let image = metadata.image();
            if image.broker(self.node_id).is_some_and(|found| such(found)) {
                return Some(image.version());
            }
            versions.changed().await.ok()?;
        }
    }
}
