//! openraft's way to the other members, over the RPC between nodes.
//!
//! openraft 0.9 never steps down when it is cut off, and heartbeats that still get out although no
//! answer comes back would renew leases that block the others' election. So a leader that has not
//! heard from a majority for a whole lease sends nothing to a member but a probe, until it is
//! answered.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::error::{
    InstallSnapshotError, NetworkError, RPCError, RaftError, RemoteError, Unreachable,
};
use openraft::network::{Backoff, RPCOption};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use openraft::{RaftNetwork, RaftNetworkFactory};
use parking_lot::Mutex;

use crate::controller::peer::message::{PeerRequest, PeerResponse};
use crate::controller::peer::{Kind, PeerClient, PeerClientOptions, PeerError};
use crate::controller::raft::lease::Lease;
use crate::controller::raft::types::{MemberNode, TypeConfig};
use crate::net::transport::HostPort;
use crate::types::{Clock, DirectoryId, Monotonic};

/// How long to leave a member alone that could not be reached. Short, so that one that comes back
/// is found again within an election timeout.
const BACKOFF: Duration = Duration::from_millis(50);

type RpcResult<T, E = RaftError<DirectoryId>> = Result<T, RPCError<DirectoryId, MemberNode, E>>;

/// When each member last answered an RPC of ours.
#[derive(Debug)]
pub struct Contacts {
    clock: Arc<dyn Clock>,
    last: Mutex<BTreeMap<DirectoryId, Monotonic>>,
    /// Those whose last RPC failed.
    silent: Mutex<BTreeSet<DirectoryId>>,
}

impl Contacts {
    /// Nobody has answered yet.
    pub fn new(clock: Arc<dyn Clock>) -> Contacts {
        Contacts { clock, last: Mutex::default(), silent: Mutex::default() }
    }

    /// When that member last answered.
    pub fn last(&self, member: DirectoryId) -> Option<Monotonic> {
        self.last.lock().get(&member).copied()
    }

    /// Notes an answer; true if it ends a silence.
    fn answered(&self, member: DirectoryId) -> bool {
        self.last.lock().insert(member, self.clock.monotonic());
        self.silent.lock().remove(&member)
    }

    /// Notes an RPC that failed; true if a silence begins with it.
    fn failed(&self, member: DirectoryId) -> bool {
        self.silent.lock().insert(member)
    }
}

/// Makes a [`MemberNetwork`] for every member.
#[derive(Debug, Clone)]
pub struct PeerNetwork {
    options: Arc<PeerClientOptions>,
    contacts: Arc<Contacts>,
    lease: Arc<Lease>,
}

impl PeerNetwork {
    /// `lease` says when this node, as a leader, is cut off.
    pub fn new(
        options: Arc<PeerClientOptions>,
        contacts: Arc<Contacts>,
        lease: Arc<Lease>,
    ) -> PeerNetwork {
        PeerNetwork { options, contacts, lease }
    }
}

impl RaftNetworkFactory<TypeConfig> for PeerNetwork {
    type Network = MemberNetwork;

    async fn new_client(&mut self, target: DirectoryId, node: &MemberNode) -> MemberNetwork {
        let client = |kind| {
            let address = HostPort { host: node.host.clone(), port: node.port };
            PeerClient::new(Arc::clone(&self.options), address, Some(target), kind)
        };
        MemberNetwork {
            target,
            given_up: node.is_given_up(),
            raft: client(Kind::Raft),
            snapshot: client(Kind::Snapshot),
            contacts: Arc::clone(&self.contacts),
            lease: Arc::clone(&self.lease),
        }
    }
}

/// The way to one member.
#[derive(Debug)]
pub struct MemberNetwork {
    target: DirectoryId,
    given_up: bool,
    raft: PeerClient,
    snapshot: PeerClient,
    contacts: Arc<Contacts>,
    lease: Arc<Lease>,
}

