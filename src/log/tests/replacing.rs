//! One file in the place of sealed segments: with a crash at every step, with failures, and while
//! others read, cut and append.

use std::path::Path;
use std::sync::Arc;

use super::world::*;
use crate::log::segment::Segment;
use crate::log::{
    AppendOrigin, Log, LogConfig, LogDirectory, ReplaceError, Replaced, ReplacementFile,
};
use crate::record::{Batch, batches};
use crate::storage::{Disk, MemoryDisk, Operation};
use crate::types::{LeaderEpoch, Offset};

const BATCHES: i64 = 30;

/// A log of 30 batches of 3 records, 4 batches to a segment, all of it checkpointed.
fn many_segments(world: &World) -> (Arc<LogDirectory>, Arc<Log>) {
    let (directory, log) = one_log(world);
    log.set_config(LogConfig { segment_bytes: 1_200, ..LogConfig::default() });
    for _ in 0..BATCHES {
        log.append_as_leader(batch(3), EPOCH, AppendOrigin::Client).unwrap();
    }
    log.set_high_watermark(log.log_end_offset());
    directory.checkpoint_blocking().unwrap();
    assert!(log.sealed_segments().len() > 5);
    (directory, log)
}

fn batches_of(segment: &Segment) -> Option<Vec<Batch>> {
    let bytes = segment.bytes_at(0, segment.size_bytes()).ok()?;
    Some(batches(&bytes).map(Result::unwrap).collect())
}

/// Writes the last batch of each of `old` into a file.
fn thinned(log: &Arc<Log>, old: &[Arc<Segment>]) -> Result<ReplacementFile, ReplaceError> {
    let mut new = ReplacementFile::begin(log, old[0].base_offset())?;
    for segment in old {
        let batches = batches_of(segment).ok_or(ReplaceError::Stale("it cannot be read"))?;
        let batch = &batches[batches.len() - 1];
        new.append(&batch.bytes, &batch.header)?;
    }
    Ok(new)
}

/// The second to the fourth segment become one.
fn replace(log: &Arc<Log>) -> Result<Replaced, ReplaceError> {
    let old = log.sealed_segments()[1..4].to_vec();
    let new = thinned(log, &old)?;
    log.replace_segments(&old, new)
}

/// The offsets that are left by [`replace`].
fn expected(log: &Arc<Log>) -> Vec<i64> {
    let old = &log.sealed_segments()[1..4];
    let (from, to) = (old[0].base_offset().0, old[2].next_offset().0);
    let ends: Vec<i64> = old.iter().map(|segment| segment.next_offset().0).collect();
    let kept = |offset: &i64| ends.iter().any(|end| (end - 3..*end).contains(offset));
    (0..BATCHES * 3).filter(|at| !(from..to).contains(at) || kept(at)).collect()
}

fn names(disk: &MemoryDisk, ending: &str) -> Vec<String> {
    let entries = disk.list(Path::new("/data/orders-0")).unwrap();
    entries.into_iter().map(|entry| entry.name).filter(|name| name.ends_with(ending)).collect()
}

/// Opens the directory; the log must be all of the old segments or the new one.
fn check_after(world: &World, new: &[i64], must_be_new: bool, lost_catalog: bool, case: &str) {
    let environment =
        if lost_catalog { world.environment_with_damaged_catalog() } else { world.environment() };
    let directory = LogDirectory::open(World::options(), environment).unwrap();
    let log = directory.log(&orders()).unwrap();
    assert_eq!(log.recovery().rebuilt, lost_catalog, "{case}");
    assert_eq!(log.recovery().truncated, None, "{case}");
    assert!(!log.recovery().lost_below_recovery_point, "{case}");
    let found = offsets(&read_all(&log, 700));
    let old: Vec<i64> = (0..BATCHES * 3).collect();
    assert!(found == new || (found == old && !must_be_new), "{case}: {found:?}");
    assert_eq!(log.log_end_offset(), Offset(BATCHES * 3), "{case}");
    if !lost_catalog {
        assert_eq!(log.high_watermark(), Offset(BATCHES * 3), "{case}");
    }
    for ending in [".swap", ".cleaned"] {
        assert_eq!(names(&world.disk, ending), [""; 0], "{case}");
    }
    log.append_as_leader(batch(3), EPOCH, AppendOrigin::Client).unwrap();
    directory.checkpoint_blocking().unwrap();
}

