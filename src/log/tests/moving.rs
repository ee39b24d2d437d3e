//! A log moves to another data directory, and the machine stops at each step of that.

use std::sync::Arc;

use super::compacting::{LIMITS, append, compacted, keyed, pass, settle};
use super::world::*;
use crate::log::{
    AppendOrigin, CleanError, Cleaning, CreateError, Log, LogConfig, LogDirectory, LogEnvironment,
    PromoteError, ReplaceError, ReplacementFile, Step, settle_moves,
};
use crate::record::{BatchBuilder, EndTransactionMarker, batches};
use crate::storage::{Disk, Operation};
use crate::types::random::SeededRandom;
use crate::types::{
    Clock, LeaderEpoch, Offset, ProducerEpoch, ProducerId, TopicId, TopicPartition,
};

/// Two disks of one machine, each with a data directory.
struct Machine {
    from: World,
    to: World,
}

/// Both directories, open.
struct Open {
    from: Arc<LogDirectory>,
    to: Arc<LogDirectory>,
}

impl Machine {
    fn new() -> Self {
        Self { from: World::new(), to: World::new() }
    }

    fn open_one(world: &World, seed: u64) -> Arc<LogDirectory> {
        let random = Arc::new(SeededRandom::new(seed));
        let environment = LogEnvironment { random, ..world.environment() };
        LogDirectory::open(World::options(), environment).unwrap()
    }

    fn open(&self) -> Open {
        let open = Open { from: Self::open_one(&self.from, 1), to: Self::open_one(&self.to, 2) };
        settle_moves(&[Arc::clone(&open.from), Arc::clone(&open.to)]).unwrap();
        open
    }

    fn stop(&self, power_fails: Option<u64>) -> Self {
        let stop = |world: &World| match power_fails {
            Some(seed) => world.crash(seed),
            None => world.kill(),
        };
        Self { from: stop(&self.from), to: stop(&self.to) }
    }
}

impl Open {
    /// A log of three reigns, with an idempotent producer, of which all is durable.
    fn with_log(self) -> (Self, Arc<Log>) {
        let log = self.from.create(&orders(), TOPIC_ID, small_segments()).unwrap();
        let append = |records, epoch| {
            log.append_as_leader(records, LeaderEpoch(epoch), AppendOrigin::Client).unwrap();
        };
        for round in 0..10 {
            append(batch(5), 1);
            append(idempotent(7, 0, round * 2, 2), 1);
        }
        (20..30).for_each(|_| append(batch(5), 3));
        log.assign_epoch_blocking(LeaderEpoch(4)).unwrap();
        log.set_high_watermark(log.log_end_offset());
        log.flush_blocking().unwrap();
        (self, log)
    }

    fn future(&self, log: &Log) -> Arc<Log> {
        let config = LogConfig::clone(&log.config());
        let start = log.log_start_offset();
        self.to.create_future_blocking(&orders(), TOPIC_ID, config, start).unwrap()
    }

    /// What a partition does with its role held.
    fn promote(&self, log: &Log, future: &Arc<Log>) -> Result<Arc<Log>, PromoteError> {
        let before = |error| PromoteError::Before(error);
        future.flush_blocking().map_err(|error| before(error.into()))?;
        log.set_moving_to(Some(self.to.directory_id())).map_err(|error| before(error.into()))?;
        let turn = self.to.checkpoint_turn();
        self.to.promote_future(&turn, future, log)
    }

    /// The one log that there is.
    fn only_log(&self) -> Arc<Log> {
        let mut logs = self.from.logs();
        logs.extend(self.to.logs());
        assert_eq!(logs.len(), 1, "one log, and never both");
        logs.remove(0)
    }
}

/// All that a log is known by.
fn all_of(log: &Log) -> impl PartialEq + std::fmt::Debug + use<> {
    let ends = (log.log_start_offset(), log.high_watermark(), log.log_end_offset());
    let aborted = log.aborted_transactions(Offset::ZERO, Offset(i64::MAX));
    (ends, log.epochs(), log.producer_states(), aborted, offsets(&read_all(log, 1_000)))
}

