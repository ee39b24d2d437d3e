//! JoinGroup: a member comes, comes again, or takes over from its former self.

use std::sync::Arc;
use std::time::Duration;

use crate::coordinator::group::classic::answers::{refuse_join, refuse_parked};
use crate::coordinator::group::classic::group::{ClassicGroup, Phase};
use crate::coordinator::group::classic::history::Trigger;
use crate::coordinator::group::classic::member::{Member, ParkedJoin, duration_of};
use crate::coordinator::group::classic::rebalance::{
    give_up, prepare, rebalance_or_settle, record, settle_if_all_joined,
};
use crate::coordinator::group::classic::stored::subscribed_topics;
use crate::coordinator::group::command::{Answer, Asked};
use crate::coordinator::group::config::GroupConfig;
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::{GroupId, MemberId};
use crate::coordinator::group::rebalance::RebalanceCause;
use crate::protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::types::ErrorCode;

type Join = Asked<JoinGroupRequest>;

/// How long a new member's JoinGroup waits at most: it has no id yet to send heartbeats with, and
/// a client that went and came back would leave one member behind each time.
const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(300);

/// From this version on a dynamic member is given its id first (KIP-394).
const MEMBER_ID_REQUIRED: i16 = 4;

/// From this version on a leader can be told that it need not assign (KIP-814).
const SKIP_ASSIGNMENT: i16 = 9;

/// What is wrong with a request whatever the group is.
pub(super) fn check_request(config: &GroupConfig, asked: &Join) -> Result<(), ErrorCode> {
    if asked.body.group_id.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let allowed = config.min_session_timeout..=config.max_session_timeout;
    let timeout_ms = asked.body.session_timeout_ms;
    if timeout_ms < 0 || !allowed.contains(&duration_of(timeout_ms)) {
        return Err(ErrorCode::InvalidSessionTimeout);
    }
    Ok(())
}

/// A member joins a group that there is, or that it makes.
pub(super) fn join(draft: &mut Draft<'_>, id: &GroupId, group: &mut ClassicGroup, asked: &Join) {
    let member = asked.body.member_id.as_str();
    let parked = ParkedJoin::of(asked);
    if !has_room(group, member, draft.config().max_size) {
        give_up(draft, group, member);
        group.remove_pending(member);
        refuse_join(draft, parked, "", ErrorCode::GroupMaxSizeReached);
        return settle_if_all_joined(draft, id, group);
    }
    let protocols = &asked.body.protocols;
    let names: Vec<&str> = protocols.iter().map(|protocol| protocol.name.as_str()).collect();
    if !group.supports(&asked.body.protocol_type, &names) {
        return refuse_join(draft, parked, member, ErrorCode::InconsistentGroupProtocol);
    }
    match &asked.body.group_instance_id {
        None if member.is_empty() => join_unknown(draft, id, group, asked),
        Some(instance) if member.is_empty() => match group.static_member(instance).cloned() {
            Some(former) => take_over(draft, id, group, &former, asked),
            None => add(draft, id, group, fresh_id(asked), asked),
        },
        None if group.remove_pending(member) => {
            add(draft, id, group, MemberId::from(member), asked);
        }
        _ => join_known(draft, id, group, asked),
    }
}

/// While members join those that did count, so that of too many the last are turned away.
fn has_room(group: &ClassicGroup, member: &str, max_size: usize) -> bool {
    let known = group.member(member);
    match group.phase {
        Phase::Empty => true,
        Phase::Preparing { .. } => {
            known.is_some_and(|member| member.join.is_some()) || group.joined() < max_size
        }
        Phase::Completing { .. } | Phase::Stable { .. } => {
            known.is_some() || group.size() < max_size
        }
    }
}

/// `client_id-uuid`, or `instance_id-uuid` for a static member.
fn fresh_id(asked: &Join) -> MemberId {
    let name = asked.body.group_instance_id.as_deref().unwrap_or(&asked.client.id);
    MemberId::from(format!("{name}-{}", asked.fresh).as_str())
}

/// A dynamic member without an id: it is given one, and has its session timeout to join with it.
fn join_unknown(draft: &mut Draft<'_>, id: &GroupId, group: &mut ClassicGroup, asked: &Join) {
    let member = fresh_id(asked);
    if asked.version < MEMBER_ID_REQUIRED {
        return add(draft, id, group, member, asked);
    }
    refuse_join(draft, ParkedJoin::of(asked), &member, ErrorCode::MemberIdRequired);
    let ends = draft.now.monotonic.plus(duration_of(asked.body.session_timeout_ms));
    group.insert_pending(member, ends);
}

/// A member is added, waits, and starts a rebalance.
fn add(
    draft: &mut Draft<'_>,
    id: &GroupId,
    group: &mut ClassicGroup,
    member: MemberId,
    asked: &Join,
) {
    if let Phase::Preparing { initial: Some(initial), .. } = &mut group.phase {
        initial.more_came = true;
    }
    if group.size() == 0 {
        group.protocol_type = Some(Arc::from(asked.body.protocol_type.as_str()));
    }
    let member = Member {
        session_ends: Some(draft.now.monotonic.plus(NEW_MEMBER_JOIN_TIMEOUT)),
        join: Some(ParkedJoin::of(asked)),
        ..Member::joining(member, asked)
    };
    let trigger = Trigger::by(&member, RebalanceCause::MemberJoined, reason(asked));
    group.insert(member);
    rebalance_or_settle(draft, id, group, trigger);
}

