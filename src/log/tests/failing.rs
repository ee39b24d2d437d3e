//! Disks that fail, and disks that are full.

use std::io::IoSlice;

use uuid::Uuid;

use super::world::*;
use crate::log::{AppendOrigin, LogConfig, StorageError};
use crate::storage::Operation;
use crate::types::{ErrorCode, LeaderEpoch, Offset, TopicId};

#[test]
fn a_failed_write_poisons_the_log_and_takes_the_directory_offline() {
    let world = World::new();
    let (directory, log) = one_log(&world);
    let append = || log.append_as_leader(batch(2), EPOCH, AppendOrigin::Client);
    append().unwrap();
    let offline = directory.watch_offline();
    world.disk.fail(Operation::Write, 1);
    assert_eq!(append().unwrap_err().error_code(), ErrorCode::KafkaStorageError);
    assert!(log.is_poisoned() && directory.is_offline());
    assert!(offline.borrow().is_some(), "whoever watches is told");
    assert_eq!(append().unwrap_err().error_code(), ErrorCode::KafkaStorageError);
    assert!(matches!(log.flush_blocking(), Err(StorageError::Poisoned(_))));
    assert_eq!(offsets(&read_all(&log, 1)), [0, 1], "what was there can still be read");

    let directory = world.kill().open();
    let log = directory.log(&orders()).unwrap();
    assert_eq!(log.log_end_offset(), Offset(2));
    assert!(log.recovery().truncated.is_some(), "half a batch was written");
}

#[test]
fn a_failed_sync_is_never_taken_for_a_success() {
    for fail in 0..3 {
        let world = World::new();
        let (directory, log) = one_log(&world);
        directory.checkpoint_blocking().unwrap();
        log.append_as_leader(batch(2), EPOCH, AppendOrigin::Client).unwrap();
        match fail {
            0 => world.disk.fail(Operation::Sync, 1),
            1 => world.catalog.fail_apply(1),
            _ => world.catalog.fail_flush(1),
        }
        directory.checkpoint_blocking().unwrap_err();
        assert!(directory.is_offline(), "case {fail}");
        assert_eq!(log.recovery_point(), Offset(0), "case {fail}");
        assert!(directory.checkpoint_blocking().is_err(), "case {fail}: not tried again");
    }
}

/// Or else the replica that was to be made there would never be, and nobody would know.
#[test]
fn a_disk_that_fails_while_logs_are_made_or_set_aside_takes_the_directory_offline() {
    for nth in 1.. {
        let world = World::new();
        let (directory, _) = one_log(&world);
        let operations = world.disk.operations();
        world.disk.fail(Operation::Any, nth);
        let aside = directory.mark_stray_blocking(&orders());
        let made = directory.create(&orders(), TopicId(Uuid::from_u128(8)), LogConfig::default());
        if world.disk.operations() - operations < nth {
            assert!(nth > 3 && aside.is_ok() && made.is_ok(), "operation {nth} did not fail");
            break;
        }
        let is_refused = aside.is_err() || made.is_err();
        assert_eq!(directory.is_offline(), is_refused, "operation {nth}: {aside:?}, {made:?}");
    }
}

#[test]
fn a_full_disk_refuses_writes_serves_reads_and_recovers() {
    let world = World::new();
    let (directory, log) = one_log(&world);
    let append = || log.append_as_leader(batch(10), EPOCH, AppendOrigin::Client);
    append().unwrap();
    directory.checkpoint_blocking().unwrap();
    world.disk.set_capacity(Some(8_000));
    let mut appended = 1;
    let refused = loop {
        match append() {
            Ok(_) => appended += 1,
            Err(error) => break error,
        }
        assert!(appended < 100, "the disk never fills");
    };
    assert_eq!(refused.error_code(), ErrorCode::KafkaStorageError);
    assert!(!log.is_poisoned() && !directory.is_offline());
    assert_eq!(read_all(&log, 1).len(), appended * 10);
    directory.checkpoint_blocking().unwrap();
    assert!(append().is_err(), "what is left is the catalog's");

    world.disk.set_capacity(None);
    directory.checkpoint_blocking().unwrap();
    append().unwrap();
    assert_eq!(read_all(&log, 1).len(), appended * 10 + 10);
}

