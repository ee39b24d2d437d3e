//! Partitions that lost everybody; leaders that return; elections on request.

use super::*;
use crate::metadata::{ConfigResource, LeaderRecoveryState};
use crate::types::LeaderEpoch;

/// Every machine lost power: ISR and ELR are empty, brokers 1, 2 and 3 were in them.
fn all_lost() -> World {
    let mut world = World::of(3).with_topic();
    for node in [3, 2, 1] {
        world.liveness.live.clear();
        world.fence(node);
    }
    assert_eq!(world.state(), (-1, vec![], vec![1, 2], vec![]));
    for node in [1, 2, 3] {
        world.start(node, PreviousRun::Unclean);
    }
    assert_eq!(world.state(), (-1, vec![], vec![], vec![1, 2]));
    world
}

fn report(world: &mut World, node: i32, last_epoch: i32, log_end: i64) -> Reply {
    let log = LogEnd {
        topic_id: world.image.topic("t").unwrap().id,
        partition: PartitionId(0),
        directory: directory(node),
        last_epoch: LeaderEpoch(last_epoch),
        log_end: Offset(log_end),
    };
    let (node_id, broker_epoch) = (NodeId(node), world.epoch(node));
    world.run(Command::ReportLogEnds { node_id, broker_epoch, logs: vec![log] })
}

#[test]
fn a_lost_partition_waits_for_all_that_were_in_sync_and_elects_the_greatest() {
    for (one, two, leader) in [
        ((0, 10), (0, 9), 1),
        ((0, 9), (0, 10), 2),
        ((0, 10), (1, 3), 2),
        ((1, 3), (0, 10), 1),
        ((1, 5), (1, 5), 1),
    ] {
        let mut world = all_lost();
        assert_eq!(awaits_log_end(&world.image, NodeId(2)).count(), 1);
        assert_eq!(awaits_log_end(&world.image, NodeId(3)).count(), 0);
        report(&mut world, 3, 99, 99);
        report(&mut world, 2, two.0, two.1);
        world.pass(Duration::from_secs(1));
        assert_eq!(world.state().0, -1, "broker 1 was not heard");
        report(&mut world, 1, one.0, one.1);
        assert_eq!(world.state(), (leader, vec![leader], vec![], vec![]));
        assert_eq!(world.partition().recovery, LeaderRecoveryState::Recovering);
        world.pass(Duration::from_secs(1));
        assert_eq!(world.liveness.reported().count(), 0);
    }
}

#[test]
fn a_report_of_an_earlier_process_counts_for_nothing() {
    let mut world = all_lost();
    report(&mut world, 2, 0, 10);
    world.start(2, PreviousRun::Unclean);
    report(&mut world, 1, 0, 3);
    assert_eq!(world.state().0, -1);
    report(&mut world, 2, 0, 10);
    assert_eq!(world.state().0, 2);
}

#[test]
fn a_wiped_or_removed_broker_is_not_waited_for() {
    let mut world = all_lost();
    report(&mut world, 2, 0, 10);
    world.liveness.live.clear();
    let fresh = DirectoryId(Uuid::from_u128(77));
    world.register_on(1, 900, &[(fresh, PreviousRun::Fresh)]);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.state().0, -1, "broker 1 is fenced: its logs may not be loaded");
    world.unfence(1);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.state().0, 2);

    let mut world = all_lost();
    report(&mut world, 2, 0, 10);
    world.run(Command::UnregisterBroker { node_id: NodeId(1) });
    world.pass(Duration::from_secs(1));
    assert_eq!(world.state().0, 2);
}

#[test]
fn a_member_that_only_died_needs_no_reports() {
    let mut world = World::of(3).with_topic();
    for node in [3, 2, 1] {
        world.fence(node);
    }
    world.start(2, PreviousRun::Unclean);
    assert_eq!(world.state(), (-1, vec![], vec![1], vec![2]));
    world.start(1, world.died(1));
    assert_eq!(world.state(), (1, vec![1], vec![], vec![2]));
}

