//! One partition's registration: who holds it, who is in sync, who leads.

use serde::{Deserialize, Serialize};

use crate::types::{DirectoryId, LeaderEpoch, NodeId, PartitionEpoch};

/// Whether a partition's leader was elected uncleanly and has yet to make its state sound
/// (KIP-704).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub enum LeaderRecoveryState {
    /// Nothing to repair.
    #[default]
    Recovered,
    /// The leader was elected uncleanly: until it reports itself recovered it is the whole ISR.
    Recovering,
}

impl LeaderRecoveryState {
    /// Kafka's number of it.
    pub fn code(self) -> i8 {
        match self {
            Self::Recovered => 0,
            Self::Recovering => 1,
        }
    }

    /// The state of that number.
    pub fn from_code(code: i8) -> Option<Self> {
        match code {
            0 => Some(Self::Recovered),
            1 => Some(Self::Recovering),
            _ => None,
        }
    }
}

/// One partition's registration. Who leads is in the ISR; an empty ISR has no leader.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Partition {
    /// The brokers that hold it, the preferred leader first.
    pub replicas: Vec<NodeId>,
    /// The data directory of each replica, in the order of `replicas` (KIP-858).
    pub directories: Vec<DirectoryId>,
    /// The replicas that hold everything committed and count for what is committed next.
    pub isr: Vec<NodeId>,
    /// Eligible leader replicas: outside the ISR, yet known to hold everything committed (KIP-966).
    pub elr: Vec<NodeId>,
    /// Members of ISR or ELR whose machine may have lost unsynced data since the ISR was last at
    /// its minimum. With ISR and ELR empty the next leader is chosen among them.
    pub last_known_elr: Vec<NodeId>,
    /// Who leads; none if nobody may.
    pub leader: Option<NodeId>,
    /// Rises when the leader changes or a replica is removed (rule 17).
    pub leader_epoch: LeaderEpoch,
    /// Rises with every change.
    pub partition_epoch: PartitionEpoch,
    /// Whether the leader has to repair an unclean election.
    pub recovery: LeaderRecoveryState,
    /// Replicas being added by a reassignment.
    pub adding: Vec<NodeId>,
    /// Replicas being removed by a reassignment.
    pub removing: Vec<NodeId>,
}

impl Partition {
    /// The replica that leads when all is well.
    pub fn preferred_leader(&self) -> Option<NodeId> {
        self.replicas.first().copied()
    }

    /// Whether `node` holds a replica.
    pub fn is_replica(&self, node: NodeId) -> bool {
        self.replicas.contains(&node)
    }

    /// Whether `node` is in the ISR.
    pub fn in_isr(&self, node: NodeId) -> bool {
        self.isr.contains(&node)
    }

    /// The data directory of the replica on `node`.
    pub fn directory_of(&self, node: NodeId) -> Option<DirectoryId> {
        let index = self.replicas.iter().position(|&replica| replica == node)?;
        self.directories.get(index).copied()
    }

    /// Whether nobody is known to hold everything committed: the next leader must be chosen by
    /// comparing logs, or uncleanly.
    pub fn is_lost(&self) -> bool {
        self.leader.is_none() && self.isr.is_empty() && self.elr.is_empty()
    }
}