#[test]
fn rule_01_an_epoch_without_records_survives_a_crash() {
    let world = World::new();
    let (_directory, log) = one_log(&world);
    log.append_as_leader(batch(3), LeaderEpoch(1), AppendOrigin::Client).unwrap();
    log.flush_blocking().unwrap();
    log.assign_epoch_blocking(LeaderEpoch(4)).unwrap();
    let directory = world.crash(9).open();
    let log = directory.log(&orders()).unwrap();
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(4)));
    assert_eq!(log.end_offset_for_epoch(LeaderEpoch(2)).end_offset, Offset(3));
}

#[test]
fn a_log_that_was_deleted_stays_deleted() {
    let world = World::new();
    let (directory, log) = one_log(&world);
    log.append_as_leader(batch(3), EPOCH, AppendOrigin::Client).unwrap();
    directory.checkpoint_blocking().unwrap();
    assert!(directory.delete_blocking(&orders()).unwrap());
    assert!(!directory.delete_blocking(&orders()).unwrap());
    assert!(log.append_as_leader(batch(3), EPOCH, AppendOrigin::Client).is_err());
    let fresh = directory.create(&orders(), TOPIC_ID, crate::log::LogConfig::default()).unwrap();
    assert_eq!(fresh.log_end_offset(), Offset(0));
    let directory = world.crash(3).open();
    let log = directory.log(&orders()).unwrap();
    assert_eq!((log.log_end_offset(), log.recovery_point()), (Offset(0), Offset(0)));
    assert!(directory.mark_stray_blocking(&orders()).unwrap());
    assert_eq!(directory.strays().unwrap().len(), 1);
    assert!(directory.logs().is_empty());
}

/// After a sync that failed the pages count as clean: the next process reads them, and its syncs
/// leave them where they are.
#[test]
fn what_a_failed_sync_left_is_on_the_device_once_the_next_process_has_synced_it() {
    for (case, half_a_batch) in [("whole batches", false), ("the last one is cut off", true)] {
        for seed in 0..4 {
            let world = World::new();
            let (directory, log) = one_log(&world);
            log.set_config(small_segments());
            let append = || log.append_as_leader(batch(5), EPOCH, AppendOrigin::Client);
            append().unwrap();
            directory.checkpoint_blocking().unwrap();
            for _ in 0..12 {
                append().unwrap();
            }
            if half_a_batch {
                let half = &batch_at(log.log_end_offset(), EPOCH, 5)[..100];
                log.active().write(&[IoSlice::new(half)]).unwrap();
            }
            for segment in log.segments.load().iter() {
                world.disk.fail(Operation::Sync, 1);
                segment.sync().unwrap_err();
            }

            let world = world.kill();
            let log = world.open().log(&orders()).unwrap();
            assert_eq!(log.log_end_offset(), Offset(65), "{case}");
            assert_eq!(log.recovery().truncated.is_some(), half_a_batch);
            log.flush_blocking().unwrap();
            let log = world.crash(seed).open().log(&orders()).unwrap();
            assert_eq!(read_all(&log, 1000).len(), 65, "{case}, seed {seed}");
        }
    }
}

/// What is written once more is what the catalog does not know, and only where it may be needed.
#[test]
fn only_what_may_be_in_memory_alone_is_written_once_more() {
    type Next = fn(&World) -> World;
    let nexts: [(&str, bool, Next, u64); 4] = [
        ("killed", false, World::kill, 1),
        (
            "killed, boot unknown",
            false,
            |world| World { boot_id: String::new(), ..world.kill() },
            1,
        ),
        ("another boot", false, |world| World { boot_id: "boot-2".to_owned(), ..world.kill() }, 0),
        ("closed", true, World::kill, 0),
    ];
    for (case, closes, next, expected) in nexts {
        let world = World::new();
        let (directory, log) = one_log(&world);
        let append = || log.append_as_leader(batch(5), EPOCH, AppendOrigin::Client).unwrap();
        append();
        directory.checkpoint_blocking().unwrap();
        (0..3).for_each(|_| _ = append());
        if closes {
            directory.close_blocking().unwrap();
        }
        let world = next(&world);
        let before = world.disk.count(Operation::Write);
        let log = world.open().log(&orders()).unwrap();
        assert_eq!(log.log_end_offset(), Offset(20), "{case}");
        // The marker of the run takes one.
        let writes = world.disk.count(Operation::Write) - before - 1;
        assert_eq!(writes, expected, "{case}");
    }
}
