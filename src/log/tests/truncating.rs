//! Moving the ends of a log.

use std::time::Duration;

use super::world::*;
use crate::log::{AppendOrigin, LogConfig, ReadError};
use crate::record::{BatchBuilder, EndTransactionMarker};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

#[test]
fn rule_04_truncation_goes_where_it_is_told_and_not_to_the_high_watermark() {
    let world = World::new();
    let (_directory, log) = one_log(&world);
    for epoch in 1..5 {
        log.append_as_leader(batch(5), LeaderEpoch(epoch), AppendOrigin::Client).unwrap();
    }
    log.set_high_watermark(Offset(5));
    log.truncate_to_blocking(Offset(15)).unwrap();
    assert_eq!((log.log_end_offset(), log.high_watermark()), (Offset(15), Offset(5)));
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(3)));
    log.set_high_watermark(Offset(15));
    log.truncate_to_blocking(Offset(7)).unwrap();
    assert_eq!((log.log_end_offset(), log.high_watermark()), (Offset(5), Offset(5)));
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(1)));
}

#[test]
fn rule_05_a_full_truncation_moves_the_high_watermark_too() {
    let world = World::new();
    let (_directory, log) = one_log(&world);
    log.append_as_leader(batch(5), EPOCH, AppendOrigin::Client).unwrap();
    log.truncate_fully_and_start_at_blocking(Offset(100)).unwrap();
    let ends = (log.log_start_offset(), log.high_watermark(), log.log_end_offset());
    assert_eq!(ends, (Offset(100), Offset(100), Offset(100)));
    assert!(log.epochs().is_empty() && log.producer_states().is_empty());
    let below = log.read(Offset(99), Offset(200), 100, true).unwrap_err();
    assert!(matches!(below, ReadError::OutOfRange { .. }), "below the start (KAFKA-12996)");
    let next = batch_at(Offset(100), LeaderEpoch(3), 2);
    log.append_as_follower(next, LeaderEpoch(3)).unwrap();
    let log = world.kill().open().log(&orders()).unwrap();
    assert_eq!(offsets(&read_all(&log, 1)), [100, 101]);
}

#[test]
fn retention_takes_old_segments_but_nothing_uncommitted() {
    let world = World::new();
    let (directory, log) = one_log(&world);
    let config = LogConfig {
        retention_ms: Some(Duration::from_secs(60)),
        file_delete_delay: Duration::from_secs(5),
        ..small_segments()
    };
    log.set_config(config);
    for _ in 0..40 {
        log.append_as_leader(batch(3), EPOCH, AppendOrigin::Client).unwrap();
    }
    let now = |seconds: i64| crate::types::TimestampMs(START.0 + seconds * 1000);
    assert_eq!(log.delete_old_segments_blocking(now(60)).unwrap(), 0, "not old enough");
    assert_eq!(log.delete_old_segments_blocking(now(61)).unwrap(), 0, "nothing is committed");
    log.set_high_watermark(Offset(60));
    let removed = log.delete_old_segments_blocking(now(61)).unwrap();
    assert!(removed > 1 && log.log_start_offset() <= Offset(60));
    let start = log.log_start_offset();
    log.set_high_watermark(Offset(120));
    let all = log.segment_count();
    assert_eq!(log.delete_old_segments_blocking(now(61)).unwrap(), all, "the active one too");
    assert!(start < log.log_start_offset());
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(120), Offset(120)));

    let deleted = || {
        let names = directory.shared.disk.list(log.path()).unwrap();
        names.iter().filter(|entry| entry.name.ends_with(".deleted")).count()
    };
    assert_eq!(deleted(), removed + all);
    world.clock.advance(Duration::from_secs(6));
    directory.checkpoint_blocking().unwrap();
    assert_eq!(deleted(), 0);
}

#[test]
fn open_transactions_hold_the_last_stable_offset_back() {
    let world = World::new();
    let (directory, log) = one_log(&world);
    let producer = (ProducerId(4), ProducerEpoch(0));
    let part = |sequence| {
        let builder = BatchBuilder::new(Offset::ZERO).producer(producer.0, producer.1, sequence);
        fill(builder.transactional(), 2)
    };
    let append = |records, origin| log.append_as_leader(records, EPOCH, origin).unwrap();
    append(batch(3), AppendOrigin::Client);
    append(part(0), AppendOrigin::Transaction);
    append(part(2), AppendOrigin::Transaction);
    log.set_high_watermark(Offset(7));
    assert_eq!(log.last_stable_offset(), Offset(3));

    let marker = EndTransactionMarker { committed: false, coordinator_epoch: LeaderEpoch(1) };
    let marker = marker.batch(START, producer.0, producer.1).unwrap();
    append(marker, AppendOrigin::Coordinator);
    assert_eq!(log.last_stable_offset(), Offset(3), "the marker is not committed yet");
    log.set_high_watermark(Offset(8));
    assert_eq!(log.last_stable_offset(), Offset(8));
    let aborted = log.aborted_transactions(Offset(0), Offset(8));
    assert_eq!((aborted[0].first_offset, aborted[0].last_offset), (Offset(3), Offset(7)));

    directory.checkpoint_blocking().unwrap();
    log.truncate_to_blocking(Offset(7)).unwrap();
    assert_eq!(log.last_stable_offset(), Offset(3), "without its marker it is open again");
    assert!(log.aborted_transactions(Offset(0), Offset(8)).is_empty());
    let log = world.kill().open().log(&orders()).unwrap();
    log.set_high_watermark(Offset(7));
    assert_eq!(log.last_stable_offset(), Offset(3));
    assert!(log.aborted_transactions(Offset(0), Offset(8)).is_empty());
}

#[test]
fn a_reign_that_wrote_nothing_here_gives_way_to_the_leaders_records() {
    let world = World::new();
    let (directory, log) = one_log(&world);
    let follow = |base: i64, epoch| {
        let records = batch_at(Offset(base), LeaderEpoch(epoch), 2);
        log.append_as_follower(records, LeaderEpoch(9)).unwrap();
    };
    follow(0, 3);
    // It was elected in epoch 5 and wrote nothing; the leader of epoch 9 has records of epoch 4.
    log.assign_epoch_blocking(LeaderEpoch(5)).unwrap();
    follow(2, 4);
    assert_eq!(log.epoch_at(Offset(2)), Some(LeaderEpoch(4)));
    assert_eq!(offsets(&read_all(&log, 1)), [0, 1, 2, 3]);
    log.assign_epoch_blocking(LeaderEpoch(5)).unwrap();
    directory.checkpoint_blocking().unwrap();
    let log = world.crash(4).open().log(&orders()).unwrap();
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(5)), "assigned again, durably");
    assert_eq!(offsets(&read_all(&log, 1)), [0, 1, 2, 3]);
}
