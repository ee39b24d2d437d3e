//! What this node answers its peers.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::controller::handle::Controller;
use crate::controller::peer::frame::{Greeting, Hello};
use crate::controller::peer::message::{FormAnswer, FormQuery, PeerRequest, PeerResponse};
use crate::controller::peer::{Kind, PeerService};
use crate::controller::raft::types::MemberNode;
use crate::metadata::BrokerRegistration;
use crate::net::transport::{HostPort, Network};
use crate::types::{DirectoryId, ErrorCode, NodeId};

/// How long dialling a broker may take that is suspected to be dead.
const DIAL_PATIENCE: Duration = Duration::from_secs(1);

/// When it is dialled: a dying process may close its connections before its listeners.
const DIAL_PAUSES_MS: [u64; 4] = [0, 20, 100, 300];

/// Between the turns of two voters that elect in place of a dead leader: long enough for a vote
/// to be synced and heard.
const ELECTION_TURN: Duration = Duration::from_millis(60);

/// One peer connection's service.
pub struct ControllerService {
    controller: Arc<Controller>,
}

impl ControllerService {
    /// Answers for `controller`.
    pub fn new(controller: Arc<Controller>) -> ControllerService {
        ControllerService { controller }
    }
}

impl PeerService for ControllerService {
    fn greet(&self, hello: &Hello) -> Greeting {
        let controller = &self.controller;
        let directory_id = controller.directory_id();
        if let Some(expected) = hello.expected_directory
            && expected != directory_id
        {
            return Greeting::Refused {
                reason: format!("this is metadata directory {directory_id}, not {expected}"),
            };
        }
        if controller.has_given_up(hello.directory_id) {
            return Greeting::Refused {
                reason: format!(
                    "metadata directory {} was given up by ottla metadata-quorum \
                     --unsafe-recover: start node {} with an empty one",
                    hello.directory_id, hello.node_id
                ),
            };
        }
        if let (Some(ours), Some(theirs)) = (controller.directory.cluster_id(), &hello.cluster_id)
            && ours != *theirs
        {
            return Greeting::Refused {
                reason: format!("this node belongs to cluster {ours}, not to {theirs}"),
            };
        }
        Greeting::Welcome { node_id: controller.itself.node_id, directory_id }
    }

    fn handle(&self, _: Arc<Hello>, request: PeerRequest) -> BoxFuture<'static, PeerResponse> {
        let controller = Arc::clone(&self.controller);
        Box::pin(async move { controller.answer(request).await })
    }

    fn closed(&self, peer: &Hello) {
        if peer.kind == Kind::Requests && self.controller.is_active() {
            self.controller.suspect(peer.node_id);
        }
        if peer.kind == Kind::Raft {
            self.controller.suspect_leader(peer.directory_id);
        }
    }
}

