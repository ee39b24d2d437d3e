//! Who is in sync, who is an eligible leader, and who leads: one function computes all three, so
//! that no change of a partition can forget one of them (rules 14 and 17, KIP-966, KIP-704).

use crate::metadata::{Image, LeaderRecoveryState, Partition};
use crate::types::{DirectoryId, LeaderEpoch, NodeId, PartitionEpoch};

/// What kind of leader is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Search {
    /// The present leader stays if it can; otherwise another is found.
    Any,
    /// The first replica leads if it can; otherwise as with `Any`.
    Preferred,
    /// As with `Any`; and if there is none, any active replica, even if acknowledged records are lost.
    Unclean,
}

/// What is to happen to a partition.
pub struct Change<'a> {
    /// Who shall be in the ISR.
    pub isr: Vec<NodeId>,
    /// Replicas that may have lost unsynced data, or left for good: they are eligible no more.
    pub unclean: &'a [NodeId],
    /// The effective `min.insync.replicas` (see [`effective_min_isr`]).
    pub min_isr: usize,
    /// What kind of leader is looked for.
    pub search: Search,
    /// Whether a replica on that broker may lead now.
    pub may_lead: &'a dyn Fn(NodeId) -> bool,
}

/// What became of a partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// Its registration from now on.
    pub partition: Partition,
    /// A leader was elected that may lack acknowledged records.
    pub unclean: bool,
}

/// A topic cannot ask for more replicas in sync than it has (rule 8).
pub fn effective_min_isr(configured: usize, replication_factor: usize) -> usize {
    configured.min(replication_factor).max(1)
}

/// Whether the replica of `partition` on `node` may lead and be in the ISR as of `image`: its
/// broker is active, and its data directory is online.
pub fn is_active_replica(image: &Image, partition: &Partition, node: NodeId) -> bool {
    partition.directory_of(node).is_some_and(|directory| {
        image
            .broker(node)
            .is_some_and(|broker| broker.is_active() && broker.has_directory(directory))
    })
}

/// What follows for `partition` from `change`; none if it stays as it is.
pub fn change(partition: &Partition, change: &Change<'_>) -> Option<Outcome> {
    let mut next = partition.clone();
    next.isr.clone_from(&change.isr);
    update_eligible(partition, &mut next, change);
    let unclean = elect(&mut next, change);
    if next == *partition {
        return None;
    }
    if next.leader != partition.leader {
        next.leader_epoch = partition.leader_epoch.next();
    }
    next.partition_epoch = partition.partition_epoch.next();
    Some(Outcome { partition: next, unclean })
}

/// Makes `leader` the whole ISR of a lost partition: it has the longest log of all that may hold
/// acknowledged records.
pub fn recover(partition: &Partition, leader: NodeId) -> Partition {
    Partition {
        isr: vec![leader],
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        leader: Some(leader),
        leader_epoch: partition.leader_epoch.next(),
        partition_epoch: partition.partition_epoch.next(),
        recovery: LeaderRecoveryState::Recovering,
        ..partition.clone()
    }
}

/// Rule 14. At the minimum everything committed is on the ISR, which may go on without the rest;
/// below it nothing is committed, so whoever was in sync still holds all that is.
fn update_eligible(before: &Partition, next: &mut Partition, change: &Change<'_>) {
    if next.isr.len() >= change.min_isr {
        next.elr.clear();
        next.last_known_elr.clear();
        return;
    }
    let held_all = |node: &NodeId| before.in_isr(*node) || before.elr.contains(node);
    let in_isr = |node: &NodeId| change.isr.contains(node);
    let lost = |node: &NodeId| change.unclean.contains(node);
    next.elr = before
        .replicas
        .iter()
        .copied()
        .filter(|node| held_all(node) && !in_isr(node) && !lost(node))
        .collect();
    next.last_known_elr = before
        .replicas
        .iter()
        .copied()
        .filter(|node| before.last_known_elr.contains(node) || (held_all(node) && lost(node)))
        .filter(|node| !in_isr(node) && !next.elr.contains(node))
        .collect();
}

/// Sets the leader. Whether the election was unclean.
fn elect(next: &mut Partition, change: &Change<'_>) -> bool {
    let may_lead = |node: &NodeId| (change.may_lead)(*node);
    let first = |set: &[NodeId]| {
        next.replicas.iter().copied().find(|node| set.contains(node) && may_lead(node))
    };
    if !next.isr.is_empty() {
        let preferred = next.preferred_leader().filter(|_| change.search == Search::Preferred);
        let wished = [preferred, next.leader].into_iter().flatten();
        let kept = wished.into_iter().find(|node| next.in_isr(*node) && may_lead(node));
        next.leader = kept.or_else(|| first(&next.isr));
        return false;
    }
    if let Some(leader) = first(&next.elr) {
        next.leader = Some(leader);
        next.isr = vec![leader];
        next.elr.retain(|&node| node != leader);
        if change.min_isr <= 1 {
            next.elr.clear();
            next.last_known_elr.clear();
        }
        return false;
    }
    let any = || next.replicas.iter().copied().find(may_lead);
    match (change.search == Search::Unclean).then(any).flatten() {
        Some(leader) => {
            next.leader = Some(leader);
            next.isr = vec![leader];
            // Whatever the others hold, this leader's log is the truth from now on.
            next.elr.clear();
            next.last_known_elr.clear();
            next.recovery = LeaderRecoveryState::Recovering;
            true
        }
        None => {
            next.leader = None;
            false
        }
    }
}

/// The first registration of a partition; none if no replica may lead.
pub fn first_registration(
    replicas: Vec<NodeId>,
    directories: Vec<DirectoryId>,
    may_lead: impl Fn(NodeId) -> bool,
) -> Option<Partition> {
    let isr: Vec<NodeId> = replicas.iter().copied().filter(|&node| may_lead(node)).collect();
    Some(Partition {
        leader: Some(*isr.first()?),
        replicas,
        directories,
        isr,
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        leader_epoch: LeaderEpoch(0),
        partition_epoch: PartitionEpoch(0),
        recovery: LeaderRecoveryState::Recovered,
        adding: Vec::new(),
        removing: Vec::new(),
    })
}