#[test]
fn a_log_moves_with_all_that_is_known_of_it() {
    let machine = Machine::new();
    let (open, log) = machine.open().with_log();
    let future = open.future(&log);
    assert_eq!(future.path().extension().unwrap().len(), 32 + "-future".len());
    while future.copy_from(&log, 1_000).unwrap() > 0 {}
    let moved = open.promote(&log, &future).unwrap();
    assert_eq!(all_of(&moved), all_of(&log));
    assert_eq!(moved.path().file_name(), log.path().file_name());
    assert!(log.append_as_leader(batch(1), LeaderEpoch(4), AppendOrigin::Client).is_err());
    assert_eq!((open.to.futures().len(), open.to.logs().len()), (0, 1));
    open.from.delete_blocking(&orders()).unwrap();
    moved.append_as_leader(batch(1), LeaderEpoch(4), AppendOrigin::Client).unwrap();
    moved.flush_blocking().unwrap();
    moved.set_high_watermark(moved.log_end_offset());
    open.to.checkpoint_blocking().unwrap();
    let expected = all_of(&moved);
    let again = machine.stop(Some(3)).open();
    assert_eq!(all_of(&again.only_log()), expected);
}

#[test]
fn what_the_source_cuts_off_the_copy_cuts_off_too() {
    let (open, log) = Machine::new().open().with_log();
    let future = open.future(&log);
    let copy = || while future.copy_from(&log, 1_000).unwrap() > 0 {};
    copy();
    for (cut, epoch) in [(100, 6), (65, 8), (3, 9)] {
        log.truncate_to_blocking(Offset(cut)).unwrap();
        let append = |count| {
            log.append_as_leader(batch(count), LeaderEpoch(epoch), AppendOrigin::Client).unwrap();
        };
        (0..4).for_each(|_| append(3));
        copy();
        assert_eq!(offsets(&read_all(&future, 1)), offsets(&read_all(&log, 1)), "cut at {cut}");
        let with_records = |log: &Log| {
            log.epochs().into_iter().filter(|it| it.start_offset < log.log_end_offset()).collect()
        };
        let (ours, theirs): (Vec<_>, Vec<_>) = (with_records(&future), with_records(&log));
        assert_eq!(ours, theirs, "cut at {cut}");
    }
    log.truncate_fully_and_start_at_blocking(Offset(500)).unwrap();
    log.append_as_leader(batch(2), LeaderEpoch(12), AppendOrigin::Client).unwrap();
    copy();
    assert_eq!(future.log_start_offset(), Offset(500));
    assert_eq!(offsets(&read_all(&future, 1)), [500, 501]);
}

/// What is deleted while the copy is made, or has been made in part, stays deleted after the move:
/// what was asked for, and what retention has let go.
#[test]
fn what_is_deleted_during_a_move_does_not_come_back() {
    for copied_bytes in [0, 2_000, 100_000] {
        for start in [Some(1), Some(43), Some(120), None] {
            let about = format!("{copied_bytes} bytes copied, then deleted before {start:?}");
            let machine = Machine::new();
            let (open, log) = machine.open().with_log();
            let future = open.future(&log);
            while future.log_end_offset() < log.log_end_offset()
                && future.size_bytes() < copied_bytes
            {
                future.copy_from(&log, 500).unwrap();
            }
            match start {
                Some(start) => log.advance_log_start_blocking(Offset(start)).unwrap(),
                None => {
                    let bytes = log.size_bytes() / 2;
                    log.set_config(LogConfig { retention_bytes: Some(bytes), ..small_segments() });
                    let now = machine.from.clock.wall();
                    assert!(log.delete_old_segments_blocking(now).unwrap() > 0, "{about}");
                }
            }
            let (start, end) = (log.log_start_offset(), log.log_end_offset());
            while future.copy_from(&log, 1_000).unwrap() > 0 {}
            let moved = open.promote(&log, &future).unwrap();
            assert_eq!(moved.log_start_offset(), start, "{about}");
            assert_eq!(all_of(&moved), all_of(&log), "{about}");
            open.from.delete_blocking(&orders()).unwrap();
            let moved = machine.stop(Some(3)).open().only_log();
            assert_eq!((moved.log_start_offset(), moved.log_end_offset()), (start, end), "{about}");
        }
    }
}

