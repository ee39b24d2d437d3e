//! How a cluster comes to be: the lowest listed voter initialises the raft group once it has
//! spoken with all listed voters, each of them is free, and each has bound itself durably to the
//! cluster's id. There is no separate format step.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::controller::peer::PeerClient;
use crate::controller::peer::message::{FormAnswer, FormQuery, PeerRequest, PeerResponse};
use crate::controller::raft::types::MemberNode;
use crate::types::{DirectoryId, NodeId};

/// How long to wait for one voter's answer, and between two rounds.
const PATIENCE: Duration = Duration::from_secs(2);
const PAUSE: Duration = Duration::from_millis(100);

/// How often a wait is explained, in rounds.
const EXPLAIN_EVERY: u32 = 50;

/// What became of an attempt to form a cluster.
#[derive(Debug, PartialEq, Eq)]
pub enum Formation {
    /// Every voter is bound to this cluster; these are the members.
    Agreed {
        /// The cluster's id.
        cluster_id: String,
        /// All listed voters by their directory ids.
        members: BTreeMap<DirectoryId, MemberNode>,
    },
    /// There is a cluster already: join it.
    Formed,
}

/// Why a cluster can never be formed with these voters.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum FormationError {
    /// Two voters belong to different clusters.
    #[error(
        "voter {node_id} belongs to cluster {theirs}, not to {ours}: check \
         controller.quorum.voters and the directories of both nodes"
    )]
    OtherCluster {
        /// The voter.
        node_id: NodeId,
        /// Its cluster.
        theirs: String,
        /// Ours.
        ours: String,
    },
    /// Two listed voters are one and the same node.
    #[error("voters {first} and {second} of controller.quorum.voters are the same node")]
    SameNode {
        /// One.
        first: NodeId,
        /// The other.
        second: NodeId,
    },
}

/// What the candidate has heard in one round.
#[derive(Debug, Default, PartialEq, Eq)]
struct Round {
    free: BTreeMap<DirectoryId, MemberNode>,
    bound_to: Option<String>,
    waiting_for: Vec<String>,
    formed: bool,
}

/// The candidate's conversation with the other voters.
#[derive(Debug)]
pub struct Candidate {
    /// This node's directory.
    pub directory_id: DirectoryId,
    /// All listed voters, by node id; this node is the first.
    pub voters: Vec<MemberNode>,
    /// The cluster to which this node is bound already.
    pub cluster_id: Option<String>,
    /// A way to each of the other voters, in the order of `voters`.
    pub clients: Vec<PeerClient>,
}

impl Candidate {
    /// Asks until all voters are free and of one mind, or one of them belongs to a cluster.
    /// `new_cluster_id` names the cluster if no voter is bound to a name yet.
    pub async fn agree(
        &self,
        new_cluster_id: impl FnOnce() -> String,
    ) -> Result<Formation, FormationError> {
        let mut rounds = 0;
        let round = loop {
            let round = self.round().await?;
            if round.formed {
                return Ok(Formation::Formed);
            }
            if round.waiting_for.is_empty() {
                break round;
            }
            if rounds % EXPLAIN_EVERY == 0 {
                tracing::info!("to form a cluster, waiting for: {}", round.waiting_for.join("; "));
            }
            rounds += 1;
            tokio::time::sleep(PAUSE).await;
        };
        let cluster_id = round.bound_to.unwrap_or_else(new_cluster_id);
        Ok(Formation::Agreed { cluster_id, members: round.free })
    }

