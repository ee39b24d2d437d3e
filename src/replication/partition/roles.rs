//! Becoming leader, follower or neither, as the metadata says.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use parking_lot::Mutex;

use super::{Partition, Role};
use crate::metadata::{self, Image};
use crate::replication::follower::FollowerState;
use crate::replication::leader::{
    Answered, Assignment, IsrConfirmed, IsrProposal, LeaderState, Reign,
};
use crate::replication::waiters::Interest;
use crate::types::{ErrorCode, NodeId};

/// A partition's registration, as the metadata gives it.
#[derive(Debug, Clone)]
pub(in crate::replication) struct Registration {
    assignment: Assignment,
    leader: Option<NodeId>,
}

impl Registration {
    /// The registration of `partition` in `image`.
    pub(in crate::replication) fn of(image: &Image, partition: &metadata::Partition) -> Self {
        Self {
            assignment: Assignment {
                replicas: partition.replicas.iter().copied().collect(),
                isr: partition.isr.iter().copied().collect(),
                elr: partition.elr.iter().copied().collect(),
                offline: image.offline_replicas(partition).collect(),
                leader_epoch: partition.leader_epoch,
                partition_epoch: partition.partition_epoch,
            },
            leader: partition.leader,
        }
    }
}

impl Partition {
    /// Takes a newer registration in. Registrations of one partition come one after another.
    pub(in crate::replication) async fn apply(self: &Arc<Self>, registration: Registration) {
        let _changing = self.changing.lock().await;
        let leads = registration.leader == Some(self.node.node);
        if leads && self.prepare_to_lead(&registration) {
            match self.log().assign_epoch(registration.assignment.leader_epoch).await {
                Ok(()) => self.lead(&registration),
                Err(error) => self.fail(&error.to_string()),
            }
        } else if !leads {
            self.follow(&registration);
        }
        self.waiters.wake_all();
    }

    /// Stops whatever the replica did, if a new reign begins; true if it does. Nothing is appended
    /// from here on until the reign is durable, so that it begins where the log ends now (rule 1).
    fn prepare_to_lead(&self, registration: &Registration) -> bool {
        let assignment = &registration.assignment;
        let mut standing = self.role.write();
        if matches!(standing.role, Role::Offline | Role::Closed)
            || assignment.leader_epoch < standing.leader_epoch
            || assignment.partition_epoch < standing.partition_epoch
        {
            return false;
        }
        let same_reign = assignment.leader_epoch == standing.leader_epoch;
        if let Role::Leader(state) = &standing.role
            && same_reign
        {
            let ((), rose) = self.run_leader(state, |leader, around| {
                leader.update(assignment, around.now);
                leader.advance(around);
            });
            tracing::debug!(partition = %self.topic_partition, rose, "took newer metadata in");
            standing.partition_epoch = assignment.partition_epoch;
            return false;
        }
        standing.partition_epoch = assignment.partition_epoch;
        standing.leader_epoch = assignment.leader_epoch;
        standing.leader = registration.leader;
        standing.role = Role::Elected;
        true
    }

    fn lead(&self, registration: &Registration) {
        let mut standing = self.role.write();
        if !matches!(standing.role, Role::Elected) {
            return;
        }
        let reign = Reign {
            local: self.node.node,
            assignment: &registration.assignment,
            epoch_start: self.log().log_end_offset(),
            high_watermark: self.log().high_watermark(),
            min_isr: self.min_isr.load(Ordering::Acquire),
            lag_max: self.node.options.lag_max,
        };
        let state = Mutex::new(LeaderState::new(reign, self.node.clock.monotonic()));
        self.run_leader(&state, |leader, around| leader.advance(around));
        standing.role = Role::Leader(state);
        tracing::info!(
            partition = %self.topic_partition,
            leader_epoch = %registration.assignment.leader_epoch,
            epoch_start = %reign.epoch_start,
            "leads"
        );
    }

    fn follow(&self, registration: &Registration) {
        let assignment = &registration.assignment;
        let mut standing = self.role.write();
        if assignment.leader_epoch < standing.leader_epoch
            || assignment.partition_epoch < standing.partition_epoch
        {
            return;
        }
        match &standing.role {
            Role::Offline | Role::Closed => return,
            Role::Follower(state) => {
                state.lock().follow(registration.leader, assignment.leader_epoch);
            }
            Role::Waiting | Role::Elected | Role::Leader(_) => {
                let state = FollowerState::new(registration.leader, assignment.leader_epoch);
                standing.role = Role::Follower(Mutex::new(state));
            }
        }
        standing.partition_epoch = assignment.partition_epoch;
        standing.leader_epoch = assignment.leader_epoch;
        standing.leader = registration.leader;
    }

    /// The log has failed: the replica answers KAFKA_STORAGE_ERROR from now on.
    pub(in crate::replication) fn fail(&self, reason: &str) {
        tracing::error!(partition = %self.topic_partition, reason, "the replica is offline");
        self.leave(Role::Offline);
    }

    /// The replica is no longer on this node.
    pub(in crate::replication) fn close(&self) {
        self.leave(Role::Closed);
    }

    fn leave(&self, role: Role) {
        {
            let mut standing = self.role.write();
            if !matches!(standing.role, Role::Closed) {
                standing.role = role;
            }
        }
        self.waiters.wake_all();
    }

    /// The brokers have changed: an ineligible replica no longer holds the watermarks back.
    pub(in crate::replication) fn reconsider(&self) {
        self.with_leader(|leader, around| leader.advance(around)).ok();
        self.waiters.wake(Interest::LowWatermark);
    }

    /// Data directories of brokers have failed or come back: a replica in one that is offline no
    /// longer holds the high watermark back.
    pub(in crate::replication) fn set_offline_replicas(&self, offline: BTreeSet<NodeId>) {
        self.with_leader(|leader, around| {
            leader.set_offline(offline);
            leader.advance(around);
        })
        .ok();
    }

    /// Proposes to drop lagging members from the ISR.
    pub(in crate::replication) fn shrink_isr(self: &Arc<Self>) {
        let proposal = self.with_leader(|leader, around| leader.shrink(around));
        self.propose(proposal.ok().flatten());
    }

    /// Takes the controller's answer to a proposal in; true if it is to be put again.
    pub(in crate::replication) fn isr_answered(
        self: &Arc<Self>,
        proposal: &IsrProposal,
        answer: Result<IsrConfirmed, ErrorCode>,
    ) -> bool {
        let answered = self.with_leader(|leader, around| {
            (leader.leader_epoch() == proposal.leader_epoch)
                .then(|| leader.answered(proposal.id, answer, around))
        });
        matches!(answered, Ok(Some(Answered::Retry)))
    }
}