impl Controller {
    /// Whether that directory's vote was taken from it when a majority was lost. It may hold a
    /// history of its own.
    fn has_given_up(&self, directory_id: DirectoryId) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let node = metrics.membership_config.membership().get_node(&directory_id);
        node.is_some_and(MemberNode::is_given_up)
    }

    /// Answers one request, whoever asks.
    pub(super) async fn answer(&self, request: PeerRequest) -> PeerResponse {
        let raft = &self.raft;
        match request {
            PeerRequest::Ping => PeerResponse::Pong,
            PeerRequest::AppendEntries(rpc) => {
                PeerResponse::AppendEntries(raft.append_entries(rpc).await)
            }
            PeerRequest::Vote(rpc) => PeerResponse::Vote(raft.vote(rpc).await),
            PeerRequest::InstallSnapshot(rpc) => {
                PeerResponse::InstallSnapshot(raft.install_snapshot(rpc).await)
            }
            PeerRequest::Form(query) => PeerResponse::Form(self.form(&query).await),
            PeerRequest::Bind { cluster_id } => {
                let bound = self.bind(&cluster_id).await;
                PeerResponse::Bind(bound.map_err(|error| error.to_string()))
            }
            PeerRequest::Join(request) => {
                PeerResponse::Join(self.membership.join(raft, &request).await)
            }
            PeerRequest::Submit(submission) => {
                let patience = Duration::from_millis(submission.remaining_ms);
                PeerResponse::Submit(self.submit_here(submission.command, patience).await)
            }
            PeerRequest::Heartbeat(request) => {
                PeerResponse::Heartbeat(self.office.heartbeat(&request))
            }
            PeerRequest::DescribeQuorum => PeerResponse::DescribeQuorum(
                self.is_active().then(|| self.quorum()).ok_or(ErrorCode::NotController),
            ),
        }
    }

    /// Whether a cluster can be formed with this node. Not if it belongs to a group already, or
    /// cannot say.
    async fn form(&self, query: &FormQuery) -> FormAnswer {
        if self.raft.is_initialized().await.unwrap_or(true) {
            FormAnswer::Formed
        } else if query.voters != self.voters {
            FormAnswer::OtherVoters { voters: self.voters.clone() }
        } else {
            let cluster_id = self.directory.cluster_id();
            FormAnswer::Free { directory_id: self.directory_id(), cluster_id }
        }
    }

    /// A broker's connection has ended: if its host refuses another, its process is dead.
    pub(super) fn suspect(&self, node_id: NodeId) {
        let image = self.metadata.image();
        let Some(broker) = image.broker(node_id).filter(|broker| !broker.fenced).cloned() else {
            return;
        };
        if node_id == self.itself.node_id {
            return;
        }
        let (network, office) = (Arc::clone(&self.network), Arc::clone(&self.office));
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            for pause in DIAL_PAUSES_MS {
                tokio::time::sleep(Duration::from_millis(pause)).await;
                if is_refused(&*network, &broker).await {
                    tracing::warn!(node = %node_id, "the broker's process is dead");
                    office.found_dead(node_id, broker.broker_epoch);
                    return;
                }
            }
        });
    }

    /// The connection of what may be the leader has ended: if its host refuses another, there is
    /// no need to wait for a random election timeout beyond the leader's lease. The voters take
    /// turns, so that they do not split the vote.
    fn suspect_leader(&self, directory_id: DirectoryId) {
        let metrics = self.raft.metrics().borrow().clone();
        let membership = metrics.membership_config.membership();
        let mut survivors = membership.voter_ids().filter(|voter| *voter != directory_id);
        let turn = survivors.position(|voter| voter == metrics.id);
        let (Some(turn), Some(node)) = (turn, membership.get_node(&directory_id)) else { return };
        if metrics.current_leader != Some(directory_id) || *self.stopping.borrow() {
            return;
        }
        let (network, raft) = (Arc::clone(&self.network), self.raft.clone());
        let address = HostPort::new(node.host.clone(), node.port);
        let lease = Duration::from_millis(raft.config().election_timeout_max);
        let wait = lease + ELECTION_TURN * u32::try_from(turn).unwrap_or(u32::MAX);
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            tokio::time::sleep(wait).await;
            let now = raft.metrics().borrow().clone();
            let unchanged = now.current_term == metrics.current_term;
            if !unchanged || !refuses(&*network, &address).await {
                return;
            }
            tracing::info!(leader = %directory_id, "the leader's process is dead: electing");
            if let Err(error) = raft.trigger().elect().await {
                tracing::debug!("no election: {error}");
            }
        });
    }

    /// A new controller dials every broker that is in service.
    pub(super) fn suspect_all(&self) {
        let image = self.metadata.image();
        for node_id in image.brokers.keys() {
            self.suspect(*node_id);
        }
    }
}

/// Whether nobody listens there although the host answers.
async fn refuses(network: &dyn Network, address: &HostPort) -> bool {
    let dialled = tokio::time::timeout(DIAL_PATIENCE, network.connect(address)).await;
    matches!(dialled, Ok(Err(error)) if error.kind() == io::ErrorKind::ConnectionRefused)
}

/// Whether one of the broker's listeners refuses and none accepts. Silence says nothing.
async fn is_refused(network: &dyn Network, broker: &BrokerRegistration) -> bool {
    let mut refused = false;
    for endpoint in &broker.endpoints {
        let address = HostPort::new(endpoint.host.clone(), endpoint.port);
        match tokio::time::timeout(DIAL_PATIENCE, network.connect(&address)).await {
            Ok(Ok(_)) => return false,
            Ok(Err(error)) => refused |= error.kind() == io::ErrorKind::ConnectionRefused,
            Err(_) => {}
        }
    }
    refused
}