    /// Has every other voter bind itself to `cluster_id`. The candidate has done so already.
    pub async fn bind(&self, cluster_id: &str) {
        for (client, voter) in self.clients.iter().zip(&self.voters[1..]) {
            let request = PeerRequest::Bind { cluster_id: cluster_id.to_owned() };
            loop {
                let problem = match client.call(&request, PATIENCE).await {
                    Ok(PeerResponse::Bind(Ok(()))) => break,
                    Ok(PeerResponse::Bind(Err(reason))) => reason,
                    Ok(_) => "it answered out of turn".to_owned(),
                    Err(error) => error.to_string(),
                };
                tracing::info!(
                    "to form cluster {cluster_id}, waiting for voter {}: {problem}",
                    voter.node_id
                );
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    async fn round(&self) -> Result<Round, FormationError> {
        let query = FormQuery { voters: self.voters.clone(), cluster_id: self.cluster_id.clone() };
        let request = PeerRequest::Form(query);
        let answers = futures::future::join_all(
            self.clients.iter().map(|client| client.call(&request, PATIENCE)),
        )
        .await;
        let mut round = Round { bound_to: self.cluster_id.clone(), ..Round::default() };
        round.free.insert(self.directory_id, self.voters[0].clone());
        for (answer, voter) in answers.into_iter().zip(&self.voters[1..]) {
            let name = format!("voter {} at {}:{}", voter.node_id, voter.host, voter.port);
            match answer {
                Ok(PeerResponse::Form(answer)) => round.hear(voter, &name, answer)?,
                Ok(_) => round.waiting_for.push(format!("{name} (it answered out of turn)")),
                Err(error) => round.waiting_for.push(format!("{name} ({error})")),
            }
        }
        Ok(round)
    }
}

impl Round {
    fn hear(
        &mut self,
        voter: &MemberNode,
        name: &str,
        answer: FormAnswer,
    ) -> Result<(), FormationError> {
        match answer {
            FormAnswer::Formed => self.formed = true,
            FormAnswer::OtherVoters { voters } => self.waiting_for.push(format!(
                "{name} (its controller.quorum.voters is {}, not ours)",
                show_voters(&voters)
            )),
            FormAnswer::Free { directory_id, cluster_id } => {
                match (&self.bound_to, cluster_id) {
                    (Some(ours), Some(theirs)) if *ours != theirs => {
                        return Err(FormationError::OtherCluster {
                            node_id: voter.node_id,
                            theirs,
                            ours: ours.clone(),
                        });
                    }
                    (None, theirs) => self.bound_to = theirs,
                    (Some(_), _) => {}
                }
                if let Some(other) = self.free.insert(directory_id, voter.clone()) {
                    return Err(FormationError::SameNode {
                        first: other.node_id,
                        second: voter.node_id,
                    });
                }
            }
        }
        Ok(())
    }
}

/// A list of voters as the configuration writes it.
pub fn show_voters(voters: &[MemberNode]) -> String {
    let all: Vec<String> = voters
        .iter()
        .map(|voter| format!("{}@{}:{}", voter.node_id, voter.host, voter.port))
        .collect();
    all.join(",")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn voter(id: i32) -> MemberNode {
        MemberNode { node_id: NodeId(id), host: "h".to_owned(), port: 9 }
    }

    fn free(directory: u64, cluster: Option<&str>) -> FormAnswer {
        FormAnswer::Free {
            directory_id: DirectoryId::from(directory),
            cluster_id: cluster.map(str::to_owned),
        }
    }

    fn hear(bound_to: Option<&str>, answers: &[FormAnswer]) -> Result<Round, FormationError> {
        let mut round = Round { bound_to: bound_to.map(str::to_owned), ..Round::default() };
        for (id, answer) in answers.iter().enumerate() {
            round.hear(&voter(id as i32), "v", answer.clone())?;
        }
        Ok(round)
    }

    #[test]
    fn what_voters_answer_and_what_follows() {
        let round = hear(None, &[free(1, None), free(2, Some("x"))]).unwrap();
        assert_eq!((round.free.len(), round.bound_to.as_deref()), (2, Some("x")));
        assert!(round.waiting_for.is_empty() && !round.formed);
        assert!(hear(None, &[free(1, None), FormAnswer::Formed]).unwrap().formed);
        let other = FormAnswer::OtherVoters { voters: vec![voter(9)] };
        assert!(hear(None, &[other]).unwrap().waiting_for[0].contains("9@h:9"));
        assert!(matches!(
            hear(Some("y"), &[free(1, Some("x"))]),
            Err(FormationError::OtherCluster { .. })
        ));
        assert!(matches!(
            hear(None, &[free(1, None), free(1, None)]),
            Err(FormationError::SameNode { .. })
        ));
    }
}
