//! What the raft group keeps on disk, as versioned messages, and how openraft's types become them.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use uuid::Uuid;

use crate::controller::raft::quorum_state::QuorumState;
use crate::controller::raft::types::{
    LogId, MemberNode, Membership, SnapshotMeta, StoredMembership, Vote, log_id,
};
use crate::protocol::codec::{Message, Reader, Str, Writer};
use crate::types::{DirectoryId, NodeId};

crate::message! {
    /// A position in the metadata log.
    pub struct StoredLogId {
        term: i64 [0..];
        index: i64 [0..];
    }

    /// A slot of `quorum-state`.
    pub message QuorumStateBody (flexible 0) {
        /// Whether there was ever a vote.
        has_vote: bool [0..];
        vote_term: i64 [0..];
        /// For whom; all zero: for nobody.
        voted_for: Uuid [0..];
        /// The vote was granted by a majority.
        vote_committed: bool [0..];
        committed: Option<StoredLogId> [0..];
        purged: Option<StoredLogId> [0..];
        synced_end: i64 [0..];
    }

    /// A member of the raft group.
    pub struct StoredMember {
        directory_id: Uuid [0..];
        node_id: i32 [0..];
        host: Str [0..];
        port: u16 [0..];
    }

    /// The voters of one configuration; two of them while the voters change.
    pub struct StoredVoters {
        directory_ids: Vec<Uuid> [0..];
    }

    /// Who votes, and who is a member.
    pub message MembershipBody (flexible 0) {
        configurations: Vec<StoredVoters> [0..];
        members: Vec<StoredMember> [0..];
    }

    /// An entry that carries metadata.
    pub message EntryBody (flexible 0) {
        decided_in_term: i64 [0..];
        decided_on_version: i64 [0..];
        /// Metadata records, each with a type and a version of its own.
        records: Vec<Bytes> [0..];
    }

    /// What a snapshot covers.
    pub message SnapshotHeader (flexible 0) {
        snapshot_id: Str [0..];
        last: Option<StoredLogId> [0..];
        membership_at: Option<StoredLogId> [0..];
        membership: Bytes [0..];
    }
}

/// What is stored cannot be understood.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} cannot be read: {reason}")]
pub struct StoredError {
    /// What was read.
    pub what: &'static str,
    /// What is wrong with it.
    pub reason: String,
}

/// A message of the raft group's own, which has one version so far.
pub trait Stored: Message {
    /// The version that is written.
    const VERSION: i16 = 0;
    /// What to call it in an error.
    const WHAT: &'static str;

    /// Its bytes in [`Stored::VERSION`].
    fn to_bytes(&self) -> Bytes {
        let mut writer = Writer::new();
        match self.encode(&mut writer, Self::VERSION) {
            Ok(()) => writer.into_bytes(),
            // Every field is there in every version, and lengths are far below their limits.
            Err(error) => unreachable!("{} cannot be written: {error}", Self::WHAT),
        }
    }

    /// Reads it back; nothing may be left over.
    fn from_bytes(bytes: Bytes, version: i16) -> Result<Self, StoredError> {
        let failed = |reason: String| StoredError { what: Self::WHAT, reason };
        if version != Self::VERSION {
            return Err(failed(format!("its version {version} is not known here")));
        }
        let mut reader = Reader::new(bytes);
        let message =
            Self::decode(&mut reader, version).map_err(|error| failed(error.to_string()))?;
        match reader.remaining() {
            0 => Ok(message),
            left => Err(failed(format!("{left} bytes are left over"))),
        }
    }
}

impl Stored for QuorumStateBody {
    const WHAT: &'static str = "the quorum's state";
}

impl Stored for MembershipBody {
    const WHAT: &'static str = "the quorum's membership";
}

impl Stored for EntryBody {
    const WHAT: &'static str = "a metadata entry";
}

impl Stored for SnapshotHeader {
    const WHAT: &'static str = "the header of a metadata snapshot";
}

impl StoredLogId {
    /// Whether there can be such a position, and one after it.
    fn is_sound(&self) -> bool {
        self.term >= 0 && (0..i64::MAX).contains(&self.index)
    }
}

