//! Data directories that fail and come back, and where replicas are placed (KIP-858).

use super::*;
use crate::types::{DirectoryId, LeaderEpoch, TopicId};

/// Brokers 1 to 3, each with two directories.
fn two_each() -> World {
    let mut world = World::of(0);
    for node in 1..=3 {
        restart(&mut world, node, &[directory(node), second(node)], false);
    }
    world
}

/// Another process of the broker registers with these directories, unclean, and is unfenced.
fn restart(world: &mut World, node: i32, directories: &[DirectoryId], has_offline: bool) {
    world.liveness.live.remove(&NodeId(node));
    let directories: Vec<_> = directories.iter().map(|id| (*id, PreviousRun::Unclean)).collect();
    let incarnation = u128::from(world.decisions) + 1;
    let reply = world.register_without(node, incarnation, &directories, has_offline);
    assert!(matches!(reply, Reply::Registered { .. }), "{reply:?}");
    world.unfence(node);
}

fn fail(world: &mut World, node: i32, directory: DirectoryId) {
    let (node_id, broker_epoch) = (NodeId(node), world.epoch(node));
    let directories = vec![directory];
    let command = Command::DirectoriesOffline { node_id, broker_epoch, directories };
    assert_eq!(world.run(command), Reply::Done);
}

fn assign(world: &mut World, node: i32, directory: DirectoryId) {
    let (node_id, broker_epoch) = (NodeId(node), world.epoch(node));
    let topic_id = world.image.topic("t").unwrap().id;
    let replica = AssignedDirectory { topic_id, partition: PartitionId(0), directory };
    let unknown = AssignedDirectory { topic_id: TopicId::ZERO, ..replica };
    let replicas = vec![unknown, replica];
    let command = Command::AssignDirectories { node_id, broker_epoch, replicas };
    assert_eq!(world.run(command), Reply::Done);
}

fn lies_in(world: &World, node: i32) -> DirectoryId {
    world.partition().directory_of(NodeId(node)).unwrap()
}

#[test]
fn new_replicas_go_where_fewest_are() {
    let mut world = two_each();
    let topic = |name: &str, count| NewTopic {
        name: name.into(),
        num_partitions: count,
        replication_factor: 3,
        assignments: Vec::new(),
        configs: Vec::new(),
    };
    let topics = vec![topic("a", 1), topic("b", 3)];
    world.run(Command::CreateTopics { topics, validate_only: false });
    let grown = NewPartitions { topic: "a".into(), count: 6, assignments: None };
    world.run(Command::CreatePartitions { topics: vec![grown], validate_only: false });
    let held = |world: &World, directory| {
        let all = world.image.partitions();
        all.filter(|(_, _, partition)| partition.directories.contains(&directory)).count()
    };
    for node in 1..=3 {
        assert_eq!(held(&world, directory(node)), 5, "node {node}");
        assert_eq!(held(&world, second(node)), 4, "node {node}");
    }
    fail(&mut world, 2, directory(2));
    world.run(Command::CreateTopics { topics: vec![topic("c", 2)], validate_only: false });
    assert_eq!(held(&world, directory(2)), 5, "nothing new goes to what is offline");
    assert_eq!(held(&world, second(2)), 6);
}

#[test]
fn a_failed_directory_leaves_the_isrs_and_leads_no_more() {
    let mut world = two_each().with_topic();
    assert_eq!(lies_in(&world, 1), directory(1));
    let records = world.records.len();
    fail(&mut world, 1, second(1));
    assert_eq!(world.state(), (1, vec![1, 2, 3], vec![], vec![]), "nothing lies there");
    fail(&mut world, 1, directory(1));
    assert_eq!(world.state(), (2, vec![2, 3], vec![], vec![]));
    let seen = world.records.len();
    assert!(seen > records);
    fail(&mut world, 1, directory(1));
    assert_eq!(world.records.len(), seen, "told twice");
    let broker = world.image.broker(NodeId(1)).unwrap();
    assert!(!broker.fenced && broker.has_offline_directories && broker.directories.is_empty());
    assert_eq!(world.image.offline_replicas(world.partition()).collect::<Vec<_>>(), [NodeId(1)]);
    let item = world.item(&[1, 2, 3]);
    assert_eq!(world.alter_as(2, item), ErrorCode::IneligibleReplica);
    world.fence(2);
    world.fence(3);
    assert_eq!(world.state().0, -1, "what is offline is never elected");
    world.pass(Duration::from_secs(60));
    assert_eq!(world.state().0, -1);
}

