//! REPLICATION-RULES.md, by number.

use super::*;
use crate::metadata::{Cause, LeaderRecoveryState};
use crate::types::{LeaderEpoch, PartitionEpoch};

#[test]
fn rule_10_only_active_replicas_of_the_right_registration_join_the_isr() {
    let mut world = World::of(3).with_topic();
    world.fence(3);
    assert_eq!(world.alter_as(1, world.item(&[1, 2, 3])), ErrorCode::IneligibleReplica);
    world.start(3, PreviousRun::Unclean);
    let mut stale = world.item(&[1, 2, 3]);
    stale.new_isr[2].broker_epoch = BrokerEpoch(world.epoch(3).0 - 1);
    assert_eq!(world.alter_as(1, stale), ErrorCode::IneligibleReplica);
    let (node_id, broker_epoch) = (NodeId(3), world.epoch(3));
    let item = world.item(&[1, 2, 3]);
    assert_eq!(world.alter_as(1, item), ErrorCode::None);
    world.run(Command::BeginControlledShutdown { node_id, broker_epoch });
    assert_eq!(world.state().1, [1, 2]);
    assert_eq!(world.alter_as(1, world.item(&[1, 2, 3])), ErrorCode::IneligibleReplica);
}

#[test]
fn rule_13_an_alter_partition_is_judged_in_this_order() {
    type Spoil = fn(&mut AlterPartitionItem);
    // Each case has its own fault and all the later ones.
    let faults: [(Spoil, i32, ErrorCode); 9] = [
        (|i| i.topic_id.0 = Uuid::nil(), 2, ErrorCode::UnknownTopicId),
        (|i| i.partition.0 = 7, 2, ErrorCode::UnknownTopicOrPartition),
        (|i| i.partition_epoch.0 += 1, 2, ErrorCode::NotController),
        (|i| i.leader_epoch.0 -= 1, 2, ErrorCode::FencedLeaderEpoch),
        (|_| {}, 2, ErrorCode::InvalidRequest),
        (|i| i.partition_epoch.0 -= 1, 1, ErrorCode::InvalidUpdateVersion),
        (|i| i.new_isr.remove(0).node_id.0 = 0, 1, ErrorCode::InvalidRequest),
        (|i| i.recovery = LeaderRecoveryState::Recovering, 1, ErrorCode::InvalidRequest),
        (|_| {}, 1, ErrorCode::IneligibleReplica),
    ];
    for (case, (spoil, sender, error)) in faults.into_iter().enumerate() {
        let mut world = World::of(3).with_topic();
        world.fence(3);
        world.set_isr(&[1]);
        world.set_isr(&[1, 2]);
        let mut item = world.item(&[1, 3]);
        spoil(&mut item);
        let before = world.partition().clone();
        assert_eq!(world.alter_as(sender, item), error, "case {case}");
        assert_eq!(*world.partition(), before);
    }
    let mut world = World::of(3).with_topic();
    let ahead = AlterPartitionItem { leader_epoch: LeaderEpoch(9), ..world.item(&[1]) };
    assert_eq!(world.alter_as(1, ahead), ErrorCode::NotController);
    let foreign = AlterPartitionItem {
        new_isr: vec![
            IsrMember { node_id: NodeId(1), broker_epoch: BrokerEpoch::NONE },
            IsrMember { node_id: NodeId(9), broker_epoch: BrokerEpoch::NONE },
        ],
        ..world.item(&[])
    };
    assert_eq!(world.alter_as(1, foreign), ErrorCode::InvalidRequest);
}

#[test]
fn rule_13_a_stale_broker_epoch_is_refused_as_a_whole_and_no_change_writes_nothing() {
    let mut world = World::of(3).with_topic();
    let request = AlterPartition {
        node_id: NodeId(1),
        broker_epoch: BrokerEpoch(0),
        partitions: vec![world.item(&[1])],
    };
    let reply = world.run(Command::AlterPartition(request));
    assert!(matches!(reply, Reply::Refused(r) if r.code == ErrorCode::StaleBrokerEpoch));
    let records = world.records.len();
    assert_eq!(world.alter_as(1, world.item(&[1, 2, 3])), ErrorCode::None);
    assert_eq!(world.records.len(), records);
}

