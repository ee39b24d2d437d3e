//! Topics come, grow and go; what is refused is refused in Kafka's words.

use super::*;
use crate::types::TopicId;

fn topic(name: &str, num_partitions: i32, replication_factor: i16) -> NewTopic {
    NewTopic {
        name: name.into(),
        num_partitions,
        replication_factor,
        assignments: Vec::new(),
        configs: Vec::new(),
    }
}

fn assigned(name: &str, assignments: &[(i32, &[i32])]) -> NewTopic {
    let assignments = assignments
        .iter()
        .map(|(partition, replicas)| TopicAssignment {
            partition: PartitionId(*partition),
            replicas: nodes(replicas),
        })
        .collect();
    NewTopic { assignments, ..topic(name, -1, -1) }
}

fn create(world: &mut World, topics: Vec<NewTopic>) -> Vec<Result<TopicSummary, Refusal>> {
    match world.run(Command::CreateTopics { topics, validate_only: false }) {
        Reply::CreatedTopics(created) => created.into_iter().map(|topic| topic.result).collect(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_cannot_be_created_is_refused_in_kafkas_words() {
    let config = |key: &str, value: &str| NewTopic {
        configs: vec![(key.into(), Some(value.into()))],
        ..topic("c", 1, 1)
    };
    let manual = |partitions, factor| NewTopic {
        num_partitions: partitions,
        replication_factor: factor,
        ..assigned("m", &[(0, &[1])])
    };
    let cases = [
        (topic("", 1, 1), ErrorCode::InvalidTopicException, "the empty string is not allowed"),
        (topic("a.b", 1, 1), ErrorCode::InvalidTopicException, "collides with existing topic: a_b"),
        (topic("a_b", 1, 1), ErrorCode::TopicAlreadyExists, "Topic 'a_b' already exists."),
        (topic("__cluster_metadata", 1, 1), ErrorCode::InvalidRequest, "is prohibited"),
        (topic("n", 0, 1), ErrorCode::InvalidPartitions, "invalid non-positive value"),
        (topic("n", 1, 0), ErrorCode::InvalidReplicationFactor, "must be larger than 0"),
        (
            topic("n", 1, 4),
            ErrorCode::InvalidReplicationFactor,
            "Unable to replicate the partition 4 time(s): The target replication factor of 4 cannot be reached because only 3 broker(s) are registered.",
        ),
        (config("nonsense", "1"), ErrorCode::InvalidConfig, "Unknown topic config name: nonsense"),
        (config("retention.ms", "x"), ErrorCode::InvalidConfig, "Not a number of type LONG"),
        (manual(1, -1), ErrorCode::InvalidRequest, "numPartitions was not set to -1"),
        (manual(-1, 1), ErrorCode::InvalidRequest, "replication factor was not set to -1"),
        (assigned("m", &[(1, &[1])]), ErrorCode::InvalidReplicaAssignment, "consecutive 0-based"),
        (
            assigned("m", &[(0, &[1]), (0, &[2])]),
            ErrorCode::InvalidReplicaAssignment,
            "Found multiple manual partition assignments for partition 0",
        ),
        (assigned("m", &[(0, &[])]), ErrorCode::InvalidReplicaAssignment, "an empty replica list"),
        (
            assigned("m", &[(0, &[1, 1])]),
            ErrorCode::InvalidReplicaAssignment,
            "broker 1 more than once",
        ),
        (
            assigned("m", &[(0, &[9])]),
            ErrorCode::InvalidReplicaAssignment,
            "no such broker is registered",
        ),
        (
            assigned("m", &[(0, &[3])]),
            ErrorCode::InvalidReplicaAssignment,
            "fenced or in controlled shutdown",
        ),
        (
            assigned("m", &[(0, &[1]), (1, &[1, 2])]),
            ErrorCode::InvalidReplicaAssignment,
            "a partition with 2 replica(s), but this is not consistent",
        ),
    ];
    let mut world = World::of(3);
    create(&mut world, vec![topic("a_b", 1, 1)]);
    world.fence(3);
    let records = world.records.len();
    for (wanted, code, message) in cases {
        let refusal = create(&mut world, vec![wanted.clone()]).remove(0).unwrap_err();
        assert_eq!(refusal.code, code, "{wanted:?}");
        assert!(refusal.message.contains(message), "{}", refusal.message);
    }
    let twice = create(&mut world, vec![topic("d", 1, 1), topic("d", 2, 1)]);
    assert!(twice.iter().all(|r| r.as_ref().unwrap_err().code == ErrorCode::InvalidRequest));
    let too_many =
        Command::CreateTopics { topics: vec![topic("x", 10_001, 1)], validate_only: false };
    assert!(
        matches!(world.run(too_many), Reply::Refused(r) if r.code == ErrorCode::PolicyViolation)
    );
    assert_eq!(world.records.len(), records);
}

#[test]
fn topics_of_one_request_collide_too_and_the_good_ones_are_made() {
    let mut world = World::of(3);
    let results =
        create(&mut world, vec![topic("a.b", 2, 3), topic("a_b", 1, 1), topic("c", -1, -1)]);
    assert_eq!(results[0].as_ref().unwrap().num_partitions, 2);
    assert_eq!(results[1].as_ref().unwrap_err().code, ErrorCode::InvalidTopicException);
    let (defaults, ids) = (results[2].as_ref().unwrap(), results[0].as_ref().unwrap().topic_id);
    assert_eq!((defaults.num_partitions, defaults.replication_factor), (1, 1));
    assert_ne!(defaults.topic_id, ids);
}

#[test]
fn validate_only_changes_nothing() {
    let mut world = World::of(1);
    let records = world.records.len();
    let reply =
        world.run(Command::CreateTopics { topics: vec![topic("t", 3, 1)], validate_only: true });
    let Reply::CreatedTopics(created) = reply else { panic!("{reply:?}") };
    let summary =
        TopicSummary { topic_id: TopicId::ZERO, num_partitions: 3, replication_factor: 1 };
    assert_eq!(created[0].result, Ok(summary));
    assert_eq!(world.records.len(), records);
}

#[test]
fn a_large_topic_and_the_death_of_its_leader_are_split_into_valid_groups() {
    let mut world = World::of(2);
    create(&mut world, vec![topic("t", 2500, 2)]);
    assert_eq!(world.image.topic("t").unwrap().partitions.len(), 2500);
    let command = Command::FenceBroker {
        node_id: NodeId(1),
        broker_epoch: world.epoch(1),
        cause: FenceCause::SessionExpired,
    };
    assert_eq!(world.decide(command).groups.len(), 3);
    world.fence(1);
    assert!(world.image.partitions().all(|(_, _, partition)| partition.leader == Some(NodeId(2))));
}

#[test]
fn a_fenced_broker_gets_replicas_only_where_needed_and_is_not_in_sync() {
    let mut world = World::of(3);
    world.fence(2);
    create(&mut world, vec![topic("two", 6, 2), topic("t", 1, 3)]);
    let two = world.image.topic("two").unwrap();
    assert!(two.partitions.values().all(|partition| !partition.is_replica(NodeId(2))));
    assert_eq!(world.state().1, [1, 3]);
}

#[test]
fn partitions_are_added_after_the_last() {
    let mut world = World::of(3);
    create(&mut world, vec![topic("t", 2, 2)]);
    let mut grow = |count, assignments: Option<&[&[i32]]>| {
        let assignments = assignments.map(|lists| lists.iter().map(|list| nodes(list)).collect());
        let topics = vec![NewPartitions { topic: "t".into(), count, assignments }];
        match world.run(Command::CreatePartitions { topics, validate_only: false }) {
            Reply::CreatedPartitions(grown) => grown[0].result.clone(),
            other => panic!("{other:?}"),
        }
    };
    let message = |result: Result<(), Refusal>| result.unwrap_err().message;
    assert_eq!(message(grow(2, None)), "Topic already has 2 partition(s).");
    assert_eq!(
        message(grow(1, None)),
        "The topic t currently has 2 partition(s); 1 would not be an increase."
    );
    assert_eq!(
        message(grow(4, Some(&[&[1, 2]]))),
        "Attempted to add 2 additional partition(s), but only 1 assignment(s) were specified."
    );
    assert!(message(grow(3, Some(&[&[1]]))).contains("not consistent"));
    assert_eq!(grow(3, Some(&[&[3, 1]])), Ok(()));
    assert_eq!(grow(5, None), Ok(()));
    let topic = world.image.topic("t").unwrap();
    assert_eq!(topic.partitions.len(), 5);
    assert_eq!(topic.partition(PartitionId(2)).unwrap().replicas, nodes(&[3, 1]));
}

#[test]
fn topics_are_deleted_by_name_and_by_id() {
    let mut world = World::of(1);
    create(&mut world, vec![topic("a", 1, 1), topic("b", 1, 1)]);
    let id = world.image.topic("b").unwrap().id;
    let unknown = TopicId(Uuid::from_u128(1));
    let reply = world.run(Command::DeleteTopics {
        topics: vec![
            TopicRef::Name("a".into()),
            TopicRef::Id(id),
            TopicRef::Name("b".into()),
            TopicRef::Name("c".into()),
            TopicRef::Id(unknown),
        ],
    });
    let Reply::DeletedTopics(deleted) = reply else { panic!("{reply:?}") };
    let codes: Vec<_> =
        deleted.iter().map(|topic| topic.result.as_ref().err().map(|r| r.code)).collect();
    assert_eq!(
        codes,
        [
            None,
            None,
            Some(ErrorCode::InvalidRequest),
            Some(ErrorCode::UnknownTopicOrPartition),
            Some(ErrorCode::UnknownTopicId)
        ]
    );
    assert_eq!(deleted[1].name.as_deref(), Some("b"));
    assert!(world.image.topics.is_empty());
    create(&mut world, vec![topic("b", 1, 1)]);
    assert_ne!(world.image.topic("b").unwrap().id, id);
}