/// A member with an id that it did not just get.
fn join_known(draft: &mut Draft<'_>, id: &GroupId, group: &mut ClassicGroup, asked: &Join) {
    let name = asked.body.member_id.as_str();
    let checked = group.check_member(name, asked.body.group_instance_id.as_deref());
    let member = match (checked, group.member(name)) {
        (Ok(()), Some(member)) => member.clone(),
        (Err(error), _) => return refuse_join(draft, ParkedJoin::of(asked), name, error),
        (Ok(()), None) => {
            return refuse_join(draft, ParkedJoin::of(asked), name, ErrorCode::UnknownMemberId);
        }
    };
    let unchanged = member.supports_just(&asked.body.protocols);
    let is_leader = group.leader.as_ref() == Some(&member.id);
    match group.phase {
        // It has not had the answer to its last JoinGroup: the generation is settled.
        Phase::Completing { .. } if unchanged => {
            let answer = group.joined_answer(&member.id, asked.version);
            draft.reply(asked.request, Answer::Join(answer));
        }
        // A leader wants to assign anew; anyone else can just sync.
        Phase::Stable { .. } if unchanged && !is_leader => {
            let answer = group.generation_answer(&member.id, asked.version);
            draft.reply(asked.request, Answer::Join(answer));
        }
        Phase::Empty => {
            refuse_join(draft, ParkedJoin::of(asked), name, ErrorCode::UnknownMemberId);
        }
        Phase::Preparing { .. } | Phase::Completing { .. } | Phase::Stable { .. } => {
            park(draft, group, &member, asked);
            let cause = cause_of_rejoin(group, &member, is_leader);
            let trigger = Trigger::by(&member, cause, reason(asked));
            rebalance_or_settle(draft, id, group, trigger);
        }
    }
}

/// A member waits with a further JoinGroup. One that it waits with already has lost its client.
fn park(draft: &mut Draft<'_>, group: &mut ClassicGroup, member: &Member, asked: &Join) {
    if let Some(lost) = member.join {
        refuse_join(draft, lost, &member.id, ErrorCode::RebalanceInProgress);
    }
    group.change(&member.id, |member| {
        member.join_again(asked);
        if !member.is_new {
            member.session_ends = None;
        }
    });
}

/// Why a member joins again that was there `before`. Members of cooperative assignors say with each
/// rebalance what they own: only other topics or assignors are another subscription.
fn cause_of_rejoin(group: &ClassicGroup, before: &Member, is_leader: bool) -> RebalanceCause {
    let says = |member: &Member| -> Vec<_> {
        let said = member.protocols.iter().map(|protocol| {
            let topics = match group.is_of_consumers() {
                true => subscribed_topics(&protocol.metadata).ok(),
                false => None,
            };
            let opaque = if topics.is_none() { Some(protocol.metadata.clone()) } else { None };
            (protocol.name.clone(), topics, opaque)
        });
        said.collect()
    };
    let same = group.member(&before.id).is_some_and(|after| says(after) == says(before));
    match (same, is_leader) {
        (true, true) => RebalanceCause::LeaderRejoined,
        (true, false) => RebalanceCause::MemberRejoined,
        (false, _) => RebalanceCause::SubscriptionChanged,
    }
}

/// A static member comes back under a new id in the place of `former` (KIP-345).
fn take_over(
    draft: &mut Draft<'_>,
    id: &GroupId,
    group: &mut ClassicGroup,
    former: &MemberId,
    asked: &Join,
) {
    let leader_before = group.leader.clone();
    let unsynced = group.unsynced.contains(former);
    let Some(old) = group.remove(former) else { return };
    refuse_parked(draft, &old, former, ErrorCode::FencedInstanceId);
    let new = Member {
        assignment: old.assignment.clone(),
        is_new: false,
        session_ends: Some(draft.now.monotonic.plus(duration_of(asked.body.session_timeout_ms))),
        ..Member::joining(fresh_id(asked), asked)
    };
    if leader_before.as_ref() == Some(former) {
        group.leader = Some(new.id.clone());
    }
    if unsynced {
        group.unsynced.insert(new.id.clone());
    }
    group.rename_in_assignment(former, &new.id);
    group.insert(new.clone());
    if matches!(group.phase, Phase::Stable { .. }) && group.vote() == group.protocol {
        let answer = taken_over_answer(group, leader_before.as_deref(), &new.id, asked.version);
        draft.reply(asked.request, Answer::Join(answer));
        return record(draft, id, group);
    }
    park(draft, group, &new, asked);
    match group.phase {
        Phase::Stable { .. } => {
            let trigger = Trigger::by(&new, RebalanceCause::SubscriptionChanged, reason(asked));
            prepare(draft, id, group, trigger);
        }
        // The leader may have been told of the former id already, and would assign to that.
        Phase::Completing { .. } => {
            let trigger = Trigger::by(&new, RebalanceCause::MemberJoined, reason(asked));
            prepare(draft, id, group, trigger);
        }
        Phase::Empty | Phase::Preparing { .. } => settle_if_all_joined(draft, id, group),
    }
}

/// The group stays as it is. A leader that came back is told so where it can be told, too, that
/// there is nothing to assign; in older versions it must not know that it leads.
fn taken_over_answer(
    group: &ClassicGroup,
    leader_before: Option<&str>,
    member: &MemberId,
    version: i16,
) -> JoinGroupResponse {
    if version >= SKIP_ASSIGNMENT {
        let skip_assignment = group.leader.as_ref() == Some(member);
        return JoinGroupResponse { skip_assignment, ..group.joined_answer(member, version) };
    }
    let leader = leader_before.unwrap_or_default().into();
    JoinGroupResponse { leader, ..group.generation_answer(member, version) }
}

/// Why the member says that it joins.
fn reason(asked: &Join) -> &str {
    asked.body.reason.as_deref().unwrap_or_default()
}
