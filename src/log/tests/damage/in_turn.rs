//! Every write and every sync fails in turn: of a directory's life, and of an opening that has
//! damage to mend.

use std::sync::Arc;

use super::inflict::{Appended, REGISTERED, Scene, inflict};
use super::judge::{judge, read_out};
use super::table::{Damage, Outcome, Place, When, seeds};
use crate::log::tests::world::*;
use crate::log::{AppendOrigin, Log, LogDirectory, PreviousRun, StorageError};
use crate::record::batches;
use crate::storage::{MemoryCatalog, Operation};
use crate::types::{LeaderEpoch, Offset};

/// What a life had achieved when something failed.
#[derive(Default)]
struct Account {
    running: Option<(Arc<LogDirectory>, Arc<Log>)>,
    appended: Vec<Appended>,
    flushed: Offset,
    log_start: Offset,
    closed: bool,
}

fn live(world: &World, account: &mut Account) -> Result<(), Box<dyn std::error::Error>> {
    let directory = world.try_open()?;
    directory.set_broker_epoch(REGISTERED)?;
    let log = directory.create(&orders(), TOPIC_ID, small_segments())?;
    account.running = Some((Arc::clone(&directory), Arc::clone(&log)));
    for round in 0..5 {
        log.assign_epoch_blocking(LeaderEpoch(round))?;
        for _ in 0..6 {
            append(&log, LeaderEpoch(round), account)?;
        }
        match round % 2 {
            0 => directory.checkpoint_blocking()?,
            _ => log.flush_blocking().map(drop)?,
        }
        account.flushed = log.flushed_offset();
    }
    account.log_start = Offset(20);
    log.advance_log_start_blocking(Offset(20))?;
    append(&log, LeaderEpoch(5), account)?;
    directory.close_blocking()?;
    account.closed = true;
    Ok(())
}

fn append(
    log: &Log,
    epoch: LeaderEpoch,
    account: &mut Account,
) -> Result<(), Box<dyn std::error::Error>> {
    let info = log.append_as_leader(batch(3), epoch, AppendOrigin::Client)?;
    let slice = log.read(info.base_offset, info.next_offset, 1, true)?;
    let written = batches(&slice.records).next().expect("a batch")?;
    let (base, next) = (info.base_offset, info.next_offset);
    account.appended.push(Appended { base, next, bytes: written.bytes.to_vec() });
    Ok(())
}

#[test]
fn whatever_fails_in_a_life_nothing_that_was_appended_is_lost() {
    for operation in [Operation::Grow, Operation::Write, Operation::Sync] {
        let world = World::new();
        live(&world, &mut Account::default()).unwrap();
        let count = world.disk.count(operation);
        assert!(count > 15, "{operation:?}: only {count}");
        for nth in 1..=count {
            for seed in 0..3 {
                let context = format!("{operation:?} {nth} of {count}, seed {seed}");
                println!("{context}");
                let world = World::new();
                world.disk.fail(operation, nth);
                let mut account = Account::default();
                let failed = live(&world, &mut account);
                assert!(failed.is_err(), "{context}: nothing failed");
                check_running(&account, operation);
                // At first the process dies, then the machine.
                let power = seed > 0;
                check_after(if power { world.crash(seed) } else { world.kill() }, &account, power);
            }
        }
    }
}

#[test]
fn whatever_the_catalog_refuses_in_a_life_nothing_that_was_appended_is_lost() {
    for (what, fail) in [
        ("apply", MemoryCatalog::fail_apply as fn(&MemoryCatalog, u64)),
        ("flush", MemoryCatalog::fail_flush),
    ] {
        let mut nth = 1;
        while nth < 100 {
            let mut survived = false;
            for seed in 0..3 {
                println!("{what} {nth}, seed {seed}");
                let world = World::new();
                fail(&world.catalog, nth);
                let mut account = Account::default();
                survived = live(&world, &mut account).is_ok();
                if !survived {
                    check_running(&account, Operation::Any);
                    let power = seed > 0;
                    let after = if power { world.crash(seed) } else { world.kill() };
                    check_after(after, &account, power);
                }
            }
            if survived {
                break;
            }
            nth += 1;
        }
        assert!((8..100).contains(&nth), "{what}: {nth}");
    }
}

