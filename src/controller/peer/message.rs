//! What nodes ask each other and answer. bincode: only ever between nodes, never on disk; a change
//! to anything in here needs a new [`super::frame::VERSION`], but for a new variant at the end of an enum:
//! a node that does not know it ends the connection, and nothing else is read in another way.

use openraft::error::{InstallSnapshotError, RaftError};
use openraft::raft::{
    AppendEntriesRequest, AppendEntriesResponse, InstallSnapshotRequest, InstallSnapshotResponse,
    VoteRequest, VoteResponse,
};
use serde::{Deserialize, Serialize};

use crate::controller::machine::{Command, Reply};
use crate::controller::quorum_info::QuorumInfo;
use crate::controller::raft::types::{MemberNode, TypeConfig};
use crate::types::{BrokerEpoch, DirectoryId, ErrorCode, NodeId, Offset};

/// A question to another node.
#[derive(Debug, Serialize, Deserialize)]
pub enum PeerRequest {
    /// Are you there? Means nothing to raft.
    Ping,
    /// Raft's entries and heartbeats.
    AppendEntries(AppendEntriesRequest<TypeConfig>),
    /// Raft's vote.
    Vote(VoteRequest<DirectoryId>),
    /// A chunk of a snapshot.
    InstallSnapshot(InstallSnapshotRequest<TypeConfig>),
    /// The lowest listed voter asks whether the cluster can be formed.
    Form(FormQuery),
    /// The lowest listed voter asks to be bound to this cluster id.
    Bind {
        /// The cluster's id from now on.
        cluster_id: String,
    },
    /// A node asks the leader to take it in.
    Join(JoinRequest),
    /// A command for the active controller.
    Submit(Submission),
    /// A broker's sign of life for the active controller.
    Heartbeat(HeartbeatRequest),
    /// What does the leader know of the quorum?
    DescribeQuorum,
}

/// The answer to the [`PeerRequest`] of the same name.
#[derive(Debug, Serialize, Deserialize)]
pub enum PeerResponse {
    /// To a ping.
    Pong,
    /// To entries.
    AppendEntries(Result<AppendEntriesResponse<DirectoryId>, RaftError<DirectoryId>>),
    /// To a request for a vote.
    Vote(Result<VoteResponse<DirectoryId>, RaftError<DirectoryId>>),
    /// To a chunk of a snapshot.
    InstallSnapshot(
        Result<InstallSnapshotResponse<DirectoryId>, RaftError<DirectoryId, InstallSnapshotError>>,
    ),
    /// Whether the cluster can be formed.
    Form(FormAnswer),
    /// Bound, durably; or why not.
    Bind(Result<(), String>),
    /// Taken in or not.
    Join(JoinAnswer),
    /// What came of the command.
    Submit(Result<Reply, ErrorCode>),
    /// How the broker stands.
    Heartbeat(Result<HeartbeatAnswer, ErrorCode>),
    /// The quorum as its leader sees it.
    DescribeQuorum(Result<QuorumInfo, ErrorCode>),
}

/// What the lowest listed voter tells every other before it forms a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FormQuery {
    /// The voters as the candidate has them in its configuration, by node id.
    pub voters: Vec<MemberNode>,
    /// The cluster to which the candidate is bound already.
    pub cluster_id: Option<String>,
}

/// A listed voter's answer to a [`FormQuery`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FormAnswer {
    /// It belongs to no raft group and its list of voters is the same.
    Free {
        /// Its name in the group to come.
        directory_id: DirectoryId,
        /// The cluster to which it is bound already.
        cluster_id: Option<String>,
    },
    /// It belongs to a raft group: there is a cluster, and the candidate has to join it.
    Formed,
    /// Its list of voters is another.
    OtherVoters {
        /// Its list.
        voters: Vec<MemberNode>,
    },
}

/// A node's wish to be a member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct JoinRequest {
    /// The name under which it wants to be a member.
    pub directory_id: DirectoryId,
    /// Who and where it is.
    pub node: MemberNode,
    /// It is one of its configuration's voters.
    pub voter: bool,
}

/// The leader's answer to a [`JoinRequest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum JoinAnswer {
    /// It is a member: a voter, or a learner that was meant to be one.
    Member,
    /// Not yet: ask again. For people: what is being waited for.
    Wait {
        /// What has to happen first.
        reason: String,
    },
    /// Never: this node must stop.
    Refused {
        /// Why.
        reason: String,
    },
    /// Ask somebody else.
    NotLeader,
}

/// Who asks for a command, from where, and for how long.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// On whose behalf.
    pub principal: String,
    /// The client's name for itself.
    pub client_id: Option<String>,
    /// The client's address.
    pub client_address: String,
    /// The listener on which the request came in.
    pub listener: String,
}

/// A command on its way to the active controller.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Submission {
    /// What is to be done.
    pub command: Command,
    /// Who asks.
    pub origin: Origin,
    /// For so long somebody waits for the answer.
    pub remaining_ms: u64,
}

/// A broker's sign of life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatRequest {
    /// The broker.
    pub node_id: NodeId,
    /// Its incarnation.
    pub broker_epoch: BrokerEpoch,
    /// How far it has applied the metadata.
    pub applied: Offset,
    /// Its logs are loaded and it wants to serve.
    pub ready: bool,
    /// It wants to shut down.
    pub wants_shutdown: bool,
}

/// How a broker stands with the controller.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeartbeatAnswer {
    /// It has applied the metadata up to its own registration.
    pub caught_up: bool,
    /// It is fenced: in no ISR, leader of nothing, not shown to clients.
    pub fenced: bool,
    /// It leads nothing any more and may go.
    pub should_shut_down: bool,
}
