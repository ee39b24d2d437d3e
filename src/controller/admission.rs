//! How this node becomes a member: the lowest listed voter forms the cluster if there is none, and
//! every node asks the leader to take it in until it has done so.

use std::sync::Arc;
use std::time::Duration;

use crate::controller::formation::{Candidate, Formation, FormationError};
use crate::controller::peer::message::{JoinAnswer, JoinRequest, PeerRequest, PeerResponse};
use crate::controller::peer::{Kind, PeerClient, PeerClientOptions, PeerError};
use crate::controller::raft::types::{MemberNode, Raft};
use crate::log::LogDirectory;
use crate::net::transport::HostPort;
use crate::storage::{Offload, offload};
use crate::types::Random;
use crate::types::ids::uuid_to_base64;

/// Between two requests to be taken in.
const JOIN_PAUSE: Duration = Duration::from_millis(200);
/// How long to wait for one answer.
const JOIN_PATIENCE: Duration = Duration::from_secs(6);
/// How often a wait is explained, in rounds.
const EXPLAIN_EVERY: u32 = 50;

/// Why this node cannot become a member and must stop.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum AdmissionError {
    /// The cluster cannot be formed.
    #[error(transparent)]
    Formation(#[from] FormationError),
    /// The leader will never take this node in.
    #[error("the cluster refuses this node: {0}")]
    Refused(String),
    /// The cluster's id could not be made durable.
    #[error("the cluster id cannot be stored: {0}")]
    Binding(String),
    /// The raft node does not run.
    #[error("the metadata log cannot be used: {0}")]
    Raft(String),
}

/// What a node needs to be admitted.
pub struct Admission {
    /// The raft node.
    pub raft: Raft,
    /// Who this node is.
    pub itself: MemberNode,
    /// All listed voters, by node id.
    pub voters: Vec<MemberNode>,
    /// Where the cluster id is kept.
    pub directory: Arc<LogDirectory>,
    /// How to reach the others.
    pub peers: Arc<PeerClientOptions>,
    /// For blocking work.
    pub offload: Arc<dyn Offload>,
    /// For a new cluster's id.
    pub random: Arc<dyn Random>,
}

impl Admission {
    /// Runs until this node is a member.
    pub async fn run(self) -> Result<(), AdmissionError> {
        let is_candidate = self.voters.first() == Some(&self.itself);
        if is_candidate && !self.is_initialised().await? {
            self.form().await?;
        }
        self.join().await
    }

    async fn is_initialised(&self) -> Result<bool, AdmissionError> {
        self.raft.is_initialized().await.map_err(|error| AdmissionError::Raft(error.to_string()))
    }

    async fn form(&self) -> Result<(), AdmissionError> {
        let clients = self.voters[1..].iter().map(|voter| self.client(voter)).collect();
        let candidate = Candidate {
            directory_id: self.directory.directory_id(),
            voters: self.voters.clone(),
            cluster_id: self.directory.cluster_id(),
            clients,
        };
        let fresh_id = || uuid_to_base64(self.random.uuid());
        let Formation::Agreed { cluster_id, members } = candidate.agree(fresh_id).await? else {
            return Ok(());
        };
        bind(&self.directory, &*self.offload, &self.peers, &cluster_id).await?;
        candidate.bind(&cluster_id).await;
        tracing::info!(%cluster_id, "forming a new cluster of {} voters", members.len());
        match self.raft.initialize(members).await {
            Ok(()) => Ok(()),
            // A vote of another round may have come in between; then there is a group already.
            Err(error) if error.api_error().is_some() => Ok(()),
            Err(error) => Err(AdmissionError::Raft(error.to_string())),
        }
    }

    async fn join(&self) -> Result<(), AdmissionError> {
        let clients: Vec<PeerClient> = self
            .voters
            .iter()
            .filter(|voter| **voter != self.itself)
            .map(|voter| self.client(voter))
            .collect();
        let directory_id = self.directory.directory_id();
        let voter = self.voters.contains(&self.itself);
        let request =
            PeerRequest::Join(JoinRequest { directory_id, node: self.itself.clone(), voter });
        for round in 0_u32.. {
            if self.leads() {
                return Ok(());
            }
            let mut explanations = Vec::new();
            for client in &clients {
                match client.call(&request, JOIN_PATIENCE).await {
                    Ok(PeerResponse::Join(JoinAnswer::Member)) => return Ok(()),
                    Ok(PeerResponse::Join(JoinAnswer::Refused { reason })) => {
                        return Err(AdmissionError::Refused(reason));
                    }
                    Ok(PeerResponse::Join(JoinAnswer::Wait { reason })) => {
                        explanations = vec![reason];
                        break;
                    }
                    Ok(PeerResponse::Join(JoinAnswer::NotLeader)) => {}
                    Ok(_) => {
                        explanations.push(format!("{} answered out of turn", client.target()));
                    }
                    Err(PeerError::Refused { reason, .. }) => explanations.push(reason),
                    Err(error) => explanations.push(error.to_string()),
                }
            }
            if round % EXPLAIN_EVERY == EXPLAIN_EVERY - 1 {
                let why = explanations.join("; ");
                tracing::info!("waiting to become a member of the cluster: {why}");
            }
            tokio::time::sleep(JOIN_PAUSE).await;
        }
        Ok(())
    }

    /// The leader need not ask itself.
    fn leads(&self) -> bool {
        let metrics = self.raft.metrics();
        let metrics = metrics.borrow();
        metrics.state == openraft::ServerState::Leader
            && metrics.membership_config.membership().get_node(&metrics.id) == Some(&self.itself)
    }

    fn client(&self, voter: &MemberNode) -> PeerClient {
        let address = HostPort::new(voter.host.clone(), voter.port);
        PeerClient::new(Arc::clone(&self.peers), address, None, Kind::Requests)
    }
}

/// Binds this node to a cluster, durably and once.
pub async fn bind(
    directory: &Arc<LogDirectory>,
    offload_to: &dyn Offload,
    peers: &PeerClientOptions,
    cluster_id: &str,
) -> Result<(), AdmissionError> {
    match directory.cluster_id() {
        Some(bound) if bound == cluster_id => {}
        Some(bound) => {
            return Err(AdmissionError::Binding(format!(
                "this node belongs to cluster {bound}, not to {cluster_id}"
            )));
        }
        None => {
            let (directory, bound) = (Arc::clone(directory), cluster_id.to_owned());
            offload(offload_to, move || directory.set_cluster_id(&bound))
                .await
                .map_err(|error| AdmissionError::Binding(error.to_string()))?
                .map_err(|error| AdmissionError::Binding(error.to_string()))?;
        }
    }
    *peers.cluster_id.lock() = Some(cluster_id.to_owned());
    Ok(())
}