#[test]
fn a_failure_under_another_registration_is_refused() {
    let mut world = two_each();
    let (node_id, directories) = (NodeId(1), vec![directory(1)]);
    let broker_epoch = BrokerEpoch(99);
    let reply = world.run(Command::DirectoriesOffline { node_id, broker_epoch, directories });
    assert!(matches!(reply, Reply::Refused(r) if r.code == ErrorCode::StaleBrokerEpoch));
    let replicas = Vec::new();
    let reply = world.run(Command::AssignDirectories { node_id, broker_epoch, replicas });
    assert!(matches!(reply, Reply::Refused(r) if r.code == ErrorCode::StaleBrokerEpoch));
}

#[test]
fn a_replica_waits_for_a_directory_that_is_offline_and_not_for_one_that_is_gone() {
    for is_offline in [true, false] {
        let mut world = two_each().with_topic();
        restart(&mut world, 1, &[second(1)], is_offline);
        assert_eq!(world.state().1, [2, 3]);
        let expected = if is_offline { directory(1) } else { second(1) };
        assert_eq!(lies_in(&world, 1), expected, "offline: {is_offline}");
        restart(&mut world, 1, &[directory(1), second(1)], false);
        assert_eq!(lies_in(&world, 1), expected, "it comes back");
        world.set_isr(&[1, 2, 3]);
    }
}

#[test]
fn an_unclean_recovery_waits_for_a_directory_that_is_offline() {
    for is_offline in [true, false] {
        let mut world = two_each();
        world.create(&[1, 2], &[("min.insync.replicas", "2")]);
        fail(&mut world, 1, directory(1));
        assert_eq!(world.state(), (2, vec![2], vec![], vec![1]));
        restart(&mut world, 2, &[directory(2), second(2)], false);
        assert_eq!(world.state(), (-1, vec![], vec![], vec![1, 2]));
        restart(&mut world, 1, &[second(1)], is_offline);
        let log = LogEnd {
            topic_id: world.image.topic("t").unwrap().id,
            partition: PartitionId(0),
            directory: directory(2),
            last_epoch: LeaderEpoch(0),
            log_end: Offset(3),
        };
        let (node_id, broker_epoch) = (NodeId(2), world.epoch(2));
        world.run(Command::ReportLogEnds { node_id, broker_epoch, logs: vec![log] });
        assert_eq!(world.state().0, if is_offline { -1 } else { 2 }, "offline: {is_offline}");
    }
}

#[test]
fn where_a_replica_lies_in_truth_is_taken_down() {
    let mut world = two_each().with_topic();
    let before = world.partition().clone();
    assign(&mut world, 2, second(2));
    assert_eq!(lies_in(&world, 2), second(2));
    let after = world.partition();
    assert_eq!((&after.isr, after.leader_epoch), (&before.isr, before.leader_epoch));
    assert_eq!(after.partition_epoch, before.partition_epoch.next());
    assign(&mut world, 2, second(2));
    assert_eq!(world.partition().partition_epoch, before.partition_epoch.next(), "told twice");

    fail(&mut world, 2, directory(2));
    assert_eq!(world.state().1, [1, 2, 3], "it had moved away");
    assign(&mut world, 2, directory(2));
    assert_eq!(world.state().1, [1, 3], "it lies in a directory that is offline");
}
