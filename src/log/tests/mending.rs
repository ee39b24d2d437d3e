//! Mending while everything around fails: the segment is damaged as before, or mended, never worse.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::world::*;
use crate::log::segment::file_name;
use crate::log::{AppendOrigin, Log, LogConfig, LogDirectory, MendError, MendStep, Mending};
use crate::record::{Batch, HEADER_BYTES, batches};
use crate::storage::{Disk, OpenMode, Operation};
use crate::types::Offset;

struct Damaged {
    directory: Arc<LogDirectory>,
    log: Arc<Log>,
    base: Offset,
    original: Vec<u8>,
    /// What another replica would give.
    missing: Batch,
}

fn path(base: Offset) -> PathBuf {
    Path::new("/data/orders-0").join(file_name(base))
}

/// A log whose second segment has lost its second batch.
fn damaged(world: &World) -> Damaged {
    let (directory, log) = one_log(world);
    log.set_config(LogConfig { segment_bytes: 1_200, ..LogConfig::default() });
    for _ in 0..15 {
        log.append_as_leader(batch(3), EPOCH, AppendOrigin::Client).unwrap();
    }
    log.set_high_watermark(log.log_end_offset());
    let base = log.sealed_segments()[1].base_offset();
    let original = world.disk.read(&path(base)).unwrap();
    let all: Vec<Batch> = batches(&original.clone().into()).map(Result::unwrap).collect();
    let at = all[0].bytes.len() + HEADER_BYTES + 5;
    let file = world.disk.open(&path(base), OpenMode::Write).unwrap();
    file.write_at(&[IoSlice::new(&[!original[at]])], at as u64).unwrap();
    directory.checkpoint_blocking().unwrap();
    Damaged { directory, log, base, original, missing: all[1].clone() }
}

fn mend(damaged: &Damaged) -> Result<(), MendError> {
    let mut check = damaged.log.verify_segment(damaged.base).unwrap();
    while check.step(300) > 0 {}
    check.conclude().unwrap();
    let mut mending = Mending::begin(&check)?;
    loop {
        match mending.advance(300)? {
            MendStep::More => {}
            MendStep::Missing { .. } => mending.fill(&damaged.missing)?,
            MendStep::Complete => break,
        }
    }
    mending.finish().map(drop)
}

#[test]
fn it_is_mended_where_nothing_fails() {
    let world = World::new();
    let damaged = damaged(&world);
    mend(&damaged).unwrap();
    assert_eq!(world.disk.read(&path(damaged.base)).unwrap(), damaged.original);
    assert!(damaged.log.damage().is_empty());
    assert_eq!(offsets(&read_all(&damaged.log, 500)), (0..45).collect::<Vec<_>>());
}

#[test]
fn whatever_fails_it_is_damaged_as_before_or_mended() {
    let mut mended = 0;
    for nth in 1.. {
        let world = World::new();
        let damaged = damaged(&world);
        let rotten = world.disk.read(&path(damaged.base)).unwrap();
        world.disk.fail(Operation::Any, nth);
        let outcome = mend(&damaged);
        drop(damaged.directory);
        let world = if nth % 2 == 0 { world.crash(nth) } else { world.kill() };
        let directory = world.open();
        let log = directory.log(&orders()).unwrap();
        assert_eq!(log.recovery().truncated, None, "operation {nth}");
        assert_eq!(log.log_end_offset(), Offset(45), "operation {nth}");
        let now = world.disk.read(&path(damaged.base)).unwrap();
        assert!(now == damaged.original || now == rotten, "operation {nth}");
        let files = world.disk.list(Path::new("/data/orders-0")).unwrap();
        let left: Vec<_> = files
            .iter()
            .filter(|file| file.name.ends_with(".cleaned") || file.name.ends_with(".swap"))
            .collect();
        assert!(left.is_empty(), "operation {nth}: {left:?}");
        match outcome {
            Ok(()) => assert!(now == damaged.original, "operation {nth}"),
            Err(_) => continue,
        }
        mended += 1;
        if mended == 5 {
            return;
        }
    }
}

#[test]
fn what_is_not_committed_or_not_checkpointed_waits() {
    let world = World::new();
    let damaged = damaged(&world);
    damaged.log.set_high_watermark(damaged.base);
    let early = mend(&damaged).unwrap_err();
    assert!(matches!(early, MendError::NotYet(_)) && early.is_passing(), "{early}");
    damaged.log.set_high_watermark(damaged.log.log_end_offset());
    mend(&damaged).unwrap();

    damaged.log.append_as_leader(batch(3), EPOCH, AppendOrigin::Client).unwrap();
    let active = *damaged.log.segments_to_verify().last().unwrap();
    damaged.log.set_high_watermark(damaged.log.log_end_offset());
    let mut check = damaged.log.verify_segment(active).unwrap();
    while check.step(300) > 0 {}
    let segments = damaged.log.segment_count();
    let early = Mending::begin(&check).unwrap_err();
    assert!(matches!(early, MendError::NotYet(_)), "{early}");
    assert_eq!(damaged.log.segment_count(), segments + 1, "it is closed");
    damaged.directory.checkpoint_blocking().unwrap();
    assert!(Mending::begin(&check).is_ok());
}