impl MemberNetwork {
    async fn call<E: std::error::Error>(
        &self,
        client: &PeerClient,
        request: &PeerRequest,
        option: &RPCOption,
    ) -> RpcResult<PeerResponse, E> {
        if self.given_up {
            let error = std::io::Error::other("its directory was given up");
            return Err(RPCError::Unreachable(Unreachable::new(&error)));
        }
        let result = client.call(request, option.hard_ttl()).await;
        // One line each way: a dead member is tried many times a second.
        match &result {
            Ok(_) if self.contacts.answered(self.target) => {
                tracing::info!(member = %client.target(), "a member of the quorum answers again");
            }
            Err(error) if self.contacts.failed(self.target) => {
                tracing::warn!("a member of the quorum does not answer: {error}");
            }
            Ok(_) | Err(_) => {}
        }
        result.map_err(rpc_error)
    }

    /// A leader that is cut off first makes sure that this member hears and is heard.
    async fn probe_if_cut_off<E: std::error::Error>(&self, option: &RPCOption) -> RpcResult<(), E> {
        if self.lease.is_held() {
            return Ok(());
        }
        self.call(&self.raft, &PeerRequest::Ping, option).await.map(|_| ())
    }

    fn out_of_turn<E: std::error::Error>(&self) -> RPCError<DirectoryId, MemberNode, E> {
        rpc_error(PeerError::Unexpected {
            target: self.raft.target().to_string(),
            what: "an answer to another question".to_owned(),
        })
    }

    fn remote<E: std::error::Error>(&self, error: E) -> RPCError<DirectoryId, MemberNode, E> {
        RPCError::RemoteError(RemoteError::new(self.target, error))
    }
}

fn rpc_error<E: std::error::Error>(error: PeerError) -> RPCError<DirectoryId, MemberNode, E> {
    match error {
        PeerError::Unreachable { .. } | PeerError::Refused { .. } => {
            RPCError::Unreachable(Unreachable::new(&error))
        }
        PeerError::Closed { .. } | PeerError::TimedOut { .. } | PeerError::Unexpected { .. } => {
            RPCError::Network(NetworkError::new(&error))
        }
    }
}

