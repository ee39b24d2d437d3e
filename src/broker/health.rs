//! How a node stands, for those who only want to know whether to send it work: load balancers,
//! container engines, people.

use std::sync::Arc;

use crate::controller::Controller;
use crate::controller::lifecycle::{BrokerLifecycle, BrokerState};
use crate::metadata::{Image, MetadataSource};
use crate::types::{NodeId, Offset, watch};

/// How a node stands at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The node.
    pub node_id: NodeId,
    /// `broker`, `controller`, or both.
    pub roles: Vec<&'static str>,
    /// How far it is.
    pub state: HealthState,
    /// What it waits for, or why it is well, for people.
    pub reason: String,
}

/// How far a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HealthState {
    /// It knows no active controller, or has no metadata yet.
    Joining,
    /// The controller does not know this broker yet, or not any more.
    Unregistered,
    /// Registered, and not in service.
    Fenced,
    /// In service, but not every one of its replicas has been in sync since.
    CatchingUp,
    /// In service and caught up.
    Ready,
    /// On its way out.
    Stopping,
}

impl HealthState {
    /// The name that tools see.
    pub fn name(self) -> &'static str {
        match self {
            HealthState::Joining => "joining",
            HealthState::Unregistered => "unregistered",
            HealthState::Fenced => "fenced",
            HealthState::CatchingUp => "catching_up",
            HealthState::Ready => "ready",
            HealthState::Stopping => "stopping",
        }
    }
}

/// Tells how this node stands, as often as it is asked.
#[derive(Clone)]
pub struct HealthProbe {
    pub(super) node_id: NodeId,
    pub(super) is_controller: bool,
    pub(super) controller: Arc<Controller>,
    pub(super) broker: Option<BrokerProbe>,
}

/// What a node has to tell that is a broker.
#[derive(Clone)]
pub(super) struct BrokerProbe {
    pub lifecycle: Arc<BrokerLifecycle>,
    pub caught_up: watch::Receiver<bool>,
}

impl HealthProbe {
    /// How the node stands now.
    pub fn health(&self) -> Health {
        let mut roles = Vec::new();
        roles.extend(self.broker.is_some().then_some("broker"));
        roles.extend(self.is_controller.then_some("controller"));
        let (state, reason) = match &self.broker {
            Some(broker) => broker_state(
                *broker.lifecycle.state().borrow(),
                broker.lifecycle.is_live(),
                *broker.caught_up.borrow(),
            ),
            None => {
                let has_applied = self.controller.metadata().image().offset() >= Offset(0);
                controller_state(self.controller.active_controller(), has_applied)
            }
        };
        Health { node_id: self.node_id, roles, state, reason }
    }
}

fn broker_state(state: BrokerState, is_live: bool, caught_up: bool) -> (HealthState, String) {
    let (state, reason) = match state {
        BrokerState::Unregistered => {
            (HealthState::Unregistered, "not registered with the active controller")
        }
        BrokerState::Fenced(_) => (HealthState::Fenced, "registered, not in service yet"),
        BrokerState::Running(_) if !is_live => {
            (HealthState::Fenced, "the active controller has not answered for a whole session")
        }
        BrokerState::Running(_) if !caught_up => {
            (HealthState::CatchingUp, "in service, replicas not all in sync yet")
        }
        BrokerState::Running(_) => (HealthState::Ready, "in service and caught up"),
        BrokerState::Stopping(_) => (HealthState::Stopping, "its leaders move away"),
        BrokerState::Stopped => (HealthState::Stopping, "about to exit"),
    };
    (state, reason.to_owned())
}

fn controller_state(active: Option<NodeId>, has_applied: bool) -> (HealthState, String) {
    match active {
        None => (HealthState::Joining, "no active controller is known".to_owned()),
        Some(_) if !has_applied => (HealthState::Joining, "no metadata applied yet".to_owned()),
        Some(active) => (HealthState::Ready, format!("the active controller is node {active}")),
    }
}

/// Tells by `caught_up` whether all of this broker's replicas have been in sync since it last came
/// into service. A later lag of one partition does not take that back: it is no reason to send
/// clients away from all others. Ends with the node.
pub(super) async fn watch_catching_up(
    node_id: NodeId,
    mut state: watch::Receiver<BrokerState>,
    metadata: Arc<dyn MetadataSource>,
    caught_up: watch::Sender<bool>,
) {
    let mut versions = metadata.subscribe();
    loop {
        versions.borrow_and_update();
        let is_running = matches!(*state.borrow_and_update(), BrokerState::Running(_));
        let done = is_running && (*caught_up.borrow() || is_in_sync(&metadata.image(), node_id));
        caught_up.send_if_modified(|before| std::mem::replace(before, done) != done);
        // Once caught up only the broker's own state matters: no image is looked through.
        let changed = tokio::select! {
            biased;
            changed = state.changed() => changed,
            changed = versions.changed(), if is_running && !done => changed,
        };
        if changed.is_err() {
            return;
        }
    }
}

/// Whether `node` is in service and in the ISR of each of its partitions that has a leader to
/// catch up with.
fn is_in_sync(image: &Image, node: NodeId) -> bool {
    image.broker(node).is_some_and(|broker| !broker.fenced)
        && image.partitions().all(|(_, _, partition)| {
            partition.leader.is_none()
                || !partition.is_replica(node)
                || partition.isr.contains(&node)
        })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::types::BrokerEpoch;

    #[test]
    fn a_broker_is_ready_only_in_service_live_and_caught_up() {
        let epoch = BrokerEpoch(1);
        for (state, is_live, caught_up, expected) in [
            (BrokerState::Unregistered, true, true, HealthState::Unregistered),
            (BrokerState::Fenced(epoch), true, true, HealthState::Fenced),
            (BrokerState::Running(epoch), false, true, HealthState::Fenced),
            (BrokerState::Running(epoch), true, false, HealthState::CatchingUp),
            (BrokerState::Running(epoch), true, true, HealthState::Ready),
            (BrokerState::Stopping(epoch), true, true, HealthState::Stopping),
            (BrokerState::Stopped, true, true, HealthState::Stopping),
        ] {
            assert_eq!(broker_state(state, is_live, caught_up).0, expected, "{state:?}");
        }
    }

    #[test]
    fn a_controller_is_ready_with_an_active_controller_and_metadata() {
        for (active, has_applied, expected) in [
            (None, true, HealthState::Joining),
            (Some(NodeId(1)), false, HealthState::Joining),
            (Some(NodeId(1)), true, HealthState::Ready),
        ] {
            assert_eq!(controller_state(active, has_applied).0, expected);
        }
    }
}
