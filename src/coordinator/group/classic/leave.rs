//! LeaveGroup: members say that they go, or an administrator says it for them.

use crate::coordinator::group::classic::group::ClassicGroup;
use crate::coordinator::group::classic::history::Trigger;
use crate::coordinator::group::classic::rebalance::{
    give_up, rebalance_or_settle, settle_if_all_joined,
};
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::GroupId;
use crate::coordinator::group::rebalance::RebalanceCause;
use crate::protocol::messages::leave_group::{MemberIdentity, MemberResponse};
use crate::types::ErrorCode;

/// Takes the members away one by one, then rebalances once.
///
/// Unlike in Kafka a member that was given its id and never joined does not start a rebalance by
/// leaving: nobody else knew of it.
pub(super) fn leave(
    draft: &mut Draft<'_>,
    id: &GroupId,
    group: &mut ClassicGroup,
    leaving: &[MemberIdentity],
) -> Vec<MemberResponse> {
    let mut first = None;
    let mut results = Vec::with_capacity(leaving.len());
    for identity in leaving {
        let error = match take_away(draft, group, identity) {
            Ok(trigger) => {
                first = first.or(trigger);
                ErrorCode::None
            }
            Err(error) => error,
        };
        results.push(result(identity, error));
    }
    match first {
        Some(trigger) => rebalance_or_settle(draft, id, group, trigger),
        None => settle_if_all_joined(draft, id, group),
    }
    results
}

/// What became of one of the leaving.
pub(super) fn result(identity: &MemberIdentity, error: ErrorCode) -> MemberResponse {
    MemberResponse {
        member_id: identity.member_id.clone(),
        group_instance_id: identity.group_instance_id.clone(),
        error_code: error.code(),
    }
}

/// Takes one member away: what rebalances the group, if it was a member already.
fn take_away(
    draft: &mut Draft<'_>,
    group: &mut ClassicGroup,
    identity: &MemberIdentity,
) -> Result<Option<Trigger>, ErrorCode> {
    let instance = identity.group_instance_id.as_deref();
    let mut id = identity.member_id.as_str();
    let by_instance = instance.and_then(|instance| group.static_member(instance).cloned());
    if id.is_empty() {
        id = by_instance.as_deref().ok_or(ErrorCode::UnknownMemberId)?;
    } else if group.remove_pending(id) {
        return Ok(None);
    } else {
        group.check_member(id, instance)?;
    }
    let reason = identity.reason.as_deref().unwrap_or_default();
    let cause = cause(identity.member_id.is_empty(), reason);
    let member = give_up(draft, group, id).ok_or(ErrorCode::UnknownMemberId)?;
    Ok(Some(Trigger::by(&member, cause, reason)))
}

/// Kafka's clients say in the reason that they did not poll, its tools that an administrator
/// removes the member; static members leave by instance id alone only where a tool does it.
fn cause(by_instance_id: bool, reason: &str) -> RebalanceCause {
    if by_instance_id || reason.contains("removed by an admin") {
        RebalanceCause::MemberRemoved
    } else if reason.contains("poll timeout") {
        RebalanceCause::PollTimedOut
    } else {
        RebalanceCause::MemberLeft
    }
}