#[test]
fn rule_14_below_the_minimum_who_was_in_sync_stays_eligible() {
    let mut world = World::of(3).with_topic();
    let steps: [(&[i32], &[i32]); 4] = [(&[1, 2], &[]), (&[1], &[2]), (&[1, 3], &[]), (&[1], &[3])];
    for (isr, elr) in steps {
        world.set_isr(isr);
        assert_eq!(world.state(), (1, isr.to_vec(), elr.to_vec(), vec![]));
    }
}

#[test]
fn rule_14_an_eligible_replica_leads_only_where_nobody_is_in_sync() {
    let mut world = World::of(3).with_topic();
    world.set_isr(&[1, 2]);
    world.fence(2);
    assert_eq!(world.state(), (1, vec![1], vec![2], vec![]));
    world.start(2, world.died(2));
    assert_eq!(world.state(), (1, vec![1], vec![2], vec![]), "the ISR is not empty");
    world.fence(1);
    assert_eq!(world.state(), (2, vec![2], vec![1], vec![]));
    world.fence(2);
    assert_eq!(world.state(), (-1, vec![], vec![1, 2], vec![]));
    // Broker 3 is alive, and holds not all that is committed.
    assert!(world.image.broker(NodeId(3)).unwrap().is_active());
    world.start(1, world.died(1));
    assert_eq!(world.state(), (1, vec![1], vec![2], vec![]));
    assert_eq!(world.partition().recovery, LeaderRecoveryState::Recovered);
}

#[test]
fn rule_14_the_minimum_is_no_more_than_the_replicas() {
    let mut world = World::of(1);
    world.create(&[1], &[("min.insync.replicas", "3")]);
    world.fence(1);
    assert_eq!(world.state(), (-1, vec![], vec![1], vec![]));
    world.start(1, world.died(1));
    assert_eq!(world.state(), (1, vec![1], vec![], vec![]));
}

#[test]
fn rule_14_an_unclean_choice_is_not_a_fenced_one() {
    let mut world = World::of(3);
    world.create(&[1, 2, 3], &[("unclean.leader.election.enable", "true")]);
    world.fence(3);
    world.fence(2);
    world.fence(1);
    assert_eq!(world.state(), (-1, vec![], vec![1, 2], vec![]));
    world.start(3, PreviousRun::Unclean);
    assert_eq!(world.state(), (3, vec![3], vec![], vec![]));
    assert_eq!(world.partition().recovery, LeaderRecoveryState::Recovering);
    let cause = world.records.iter().rev().find_map(|record| match record {
        MetadataRecord::Partition { cause, .. } => Some(*cause),
        _ => None,
    });
    assert_eq!(cause, Some(Cause::UncleanElection(NodeId(3))));
    // Until it is recovered nobody else is in sync (KIP-704).
    world.start(1, PreviousRun::Unclean);
    assert_eq!(world.alter_as(3, world.item(&[3, 1])), ErrorCode::InvalidRequest);
    let recovered =
        AlterPartitionItem { recovery: LeaderRecoveryState::Recovered, ..world.item(&[3]) };
    assert_eq!(world.alter_as(3, recovered), ErrorCode::None);
    world.set_isr(&[3, 1]);
}

