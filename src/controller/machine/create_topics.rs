//! New topics, judged in Kafka's order and words.

use std::collections::BTreeMap;

use crate::controller::machine::directories::DirectoryLoads;
use crate::controller::machine::draft::Draft;
use crate::controller::machine::replicas::{self, uuid};
use crate::controller::machine::{
    CreatedTopic, Decision, MAX_PARTITION_CHANGES, NewTopic, Refusal, Reply, Situation,
    TopicSummary,
};
use crate::metadata::{
    Cause, ConfigResource, Image, MetadataRecord, Partition, topic_config, topic_name,
};
use crate::types::{ErrorCode, NodeId, PartitionId, TopicId, TopicName};

/// Partitions that one request may create (Kafka's limit).
pub(super) const MAX_PARTITIONS_PER_REQUEST: i64 = 10_000;

/// Decides every topic by itself, each on top of those before it.
pub(super) fn create(
    situation: &Situation<'_>,
    topics: Vec<NewTopic>,
    validate_only: bool,
) -> Decision {
    let mut draft = Draft::default();
    let total: i64 = topics.iter().map(|topic| wanted_partitions(situation, topic)).sum();
    if total > MAX_PARTITIONS_PER_REQUEST {
        let message = "Excessively large number of partitions per request.";
        return draft.reply(Reply::refused(ErrorCode::PolicyViolation, message));
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for topic in &topics {
        *counts.entry(&topic.name).or_default() += 1;
    }
    let mut loads = DirectoryLoads::of(situation.image);
    let mut accepted: Vec<&str> = Vec::new();
    let mut results = Vec::with_capacity(topics.len());
    for (index, topic) in topics.iter().enumerate() {
        let result = if counts[topic.name.as_str()] > 1 {
            Err(Refusal::new(ErrorCode::InvalidRequest, "Duplicate topic name."))
        } else {
            plan(situation, topic, index, &accepted, &mut loads)
        };
        let result = result.map(|plan| {
            accepted.push(&topic.name);
            plan.commit(&mut draft, topic, validate_only)
        });
        results.push(CreatedTopic { name: topic.name.clone(), result });
    }
    draft.reply(Reply::CreatedTopics(results))
}

fn wanted_partitions(situation: &Situation<'_>, topic: &NewTopic) -> i64 {
    if topic.assignments.is_empty() {
        let wanted = topic.num_partitions;
        i64::from(if wanted == -1 { situation.options.num_partitions } else { wanted }).max(0)
    } else {
        i64::try_from(topic.assignments.len()).unwrap_or(i64::MAX)
    }
}

struct Plan {
    topic_id: TopicId,
    partitions: Vec<Partition>,
}

impl Plan {
    fn commit(self, draft: &mut Draft, topic: &NewTopic, validate_only: bool) -> TopicSummary {
        let replicas = self.partitions.first().map_or(0, |partition| partition.replicas.len());
        let summary = TopicSummary {
            topic_id: if validate_only { TopicId::ZERO } else { self.topic_id },
            num_partitions: i32::try_from(self.partitions.len()).unwrap_or(i32::MAX),
            replication_factor: i16::try_from(replicas).unwrap_or(i16::MAX),
        };
        if validate_only {
            return summary;
        }
        let name = TopicName::new(&topic.name);
        // A topic that fits one group is not torn over two.
        draft.reserve(self.partitions.len().min(MAX_PARTITION_CHANGES));
        draft.push(MetadataRecord::Topic { name: name.clone(), topic_id: self.topic_id });
        for (key, value) in &topic.configs {
            let resource = ConfigResource::Topic(name.clone());
            draft.push(MetadataRecord::Config { resource, key: key.clone(), value: value.clone() });
        }
        for (index, partition) in (0..).zip(self.partitions) {
            draft.push(MetadataRecord::Partition {
                topic_id: self.topic_id,
                partition: PartitionId(index),
                state: partition.into(),
                cause: Cause::Created,
            });
        }
        summary
    }
}

fn plan(
    situation: &Situation<'_>,
    topic: &NewTopic,
    index: usize,
    accepted: &[&str],
    loads: &mut DirectoryLoads<'_>,
) -> Result<Plan, Refusal> {
    check_name(situation.image, &topic.name, accepted)?;
    topic_config::validate(
        topic.configs.iter().map(|(key, value)| (key.as_str(), value.as_deref())),
    )
    .map_err(|message| Refusal::new(ErrorCode::InvalidConfig, message))?;
    let seed = situation.seed.rotate_left(u32::try_from(index % 128).unwrap_or(0));
    let topic_id = TopicId(uuid(seed, index));
    let assigned = if topic.assignments.is_empty() {
        placed(situation, topic, seed)?
    } else {
        manual(situation, topic)?
    };
    let partitions = replicas::registrations(situation, assigned, 0, loads)?;
    Ok(Plan { topic_id, partitions })
}

fn check_name(image: &Image, name: &str, accepted: &[&str]) -> Result<(), Refusal> {
    if name == topic_name::CLUSTER_METADATA {
        let message = format!("Creation of internal topic {name} is prohibited.");
        return Err(Refusal::new(ErrorCode::InvalidRequest, message));
    }
    if let Err(message) = topic_name::validate(name) {
        return Err(Refusal::new(ErrorCode::InvalidTopicException, message));
    }
    if image.topic(name).is_some() {
        let message = format!("Topic '{name}' already exists.");
        return Err(Refusal::new(ErrorCode::TopicAlreadyExists, message));
    }
    if topic_name::may_collide(name) {
        let existing = image.topics.keys().map(TopicName::as_str);
        let other = existing.chain(accepted.iter().copied()).find(|o| topic_name::collide(name, o));
        if let Some(other) = other {
            let message = format!("Topic '{name}' collides with existing topic: {other}");
            return Err(Refusal::new(ErrorCode::InvalidTopicException, message));
        }
    }
    Ok(())
}

fn placed(
    situation: &Situation<'_>,
    topic: &NewTopic,
    seed: u128,
) -> Result<Vec<Vec<NodeId>>, Refusal> {
    if topic.replication_factor < -1 || topic.replication_factor == 0 {
        let message = "Replication factor must be larger than 0, or -1 to use the default value.";
        return Err(Refusal::new(ErrorCode::InvalidReplicationFactor, message));
    }
    if topic.num_partitions < -1 || topic.num_partitions == 0 {
        let message = "Number of partitions was set to an invalid non-positive value.";
        return Err(Refusal::new(ErrorCode::InvalidPartitions, message));
    }
    let options = situation.options;
    let default = |value, default| if value == -1 { default } else { value };
    let count =
        if topic.num_partitions == -1 { options.num_partitions } else { topic.num_partitions };
    let factor = default(topic.replication_factor, options.default_replication_factor);
    replicas::place(situation, usize::try_from(count).unwrap_or(0), factor, seed)
}

fn manual(situation: &Situation<'_>, topic: &NewTopic) -> Result<Vec<Vec<NodeId>>, Refusal> {
    let both = |what| {
        let message =
            format!("A manual partition assignment was specified, but {what} was not set to -1.");
        Err(Refusal::new(ErrorCode::InvalidRequest, message))
    };
    if topic.replication_factor != -1 {
        return both("replication factor");
    }
    if topic.num_partitions != -1 {
        return both("numPartitions");
    }
    let mut by_index = BTreeMap::new();
    for assignment in &topic.assignments {
        let index = assignment.partition;
        if by_index.insert(index, assignment.replicas.clone()).is_some() {
            let message =
                format!("Found multiple manual partition assignments for partition {index}");
            return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
        }
    }
    if !by_index.keys().zip(0..).all(|(index, wanted)| index.0 == wanted) {
        let message = "partitions should be a consecutive 0-based integer sequence";
        return Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message));
    }
    let assigned: Vec<_> = by_index.into_values().collect();
    let factor = assigned.first().map_or(0, Vec::len);
    replicas::check_assignments(situation.image, &assigned, factor)?;
    Ok(assigned)
}
