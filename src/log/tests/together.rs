//! Appends that come at the same time: as if each had come alone.

use std::sync::Arc;

use super::world::*;
use crate::log::{AppendInfo, AppendOrigin, Log, LogConfig, Prepared, Round, Rounds};
use crate::record::TimestampType;
use crate::storage::Operation;
use crate::types::random::SeededRandom;
use crate::types::{ErrorCode, LeaderEpoch, Offset, Random};

type Answer = Result<AppendInfo, ErrorCode>;

fn prepare(log: &Log, records: bytes::Bytes) -> Prepared {
    log.prepare(records, AppendOrigin::Client).unwrap()
}

fn together(log: &Log, batches: &[bytes::Bytes], epoch: LeaderEpoch) -> Vec<Answer> {
    let round: Round<Prepared> = batches.iter().map(|it| prepare(log, it.clone())).collect();
    let answers = log.append_prepared(round, epoch).into_iter();
    answers.map(|answer| answer.map_err(|error| error.error_code())).collect()
}

fn one_by_one(log: &Log, batches: &[bytes::Bytes], epoch: LeaderEpoch) -> Vec<Answer> {
    let append = |batch: &bytes::Bytes| {
        let answer = log.append_as_leader(batch.clone(), epoch, AppendOrigin::Client);
        answer.map_err(|error| error.error_code())
    };
    batches.iter().map(append).collect()
}

/// A producer's next batch, one that it sends again, one too many; or one without a producer.
fn draw(random: &dyn Random, sequences: &mut [i32]) -> bytes::Bytes {
    let count = random.below(4) as usize + 1;
    let producer = random.below(sequences.len() as u64) as usize;
    let due = sequences[producer];
    let id = producer as i64 + 1;
    match random.below(10) {
        0..4 => batch(count * [1, 20][random.below(2) as usize]),
        4..8 => {
            sequences[producer] += count as i32;
            idempotent(id, 0, due, count)
        }
        8 if due > 0 => idempotent(id, 0, due - 1, 1),
        _ => idempotent(id, 0, due + 1, count),
    }
}

