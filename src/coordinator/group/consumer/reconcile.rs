//! A member's way to its target, one step per heartbeat: give up, then get what is free.
//!
//! | state | what it waits for | next |
//! |---|---|---|
//! | stable | a new target | any |
//! | unrevoked partitions | the member owns nothing any more that it has to give up | any |
//! | unreleased partitions | other members have given up what this one shall get | any |
//!
//! A member enters the target's epoch as soon as it has given everything up; until then it stays in
//! its own. A partition is given only when nobody owns it or has yet to give it up.

use std::sync::Arc;

use crate::coordinator::group::assignor::Partitions;
use crate::coordinator::group::consumer::edit::Edit;
use crate::coordinator::group::consumer::member::{Current, Member, MemberState};
use crate::coordinator::group::consumer::refusal::Refusal;
use crate::coordinator::group::consumer::state::ConsumerGroup;
use crate::coordinator::group::ids::MemberId;
use crate::metadata::Image;
use crate::types::{ErrorCode, TopicId};

/// What a member owns next. `owned`: what it said it owns, if it said; `resubscribed`: whether its
/// subscription has just changed, so that it must not keep topics that it has left.
pub(super) fn next(
    edit: &Edit<'_>,
    id: &MemberId,
    owned: Option<&Partitions>,
    resubscribed: bool,
) -> Result<Current, Refusal> {
    let Some(member) = edit.member(id) else {
        return Err(Refusal::unknown_member(id, &edit.id));
    };
    let step = Step { group: &edit.group, image: edit.image, id, member, owned };
    let current = &member.current;
    if !resubscribed && current.is_reconciled_to(edit.group.target_epoch) {
        return Ok(current.clone());
    }
    match current.state {
        MemberState::Stable if current.epoch != edit.group.target_epoch => {
            Ok(step.towards_target())
        }
        MemberState::UnrevokedPartitions if !step.still_owns(&current.revoking) => {
            Ok(step.towards_target())
        }
        MemberState::UnreleasedPartitions => Ok(step.towards_target()),
        MemberState::Stable | MemberState::UnrevokedPartitions if resubscribed => {
            Ok(step.within_subscription())
        }
        MemberState::Stable | MemberState::UnrevokedPartitions => Ok(current.clone()),
        MemberState::Unknown if owned.is_some_and(Partitions::is_empty) => {
            Ok(step.towards_target())
        }
        MemberState::Unknown => Err(Refusal::new(
            ErrorCode::FencedMemberEpoch,
            "The consumer group member is in a unknown state. The member must abandon all its \
             partitions and rejoin.",
        )),
    }
}

/// Whether some other member owns a partition of the target of `member`, or has yet to give it up.
pub(super) fn waits_for_others(group: &ConsumerGroup, id: &MemberId, member: &Member) -> bool {
    let target = member.target.clone().unwrap_or_default();
    let missing = target.difference(&member.current.assigned);
    free_of(group, id, &missing) != missing
}

/// Those of `partitions` that no member but `id` owns or has yet to give up.
fn free_of(group: &ConsumerGroup, id: &MemberId, partitions: &Partitions) -> Partitions {
    let mut free = partitions.clone();
    for (other, member) in &group.members {
        if other == id || free.is_empty() {
            continue;
        }
        for held in [&member.current.assigned, &member.current.revoking] {
            if free.overlaps(held) {
                free = free.difference(held);
            }
        }
    }
    free
}

struct Step<'a> {
    group: &'a ConsumerGroup,
    image: &'a Image,
    id: &'a MemberId,
    member: &'a Member,
    owned: Option<&'a Partitions>,
}

impl Step<'_> {
    fn subscribes(&self, topic: TopicId) -> bool {
        let name = self.image.topic_name(topic);
        name.is_some_and(|name| self.group.subscribes(&self.member.metadata, name))
    }

    /// Whether the member may still work on one of those partitions: if it does not say, it may.
    fn still_owns(&self, partitions: &Partitions) -> bool {
        self.owned.is_none_or(|owned| owned.overlaps(partitions))
    }

    fn towards_target(&self) -> Current {
        let current = &self.member.current;
        let target = self.member.target.clone().unwrap_or_default();
        let target = target.filter(|topic, _| self.subscribes(topic));
        let kept = current.assigned.intersection(&target);
        let revoking = current.assigned.difference(&kept);
        if !revoking.is_empty() && self.still_owns(&revoking) {
            return Current {
                state: MemberState::UnrevokedPartitions,
                assigned: Arc::new(kept),
                revoking: Arc::new(revoking),
                ..current.clone()
            };
        }
        let missing = target.difference(&kept);
        let free = free_of(self.group, self.id, &missing);
        let state =
            if free == missing { MemberState::Stable } else { MemberState::UnreleasedPartitions };
        Current {
            state,
            assigned: Arc::new(kept.union(&free)),
            revoking: Arc::default(),
            ..current.in_epoch(self.group.target_epoch)
        }
    }

    /// Takes away what the member does not subscribe to any more, in its own epoch.
    fn within_subscription(&self) -> Current {
        let current = &self.member.current;
        let kept = current.assigned.filter(|topic, _| self.subscribes(topic));
        let left = current.assigned.difference(&kept);
        if left.is_empty() {
            return current.clone();
        }
        let revoking = current.revoking.union(&left);
        let assigned = Arc::new(kept);
        if self.still_owns(&revoking) {
            let (state, revoking) = (MemberState::UnrevokedPartitions, Arc::new(revoking));
            Current { state, assigned, revoking, ..current.clone() }
        } else {
            Current { assigned, ..current.clone() }
        }
    }
}
