//! ConsumerGroupHeartbeat: a member joins, says what changed, hears what it shall own, leaves.

use std::sync::Arc;

use crate::coordinator::group::assignor::Partitions;
use crate::coordinator::group::command::{Answer, Asked, Client};
use crate::coordinator::group::consumer::edit::Edit;
use crate::coordinator::group::consumer::member::{
    Current, JOIN_EPOCH, LEAVE_EPOCH, Member, Metadata, STATIC_LEAVE_EPOCH, topic_names,
};
use crate::coordinator::group::consumer::refusal::Refusal;
use crate::coordinator::group::consumer::state::ConsumerGroup;
use crate::coordinator::group::consumer::validate::validate;
use crate::coordinator::group::consumer::{leave, migrate, reconcile, regex, target};
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::{GroupId, InstanceId, MemberId};
use crate::coordinator::group::machine::Group;
use crate::coordinator::group::rebalance::RebalanceCause;
use crate::protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, HeartbeatResponseAssignment,
    HeartbeatResponseTopicPartitions,
};
use crate::types::ids::uuid_to_base64;
use crate::types::{ErrorCode, TopicId};

/// ConsumerGroupHeartbeat.
pub(in crate::coordinator::group) fn heartbeat(
    draft: &mut Draft<'_>,
    asked: Asked<ConsumerGroupHeartbeatRequest>,
) {
    let decided = validate(&asked.body, asked.version, draft.config()).and_then(|()| {
        match asked.body.member_epoch {
            LEAVE_EPOCH | STATIC_LEAVE_EPOCH => leave::leave(draft, &asked),
            _ => beat(draft, &asked),
        }
    });
    let response = decided.unwrap_or_else(|refusal| refusal.to_response());
    draft.reply(asked.request, Answer::ConsumerHeartbeat(response));
}

fn beat(
    draft: &mut Draft<'_>,
    asked: &Asked<ConsumerGroupHeartbeatRequest>,
) -> Result<ConsumerGroupHeartbeatResponse, Refusal> {
    let request = &asked.body;
    let joins = request.member_epoch == JOIN_EPOCH;
    let mut edit = open(draft, &request.group_id, joins)?;
    refuse_if_full(&edit, &request.member_id)?;
    let id = match request.member_id.as_str() {
        "" => MemberId::from(uuid_to_base64(asked.fresh).as_str()),
        id => MemberId::from(id),
    };
    let owned = request.topic_partitions.as_ref().map(|owned| {
        Partitions::of(owned.iter().map(|one| (TopicId(one.topic_id), one.partitions.clone())))
    });
    let before = match &request.instance_id {
        None => dynamic_member(&edit, &id, request.member_epoch, owned.as_ref())?,
        Some(instance) => {
            static_member(&mut edit, &id, instance, request.member_epoch, owned.as_ref())?
        }
    };
    let metadata = updated(&before.metadata, request, &asked.client);
    let current = advance(&mut edit, &id, &before, &metadata, owned.as_ref())?;
    edit.heard(&id, edit.times.session_timeout);
    let is_full = request.rebalance_timeout_ms != -1
        && (request.subscribed_topic_names.is_some() || request.subscribed_topic_regex.is_some())
        && owned.is_some();
    let shows = joins || is_full || before.current.assigned != current.assigned;
    let response = ConsumerGroupHeartbeatResponse {
        member_id: Some((&*id).into()),
        member_epoch: current.epoch,
        heartbeat_interval_ms: edit.times.heartbeat_interval.as_millis() as i32,
        assignment: shows.then(|| shown(&current.assigned)),
        ..ConsumerGroupHeartbeatResponse::default()
    };
    edit.finish(draft);
    Ok(response)
}

