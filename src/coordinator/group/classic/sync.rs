//! SyncGroup: the leader hands the assignment in, everyone gets their part.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;

use crate::coordinator::group::classic::answers::refuse_sync;
use crate::coordinator::group::classic::group::{ClassicGroup, Phase};
use crate::coordinator::group::classic::member::Member;
use crate::coordinator::group::classic::rebalance::record;
use crate::coordinator::group::command::{Answer, Asked, Effect};
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::GroupId;
use crate::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use crate::types::ErrorCode;
use crate::types::clock::Monotonic;

type Sync = Asked<SyncGroupRequest>;

/// A member of a generation asks for its part.
pub(super) fn sync(draft: &mut Draft<'_>, id: &GroupId, group: &mut ClassicGroup, asked: &Sync) {
    let member = match check(group, &asked.body) {
        Ok(member) => member,
        Err(error) => return refuse_sync(draft, asked.request, error),
    };
    match group.phase {
        Phase::Empty => refuse_sync(draft, asked.request, ErrorCode::UnknownMemberId),
        Phase::Preparing { .. } => {
            refuse_sync(draft, asked.request, ErrorCode::RebalanceInProgress);
        }
        Phase::Completing { until } => {
            park(draft, group, &member, asked);
            if group.leader.as_ref() == Some(&member.id) {
                hand_in(draft, id, group, until, &asked.body.assignments);
            }
        }
        Phase::Stable { .. } => {
            group.has_synced(&member.id);
            let answer = group.synced_answer(&member);
            draft.reply(asked.request, Answer::Sync(answer));
        }
    }
}

/// Who asks, if it may.
fn check(group: &ClassicGroup, body: &SyncGroupRequest) -> Result<Arc<Member>, ErrorCode> {
    group.check_member(&body.member_id, body.group_instance_id.as_deref())?;
    if body.generation_id != group.generation {
        return Err(ErrorCode::IllegalGeneration);
    }
    let differs = |asked: Option<&str>, ours: Option<&str>| {
        asked.is_some_and(|asked| ours.is_some_and(|ours| asked != ours))
    };
    if differs(body.protocol_type.as_deref(), group.protocol_type())
        || differs(body.protocol_name.as_deref(), group.protocol())
    {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    group.member(&body.member_id).cloned().ok_or(ErrorCode::UnknownMemberId)
}

/// A member waits for the leader. A SyncGroup that it waits with already has lost its client.
fn park(draft: &mut Draft<'_>, group: &mut ClassicGroup, member: &Member, asked: &Sync) {
    if let Some(lost) = member.sync {
        refuse_sync(draft, lost, ErrorCode::RebalanceInProgress);
    }
    group.change(&member.id, |member| {
        member.sync = Some(asked.request);
        member.session_ends = None;
    });
    group.has_synced(&member.id);
}

/// The leader's assignment is written down, then given out; members that it forgot get nothing.
fn hand_in(
    draft: &mut Draft<'_>,
    id: &GroupId,
    group: &mut ClassicGroup,
    sync_until: Monotonic,
    assignments: &[SyncGroupRequestAssignment],
) {
    let parts = assignments.iter().map(|part| (part.member_id.as_str(), &part.assignment));
    let parts: BTreeMap<&str, &Bytes> = parts.collect();
    let now = draft.now;
    for member in group.members().cloned().collect::<Vec<Arc<Member>>>() {
        let part = parts.get(&*member.id).map_or(&[][..], |part| part);
        group.change(&member.id, |member| {
            member.assignment = Bytes::copy_from_slice(part);
            if member.sync.take().is_some() {
                member.session_ends = Some(now.monotonic.plus(member.session_timeout()));
            }
        });
        if let (Some(sync), Some(assigned)) = (member.sync, group.member(&member.id)) {
            let answer = group.synced_answer(assigned);
            draft.reply(sync, Answer::Sync(answer));
        }
    }
    let until = Some(sync_until).filter(|_| !group.unsynced.is_empty());
    group.enter(Phase::Stable { until }, now);
    record(draft, id, group);
    if let Some(rebalance) = group.finish_rebalance(id, now) {
        draft.effect(Effect::Rebalanced(rebalance));
    }
}
