//! Which segment a batch goes into, and which segments retention lets go.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::world::*;
use crate::log::{AppendOrigin, Log, LogConfig};
use crate::record::BatchBuilder;
use crate::types::{Offset, TimestampMs, TopicId, TopicPartition};

const SECOND: i64 = 1_000;

/// One record, made so long after [`START`].
fn at(after_ms: i64) -> Bytes {
    with_timestamp(TimestampMs(START.0 + after_ms))
}

fn with_timestamp(timestamp: TimestampMs) -> Bytes {
    let mut builder = BatchBuilder::new(Offset::ZERO);
    builder.push(timestamp, Some(b"key"), Some(&[b'v'; 100]), &[]).unwrap();
    builder.build().unwrap()
}

fn append(log: &Log, batch: Bytes) {
    log.append_as_leader(batch, EPOCH, AppendOrigin::Client).unwrap();
}

fn bases(log: &Log) -> Vec<i64> {
    log.segments.load().iter().map(|segment| segment.base_offset().0).collect()
}

fn config() -> LogConfig {
    LogConfig { timestamp_after_max: None, ..LogConfig::default() }
}

/// A log whose records all have an age of their own, a second apart, two in a segment.
fn aged(world: &World, count: i64, config: &LogConfig) -> Arc<Log> {
    let (_, log) = one_log(world);
    log.set_config(LogConfig { segment_ms: Duration::from_millis(1_500), ..config.clone() });
    for index in 0..count {
        append(&log, at(index * SECOND));
    }
    log.set_high_watermark(log.log_end_offset());
    log.set_config(config.clone());
    log
}

#[test]
fn a_segment_is_sealed_when_its_records_span_segment_ms() {
    let world = World::new();
    let (_, log) = one_log(&world);
    log.set_config(LogConfig { segment_ms: Duration::from_secs(10), ..config() });
    for after_ms in [0, 10 * SECOND, 5 * SECOND, 10 * SECOND + 1, 30 * SECOND, 20 * SECOND] {
        append(&log, at(after_ms));
    }
    // The fourth is too far from the first, the fifth from the fourth; the last is older than that.
    assert_eq!(bases(&log), [0, 3, 4]);
    world.clock.advance(Duration::from_secs(3_600));
    append(&log, at(31 * SECOND));
    assert_eq!(bases(&log), [0, 3, 4], "the clock does not count");
}

#[test]
fn records_without_timestamps_are_as_old_as_their_segment() {
    let world = World::new();
    let (directory, log) = one_log(&world);
    log.set_config(LogConfig { segment_ms: Duration::from_secs(10), ..config() });
    for pass in [10, 0, 11, 10, 1] {
        world.clock.advance(Duration::from_secs(pass));
        append(&log, with_timestamp(TimestampMs::NONE));
    }
    assert_eq!(bases(&log), [0, 2, 4]);
    let day = Duration::from_secs(86_400);
    log.set_config(LogConfig { retention_ms: Some(day), ..config() });
    log.set_high_watermark(log.log_end_offset());
    let clean = || log.delete_old_segments_blocking(world.environment().clock.wall()).unwrap();
    assert_eq!(clean(), 0);
    world.clock.advance(day);
    assert_eq!(clean(), 1, "sealed more than a day ago");
    world.clock.advance(Duration::from_secs(60));
    assert_eq!(clean(), 1, "and the next; the active one is still written");
    assert_eq!(log.log_start_offset(), Offset(4));
    drop(directory);
}

#[test]
fn jitter_seals_earlier_each_segment_at_its_own_time() {
    let world = World::new();
    let directory = world.open();
    let mut ages = BTreeSet::new();
    for partition in 0..40 {
        let name = TopicPartition::new("jitter", partition);
        let config = LogConfig {
            segment_ms: Duration::from_secs(100),
            segment_jitter: Duration::from_secs(50),
            ..config()
        };
        let log = directory.create(&name, TopicId(uuid::Uuid::from_u128(9)), config).unwrap();
        append(&log, at(0));
        let mut age = 0;
        while log.segment_count() == 1 {
            age += SECOND;
            append(&log, at(age));
        }
        assert!((51 * SECOND..=101 * SECOND).contains(&age), "partition {partition}: {age}");
        ages.insert(age / (10 * SECOND));
        let second = log.log_end_offset().plus(-1);
        assert_eq!(bases(&log), [0, second.0]);
    }
    assert!(ages.len() >= 5, "evenly spread: {ages:?}");
    // As Kafka, no more than segment.ms itself.
    let log = directory.create(&orders(), TOPIC_ID, LogConfig::default()).unwrap();
    log.set_config(LogConfig {
        segment_ms: Duration::from_millis(5),
        segment_jitter: Duration::MAX,
        ..config()
    });
    append(&log, at(0));
    append(&log, at(0));
    assert_eq!(log.segment_count(), 1);
}

