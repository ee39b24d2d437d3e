//! The controller of the model: one partition, elections and ISR changes as rules 13 to 17 say.

use std::collections::BTreeSet;

use super::super::leader::{Assignment, BrokerStanding, IsrConfirmed, IsrProposal, Standings};
use crate::types::{BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, PartitionEpoch};

#[derive(Debug, Clone)]
pub(super) struct View {
    pub(super) leader: Option<NodeId>,
    pub(super) assignment: Assignment,
    pub(super) standings: Standings,
    pub(super) min_isr: usize,
}

#[derive(Debug)]
pub(super) struct Controller {
    pub(super) history: Vec<View>,
    next_broker_epoch: i64,
}

impl Controller {
    pub(super) fn new(replicas: i32, min_isr: usize) -> Self {
        let nodes: BTreeSet<NodeId> = (1..=replicas).map(NodeId).collect();
        let standing = |node: &NodeId| {
            let broker_epoch = BrokerEpoch(i64::from(node.0));
            (*node, BrokerStanding { broker_epoch, is_active: true })
        };
        let view = View {
            leader: Some(NodeId(1)),
            standings: nodes.iter().map(standing).collect(),
            assignment: Assignment {
                replicas: nodes.clone(),
                isr: nodes,
                elr: BTreeSet::new(),
                offline: BTreeSet::new(),
                leader_epoch: LeaderEpoch(0),
                partition_epoch: PartitionEpoch(0),
            },
            min_isr,
        };
        Self { history: vec![view], next_broker_epoch: 100 }
    }

    pub(super) fn current(&self) -> &View {
        self.history.last().expect("a history")
    }

    /// The replicas that must hold everything committed.
    pub(super) fn holders(&self) -> BTreeSet<NodeId> {
        let known = &self.current().assignment;
        known.isr.union(&known.elr).copied().collect()
    }

    fn change(&mut self, change: impl FnOnce(&mut View)) {
        let mut view = self.current().clone();
        change(&mut view);
        let old = self.current();
        let touched = view.assignment.isr != old.assignment.isr
            || view.leader != old.leader
            || view.assignment.elr != old.assignment.elr;
        if view.leader != old.leader {
            view.assignment.leader_epoch = view.assignment.leader_epoch.next();
        }
        if touched {
            view.assignment.partition_epoch = view.assignment.partition_epoch.next();
        }
        self.history.push(view);
    }

    /// Rule 13, in its order.
    pub(super) fn alter(
        &mut self,
        from: NodeId,
        proposal: &IsrProposal,
    ) -> Result<IsrConfirmed, ErrorCode> {
        let view = self.current();
        let known = &view.assignment;
        if proposal.leader_epoch < known.leader_epoch {
            return Err(ErrorCode::FencedLeaderEpoch);
        }
        if view.leader != Some(from) {
            return Err(ErrorCode::InvalidRequest);
        }
        if proposal.partition_epoch != known.partition_epoch {
            return Err(ErrorCode::InvalidUpdateVersion);
        }
        let eligible = |node: NodeId, broker_epoch| {
            let standing = view.standings[&node];
            standing.is_active && standing.broker_epoch == broker_epoch
        };
        if !proposal.isr.iter().all(|member| eligible(member.node, member.broker_epoch)) {
            return Err(ErrorCode::IneligibleReplica);
        }
        let isr: BTreeSet<NodeId> = proposal.isr.iter().map(|member| member.node).collect();
        self.change(|view| set_isr(view, isr, None));
        let now = &self.current().assignment;
        Ok(IsrConfirmed {
            leader_epoch: now.leader_epoch,
            partition_epoch: now.partition_epoch,
            isr: now.isr.iter().copied().collect(),
            elr: now.elr.iter().copied().collect(),
        })
    }

    pub(super) fn fence_if(&mut self, node: NodeId, condition: bool) {
        if condition && self.current().standings[&node].is_active {
            self.leave(node, false);
        }
    }

    fn leave(&mut self, node: NodeId, unclean: bool) {
        self.change(|view| {
            if let Some(standing) = view.standings.get_mut(&node) {
                standing.is_active = false;
            }
            let mut isr = view.assignment.isr.clone();
            isr.remove(&node);
            set_isr(view, isr, unclean.then_some(node));
            elect(view);
        });
    }

    pub(super) fn register(&mut self, node: NodeId, unclean: bool) -> BrokerEpoch {
        self.leave(node, unclean);
        self.next_broker_epoch += 1;
        let broker_epoch = BrokerEpoch(self.next_broker_epoch);
        self.change(|view| {
            view.standings.insert(node, BrokerStanding { broker_epoch, is_active: false });
        });
        broker_epoch
    }

    pub(super) fn unfence(&mut self, node: NodeId) {
        if !self.current().standings[&node].is_active {
            self.change(|view| {
                if let Some(standing) = view.standings.get_mut(&node) {
                    standing.is_active = true;
                }
                elect(view);
            });
        }
    }

    /// `min.insync.replicas` is configured anew. Where that ends the eligible leaders, they end first.
    pub(super) fn configure(&mut self, min_isr: usize) {
        let current = self.current();
        if current.leader.is_some() && current.assignment.isr.len() >= min_isr {
            self.change(|view| view.assignment.elr.clear());
        }
        self.change(|view| view.min_isr = min_isr);
    }

    pub(super) fn prefer(&mut self, node: NodeId) {
        if self.current().assignment.isr.contains(&node) && self.current().leader.is_some() {
            self.change(|view| view.leader = Some(node));
        }
    }
}

/// Rule 14: below the minimum, those who leave stay eligible to lead.
fn set_isr(view: &mut View, isr: BTreeSet<NodeId>, unclean: Option<NodeId>) {
    let holders: BTreeSet<NodeId> = view
        .assignment
        .isr
        .union(&view.assignment.elr)
        .copied()
        .filter(|it| Some(*it) != unclean)
        .collect();
    view.assignment.elr = if isr.len() >= view.min_isr {
        BTreeSet::new()
    } else {
        holders.difference(&isr).copied().collect()
    };
    view.assignment.isr = isr;
}

fn elect(view: &mut View) {
    let is_active = |node: &NodeId| view.standings[node].is_active;
    if view.leader.is_some_and(|leader| view.assignment.isr.contains(&leader) && is_active(&leader))
    {
        return;
    }
    let isr = view.assignment.isr.iter().copied().find(is_active);
    let eligible = view.assignment.elr.iter().copied().find(is_active);
    view.leader = match (isr, eligible) {
        (Some(member), _) => Some(member),
        (None, Some(member)) if view.assignment.isr.is_empty() => {
            view.assignment.elr.remove(&member);
            if view.min_isr <= 1 {
                view.assignment.elr.clear();
            }
            view.assignment.isr = BTreeSet::from([member]);
            Some(member)
        }
        (None, _) => None,
    };
}