#[test]
fn batches_appended_together_are_answered_and_stored_as_if_each_had_come_alone() {
    for seed in 0..60 {
        let random: &dyn Random = &SeededRandom::new(seed);
        let config = LogConfig {
            segment_bytes: [6_000, 20_000][(seed % 2) as usize],
            timestamp_type: match seed % 3 {
                0 => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            ..LogConfig::default()
        };
        let worlds = [World::new(), World::new()];
        let logs = worlds.each_ref().map(|world| one_log(world).1);
        logs.iter().for_each(|log| log.set_config(config.clone()));
        let mut sequences = [0; 3];
        for round in 0..20 {
            let epoch = LeaderEpoch(round / 5);
            let count = random.below(12) + 1;
            let batches: Vec<_> = (0..count).map(|_| draw(random, &mut sequences)).collect();
            let expected = one_by_one(&logs[0], &batches, epoch);
            assert_eq!(together(&logs[1], &batches, epoch), expected, "seed {seed}");
        }
        let ends = |log: &Arc<Log>| {
            let segments: Vec<_> = log
                .segments
                .load()
                .iter()
                .map(|it| (it.base_offset(), it.bytes_at(0, it.size_bytes()).unwrap()))
                .collect();
            (segments, log.producer_states(), log.epochs(), log.log_end_offset())
        };
        assert_eq!(ends(&logs[1]), ends(&logs[0]), "seed {seed}");
        assert!(logs[0].segment_count() > 1, "seed {seed}");
    }
}

#[test]
fn batches_appended_together_take_one_write() {
    let world = World::new();
    let (_directory, log) = one_log(&world);
    for size in [1, 100] {
        let before = world.disk.count(Operation::Write);
        together(&log, &[batch(size), idempotent(7, 0, 0, 1), batch(1)], EPOCH);
        log.truncate_to_blocking(Offset::ZERO).unwrap();
        assert_eq!(world.disk.count(Operation::Write) - before, 1, "{size}");
    }
}

#[test]
fn a_failed_write_fails_all_that_it_would_have_taken_and_those_behind() {
    let world = World::new();
    let (directory, log) = one_log(&world);
    log.append_as_leader(batch(2), EPOCH, AppendOrigin::Client).unwrap();
    world.disk.fail(Operation::Write, 1);
    // The fourth begins another write: its producer's first must be there before.
    let four = [batch(1), idempotent(7, 0, 0, 1), batch(1), idempotent(7, 0, 1, 1)];
    let answers = together(&log, &four, EPOCH);
    assert_eq!(answers, [Err(ErrorCode::KafkaStorageError); 4]);
    assert!(log.is_poisoned() && directory.is_offline());
    assert_eq!((log.log_end_offset(), log.producer_states().len()), (Offset(2), 0));
    let log = world.kill().open().log(&orders()).unwrap();
    assert_eq!(log.log_end_offset(), Offset(3), "half of the write was done: one batch is whole");
}

#[test]
fn a_full_disk_fails_a_write_and_leaves_nothing_of_it() {
    let world = World::new();
    let (directory, log) = one_log(&world);
    log.append_as_leader(batch(1), EPOCH, AppendOrigin::Client).unwrap();
    world.disk.set_capacity(Some(1_000));
    let answers = together(&log, &[batch(1), batch(20), batch(1)], EPOCH);
    assert_eq!(answers, [Err(ErrorCode::KafkaStorageError); 3]);
    assert!(!log.is_poisoned() && !directory.is_offline());
    world.disk.set_capacity(None);
    assert!(together(&log, &[batch(1), batch(20)], EPOCH).iter().all(Result::is_ok));
    assert_eq!(read_all(&log, 1).len(), 22);
}

#[test]
fn what_was_prepared_before_the_log_was_cut_or_closed_finds_it_so() {
    let world = World::new();
    let (directory, log) = one_log(&world);
    together(&log, &[batch(3), idempotent(7, 0, 0, 3)], EPOCH);
    let waiting: Round<Prepared> =
        [prepare(&log, batch(1)), prepare(&log, idempotent(7, 0, 3, 1))].into_iter().collect();
    log.truncate_to_blocking(Offset(3)).unwrap();
    let answers = log.append_prepared(waiting, EPOCH);
    assert_eq!(answers[0].as_ref().unwrap().base_offset, Offset(3));
    let refused = answers[1].as_ref().unwrap_err().error_code();
    assert_eq!(refused, ErrorCode::OutOfOrderSequenceNumber, "its first batch is gone");
    let waiting = [prepare(&log, batch(1))].into_iter().collect();
    directory.close_blocking().unwrap();
    let answers = log.append_prepared(waiting, EPOCH);
    assert_eq!(answers[0].as_ref().unwrap_err().error_code(), ErrorCode::KafkaStorageError);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn tasks_that_append_at_the_same_time_keep_each_producers_order() {
    const TASKS: i64 = 16;
    const BATCHES: i32 = 50;
    let world = World::new();
    let (_directory, log) = one_log(&world);
    log.set_config(small_segments());
    let rounds = Arc::new(Rounds::default());
    let one = |producer: i64| {
        let (log, rounds) = (Arc::clone(&log), Arc::clone(&rounds));
        async move {
            let mut next = Offset::ZERO;
            for sequence in 0..BATCHES {
                let prepared = prepare(&log, idempotent(producer, 0, sequence, 1));
                let asked = rounds.ask(prepared, |round| log.append_prepared(round, EPOCH));
                let info = asked.await.unwrap().unwrap();
                assert!(info.base_offset >= next && !info.duplicate);
                next = info.next_offset;
                tokio::task::yield_now().await;
            }
        }
    };
    let tasks: Vec<_> = (1..=TASKS).map(|producer| tokio::spawn(one(producer))).collect();
    for task in tasks {
        task.await.unwrap();
    }
    let end = TASKS * i64::from(BATCHES);
    assert_eq!(offsets(&read_all(&log, 1)), (0..end).collect::<Vec<_>>());
    assert!(world.disk.count(Operation::Write) < end as u64, "some have shared a write");
}