#[test]
fn rule_15_how_the_last_run_ended_decides_who_stays_eligible() {
    let epoch = |world: &World, off: i64| BrokerEpoch(world.epoch(2).0 - off);
    let clean = |world: &World, off| PreviousRun::Clean { broker_epoch: epoch(world, off) };
    let died = |world: &World, off| PreviousRun::ProcessDied { broker_epoch: epoch(world, off) };
    type Run<'a> = &'a dyn Fn(&World) -> PreviousRun;
    let cases: [(Run<'_>, bool); 6] = [
        (&|world| clean(world, 0), true),
        (&|world| died(world, 0), true),
        (&|world| clean(world, 1), false),
        (&|world| died(world, 1), false),
        (&|_| PreviousRun::Unclean, false),
        (&|_| PreviousRun::Fresh, false),
    ];
    for (case, (run, kept)) in cases.into_iter().enumerate() {
        for fenced_first in [true, false] {
            let mut world = World::of(3).with_topic();
            world.set_isr(&[1, 2]);
            if fenced_first {
                world.fence(2);
                assert_eq!(world.state().2, [2]);
            }
            let run = run(&world);
            world.start(2, run);
            let (elr, last) = if kept { (vec![2], vec![]) } else { (vec![], vec![2]) };
            assert_eq!(world.state(), (1, vec![1], elr, last), "case {case}");
        }
    }
}

#[test]
fn rule_15_each_directory_counts_by_itself() {
    let mut world = World::of(3).with_topic();
    world.set_isr(&[1, 2]);
    world.fence(2);
    let other = DirectoryId(Uuid::from_u128(77));
    let died = world.died(2);
    world.register_on(2, 500, &[(other, PreviousRun::Unclean), (directory(2), died)]);
    assert_eq!(world.state().2, [2]);
    let died = world.died(2);
    world.register_on(2, 501, &[(other, died), (directory(2), PreviousRun::Unclean)]);
    assert_eq!(world.state().2, Vec::<i32>::new());
}

#[test]
fn rule_15_a_replica_whose_directory_is_gone_is_never_elected() {
    let mut world = World::of(1);
    world.create(&[1], &[("unclean.leader.election.enable", "true")]);
    world.fence(1);
    let other = DirectoryId(Uuid::from_u128(77));
    world.register_on(1, 500, &[(other, PreviousRun::Fresh)]);
    world.unfence(1);
    assert_eq!(world.state(), (-1, vec![], vec![], vec![1]));
    world.liveness.live.clear();
    world.register_on(1, 501, &[(other, PreviousRun::Fresh), (directory(1), PreviousRun::Fresh)]);
    world.unfence(1);
    assert_eq!(world.state().0, 1);
}

#[test]
fn rule_15_a_replica_whose_disk_was_replaced_starts_anew_on_another() {
    let mut world = World::of(3).with_topic();
    let fresh = DirectoryId(Uuid::from_u128(77));
    world.fence(2);
    world.register_on(2, 500, &[(fresh, PreviousRun::Fresh)]);
    world.unfence(2);
    assert_eq!(world.state(), (1, vec![1, 3], vec![], vec![]));
    assert_eq!(world.partition().directory_of(NodeId(2)), Some(fresh));
    world.set_isr(&[1, 2, 3]);
}

#[test]
fn rule_16_the_same_incarnation_keeps_its_epoch() {
    let mut world = World::of(1);
    let first = world.register(7, 70, PreviousRun::Fresh);
    let records = world.records.len();
    assert_eq!(world.register(7, 70, PreviousRun::Fresh), first);
    assert_eq!(world.records.len(), records, "nothing changed");
    let epoch = world.epoch(7);
    world.register(7, 71, PreviousRun::Fresh);
    assert!(world.epoch(7) > epoch);
}

#[test]
fn rule_16_a_second_live_process_is_refused() {
    let mut world = World::of(1);
    let epoch = world.epoch(1);
    let reply = world.register(1, 71, PreviousRun::Fresh);
    assert!(matches!(reply, Reply::Refused(r) if r.code == ErrorCode::DuplicateBrokerRegistration));
    assert_eq!(world.epoch(1), epoch);
    world.liveness.live.remove(&NodeId(1));
    assert!(matches!(world.register(1, 71, PreviousRun::Fresh), Reply::Registered { .. }));
}

#[test]
fn rule_16_an_unregistered_broker_comes_back_with_a_greater_epoch() {
    let mut world = World::of(3).with_topic();
    let epoch = world.epoch(3);
    assert_eq!(world.run(Command::UnregisterBroker { node_id: NodeId(3) }), Reply::Done);
    assert_eq!(world.state().1, [1, 2]);
    world.image = Image::from_records(&world.image.to_records()).unwrap();
    world.start(3, PreviousRun::Fresh);
    assert!(world.epoch(3) > epoch);
}

#[test]
fn rule_17_the_leader_epoch_rises_with_the_leader_and_not_with_the_isr() {
    let mut world = World::of(3).with_topic();
    let epochs =
        |world: &World| (world.partition().leader_epoch, world.partition().partition_epoch);
    assert_eq!(epochs(&world), (LeaderEpoch(0), PartitionEpoch(0)));
    world.set_isr(&[1, 2]);
    world.set_isr(&[1, 2, 3]);
    world.fence(3);
    assert_eq!(epochs(&world), (LeaderEpoch(0), PartitionEpoch(3)));
    world.fence(1);
    assert_eq!(world.state().0, 2);
    assert_eq!(epochs(&world), (LeaderEpoch(1), PartitionEpoch(4)));
    world.fence(2);
    assert_eq!(epochs(&world), (LeaderEpoch(2), PartitionEpoch(5)));
    world.start(2, world.died(2));
    assert_eq!(epochs(&world), (LeaderEpoch(3), PartitionEpoch(6)));
}

#[test]
fn a_controlled_shutdown_moves_leaders_first_and_ends_fenced() {
    let mut world = World::of(3).with_topic();
    let (node_id, broker_epoch) = (NodeId(1), world.epoch(1));
    assert!(matches!(
        world.run(Command::CompleteControlledShutdown { node_id, broker_epoch }),
        Reply::Refused(_)
    ));
    assert_eq!(world.run(Command::BeginControlledShutdown { node_id, broker_epoch }), Reply::Done);
    assert_eq!(world.state(), (2, vec![2, 3], vec![], vec![]));
    assert!(!world.image.broker(node_id).unwrap().fenced, "it still serves as a follower");
    assert_eq!(
        world.run(Command::CompleteControlledShutdown { node_id, broker_epoch }),
        Reply::Done
    );
    assert!(world.image.broker(node_id).unwrap().fenced);
}

#[test]
fn a_late_fence_leaves_a_newer_registration_alone() {
    let mut world = World::of(3).with_topic();
    let old = world.epoch(1);
    world.start(1, world.died(1));
    let records = world.records.len();
    let cause = FenceCause::SessionExpired;
    let fence = Command::FenceBroker { node_id: NodeId(1), broker_epoch: old, cause };
    assert_eq!(world.run(fence), Reply::Done);
    assert_eq!(world.records.len(), records);
}

#[test]
fn a_foreign_cluster_and_a_foreign_directory_are_refused() {
    let mut world = World::of(2);
    let reply = world.register_on(3, 9, &[(directory(1), PreviousRun::Fresh)]);
    assert!(matches!(reply, Reply::Refused(r) if r.code == ErrorCode::InvalidRegistration));
    world.image = Image::default();
    let early = world.register(3, 9, PreviousRun::Fresh);
    assert!(
        matches!(early, Reply::Refused(r) if r.code == ErrorCode::NotController),
        "a cluster that is being formed is not another one: it is to be asked again"
    );
    world.run(Command::FormCluster { cluster_id: "other".into() });
    let reply = world.register(3, 9, PreviousRun::Fresh);
    assert!(matches!(reply, Reply::Refused(r) if r.code == ErrorCode::InconsistentClusterId
        && r.message == "Expected cluster ID other, but got cluster ID test"));
}