/// Appends a record in a transaction of the producer `id`.
fn transactional(log: &Log, id: i64, sequence: i32) {
    let builder = BatchBuilder::new(Offset::ZERO);
    let mut builder = builder.producer(ProducerId(id), ProducerEpoch(0), sequence).transactional();
    builder.push(START, Some(b"a"), Some(b"aborted"), &[]).unwrap();
    append(log, builder.build().unwrap(), AppendOrigin::Transaction);
}

/// The cleaner removes the records of an aborted transaction after they were copied, and forgets it:
/// the copy does not. No pass of its begins while the copy is made, or tombstones would go that are
/// still to be copied.
#[test]
fn a_copy_of_what_the_cleaner_has_removed_since_hides_what_was_hidden() {
    let machine = Machine::new();
    let open = machine.open();
    let log = open.from.create(&orders(), TOPIC_ID, compacted()).unwrap();
    transactional(&log, 2, 0);
    let marker = EndTransactionMarker { committed: false, coordinator_epoch: LeaderEpoch(0) };
    let marker = marker.batch(START, ProducerId(2), ProducerEpoch(0)).unwrap();
    append(&log, marker, AppendOrigin::Coordinator);
    for _ in 0..20 {
        append(&log, keyed("b", Some("v"), START), AppendOrigin::Client);
    }
    settle(&open.from, &log);
    let now = machine.from.clock.wall();
    let mut begun = Cleaning::begin(&log, LIMITS, now).unwrap();

    let future = open.future(&log);
    while future.copy_from(&log, 1_000).unwrap() > 0 {}
    while let Step::More(_) = begun.step(1_000).unwrap() {}
    append(&log, keyed("b", Some("w"), START), AppendOrigin::Client);
    settle(&open.from, &log);
    assert!(pass(&log, LIMITS, now, 1_000).unwrap().is_none(), "the cleaner waits");
    log.is_copied_no_more();
    pass(&log, LIMITS, now, 1_000).unwrap().expect("until the copy is given up");
    // As a later pass does once no batch of it is left.
    let gone = log.aborted_transactions(Offset::ZERO, Offset(100));
    log.transactions.lock().forget_aborted(&gone);

    while future.copy_from(&log, 1_000).unwrap() > 0 {}
    let moved = open.promote(&log, &future).unwrap();
    assert_eq!(offsets(&read_all(&moved, 1))[0], 0, "here they are still");
    let hidden = |log: &Log| {
        let aborted = log.aborted_transactions(Offset::ZERO, Offset(100));
        aborted.iter().map(|it| (it.producer_id.0, it.first_offset.0)).collect::<Vec<_>>()
    };
    assert_eq!(hidden(&moved), [(2, 0)]);
    open.from.delete_blocking(&orders()).unwrap();
    assert_eq!(hidden(&machine.stop(Some(1)).open().only_log()), [(2, 0)]);
}