/// What a member said takes effect: its records, the group's epoch, the target, what it owns.
pub(super) fn advance(
    edit: &mut Edit<'_>,
    id: &MemberId,
    before: &Member,
    metadata: &Metadata,
    owned: Option<&Partitions>,
) -> Result<Current, Refusal> {
    let is_new = edit.member(id).is_none();
    if is_new || *before.metadata != *metadata {
        edit.set_metadata(id, metadata);
    }
    let changed = regex::update(edit, before.metadata.regex.as_deref(), metadata.regex.as_deref())?
        | (before.metadata.topics != metadata.topics);
    let refreshed = regex::refresh(edit);
    if changed || edit.group.epoch == 0 {
        let joined =
            if is_new { RebalanceCause::MemberJoined } else { RebalanceCause::SubscriptionChanged };
        edit.because(joined, Some(id), "");
    }
    target::raise_epoch(edit, changed || refreshed);
    target::update(edit);
    let next = reconcile::next(edit, id, owned, changed)?;
    edit.reconciled(id, &next);
    Ok(next)
}

/// The group as it is, or a new one, or a classic one that changes over.
pub(super) fn open<'a>(
    draft: &mut Draft<'a>,
    group_id: &str,
    joins: bool,
) -> Result<Edit<'a>, Refusal> {
    let id = GroupId::from(group_id);
    let known = draft.group(group_id).cloned();
    match known.as_deref() {
        Some(Group::Consumer(group)) => Ok(Edit::new(draft, id, group.clone())),
        Some(Group::Classic(group)) if joins => migrate::upgrade(draft, id, group),
        Some(Group::Classic(_)) => Err(Refusal::new(
            ErrorCode::GroupIdNotFound,
            format!("Group {group_id} is not a consumer group."),
        )),
        None if joins => Ok(Edit::new(draft, id, ConsumerGroup::default())),
        None => Err(Refusal::new(
            ErrorCode::GroupIdNotFound,
            format!("Consumer group {group_id} not found."),
        )),
    }
}

pub(super) fn refuse_if_full(edit: &Edit<'_>, member: &str) -> Result<(), Refusal> {
    let max = edit.config.consumer_max_size;
    if edit.group.members.len() >= max && edit.member(member).is_none() {
        return Err(Refusal::new(
            ErrorCode::GroupMaxSizeReached,
            format!("The consumer group has reached its maximum capacity of {max} members."),
        ));
    }
    Ok(())
}

fn dynamic_member(
    edit: &Edit<'_>,
    id: &MemberId,
    epoch: i32,
    owned: Option<&Partitions>,
) -> Result<Member, Refusal> {
    match edit.member(id) {
        Some(member) => {
            check_epoch(member, epoch, owned)?;
            Ok((**member).clone())
        }
        None if epoch == JOIN_EPOCH => Ok(newcomer()),
        None => Err(Refusal::unknown_member(id, &edit.id)),
    }
}

/// A member that has said nothing yet.
pub(super) fn newcomer() -> Member {
    let metadata = Metadata { rebalance_timeout_ms: -1, ..Metadata::default() };
    Member { metadata: Arc::new(metadata), ..Member::default() }
}

fn static_member(
    edit: &mut Edit<'_>,
    id: &MemberId,
    instance: &str,
    epoch: i32,
    owned: Option<&Partitions>,
) -> Result<Member, Refusal> {
    let known = edit.group.static_member(instance).map(|(id, member)| (id.clone(), member.clone()));
    if epoch != JOIN_EPOCH {
        let (_, member) = known_static(edit, id, instance)?;
        check_epoch(&member, epoch, owned)?;
        return Ok((*member).clone());
    }
    let Some((owner, member)) = known else {
        return dynamic_member(edit, id, epoch, owned);
    };
    if !member.is_classic() && member.current.epoch != STATIC_LEAVE_EPOCH {
        return Err(Refusal::new(
            ErrorCode::UnreleasedInstanceId,
            format!(
                "Static member {id} with instance id {instance} cannot join the group because the \
                 instance id is owned by {owner} member."
            ),
        ));
    }
    Ok(take_over(edit, &owner, id, &member))
}

