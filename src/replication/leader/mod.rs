//! A partition's leader, as pure state: the followers' progress, the ISR and its changes, the
//! high watermark, and when acks=all is answered (rules 2 and 6 to 11). Fetches, metadata, answers
//! and the time come in; a new high watermark and proposals to the controller come out.
//!
//! - [`isr`]: the ISR with its pending change
//! - [`progress`]: one follower's progress

pub mod isr;
pub mod progress;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::types::{
    BrokerEpoch, ErrorCode, LeaderEpoch, Monotonic, NodeId, Offset, PartitionEpoch,
};

pub use isr::{IsrConfirmed, IsrMember, IsrProposal, IsrState, ProposalId};
pub use progress::FollowerProgress;

/// After a refusal that takes a proposal back, the next one waits this long or for new metadata:
/// a follower that fetches a thousand times a second shall not ask the controller as often.
const PAUSE_AFTER_REFUSAL: Duration = Duration::from_millis(250);

/// A partition's registration in the metadata, as far as replication needs it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The nodes that hold a replica.
    pub replicas: BTreeSet<NodeId>,
    /// Those in sync.
    pub isr: BTreeSet<NodeId>,
    /// Those outside the ISR that may be elected, since the controller holds the ISR for too small
    /// to commit anything (KIP-966).
    pub elr: BTreeSet<NodeId>,
    /// Those whose data directory is offline.
    pub offline: BTreeSet<NodeId>,
    /// The leader's reign.
    pub leader_epoch: LeaderEpoch,
    /// The registration's version.
    pub partition_epoch: PartitionEpoch,
}

/// What the metadata says of a broker, as far as the ISR is concerned (rule 10).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BrokerStanding {
    /// Its incarnation.
    pub broker_epoch: BrokerEpoch,
    /// Neither fenced nor shutting down.
    pub is_active: bool,
}

/// Every registered broker's standing.
pub type Standings = BTreeMap<NodeId, BrokerStanding>;

/// What a leader must know of the world at the moment it is asked.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// The end of its own log.
    pub log_end: Offset,
    /// The time.
    pub now: Monotonic,
    /// The brokers.
    pub standings: &'a Standings,
}

/// One partition's fetch by a follower.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerFetch {
    /// Who fetches.
    pub node: NodeId,
    /// Its incarnation (KIP-903).
    pub broker_epoch: BrokerEpoch,
    /// It has everything below this.
    pub fetch_offset: Offset,
    /// The first offset that it keeps.
    pub log_start: Offset,
}

/// What followed from a fetch or from an answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Progressed {
    /// The high watermark, if it rose.
    pub high_watermark: Option<Offset>,
    /// A change of the ISR to be put to the controller.
    pub proposal: Option<IsrProposal>,
}

/// What became of an answer to a proposal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answered {
    /// Confirmed; the high watermark may have risen (KAFKA-13091).
    Confirmed(Progressed),
    /// Taken back: the ISR stands as it was.
    Reverted,
    /// Refused for a reason that new metadata will explain; the change stays pending until then.
    AwaitsMetadata,
    /// Not decided: put the same proposal again after a pause.
    Retry,
    /// The state has moved on since the proposal; the answer says nothing any more.
    Ignored,
}

/// The state of a partition's leader during one reign.
#[derive(Debug, Clone)]
pub struct LeaderState {
    local: NodeId,
    leader_epoch: LeaderEpoch,
    epoch_start: Offset,
    partition_epoch: PartitionEpoch,
    followers: BTreeMap<NodeId, FollowerProgress>,
    offline: BTreeSet<NodeId>,
    isr: IsrState,
    /// The eligible leaders of the version that `isr` is of.
    elr: BTreeSet<NodeId>,
    high_watermark: Offset,
    min_isr: usize,
    lag_max: Duration,
    next_proposal: u64,
    /// An earlier attempt of the pending proposal may have been carried out.
    outcome_unknown: bool,
    no_expand_before: Monotonic,
}

/// With what a reign begins.
#[derive(Debug, Clone, Copy)]
pub struct Reign<'a> {
    /// This node.
    pub local: NodeId,
    /// The registration that makes it leader.
    pub assignment: &'a Assignment,
    /// The log end at which the reign was made durable (rule 1).
    pub epoch_start: Offset,
    /// The high watermark that the log knows.
    pub high_watermark: Offset,
    /// `min.insync.replicas` as configured.
    pub min_isr: usize,
    /// `replica.lag.time.max.ms`.
    pub lag_max: Duration,
}

