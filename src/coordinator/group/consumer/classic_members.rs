//! Members of the classic protocol in a group of the consumer protocol: the broker assigns for
//! them too. They are told to join again when they have something to give up or to get; JoinGroup
//! is then their step of reconciliation, and SyncGroup gives them what they have by then.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::coordinator::group::assignor::Partitions;
use crate::coordinator::group::command::{Answer, Asked};
use crate::coordinator::group::consumer::edit::Edit;
use crate::coordinator::group::consumer::heartbeat::{
    advance, known_static, newcomer, refuse_if_full, take_over,
};
use crate::coordinator::group::consumer::leave::fence_and_finish;
use crate::coordinator::group::consumer::member::{Member, MemberState, Metadata, topic_names};
use crate::coordinator::group::consumer::migrate::by_name;
use crate::coordinator::group::consumer::reconcile::waits_for_others;
use crate::coordinator::group::consumer::refusal::Refusal;
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::{GroupId, InstanceId, MemberId};
use crate::coordinator::group::machine::Group;
use crate::coordinator::group::rebalance::RebalanceCause;
use crate::coordinator::group::stored::{ClassicMemberMetadata, ClassicProtocol};
use crate::coordinator::group::{GroupConfig, classic};
use crate::metadata::Image;
use crate::protocol::Str;
use crate::protocol::codec::DecodeError;
use crate::protocol::consumer_protocol::{
    CONSUMER, ConsumerProtocolAssignment, ConsumerProtocolSubscription,
    ConsumerProtocolTopicPartitions, decode_versioned, encode_versioned,
};
use crate::protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::protocol::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity, MemberResponse,
};
use crate::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::types::ErrorCode;

/// From this version on a dynamic member is given its id first (KIP-394).
const MEMBER_ID_REQUIRED: i16 = 4;

/// The latest version of assignments that is written.
const LATEST_ASSIGNMENT: i16 = 3;

/// A subscription as a classic member writes it.
pub(super) fn subscription_of(
    metadata: Bytes,
) -> Result<ConsumerProtocolSubscription, DecodeError> {
    decode_versioned(metadata)
}

/// Partitions by their topics' ids; without those of topics that are not there.
pub(super) fn by_id(topics: &[ConsumerProtocolTopicPartitions], image: &Image) -> Partitions {
    Partitions::of(
        topics.iter().filter_map(|one| Some((image.topic(&one.topic)?.id, one.partitions.clone()))),
    )
}

/// An assignment as a classic member reads it, in the version of its subscription.
pub(super) fn encoded(assigned: &Partitions, subscription: &Bytes, image: &Image) -> Bytes {
    let version = subscription.first_chunk::<2>().map_or(0, |bytes| i16::from_be_bytes(*bytes));
    let assigned_partitions = by_name(assigned, image);
    let assignment = ConsumerProtocolAssignment { assigned_partitions, user_data: None };
    encode_versioned(&assignment, version.clamp(0, LATEST_ASSIGNMENT)).unwrap_or_default()
}

/// JoinGroup to a group of the consumer protocol. An empty one makes place for a classic one.
pub(in crate::coordinator::group) fn classic_join(
    draft: &mut Draft<'_>,
    asked: Asked<JoinGroupRequest>,
) {
    let id = GroupId::from(asked.body.group_id.as_str());
    let Some(Group::Consumer(group)) = draft.group(&id).map(|group| (**group).clone()) else {
        return classic::join(draft, asked);
    };
    let session_timeout = check_session_timeout(asked.body.session_timeout_ms, draft.config());
    if group.is_empty() && asked.body.member_id.is_empty() && session_timeout.is_ok() {
        super::remove(draft, &id, &group);
        return classic::join(draft, asked);
    }
    let refused_as = asked.body.member_id.clone();
    let edit = Edit::new(draft, id, group);
    let response = join(draft, edit, &asked).unwrap_or_else(|refusal| JoinGroupResponse {
        error_code: refusal.code.code(),
        protocol_name: (asked.version < 7).then(Str::default),
        member_id: refused_as,
        ..JoinGroupResponse::default()
    });
    draft.reply(asked.request, Answer::Join(response));
}

