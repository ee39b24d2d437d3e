//! From one generation to the next: members are called to join, then the joined ones are settled.

use std::sync::Arc;

use bytes::Bytes;

use crate::coordinator::group::classic::answers::{refuse_parked, refuse_sync};
use crate::coordinator::group::classic::group::{ClassicGroup, InitialDelay, Phase};
use crate::coordinator::group::classic::history::{Begun, Trigger};
use crate::coordinator::group::classic::member::Member;
use crate::coordinator::group::classic::state::State;
use crate::coordinator::group::command::{Answer, Effect};
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::{GroupId, MemberId};
use crate::coordinator::group::record::GroupRecord;
use crate::types::ErrorCode;

/// Begins a rebalance if the group is in none, else settles the members if all have joined.
pub(super) fn rebalance_or_settle(
    draft: &mut Draft<'_>,
    id: &GroupId,
    group: &mut ClassicGroup,
    trigger: Trigger,
) {
    if group.state().may_become(State::PreparingRebalance) {
        prepare(draft, id, group, trigger);
    } else {
        settle_if_all_joined(draft, id, group);
    }
}

/// Calls the members to join. A group that was Empty waits for further ones (KIP-134); any other is
/// settled at once if all have joined already.
pub(in crate::coordinator::group) fn prepare(
    draft: &mut Draft<'_>,
    id: &GroupId,
    group: &mut ClassicGroup,
    trigger: Trigger,
) {
    if matches!(group.phase, Phase::Completing { .. }) {
        interrupt_sync(draft, group);
    }
    group.unsynced.clear();
    let now = draft.now;
    group.begun.get_or_insert_with(|| Arc::new(Begun { at: now, trigger }));
    let timeout = group.rebalance_timeout();
    let initial = group.is_empty().then(|| {
        let delay = draft.config().initial_rebalance_delay;
        InitialDelay { delay, remaining: timeout.saturating_sub(delay), more_came: false }
    });
    let wait = initial.map_or(timeout, |initial| initial.delay);
    group.enter(Phase::Preparing { until: now.monotonic.plus(wait), initial }, now);
    settle_if_all_joined(draft, id, group);
}

/// Members that wait for their assignment are to join again instead.
fn interrupt_sync(draft: &mut Draft<'_>, group: &mut ClassicGroup) {
    let now = draft.now;
    for member in group.members().cloned().collect::<Vec<Arc<Member>>>() {
        if let Some(sync) = member.sync {
            refuse_sync(draft, sync, ErrorCode::RebalanceInProgress);
        }
        group.change(&member.id, |member| {
            member.assignment = Bytes::new();
            let waited = member.sync.take().is_some();
            if waited && member.join.is_none() {
                member.session_ends = Some(now.monotonic.plus(member.session_timeout()));
            }
        });
    }
}

/// Settles the members if all have joined, but for a group that waits for its first ones.
pub(super) fn settle_if_all_joined(draft: &mut Draft<'_>, id: &GroupId, group: &mut ClassicGroup) {
    if matches!(group.phase, Phase::Preparing { initial: None, .. }) && group.all_joined() {
        settle(draft, id, group);
    }
}

/// The wait for the first members is over: waits once more if others have come meanwhile.
pub(super) fn prolong_or_settle(
    draft: &mut Draft<'_>,
    id: &GroupId,
    group: &mut ClassicGroup,
    initial: InitialDelay,
) {
    let delay = draft.config().initial_rebalance_delay.min(initial.remaining);
    if !initial.more_came || delay.is_zero() {
        return settle(draft, id, group);
    }
    let remaining = initial.remaining.saturating_sub(initial.delay);
    let until = draft.now.monotonic.plus(delay);
    let initial = Some(InitialDelay { delay, remaining, more_came: false });
    group.phase = Phase::Preparing { until, initial };
}

/// Settles who the members of the next generation are: those that joined, and static ones. If only
/// static ones are left and none of them joined it waits on, until their sessions end.
pub(super) fn settle(draft: &mut Draft<'_>, id: &GroupId, group: &mut ClassicGroup) {
    let late = group.members().filter(|member| member.join.is_none() && member.instance.is_none());
    for member in late.map(|member| member.id.clone()).collect::<Vec<MemberId>>() {
        group.remove(&member);
    }
    if group.size() == 0 {
        become_empty(draft, id, group);
    } else if group.elect_joined_leader() {
        begin_generation(draft, group);
    } else {
        let until = draft.now.monotonic.plus(group.rebalance_timeout());
        group.phase = Phase::Preparing { until, initial: None };
    }
}

fn become_empty(draft: &mut Draft<'_>, id: &GroupId, group: &mut ClassicGroup) {
    let now = draft.now;
    group.next_generation();
    group.protocol = None;
    group.leader = None;
    group.remember_subscriptions();
    group.enter(Phase::Empty, now);
    let rebalance = group.finish_rebalance(id, now);
    if !group.kept {
        // No generation of it was ever assigned: there is nothing to take back.
        return;
    }
    record(draft, id, group);
    if let Some(rebalance) = rebalance {
        draft.effect(Effect::Rebalanced(rebalance));
    }
}

/// Tells all that joined who they are now, and waits for their SyncGroups.
fn begin_generation(draft: &mut Draft<'_>, group: &mut ClassicGroup) {
    let now = draft.now;
    group.next_generation();
    group.protocol = group.vote();
    group.remember_subscriptions();
    let until = now.monotonic.plus(group.rebalance_timeout());
    group.enter(Phase::Completing { until }, now);
    for member in group.members().cloned().collect::<Vec<Arc<Member>>>() {
        if let Some(join) = member.join {
            let answer = group.joined_answer(&member.id, join.version);
            draft.reply(join.request, Answer::Join(answer));
        }
        group.change(&member.id, |member| {
            member.join = None;
            member.is_new = false;
            member.session_ends = Some(now.monotonic.plus(member.session_timeout()));
        });
        group.unsynced.insert(member.id.clone());
    }
}

/// Writes the group down as it is.
pub(super) fn record(draft: &mut Draft<'_>, id: &GroupId, group: &mut ClassicGroup) {
    group.kept = true;
    draft.record(GroupRecord::Classic { group: id.clone(), value: Some(group.to_stored()) });
}

/// Takes a member away and has the client know, if it waits for something, that it is none.
pub(super) fn give_up(
    draft: &mut Draft<'_>,
    group: &mut ClassicGroup,
    id: &str,
) -> Option<Arc<Member>> {
    let member = group.remove(id)?;
    refuse_parked(draft, &member, "", ErrorCode::UnknownMemberId);
    Some(member)
}

impl ClassicGroup {
    /// A generation's number is never below zero: that means "none" on the wire.
    fn next_generation(&mut self) {
        self.generation = self.generation.checked_add(1).unwrap_or(1);
    }
}
