//! A classic group: its members, what follows from them, and where it stands.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use imbl::{OrdMap, OrdSet};

use crate::coordinator::group::classic::history::Begun;
use crate::coordinator::group::classic::member::{Member, duration_of};
use crate::coordinator::group::classic::state::State;
use crate::coordinator::group::ids::{InstanceId, MemberId};
use crate::coordinator::group::offsets::RetentionFrom;
use crate::protocol::consumer_protocol::CONSUMER;
use crate::types::clock::Monotonic;
use crate::types::machine::Now;
use crate::types::{ErrorCode, TimestampMs};

/// No rebalance is shorter, so that a member that asks for no time at all costs no busy loop.
const MIN_REBALANCE: Duration = Duration::from_millis(1);

/// Where a group stands, with the deadlines of that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::coordinator::group) enum Phase {
    /// No members.
    Empty,
    /// Members join, until then at the latest.
    Preparing {
        /// When those that have not joined are left behind.
        until: Monotonic,
        /// The group was Empty: it waits for further members although all have joined.
        initial: Option<InitialDelay>,
    },
    /// The leader assigns.
    Completing {
        /// When those that have not synced are removed.
        until: Monotonic,
    },
    /// Assigned.
    Stable {
        /// When those that have not synced are removed; none if all have.
        until: Option<Monotonic>,
    },
}

/// How an Empty group waits for its first members (`group.initial.rebalance.delay.ms`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::coordinator::group) struct InitialDelay {
    /// How long this wait is.
    pub delay: Duration,
    /// By how much it may yet be prolonged.
    pub remaining: Duration,
    /// Whether a member came since it began.
    pub more_came: bool,
}

/// A group whose members assign. A clone costs next to nothing: what is large is shared.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::coordinator::group) struct ClassicGroup {
    /// Which generation of members it has come to.
    pub(super) generation: i32,
    /// What it does, e.g. `consumer`; none of a group that nobody ever joined.
    pub(super) protocol_type: Option<Arc<str>>,
    /// The assignor of this generation.
    pub(super) protocol: Option<Arc<str>>,
    /// The member that assigns.
    pub(super) leader: Option<MemberId>,
    /// Where it stands.
    pub(super) phase: Phase,
    /// Since when it has this state, if that was ever said.
    pub(super) since: Option<TimestampMs>,
    /// Its members. Changed through [`ClassicGroup::insert`] and [`ClassicGroup::remove`] only, which
    /// keep what follows from them.
    members: OrdMap<MemberId, Arc<Member>>,
    /// Static members by their lasting names.
    statics: OrdMap<InstanceId, MemberId>,
    /// When members and pending members are given up.
    sessions: OrdSet<(Monotonic, MemberId)>,
    /// How many members support each assignor.
    supported: Arc<Vec<(Arc<str>, usize)>>,
    /// How many members wait with a JoinGroup.
    joined: usize,
    /// Members that have been given an id to join with (KIP-394), and until when that holds.
    pub(super) pending: OrdMap<MemberId, Monotonic>,
    /// Members of this generation that have yet to sync.
    pub(super) unsynced: OrdSet<MemberId>,
    /// The topics that the members of this generation subscribe to, where that can be told.
    pub(super) subscribed: Option<Arc<BTreeSet<Box<str>>>>,
    /// The assignment that was handed in last, by the ids that its members have now.
    pub(super) assigned: Arc<[(MemberId, Bytes)]>,
    /// The rebalance that is under way.
    pub(super) begun: Option<Arc<Begun>>,
    /// Whether there is something of it in the log.
    pub(super) kept: bool,
}

impl ClassicGroup {
    /// A group that is about to get its first member.
    pub fn new() -> Self {
        Self {
            generation: 0,
            protocol_type: None,
            protocol: None,
            leader: None,
            phase: Phase::Empty,
            since: None,
            members: OrdMap::new(),
            statics: OrdMap::new(),
            sessions: OrdSet::new(),
            supported: Arc::default(),
            joined: 0,
            pending: OrdMap::new(),
            unsynced: OrdSet::new(),
            subscribed: None,
            assigned: Arc::default(),
            begun: None,
            kept: false,
        }
    }

