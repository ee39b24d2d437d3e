//! Loading, losing, ticks, metadata.

use std::time::Duration;

use super::world::{Command, Counter, TOPIC, World};
use crate::coordinator::shard::ShardMachine;
use crate::coordinator::shards::all_answers;
use crate::log::AppendOrigin;
use crate::record::{BatchBuilder, EndTransactionMarker};
use crate::types::random::SeededRandom;
use crate::types::{
    ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Random, TimestampMs,
};

async fn add_committed(world: &World, amount: i64) {
    let added = world.coordinator.submit("any", |id| Command::Add(id, amount));
    world.follower_catches_up().await;
    added.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_new_reign_replays_the_log_and_waits_until_it_is_committed() {
    let world = World::loaded(&[1, 2]).await;
    for amount in 1..=20 {
        add_committed(&world, amount).await;
    }
    // Broker 2 has not got this one.
    let lost = world.coordinator.submit("any", |id| Command::Add(id, 90));
    world.elect(1, &[1, 2]);
    assert_eq!(lost.await, Err(ErrorCode::NotCoordinator), "its reign is over");
    let loading = |answer| answer == Err(ErrorCode::CoordinatorLoadInProgress);
    world.until_answer("loading", loading).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    let answer = world.get().await;
    assert_eq!(answer, Err(ErrorCode::CoordinatorLoadInProgress), "the last is not committed");
    world.follower_catches_up().await;
    world.until_loaded().await;
    assert_eq!(world.get().await, Ok(300), "though its client was not told, it was written");
    world.stop().await;
}

/// A client that is sent here may be quicker than the metadata, and than a replica is made.
#[tokio::test(start_paused = true)]
async fn before_its_reign_a_leader_says_that_it_is_loading() {
    for partitions in [0, 1] {
        let world = World::start(partitions, &[1]).await;
        let answer = world.get().await;
        assert_eq!(answer, Err(ErrorCode::CoordinatorLoadInProgress), "{partitions} partitions");
        if partitions == 1 {
            world
                .until_answer("loading", |answer| {
                    answer != Err(ErrorCode::CoordinatorLoadInProgress)
                })
                .await;
            assert_eq!(world.get().await, Ok(0));
        }
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn another_leader_ends_everything() {
    let world = World::loaded(&[1, 2]).await;
    add_committed(&world, 5).await;
    let held = world.coordinator.submit("any", |id| Command::Add(id, 1));
    let parked = world.coordinator.submit("any", Command::Park);
    world.elect(2, &[1, 2]);
    assert_eq!(held.await, Err(ErrorCode::NotCoordinator));
    assert_eq!(parked.await, Err(ErrorCode::NotCoordinator));
    assert_eq!(world.get().await, Err(ErrorCode::NotCoordinator));
    world.lead_again().await;
    assert_eq!(world.get().await, Ok(6));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_shard_never_writes_into_a_later_reign() {
    let world = World::loaded(&[1, 2]).await;
    let partition = world.partition();
    let stale = partition.reign().unwrap();
    world.elect(1, &[1, 2]);
    while partition.reign() == Some(stale) || partition.reign().is_none() {
        tokio::task::yield_now().await;
    }
    let (key, value) = Counter::encode(&1);
    let mut batch = BatchBuilder::new(Offset::ZERO);
    batch.push(TimestampMs(1), Some(&key), value.as_deref(), &[]).unwrap();
    let refused = partition.produce_in_reign(batch.build().unwrap(), stale).map_err(|it| it.code);
    assert_eq!(refused, Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(partition.committed_in_reign(stale), Err(ErrorCode::NotLeaderOrFollower));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn ticks_come_when_they_are_due_and_again_if_they_were_refused() {
    let world = World::loaded(&[1, 2]).await;
    let started = world.clock.monotonic();
    let later = |seconds| {
        let after = Duration::from_secs(seconds);
        world.coordinator.submit("any", move |id| Command::AddLater(id, after))
    };
    // The nearer one counts, though it was asked for later.
    assert_eq!(later(60).await, Ok(0));
    assert_eq!(later(10).await, Ok(0));
    tokio::time::sleep(Duration::from_millis(9_990)).await;
    assert_eq!(world.partition().log().log_end_offset(), Offset(0));
    tokio::time::sleep(Duration::from_millis(20)).await;
    assert_eq!(world.partition().log().log_end_offset(), Offset(1));
    world.follower_catches_up().await;
    assert_eq!(world.get().await, Ok(1_000));
    let waited = world.clock.monotonic().since(started);
    assert!(waited < Duration::from_secs(11), "{waited:?}");

    assert_eq!(later(1).await, Ok(1_000));
    world.set_live(false);
    tokio::time::sleep(Duration::from_millis(1_250)).await;
    world.set_live(true);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert_eq!(world.partition().log().log_end_offset(), Offset(1), "refused, and not yet again");
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(world.partition().log().log_end_offset(), Offset(2), "half a second later");
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.partition().log().log_end_offset(), Offset(2), "it was due once");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn the_machine_knows_that_it_is_loaded_and_what_the_metadata_is() {
    let world = World::loaded(&[1, 2]).await;
    let machine = world.machine();
    assert!(machine.was_loaded);
    assert_eq!(machine.topics_seen, 1);
    world.create("orders", 1, &[1, 2]);
    while world.machine().topics_seen != 2 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.stop().await;
}

/// Appends a batch that `fill` makes, whoever may have wanted it there.
async fn plant(world: &World, fill: impl FnOnce(&mut BatchBuilder)) {
    let mut batch = BatchBuilder::new(Offset::ZERO);
    fill(&mut batch);
    let records = batch.build().unwrap();
    world.partition().produce_as(records, -1, AppendOrigin::Coordinator).unwrap();
    world.follower_catches_up().await;
}

#[tokio::test(start_paused = true)]
async fn what_is_not_for_this_version_is_left_out() {
    let world = World::loaded(&[1, 2]).await;
    add_committed(&world, 5).await;
    plant(&world, |batch| {
        batch.push(TimestampMs(1), Some(b"new kind"), Some(b"x"), &[]).unwrap();
        batch.push(TimestampMs(1), None, Some(b"keyless"), &[]).unwrap();
    })
    .await;
    let marker = EndTransactionMarker { committed: true, coordinator_epoch: LeaderEpoch(0) };
    let marker = marker.batch(TimestampMs(1), ProducerId(1), ProducerEpoch(0)).unwrap();
    world.partition().produce_as(marker, -1, AppendOrigin::Coordinator).unwrap();
    add_committed(&world, 6).await;
    world.lead_again().await;
    assert_eq!(world.get().await, Ok(11));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_damaged_record_is_not_passed_over() {
    let world = World::loaded(&[1, 2]).await;
    plant(&world, |batch| {
        batch.push(TimestampMs(1), Some(b"add"), Some(b"short"), &[]).unwrap();
    })
    .await;
    world.elect(1, &[1, 2]);
    let failed = |answer| answer == Err(ErrorCode::NotCoordinator);
    world.until_answer("the load to fail", failed).await;
    tokio::time::sleep(Duration::from_secs(60)).await;
    assert_eq!(world.get().await, Err(ErrorCode::NotCoordinator), "it stays so in this reign");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn replaying_the_records_alone_gives_the_same_state() {
    for seed in 0..20 {
        let random: &dyn Random = &SeededRandom::new(seed);
        let world = World::loaded(&[1, 2]).await;
        for _ in 0..random.below(60) {
            let command = random.below(4);
            let amount = i64::try_from(random.below(100)).unwrap();
            let submitted = world.coordinator.submit("any", |id| match command {
                0 => Command::Get(id),
                1 => Command::Park(id),
                2 => Command::AddLater(id, Duration::from_millis(3)),
                _ => Command::Add(id, amount),
            });
            if random.below(2) == 0 {
                drop(submitted);
            }
            if random.below(3) == 0 {
                tokio::time::sleep(Duration::from_millis(4)).await;
            }
            if random.below(3) == 0 {
                world.follower_catches_up().await;
            }
        }
        let total = world.machine().total;
        world.lead_again().await;
        assert_eq!(world.get().await, Ok(total), "seed {seed}");
        world.stop().await;
    }
}

#[tokio::test(start_paused = true)]
async fn every_shard_of_a_broker_is_asked_or_none() {
    let world = World::start(3, &[1]).await;
    let all = || all_answers(world.coordinator.submit_to_all(Command::Get));
    while all().await != Ok(vec![0, 0, 0]) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.elect(2, &[1, 2]);
    world.until_answer("nothing", |answer| answer.is_ok()).await;
    while all().await != Ok(vec![0, 0]) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    world.elect(1, &[1]);
    while all().await != Ok(vec![0, 0, 0]) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(world.coordinator.partition_for("a").map(|it| it.0), Some(97 % 3));
    assert!(world.image().topic(TOPIC).is_some());
    world.coordinator.stop().await;
    assert_eq!(all().await, Ok(vec![]));
    world.stop().await;
}
