//! What Ottla puts into openraft's type parameters, and short names for what comes out.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::controller::raft::runtime::SeededRuntime;
use crate::types::{DirectoryId, NodeId};

openraft::declare_raft_types!(
    /// openraft, filled in with Ottla's types.
    pub TypeConfig:
        D            = EntryData,
        R            = EntryOutcome,
        NodeId       = DirectoryId,
        Node         = MemberNode,
        Entry        = openraft::Entry<TypeConfig>,
        SnapshotData = std::io::Cursor<Vec<u8>>,
        AsyncRuntime = SeededRuntime,
);

/// A member's payload: who it is to Kafka's clients, and where its CONTROLLER listener is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberNode {
    /// The member's `node.id`.
    pub node_id: NodeId,
    /// The host of its CONTROLLER listener.
    pub host: String,
    /// The port of its CONTROLLER listener.
    pub port: u16,
}

impl MemberNode {
    /// What stands in the place of a voter whose directory was given up with
    /// `--unsafe-recover`. It has no address: nobody speaks to that directory again. It stays
    /// in the membership, so that every member knows whom to refuse, and that the node with this
    /// id may vote again once it comes back with an empty disk.
    pub fn given_up(node_id: NodeId) -> MemberNode {
        MemberNode { node_id, host: String::new(), port: 0 }
    }

    /// Whether the directory that this stands for was given up.
    pub fn is_given_up(&self) -> bool {
        self.host.is_empty() && self.port == 0
    }
}

/// One decided batch: the records of one or more commands, proposed as one entry.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryData {
    /// Metadata records, each encoded by itself.
    pub records: Vec<Bytes>,
    /// The term in which it was decided. An entry that lands in another term changes nothing.
    pub decided_in_term: u64,
    /// The version of the image on which it was decided. On another one it changes nothing.
    pub decided_on_version: u64,
}

/// What applying one entry came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntryOutcome {
    /// The entry carries no metadata: a leader's blank or a membership.
    #[default]
    NoRecords,
    /// The records were applied; the image is now of this version.
    Applied {
        /// The image's version afterwards.
        version: u64,
    },
    /// The entry was decided on another image or in another term and changed nothing.
    Outdated {
        /// The image's version, which the entry did not match.
        version: u64,
    },
}

/// The raft node.
pub type Raft = openraft::Raft<TypeConfig>;
/// A log entry.
pub type Entry = openraft::Entry<TypeConfig>;
/// A term and an index.
pub type LogId = openraft::LogId<DirectoryId>;
/// A vote.
pub type Vote = openraft::Vote<DirectoryId>;
/// Voters and learners.
pub type Membership = openraft::Membership<DirectoryId, MemberNode>;
/// Voters and learners, with the entry that made them so.
pub type StoredMembership = openraft::StoredMembership<DirectoryId, MemberNode>;
/// What a snapshot covers.
pub type SnapshotMeta = openraft::SnapshotMeta<DirectoryId, MemberNode>;
/// A snapshot and its bytes.
pub type Snapshot = openraft::Snapshot<TypeConfig>;
/// openraft's view of itself.
pub type Metrics = openraft::RaftMetrics<DirectoryId, MemberNode>;
/// A failed read or write of the store; it stops the raft node.
pub type StorageError = openraft::StorageError<DirectoryId>;
/// The part of a [`StorageError`] that says what was being done.
pub type StorageIoError = openraft::StorageIOError<DirectoryId>;

/// The log id of `term` and `index`; within a term there is but one leader (feature
/// `single-term-leader`), so that the term alone names it.
pub fn log_id(term: u64, index: u64) -> LogId {
    LogId::new(openraft::CommittedLeaderId::new(term, DirectoryId::ZERO), index)
}

/// openraft's own tests name their nodes by number.
#[cfg(test)]
impl From<u64> for DirectoryId {
    fn from(number: u64) -> DirectoryId {
        DirectoryId(uuid::Uuid::from_u128(u128::from(number)))
    }
}
