//! OffsetFetch.

use crate::coordinator::group::command::{Answer, Asked, RequireStable};
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::machine::Group;
use crate::coordinator::group::offsets::store::Committed;
use crate::protocol::Str;
use crate::protocol::messages::offset_fetch::{
    OffsetFetchRequestGroup, OffsetFetchRequestTopics, OffsetFetchResponseGroup,
    OffsetFetchResponsePartitions, OffsetFetchResponseTopics,
};
use crate::types::{ErrorCode, PartitionId, TopicId, TopicName, TopicPartition};

/// From this version on an error of the group has a field of its own.
const GROUP_ERROR_VERSION: i16 = 2;

/// OffsetFetch of one group: of the partitions that are named, or of all that it has offsets of.
/// Where nothing is committed, or what is committed is of a topic of another id, the offset is -1. A
/// group that does not exist has committed nothing; that is no error.
///
/// There are no transactions yet, so every offset is stable and `RequireStable` changes nothing.
pub(in crate::coordinator::group) fn fetch(
    draft: &mut Draft<'_>,
    asked: Asked<OffsetFetchRequestGroup>,
    _stable: RequireStable,
) {
    let body = asked.body;
    let checked = match draft.group(&body.group_id).map(|group| &**group) {
        None | Some(Group::Classic(_)) => Ok(()),
        Some(Group::Consumer(group)) => {
            group.check_fetch(body.member_id.as_deref(), body.member_epoch)
        }
    };
    let response = match (checked, &body.topics) {
        (Err(error), _) => refused(&body, asked.version, error),
        (Ok(()), Some(topics)) => {
            let topics = topics.iter().map(|topic| named(draft, &body.group_id, topic));
            OffsetFetchResponseGroup {
                topics: topics.collect(),
                ..of_group(&body.group_id, ErrorCode::None)
            }
        }
        (Ok(()), None) => OffsetFetchResponseGroup {
            topics: all(draft, &body.group_id),
            ..of_group(&body.group_id, ErrorCode::None)
        },
    };
    draft.reply(asked.request, Answer::OffsetsFetched(response));
}

fn of_group(group_id: &Str, error: ErrorCode) -> OffsetFetchResponseGroup {
    OffsetFetchResponseGroup {
        group_id: group_id.clone(),
        topics: Vec::new(),
        error_code: error.code(),
    }
}

fn named(
    draft: &Draft<'_>,
    group: &str,
    topic: &OffsetFetchRequestTopics,
) -> OffsetFetchResponseTopics {
    let mut key = TopicPartition::new(TopicName::new(&topic.name), 0);
    let id = TopicId(topic.topic_id);
    let partitions = topic.partition_indexes.iter().map(|index| {
        key.partition = PartitionId(*index);
        let committed = draft.machine.offsets.get(group, &key);
        match committed.filter(|committed| is_of(committed, id)) {
            Some(committed) => present(*index, committed),
            None => absent(*index, ErrorCode::None),
        }
    });
    let partitions = partitions.collect();
    OffsetFetchResponseTopics { name: topic.name.clone(), topic_id: topic.topic_id, partitions }
}

/// An id that is not known on either side does not differ.
fn is_of(committed: &Committed, id: TopicId) -> bool {
    committed.topic_id == id || committed.topic_id == TopicId::ZERO || id == TopicId::ZERO
}

fn all(draft: &Draft<'_>, group: &str) -> Vec<OffsetFetchResponseTopics> {
    let mut topics: Vec<OffsetFetchResponseTopics> = Vec::new();
    for (key, committed) in draft.machine.offsets.of(group) {
        let partition = present(key.partition.0, committed);
        match topics.last_mut().filter(|topic| &*topic.name == key.topic.as_str()) {
            Some(topic) => topic.partitions.push(partition),
            None => {
                let known = draft.image().topic(&key.topic).map(|topic| topic.id);
                topics.push(OffsetFetchResponseTopics {
                    name: Str::from(key.topic.as_str()),
                    topic_id: known.unwrap_or(committed.topic_id).0,
                    partitions: vec![partition],
                });
            }
        }
    }
    topics
}

fn refused(
    body: &OffsetFetchRequestGroup,
    version: i16,
    error: ErrorCode,
) -> OffsetFetchResponseGroup {
    if version >= GROUP_ERROR_VERSION {
        return of_group(&body.group_id, error);
    }
    let topics = body.topics.iter().flatten().map(|topic| OffsetFetchResponseTopics {
        name: topic.name.clone(),
        topic_id: topic.topic_id,
        partitions: topic.partition_indexes.iter().map(|index| absent(*index, error)).collect(),
    });
    OffsetFetchResponseGroup { topics: topics.collect(), ..of_group(&body.group_id, error) }
}

fn present(partition_index: i32, committed: &Committed) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: committed.offset.0,
        committed_leader_epoch: committed.leader_epoch.0,
        metadata: Some(Str::from(&*committed.metadata)),
        error_code: ErrorCode::None.code(),
    }
}

fn absent(partition_index: i32, error: ErrorCode) -> OffsetFetchResponsePartitions {
    OffsetFetchResponsePartitions {
        partition_index,
        committed_offset: -1,
        committed_leader_epoch: -1,
        metadata: Some(Str::default()),
        error_code: error.code(),
    }
}
