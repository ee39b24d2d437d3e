//! Compaction of whole logs: what it leaves, what it takes, and how it is remembered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::world::*;
use crate::log::producers::ProducerState;
use crate::log::segment::file_name;
use crate::log::{
    AppendOrigin, CleanError, Cleaned, Cleaning, Log, LogConfig, LogDirectory, PassLimits,
    ReadError, Step,
};
use crate::record::{BatchBuilder, Compression, EndTransactionMarker, batches};
use crate::storage::{Disk, OpenMode, Operation};
use crate::types::{Clock, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

pub const LIMITS: PassLimits =
    PassLimits { map_bytes: 1 << 16, load_factor: 0.9, read_bytes: 4 << 10, hash_key: [3, 4] };

pub fn compacted() -> LogConfig {
    LogConfig {
        segment_bytes: 1_500,
        cleanup_compact: true,
        cleanup_delete: false,
        delete_retention: Duration::from_secs(60),
        file_delete_delay: Duration::ZERO,
        ..LogConfig::default()
    }
}

pub fn compacted_log(world: &World) -> (Arc<LogDirectory>, Arc<Log>) {
    let directory = world.open();
    let log = directory.create(&orders(), TOPIC_ID, compacted()).unwrap();
    (directory, log)
}

/// One record with a key.
pub fn keyed(key: &str, value: Option<&str>, now: TimestampMs) -> Bytes {
    let mut builder = BatchBuilder::new(Offset::ZERO);
    builder.push(now, Some(key.as_bytes()), value.map(str::as_bytes), &[]).unwrap();
    builder.build().unwrap()
}

pub fn append(log: &Log, batch: Bytes, origin: AppendOrigin) -> Offset {
    log.append_as_leader(batch, EPOCH, origin).unwrap().base_offset
}

/// Everything is committed and on the device, and the active segment is sealed.
pub fn settle(directory: &LogDirectory, log: &Log) {
    log.set_high_watermark(log.log_end_offset());
    let size_bytes = log.active().size_bytes();
    if size_bytes > 0 {
        log.roll(&mut log.writer.lock(), log.log_end_offset()).unwrap();
    }
    directory.checkpoint_blocking().unwrap();
}

/// One pass, in steps of about `step_bytes`.
pub fn pass(
    log: &Arc<Log>,
    limits: PassLimits,
    now: TimestampMs,
    step_bytes: u64,
) -> Result<Option<Cleaned>, CleanError> {
    let Some(mut cleaning) = Cleaning::begin(log, limits, now) else { return Ok(None) };
    for _ in 0..100_000 {
        if let Step::Done(_) = cleaning.step(step_bytes)? {
            return Ok(Some(cleaning.cleaned()));
        }
    }
    panic!("a pass over {} does not end", log.topic_partition());
}

fn compact(world: &World, log: &Arc<Log>) -> Cleaned {
    pass(log, LIMITS, world.clock.wall(), 1_000).unwrap().expect("something is dirty")
}

/// What stands in the log, as `offset:key=value`.
fn content(log: &Log) -> Vec<String> {
    let text = |bytes: Option<Bytes>| match bytes {
        Some(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        None => "-".to_owned(),
    };
    let records = read_all(log, 600).into_iter();
    records.map(|r| format!("{}:{}={}", r.offset, text(r.key), text(r.value))).collect()
}

fn write(world: &World, log: &Log, records: &[(&str, Option<&str>)]) {
    for (key, value) in records {
        append(log, keyed(key, *value, world.clock.wall()), AppendOrigin::Client);
    }
}

#[test]
fn of_each_key_the_last_value_stays_at_its_offset() {
    let world = World::new();
    let (directory, log) = compacted_log(&world);
    write(&world, &log, &[("a", Some("1")), ("b", Some("2")), ("a", Some("3")), ("c", Some("4"))]);
    settle(&directory, &log);
    write(&world, &log, &[("b", Some("5")), ("d", Some("6"))]);
    settle(&directory, &log);
    write(&world, &log, &[("a", Some("7"))]);
    log.set_high_watermark(log.log_end_offset());
    let cleaned = compact(&world, &log);
    assert_eq!(content(&log), ["2:a=3", "3:c=4", "4:b=5", "5:d=6", "6:a=7"], "6 is active");
    assert_eq!((cleaned.records.read, cleaned.records.kept, cleaned.keys), (6, 4, 4));
    assert_eq!((cleaned.old_segments, cleaned.new_segments), (2, 1));
    assert_eq!(log.compacted_to(), Offset(6));
    assert!(Cleaning::begin(&log, LIMITS, world.clock.wall()).is_none(), "nothing is dirty");

    settle(&directory, &log);
    compact(&world, &log);
    assert_eq!(content(&log), ["3:c=4", "4:b=5", "5:d=6", "6:a=7"]);
    directory.close_blocking().unwrap();
    let after = world.crash(3);
    let directory = after.open();
    let log = directory.log(&orders()).unwrap();
    log.set_config(compacted());
    assert_eq!(log.compacted_to(), Offset(7), "it is remembered");
    assert_eq!(content(&log), ["3:c=4", "4:b=5", "5:d=6", "6:a=7"]);
}

#[test]
fn a_tombstone_stays_until_its_horizon() {
    let world = World::new();
    let (directory, log) = compacted_log(&world);
    let more = |key| {
        write(&world, &log, &[(key, Some("x"))]);
        settle(&directory, &log);
        compact(&world, &log);
    };
    write(&world, &log, &[("a", Some("1")), ("a", None)]);
    settle(&directory, &log);
    compact(&world, &log);
    assert_eq!(content(&log), ["1:a=-"]);
    world.clock.advance(Duration::from_secs(59));
    more("b");
    assert_eq!(content(&log), ["1:a=-", "2:b=x"], "its horizon is a minute after the first pass");
    world.clock.advance(Duration::from_secs(1));
    more("c");
    assert_eq!(content(&log), ["2:b=x", "3:c=x"]);
}

#[test]
fn what_is_not_committed_or_too_young_is_not_touched() {
    let world = World::new();
    let (directory, log) = compacted_log(&world);
    write(&world, &log, &[("a", Some("1")), ("a", Some("2"))]);
    settle(&directory, &log);
    log.set_config(LogConfig { min_compaction_lag: Duration::from_secs(10), ..compacted() });
    assert!(Cleaning::begin(&log, LIMITS, world.clock.wall()).is_none(), "too young");
    world.clock.advance(Duration::from_secs(11));
    assert!(Cleaning::begin(&log, LIMITS, world.clock.wall()).is_some());
    log.set_config(compacted());
    write(&world, &log, &[("a", Some("3"))]);
    settle(&directory, &log);
    log.truncate_to_blocking(Offset(2)).unwrap();
    write(&world, &log, &[("a", Some("4"))]);
    log.roll(&mut log.writer.lock(), Offset(3)).unwrap();
    directory.checkpoint_blocking().unwrap();
    log.ends.high_watermark.store(2, std::sync::atomic::Ordering::Release);
    compact(&world, &log);
    assert_eq!(content(&log), ["1:a=2", "2:a=4"], "2 is above the high watermark");
    log.set_config(LogConfig { cleanup_compact: false, ..compacted() });
    assert!(Cleaning::begin(&log, LIMITS, world.clock.wall()).is_none(), "another policy");
}

#[test]
fn max_compaction_lag_seals_the_active_segment() {
    let world = World::new();
    let (_directory, log) = compacted_log(&world);
    let limit = Some(Duration::from_secs(10));
    log.set_config(LogConfig { max_compaction_lag: limit, ..compacted() });
    write(&world, &log, &[("a", Some("1"))]);
    let roll = || log.roll_for_compaction_blocking(world.clock.wall()).unwrap();
    assert!(!roll());
    world.clock.advance(Duration::from_secs(11));
    assert!(roll() && !roll());
    assert_eq!(log.sealed_segments().len(), 1);
    log.set_high_watermark(Offset(1));
    let part = log.cleanable(world.clock.wall()).unwrap();
    assert!(!part.is_overdue, "it is not checkpointed");
}

#[test]
fn a_map_that_is_full_ends_the_pass_and_the_next_goes_on() {
    let world = World::new();
    let (directory, log) = compacted_log(&world);
    for round in 0..3 {
        for key in 0..40 {
            let (key, value) = (format!("key {key}"), format!("{round}"));
            write(&world, &log, &[(&key, Some(&value))]);
        }
    }
    settle(&directory, &log);
    let small = PassLimits { map_bytes: 24 * 12, ..LIMITS };
    let mut passes = 0;
    let mut reached = Offset(0);
    while let Some(cleaned) = pass(&log, small, world.clock.wall(), 300).unwrap() {
        passes += 1;
        assert!(log.compacted_to() > reached, "a pass makes progress");
        assert!(cleaned.keys <= 11 && cleaned.map_memory_bytes <= 24 * 12);
        reached = log.compacted_to();
    }
    assert!(passes > 5, "{passes} passes");
    let expected: Vec<String> = (0..40).map(|key| format!("{}:key {key}=2", key + 80)).collect();
    assert_eq!(content(&log), expected);
}

#[test]
fn a_batch_keeps_its_codec_and_one_that_loses_nothing_its_bytes() {
    for codec in Compression::ALL {
        let world = World::new();
        let (directory, log) = compacted_log(&world);
        let batch = |keys: &[&str]| {
            let mut builder = BatchBuilder::new(Offset::ZERO).compression(codec);
            for key in keys {
                builder.push(START, Some(key.as_bytes()), Some(&[b'v'; 90]), &[]).unwrap();
            }
            builder.build().unwrap()
        };
        for keys in [&["a", "b", "c"][..], &["d", "e"], &["b"]] {
            append(&log, batch(keys), AppendOrigin::Client);
        }
        settle(&directory, &log);
        let before = log.read(Offset(3), Offset(6), 1 << 20, true).unwrap().records;
        compact(&world, &log);
        let after = log.read(Offset(0), Offset(6), 1 << 20, true).unwrap().records;
        assert!(after.ends_with(&before), "{codec:?}: two batches lose nothing");
        let first = batches(&after).next().unwrap().unwrap();
        assert_eq!(first.header.compression().unwrap(), codec);
        assert_eq!(offsets(&read_all(&log, 600)), [0, 2, 3, 4, 5], "{codec:?}");
    }
}

#[test]
fn producers_and_transactions_survive_a_rebuilt_catalog() {
    let world = World::new();
    let (directory, log) = compacted_log(&world);
    let transactional = |id: i64, sequence: i32, key: &str| {
        let mut builder = BatchBuilder::new(Offset::ZERO)
            .producer(ProducerId(id), ProducerEpoch(0), sequence)
            .transactional();
        builder.push(START, Some(key.as_bytes()), Some(b"v"), &[]).unwrap();
        append(&log, builder.build().unwrap(), AppendOrigin::Transaction)
    };
    let end = |id: i64, committed| {
        let marker = EndTransactionMarker { committed, coordinator_epoch: LeaderEpoch(0) };
        let batch = marker.batch(START, ProducerId(id), ProducerEpoch(0)).unwrap();
        append(&log, batch, AppendOrigin::Coordinator);
    };
    transactional(1, 0, "a"); // 0
    end(1, true);
    transactional(2, 0, "a"); // 2
    end(2, false);
    transactional(1, 1, "b"); // 4
    transactional(2, 1, "b"); // 5
    end(1, true);
    end(2, false); // 7
    append(&log, idempotent(3, 0, 0, 2), AppendOrigin::Client); // 8, 9
    write(&world, &log, &[("key", Some("later")), ("b", Some("last"))]);
    settle(&directory, &log);
    let (states, stable) = (log.producer_states(), log.last_stable_offset());
    compact(&world, &log);
    let kept = content(&log);
    assert!(kept.iter().any(|line| line == "0:a=v"), "the one of 2 was aborted: {kept:?}");
    assert!(!kept.iter().any(|line| line.starts_with("2:") || line.starts_with("5:")), "{kept:?}");
    let after = world.kill();
    let environment = after.environment_with_damaged_catalog();
    let rebuilt = LogDirectory::open(World::options(), environment).unwrap();
    let found = rebuilt.log(&orders()).unwrap();
    assert_eq!(found.recovery().truncated, None);
    assert_eq!(found.log_end_offset(), log.log_end_offset());
    found.set_high_watermark(found.log_end_offset());
    assert_eq!(found.last_stable_offset(), stable, "nothing is open");
    assert_eq!(last_sequences(found.producer_states()), last_sequences(states));
}

fn last_sequences(states: Vec<(ProducerId, ProducerState)>) -> BTreeMap<ProducerId, Option<i32>> {
    let last = |state: ProducerState| state.batches.back().map(|batch| batch.last_sequence);
    states.into_iter().map(|(id, state)| (id, last(state))).collect()
}

#[test]
fn a_pass_that_fails_or_is_dropped_leaves_a_whole_log() {
    for nth in 1..60 {
        let world = World::new();
        let (directory, log) = compacted_log(&world);
        for round in 0..4 {
            for key in ["a", "b", "c", "d"] {
                write(&world, &log, &[(key, Some(&"v".repeat(200 + round)))]);
            }
        }
        settle(&directory, &log);
        world.disk.fail(Operation::Any, nth);
        let result = pass(&log, LIMITS, world.clock.wall(), 500);
        let after = world.crash(nth);
        let log = after.open().log(&orders()).unwrap();
        assert_eq!(log.recovery().truncated, None, "call {nth}");
        assert_eq!(log.log_end_offset(), Offset(16), "call {nth}");
        let mut last = BTreeMap::new();
        for record in read_all(&log, 600) {
            last.insert(record.key.unwrap(), record.value.unwrap().len());
        }
        assert_eq!(last.into_values().collect::<Vec<_>>(), [203; 4], "call {nth}");
        if result.is_ok() && nth > 30 {
            return;
        }
    }
}

#[test]
fn a_cut_lowers_what_counts_as_compacted() {
    let world = World::new();
    let (directory, log) = compacted_log(&world);
    write(&world, &log, &[("a", Some("1")), ("b", Some("2")), ("a", Some("3"))]);
    settle(&directory, &log);
    let mut cleaning = Cleaning::begin(&log, LIMITS, world.clock.wall()).unwrap();
    log.truncate_to_blocking(Offset(2)).unwrap();
    assert!(matches!(cleaning.step(1), Err(CleanError::Interrupted(_))), "it saw what is gone");
    drop(cleaning);
    settle(&directory, &log);
    compact(&world, &log);
    assert_eq!((log.compacted_to(), content(&log).len()), (Offset(2), 2));
    log.truncate_to_blocking(Offset(1)).unwrap();
    assert_eq!(log.compacted_to(), Offset(1));
    let log = world.crash(1).open().log(&orders()).unwrap();
    assert_eq!(log.compacted_to(), Offset(1), "the catalog knows");
    log.truncate_fully_and_start_at_blocking(Offset(50)).unwrap();
    assert_eq!(log.compacted_to(), Offset(50));
}

#[test]
fn time_is_found_beside_batches_without_records() {
    let world = World::new();
    let (directory, log) = compacted_log(&world);
    // Segments of one batch each, which do not become one.
    log.set_config(LogConfig { segment_bytes: 100, ..compacted() });
    let at = |second: i64| TimestampMs(START.0 + second * 1_000);
    for (key, second) in [("a", 1), ("b", 2), ("a", 9)] {
        append(&log, keyed(key, Some("v"), at(second)), AppendOrigin::Client);
    }
    settle(&directory, &log);
    append(&log, keyed("a", Some("v"), at(5)), AppendOrigin::Client);
    settle(&directory, &log);
    compact(&world, &log);
    assert_eq!(offsets(&read_all(&log, 600)), [1, 3]);
    let found = log.max_timestamp_offset().unwrap().map(|(time, offset, _)| (time, offset));
    assert_eq!(found, Some((at(5), Offset(3))));
    let found = log.offset_for_timestamp(at(3)).unwrap().map(|(_, offset, _)| offset);
    assert_eq!(found, Some(Offset(3)));
}

/// What a restart knows of a transaction whose marker the catalog has seen is only that it is no
/// longer open. If the marker is not committed it may yet be cut off, and the transaction end
/// otherwise: until then the older values must stay.
#[test]
fn what_a_transaction_replaced_stays_until_its_marker_is_committed() {
    let world = World::new();
    let (directory, log) = compacted_log(&world);
    let (id, epoch, now) = (ProducerId(5), ProducerEpoch(0), world.clock.wall());
    let end = |log: &Log, committed| {
        let marker = EndTransactionMarker { committed, coordinator_epoch: LeaderEpoch(0) };
        append(log, marker.batch(now, id, epoch).unwrap(), AppendOrigin::Coordinator);
    };
    write(&world, &log, &[("a", Some("old"))]); // 0
    let mut builder = BatchBuilder::new(Offset::ZERO).producer(id, epoch, 0).transactional();
    builder.push(now, Some(b"a"), Some(b"new"), &[]).unwrap();
    append(&log, builder.build().unwrap(), AppendOrigin::Transaction); // 1
    log.set_high_watermark(Offset(2));
    log.roll(&mut log.writer.lock(), log.log_end_offset()).unwrap();
    end(&log, true); // 2
    directory.checkpoint_blocking().unwrap();

    let world = world.kill();
    let directory = world.open();
    let log = directory.log(&orders()).unwrap();
    log.set_config(compacted());
    assert_eq!(log.high_watermark(), Offset(2));
    pass(&log, LIMITS, now, 1_000).unwrap();
    assert_eq!(content(&log)[..2], ["0:a=old", "1:a=new"], "the marker is not committed");

    log.truncate_to_blocking(Offset(2)).unwrap();
    assert_eq!(log.last_stable_offset(), Offset(1), "the transaction is open again");
    end(&log, false); // 2
    settle(&directory, &log);
    compact(&world, &log);
    assert_eq!(content(&log)[0], "0:a=old", "the transaction was aborted after all");
}

#[test]
fn damage_stops_a_pass_and_is_told_to_whoever_mends() {
    let world = World::new();
    let (directory, log) = compacted_log(&world);
    write(&world, &log, &[("a", Some("1")), ("b", Some("2"))]);
    settle(&directory, &log);
    write(&world, &log, &[("a", Some("3"))]);
    settle(&directory, &log);
    let mut notices = directory.watch_damage();
    notices.borrow_and_update();
    let path = std::path::Path::new("/data/orders-0").join(file_name(Offset(2)));
    let original = world.disk.read(&path).unwrap();
    let overwrite = |byte: u8| {
        let file = world.disk.open(&path, OpenMode::Write).unwrap();
        file.write_at(&[std::io::IoSlice::new(&[byte])], original.len() as u64 - 2).unwrap();
    };
    overwrite(!original[original.len() - 2]);
    let error = pass(&log, LIMITS, world.clock.wall(), 1_000).unwrap_err();
    assert!(matches!(error, CleanError::Read(ReadError::Corrupt { .. })), "{error}");
    assert!(notices.has_changed().unwrap());
    assert_eq!(log.segments_to_mend(), [Offset(2)]);
    overwrite(original[original.len() - 2]);
    compact(&world, &log);
    assert_eq!(content(&log), ["1:b=2", "2:a=3"], "nothing was removed on the damage's account");
}