    /// A group that nobody joined and that commits offsets all the same: Empty, no protocol type.
    pub fn simple() -> Self {
        Self { kept: true, ..Self::new() }
    }

    /// Its state.
    pub fn state(&self) -> State {
        match self.phase {
            Phase::Empty => State::Empty,
            Phase::Preparing { .. } => State::PreparingRebalance,
            Phase::Completing { .. } => State::CompletingRebalance,
            Phase::Stable { .. } => State::Stable,
        }
    }

    /// Goes over to another state.
    pub(super) fn enter(&mut self, phase: Phase, now: Now) {
        let from = self.state();
        self.phase = phase;
        self.since = Some(now.wall);
        debug_assert!(from.may_become(self.state()), "{from} to {}", self.state());
    }

    /// The generation of its members.
    pub fn generation(&self) -> i32 {
        self.generation
    }

    /// What it does; none of a group that nobody ever joined.
    pub fn protocol_type(&self) -> Option<&str> {
        self.protocol_type.as_deref()
    }

    /// The assignor of this generation.
    pub fn protocol(&self) -> Option<&str> {
        self.protocol.as_deref()
    }

    /// Whether its members are consumers.
    pub fn is_of_consumers(&self) -> bool {
        self.protocol_type() == Some(CONSUMER)
    }