#[test]
fn a_preferred_leader_returns_after_thirty_seconds_of_stability() {
    let mut world = World::of(3).with_topic();
    world.fence(1);
    world.start(1, world.died(1));
    world.set_isr(&[1, 2, 3]);
    world.pass(Duration::from_secs(29));
    assert_eq!(world.state().0, 2);
    world.fence(1);
    world.start(1, world.died(1));
    world.set_isr(&[1, 2, 3]);
    world.pass(Duration::from_secs(29));
    assert_eq!(world.state().0, 2, "the clock began again");
    world.pass(Duration::from_secs(1));
    assert_eq!(world.state().0, 1);
    world.fence(1);
    world.start(1, world.died(1));
    world.set_isr(&[1, 2, 3]);
    // Another controller takes office: it has seen nothing yet.
    let live = std::mem::take(&mut world.liveness).live;
    world.liveness.live = live;
    world.pass(Duration::from_secs(60));
    assert_eq!(world.state().0, 2);
    world.pass(Duration::from_secs(30));
    assert_eq!(world.state().0, 1);
}

#[test]
fn elections_on_request_say_why_not() {
    let elect = |world: &mut World, election, topic: &str| {
        let partitions = Some(vec![TopicPartition::new(topic, 0)]);
        match world.run(Command::ElectLeaders { election, partitions }) {
            Reply::ElectedLeaders(elected) => {
                elected[0].result.as_ref().map_err(|refusal| refusal.code).copied()
            }
            other => panic!("{other:?}"),
        }
    };
    use ElectionType::{Preferred, Unclean};
    let mut world = World::of(3).with_topic();
    assert_eq!(elect(&mut world, Preferred, "u"), Err(ErrorCode::UnknownTopicOrPartition));
    assert_eq!(elect(&mut world, Preferred, "t"), Err(ErrorCode::ElectionNotNeeded));
    world.fence(1);
    assert_eq!(elect(&mut world, Preferred, "t"), Err(ErrorCode::PreferredLeaderNotAvailable));
    world.start(1, world.died(1));
    assert_eq!(elect(&mut world, Preferred, "t"), Err(ErrorCode::PreferredLeaderNotAvailable));
    world.set_isr(&[1, 2, 3]);
    assert_eq!(elect(&mut world, Preferred, "t"), Ok(()));
    assert_eq!(world.state().0, 1);
    assert_eq!(elect(&mut world, Unclean, "t"), Err(ErrorCode::ElectionNotNeeded));
    for node in [3, 2, 1] {
        world.fence(node);
    }
    assert_eq!(elect(&mut world, Unclean, "t"), Err(ErrorCode::EligibleLeadersNotAvailable));
    world.start(3, PreviousRun::Unclean);
    assert_eq!(world.state().0, -1);
    assert_eq!(elect(&mut world, Unclean, "t"), Ok(()));
    assert_eq!(world.state(), (3, vec![3], vec![], vec![]));
}

#[test]
fn producer_ids_come_in_blocks_that_nobody_gets_twice() {
    let mut world = World::of(1);
    let ask = Command::AllocateProducerIds { node_id: NodeId(1), broker_epoch: world.epoch(1) };
    for first in [0, 1000, 2000] {
        let reply = Reply::ProducerIds { first: ProducerId(first), count: 1000 };
        assert_eq!(world.run(ask.clone()), reply);
    }
    world.start(1, PreviousRun::Fresh);
    let reply = world.run(ask);
    assert!(matches!(reply, Reply::Refused(r) if r.code == ErrorCode::StaleBrokerEpoch));
}

fn configure(world: &mut World, key: &str, value: &str) {
    let record = MetadataRecord::Config {
        resource: ConfigResource::Topic("t".into()),
        key: key.to_owned(),
        value: Some(value.to_owned()),
    };
    let offset = world.image.offset().plus(1);
    world.image.apply_entry([&record], offset).unwrap();
}

#[test]
fn an_unclean_election_that_is_allowed_later_is_held_with_the_next_tick() {
    let mut world = World::of(3).with_topic();
    for node in [3, 2, 1] {
        world.fence(node);
    }
    world.start(3, world.died(3));
    world.pass(Duration::ZERO);
    assert_eq!(world.state().0, -1, "3 may lack what was acknowledged");
    configure(&mut world, "unclean.leader.election.enable", "true");
    world.pass(Duration::ZERO);
    assert_eq!(world.state(), (3, vec![3], vec![], vec![]));
    assert_eq!(world.partition().recovery, LeaderRecoveryState::Recovering);
}

#[test]
fn a_minimum_that_changes_counts_for_the_next_change_of_the_isr() {
    for (minimum, elr) in [("2", vec![2]), ("1", vec![])] {
        let mut world = World::of(3).with_topic();
        configure(&mut world, "min.insync.replicas", minimum);
        world.fence(3);
        world.fence(2);
        assert_eq!(world.state(), (1, vec![1], elr, vec![]), "minimum {minimum}");
    }
}