impl RaftNetwork<TypeConfig> for MemberNetwork {
    async fn append_entries(
        &mut self,
        rpc: AppendEntriesRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<AppendEntriesResponse<DirectoryId>> {
        self.probe_if_cut_off(&option).await?;
        match self.call(&self.raft, &PeerRequest::AppendEntries(rpc), &option).await? {
            PeerResponse::AppendEntries(result) => result.map_err(|error| self.remote(error)),
            _ => Err(self.out_of_turn()),
        }
    }

    async fn install_snapshot(
        &mut self,
        rpc: InstallSnapshotRequest<TypeConfig>,
        option: RPCOption,
    ) -> RpcResult<InstallSnapshotResponse<DirectoryId>, RaftError<DirectoryId, InstallSnapshotError>>
    {
        self.probe_if_cut_off(&option).await?;
        match self.call(&self.snapshot, &PeerRequest::InstallSnapshot(rpc), &option).await? {
            PeerResponse::InstallSnapshot(result) => result.map_err(|error| self.remote(error)),
            _ => Err(self.out_of_turn()),
        }
    }

    async fn vote(
        &mut self,
        rpc: VoteRequest<DirectoryId>,
        option: RPCOption,
    ) -> RpcResult<VoteResponse<DirectoryId>> {
        match self.call(&self.raft, &PeerRequest::Vote(rpc), &option).await? {
            PeerResponse::Vote(result) => result.map_err(|error| self.remote(error)),
            _ => Err(self.out_of_turn()),
        }
    }

    fn backoff(&self) -> Backoff {
        Backoff::new(std::iter::repeat(BACKOFF))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::BoxFuture;
    use openraft::ServerState;
    use tokio::task::JoinSet;

    use super::*;
    use crate::controller::peer::frame::{Greeting, Hello};
    use crate::controller::peer::{PeerService, serve_peer};
    use crate::controller::raft::types::{Metrics, Vote};
    use crate::controller::test_network::{NodeNetwork, Switch};
    use crate::net::transport::Network;
    use crate::types::clock::ManualClock;
    use crate::types::{NodeId, TimestampMs};

    #[test]
    fn a_silence_begins_once_and_ends_once() {
        let contacts = Contacts::new(Arc::new(ManualClock::at(TimestampMs(0))));
        let member = DirectoryId(uuid::Uuid::from_u128(1));
        assert!(!contacts.answered(member), "it was never silent");
        assert!(contacts.failed(member));
        assert!(!contacts.failed(member));
        assert!(contacts.answered(member));
        assert!(!contacts.answered(member));
    }

    /// A member that hears everything and does not answer pings.
    #[derive(Debug, Default)]
    struct Mute {
        pings: AtomicUsize,
        appends: AtomicUsize,
    }

    struct Service(Arc<Mute>);

    impl PeerService for Service {
        fn greet(&self, _: &Hello) -> Greeting {
            Greeting::Welcome { node_id: NodeId(2), directory_id: DirectoryId::from(2) }
        }

        fn handle(&self, _: Arc<Hello>, request: PeerRequest) -> BoxFuture<'static, PeerResponse> {
            if matches!(request, PeerRequest::Ping) {
                self.0.pings.fetch_add(1, Ordering::SeqCst);
                return Box::pin(std::future::pending());
            }
            self.0.appends.fetch_add(1, Ordering::SeqCst);
            let answer = PeerResponse::AppendEntries(Ok(AppendEntriesResponse::Success));
            Box::pin(std::future::ready(answer))
        }

        fn closed(&self, _: &Hello) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_leader_without_a_lease_sends_nothing_but_probes() {
        let switch = Arc::<Switch>::default();
        let plug = |host: &str| NodeNetwork { switch: Arc::clone(&switch), host: host.to_owned() };
        let listener = plug("2").bind(&HostPort::new("2", 9)).await.unwrap();
        let mute = Arc::<Mute>::default();
        let served = Arc::clone(&mute);
        let mut server = JoinSet::new();
        server.spawn(async move {
            let (stream, _) = listener.accept().await.unwrap();
            let service = Arc::new(Service(served));
            serve_peer(stream, service, std::future::pending()).await.unwrap();
        });
        let clock = Arc::new(ManualClock::at(TimestampMs(0)));
        let lease = Arc::new(Lease::new(clock.clone(), Duration::from_millis(300)));
        let options = PeerClientOptions {
            network: Arc::new(plug("1")),
            node_id: NodeId(1),
            directory_id: DirectoryId::from(1),
            cluster_id: Default::default(),
            connect_timeout: Duration::from_secs(1),
        };
        let contacts = Arc::new(Contacts::new(clock.clone()));
        let node = MemberNode { node_id: NodeId(2), host: "2".to_owned(), port: 9 };
        let mut network = PeerNetwork::new(Arc::new(options), contacts, Arc::clone(&lease));
        let mut member = network.new_client(DirectoryId::from(2), &node).await;
        let mut append = async || {
            let vote = Vote::new_committed(1, DirectoryId::from(1));
            let rpc = AppendEntriesRequest {
                vote,
                prev_log_id: None,
                entries: Vec::new(),
                leader_commit: None,
            };
            let option = RPCOption::new(Duration::from_millis(50));
            let sent = member.append_entries(rpc, option).await.is_ok();
            (sent, mute.pings.load(Ordering::SeqCst), mute.appends.load(Ordering::SeqCst))
        };
        let mut leads = Metrics::new_initial(DirectoryId::from(1));
        leads.state = ServerState::Leader;
        lease.observe(&leads);
        assert_eq!(append().await, (true, 0, 1));
        clock.advance(Duration::from_millis(301));
        assert_eq!(append().await, (false, 1, 1), "only a probe");
        leads.millis_since_quorum_ack = Some(0);
        lease.observe(&leads);
        assert_eq!(append().await, (true, 1, 2));
    }
}
