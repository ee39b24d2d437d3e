//! Groups that change over between the two protocols (`group.consumer.migration.policy`).
//!
//! A classic group becomes one of the consumer protocol when a member of that joins; what its
//! members have, they keep. It becomes a classic one again when the last member of the consumer
//! protocol goes; then its members join again and assign among themselves.

use std::collections::BTreeSet;
use std::sync::Arc;

use bytes::Bytes;

use crate::coordinator::group::assignor::Partitions;
use crate::coordinator::group::classic::{self, ClassicGroup, Trigger};
use crate::coordinator::group::consumer::classic_members::{self, subscription_of};
use crate::coordinator::group::consumer::edit::Edit;
use crate::coordinator::group::consumer::member::{Current, Member, Metadata, topic_names};
use crate::coordinator::group::consumer::refusal::Refusal;
use crate::coordinator::group::consumer::state::ConsumerGroup;
use crate::coordinator::group::consumer::target;
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::{GroupId, MemberId};
use crate::coordinator::group::machine::Group;
use crate::coordinator::group::rebalance::RebalanceCause;
use crate::coordinator::group::record::GroupRecord;
use crate::coordinator::group::stored::{
    ClassicMemberMetadata, ClassicProtocol, GroupMetadataValue, StoredMember,
};
use crate::coordinator::group::{GroupConfig, MigrationPolicy};
use crate::metadata::Image;
use crate::protocol::Str;
use crate::protocol::consumer_protocol::{
    CONSUMER, ConsumerProtocolAssignment, ConsumerProtocolTopicPartitions, decode_versioned,
};
use crate::types::{ErrorCode, TopicIdPartition};

/// A member of the consumer protocol joins a classic group. Its members go on in the new group, all
/// of them stable; those that wait for something are told to join again once the change is made.
pub(super) fn upgrade<'a>(
    draft: &Draft<'a>,
    id: GroupId,
    classic: &ClassicGroup,
) -> Result<Edit<'a>, Refusal> {
    let mut edit = Edit::new(draft, id.clone(), ConsumerGroup::default());
    if classic.is_empty() {
        edit.record(GroupRecord::Classic { group: id, value: None });
        return Ok(edit);
    }
    check_upgrade(&id, classic, edit.config)?;
    let members = carried_over(&id, classic, edit.image)?;
    edit.record(GroupRecord::Classic { group: id, value: None });
    for (id, member) in &members {
        edit.set_metadata(id, &member.metadata);
    }
    edit.set_epoch(classic.generation(), target::metadata_hash(&edit.group, edit.image));
    for (id, member) in &members {
        edit.set_target(id, &member.current.assigned);
    }
    edit.set_target_epoch(classic.generation());
    for (id, member) in &members {
        edit.set_current(id, &member.current);
        edit.heard(id, member.session_timeout(edit.times.session_timeout));
    }
    edit.because(RebalanceCause::ProtocolChanged, None, "");
    edit.upgraded_from = Some(classic.clone());
    Ok(edit)
}

fn check_upgrade(
    id: &GroupId,
    classic: &ClassicGroup,
    config: &GroupConfig,
) -> Result<(), Refusal> {
    let fault = match config.migration_policy {
        MigrationPolicy::Disabled | MigrationPolicy::Downgrade => "online upgrade is disabled.",
        MigrationPolicy::Upgrade | MigrationPolicy::Bidirectional => {
            if !classic.is_of_consumers() {
                "the group does not use the consumer embedded protocol."
            } else if classic.size() > config.consumer_max_size {
                "the group size exceeds the consumer group maximum size."
            } else {
                return Ok(());
            }
        }
    };
    Err(cannot_upgrade(id, fault))
}

fn cannot_upgrade(id: &GroupId, fault: &str) -> Refusal {
    let message = format!("Cannot upgrade classic group {id} to consumer group because {fault}");
    Refusal::new(ErrorCode::GroupIdNotFound, message)
}

/// The members as they are in the new group.
fn carried_over(
    id: &GroupId,
    classic: &ClassicGroup,
    image: &Image,
) -> Result<Vec<(MemberId, Member)>, Refusal> {
    let mut claimed = BTreeSet::new();
    let members = classic.members().map(|member| {
        let carried = carry_over(classic, member, image, &mut claimed);
        carried.map(|carried| (member.id.clone(), carried))
    });
    let members: Option<Vec<(MemberId, Member)>> = members.collect();
    members.ok_or_else(|| cannot_upgrade(id, "the embedded consumer protocol is malformed."))
}

fn carry_over(
    classic: &ClassicGroup,
    member: &classic::Member,
    image: &Image,
    claimed: &mut BTreeSet<TopicIdPartition>,
) -> Option<Member> {
    let protocol = classic.protocol().or(member.protocols.first().map(|first| &*first.name));
    let subscription = subscription_of(member.metadata(protocol)).ok()?;
    let supported = member.protocols.iter().map(|protocol| ClassicProtocol {
        name: Str::from(&*protocol.name),
        metadata: protocol.metadata.clone(),
    });
    let metadata = Metadata {
        instance_id: member.instance.clone(),
        rack_id: subscription.rack_id.as_ref().map(|rack| Arc::from(rack.as_str())),
        client_id: member.client.id.clone(),
        client_host: member.client.host.clone(),
        topics: topic_names(&subscription.topics),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        classic: Some(Arc::new(ClassicMemberMetadata {
            session_timeout_ms: member.session_timeout_ms,
            supported_protocols: supported.collect(),
        })),
        ..Metadata::default()
    };
    // Clients may have given a partition to two members: here the first has it.
    let assigned = assigned_to(member, image)?.filter(|topic_id, partition| {
        let partition = crate::types::PartitionId(partition);
        claimed.insert(TopicIdPartition { topic_id, partition })
    });
    let assigned = Arc::new(assigned);
    let epoch = classic.generation();
    let current = Current { epoch, previous_epoch: epoch, assigned, ..Current::default() }
        .after(&Current::default());
    Some(Member { metadata: Arc::new(metadata), current, ..Member::default() })
}