impl LeaderState {
    /// Begins a reign: nothing is known yet of the followers' logs (rule 2).
    pub fn new(reign: Reign<'_>, now: Monotonic) -> Self {
        let Reign { local, assignment, epoch_start, high_watermark, min_isr, lag_max } = reign;
        let followers = assignment
            .replicas
            .iter()
            .filter(|node| **node != local)
            .map(|node| (*node, FollowerProgress::unknown(assignment.isr.contains(node), now)))
            .collect();
        Self {
            local,
            leader_epoch: assignment.leader_epoch,
            epoch_start,
            partition_epoch: assignment.partition_epoch,
            followers,
            offline: assignment.offline.clone(),
            isr: IsrState::Committed { isr: assignment.isr.clone() },
            elr: assignment.elr.clone(),
            high_watermark,
            min_isr,
            lag_max,
            next_proposal: 0,
            outcome_unknown: false,
            no_expand_before: Monotonic::default(),
        }
    }

    /// Takes newer metadata of the same reign in; older is ignored (rule 2), and whatever was
    /// pending is settled by it. Progress is kept. True if anything was taken.
    ///
    /// The same version may come twice, first as the answer to a proposal and then as metadata:
    /// the ISR stands, but the answer did not carry the replicas.
    pub fn update(&mut self, assignment: &Assignment, now: Monotonic) -> bool {
        if assignment.leader_epoch != self.leader_epoch
            || assignment.partition_epoch < self.partition_epoch
        {
            return false;
        }
        if assignment.partition_epoch > self.partition_epoch {
            self.partition_epoch = assignment.partition_epoch;
            self.isr = IsrState::Committed { isr: assignment.isr.clone() };
            self.elr.clone_from(&assignment.elr);
            self.no_expand_before = now;
        }
        self.offline.clone_from(&assignment.offline);
        self.followers.retain(|node, _| assignment.replicas.contains(node));
        for node in assignment.replicas.iter().filter(|node| **node != self.local) {
            let in_isr = assignment.isr.contains(node);
            self.followers.entry(*node).or_insert_with(|| FollowerProgress::unknown(in_isr, now));
        }
        true
    }

    /// The data directories of these replicas are offline now.
    pub fn set_offline(&mut self, offline: BTreeSet<NodeId>) {
        self.offline = offline;
    }

    /// `min.insync.replicas` was configured anew.
    pub fn set_min_isr(&mut self, min_isr: usize) {
        self.min_isr = min_isr;
    }

    /// Takes a follower's fetch in. Call it only for a fetch whose leader epoch is ours and whose
    /// log does not diverge: another one is no progress (rule 5, KAFKA-13141).
    pub fn follower_fetched(
        &mut self,
        fetch: FollowerFetch,
        around: Surroundings<'_>,
    ) -> Result<Progressed, ErrorCode> {
        self.check_incarnation(fetch, around.standings)?;
        // The leader epoch is ours, so its metadata is newer than ours if it knows itself assigned.
        let progress = self.followers.get_mut(&fetch.node).ok_or(ErrorCode::UnknownLeaderEpoch)?;
        progress.fetched(
            fetch.fetch_offset,
            fetch.log_start,
            fetch.broker_epoch,
            around.log_end,
            around.now,
        );
        let proposal = self.propose_expand(fetch.node, around);
        Ok(Progressed { high_watermark: self.advance(around), proposal })
    }