/// The static member of that name, which must have that id.
pub(super) fn known_static(
    edit: &Edit<'_>,
    id: &str,
    instance: &str,
) -> Result<(MemberId, Arc<Member>), Refusal> {
    let Some((owner, member)) = edit.group.static_member(instance) else {
        let message = format!("Instance id {instance} is unknown.");
        return Err(Refusal::new(ErrorCode::UnknownMemberId, message));
    };
    if **owner != *id {
        return Err(Refusal::new(
            ErrorCode::FencedInstanceId,
            format!("Static member {id} with instance id {instance} was fenced by member {owner}."),
        ));
    }
    Ok((owner.clone(), member.clone()))
}

/// A static member is back under a new id: it has what the old one had.
pub(super) fn take_over(
    edit: &mut Edit<'_>,
    old: &MemberId,
    new: &MemberId,
    member: &Member,
) -> Member {
    // All that it has counts from its joining on: what the old one had under way is not its own.
    let current = Current { epoch: 0, previous_epoch: 0, ..member.current.clone() }
        .after(&Current::default());
    edit.remove(old);
    edit.set_metadata(new, &member.metadata);
    edit.set_target(new, &member.target.clone().unwrap_or_default());
    edit.set_current(new, &current);
    Member { current, ..member.clone() }
}

/// Whether a member may go on in `epoch`. The epoch before is accepted too while the member owns
/// nothing that it should not: the answer that raised it may have been lost.
fn check_epoch(member: &Member, epoch: i32, owned: Option<&Partitions>) -> Result<(), Refusal> {
    let known = member.current.epoch;
    let refused = |how: &str| {
        let message = format!(
            "The consumer group member has a {how} member epoch ({epoch}) than the one known by \
             the group coordinator ({known}). The member must abandon all its partitions and rejoin."
        );
        Err(Refusal::new(ErrorCode::FencedMemberEpoch, message))
    };
    if epoch == JOIN_EPOCH || epoch == known {
        return Ok(());
    }
    if epoch > known {
        return refused("greater");
    }
    let owns_its_own = owned.is_some_and(|owned| owned.is_subset(&member.current.assigned));
    if epoch == member.current.previous_epoch && owns_its_own {
        return Ok(());
    }
    refused("smaller")
}

/// What a member said before with what it says now: null is unchanged.
fn updated(
    before: &Metadata,
    request: &ConsumerGroupHeartbeatRequest,
    client: &Client,
) -> Metadata {
    let mut metadata = Metadata {
        client_id: client.id.clone(),
        client_host: client.host.clone(),
        classic: None,
        ..before.clone()
    };
    if let Some(instance) = &request.instance_id {
        metadata.instance_id = Some(InstanceId::from(instance.as_str()));
    }
    if let Some(rack) = &request.rack_id {
        metadata.rack_id = Some(Arc::from(rack.as_str()));
    }
    if request.rebalance_timeout_ms != -1 {
        metadata.rebalance_timeout_ms = request.rebalance_timeout_ms;
    }
    if let Some(assignor) = &request.server_assignor {
        metadata.server_assignor = Some(Arc::from(assignor.as_str()));
    }
    if let Some(topics) = &request.subscribed_topic_names {
        metadata.topics = topic_names(topics);
    }
    if let Some(regex) = &request.subscribed_topic_regex {
        metadata.regex =
            Some(Arc::from(regex.as_str())).filter(|regex: &Arc<str>| !regex.is_empty());
    }
    metadata
}

fn shown(assigned: &Partitions) -> HeartbeatResponseAssignment {
    let topics = assigned.topics();
    let topic_partitions = topics.map(|(topic, partitions)| HeartbeatResponseTopicPartitions {
        topic_id: topic.0,
        partitions: partitions.to_vec(),
    });
    HeartbeatResponseAssignment { topic_partitions: topic_partitions.collect() }
}
