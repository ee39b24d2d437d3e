//! What came of the damage.

use std::sync::Arc;

use super::inflict::{Appended, REGISTERED, Scene};
use super::table::{Outcome, When};
use crate::log::inspect::known_logs;
use crate::log::tests::world::*;
use crate::log::{AppendOrigin, Incident, Log, LogDirectory, ReadError};
use crate::record::{Batch, batches};
use crate::storage::Catalog;
use crate::types::{BrokerEpoch, LeaderEpoch, Offset};

/// What could be read of what was appended.
#[derive(Debug, Default)]
pub struct ReadOut {
    /// Places in the list of what was appended.
    pub refused: Vec<usize>,
    pub errors: Vec<ReadError>,
    pub bad_checksums: usize,
}

/// Reads all that the log has, and fails if anything is served that is not what was appended and
/// does not say so by its checksum.
pub fn read_out(log: &Log, appended: &[Appended], step: usize) -> ReadOut {
    let mut out = ReadOut::default();
    let log_end = log.log_end_offset();
    let mut next = log.log_start_offset();
    let place_of = |offset: Offset| appended.iter().position(|known| known.next > offset);
    let mut calls = 0;
    while next < log_end {
        calls += 1;
        assert!(calls < 10_000, "reading does not end: {next} of {log_end}");
        match log.read(next, log_end, step, true) {
            Ok(slice) => {
                assert!(slice.next_offset > next, "reading stands still at {next}");
                for batch in batches(&slice.records) {
                    check(&mut out, appended, &batch.expect("a whole batch"));
                }
                next = slice.next_offset;
            }
            Err(error) => {
                out.errors.push(error);
                let Some(place) = place_of(next) else { break };
                out.refused.push(place);
                next = appended[place].next;
            }
        }
    }
    out
}

fn check(out: &mut ReadOut, appended: &[Appended], batch: &Batch) {
    if batch.verify_crc().is_err() {
        out.bad_checksums += 1;
        return;
    }
    let known = appended.iter().find(|known| known.base == batch.header.base_offset);
    let known = known.unwrap_or_else(|| panic!("served, never appended: {:?}", batch.header));
    assert_eq!(known.bytes, &batch.bytes[..], "served otherwise than appended");
}

pub fn judge(mut scene: Scene, outcome: Outcome) {
    match scene.when {
        When::Running => judge_running(&mut scene, outcome),
        When::Killed | When::Closed => judge_opening(&mut scene, outcome),
    }
}

fn step(scene: &Scene) -> usize {
    [1, 700, 1 << 20][scene.appended.len() % 3]
}

fn judge_running(scene: &mut Scene, outcome: Outcome) {
    let (directory, log) = scene.running.take().unwrap();
    let out = read_out(&log, &scene.appended, step(scene));
    match outcome {
        Outcome::Unharmed | Outcome::Offline => {
            assert!(out.refused.is_empty() && out.bad_checksums == 0, "{out:?}");
        }
        Outcome::Withheld => assert!(!out.refused.is_empty() && out.bad_checksums == 0, "{out:?}"),
        Outcome::LeftToChecksum => assert!(out.refused.len() + out.bad_checksums > 0, "unseen"),
        other => panic!("{other:?} is nothing for a directory that is open"),
    }
    check_told(&log, &out);
    let appended = log.append_as_leader(batch(2), LeaderEpoch(99), AppendOrigin::Client).is_ok()
        && directory.checkpoint_blocking().is_ok();
    assert_eq!(appended, outcome != Outcome::Offline, "appending");
    assert_eq!(directory.is_offline(), outcome == Outcome::Offline);
    drop((directory, log));
    scene.world = scene.world.kill();
    // However it ended, what the next run serves is what was appended, or it says what is amiss.
    if let Ok(directory) = scene.open() {
        let log = directory.log(&orders()).unwrap();
        if appended {
            let last = log.read(scene.log_end(), log.log_end_offset(), 1, true);
            if let Ok(slice) = last
                && let Some(Ok(batch)) = batches(&slice.records).next()
            {
                let (base, next) = (batch.header.base_offset, batch.header.next_offset());
                scene.appended.push(Appended { base, next, bytes: batch.bytes.to_vec() });
            }
        }
        let out = read_out(&log, &scene.appended, step(scene));
        assert_eq!(out.bad_checksums, 0, "what lay on the disk is verified");
        let all = log.log_end_offset() >= scene.log_end() && out.refused.is_empty();
        let told = !is_intact(&directory) || !log.incidents().is_empty() || !out.errors.is_empty();
        assert!(all || told, "lost, and nobody knows: {:?}", log.recovery());
    }
}

