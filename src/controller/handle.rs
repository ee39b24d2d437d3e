//! The controller as the rest of the broker holds it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use crate::controller::admission::{self, AdmissionError};
use crate::controller::decision::Pending;
use crate::controller::machine::{Command, Reply};
use crate::controller::membership::Membership;
use crate::controller::office::Office;
use crate::controller::peer::message::{
    HeartbeatAnswer, HeartbeatRequest, Origin, PeerRequest, PeerResponse, Submission,
};
use crate::controller::peer::{Kind, PeerClient, PeerClientOptions, serve_peer};
use crate::controller::quorum_info::{self, QuorumInfo};
use crate::controller::raft::network::Contacts;
use crate::controller::raft::types::{MemberNode, Metrics, Raft};
use crate::controller::service::ControllerService;
use crate::log::LogDirectory;
use crate::metadata::MetadataSource;
use crate::net::transport::{BoxStream, HostPort, Network};
use crate::storage::Offload;
use crate::types::{Clock, DirectoryId, ErrorCode, Monotonic, NodeId, watch};

/// Between two attempts to reach the active controller.
const RETRY_PAUSE: Duration = Duration::from_millis(25);

/// How long one attempt may take; the loop answers sooner, unless its node is in trouble.
const ATTEMPT_PATIENCE: Duration = Duration::from_secs(5);

/// On whose behalf a command is submitted, and until when somebody waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestContext {
    /// On whose behalf.
    pub principal: String,
    /// The client's name for itself.
    pub client_id: Option<String>,
    /// The client's address.
    pub client_address: String,
    /// The listener on which the request came in.
    pub listener: String,
    /// When to give up.
    pub deadline: Monotonic,
}

impl RequestContext {
    /// The broker asks for itself.
    pub fn internal(deadline: Monotonic) -> RequestContext {
        RequestContext {
            principal: "User:ANONYMOUS".to_owned(),
            client_id: None,
            client_address: String::new(),
            listener: String::new(),
            deadline,
        }
    }
}

/// A node's part in the quorum: raft, decisions, liveness, and the way to the active controller.
pub struct Controller {
    pub(super) itself: MemberNode,
    pub(super) voters: Vec<MemberNode>,
    pub(super) directory: Arc<LogDirectory>,
    pub(super) raft: Raft,
    pub(super) office: Arc<Office>,
    pub(super) membership: Membership,
    pub(super) metadata: Arc<dyn MetadataSource>,
    pub(super) contacts: Arc<Contacts>,
    pub(super) commands: mpsc::Sender<Pending>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) network: Arc<dyn Network>,
    pub(super) offload: Arc<dyn Offload>,
    pub(super) peers: Arc<PeerClientOptions>,
    /// The way to the node that was last taken for the active controller.
    pub(super) route: Mutex<Option<(HostPort, Arc<PeerClient>)>>,
    pub(super) failed: watch::Sender<Option<String>>,
    pub(super) stopping: watch::Sender<bool>,
    pub(super) tasks: Mutex<JoinSet<()>>,
}

/// Where a command goes.
enum Route {
    Here,
    There(Arc<PeerClient>),
}

impl Controller {
    /// The committed metadata.
    pub fn metadata(&self) -> Arc<dyn MetadataSource> {
        Arc::clone(&self.metadata)
    }

    /// This node's name in the raft group.
    pub fn directory_id(&self) -> DirectoryId {
        self.directory.directory_id()
    }

    /// Why this node must stop, once it must: its raft node has stopped, or the cluster will never
    /// take it in. The process has to exit then.
    pub fn failure(&self) -> watch::Receiver<Option<String>> {
        self.failed.subscribe()
    }

    /// Whether this node is the active controller at this moment.
    pub fn is_active(&self) -> bool {
        self.active_term().is_some()
    }

    /// The term in which this node is the active controller at this moment.
    pub fn active_term(&self) -> Option<u64> {
        self.office.active_term()
    }

    /// The active controller as far as this node knows; it may be gone already.
    pub fn active_controller(&self) -> Option<NodeId> {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        let leader = self.leader_node(&metrics)?;
        (leader.node_id != self.itself.node_id || self.is_active()).then_some(leader.node_id)
    }

    /// The quorum as this node sees it. Only the leader knows how far the others are; ask it by
    /// [`Controller::describe_quorum`].
    pub fn quorum(&self) -> QuorumInfo {
        quorum_info::describe(&self.raft.metrics().borrow(), &self.contacts, &*self.clock)
    }

    /// The quorum as its leader sees it.
    pub async fn describe_quorum(&self, deadline: Monotonic) -> Result<QuorumInfo, ErrorCode> {
        match self.ask_active(deadline, |_| PeerRequest::DescribeQuorum).await? {
            PeerResponse::DescribeQuorum(result) => result,
            _ => Err(ErrorCode::UnknownServerError),
        }
    }

