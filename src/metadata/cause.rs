//! Why a record came to be: every explanation given to people is made from these.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::types::NodeId;

/// Why a broker's registration or a partition changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Cause {
    /// A topic or partitions were created.
    Created,
    /// The record belongs to a snapshot; why it once came to be is not kept.
    Snapshot,
    /// The broker registered.
    Registered(NodeId),
    /// The broker caught up and was unfenced.
    Unfenced(NodeId),
    /// The broker's session ended in silence.
    SessionExpired(NodeId),
    /// The broker's process died: its connection ended and its host refused the next.
    ProcessDied(NodeId),
    /// The broker asked to stop.
    ControlledShutdown(NodeId),
    /// The broker started again, and its machine may have lost what was not synced.
    UncleanShutdown(NodeId),
    /// The data directory of the broker's replica is not online any more.
    DirectoryOffline(NodeId),
    /// An administrator removed the broker.
    Unregistered(NodeId),
    /// The leader reported who is in sync.
    IsrReported(NodeId),
    /// The preferred leader came back and was stable for long enough.
    PreferredLeader(NodeId),
    /// An administrator asked for an election.
    ElectionRequested,
    /// Nobody in sync was left, and the topic allows a leader that may lack acknowledged records.
    UncleanElection(NodeId),
    /// Every machine that was in sync may have lost data: all were heard, the longest log won.
    UncleanRecovery(NodeId),
    /// The broker told in which data directory its replica lies.
    DirectoryAssigned(NodeId),
    /// `min.insync.replicas` changed, and with it who is an eligible leader.
    ConfigChanged,
}

impl Cause {
    /// The number it is stored under, and the broker that it names.
    pub(crate) fn to_parts(self) -> (i16, NodeId) {
        match self {
            Self::Created => (0, NodeId::NONE),
            Self::Snapshot => (1, NodeId::NONE),
            Self::Registered(node) => (2, node),
            Self::Unfenced(node) => (3, node),
            Self::SessionExpired(node) => (4, node),
            Self::ProcessDied(node) => (5, node),
            Self::ControlledShutdown(node) => (6, node),
            Self::UncleanShutdown(node) => (7, node),
            Self::DirectoryOffline(node) => (8, node),
            Self::Unregistered(node) => (9, node),
            Self::IsrReported(node) => (10, node),
            Self::PreferredLeader(node) => (11, node),
            Self::ElectionRequested => (12, NodeId::NONE),
            Self::UncleanElection(node) => (13, node),
            Self::UncleanRecovery(node) => (14, node),
            Self::ConfigChanged => (15, NodeId::NONE),
            Self::DirectoryAssigned(node) => (16, node),
        }
    }

    /// The cause stored under that number.
    pub(crate) fn from_parts(code: i16, node: NodeId) -> Option<Self> {
        Some(match code {
            0 => Self::Created,
            1 => Self::Snapshot,
            2 => Self::Registered(node),
            3 => Self::Unfenced(node),
            4 => Self::SessionExpired(node),
            5 => Self::ProcessDied(node),
            6 => Self::ControlledShutdown(node),
            7 => Self::UncleanShutdown(node),
            8 => Self::DirectoryOffline(node),
            9 => Self::Unregistered(node),
            10 => Self::IsrReported(node),
            11 => Self::PreferredLeader(node),
            12 => Self::ElectionRequested,
            13 => Self::UncleanElection(node),
            14 => Self::UncleanRecovery(node),
            15 => Self::ConfigChanged,
            16 => Self::DirectoryAssigned(node),
            _ => return None,
        })
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Created => f.write_str("created"),
            Self::Snapshot => f.write_str("from a snapshot"),
            Self::Registered(node) => write!(f, "broker {node} registered"),
            Self::Unfenced(node) => write!(f, "broker {node} caught up"),
            Self::SessionExpired(node) => write!(f, "broker {node} fell silent"),
            Self::ProcessDied(node) => write!(f, "the process of broker {node} died"),
            Self::ControlledShutdown(node) => write!(f, "broker {node} is stopping"),
            Self::UncleanShutdown(node) => {
                write!(f, "broker {node} started again after its machine may have lost data")
            }
            Self::DirectoryOffline(node) => {
                write!(f, "a data directory of broker {node} is offline")
            }
            Self::Unregistered(node) => write!(f, "broker {node} was unregistered"),
            Self::IsrReported(node) => write!(f, "leader {node} reported who is in sync"),
            Self::PreferredLeader(node) => write!(f, "preferred leader {node} is stable again"),
            Self::ElectionRequested => f.write_str("an election was requested"),
            Self::UncleanElection(node) => {
                write!(f, "broker {node} was elected although it may lack acknowledged records")
            }
            Self::UncleanRecovery(node) => {
                write!(f, "broker {node} has the longest log of all that were in sync")
            }
            Self::ConfigChanged => f.write_str("the configuration changed"),
            Self::DirectoryAssigned(node) => {
                write!(f, "the replica of broker {node} lies in another data directory")
            }
        }
    }
}