fn join(
    draft: &mut Draft<'_>,
    mut edit: Edit<'_>,
    asked: &Asked<JoinGroupRequest>,
) -> Result<JoinGroupResponse, Refusal> {
    let body = &asked.body;
    check_session_timeout(body.session_timeout_ms, edit.config)?;
    if edit.group.is_empty() {
        return Err(Refusal::unknown_member(&body.member_id, &edit.id));
    }
    refuse_if_full(&edit, &body.member_id)?;
    check_protocols(&edit, body)?;
    let is_unknown = body.member_id.is_empty();
    let id = match body.member_id.as_str() {
        "" => fresh_id(asked),
        id => MemberId::from(id),
    };
    if is_unknown && body.group_instance_id.is_none() && asked.version >= MEMBER_ID_REQUIRED {
        return Ok(JoinGroupResponse {
            error_code: ErrorCode::MemberIdRequired.code(),
            protocol_name: (asked.version < 7).then(Str::default),
            member_id: Str::from(&*id),
            ..JoinGroupResponse::default()
        });
    }
    let malformed = |_: DecodeError| {
        Refusal::new(ErrorCode::InconsistentGroupProtocol, "The subscription is malformed.")
    };
    let metadata = body.protocols.first().map(|first| first.metadata.clone()).unwrap_or_default();
    let subscription = subscription_of(metadata).map_err(malformed)?;
    let before = joining_member(&mut edit, &id, body.group_instance_id.as_deref(), is_unknown)?;
    let metadata = said(&before.metadata, asked, &subscription);
    let owned = by_id(&subscription.owned_partitions, edit.image);
    let current = advance(&mut edit, &id, &before, &metadata, Some(&owned))?;
    edit.heard(&id, duration_of(body.session_timeout_ms));
    let sync = Some(edit.now.monotonic.plus(metadata.rebalance_timeout()));
    edit.group.touch(&id, |member| (member.timers.join, member.timers.sync) = (None, sync));
    edit.finish(draft);
    Ok(JoinGroupResponse {
        generation_id: current.epoch,
        protocol_type: Some(Str::from_static(CONSUMER)),
        protocol_name: body.protocols.first().map(|first| first.name.clone()),
        member_id: Str::from(&*id),
        ..JoinGroupResponse::default()
    })
}

fn duration_of(timeout_ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(timeout_ms).unwrap_or_default())
}

fn check_session_timeout(timeout_ms: i32, config: &GroupConfig) -> Result<(), Refusal> {
    let allowed = config.min_session_timeout..=config.max_session_timeout;
    if timeout_ms < 0 || !allowed.contains(&duration_of(timeout_ms)) {
        return Err(Refusal::new(ErrorCode::InvalidSessionTimeout, ""));
    }
    Ok(())
}

/// The member must be a consumer and support an assignor that all classic members support.
fn check_protocols(edit: &Edit<'_>, body: &JoinGroupRequest) -> Result<(), Refusal> {
    let supports = |classic: &ClassicMemberMetadata, name: &Str| {
        classic.supported_protocols.iter().any(|protocol| protocol.name == *name)
    };
    let others = edit.group.members.iter().filter(|(id, _)| ***id != *body.member_id);
    let classic: Vec<&ClassicMemberMetadata> =
        others.filter_map(|(_, member)| member.metadata.classic.as_deref()).collect();
    let is_common = |name: &Str| classic.iter().all(|classic| supports(classic, name));
    let finds_one = body.protocols.iter().any(|protocol| is_common(&protocol.name));
    if body.protocol_type == CONSUMER && finds_one {
        return Ok(());
    }
    let message = format!("Member {}'s protocols are not supported.", body.member_id.as_str());
    Err(Refusal::new(ErrorCode::InconsistentGroupProtocol, message))
}

/// `client_id-uuid`, or `instance_id-uuid` for a static member, as in classic groups.
fn fresh_id(asked: &Asked<JoinGroupRequest>) -> MemberId {
    let name = asked.body.group_instance_id.as_deref().unwrap_or(&asked.client.id);
    MemberId::from(format!("{name}-{}", asked.fresh).as_str())
}

fn joining_member(
    edit: &mut Edit<'_>,
    id: &MemberId,
    instance: Option<&str>,
    is_unknown: bool,
) -> Result<Member, Refusal> {
    let dynamic = |edit: &Edit<'_>| edit.member(id).map_or_else(newcomer, |one| (**one).clone());
    let Some(instance) = instance else { return Ok(dynamic(edit)) };
    if !is_unknown {
        return known_static(edit, id, instance).map(|(_, member)| (*member).clone());
    }
    let known = edit.group.static_member(instance).map(|(id, member)| (id.clone(), member.clone()));
    Ok(match known {
        Some((owner, member)) => take_over(edit, &owner, id, &member),
        None => dynamic(edit),
    })
}

