//! OffsetCommit.

use uuid::Uuid;

use crate::coordinator::group::classic;
use crate::coordinator::group::command::{Answer, Asked};
use crate::coordinator::group::consumer::CommitCheck;
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::GroupId;
use crate::coordinator::group::machine::Group;
use crate::coordinator::group::record::GroupRecord;
use crate::coordinator::group::stored::OffsetCommitValue;
use crate::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse, OffsetCommitResponsePartition, OffsetCommitResponseTopic,
};
use crate::types::{ErrorCode, PartitionId, TimestampMs, TopicId, TopicName, TopicPartition};

/// From this version on a group that does not exist is called that.
const GROUP_ID_NOT_FOUND_VERSION: i16 = 9;

/// OffsetCommit. In Kafka's order: the group refuses all of the request, or each partition is
/// refused for what its own offset carries, or committed.
///
/// | group            | generation or epoch | answer                                                |
/// |------------------|---------------------|-------------------------------------------------------|
/// | does not exist   | < 0                 | committed; the group is one that does not use membership |
/// | does not exist   | >= 0                | GROUP_ID_NOT_FOUND; before version 9 ILLEGAL_GENERATION |
/// | exists           | any                 | as its protocol says                                  |
///
/// In a group of the consumer protocol an epoch that the member has left since is good for the
/// partitions that it has had since that epoch (KIP-1251); others are answered STALE_MEMBER_EPOCH.
///
/// Metadata of more than `offset.metadata.max.bytes` (which Kafka counts in UTF-16 units) is
/// OFFSET_METADATA_TOO_LARGE.
pub(in crate::coordinator::group) fn commit(
    draft: &mut Draft<'_>,
    asked: Asked<OffsetCommitRequest>,
) {
    let response = match check(draft, &asked) {
        Ok(check) => accept(draft, &asked.body, &check),
        Err(error) => answer(&asked.body, |_, _| error),
    };
    draft.reply(asked.request, Answer::OffsetsCommitted(response));
}

fn check(draft: &Draft<'_>, asked: &Asked<OffsetCommitRequest>) -> Result<CommitCheck, ErrorCode> {
    let body = &asked.body;
    let instance = body.group_instance_id.as_deref();
    let generation = body.generation_id_or_member_epoch;
    match draft.group(&body.group_id).map(|group| &**group) {
        None if generation < 0 => Ok(CommitCheck::All),
        None if asked.version >= GROUP_ID_NOT_FOUND_VERSION => Err(ErrorCode::GroupIdNotFound),
        None => Err(ErrorCode::IllegalGeneration),
        Some(Group::Classic(group)) => {
            let checked = group.check_commit(&body.member_id, instance, generation);
            checked.map(|()| CommitCheck::All)
        }
        Some(Group::Consumer(group)) => {
            group.check_commit(&body.member_id, instance, generation, asked.version)
        }
    }
}

fn accept(
    draft: &mut Draft<'_>,
    body: &OffsetCommitRequest,
    check: &CommitCheck,
) -> OffsetCommitResponse {
    let group = GroupId::from(&*body.group_id);
    if draft.group(&group).is_some_and(|group| matches!(&**group, Group::Classic(_))) {
        classic::committed(draft, &group, &body.member_id);
    }
    let now = draft.now.wall;
    let expires = match body.retention_time_ms {
        -1 => TimestampMs::NONE,
        retention_ms => TimestampMs(now.0.saturating_add(retention_ms)),
    };
    let max_metadata = draft.config().offset_metadata_max_bytes;
    let mut name: Option<TopicName> = None;
    answer(body, |topic, partition| {
        if let Err(error) = check.of(TopicId(topic.topic_id), partition.partition_index) {
            return error;
        }
        let metadata = partition.committed_metadata.clone().unwrap_or_default();
        if metadata.encode_utf16().count() > max_metadata {
            return ErrorCode::OffsetMetadataTooLarge;
        }
        let name = match &name {
            Some(name) if name.as_str() == &*topic.name => name.clone(),
            _ => name.insert(TopicName::new(&topic.name)).clone(),
        };
        draft.record(GroupRecord::Offset {
            group: group.clone(),
            partition: TopicPartition {
                topic: name,
                partition: PartitionId(partition.partition_index),
            },
            value: Some(storable(OffsetCommitValue {
                offset: partition.committed_offset,
                leader_epoch: partition.committed_leader_epoch,
                metadata,
                commit_timestamp: now.0,
                expire_timestamp: expires.0,
                topic_id: topic.topic_id,
            })),
        });
        ErrorCode::None
    })
}

/// An offset that says itself when it expires is stored in the version that has a field for that but
/// none for leader epoch and topic id. They are not kept in memory either, so that the next
/// coordinator knows the same.
fn storable(value: OffsetCommitValue) -> OffsetCommitValue {
    match TimestampMs(value.expire_timestamp) {
        TimestampMs::NONE => value,
        _ => OffsetCommitValue { leader_epoch: -1, topic_id: Uuid::nil(), ..value },
    }
}

/// The answer that has for every partition what `outcome` says of it.
fn answer(
    body: &OffsetCommitRequest,
    mut outcome: impl FnMut(&OffsetCommitRequestTopic, &OffsetCommitRequestPartition) -> ErrorCode,
) -> OffsetCommitResponse {
    let topics = body.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter().map(|partition| OffsetCommitResponsePartition {
            partition_index: partition.partition_index,
            error_code: outcome(topic, partition).code(),
        });
        OffsetCommitResponseTopic {
            name: topic.name.clone(),
            topic_id: topic.topic_id,
            partitions: partitions.collect(),
        }
    });
    OffsetCommitResponse { topics: topics.collect(), ..OffsetCommitResponse::default() }
}
