//! `preallocate`: room that is reserved ahead, and that recovery does not see.

use std::path::PathBuf;

use super::world::*;
use crate::log::{AppendOrigin, Log, LogConfig};
use crate::storage::{Disk, OpenMode};
use crate::types::Offset;

fn append(log: &Log) {
    log.append_as_leader(batch(1), EPOCH, AppendOrigin::Client).unwrap();
}

fn segment_path(log: &Log, base: i64) -> PathBuf {
    log.path().join(format!("{base:020}.log"))
}

#[test]
fn the_active_segment_has_room_and_a_sealed_one_gives_it_back() {
    let world = World::new();
    let directory = world.open();
    let config = LogConfig { preallocate: true, segment_bytes: 10_000, ..LogConfig::default() };
    let log = directory.create(&orders(), TOPIC_ID, config.clone()).unwrap();
    let reserved = |log: &Log, base| world.disk.allocated_bytes(&segment_path(log, base));
    assert_eq!(reserved(&log, 0), 10_000);
    append(&log);
    let file = world.disk.open(&segment_path(&log, 0), OpenMode::Read).unwrap();
    assert_eq!(file.size_bytes().unwrap(), log.size_bytes(), "the length tells what is written");
    while log.segment_count() == 1 {
        append(&log);
    }
    let second = log.log_end_offset().0 - 1;
    assert_eq!((reserved(&log, 0), reserved(&log, second)), (0, 10_000));
    log.set_config(LogConfig { preallocate: false, ..config });
    while log.segment_count() == 2 {
        append(&log);
    }
    let third = log.log_end_offset().0 - 1;
    assert_eq!((reserved(&log, second), reserved(&log, third)), (0, 0));
    directory.checkpoint_blocking().unwrap();
    let end = log.log_end_offset();
    let directory = world.crash(1).open();
    let log = directory.log(&orders()).unwrap();
    assert_eq!((log.log_end_offset(), &log.recovery().truncated), (end, &None));
}

#[test]
fn a_disk_without_so_much_room_is_no_obstacle() {
    let world = World::new();
    world.disk.set_capacity(Some(100_000));
    let directory = world.open();
    let config = LogConfig { preallocate: true, ..LogConfig::default() };
    let log = directory.create(&orders(), TOPIC_ID, config).unwrap();
    append(&log);
    assert_eq!(log.log_end_offset(), Offset(1));
}