/// What a classic member says about itself.
fn said(
    before: &Metadata,
    asked: &Asked<JoinGroupRequest>,
    subscription: &ConsumerProtocolSubscription,
) -> Metadata {
    let body = &asked.body;
    let rack = subscription.rack_id.as_ref().map(|rack| Arc::from(rack.as_str()));
    let supported = body.protocols.iter().map(|protocol| ClassicProtocol {
        name: protocol.name.to_owned_copy(),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    });
    let instance = body.group_instance_id.as_deref().map(InstanceId::from);
    Metadata {
        instance_id: instance.or(before.instance_id.clone()),
        rack_id: rack.or(before.rack_id.clone()),
        client_id: asked.client.id.clone(),
        client_host: asked.client.host.clone(),
        topics: topic_names(&subscription.topics),
        regex: None,
        rebalance_timeout_ms: match body.rebalance_timeout_ms {
            -1 => body.session_timeout_ms,
            timeout_ms => timeout_ms,
        },
        server_assignor: before.server_assignor.clone(),
        classic: Some(Arc::new(ClassicMemberMetadata {
            session_timeout_ms: body.session_timeout_ms,
            supported_protocols: supported.collect(),
        })),
    }
}

/// SyncGroup to a group of the consumer protocol.
pub(in crate::coordinator::group) fn classic_sync(
    draft: &mut Draft<'_>,
    asked: Asked<SyncGroupRequest>,
) {
    let body = &asked.body;
    let instance = body.group_instance_id.as_deref();
    let found = find(draft, &body.group_id, &body.member_id, instance, body.generation_id);
    let answered = found.and_then(|(edit, id, member)| sync(draft, edit, &id, &member, body));
    let response = answered.unwrap_or_else(|error| SyncGroupResponse {
        error_code: error.code(),
        ..SyncGroupResponse::default()
    });
    draft.reply(asked.request, Answer::Sync(response));
}

fn sync(
    draft: &mut Draft<'_>,
    mut edit: Edit<'_>,
    id: &MemberId,
    member: &Member,
    body: &SyncGroupRequest,
) -> Result<SyncGroupResponse, ErrorCode> {
    let Some(classic) = member.metadata.classic.as_deref() else {
        return Err(ErrorCode::UnknownMemberId);
    };
    let protocol = classic.supported_protocols.first().cloned().unwrap_or_default();
    let is_other =
        |asked: &Option<Str>, known: &str| asked.as_ref().is_some_and(|asked| *asked != known);
    if is_other(&body.protocol_type, CONSUMER) || is_other(&body.protocol_name, &protocol.name) {
        return Err(ErrorCode::InconsistentGroupProtocol);
    }
    if edit.group.epoch > member.current.epoch
        && member.current.state != MemberState::UnrevokedPartitions
    {
        call_to_join(&mut edit, id, member);
        edit.finish(draft);
        return Err(ErrorCode::RebalanceInProgress);
    }
    edit.heard(id, member.session_timeout(edit.times.session_timeout));
    edit.group.touch(id, |member| member.timers.sync = None);
    let assignment = encoded(&member.current.assigned, &protocol.metadata, edit.image);
    edit.finish(draft);
    Ok(SyncGroupResponse {
        protocol_type: Some(Str::from_static(CONSUMER)),
        protocol_name: Some(protocol.name),
        assignment,
        ..SyncGroupResponse::default()
    })
}

/// The member has its rebalance timeout to join again, from when it was first told.
fn call_to_join(edit: &mut Edit<'_>, id: &MemberId, member: &Member) {
    let until = edit.now.monotonic.plus(member.metadata.rebalance_timeout());
    edit.group.touch(id, |member| {
        member.timers.join.get_or_insert(until);
    });
}

/// Heartbeat to a group of the consumer protocol.
pub(in crate::coordinator::group) fn classic_heartbeat(
    draft: &mut Draft<'_>,
    asked: Asked<HeartbeatRequest>,
) {
    let body = &asked.body;
    let instance = body.group_instance_id.as_deref();
    let found = find(draft, &body.group_id, &body.member_id, instance, body.generation_id);
    let error = match found {
        Ok((mut edit, id, member)) => {
            edit.heard(&id, member.session_timeout(edit.times.session_timeout));
            let joins = must_join(&edit, &id, &member);
            if joins {
                call_to_join(&mut edit, &id, &member);
            }
            edit.finish(draft);
            if joins { ErrorCode::RebalanceInProgress } else { ErrorCode::None }
        }
        Err(error) => error,
    };
    let response = HeartbeatResponse { error_code: error.code(), ..HeartbeatResponse::default() };
    draft.reply(asked.request, Answer::Heartbeat(response));
}