/// The cleaner, retention, repair and flushes may hold a log that has moved away: they are refused,
/// they do not bring its old directory down, and its catalog learns nothing of them.
#[test]
fn who_still_holds_a_log_that_has_moved_does_no_harm() {
    let machine = Machine::new();
    let open = machine.open();
    let log = open.from.create(&orders(), TOPIC_ID, compacted()).unwrap();
    for round in 0..60 {
        append(&log, keyed(&format!("{}", round % 7), Some("v"), START), AppendOrigin::Client);
    }
    settle(&open.from, &log);
    let now = machine.from.clock.wall();
    let mut mapping = Cleaning::begin(&log, LIMITS, now).unwrap();
    let mut writing = Cleaning::begin(&log, LIMITS, now).unwrap();
    while open.from.log(&orders()).is_some_and(|log| !names_cleaned(&machine, &log)) {
        assert!(matches!(writing.step(1).unwrap(), Step::More(_)));
    }
    let base = log.sealed_segments()[1].base_offset();
    let mut check = log.verify_segment(base).unwrap();
    while check.step(1_000) > 0 {}
    // Segments were made since the directory was synced.
    append(&log, keyed("x", Some(&"v".repeat(900)), START), AppendOrigin::Client);
    append(&log, keyed("x", Some(&"v".repeat(900)), START), AppendOrigin::Client);
    log.set_high_watermark(log.log_end_offset());
    let future = open.future(&log);
    while future.copy_from(&log, 1_000).unwrap() > 0 {}
    open.promote(&log, &future).unwrap();
    open.from.delete_blocking(&orders()).unwrap();

    let known = || open.from.shared.gate.catalog().scan_prefix(b"").unwrap();
    let before = known();
    let interrupted = |result| matches!(result, Err(CleanError::Interrupted(_)));
    assert!(interrupted(writing.step(1 << 20).map(drop)));
    assert!(interrupted(mapping.step(1 << 20).map(drop)));
    drop((mapping, writing));
    assert!(matches!(ReplacementFile::begin(&log, base), Err(ReplaceError::Stale(_))));
    let records = check.segment().bytes_at(0, check.segment().size_bytes()).unwrap();
    let batch = batches(&records).next().unwrap().unwrap();
    assert!(batch.verify_crc().is_ok(), "who reads, reads on");
    log.note_damage(base, &[finding(base)]);
    assert!(log.flush_blocking().is_err());
    assert!(log.assign_epoch_blocking(LeaderEpoch(9)).is_err());
    assert!(log.advance_log_start_blocking(Offset(5)).is_err());
    assert!(log.delete_old_segments_blocking(now).is_err());
    assert!(log.truncate_to_blocking(Offset(5)).is_err());
    assert!(log.truncate_fully_and_start_at_blocking(Offset(500)).is_err());
    assert!(log.set_moving_to(Some(open.to.directory_id())).is_err());
    assert!(!open.from.is_offline());
    assert_eq!(known(), before, "nothing is known of a log that is gone");
    open.from.checkpoint_blocking().unwrap();
    assert_eq!(machine.stop(Some(2)).open().only_log().log_end_offset(), log.log_end_offset());
}

fn finding(segment: Offset) -> crate::log::Finding {
    let (position, end, from, to) = (0, 10, segment, segment.plus(1));
    crate::log::Finding { segment, position, end, from, to, reason: "rot".to_owned() }
}

/// Whether a file is being written to replace segments.
fn names_cleaned(machine: &Machine, log: &Log) -> bool {
    let entries = machine.from.disk.list(log.path()).unwrap();
    entries.iter().any(|entry| entry.name.ends_with(".cleaned"))
}

#[test]
fn a_future_log_is_taken_up_again_or_given_up() {
    let machine = Machine::new();
    let (open, log) = machine.open().with_log();
    open.future(&log).copy_from(&log, 1_000).unwrap();
    open.to.checkpoint_blocking().unwrap();
    let machine = machine.stop(None);
    let open = machine.open();
    let log = open.only_log();
    let future = open.to.future(&orders()).unwrap();
    assert!(future.log_end_offset() > Offset::ZERO, "it goes on where it was");
    while future.copy_from(&log, 1_000).unwrap() > 0 {}
    assert_eq!(offsets(&read_all(&future, 1)), offsets(&read_all(&log, 1)));
    assert!(open.to.discard_future_blocking(&orders()).unwrap());
    assert!(!open.to.discard_future_blocking(&orders()).unwrap());
    let open = machine.stop(Some(1)).open();
    assert_eq!(open.to.futures().len(), 0);
    assert_eq!(open.only_log().log_end_offset(), log.log_end_offset());
    open.future(&open.only_log());
    open.to.create(&orders(), TOPIC_ID, LogConfig::default()).unwrap();
    assert_eq!(open.to.futures().len(), 0, "the log itself was wanted here");
}

