//! A log that is deleted, and one that is made again under its name: whatever fails in between,
//! and whenever the machine stops, the new one never sees the old one's records.

use std::sync::Arc;

use super::world::*;
use crate::log::{AppendOrigin, Log, LogConfig, LogDirectory};
use crate::storage::Operation;
use crate::types::{Offset, TopicId};

const NEW_TOPIC_ID: TopicId = TopicId(uuid::Uuid::from_u128(8));
/// Deleting takes fewer calls of the disk.
const STEPS: u64 = 12;

/// Several segments, in part known to the catalog.
fn old_log(world: &World) -> (Arc<LogDirectory>, Arc<Log>) {
    let directory = world.open();
    let log = directory.create(&orders(), TOPIC_ID, small_segments()).unwrap();
    for round in 0..40 {
        log.append_as_leader(batch(2), EPOCH, AppendOrigin::Client).unwrap();
        if round == 25 {
            directory.checkpoint_blocking().unwrap();
        }
    }
    (directory, log)
}

/// As the replicas do: a log of that name with another topic's id is set aside.
fn make_again(directory: &LogDirectory) -> Option<Arc<Log>> {
    if let Some(other) = directory.log(&orders()) {
        // Unknown even, where a crash took what named the topic.
        assert_ne!(other.topic_id(), NEW_TOPIC_ID);
        directory.mark_stray_blocking(&orders()).ok()?;
    }
    directory.create(&orders(), NEW_TOPIC_ID, LogConfig::default()).ok()
}

fn is_new_and_holds(log: &Log, count: i64, case: &str) {
    assert_eq!(log.topic_id(), NEW_TOPIC_ID, "{case}");
    assert_eq!(log.log_start_offset(), Offset(0), "{case}");
    let expected: Vec<i64> = (0..count).collect();
    assert_eq!(offsets(&read_all(log, 1)), expected, "{case}");
}

/// Fills the new log in part, stops the machine, and looks at what is there.
fn use_and_restart(world: &World, directory: &LogDirectory, crash: Option<u64>, case: &str) {
    let Some(log) = make_again(directory) else { return };
    is_new_and_holds(&log, 0, case);
    // As large as an old batch, so that what lies behind it could be taken for the next one.
    let appended = log.append_as_leader(batch(2), EPOCH, AppendOrigin::Client);
    // The call that was to fail may come only now: then nothing was promised.
    if appended.is_err() || log.flush_blocking().is_err() {
        return;
    }
    let world = match crash {
        Some(seed) => world.crash(seed),
        None => world.kill(),
    };
    let directory = world.open();
    let log = directory.log(&orders()).expect(case);
    is_new_and_holds(&log, 2, case);
}

#[test]
fn a_deletion_that_fails_or_crashes_at_any_step_leaves_nothing_for_the_next_log() {
    for nth in 0..STEPS {
        for crash in [None, Some(nth), Some(nth + 100)] {
            let case = format!("call {nth} fails, then {crash:?}");
            let world = World::new();
            let (directory, _log) = old_log(&world);
            if nth > 0 {
                world.disk.fail(Operation::Any, nth);
            }
            let deleted = directory.delete_blocking(&orders());
            assert!(nth > 0 || deleted.unwrap(), "{case}");
            // The process goes on as far as it can.
            use_and_restart(&world, &directory, crash, &case);

            let world = World::new();
            let (directory, _log) = old_log(&world);
            if nth > 0 {
                world.disk.fail(Operation::Any, nth);
            }
            let deleted = directory.delete_blocking(&orders());
            // It stops at once, and the deletion is told again after the start.
            let world = match crash {
                Some(seed) => world.crash(seed),
                None => world.kill(),
            };
            let directory = world.open();
            if deleted.is_ok() {
                assert!(directory.log(&orders()).is_none(), "{case}");
            }
            use_and_restart(&world, &directory, crash, &case);
        }
    }
}

#[test]
fn a_catalog_that_fails_while_a_log_is_deleted_takes_the_directory_offline() {
    for flush in [false, true] {
        let world = World::new();
        let (directory, _log) = old_log(&world);
        match flush {
            true => world.catalog.fail_flush(1),
            false => world.catalog.fail_apply(1),
        }
        directory.delete_blocking(&orders()).unwrap_err();
        assert!(directory.is_offline());
        assert!(make_again(&directory).is_none(), "nothing is made in a failed directory");
        let world = world.kill();
        use_and_restart(&world, &world.open(), None, "after a failed catalog");
    }
}

#[test]
fn a_topic_made_again_while_the_machine_was_down_begins_empty() {
    for crash in [None, Some(3), Some(4), Some(5)] {
        let world = World::new();
        let (directory, _log) = old_log(&world);
        drop(directory);
        let world = match crash {
            Some(seed) => world.crash(seed),
            None => world.kill(),
        };
        let directory = world.open();
        use_and_restart(&world, &directory, crash, "made again meanwhile");
    }
}

#[test]
fn what_stands_in_a_new_logs_place_is_set_aside() {
    let world = World::new();
    let (directory, log) = old_log(&world);
    // A deletion that came no further than the catalog.
    directory.logs.write().remove(&orders());
    log.close();
    let fresh = directory.create(&orders(), NEW_TOPIC_ID, LogConfig::default()).unwrap();
    is_new_and_holds(&fresh, 0, "set aside");
    assert_eq!(directory.strays().unwrap().len(), 1);
    assert_eq!(world.environment().disk.list(fresh.path()).unwrap().len(), 2, "its own files only");
}

#[test]
fn a_deleted_logs_files_go_after_their_delay_or_with_the_process() {
    let delay = LogConfig::default().file_delete_delay;
    for restart in [false, true] {
        let world = World::new();
        let (directory, _log) = old_log(&world);
        directory.delete_blocking(&orders()).unwrap();
        let left = |world: &World| {
            let entries = world.environment().disk.list(directory.path()).unwrap();
            entries.iter().filter(|entry| entry.name.ends_with("-delete")).count()
        };
        directory.checkpoint_blocking().unwrap();
        assert_eq!(left(&world), 1);
        if restart {
            let world = world.kill();
            world.open().checkpoint_blocking().unwrap();
            assert_eq!(left(&world), 0, "the rest of the last run");
        } else {
            world.clock.advance(delay);
            directory.checkpoint_blocking().unwrap();
            assert_eq!(left(&world), 0);
        }
    }
}