/// Whether there is a new target, something to give up, or something to get that is free by now.
fn must_join(edit: &Edit<'_>, id: &MemberId, member: &Member) -> bool {
    member.current.epoch < edit.group.epoch
        || match member.current.state {
            MemberState::Stable => false,
            MemberState::UnrevokedPartitions | MemberState::Unknown => true,
            MemberState::UnreleasedPartitions => !waits_for_others(&edit.group, id, member),
        }
}

/// A classic member, in its generation.
fn find<'a>(
    draft: &Draft<'a>,
    group: &str,
    member: &str,
    instance: Option<&str>,
    generation: i32,
) -> Result<(Edit<'a>, MemberId, Arc<Member>), ErrorCode> {
    let id = GroupId::from(group);
    let Some(Group::Consumer(group)) = draft.group(&id).map(|group| (**group).clone()) else {
        return Err(ErrorCode::UnknownMemberId);
    };
    let edit = Edit::new(draft, id, group);
    let (id, member) = member_of(&edit, member, instance)?;
    if !member.is_classic() {
        return Err(ErrorCode::UnknownMemberId);
    }
    if member.current.epoch != generation {
        return Err(ErrorCode::IllegalGeneration);
    }
    Ok((edit, id, member))
}

fn member_of(
    edit: &Edit<'_>,
    id: &str,
    instance: Option<&str>,
) -> Result<(MemberId, Arc<Member>), ErrorCode> {
    match instance {
        Some(instance) => known_static(edit, id, instance).map_err(|refusal| refusal.code),
        None => {
            let known = edit.group.members.get_key_value(id).ok_or(ErrorCode::UnknownMemberId)?;
            Ok((known.0.clone(), known.1.clone()))
        }
    }
}

/// LeaveGroup to a group of the consumer protocol.
pub(in crate::coordinator::group) fn classic_leave(
    draft: &mut Draft<'_>,
    asked: Asked<LeaveGroupRequest>,
) {
    let id = GroupId::from(asked.body.group_id.as_str());
    let Some(Group::Consumer(group)) = draft.group(&id).map(|group| (**group).clone()) else {
        return classic::leave(draft, asked);
    };
    let edit = Edit::new(draft, id, group);
    let mut gone: Vec<MemberId> = Vec::new();
    let mut members = Vec::with_capacity(asked.body.members.len());
    for identity in &asked.body.members {
        let leaving = leaving_member(&edit, identity);
        let error = leaving.as_ref().map_or_else(|error| *error, |_| ErrorCode::None);
        gone.extend(leaving.ok().filter(|id| !gone.contains(id)));
        members.push(MemberResponse {
            member_id: identity.member_id.clone(),
            group_instance_id: identity.group_instance_id.clone(),
            error_code: error.code(),
        });
    }
    if !gone.is_empty() {
        let first = asked.body.members.first();
        let reason = first.and_then(|first| first.reason.as_deref()).unwrap_or_default();
        let by_instance = first.is_some_and(|first| first.member_id.is_empty());
        let cause = match by_instance {
            true => RebalanceCause::MemberRemoved,
            false => RebalanceCause::MemberLeft,
        };
        fence_and_finish(draft, edit, &gone, cause, reason);
    }
    let response = LeaveGroupResponse { members, ..LeaveGroupResponse::default() };
    draft.reply(asked.request, Answer::Leave(response));
}

/// Who leaves. An administrator names static members by their lasting names alone.
fn leaving_member(edit: &Edit<'_>, identity: &MemberIdentity) -> Result<MemberId, ErrorCode> {
    let (id, member) = match identity.group_instance_id.as_deref() {
        Some(instance) if identity.member_id.is_empty() => {
            let known = edit.group.static_member(instance).ok_or(ErrorCode::UnknownMemberId)?;
            (known.0.clone(), known.1.clone())
        }
        instance => member_of(edit, &identity.member_id, instance)?,
    };
    match member.is_classic() {
        true => Ok(id),
        false => Err(ErrorCode::UnknownMemberId),
    }
}