#[test]
fn a_future_log_is_refused_where_the_log_lies_and_where_its_name_cannot_be_marked() {
    let (open, _log) = Machine::new().open().with_log();
    let make = |directory: &LogDirectory, name: &TopicPartition| {
        directory.create_future_blocking(name, TOPIC_ID, LogConfig::default(), Offset::ZERO)
    };
    assert!(matches!(make(&open.from, &orders()), Err(CreateError::LiesHere(_))));
    let long = TopicPartition::new("x".repeat(240).as_str(), 0);
    assert!(matches!(make(&open.to, &long), Err(CreateError::NameTooLong(_))));
}

/// Which disk or catalog fails.
#[derive(Debug, Clone, Copy)]
enum Fails {
    Disk,
    Applied,
    Flushed,
}

/// Every operation of the second disk and its catalog fails in turn while the log takes its place
/// there; then the process dies or the power fails. There is one log then, with all that was
/// acknowledged: before the failure, or after the move.
#[test]
fn a_move_that_fails_anywhere_leaves_one_whole_log() {
    for fails in [Fails::Disk, Fails::Applied, Fails::Flushed] {
        for power_fails in [None, Some(5), Some(6)] {
            let mut outcomes = [0; 3];
            for nth in 1.. {
                let about = format!("{fails:?} {nth}, power fails: {power_fails:?}");
                let machine = Machine::new();
                let (open, log) = machine.open().with_log();
                let future = open.future(&log);
                while future.copy_from(&log, 1_000).unwrap() > 0 {}
                log.append_as_leader(batch(3), LeaderEpoch(4), AppendOrigin::Client).unwrap();
                log.flush_blocking().unwrap();
                let mut acknowledged = log.log_end_offset();
                match fails {
                    Fails::Disk => machine.to.disk.fail(Operation::Any, nth),
                    Fails::Applied => machine.to.catalog.fail_apply(nth),
                    Fails::Flushed => machine.to.catalog.fail_flush(nth),
                }
                let served = match open.promote(&log, &future) {
                    Ok(moved) => {
                        outcomes[0] += 1;
                        Some(moved)
                    }
                    Err(PromoteError::Before(_)) => {
                        outcomes[1] += 1;
                        log.set_moving_to(None).unwrap();
                        Some(log)
                    }
                    Err(PromoteError::Halfway(_)) => {
                        outcomes[2] += 1;
                        None
                    }
                };
                let is_moved = outcomes[0] > 0;
                if let Some(log) = served {
                    let appended =
                        log.append_as_leader(batch(2), LeaderEpoch(4), AppendOrigin::Client);
                    if appended.is_ok() && log.flush_blocking().is_ok() {
                        acknowledged = log.log_end_offset();
                    }
                }
                let open = machine.stop(power_fails).open();
                let log = open.only_log();
                assert!(log.log_end_offset() >= acknowledged, "{about}: {log:?}");
                let expected: Vec<i64> = (0..log.log_end_offset().0).collect();
                assert_eq!(offsets(&read_all(&log, 1)), expected, "{about}");
                assert_eq!(log.moving_to(), None, "{about}");
                if is_moved {
                    break;
                }
            }
            assert!(outcomes[1] > 0, "{fails:?}: {outcomes:?}");
        }
    }
}

#[test]
fn a_log_that_was_about_to_move_is_not_trusted_while_nobody_knows_whether_it_did() {
    let machine = Machine::new();
    let (open, log) = machine.open().with_log();
    log.set_moving_to(Some(open.to.directory_id())).unwrap();
    let machine = machine.stop(None);
    let from = Machine::open_one(&machine.from, 1);
    settle_moves(&[Arc::clone(&from)]).unwrap();
    assert_eq!(from.log(&orders()).unwrap().moving_to(), Some(open.to.directory_id()));
    assert_eq!(from.previous_run().intact_epoch(), None);
    let open = machine.stop(None).open();
    assert_eq!(open.only_log().moving_to(), None, "it had not moved");
    assert_eq!(open.only_log().topic_id(), TopicId(TOPIC_ID.0));
}
