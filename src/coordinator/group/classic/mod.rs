//! The classic protocol: the members of a group assign partitions among themselves. As Kafka's
//! group coordinator has it; where this one differs the place says so.
//!
//! - [`state`]: the states and which may follow which; `group`, `member`: what there is of a group
//! - `join`, `sync`, `leave`, `timeouts`: what changes it; `rebalance`: from one generation to the next
//! - `answers`: what members are told; `describe`: what tools are told
//! - `stored`: the durable part; `history`: what is remembered of a rebalance
//!
//! Only Stable and Empty groups are in the log: a rebalance that a failover interrupts begins anew.

mod answers;
mod describe;
mod group;
mod history;
mod join;
mod leave;
mod member;
mod rebalance;
mod state;
mod stored;
mod sync;
mod timeouts;

#[cfg(test)]
mod tests;

use crate::coordinator::group::classic::answers::{refuse_join, refuse_sync};
use crate::coordinator::group::classic::member::ParkedJoin;
use crate::coordinator::group::command::{Answer, Asked};
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::GroupId;
use crate::coordinator::group::machine::Group;
use crate::coordinator::group::record::GroupRecord;
use crate::protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::protocol::messages::join_group::JoinGroupRequest;
use crate::protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use crate::protocol::messages::sync_group::SyncGroupRequest;
use crate::types::ErrorCode;
use crate::types::machine::Now;

pub(super) use group::{ClassicGroup, Phase};
#[allow(unused_imports)] // for groups that change over from the consumer protocol and back
pub(super) use history::Trigger;
#[allow(unused_imports)]
pub(super) use member::{Member, Protocol};
#[allow(unused_imports)]
pub(super) use rebalance::prepare;
#[allow(unused_imports)]
pub(super) use state::State;
pub(super) use stored::apply;

/// JoinGroup.
pub(super) fn join(draft: &mut Draft<'_>, asked: Asked<JoinGroupRequest>) {
    let parked = ParkedJoin::of(&asked);
    let member = asked.body.member_id.as_str();
    if let Err(error) = join::check_request(draft.config(), &asked) {
        return refuse_join(draft, parked, member, error);
    }
    let id = GroupId::from(asked.body.group_id.as_str());
    let mut group = match draft.group(&id).map(|group| &**group) {
        Some(Group::Classic(group)) => group.clone(),
        Some(Group::Consumer(_)) => {
            return refuse_join(draft, parked, "", ErrorCode::InconsistentGroupProtocol);
        }
        None if member.is_empty() => ClassicGroup::new(),
        None => return refuse_join(draft, parked, member, ErrorCode::UnknownMemberId),
    };
    join::join(draft, &id, &mut group, &asked);
    put(draft, &id, group);
}

/// SyncGroup.
pub(super) fn sync(draft: &mut Draft<'_>, asked: Asked<SyncGroupRequest>) {
    match find(draft, &asked.body.group_id) {
        Ok((id, mut group)) => {
            sync::sync(draft, &id, &mut group, &asked);
            put(draft, &id, group);
        }
        Err(error) => refuse_sync(draft, asked.request, error),
    }
}

/// Heartbeat.
pub(super) fn heartbeat(draft: &mut Draft<'_>, asked: Asked<HeartbeatRequest>) {
    let error = match find(draft, &asked.body.group_id) {
        Ok((id, mut group)) => {
            let error = heard_of(&mut group, draft.now, &asked.body);
            put(draft, &id, group);
            error
        }
        Err(error) => error,
    };
    let response = HeartbeatResponse { error_code: error.code(), ..HeartbeatResponse::default() };
    draft.reply(asked.request, Answer::Heartbeat(response));
}

/// A member is alive; while the members join it is told that it has to as well.
fn heard_of(group: &mut ClassicGroup, now: Now, body: &HeartbeatRequest) -> ErrorCode {
    let checked = group.check_member(&body.member_id, body.group_instance_id.as_deref());
    if let Err(error) = checked {
        return error;
    }
    if body.generation_id != group.generation() {
        return ErrorCode::IllegalGeneration;
    }
    keep_alive(group, &body.member_id, now);
    match group.phase {
        Phase::Empty => ErrorCode::UnknownMemberId,
        Phase::Preparing { .. } => ErrorCode::RebalanceInProgress,
        Phase::Completing { .. } | Phase::Stable { .. } => ErrorCode::None,
    }
}

/// One that waits for the coordinator needs no session: that begins with the answer.
fn keep_alive(group: &mut ClassicGroup, member: &str, now: Now) {
    let waits = |member: &Member| member.join.is_some() || member.sync.is_some();
    if group.member(member).is_some_and(|member| !waits(member)) {
        group.keep_alive(member, now);
    }
}

/// LeaveGroup. A group that is not there has no members: each of the leaving is told so.
pub(super) fn leave(draft: &mut Draft<'_>, asked: Asked<LeaveGroupRequest>) {
    let leaving = &asked.body.members;
    let response = match find(draft, &asked.body.group_id) {
        Ok((id, mut group)) => {
            let members = leave::leave(draft, &id, &mut group, leaving);
            put(draft, &id, group);
            LeaveGroupResponse { members, ..LeaveGroupResponse::default() }
        }
        Err(ErrorCode::UnknownMemberId) => {
            let unknown = leaving.iter().map(|one| leave::result(one, ErrorCode::UnknownMemberId));
            LeaveGroupResponse { members: unknown.collect(), ..LeaveGroupResponse::default() }
        }
        Err(error) => {
            LeaveGroupResponse { error_code: error.code(), ..LeaveGroupResponse::default() }
        }
    };
    draft.reply(asked.request, Answer::Leave(response));
}

/// A member committed offsets, which shows that it is alive.
pub(super) fn committed(draft: &mut Draft<'_>, id: &GroupId, member: &str) {
    if let Some(Group::Classic(group)) = draft.group(id).map(|group| &**group)
        && group.member(member).is_some()
    {
        let mut group = group.clone();
        keep_alive(&mut group, member, draft.now);
        put(draft, id, group);
    }
}

/// Time has passed a deadline of the group.
pub(super) fn expire(draft: &mut Draft<'_>, id: &GroupId, group: &ClassicGroup) {
    let mut group = group.clone();
    timeouts::expire(draft, id, &mut group);
    put(draft, id, group);
}

/// The group has been read from the log: every member gets a full session.
pub(super) fn loaded(draft: &mut Draft<'_>, id: &GroupId, group: &ClassicGroup) {
    if group.size() > 0 {
        let mut group = group.clone();
        timeouts::loaded(draft, id, &mut group);
        put(draft, id, group);
    }
}

/// Takes an Empty group away, with a tombstone for what is stored of it besides its offsets.
pub(super) fn remove(draft: &mut Draft<'_>, id: &GroupId) {
    draft.record(GroupRecord::Classic { group: id.clone(), value: None });
    draft.put(id, None);
}

/// A classic group of that name.
fn find(draft: &Draft<'_>, id: &str) -> Result<(GroupId, ClassicGroup), ErrorCode> {
    if id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    match draft.group(id).map(|group| &**group) {
        Some(Group::Classic(group)) => Ok((GroupId::from(id), group.clone())),
        Some(Group::Consumer(_)) | None => Err(ErrorCode::UnknownMemberId),
    }
}

/// Puts a changed group back, or takes it away if it is as if it had never been.
fn put(draft: &mut Draft<'_>, id: &GroupId, group: ClassicGroup) {
    let forget = group.is_forgettable() && draft.machine.offsets.of(id).next().is_none();
    draft.put(id, (!forget).then_some(Group::Classic(group)));
}
