//! Members go: they say so, or nothing is heard of them in time.

use std::sync::Arc;

use crate::coordinator::group::command::Asked;
use crate::coordinator::group::consumer::edit::{Edit, member_tombstones};
use crate::coordinator::group::consumer::heartbeat::{known_static, open};
use crate::coordinator::group::consumer::member::{
    Current, MemberState, STATIC_LEAVE_EPOCH, Timers,
};
use crate::coordinator::group::consumer::refusal::Refusal;
use crate::coordinator::group::consumer::state::ConsumerGroup;
use crate::coordinator::group::consumer::target::{self, metadata_hash};
use crate::coordinator::group::consumer::{migrate, regex};
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::{GroupId, MemberId};
use crate::coordinator::group::rebalance::RebalanceCause;
use crate::coordinator::group::record::GroupRecord;
use crate::protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use crate::types::clock::Monotonic;

/// ConsumerGroupHeartbeat with epoch -1 or -2.
pub(super) fn leave(
    draft: &mut Draft<'_>,
    asked: &Asked<ConsumerGroupHeartbeatRequest>,
) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
    let request = &asked.body;
    let mut edit = open(draft, &request.group_id, false)?;
    let (id, member) = match &request.instance_id {
        Some(instance) => known_static(&edit, &request.member_id, instance)?,
        None => match edit.group.members.get_key_value(&*request.member_id) {
            Some((id, member)) => (id.clone(), member.clone()),
            None => return Err(Refusal::unknown_member(&request.member_id, &edit.id)),
        },
    };
    if request.member_epoch == STATIC_LEAVE_EPOCH {
        // It has what it had until it is back or its session ends.
        let next = Current {
            epoch: STATIC_LEAVE_EPOCH,
            revoking: Arc::default(),
            ..member.current.clone()
        };
        edit.set_current(&id, &next);
        edit.group.touch(&id, |member| member.timers.rebalance = None);
        edit.finish(draft);
    } else {
        fence_and_finish(draft, edit, &[id], RebalanceCause::MemberLeft, "");
    }
    Ok(ConsumerGroupHeartbeatResponse {
        member_id: Some((&*request.member_id).into()),
        member_epoch: request.member_epoch,
        ..ConsumerGroupHeartbeatResponse::default()
    })
}

/// Takes members out of the group, which becomes a classic one if only classic members remain.
pub(super) fn fence_and_finish(
    draft: &mut Draft<'_>,
    mut edit: Edit<'_>,
    ids: &[MemberId],
    cause: RebalanceCause,
    reason: &str,
) {
    if migrate::may_downgrade(&edit, ids) {
        return migrate::downgrade(draft, edit, ids, cause, reason);
    }
    fence(&mut edit, ids, cause, reason);
    edit.finish(draft);
}

/// Takes members out of the group. The others get what those had with their next heartbeats.
fn fence(edit: &mut Edit<'_>, ids: &[MemberId], cause: RebalanceCause, reason: &str) {
    edit.because(cause, ids.first(), reason);
    let before = target::targets(&edit.group);
    let last = before.iter().filter(|(id, _)| !ids.contains(id)).count() == 0;
    for id in ids {
        let Some(member) = edit.member(id).cloned() else { continue };
        if !last {
            edit.departs(id);
        }
        edit.remove(id);
        if let Some(regex) = &member.metadata.regex {
            regex::drop_unused(edit, regex);
        }
    }
    let hash = metadata_hash(&edit.group, edit.image);
    edit.set_epoch(edit.group.epoch + 1, hash);
    edit.group.look_ahead();
    if edit.group.is_empty() {
        // Nobody is left to ask for a new target: the rebalance ends here.
        if let Some(pending) = edit.group.soft.pending.take() {
            target::report(edit, &pending, &before);
        }
    }
}

/// Time has passed a deadline of the group.
pub(in crate::coordinator::group) fn expire(
    draft: &mut Draft<'_>,
    id: &GroupId,
    group: &ConsumerGroup,
) {
    let mut room = draft.room();
    let mut edit = Edit::new(draft, id.clone(), group.clone());
    let now = edit.now.monotonic;
    let is_due = |at: Option<Monotonic>| at.is_some_and(|at| at <= now);
    let overdue = |timers: &Timers| match timers {
        Timers { session, .. } if is_due(*session) => Some(RebalanceCause::SessionTimedOut),
        Timers { rebalance, .. } if is_due(*rebalance) => Some(RebalanceCause::PollTimedOut),
        Timers { join, sync, .. } if is_due(*join) || is_due(*sync) => {
            Some(RebalanceCause::RebalanceTimedOut)
        }
        _ => None,
    };
    let members = group.members.iter();
    let gone = members.filter_map(|(id, member)| Some((id.clone(), overdue(&member.timers)?)));
    // Those that there is no room for are overdue still, and go with the next tick.
    let gone: Vec<(MemberId, RebalanceCause)> = gone
        .take_while(|(member, _)| {
            let fits = room > 0;
            room = room.saturating_sub(passing_bytes(id, group, member));
            fits
        })
        .collect();
    if let Some((_, cause)) = gone.first() {
        let ids: Vec<MemberId> = gone.iter().map(|(id, _)| id.clone()).collect();
        fence_and_finish(draft, edit, &ids, *cause, "");
    } else {
        edit.group.look_ahead();
        edit.finish(draft);
    }
}

/// About how many bytes it takes to take a member away, with the expression that it may have had.
fn passing_bytes(id: &GroupId, group: &ConsumerGroup, member: &MemberId) -> usize {
    let regex = group.members.get(member).and_then(|member| member.metadata.regex.as_deref());
    let tombstones = member_tombstones(id, member);
    tombstones.iter().map(GroupRecord::size_bytes).sum::<usize>() + regex.map_or(0, str::len)
}

/// The group has been read from the log: every member gets a full session, and who has partitions
/// to give up gets the whole time for it.
pub(in crate::coordinator::group) fn loaded(
    draft: &mut Draft<'_>,
    id: &GroupId,
    group: &ConsumerGroup,
) {
    let mut edit = Edit::new(draft, id.clone(), group.clone());
    edit.group.soft = Default::default();
    let now = edit.now.monotonic;
    for id in group.members.keys() {
        let default = edit.times.session_timeout;
        edit.group.touch(id, |member| {
            let session = Some(now.plus(member.session_timeout(default)));
            let revokes = member.current.state == MemberState::UnrevokedPartitions;
            let deadline = now.plus(member.metadata.rebalance_timeout());
            let rebalance = (revokes && !member.is_classic()).then_some(deadline);
            member.timers = Timers { session, rebalance, ..Timers::default() };
        });
    }
    if edit.group.epoch > edit.group.target_epoch && !edit.group.is_empty() {
        edit.because(RebalanceCause::CoordinatorMoved, None, "");
    }
    edit.finish(draft);
}

/// Takes an Empty group away, with tombstones for all that is stored of it but its offsets.
pub(in crate::coordinator::group) fn remove(
    draft: &mut Draft<'_>,
    id: &GroupId,
    group: &ConsumerGroup,
) {
    for record in group.tombstones(id) {
        draft.record(record);
    }
    draft.put(id, None);
}
