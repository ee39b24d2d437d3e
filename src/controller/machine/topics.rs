//! Topics go, and grow.

use std::collections::BTreeMap;

use crate::controller::machine::create_topics::MAX_PARTITIONS_PER_REQUEST;
use crate::controller::machine::directories::DirectoryLoads;
use crate::controller::machine::draft::Draft;
use crate::controller::machine::{
    CreatedPartitions, Decision, DeletedTopic, NewPartitions, Refusal, Reply, Situation, TopicRef,
    replicas,
};
use crate::metadata::{Cause, MetadataRecord, Partition, Topic};
use crate::types::{ErrorCode, PartitionId, TopicId};

/// Deletes topics, by name or by id.
pub(super) fn delete(situation: &Situation<'_>, topics: Vec<TopicRef>) -> Decision {
    let mut draft = Draft::default();
    let mut deleted: Vec<TopicId> = Vec::new();
    let results = topics
        .into_iter()
        .map(|wanted| {
            let (name, topic_id, found, code) = match wanted {
                TopicRef::Name(name) => {
                    let found = situation.image.topic(&name);
                    let code = ErrorCode::UnknownTopicOrPartition;
                    (Some(name), found.map_or(TopicId::ZERO, |topic| topic.id), found, code)
                }
                TopicRef::Id(id) => {
                    let found = situation.image.topic_by_id(id);
                    let name = found.map(|topic| topic.name.as_str().to_owned());
                    (name, id, found, ErrorCode::UnknownTopicId)
                }
            };
            let result = match found {
                None => Err(Refusal::from(code)),
                Some(topic) if deleted.contains(&topic.id) => {
                    Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
                }
                Some(topic) => {
                    deleted.push(topic.id);
                    draft.push(MetadataRecord::TopicRemoved { topic_id: topic.id });
                    Ok(())
                }
            };
            DeletedTopic { name, topic_id, result }
        })
        .collect();
    draft.reply(Reply::DeletedTopics(results))
}

/// Adds partitions to topics.
pub(super) fn grow(
    situation: &Situation<'_>,
    topics: Vec<NewPartitions>,
    validate_only: bool,
) -> Decision {
    let mut draft = Draft::default();
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &topics {
        *counts.entry(&topic.topic).or_default() += 1;
    }
    let mut loads = DirectoryLoads::of(situation.image);
    let mut results = Vec::with_capacity(topics.len());
    for (nth, wanted) in topics.iter().enumerate() {
        let result = if counts[wanted.topic.as_str()] > 1 {
            Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
        } else {
            plan(situation, wanted, nth, &mut loads)
        };
        let result = result.map(|(topic, partitions)| {
            let first = i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX);
            if validate_only {
                return;
            }
            for (index, partition) in (first..).zip(partitions) {
                draft.push_partition(topic, PartitionId(index), partition, Cause::Created);
            }
        });
        results.push(CreatedPartitions { topic: wanted.topic.clone(), result });
    }
    draft.reply(Reply::CreatedPartitions(results))
}

fn plan<'a>(
    situation: &Situation<'a>,
    wanted: &NewPartitions,
    nth: usize,
    loads: &mut DirectoryLoads<'_>,
) -> Result<(&'a Topic, Vec<Partition>), Refusal> {
    let Some(topic) = situation.image.topic(&wanted.topic) else {
        return Err(Refusal::from(ErrorCode::UnknownTopicOrPartition));
    };
    let existing = topic.partitions.len();
    let added = i64::from(wanted.count) - i64::try_from(existing).unwrap_or(i64::MAX);
    if added <= 0 {
        let message = if added == 0 {
            format!("Topic already has {existing} partition(s).")
        } else {
            let (name, count) = (&topic.name, wanted.count);
            format!(
                "The topic {name} currently has {existing} partition(s); {count} would not be an increase."
            )
        };
        return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
    }
    if added > MAX_PARTITIONS_PER_REQUEST {
        let message = "Excessively large number of partitions per request.";
        return Err(Refusal::new(ErrorCode::PolicyViolation, message));
    }
    let added = usize::try_from(added).unwrap_or(0);
    let factor = topic.replication_factor();
    let assigned = match &wanted.assignments {
        Some(assignments) if assignments.len() != added => {
            let message = format!(
                "Attempted to add {added} additional partition(s), but only {} assignment(s) were \
                 specified.",
                assignments.len()
            );
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
        Some(assignments) => {
            replicas::check_assignments(situation.image, assignments, factor)?;
            assignments.clone()
        }
        None => {
            let factor = i16::try_from(factor).unwrap_or(i16::MAX);
            let seed = situation.seed.rotate_left(u32::try_from(nth % 128).unwrap_or(0));
            replicas::place(situation, added, factor, seed)?
        }
    };
    Ok((topic, replicas::registrations(situation, assigned, existing, loads)?))
}