#[test]
fn a_replacement_takes_the_place_of_the_segments() {
    let world = World::new();
    let (directory, log) = many_segments(&world);
    let (expected, before) = (expected(&log), log.segment_count());
    let held = log.sealed_segments()[2].clone();
    let read_before = batches_of(&held);
    let replaced = replace(&log).unwrap();
    assert!(replaced.new_bytes < replaced.old_bytes);
    assert_eq!(log.segment_count(), before - 2);
    assert_eq!(offsets(&read_all(&log, 700)), expected);
    assert_eq!(batches_of(&held), read_before, "who reads an old segment reads on");
    directory.checkpoint_blocking().unwrap();
    replace(&log).unwrap();
    directory.close_blocking().unwrap();
    let after = world.crash(1);
    let log = after.open().log(&orders()).unwrap();
    assert_eq!(log.log_end_offset(), Offset(BATCHES * 3));
    assert_eq!(log.recovery().scanned_bytes, 0, "its index was stored");
}

#[test]
fn whatever_call_the_machine_dies_at_the_log_is_the_old_segments_or_the_new_one() {
    let mut nth = 1;
    loop {
        let mut survived = false;
        for seed in 0..6 {
            for lost_catalog in [false, true] {
                let world = World::new();
                let (_directory, log) = many_segments(&world);
                let expected = expected(&log);
                world.disk.fail_from(nth);
                survived = replace(&log).is_ok();
                let case = format!("call {nth}, seed {seed}, catalog lost: {lost_catalog}");
                let after = if seed == 0 { world.kill() } else { world.crash(seed) };
                check_after(&after, &expected, survived && !lost_catalog, lost_catalog, &case);
                if !lost_catalog {
                    // Otherwise the machine still has the old catalog, which knows nothing of it.
                    check_after_again(&after, &case);
                }
            }
        }
        if survived {
            break;
        }
        nth += 1;
    }
    assert!(nth > 10, "the machine died at {nth} calls only");
}

/// What one opening left is what the next finds.
fn check_after_again(world: &World, case: &str) {
    let again = world.kill();
    let log = again.open().log(&orders()).unwrap();
    assert_eq!(log.recovery().truncated, None, "{case}, opened again");
    assert_eq!(log.log_end_offset(), Offset(BATCHES * 3 + 3), "{case}, opened again");
}

#[test]
fn a_catalog_that_fails_poisons_the_log_and_the_next_opening_finds_out() {
    for case in 0..3 {
        for seed in 0..6 {
            let world = World::new();
            let (_directory, log) = many_segments(&world);
            let expected = expected(&log);
            match case {
                0 => world.catalog.fail_apply(1),
                1 => world.catalog.fail_flush(1),
                _ => world.catalog.fail_apply(2),
            }
            replace(&log).unwrap_err();
            assert!(log.is_poisoned(), "case {case}");
            assert_eq!(read_all(&log, 700).len(), 90, "case {case}: the old ones can be read");
            let name = format!("case {case}, seed {seed}");
            let after = if seed == 0 { world.kill() } else { world.crash(seed) };
            check_after(&after, &expected, case == 2, false, &name);
        }
    }
}

#[test]
fn an_opening_that_dies_while_it_finishes_is_finished_by_the_next() {
    for nth in 1..40 {
        let world = World::new();
        let (_directory, log) = many_segments(&world);
        let expected = expected(&log);
        // After the decision, and before the files have followed.
        world.catalog.fail_flush(1);
        replace(&log).unwrap_err();
        let after = world.kill();
        after.disk.fail_from(nth);
        drop(after.try_open());
        check_after(&after.crash(nth), &expected, false, false, &format!("call {nth}"));
    }
}

#[test]
fn what_fails_before_the_file_is_complete_changes_nothing() {
    for case in 0..4 {
        let world = World::new();
        let (directory, log) = many_segments(&world);
        match case {
            0 => world.disk.fail(Operation::Write, 1),
            1 => world.disk.fail(Operation::Sync, 1),
            2 => world.disk.fail(Operation::Any, 1),
            _ => world.disk.set_capacity(Some(1)),
        }
        let error = replace(&log).unwrap_err();
        assert!(matches!(error, ReplaceError::Storage(_)), "case {case}: {error}");
        world.disk.set_capacity(None);
        assert!(!log.is_poisoned() && !directory.is_offline(), "case {case}");
        assert_eq!(names(&world.disk, ".cleaned"), [""; 0], "case {case}");
        assert_eq!(read_all(&log, 700).len(), 90, "case {case}");
        log.append_as_leader(batch(3), EPOCH, AppendOrigin::Client).unwrap();
        replace(&log).unwrap();
    }
}