fn assigned_to(member: &classic::Member, image: &Image) -> Option<Partitions> {
    if member.assignment.is_empty() {
        return Some(Partitions::default());
    }
    let assignment: ConsumerProtocolAssignment =
        decode_versioned(member.assignment.clone()).ok()?;
    Some(classic_members::by_id(&assignment.assigned_partitions, image))
}

/// Whether the group becomes a classic one when those members go.
pub(super) fn may_downgrade(edit: &Edit<'_>, gone: &[MemberId]) -> bool {
    let stay = || edit.group.members.iter().filter(|(id, _)| !gone.contains(id));
    let allowed = match edit.config.migration_policy {
        MigrationPolicy::Disabled | MigrationPolicy::Upgrade => false,
        MigrationPolicy::Downgrade | MigrationPolicy::Bidirectional => true,
    };
    let count = stay().count();
    allowed
        && (1..=edit.config.max_size).contains(&count)
        && stay().all(|(_, member)| member.is_classic())
}

/// Those members go and the group becomes a classic one, in which a rebalance begins.
pub(super) fn downgrade(
    draft: &mut Draft<'_>,
    edit: Edit<'_>,
    gone: &[MemberId],
    cause: RebalanceCause,
    reason: &str,
) {
    let id = edit.id.clone();
    let trigger = trigger(&edit, gone.first(), cause, reason);
    let value = classic_value(&edit, gone);
    for record in edit.records {
        draft.record(record);
    }
    for record in edit.group.tombstones(&id) {
        draft.record(record);
    }
    let group = ClassicGroup::from_stored(&value);
    draft.record(GroupRecord::Classic { group: id.clone(), value: Some(value) });
    classic::loaded(draft, &id, &group);
    let Some(Group::Classic(mut group)) = draft.group(&id).map(|group| (**group).clone()) else {
        return;
    };
    if group.state() == classic::State::Stable {
        classic::prepare(draft, &id, &mut group, trigger);
        draft.put(&id, Some(Group::Classic(group)));
    }
}

fn trigger(
    edit: &Edit<'_>,
    member: Option<&MemberId>,
    cause: RebalanceCause,
    reason: &str,
) -> Trigger {
    let metadata = member.and_then(|id| edit.member(id)).map(|member| member.metadata.clone());
    let metadata = metadata.unwrap_or_default();
    Trigger {
        cause,
        member: member.cloned(),
        client_id: metadata.client_id.to_string(),
        client_host: metadata.client_host.to_string(),
        reason: reason.to_owned(),
    }
}

fn classic_value(edit: &Edit<'_>, gone: &[MemberId]) -> GroupMetadataValue {
    let stay: Vec<_> = edit.group.members.iter().filter(|(id, _)| !gone.contains(id)).collect();
    let protocol = common_protocol(&stay);
    let members = stay.iter().map(|(id, member)| {
        let classic = member.metadata.classic.as_deref();
        let protocols = classic.map(|classic| classic.supported_protocols.as_slice());
        let mut chosen = protocols.unwrap_or_default().iter();
        let chosen = chosen.find(|supported| Some(&supported.name) == protocol.as_ref());
        let subscription = chosen.map_or_else(Bytes::new, |chosen| chosen.metadata.clone());
        let target = member.target.clone().unwrap_or_default();
        StoredMember {
            member_id: Str::from(&***id),
            group_instance_id: member.metadata.instance_id.as_deref().map(Str::from),
            client_id: Str::from(&*member.metadata.client_id),
            client_host: Str::from(&*member.metadata.client_host),
            rebalance_timeout: member.metadata.rebalance_timeout_ms,
            session_timeout: classic.map_or(0, |classic| classic.session_timeout_ms),
            assignment: classic_members::encoded(&target, &subscription, edit.image),
            subscription,
        }
    });
    GroupMetadataValue {
        protocol_type: Str::from_static(CONSUMER),
        generation: edit.group.epoch,
        protocol: protocol.clone(),
        leader: stay.first().map(|(id, _)| Str::from(&***id)),
        current_state_timestamp: edit.now.wall.0,
        members: members.collect(),
    }
}

/// The assignor that the first member prefers among those that all support.
fn common_protocol(members: &[(&MemberId, &Arc<Member>)]) -> Option<Str> {
    let supports = |member: &Member, name: &Str| {
        let classic = member.metadata.classic.as_deref();
        classic
            .is_some_and(|classic| classic.supported_protocols.iter().any(|one| one.name == *name))
    };
    let first = members.first()?.1.metadata.classic.as_deref()?;
    let mut names = first.supported_protocols.iter().map(|protocol| &protocol.name);
    let common = names.find(|name| members.iter().all(|(_, member)| supports(member, name)));
    common.cloned()
}

/// Partitions under their topics' names; without those of topics that are not there any more.
pub(super) fn by_name(
    partitions: &Partitions,
    image: &Image,
) -> Vec<ConsumerProtocolTopicPartitions> {
    let topics = partitions.topics().filter_map(|(topic, partitions)| {
        let topic = Str::from(image.topic_name(topic)?.as_str());
        Some(ConsumerProtocolTopicPartitions { topic, partitions: partitions.to_vec() })
    });
    topics.collect()
}