impl QuorumStateBody {
    /// Whether all positions in it can be.
    pub fn is_sound(&self) -> bool {
        let mut positions = self.committed.iter().chain(&self.purged);
        self.vote_term >= 0 && self.synced_end >= 0 && positions.all(StoredLogId::is_sound)
    }
}

impl From<&LogId> for StoredLogId {
    fn from(id: &LogId) -> Self {
        Self { term: id.leader_id.term as i64, index: id.index as i64 }
    }
}

impl From<&StoredLogId> for LogId {
    fn from(stored: &StoredLogId) -> Self {
        log_id(stored.term as u64, stored.index as u64)
    }
}

impl From<&QuorumState> for QuorumStateBody {
    fn from(state: &QuorumState) -> Self {
        let vote = state.vote.unwrap_or_default();
        Self {
            has_vote: state.vote.is_some(),
            vote_term: vote.leader_id.term as i64,
            voted_for: vote.leader_id.voted_for().unwrap_or_default().0,
            vote_committed: vote.committed,
            committed: state.committed.as_ref().map(StoredLogId::from),
            purged: state.purged.as_ref().map(StoredLogId::from),
            synced_end: state.synced_end as i64,
        }
    }
}

impl From<&QuorumStateBody> for QuorumState {
    fn from(body: &QuorumStateBody) -> Self {
        let voted_for = (!body.voted_for.is_nil()).then_some(DirectoryId(body.voted_for));
        let leader_id = openraft::LeaderId { term: body.vote_term as u64, voted_for };
        Self {
            vote: body.has_vote.then_some(Vote { leader_id, committed: body.vote_committed }),
            committed: body.committed.as_ref().map(LogId::from),
            purged: body.purged.as_ref().map(LogId::from),
            synced_end: body.synced_end as u64,
        }
    }
}

impl From<&Membership> for MembershipBody {
    fn from(membership: &Membership) -> Self {
        let configurations = membership.get_joint_config().iter().map(|voters| StoredVoters {
            directory_ids: voters.iter().map(|directory_id| directory_id.0).collect(),
        });
        let members = membership.nodes().map(|(directory_id, node)| StoredMember {
            directory_id: directory_id.0,
            node_id: node.node_id.0,
            host: Str::from(node.host.as_str()),
            port: node.port,
        });
        Self { configurations: configurations.collect(), members: members.collect() }
    }
}

impl From<&MembershipBody> for Membership {
    fn from(body: &MembershipBody) -> Self {
        let configurations = body.configurations.iter().map(|voters| {
            voters.directory_ids.iter().map(|id| DirectoryId(*id)).collect::<BTreeSet<_>>()
        });
        let members = body.members.iter().map(|member| {
            let node = MemberNode {
                node_id: NodeId(member.node_id),
                host: member.host.as_str().to_owned(),
                port: member.port,
            };
            (DirectoryId(member.directory_id), node)
        });
        Membership::new(configurations.collect(), members.collect::<BTreeMap<_, _>>())
    }
}

impl From<&SnapshotMeta> for SnapshotHeader {
    fn from(meta: &SnapshotMeta) -> Self {
        Self {
            snapshot_id: Str::from(meta.snapshot_id.as_str()),
            last: meta.last_log_id.as_ref().map(StoredLogId::from),
            membership_at: meta.last_membership.log_id().as_ref().map(StoredLogId::from),
            membership: MembershipBody::from(meta.last_membership.membership()).to_bytes(),
        }
    }
}

impl SnapshotHeader {
    /// As openraft describes a snapshot.
    ///
    /// # Errors
    /// The membership cannot be read, or there is no such position.
    pub fn to_meta(&self) -> Result<SnapshotMeta, StoredError> {
        if let Some(id) =
            self.last.iter().chain(&self.membership_at).find(|position| !position.is_sound())
        {
            let reason = format!("there is no position {} of term {}", id.index, id.term);
            return Err(StoredError { what: Self::WHAT, reason });
        }
        let membership =
            MembershipBody::from_bytes(self.membership.clone(), MembershipBody::VERSION)?;
        Ok(SnapshotMeta {
            last_log_id: self.last.as_ref().map(LogId::from),
            last_membership: StoredMembership::new(
                self.membership_at.as_ref().map(LogId::from),
                Membership::from(&membership),
            ),
            snapshot_id: self.snapshot_id.as_str().to_owned(),
        })
    }
}
