//! Making logs, many at once: each is found again after a crash, or was never there.

use std::sync::Arc;

use uuid::Uuid;

use super::world::{EPOCH, World, batch_at, read_all};
use crate::log::{AppendOrigin, CreateError, Log, LogConfig, LogDirectory, NewLog};
use crate::storage::Operation;
use crate::types::{LeaderEpoch, Offset, TopicId, TopicPartition};

const LOGS: i32 = 4;

fn new_log(index: i32) -> NewLog {
    NewLog {
        topic_partition: TopicPartition::new("many", index),
        topic_id: TopicId(Uuid::from_u128(77)),
        config: LogConfig::default(),
    }
}

fn create(directory: &LogDirectory) -> Vec<Result<Arc<Log>, CreateError>> {
    directory.create_all((0..LOGS).map(new_log).collect())
}

#[test]
fn what_was_flushed_to_new_logs_survives_a_power_loss_before_the_first_checkpoint() {
    for seed in 0..200 {
        let world = World::new();
        let directory = world.open();
        for log in create(&directory) {
            let log = log.unwrap();
            log.append_as_follower(batch_at(Offset::ZERO, EPOCH, 3), EPOCH).unwrap();
            log.flush_blocking().unwrap();
        }
        let reopened = world.crash(seed).open();
        for index in 0..LOGS {
            let NewLog { topic_partition, topic_id, .. } = new_log(index);
            let log = reopened.log(&topic_partition).unwrap();
            assert_eq!(log.topic_id(), topic_id, "seed {seed}, {topic_partition}");
            assert_eq!(read_all(&log, 1_000).len(), 3, "seed {seed}, {topic_partition}");
            assert!(!log.recovery().lost_below_recovery_point, "seed {seed}");
        }
    }
}

#[test]
fn whatever_fails_and_whenever_the_power_goes_a_log_is_whole_or_was_refused() {
    for (seed, nth) in (0..).zip(1..) {
        let world = World::new();
        let directory = world.open();
        world.disk.fail(Operation::Any, nth);
        let made = create(&directory);
        let is_made: Vec<bool> = made.iter().map(Result::is_ok).collect();
        for (index, is_made) in (0..).zip(&is_made) {
            let known = directory.log(&new_log(index).topic_partition).is_some();
            assert_eq!(known, *is_made, "operation {nth} failed: log {index}");
        }
        drop((made, directory));
        let reopened = world.crash(seed).open();
        for (index, is_made) in (0..).zip(&is_made) {
            let NewLog { topic_partition, topic_id, .. } = new_log(index);
            let found = reopened.log(&topic_partition);
            assert!(
                !is_made || found.as_ref().is_some_and(|log| log.topic_id() == topic_id),
                "operation {nth} failed, seed {seed}: log {index} is gone"
            );
            let lost = found.is_some_and(|log| log.recovery().lost_below_recovery_point);
            assert!(!lost, "operation {nth} failed, seed {seed}: log {index} had nothing to lose");
        }
        if is_made.iter().all(|is_made| *is_made) {
            assert!(nth > LOGS as u64 * 3, "only {nth} operations were tried");
            return;
        }
    }
}

#[test]
fn a_log_that_is_asked_for_twice_is_made_once() {
    let world = World::new();
    let directory = world.open();
    let made = directory.create_all(vec![new_log(0), new_log(0)]);
    let [first, second] = &made[..] else { panic!("{} answers", made.len()) };
    assert!(Arc::ptr_eq(first.as_ref().unwrap(), second.as_ref().unwrap()));
    let other = NewLog { topic_id: TopicId(Uuid::from_u128(78)), ..new_log(0) };
    let refused = directory.create_all(vec![other, new_log(1)]);
    assert!(matches!(&refused[0], Err(CreateError::OtherTopic { .. })));
    assert!(refused[1].is_ok(), "one that is refused does not hold up the others");
}

#[tokio::test]
async fn logs_and_reigns_that_come_at_once_are_there_when_they_are_answered() {
    let world = World::new();
    let directory = world.open();
    let made = (0..LOGS).map(|index| directory.create_together(new_log(index)));
    let logs: Vec<Arc<Log>> =
        futures::future::join_all(made).await.into_iter().map(Result::unwrap).collect();
    let reigns = logs.iter().map(|log| log.assign_epoch(LeaderEpoch(5)));
    for begun in futures::future::join_all(reigns).await {
        begun.unwrap();
    }
    let reopened = world.crash(3).open();
    for index in 0..LOGS {
        let log = reopened.log(&new_log(index).topic_partition).unwrap();
        assert_eq!(log.latest_epoch(), Some(LeaderEpoch(5)), "rule 1, log {index}");
    }
}

#[test]
fn empty_logs_cost_a_checkpoint_nothing_until_they_are_written_to() {
    let world = World::new();
    let directory = world.open();
    let logs: Vec<Arc<Log>> = create(&directory).into_iter().map(Result::unwrap).collect();
    directory.checkpoint_blocking().unwrap();
    let before = world.disk.operations();
    directory.checkpoint_blocking().unwrap();
    let idle = world.disk.operations() - before;
    assert!(idle <= 1, "{idle} operations on the disk, for nothing but its room");
    let batch = super::world::batch(2);
    logs[1].append_as_leader(batch, LeaderEpoch(1), AppendOrigin::Client).unwrap();
    directory.checkpoint_blocking().unwrap();
    let reopened = world.crash(9).open();
    let log = reopened.log(&new_log(1).topic_partition).unwrap();
    assert_eq!(read_all(&log, 1_000).len(), 2);
    assert_eq!(log.recovery().scanned_bytes, 0, "the checkpoint covers it");
}