    /// Has the active controller, wherever it is, carry out a command. NOT_CONTROLLER and broken
    /// connections are tried again until the deadline; so a command may be carried out twice, and
    /// every command says by its reply what the second time finds.
    pub async fn submit(
        &self,
        command: Command,
        context: RequestContext,
    ) -> Result<Reply, ErrorCode> {
        let origin = Origin {
            principal: context.principal,
            client_id: context.client_id,
            client_address: context.client_address,
            listener: context.listener,
        };
        let request = |remaining: Duration| {
            PeerRequest::Submit(Submission {
                command: command.clone(),
                origin: origin.clone(),
                remaining_ms: u64::try_from(remaining.as_millis()).unwrap_or(u64::MAX),
            })
        };
        match self.ask_active(context.deadline, request).await? {
            PeerResponse::Submit(result) => result,
            _ => Err(ErrorCode::UnknownServerError),
        }
    }

    /// A broker's sign of life to the active controller, tried once.
    pub async fn heartbeat(
        &self,
        request: HeartbeatRequest,
        patience: Duration,
    ) -> Result<HeartbeatAnswer, ErrorCode> {
        match self.route(0).ok_or(ErrorCode::NotController)? {
            Route::Here => self.office.heartbeat(&request),
            Route::There(client) => {
                match client.call(&PeerRequest::Heartbeat(request), patience).await {
                    Ok(PeerResponse::Heartbeat(result)) => result,
                    Ok(_) | Err(_) => Err(ErrorCode::NotController),
                }
            }
        }
    }

    /// Serves a connection whose first bytes are the peer magic; the stream still has them.
    pub async fn accept_peer(self: &Arc<Self>, stream: BoxStream) {
        let mut stopping = self.stopping.subscribe();
        let stop = async move {
            // The sender goes only with the controller itself.
            let _ = stopping.wait_for(|stopping| *stopping).await;
        };
        let service = Arc::new(ControllerService::new(Arc::clone(self)));
        if let Err(error) = serve_peer(stream, service, stop).await {
            tracing::debug!("a peer connection ended: {error}");
        }
    }

    /// Leaves the quorum: stops raft and every task.
    pub async fn shutdown(&self) {
        self.stopping.send_replace(true);
        if let Err(error) = self.raft.shutdown().await {
            tracing::warn!("the raft node did not stop in order: {error}");
        }
        let mut tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.shutdown().await;
    }

    /// Binds this node to a cluster, durably and once.
    pub(super) async fn bind(&self, cluster_id: &str) -> Result<(), AdmissionError> {
        admission::bind(&self.directory, &*self.offload, &self.peers, cluster_id).await
    }

    /// Puts a command into this node's own loop.
    pub(super) async fn submit_here(
        &self,
        command: Command,
        patience: Duration,
    ) -> Result<Reply, ErrorCode> {
        let (answer, answered) = oneshot::channel();
        let asking = async {
            self.commands.send(Pending { command, answer }).await.ok()?;
            answered.await.ok()
        };
        match tokio::time::timeout(patience, asking).await {
            Ok(answer) => answer.unwrap_or(Err(ErrorCode::NotController)),
            Err(_) => Err(ErrorCode::RequestTimedOut),
        }
    }

    /// Asks whoever may be the active controller, until one answers anything but NOT_CONTROLLER
    /// or time is up.
    async fn ask_active(
        &self,
        deadline: Monotonic,
        request: impl Fn(Duration) -> PeerRequest + Send + Sync,
    ) -> Result<PeerResponse, ErrorCode> {
        for tried in 0_usize.. {
            let remaining = deadline.since(self.clock.monotonic());
            if remaining.is_zero() {
                break;
            }
            let patience = remaining.min(ATTEMPT_PATIENCE);
            let answer = match self.route(tried) {
                None => None,
                Some(Route::Here) => Some(self.answer(request(patience)).await),
                Some(Route::There(client)) => client.call(&request(patience), patience).await.ok(),
            };
            match answer {
                Some(answer) if !is_not_controller(&answer) => return Ok(answer),
                Some(_) | None => tokio::time::sleep(RETRY_PAUSE.min(remaining)).await,
            }
        }
        Err(ErrorCode::RequestTimedOut)
    }

    /// The leader that raft speaks of; every other time, in case it is wrong, the voters in turn.
    fn route(&self, tried: usize) -> Option<Route> {
        let metrics = self.raft.metrics();
        let leader = self.leader_node(&metrics.borrow());
        let guess =
            (tried % 2 == 1).then(|| self.voters.get((tried / 2) % self.voters.len().max(1)));
        let node = guess.flatten().cloned().or(leader)?;
        if node.node_id == self.itself.node_id {
            return Some(Route::Here);
        }
        let address = HostPort::new(node.host, node.port);
        let mut route = self.route.lock();
        match route.as_ref() {
            Some((known, client)) if *known == address => Some(Route::There(Arc::clone(client))),
            _ => {
                let peers = Arc::clone(&self.peers);
                let client =
                    Arc::new(PeerClient::new(peers, address.clone(), None, Kind::Requests));
                *route = Some((address, Arc::clone(&client)));
                Some(Route::There(client))
            }
        }
    }

    fn leader_node(&self, metrics: &Metrics) -> Option<MemberNode> {
        let membership = metrics.membership_config.membership();
        metrics.current_leader.and_then(|leader| membership.get_node(&leader)).cloned()
    }
}

fn is_not_controller(answer: &PeerResponse) -> bool {
    matches!(
        answer,
        PeerResponse::Submit(Err(ErrorCode::NotController))
            | PeerResponse::DescribeQuorum(Err(ErrorCode::NotController))
    )
}