#[test]
fn retention_by_time_looks_at_the_youngest_record_of_each_segment() {
    let world = World::new();
    let limit = Duration::from_secs(100);
    let log = aged(&world, 9, &LogConfig { retention_ms: Some(limit), ..config() });
    assert_eq!(bases(&log), [0, 2, 4, 6, 8]);
    let clean = |after_ms: i64| log.delete_old_segments_blocking(TimestampMs(START.0 + after_ms));
    assert_eq!(clean(101 * SECOND).unwrap(), 0, "record 1 is exactly as old as allowed");
    assert_eq!(clean(101 * SECOND + 1).unwrap(), 1);
    assert_eq!(log.log_start_offset(), Offset(2));
    log.set_config(LogConfig { retention_ms: None, ..config() });
    assert_eq!(clean(i64::MAX / 2).unwrap(), 0, "-1: for ever");
    log.set_config(LogConfig { retention_ms: Some(limit), ..config() });
    assert_eq!(clean(200 * SECOND).unwrap(), 4, "the active segment is rolled and goes too");
    assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(9), Offset(9)));
    assert_eq!(bases(&log), [9]);
    append(&log, at(900 * SECOND));
    log.set_high_watermark(log.log_end_offset());
    assert_eq!(clean(300 * SECOND).unwrap(), 0, "a record from the future is not old");
}

#[test]
fn retention_by_bytes_keeps_at_least_so_many() {
    let world = World::new();
    let log = aged(&world, 9, &config());
    let size = log.size_bytes();
    let record = size / 9;
    for (limit, start) in [
        (size + 1, 0),
        (size, 0),
        (size - record, 0),
        (size - 2 * record, 2),
        (record + 1, 6),
        (record, 8),
        (0, 9),
    ] {
        let by_bytes = LogConfig { retention_bytes: Some(limit), retention_ms: None, ..config() };
        log.set_config(by_bytes);
        log.delete_old_segments_blocking(START).unwrap();
        assert_eq!(log.log_start_offset(), Offset(start), "limit {limit} of {size}");
    }
}

#[test]
fn only_what_is_committed_and_may_be_deleted_goes() {
    let world = World::new();
    let keep_nothing =
        LogConfig { retention_bytes: Some(0), retention_ms: Some(Duration::ZERO), ..config() };
    let log = aged(&world, 9, &keep_nothing);
    let late = TimestampMs(START.0 + 1_000_000);
    let compacted =
        LogConfig { cleanup_compact: true, cleanup_delete: false, ..keep_nothing.clone() };
    log.set_config(compacted.clone());
    assert_eq!(log.delete_old_segments_blocking(late).unwrap(), 0, "compaction decides");
    log.advance_log_start_blocking(Offset(3)).unwrap();
    assert_eq!(bases(&log), [2, 4, 6, 8], "what lies below the log start goes");
    log.set_config(LogConfig { cleanup_delete: true, ..compacted });
    log.set_high_watermark(Offset(7));
    assert_eq!(log.delete_old_segments_blocking(late).unwrap(), 2);
    assert_eq!(log.log_start_offset(), Offset(6), "7 is in the segment of 6");
    assert_eq!(bases(&log), [6, 8]);
}

#[test]
fn removed_files_stay_for_their_delay_and_no_longer_than_the_process() {
    let world = World::new();
    let (directory, log) = one_log(&world);
    let delay = Duration::from_secs(60);
    log.set_config(LogConfig { segment_bytes: 200, file_delete_delay: delay, ..config() });
    for _ in 0..3 {
        append(&log, at(0));
    }
    let files = |world: &World| -> Vec<String> {
        let entries = world.environment().disk.list(log.path()).unwrap();
        entries.into_iter().map(|entry| entry.name).filter(|name| name.contains(".log")).collect()
    };
    log.advance_log_start_blocking(Offset(2)).unwrap();
    directory.checkpoint_blocking().unwrap();
    let deleted = |files: &[String]| files.iter().filter(|it| it.ends_with(".deleted")).count();
    assert_eq!((files(&world).len(), deleted(&files(&world))), (3, 2));
    world.clock.advance(delay - Duration::from_millis(1));
    directory.checkpoint_blocking().unwrap();
    assert_eq!(deleted(&files(&world)), 2);
    world.clock.advance(Duration::from_millis(1));
    directory.checkpoint_blocking().unwrap();
    assert_eq!((files(&world).len(), deleted(&files(&world))), (1, 0));

    append(&log, at(0));
    log.advance_log_start_blocking(Offset(3)).unwrap();
    assert_eq!(deleted(&files(&world)), 1);
    let world = world.kill();
    let directory = world.open();
    directory.checkpoint_blocking().unwrap();
    assert_eq!((files(&world).len(), deleted(&files(&world))), (1, 0), "the rest of the last run");
}
