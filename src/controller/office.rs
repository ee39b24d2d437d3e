//! Whether this node is the active controller, and what only the active controller knows: the
//! brokers' sessions. Heartbeats come here and never wait for a commit.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use crate::controller::decision::Pending;
use crate::controller::liveness::{Heard, LivenessOptions, LivenessTable};
use crate::controller::machine::Command;
use crate::controller::peer::message::{HeartbeatAnswer, HeartbeatRequest};
use crate::controller::raft::lease::Lease;
use crate::controller::raft::types::{Metrics, Raft};
use crate::metadata::{BrokerRegistration, Image, MetadataSource};
use crate::types::{BrokerEpoch, Clock, ErrorCode, NodeId};

/// How long a new leader tries to make certain of its leadership at a time. openraft itself would
/// wait for ever.
const CERTAINTY_PATIENCE: Duration = Duration::from_secs(1);

/// The active controller's office; empty on every other node.
pub struct Office {
    clock: Arc<dyn Clock>,
    lease: Arc<Lease>,
    metadata: Arc<dyn MetadataSource>,
    commands: mpsc::Sender<Pending>,
    options: LivenessOptions,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The term that openraft says this node leads.
    leads: Option<u64>,
    /// The term for which a majority has confirmed it.
    certain: Option<u64>,
    /// The sessions, and the term in which they were begun.
    sessions: Option<(u64, LivenessTable)>,
    /// What has been asked of the loop and not been answered yet.
    asked: BTreeSet<(NodeId, Asked)>,
}

/// What the office asks of the decision loop on a broker's behalf.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Asked {
    Fence,
    Unfence,
    Shutdown,
    Tick,
}

impl Office {
    /// An empty office.
    pub fn new(
        clock: Arc<dyn Clock>,
        lease: Arc<Lease>,
        metadata: Arc<dyn MetadataSource>,
        commands: mpsc::Sender<Pending>,
        options: LivenessOptions,
    ) -> Office {
        Office { clock, lease, metadata, commands, options, state: Mutex::default() }
    }

    /// Takes in what openraft says of itself. True if this node has just become a leader, which
    /// has yet to be made certain.
    pub fn observe(&self, metrics: &Metrics) -> bool {
        self.lease.observe(metrics);
        let leads = (metrics.state == ServerState::Leader).then_some(metrics.current_term);
        let mut state = self.state.lock();
        let new = leads.is_some() && leads != state.leads;
        state.leads = leads;
        if leads.is_none() {
            state.sessions = None;
            state.certain = None;
        }
        new
    }

    /// The term in which this node is the active controller now. A leader that has not heard from
    /// a majority for a lease is none: others may have elected another.
    pub fn active_term(&self) -> Option<u64> {
        let state = self.state.lock();
        state.leads.filter(|term| state.certain == Some(*term) && self.lease.is_held())
    }