/// Whatever was done: refused, or all is served, or it is told of.
pub fn judge_whatever(scene: &Scene) {
    let Ok(directory) = scene.open() else { return };
    let log = directory.log(&orders()).expect("the log");
    let out = read_out(&log, &scene.appended, step(scene));
    assert_eq!(out.bad_checksums, 0, "what lay on the disk is verified");
    let all = log.log_end_offset() == scene.log_end() && log.log_start_offset() == Offset(0);
    let told = !is_intact(&directory) || !log.incidents().is_empty() || !out.errors.is_empty();
    assert!(all && out.refused.is_empty() || told, "lost, and nobody knows: {:?}", log.recovery());
}

/// Damage that a reader met is kept.
fn check_told(log: &Log, out: &ReadOut) {
    let is_corrupt = |error: &ReadError| matches!(error, ReadError::Corrupt { .. });
    if out.errors.iter().any(is_corrupt) {
        assert!(!log.incidents().is_empty(), "{out:?}");
    }
}

fn is_intact(directory: &LogDirectory) -> bool {
    directory.previous_run().intact_epoch() == Some(REGISTERED)
}

fn judge_opening(scene: &mut Scene, outcome: Outcome) {
    if let Outcome::Refused(text) | Outcome::RefusedUnlessUnread(text) = outcome {
        match scene.open() {
            Err(error) => {
                let error = error.to_string();
                assert!(error.contains(text), "{error}");
            }
            Ok(_) => assert_ne!(outcome, Outcome::Refused(text), "it was opened"),
        }
        scene.world = scene.world.kill();
        scene.catalog_unavailable = false;
        if let Some(undo) = scene.undo.take() {
            undo(&scene.world);
        }
        return judge_opening(scene, Outcome::Unharmed);
    }
    let directory = scene.open().unwrap_or_else(|error| panic!("not opened: {error}"));
    let log = directory.log(&orders()).expect("the log");
    let out = read_out(&log, &scene.appended, step(scene));
    let (log_end, recovery) = (log.log_end_offset(), log.recovery());
    assert_eq!(out.bad_checksums, 0, "what lay on the disk is verified");
    check_told(&log, &out);
    let (intact, is_all) = (is_intact(&directory), log_end == scene.log_end());
    let told = !log.incidents().is_empty() || scene.interrupted;
    let cut = told && log_end <= scene.log_end();
    match outcome {
        Outcome::Unharmed | Outcome::Mended => assert!(intact && is_all, "{recovery:?}"),
        Outcome::Distrusted => assert!(!intact && is_all),
        Outcome::Withheld => assert!(intact && is_all && !out.refused.is_empty(), "{recovery:?}"),
        Outcome::CutAndUnclean => assert!(!intact && cut, "{recovery:?}"),
        Outcome::CutOrUnclean => assert!(cut && log_end >= scene.recovery_point),
        Outcome::LeftToChecksum
        | Outcome::Refused(_)
        | Outcome::RefusedUnlessUnread(_)
        | Outcome::Offline
        | Outcome::Senseless => panic!("{outcome:?} is nothing for an opening"),
    }
    if outcome == Outcome::Withheld {
        let damaged: Vec<Offset> = out.refused.iter().map(|at| scene.appended[*at].base).collect();
        let holds = |base: &Offset| scene.files.iter().position(|file| file.next > *base);
        let segments: Vec<Option<usize>> = damaged.iter().map(holds).collect();
        assert!(segments.windows(2).all(|two| two[0] == two[1]), "others suffer: {damaged:?}");
    } else {
        assert!(out.refused.is_empty(), "{out:?}");
    }
    go_on(scene, &directory, &log, &out);
}

/// What the catalog tells tools of what happened to the log.
fn known_incidents(catalog: &dyn Catalog) -> Vec<Incident> {
    let (logs, unreadable) = known_logs(catalog).unwrap();
    assert_eq!(unreadable, [""; 0]);
    let found = logs.into_iter().find(|log| log.topic_partition.as_ref() == Some(&orders()));
    found.map(|log| log.incidents).unwrap_or_default()
}

/// The replica fetches what it lacks, and its next opening finds nothing amiss any more.
fn go_on(scene: &mut Scene, directory: &Arc<LogDirectory>, log: &Arc<Log>, out: &ReadOut) {
    directory.set_broker_epoch(BrokerEpoch(9)).unwrap();
    let log_end = log.log_end_offset();
    let lacking = scene.appended.iter().filter(|known| known.base >= log_end);
    for lacking in lacking.cloned().collect::<Vec<_>>() {
        log.append_as_follower(lacking.bytes.into(), LeaderEpoch(99)).unwrap();
    }
    directory.checkpoint_blocking().unwrap();
    let incidents = log.incidents();
    assert_eq!(known_incidents(&*scene.world.catalog), incidents);
    scene.world = scene.world.kill();
    let again = scene.open().unwrap();
    assert_eq!(again.previous_run().intact_epoch(), Some(BrokerEpoch(9)), "damage is found again");
    let log = again.log(&orders()).unwrap();
    assert_eq!(log.incidents(), incidents, "why is not kept");
    assert_eq!(log.log_end_offset(), scene.log_end());
    let now = read_out(&log, &scene.appended, step(scene));
    assert_eq!(now.refused, out.refused);
}
