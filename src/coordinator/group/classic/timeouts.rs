//! What time does to a classic group: members are given up, rebalances go on without them.

use crate::coordinator::group::classic::group::{ClassicGroup, Phase};
use crate::coordinator::group::classic::history::Trigger;
use crate::coordinator::group::classic::rebalance::{
    give_up, prepare, prolong_or_settle, rebalance_or_settle, settle,
};
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::{GroupId, MemberId};
use crate::coordinator::group::rebalance::RebalanceCause;

/// Gives up the members whose time is up, then looks at the deadline of the phase.
pub(super) fn expire(draft: &mut Draft<'_>, id: &GroupId, group: &mut ClassicGroup) {
    let now = draft.now.monotonic;
    while let Some(lost) = group.lost_member(now) {
        expire_session(draft, id, group, &lost);
    }
    match group.phase {
        Phase::Preparing { until, initial } if until <= now => match initial {
            Some(initial) => prolong_or_settle(draft, id, group, initial),
            None => settle(draft, id, group),
        },
        Phase::Completing { until } | Phase::Stable { until: Some(until) } if until <= now => {
            expire_sync(draft, id, group);
        }
        Phase::Empty
        | Phase::Preparing { .. }
        | Phase::Completing { .. }
        | Phase::Stable { .. } => {}
    }
}

/// A member was silent for too long, or a pending one never came.
fn expire_session(draft: &mut Draft<'_>, id: &GroupId, group: &mut ClassicGroup, lost: &MemberId) {
    let was_pending = group.remove_pending(lost);
    let member = give_up(draft, group, lost);
    match (group.phase, member) {
        (Phase::Preparing { .. }, _) if group.all_joined() => settle(draft, id, group),
        (Phase::Completing { .. } | Phase::Stable { .. }, Some(member)) if !was_pending => {
            let trigger = Trigger::by(&member, RebalanceCause::SessionTimedOut, "");
            rebalance_or_settle(draft, id, group, trigger);
        }
        (
            Phase::Empty
            | Phase::Preparing { .. }
            | Phase::Completing { .. }
            | Phase::Stable { .. },
            _,
        ) => {}
    }
}

/// Members that joined did not ask for their assignment in the rebalance timeout.
fn expire_sync(draft: &mut Draft<'_>, id: &GroupId, group: &mut ClassicGroup) {
    let late: Vec<MemberId> = group.unsynced.iter().cloned().collect();
    let given_up: Vec<_> = late.iter().filter_map(|member| give_up(draft, group, member)).collect();
    let cause = RebalanceCause::RebalanceTimedOut;
    let trigger = match given_up.first() {
        Some(member) => Trigger::by(member, cause, ""),
        None => Trigger::by_nobody(cause),
    };
    prepare(draft, id, group, trigger);
}

/// The group has been read from the log: every member gets a full session. If it is larger than it
/// may be now it has to get smaller: the last to join are turned away.
pub(super) fn loaded(draft: &mut Draft<'_>, id: &GroupId, group: &mut ClassicGroup) {
    let now = draft.now;
    for member in group.members().map(|member| member.id.clone()).collect::<Vec<MemberId>>() {
        group.keep_alive(&member, now);
    }
    if group.size() > draft.config().max_size {
        prepare(draft, id, group, Trigger::by_nobody(RebalanceCause::CoordinatorMoved));
    }
}