#[test]
fn segments_that_are_not_what_they_were_are_not_replaced() {
    type Change = fn(&Arc<LogDirectory>, &Arc<Log>);
    let changes: [(&str, Change); 5] = [
        ("cut", |_, log| log.truncate_to_blocking(Offset(80)).unwrap()),
        ("start", |_, log| log.advance_log_start_blocking(Offset(30)).unwrap()),
        ("anew", |_, log| log.truncate_fully_and_start_at_blocking(Offset(9)).unwrap()),
        ("closed", |directory, _| directory.close_blocking().unwrap()),
        ("deleted", |directory, _| assert!(directory.delete_blocking(&orders()).unwrap())),
    ];
    for (name, change) in changes {
        let world = World::new();
        let (directory, log) = many_segments(&world);
        let old = log.sealed_segments()[1..4].to_vec();
        let new = thinned(&log, &old).unwrap();
        assert!(matches!(ReplacementFile::begin(&log, Offset(0)), Err(ReplaceError::Busy)));
        change(&directory, &log);
        let error = log.replace_segments(&old, new).unwrap_err();
        let is_refused = matches!(error, ReplaceError::Stale(_) | ReplaceError::Storage(_));
        assert!(is_refused && !log.is_poisoned(), "{name}: {error}");
    }
}

#[test]
fn what_does_not_cover_the_same_offsets_is_refused() {
    let world = World::new();
    let (_directory, log) = many_segments(&world);
    let sealed = log.sealed_segments();
    let refused = |old: &[Arc<Segment>], content: &[Arc<Segment>]| {
        let error = log.replace_segments(old, thinned(&log, content).unwrap()).unwrap_err();
        assert!(matches!(error, ReplaceError::Unfit(_) | ReplaceError::Stale(_)), "{error}");
    };
    refused(&sealed[1..4], &sealed[1..3]);
    refused(&sealed[1..4], &sealed[2..4]);
    refused(&[], &sealed[2..4]);
    refused(&[Arc::clone(&sealed[1]), Arc::clone(&sealed[3])], &sealed[1..4]);
    let active = log.active();
    let with_active = [Arc::clone(&sealed[sealed.len() - 1]), active];
    refused(&with_active, &with_active);
    log.append_as_leader(batch(9), EPOCH, AppendOrigin::Client).unwrap();
    log.append_as_leader(batch(9), EPOCH, AppendOrigin::Client).unwrap();
    let unstored = &log.sealed_segments()[sealed.len()..];
    refused(unstored, unstored);
    assert_eq!(names(&world.disk, ".cleaned"), [""; 0]);
    replace(&log).unwrap();
}

#[test]
fn a_log_that_is_cut_in_a_gap_ends_where_its_last_batch_ends() {
    let world = World::new();
    let (directory, log) = one_log(&world);
    log.set_config(LogConfig { segment_bytes: 1_500, ..LogConfig::default() });
    let follow = |base: i64| {
        log.append_as_follower(batch_at(Offset(base), EPOCH, 3), LeaderEpoch(9)).unwrap();
    };
    // What a leader sends that has compacted: batches at 0, 10, 20...
    for base in 0..20 {
        follow(base * 10);
    }
    let (end, bases): (_, Vec<i64>) =
        (log.log_end_offset(), log.sealed_segments().iter().map(|s| s.base_offset().0).collect());
    assert!(bases.iter().all(|base| *base == 0 || base % 10 == 3), "{bases:?}");
    for target in [185, 183, bases[2] + 3] {
        log.truncate_to_blocking(Offset(target)).unwrap();
        let batch_end = (target - 3) / 10 * 10 + 3;
        assert_eq!(log.log_end_offset(), Offset(batch_end), "cut at {target}");
    }
    let end_after_cut = log.log_end_offset().0;
    for base in (end_after_cut / 10 + 2)..20 {
        follow(base * 10);
    }
    assert_eq!(log.log_end_offset(), end);
    let all = offsets(&read_all(&log, 700));
    directory.close_blocking().unwrap();
    let after = world.kill();
    let environment = after.environment_with_damaged_catalog();
    let directory = LogDirectory::open(World::options(), environment).unwrap();
    let log = directory.log(&orders()).unwrap();
    assert_eq!((log.recovery().truncated.clone(), log.log_end_offset()), (None, end));
    assert_eq!(offsets(&read_all(&log, 700)), all);
}