/// A log that takes no more still gives what it has; a full disk is not the end of it.
fn check_running(account: &Account, operation: Operation) {
    let Some((directory, log)) = &account.running else { return };
    let out = read_out(log, &account.appended, 700);
    assert!(out.refused.is_empty() && out.bad_checksums == 0, "{out:?}");
    assert!(log.log_end_offset() >= account.appended.last().map_or(Offset(0), |last| last.next));
    let next = log.append_as_leader(batch(1), LeaderEpoch(9), AppendOrigin::Client);
    let refused = next.expect_err("it goes on as if nothing had failed");
    assert!(
        matches!(refused, crate::log::AppendError::Storage(StorageError::DiskFull(_)))
            || directory.is_offline()
            || account.log_start > Offset(0),
        "{operation:?}: {refused}"
    );
}

fn check_after(world: World, account: &Account, power: bool) {
    let directory = world.try_open().unwrap_or_else(|error| panic!("not opened: {error}"));
    let clean = matches!(directory.previous_run(), PreviousRun::Clean { .. });
    assert!(!clean || account.closed || account.appended.len() > 30, "it looks clean");
    let Some(log) = directory.log(&orders()) else {
        assert!(account.appended.is_empty() || power && account.flushed == Offset(0));
        return;
    };
    let out = read_out(&log, &account.appended, 700);
    assert!(out.refused.is_empty() && out.bad_checksums == 0, "{out:?}");
    let appended = account.appended.last().map_or(Offset(0), |last| last.next);
    let due = if power { account.flushed } else { appended };
    assert!(log.log_end_offset() >= due, "{} of {due}: {:?}", log.log_end_offset(), log.recovery());
    assert!(log.log_start_offset() <= account.log_start);
    assert!(!log.recovery().lost_below_recovery_point, "{:?}", log.recovery());
    if !power {
        let run = directory.previous_run();
        let known = account.running.is_some();
        assert!(!known || run.intact_epoch() == Some(REGISTERED), "{run:?} {:?}", log.recovery());
    }
}

#[test]
fn however_an_opening_is_interrupted_the_next_one_ends_as_the_table_says() {
    use Outcome::*;
    let cells = [
        (None, When::Killed, Unharmed),
        (None, When::Closed, Unharmed),
        (Some((Damage::Missing, Place::Sealed)), When::Killed, CutAndUnclean),
        (Some((Damage::Missing, Place::Sealed)), When::Closed, CutAndUnclean),
        (Some((Damage::TruncatedTail, Place::ActiveBelow)), When::Closed, CutAndUnclean),
        (Some((Damage::BitFlip, Place::ActiveAbove)), When::Killed, CutAndUnclean),
        (Some((Damage::Duplicate, Place::Sealed)), When::Killed, Mended),
        (Some((Damage::Missing, Place::Catalog)), When::Closed, Distrusted),
        (Some((Damage::Missing, Place::PartitionMetadata)), When::Closed, Mended),
    ];
    for (damage, when, outcome) in cells {
        for seed in seeds(0) {
            let scene = || {
                let mut scene = Scene::play(when, seed);
                if let Some((damage, place)) = damage {
                    inflict(&mut scene, damage, place);
                }
                scene
            };
            let undisturbed = scene();
            let before = undisturbed.world.disk.operations();
            drop(undisturbed.open().unwrap());
            let operations = undisturbed.world.disk.operations() - before;
            for operation in [Operation::Any, Operation::Grow] {
                for nth in 1..=operations {
                    println!(
                        "{damage:?} {when:?} seed {seed}: {operation:?} {nth} of {operations}"
                    );
                    let mut scene = scene();
                    scene.world.disk.fail(operation, nth);
                    if scene.open().is_ok() {
                        // What failed was a marker that could not be read: that is distrusted.
                        continue;
                    }
                    scene.world = scene.world.kill();
                    scene.interrupted = true;
                    judge(scene, outcome);
                }
            }
        }
    }
}