    /// A fetch of an incarnation that is known to have ended is rejected (rule 10, KAFKA-14139).
    fn check_incarnation(
        &self,
        fetch: FollowerFetch,
        standings: &Standings,
    ) -> Result<(), ErrorCode> {
        let registered = standings.get(&fetch.node).map(|standing| standing.broker_epoch);
        let seen = self.followers.get(&fetch.node).and_then(FollowerProgress::broker_epoch);
        if registered.max(seen).is_some_and(|newest| fetch.broker_epoch < newest) {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        Ok(())
    }

    /// Rule 10: who may join the ISR.
    fn propose_expand(&mut self, node: NodeId, around: Surroundings<'_>) -> Option<IsrProposal> {
        let IsrState::Committed { isr } = &self.isr else { return None };
        let in_sync =
            self.followers.get(&node)?.log_end() >= self.high_watermark.max(self.epoch_start);
        if isr.contains(&node)
            || !in_sync
            || !self.is_eligible(node, around.standings)
            || around.now < self.no_expand_before
        {
            return None;
        }
        let (isr, proposal) = (isr.clone(), self.proposal_id());
        self.isr = IsrState::PendingExpand { isr, adding: node, proposal };
        Some(self.proposal(proposal, around.standings))
    }

    /// Unfenced, not shutting down, its directory online, and the incarnation that fetched is the
    /// registered one.
    fn is_eligible(&self, node: NodeId, standings: &Standings) -> bool {
        let fetched = self.followers.get(&node).and_then(FollowerProgress::broker_epoch);
        let is_offline = self.offline.contains(&node);
        standings.get(&node).is_some_and(|standing| {
            standing.is_active
                && !is_offline
                && fetched.is_none_or(|epoch| epoch == standing.broker_epoch)
        })
    }

    /// Proposes to drop the members that have not been caught up for `replica.lag.time.max.ms`.
    /// Ask it every half of that time.
    pub fn shrink(&mut self, around: Surroundings<'_>) -> Option<IsrProposal> {
        let IsrState::Committed { isr } = &self.isr else { return None };
        let lags = |node: &NodeId| {
            self.followers
                .get(node)
                .is_some_and(|it| !it.is_caught_up(around.log_end, around.now, self.lag_max))
        };
        let removing: BTreeSet<NodeId> =
            isr.iter().copied().filter(|node| *node != self.local && lags(node)).collect();
        if removing.is_empty() {
            return None;
        }
        let (isr, proposal) = (isr.clone(), self.proposal_id());
        self.isr = IsrState::PendingShrink { isr, removing, proposal };
        Some(self.proposal(proposal, around.standings))
    }

    fn proposal_id(&mut self) -> ProposalId {
        self.next_proposal += 1;
        self.outcome_unknown = false;
        ProposalId(self.next_proposal)
    }

    fn proposal(&self, id: ProposalId, standings: &Standings) -> IsrProposal {
        let broker_epoch = |node: NodeId| {
            let fetched = self.followers.get(&node).and_then(FollowerProgress::broker_epoch);
            // A member that has not fetched yet in this reign stands as it is registered: had its
            // incarnation ended badly, the controller would have removed it and our version is old.
            fetched
                .or_else(|| standings.get(&node).map(|standing| standing.broker_epoch))
                .unwrap_or(BrokerEpoch::NONE)
        };
        let isr = self
            .isr
            .proposed()
            .into_iter()
            .map(|node| IsrMember { node, broker_epoch: broker_epoch(node) })
            .collect();
        IsrProposal {
            id,
            leader_epoch: self.leader_epoch,
            partition_epoch: self.partition_epoch,
            isr,
        }
    }

    /// Takes the controller's answer in (rule 7).
    pub fn answered(
        &mut self,
        id: ProposalId,
        answer: Result<IsrConfirmed, ErrorCode>,
        around: Surroundings<'_>,
    ) -> Answered {
        if self.isr.pending() != Some(id) {
            return Answered::Ignored;
        }
        match answer {
            Ok(confirmed) => self.confirmed(confirmed, around),
            // An earlier attempt may have gone through. INELIGIBLE_REPLICA rules that out, since
            // the controller looks at the version first (rule 13); this does not.
            Err(ErrorCode::OperationNotAttempted) if self.outcome_unknown => Answered::Retry,
            Err(ErrorCode::IneligibleReplica | ErrorCode::OperationNotAttempted) => {
                self.isr = IsrState::Committed { isr: self.isr.committed().clone() };
                self.no_expand_before = around.now.plus(PAUSE_AFTER_REFUSAL);
                Answered::Reverted
            }
            Err(
                ErrorCode::UnknownTopicOrPartition
                | ErrorCode::UnknownTopicId
                | ErrorCode::FencedLeaderEpoch
                | ErrorCode::InvalidUpdateVersion
                | ErrorCode::InvalidRequest
                | ErrorCode::NewLeaderElected,
            ) => Answered::AwaitsMetadata,
            Err(_unexpected) => {
                self.outcome_unknown = true;
                Answered::Retry
            }
        }
    }

    fn confirmed(&mut self, confirmed: IsrConfirmed, around: Surroundings<'_>) -> Answered {
        if confirmed.leader_epoch != self.leader_epoch
            || confirmed.partition_epoch < self.partition_epoch
        {
            return Answered::Ignored;
        }
        self.partition_epoch = confirmed.partition_epoch;
        self.isr = IsrState::Committed { isr: confirmed.isr.into_iter().collect() };
        self.elr = confirmed.elr.into_iter().collect();
        let high_watermark = self.advance(around);
        Answered::Confirmed(Progressed { high_watermark, proposal: None })
    }

    /// Moves the high watermark up as far as rules 6 and 8 allow; the new one, if it rose.
    pub fn advance(&mut self, around: Surroundings<'_>) -> Option<Offset> {
        if self.is_below_minimum() {
            return None;
        }
        let held_back_by = |(node, progress): (&NodeId, &FollowerProgress)| {
            let counts = self.isr.maximal_contains(*node)
                || (progress.is_caught_up(around.log_end, around.now, self.lag_max)
                    && self.is_eligible(*node, around.standings));
            counts.then(|| progress.log_end())
        };
        let lowest = self.followers.iter().filter_map(held_back_by).min();
        let candidate = lowest.map_or(around.log_end, |lowest| lowest.min(around.log_end));
        (candidate > self.high_watermark).then(|| {
            self.high_watermark = candidate;
            candidate
        })
    }

    /// Rule 8: a partition with fewer replicas than the configured minimum needs them all.
    pub fn effective_min_isr(&self) -> usize {
        self.min_isr.min(self.followers.len() + 1)
    }

    /// Rules 8 and 14. The minimum that this node knows may not be the one that the controller counted
    /// by: an answer to a proposal is here before the metadata with a higher minimum, and the two may
    /// have different files. Who is eligible to lead came with the ISR, so it cannot be out of step
    /// with it: what is committed without an eligible leader is lost where that one is elected.
    fn is_below_minimum(&self) -> bool {
        self.isr.committed().len() < self.effective_min_isr() || !self.elr.is_empty()
    }

    /// Rule 9: acks=all is refused up front while the ISR is below its minimum.
    pub fn check_acks_all(&self) -> Result<(), ErrorCode> {
        if self.is_below_minimum() {
            return Err(ErrorCode::NotEnoughReplicas);
        }
        Ok(())
    }

    /// Rule 9: whether what was appended below `next_offset` is committed; `None`: not yet.
    pub fn committed(&self, next_offset: Offset) -> Option<Result<(), ErrorCode>> {
        if self.high_watermark < next_offset {
            None
        } else if self.isr.maximal_len() < self.effective_min_isr() {
            Some(Err(ErrorCode::NotEnoughReplicasAfterAppend))
        } else {
            Some(Ok(()))
        }
    }

    /// What no replica that is up keeps any more: the lowest of their log starts, `log_start` being
    /// this node's. Unknown while one of them has not fetched in this reign. A replica that is
    /// down is told when it comes back.
    pub fn low_watermark(&self, log_start: Offset, standings: &Standings) -> Offset {
        let is_up = |node: NodeId| {
            self.isr.maximal_contains(node)
                || standings.get(&node).is_some_and(|standing| standing.is_active)
        };
        let up = self.followers.iter().filter(|(node, _)| is_up(**node));
        up.map(|(_, progress)| progress.log_start()).fold(log_start, Offset::min)
    }

    /// Rule 18: after an election the high watermark may lie below what was committed, until it
    /// reaches the start of the reign; until then the end of the log is not told to consumers.
    pub fn is_settled(&self) -> bool {
        self.high_watermark >= self.epoch_start
    }

    /// Rule 18: the followers from which a consumer may read at `offset`: in the ISR, unfenced,
    /// and their log holds it.
    pub fn readable_followers(
        &self,
        offset: Offset,
        standings: &Standings,
    ) -> impl Iterator<Item = (NodeId, &FollowerProgress)> {
        self.followers.iter().map(|(node, progress)| (*node, progress)).filter(
            move |(node, progress)| {
                self.isr.committed().contains(node)
                    && standings.get(node).is_some_and(|standing| standing.is_active)
                    && progress.log_start() != Offset::UNKNOWN
                    && (progress.log_start()..=progress.log_end()).contains(&offset)
            },
        )
    }

    /// The reign.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// Where the reign began in the log.
    pub fn epoch_start(&self) -> Offset {
        self.epoch_start
    }

    /// The version of the registration that is known here.
    pub fn partition_epoch(&self) -> PartitionEpoch {
        self.partition_epoch
    }

    /// Everything below is committed.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The ISR with its pending change.
    pub fn isr(&self) -> &IsrState {
        &self.isr
    }

    /// The followers by node.
    pub fn followers(&self) -> &BTreeMap<NodeId, FollowerProgress> {
        &self.followers
    }
}
