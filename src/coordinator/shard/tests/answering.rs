//! What is held, released, refused, given up.

use std::time::Duration;

use futures::FutureExt;

use super::world::{Command, World};
use crate::replication::TopicSettings;
use crate::types::{ErrorCode, Offset};

#[tokio::test(start_paused = true)]
async fn answers_are_held_until_all_that_they_are_based_on_is_committed() {
    let world = World::loaded(&[1, 2]).await;
    let submit = |amount| world.coordinator.submit("any", move |id| Command::Add(id, amount));
    let mut first = submit(5);
    let mut second = submit(7);
    let mut read = world.coordinator.submit("any", Command::Get);
    assert_eq!((&mut first).now_or_never(), None);
    world.follower_has(Offset(1)).await;
    assert_eq!(first.await, Ok(5));
    assert_eq!(*world.performed.lock(), [5], "nor is anything done about it before");
    assert_eq!((&mut second).now_or_never(), None, "broker 2 does not have it yet");
    assert_eq!((&mut read).now_or_never(), None, "it would tell what may yet be lost");
    world.follower_has(Offset(2)).await;
    assert_eq!((second.await, read.await), (Ok(12), Ok(12)));
    assert_eq!(*world.performed.lock(), [5, 12]);
    assert_eq!(world.get().now_or_never(), Some(Ok(12)), "nothing is left to wait for");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_parked_request_is_answered_by_a_later_decision() {
    let world = World::loaded(&[1, 2]).await;
    let mut parked = world.coordinator.submit("any", Command::Park);
    assert_eq!(world.get().await, Ok(0));
    assert_eq!((&mut parked).now_or_never(), None);
    let added = world.coordinator.submit("any", |id| Command::Add(id, 3));
    world.follower_catches_up().await;
    assert_eq!((added.await, parked.await), (Ok(3), Ok(3)));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_the_log_refuses_has_not_happened() {
    let world = World::loaded(&[1]).await;
    let mut parked = world.coordinator.submit("any", Command::Park);
    assert_eq!(world.add(5).await, Err(ErrorCode::CoordinatorNotAvailable));
    assert_eq!(world.get().await, Ok(0));
    assert_eq!(world.partition().log().log_end_offset(), Offset(0));
    assert_eq!((&mut parked).now_or_never(), None, "another's refusal is not its own");
    assert_eq!(world.counts(), (1, 0));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_held_too_long_is_given_up() {
    let world = World::loaded(&[1, 2]).await;
    let before = world.clock.monotonic();
    let parked = world.coordinator.submit("any", Command::Park);
    let added = world.add(5);
    assert_eq!(added.await, Err(ErrorCode::CoordinatorNotAvailable));
    let waited = world.clock.monotonic().since(before);
    assert!((5_000..5_010).contains(&waited.as_millis()), "{waited:?}");
    assert_eq!(parked.await, Err(ErrorCode::CoordinatorNotAvailable), "held as long");
    assert_eq!(world.counts(), (0, 0));
    let read = world.coordinator.submit("any", Command::Get);
    world.follower_catches_up().await;
    assert_eq!(read.await, Ok(5), "what was decided stays");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_nobody_waits_for_leaves_nothing_behind() {
    let world = World::loaded(&[1, 2]).await;
    let parked = world.coordinator.submit("any", Command::Park);
    let added = world.coordinator.submit("any", |id| Command::Add(id, 5));
    assert_eq!(world.counts(), (2, 2));
    drop((parked, added));
    assert_eq!(world.counts().0, 0);
    world.follower_catches_up().await;
    assert_eq!(world.get().await, Ok(5));
    assert_eq!(world.counts(), (0, 0));
    // One whose answer was never looked at.
    drop(world.coordinator.submit("any", Command::Get));
    assert_eq!(world.counts(), (0, 0));
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_broker_whose_session_has_run_out_answers_nobody() {
    let world = World::loaded(&[1, 2]).await;
    let added = world.coordinator.submit("any", |id| Command::Add(id, 5));
    world.set_live(false);
    assert_eq!(world.get().await, Err(ErrorCode::NotCoordinator));
    assert_eq!(world.add(1).await, Err(ErrorCode::NotCoordinator));
    world.set_live(true);
    let read = world.coordinator.submit("any", Command::Get);
    world.follower_catches_up().await;
    assert_eq!((added.await, read.await), (Ok(5), Ok(5)), "it lives again, in the same reign");
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn what_must_be_synced_is_not_told_before() {
    let settings = TopicSettings { log: Default::default(), min_isr: 1, flush_before_ack: true };
    let world = World::start_with(1, &[1], settings).await;
    world.until_loaded().await;
    for total in 1..=3 {
        let mut added = world.coordinator.submit("any", |id| Command::Add(id, 1));
        assert_eq!((&mut added).now_or_never(), None, "committed, but not synced");
        assert_eq!(added.await, Ok(total));
        let log = world.partition().log();
        assert_eq!(log.flushed_offset(), log.log_end_offset());
    }
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn a_panic_shows_nothing_half_done() {
    let world = World::loaded(&[1, 2]).await;
    let parked = world.coordinator.submit("any", Command::Park);
    let panics = || drop(world.coordinator.submit("any", |_| Command::Panic));
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(panics));
    assert!(caught.is_err());
    assert_eq!(parked.await, Err(ErrorCode::NotCoordinator));
    assert_eq!(world.get().await, Err(ErrorCode::NotCoordinator));
    world.elect(1, &[1, 2]);
    world.until_loaded().await;
    world.stop().await;
}

#[tokio::test(start_paused = true)]
async fn many_that_wait_are_answered_in_their_order() {
    let world = World::loaded(&[1, 2]).await;
    let submitted: Vec<_> =
        (0..500).map(|_| world.coordinator.submit("any", |id| Command::Add(id, 1))).collect();
    let order = tokio::spawn(async move {
        let mut answered = Vec::new();
        for added in submitted {
            answered.push(added.await.unwrap());
        }
        answered
    });
    for offset in [1, 2, 100, 101, 499, 500] {
        world.follower_has(Offset(offset)).await;
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(order.await.unwrap(), (1..=500).collect::<Vec<i64>>());
    world.stop().await;
}