    /// When time will change something about it.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        let of_phase = match self.phase {
            Phase::Empty => None,
            Phase::Preparing { until, .. } | Phase::Completing { until } => Some(until),
            Phase::Stable { until } => until,
        };
        of_phase.into_iter().chain(self.next_session_end()).min()
    }

    /// When the next member is given up.
    fn next_session_end(&self) -> Option<Monotonic> {
        self.sessions.get_min().map(|(at, _)| *at)
    }

    /// A member that is to be given up now.
    pub(super) fn lost_member(&self, now: Monotonic) -> Option<MemberId> {
        self.sessions.get_min().filter(|(at, _)| *at <= now).map(|(_, id)| id.clone())
    }

    /// Its members, by id.
    pub fn members(&self) -> impl Iterator<Item = &Arc<Member>> {
        self.members.values()
    }

    /// How many members it has.
    pub fn size(&self) -> usize {
        self.members.len()
    }

    /// A member.
    pub fn member(&self, id: &str) -> Option<&Arc<Member>> {
        self.members.get(id)
    }

    /// The id of a static member.
    pub fn static_member(&self, instance: &str) -> Option<&MemberId> {
        self.statics.get(instance)
    }

    /// How many members wait with a JoinGroup.
    pub(super) fn joined(&self) -> usize {
        self.joined
    }

    /// Whether nobody is waited for any more.
    pub(super) fn all_joined(&self) -> bool {
        self.joined == self.members.len() && self.pending.is_empty()
    }

    /// Whether nothing is left of it that anybody could ask for.
    pub(super) fn is_forgettable(&self) -> bool {
        !self.kept && self.phase == Phase::Empty && self.pending.is_empty()
    }

    /// How long its slowest member may take to join again.
    pub(super) fn rebalance_timeout(&self) -> Duration {
        let slowest = self.members().map(|member| member.rebalance_timeout_ms).max();
        duration_of(slowest.unwrap_or_default()).max(MIN_REBALANCE)
    }

    /// Adds a member, or puts a changed one in the place of itself.
    pub(super) fn insert(&mut self, member: Member) {
        let before = self.members.get(&member.id).cloned();
        if let Some(before) = &before {
            self.forget_session(before);
            self.joined -= usize::from(before.join.is_some());
        }
        if before.as_ref().is_none_or(|before| before.protocols != member.protocols) {
            if let Some(before) = &before {
                self.count_protocols(before, |count| count.saturating_sub(1));
            }
            self.count_protocols(&member, |count| count + 1);
        }
        if let Some(instance) = &member.instance {
            self.statics.insert(instance.clone(), member.id.clone());
        }
        if let Some(ends) = member.session_ends {
            self.sessions.insert((ends, member.id.clone()));
        }
        self.joined += usize::from(member.join.is_some());
        self.leader.get_or_insert_with(|| member.id.clone());
        self.members.insert(member.id.clone(), Arc::new(member));
    }

    /// Takes a member or a pending member away. If it was the leader another one is.
    pub(super) fn remove(&mut self, id: &str) -> Option<Arc<Member>> {
        self.remove_pending(id);
        self.unsynced.remove(id);
        let member = self.members.remove(id)?;
        self.forget_session(&member);
        self.joined -= usize::from(member.join.is_some());
        self.count_protocols(&member, |count| count.saturating_sub(1));
        if let Some(instance) = &member.instance {
            self.statics.remove(instance);
        }
        if self.leader.as_deref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    /// Changes a member.
    pub(super) fn change(&mut self, id: &str, change: impl FnOnce(&mut Member)) {
        if let Some(member) = self.members.get(id) {
            let mut member = Member::clone(member);
            change(&mut member);
            self.insert(member);
        }
    }

    /// A member that was given its id has until `ends` to join with it.
    pub(super) fn insert_pending(&mut self, id: MemberId, ends: Monotonic) {
        self.sessions.insert((ends, id.clone()));
        self.pending.insert(id, ends);
    }

    /// A member joined with the id that it was given, or is not waited for any more.
    pub(super) fn remove_pending(&mut self, id: &str) -> bool {
        match self.pending.remove_with_key(id) {
            Some((id, ends)) => self.sessions.remove(&(ends, id)).is_some(),
            None => false,
        }
    }

    /// A member shows that it is alive.
    pub(super) fn keep_alive(&mut self, id: &str, now: Now) {
        self.change(id, |member| {
            member.session_ends = Some(now.monotonic.plus(member.session_timeout()));
        });
    }

    /// The member's SyncGroup is there.
    pub(super) fn has_synced(&mut self, id: &str) {
        self.unsynced.remove(id);
        if let Phase::Stable { until } = &mut self.phase
            && self.unsynced.is_empty()
        {
            *until = None;
        }
    }

    fn forget_session(&mut self, member: &Member) {
        if let Some(ends) = member.session_ends {
            self.sessions.remove(&(ends, member.id.clone()));
        }
    }

    fn count_protocols(&mut self, member: &Member, change: impl Fn(usize) -> usize) {
        let supported = Arc::make_mut(&mut self.supported);
        for protocol in member.protocols.iter() {
            match supported.iter_mut().find(|(name, _)| *name == protocol.name) {
                Some((_, count)) => *count = change(*count),
                None => supported.push((protocol.name.clone(), change(0))),
            }
        }
        supported.retain(|(_, count)| *count > 0);
    }

    /// Whether a member of this type with these assignors can be one of the group: the type is the
    /// group's, and one of the assignors is supported by all.
    pub(super) fn supports(&self, protocol_type: &str, names: &[&str]) -> bool {
        if self.phase == Phase::Empty {
            return !protocol_type.is_empty() && !names.is_empty();
        }
        let by_all = |name: &str| {
            let found = self.supported.iter().find(|(supported, _)| **supported == *name);
            found.map_or(0, |(_, count)| *count) == self.members.len()
        };
        self.protocol_type() == Some(protocol_type) && names.iter().any(|name| by_all(name))
    }

    /// The assignor that most members prefer among those that all support; of several the one that
    /// comes first by name.
    pub(super) fn vote(&self) -> Option<Arc<str>> {
        let by_all = self.supported.iter().filter(|(_, count)| *count == self.members.len());
        let candidates: BTreeSet<Arc<str>> = by_all.map(|(name, _)| name.clone()).collect();
        let mut votes: Vec<(Arc<str>, usize)> =
            candidates.iter().map(|name| (name.clone(), 0)).collect();
        for name in self.members().filter_map(|member| member.vote(&candidates)) {
            if let Ok(at) = votes.binary_search_by(|(candidate, _)| candidate.cmp(&name)) {
                votes[at].1 += 1;
            }
        }
        let most = votes.iter().map(|(_, count)| *count).max()?;
        votes.into_iter().find(|(_, count)| *count == most).map(|(name, _)| name)
    }

    /// The leader goes on if it joined; else one that did does.
    ///
    /// Returns whether there is such a one.
    pub(super) fn elect_joined_leader(&mut self) -> bool {
        let has_joined = |member: &Arc<Member>| member.join.is_some();
        let leader = self.leader.as_ref().and_then(|id| self.members.get(id));
        if leader.is_some_and(has_joined) {
            return true;
        }
        let joined =
            self.members().find(|member| has_joined(member)).map(|member| member.id.clone());
        match joined {
            Some(joined) => {
                self.leader = Some(joined);
                true
            }
            None => false,
        }
    }

    /// Whether this is one of its members: as Kafka asks it everywhere.
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID; FENCED_INSTANCE_ID if another member has taken the instance id over.
    pub(super) fn check_member(&self, id: &str, instance: Option<&str>) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            match self.statics.get(instance) {
                None => return Err(ErrorCode::UnknownMemberId),
                Some(member) if **member != *id => return Err(ErrorCode::FencedInstanceId),
                Some(_) => {}
            }
        }
        if self.members.contains_key(id) { Ok(()) } else { Err(ErrorCode::UnknownMemberId) }
    }

    /// Whether a member may commit offsets now (Kafka's order of checks).
    ///
    /// # Errors
    /// UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID, ILLEGAL_GENERATION, or REBALANCE_IN_PROGRESS of a member
    /// that has joined and not yet been assigned anything.
    pub fn check_commit(
        &self,
        member: &str,
        instance: Option<&str>,
        generation: i32,
    ) -> Result<(), ErrorCode> {
        if generation < 0 && self.phase == Phase::Empty {
            return Ok(());
        }
        if generation >= 0 || !member.is_empty() || instance.is_some() {
            self.check_member(member, instance)?;
            if generation != self.generation {
                return Err(ErrorCode::IllegalGeneration);
            }
        } else if self.phase != Phase::Empty {
            return Err(ErrorCode::UnknownMemberId);
        }
        match self.phase {
            Phase::Completing { .. } => Err(ErrorCode::RebalanceInProgress),
            Phase::Empty | Phase::Preparing { .. } | Phase::Stable { .. } => Ok(()),
        }
    }

    /// Whether single offsets may be deleted now.
    ///
    /// # Errors
    /// NON_EMPTY_GROUP of one with members that are not consumers.
    pub fn check_delete_offsets(&self) -> Result<(), ErrorCode> {
        match self.phase {
            Phase::Empty => Ok(()),
            _ if self.is_of_consumers() => Ok(()),
            Phase::Preparing { .. } | Phase::Completing { .. } | Phase::Stable { .. } => {
                Err(ErrorCode::NonEmptyGroup)
            }
        }
    }

    /// From when on the retention of its offsets counts (KIP-211): of a group without protocol type
    /// from the commit; of an Empty one since it became Empty; of a Stable one of consumers from the
    /// commit, for topics that it does not subscribe to; else never.
    pub fn retention_from(&self) -> RetentionFrom {
        match self.phase {
            _ if self.protocol_type.is_none() => RetentionFrom::Commit,
            Phase::Empty => self.since.map_or(RetentionFrom::Commit, RetentionFrom::Time),
            Phase::Stable { .. } if self.is_of_consumers() && self.subscribed.is_some() => {
                RetentionFrom::Commit
            }
            Phase::Preparing { .. } | Phase::Completing { .. } | Phase::Stable { .. } => {
                RetentionFrom::Never
            }
        }
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        self.phase == Phase::Empty
    }

    /// Whether a member subscribes to `topic`. Where that cannot be told, consumers may.
    pub fn is_subscribed_to(&self, topic: &str) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic),
            None => self.is_of_consumers(),
        }
    }

    /// The sessions and the support of assignors are just these.
    #[cfg(test)]
    pub(super) fn assert_indexed(
        &self,
        sessions: &BTreeSet<(Monotonic, MemberId)>,
        supported: &std::collections::BTreeMap<&str, usize>,
    ) {
        assert_eq!(&self.sessions.iter().cloned().collect::<BTreeSet<_>>(), sessions);
        let counted = self.supported.iter().map(|(name, count)| (&**name, *count));
        assert_eq!(&counted.collect::<std::collections::BTreeMap<_, _>>(), supported);
    }
}
