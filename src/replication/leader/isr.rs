//! The in-sync replicas as the leader sees them: what the controller has confirmed, and the one
//! change that may be under way.

use std::collections::BTreeSet;

use crate::types::{BrokerEpoch, LeaderEpoch, NodeId, PartitionEpoch};

/// The ISR. An unconfirmed change is a variant, never a flag.
///
/// | state         | proposal to add | proposal to remove | confirmed | refused¹  | metadata  |
/// |---------------|-----------------|--------------------|-----------|-----------|-----------|
/// | Committed     | PendingExpand   | PendingShrink      | (ignored) | (ignored) | Committed |
/// | PendingExpand | (not made)      | (not made)         | Committed | Committed | Committed |
/// | PendingShrink | (not made)      | (not made)         | Committed | Committed | Committed |
///
/// ¹ with INELIGIBLE_REPLICA or OPERATION_NOT_ATTEMPTED; any other refusal leaves the change
/// pending until metadata arrives (rule 7).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IsrState {
    /// As the metadata says.
    Committed {
        /// The in-sync replicas.
        isr: BTreeSet<NodeId>,
    },
    /// A follower that has caught up is proposed as a member. It counts for the high watermark
    /// already, since the controller may elect it before we hear of it.
    PendingExpand {
        /// The members as last confirmed.
        isr: BTreeSet<NodeId>,
        /// The newcomer.
        adding: NodeId,
        /// The change under way.
        proposal: ProposalId,
    },
    /// Followers that lag are proposed to leave. They count for the high watermark until that is
    /// confirmed, since the controller may elect them until then.
    PendingShrink {
        /// The members as last confirmed.
        isr: BTreeSet<NodeId>,
        /// Those that lag.
        removing: BTreeSet<NodeId>,
        /// The change under way.
        proposal: ProposalId,
    },
}

/// Tells the changes that one leader proposes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ProposalId(pub u64);

/// A change of the ISR to be put to the controller.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrProposal {
    /// To recognise the answer by.
    pub id: ProposalId,
    /// The reign in which it is proposed.
    pub leader_epoch: LeaderEpoch,
    /// The version of the partition that it is based on.
    pub partition_epoch: PartitionEpoch,
    /// The new members, each with the incarnation that was seen in sync (KIP-903).
    pub isr: Vec<IsrMember>,
}

/// A proposed member of the ISR.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IsrMember {
    /// The replica's node.
    pub node: NodeId,
    /// The incarnation of that node which was seen in sync.
    pub broker_epoch: BrokerEpoch,
}

/// What the controller made of a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrConfirmed {
    /// The partition's leader epoch as it is now.
    pub leader_epoch: LeaderEpoch,
    /// The partition's version as it is now.
    pub partition_epoch: PartitionEpoch,
    /// The in-sync replicas as they are now.
    pub isr: Vec<NodeId>,
    /// The eligible leaders outside the ISR as they are now.
    pub elr: Vec<NodeId>,
}

impl IsrState {
    /// The members that the controller has confirmed.
    pub fn committed(&self) -> &BTreeSet<NodeId> {
        match self {
            IsrState::Committed { isr }
            | IsrState::PendingExpand { isr, .. }
            | IsrState::PendingShrink { isr, .. } => isr,
        }
    }

    /// Whether `node` may be a member in the controller's eyes (rule 6): confirmed, or proposed.
    pub fn maximal_contains(&self, node: NodeId) -> bool {
        match self {
            IsrState::Committed { isr } | IsrState::PendingShrink { isr, .. } => {
                isr.contains(&node)
            }
            IsrState::PendingExpand { isr, adding, .. } => *adding == node || isr.contains(&node),
        }
    }

    /// The size of the maximal ISR.
    pub fn maximal_len(&self) -> usize {
        match self {
            IsrState::Committed { isr } | IsrState::PendingShrink { isr, .. } => isr.len(),
            IsrState::PendingExpand { isr, adding, .. } => {
                isr.len() + usize::from(!isr.contains(adding))
            }
        }
    }

    /// The change under way, if there is one.
    pub fn pending(&self) -> Option<ProposalId> {
        match self {
            IsrState::Committed { .. } => None,
            IsrState::PendingExpand { proposal, .. } | IsrState::PendingShrink { proposal, .. } => {
                Some(*proposal)
            }
        }
    }

    /// The members as they would be if the change under way were confirmed.
    pub fn proposed(&self) -> BTreeSet<NodeId> {
        match self {
            IsrState::Committed { isr } => isr.clone(),
            IsrState::PendingExpand { isr, adding, .. } => {
                isr.iter().copied().chain([*adding]).collect()
            }
            IsrState::PendingShrink { isr, removing, .. } => {
                isr.difference(removing).copied().collect()
            }
        }
    }
}
