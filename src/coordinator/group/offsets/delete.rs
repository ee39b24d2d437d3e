//! OffsetDelete.

use crate::coordinator::group::command::{Answer, Asked};
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::GroupId;
use crate::coordinator::group::machine::Group;
use crate::coordinator::group::offsets::tombstone;
use crate::protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestTopic, OffsetDeleteResponse,
    OffsetDeleteResponsePartition, OffsetDeleteResponseTopic,
};
use crate::types::{ErrorCode, TopicName, TopicPartition};

/// OffsetDelete (KIP-496): GROUP_ID_NOT_FOUND for a group that does not exist, NON_EMPTY_GROUP for
/// one with members that are no consumers, GROUP_SUBSCRIBED_TO_TOPIC for the partitions of topics
/// that a member subscribes to. That there is no offset to delete is no error.
pub(in crate::coordinator::group) fn delete(
    draft: &mut Draft<'_>,
    asked: Asked<OffsetDeleteRequest>,
) {
    let id = GroupId::from(&*asked.body.group_id);
    let checked = match draft.group(&id).map(|group| &**group) {
        _ if id.is_empty() => Err(ErrorCode::InvalidGroupId),
        None => Err(ErrorCode::GroupIdNotFound),
        Some(Group::Classic(group)) => group.check_delete_offsets(),
        Some(Group::Consumer(_)) => Ok(()),
    };
    let response = match checked {
        Ok(()) => OffsetDeleteResponse {
            topics: asked.body.topics.iter().map(|topic| forget(draft, &id, topic)).collect(),
            ..OffsetDeleteResponse::default()
        },
        Err(error) => OffsetDeleteResponse { error_code: error.code(), ..Default::default() },
    };
    draft.reply(asked.request, Answer::OffsetsDeleted(response));
}

fn forget(
    draft: &mut Draft<'_>,
    id: &GroupId,
    topic: &OffsetDeleteRequestTopic,
) -> OffsetDeleteResponseTopic {
    let subscribed = draft.group(id).is_some_and(|group| group.is_subscribed_to(&topic.name));
    let error = match subscribed {
        true => ErrorCode::GroupSubscribedToTopic,
        false => ErrorCode::None,
    };
    let name = TopicName::new(&topic.name);
    let partitions = topic.partitions.iter().map(|partition| {
        let key = TopicPartition::new(name.clone(), partition.partition_index);
        if !subscribed && draft.machine.offsets.get(id, &key).is_some() {
            draft.record(tombstone(id, &key));
        }
        OffsetDeleteResponsePartition {
            partition_index: partition.partition_index,
            error_code: error.code(),
        }
    });
    OffsetDeleteResponseTopic { name: topic.name.clone(), partitions: partitions.collect() }
}