    /// The term that this node leads for certain, having asked a majority if it had to.
    pub async fn make_certain(&self, raft: &Raft) -> Option<u64> {
        let term = self.state.lock().leads?;
        if let Some(active) = self.active_term() {
            return Some(active);
        }
        let asking = tokio::time::timeout(CERTAINTY_PATIENCE, raft.ensure_linearizable());
        match asking.await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => {
                tracing::debug!("this node does not lead: {error}");
                return None;
            }
            Err(_) => {
                tracing::warn!("no majority confirms this node's leadership");
                return None;
            }
        }
        let now = self.clock.monotonic();
        let mut state = self.state.lock();
        if state.leads != Some(term) {
            return None;
        }
        state.certain = Some(term);
        if state.sessions.as_ref().is_none_or(|(begun_in, _)| *begun_in != term) {
            let image = self.metadata.image();
            let unfenced = image.brokers.values().filter(|broker| !broker.fenced);
            let unfenced = unfenced.map(|broker| (broker.node_id, broker.broker_epoch));
            state.sessions = Some((term, LivenessTable::take_office(self.options, now, unfenced)));
            tracing::info!(term, "this node is the active controller");
        }
        Some(term)
    }

    /// Something went wrong that only a majority can clear up.
    pub fn doubt(&self) {
        self.state.lock().certain = None;
    }

    /// The brokers whose sessions have not ended.
    pub fn live_brokers(&self) -> BTreeMap<NodeId, BrokerEpoch> {
        let state = self.state.lock();
        let Some((_, table)) = &state.sessions else { return BTreeMap::new() };
        table.alive().map(|(node_id, heard)| (node_id, heard.broker_epoch)).collect()
    }

    /// A broker's sign of life.
    pub fn heartbeat(
        self: &Arc<Self>,
        request: &HeartbeatRequest,
    ) -> Result<HeartbeatAnswer, ErrorCode> {
        self.active_term().ok_or(ErrorCode::NotController)?;
        let image = self.metadata.image();
        let broker = image
            .broker(request.node_id)
            .filter(|broker| broker.broker_epoch == request.broker_epoch)
            .ok_or(ErrorCode::StaleBrokerEpoch)?;
        let heard = Heard {
            broker_epoch: request.broker_epoch,
            applied: request.applied,
            wants_fenced: !request.ready,
            wants_shutdown: request.wants_shutdown,
        };
        {
            let mut state = self.state.lock();
            let (_, table) = state.sessions.as_mut().ok_or(ErrorCode::NotController)?;
            table.heartbeat(self.clock.monotonic(), request.node_id, heard);
        }
        self.act_on(request, broker);
        let leads = || image.partitions().any(|(.., p)| p.leader == Some(request.node_id));
        Ok(HeartbeatAnswer {
            caught_up: request.applied >= image.offset(),
            fenced: broker.fenced,
            should_shut_down: request.wants_shutdown
                && (broker.fenced || (broker.in_controlled_shutdown && !leads())),
        })
    }

    fn act_on(self: &Arc<Self>, request: &HeartbeatRequest, broker: &BrokerRegistration) {
        let (node_id, broker_epoch) = (request.node_id, request.broker_epoch);
        if request.wants_shutdown {
            if !broker.fenced && !broker.in_controlled_shutdown {
                let command = Command::BeginControlledShutdown { node_id, broker_epoch };
                self.ask(node_id, Asked::Shutdown, command);
            }
        } else if request.ready && broker.fenced {
            self.ask(node_id, Asked::Unfence, Command::UnfenceBroker { node_id, broker_epoch });
        }
    }

    /// Moves the sessions on and has the brokers fenced that are dead or silent.
    pub fn tick(self: &Arc<Self>) {
        if self.active_term().is_none() {
            return;
        }
        let image = self.metadata.image();
        let silent: Vec<_> = {
            let mut state = self.state.lock();
            let Some((_, table)) = &mut state.sessions else { return };
            table.tick(self.clock.monotonic());
            table.ended().collect()
        };
        for (node_id, broker_epoch, cause) in silent {
            if is_unfenced(&image, node_id, broker_epoch) {
                let command = Command::FenceBroker { node_id, broker_epoch, cause };
                self.ask(node_id, Asked::Fence, command);
            }
        }
    }

    /// Has the loop look what is due.
    pub fn look_what_is_due(self: &Arc<Self>) {
        self.ask(NodeId::NONE, Asked::Tick, Command::Tick);
    }

    /// The broker's process is known to be dead.
    pub fn found_dead(self: &Arc<Self>, node_id: NodeId, broker_epoch: BrokerEpoch) {
        {
            let mut state = self.state.lock();
            let Some((_, table)) = &mut state.sessions else { return };
            table.found_dead(node_id, broker_epoch);
        }
        self.tick();
    }

    /// Puts a command of the office's own into the loop's queue, unless the same is under way. If
    /// it comes to nothing, the next heartbeat or tick asks again.
    fn ask(self: &Arc<Self>, node_id: NodeId, asked: Asked, command: Command) {
        if !self.state.lock().asked.insert((node_id, asked)) {
            return;
        }
        let (answer, answered) = oneshot::channel();
        if self.commands.try_send(Pending { command, answer }).is_err() {
            self.state.lock().asked.remove(&(node_id, asked));
            return;
        }
        let office = Arc::clone(self);
        // Short-lived, and ends by itself: the loop answers or drops every command.
        tokio::spawn(async move {
            let _ = answered.await;
            office.state.lock().asked.remove(&(node_id, asked));
        });
    }
}

fn is_unfenced(image: &Image, node_id: NodeId, broker_epoch: BrokerEpoch) -> bool {
    image
        .broker(node_id)
        .is_some_and(|broker| broker.broker_epoch == broker_epoch && !broker.fenced)
}
