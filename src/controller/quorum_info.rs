//! The quorum as DescribeQuorum shows it.

use std::time::Duration;

use openraft::ServerState;
use serde::{Deserialize, Serialize};

use crate::controller::raft::network::Contacts;
use crate::controller::raft::types::{MemberNode, Metrics};
use crate::types::{Clock, DirectoryId, NodeId, Offset, TimestampMs};

/// One member of the raft group.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumMember {
    /// Its node id.
    pub node_id: NodeId,
    /// Its metadata directory.
    pub directory_id: DirectoryId,
    /// The host of its CONTROLLER listener.
    pub host: String,
    /// The port of its CONTROLLER listener.
    pub port: u16,
    /// One past the last entry that the leader knows it to have; unknown away from the leader.
    pub log_end: Offset,
    /// When it last answered the leader; [`TimestampMs::NONE`] if never or unknown.
    pub last_fetch: TimestampMs,
    /// When it last had all that the leader had; [`TimestampMs::NONE`] if unknown.
    pub last_caught_up: TimestampMs,
}

/// The quorum: its leader, and how far each member is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct QuorumInfo {
    /// The leader, if this node knows one.
    pub leader: Option<NodeId>,
    /// The term.
    pub epoch: u64,
    /// One past the last entry that is known to be committed.
    pub high_watermark: Offset,
    /// Members with a vote.
    pub voters: Vec<QuorumMember>,
    /// Members without one.
    pub observers: Vec<QuorumMember>,
}

/// Reads the quorum out of openraft's metrics.
pub fn describe(metrics: &Metrics, contacts: &Contacts, clock: &dyn Clock) -> QuorumInfo {
    let membership = metrics.membership_config.membership();
    let voter_ids: Vec<DirectoryId> = membership.voter_ids().collect();
    let (mut voters, mut observers) = (Vec::new(), Vec::new());
    for (directory_id, node) in membership.nodes().filter(|(_, node)| !node.is_given_up()) {
        let member = member(*directory_id, node, metrics, contacts, clock);
        if voter_ids.contains(directory_id) {
            voters.push(member);
        } else {
            observers.push(member);
        }
    }
    voters.sort_by_key(|member| member.node_id);
    observers.sort_by_key(|member| member.node_id);
    QuorumInfo {
        leader: metrics
            .current_leader
            .and_then(|leader| membership.get_node(&leader))
            .map(|node| node.node_id),
        epoch: metrics.current_term,
        high_watermark: next(metrics.last_applied.map(|id| id.index)),
        voters,
        observers,
    }
}

fn member(
    directory_id: DirectoryId,
    node: &MemberNode,
    metrics: &Metrics,
    contacts: &Contacts,
    clock: &dyn Clock,
) -> QuorumMember {
    let wall = clock.wall();
    let itself = directory_id == metrics.id;
    let matching = metrics.replication.as_ref().and_then(|all| all.get(&directory_id).copied());
    let log_end = if itself {
        next(metrics.last_log_index)
    } else {
        matching.map_or(Offset::UNKNOWN, |id| next(id.map(|id| id.index)))
    };
    let leads = metrics.state == ServerState::Leader;
    let last_fetch = if itself && leads {
        wall
    } else {
        contacts.last(directory_id).filter(|_| leads).map_or(TimestampMs::NONE, |at| {
            let age: Duration = clock.monotonic().since(at);
            TimestampMs(wall.0 - i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
        })
    };
    let caught_up = leads && log_end >= next(metrics.last_log_index);
    QuorumMember {
        node_id: node.node_id,
        directory_id,
        host: node.host.clone(),
        port: node.port,
        log_end,
        last_fetch,
        last_caught_up: if caught_up { last_fetch } else { TimestampMs::NONE },
    }
}

/// One past `index`.
fn next(index: Option<u64>) -> Offset {
    Offset(index.map_or(0, |index| i64::try_from(index + 1).unwrap_or(i64::MAX)))
}
