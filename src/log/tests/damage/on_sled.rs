//! Real catalogs, really damaged: whatever sled makes of its files, no record is lost, doubled or
//! altered for it, and nothing panics.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::inflict::{Appended, REGISTERED};
use super::judge::read_out;
use super::table::seeds;
use crate::log::tests::world::*;
use crate::log::{
    AppendOrigin, LogDirectory, LogDirectoryOptions, LogEnvironment, OpenError, PreviousRun,
};
use crate::record::batches;
use crate::storage::{FileDisk, SledCatalog};
use crate::types::{LeaderEpoch, NodeId, Offset};

fn open(root: &Path) -> Result<Arc<LogDirectory>, OpenError> {
    let options =
        LogDirectoryOptions { path: root.to_owned(), cluster_id: None, node_id: NodeId(1) };
    let environment = LogEnvironment {
        disk: Arc::new(FileDisk),
        catalog_opener: Arc::new(|path: &Path| Ok(Arc::new(SledCatalog::open(path)?))),
        ..World::new().environment()
    };
    LogDirectory::open(options, environment)
}

/// Two runs: the first closes, the second is killed.
fn play(root: &Path, random: &mut StdRng) -> Vec<Appended> {
    let mut appended = Vec::new();
    for run in 0..2 {
        let directory = open(root).unwrap();
        directory.set_broker_epoch(REGISTERED).unwrap();
        let log = directory.create(&orders(), TOPIC_ID, small_segments()).unwrap();
        for round in 0..4 {
            for _ in 0..random.random_range(3..9) {
                let epoch = LeaderEpoch(run * 4 + round);
                let info = log.append_as_leader(batch(3), epoch, AppendOrigin::Client).unwrap();
                let slice = log.read(info.base_offset, info.next_offset, 1, true).unwrap();
                let written = batches(&slice.records).next().unwrap().unwrap();
                let (base, next) = (info.base_offset, info.next_offset);
                appended.push(Appended { base, next, bytes: written.bytes.to_vec() });
            }
            log.set_high_watermark(log.log_end_offset());
            directory.checkpoint_blocking().unwrap();
        }
        if run == 0 {
            directory.close_blocking().unwrap();
        }
    }
    appended
}

fn catalog_files(root: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(root.join("catalog")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    files
}

#[derive(Debug, Clone, Copy)]
enum Harm {
    Deleted,
    EmptiedDatabase,
    DatabaseGone,
    Truncated,
    BitFlips,
    ZeroedPages,
    Garbage,
}

fn harm(root: &Path, harm: Harm, random: &mut StdRng) {
    let files = catalog_files(root);
    let path = files[random.random_range(0..files.len())].clone();
    let mut content = fs::read(&path).unwrap();
    let at = random.random_range(0..content.len().max(1));
    match harm {
        Harm::Deleted => return fs::remove_dir_all(root.join("catalog")).unwrap(),
        Harm::EmptiedDatabase => return fs::write(root.join("catalog/db"), b"").unwrap(),
        Harm::DatabaseGone => return fs::remove_file(root.join("catalog/db")).unwrap(),
        Harm::Truncated => content.truncate(at),
        Harm::BitFlips => {
            for _ in 0..random.random_range(1..20) {
                // Most of the file is empty; its beginning is not.
                let room = content.len().min(20_000);
                let at = random.random_range(0..room.max(1));
                content
                    .get_mut(at)
                    .into_iter()
                    .for_each(|byte| *byte ^= 1 << random.random_range(0..8));
            }
        }
        Harm::ZeroedPages => {
            content.iter_mut().skip(at & !4095).take(4096).for_each(|byte| *byte = 0)
        }
        Harm::Garbage => content.iter_mut().for_each(|byte| *byte = random.random()),
    }
    fs::write(&path, content).unwrap();
}

#[test]
fn whatever_becomes_of_a_real_catalog_no_record_is_lost_for_it() {
    use Harm::*;
    for damage in
        [Deleted, EmptiedDatabase, DatabaseGone, Truncated, BitFlips, ZeroedPages, Garbage]
    {
        for seed in seeds(3) {
            let mut random = StdRng::seed_from_u64(seed);
            let root = tempfile::tempdir().unwrap();
            let appended = play(root.path(), &mut random);
            harm(root.path(), damage, &mut random);
            let context = format!("{damage:?}, seed {seed}");
            let directory = match open(root.path()) {
                Ok(directory) => directory,
                Err(error) => panic!("{context}: {error}"),
            };
            let log = directory.log(&orders()).unwrap();
            let run = directory.previous_run();
            println!("{context}: {run:?} {:?}", log.recovery());
            let out = read_out(&log, &appended, 700);
            assert!(out.refused.is_empty() && out.bad_checksums == 0, "{context}: {out:?}");
            let is_all = log.log_end_offset() == appended.last().unwrap().next;
            assert!(
                is_all && log.log_start_offset() == Offset(0),
                "{context}: {:?}",
                log.recovery()
            );
            let intact = matches!(run, PreviousRun::ProcessDied { .. });
            assert!(!log.recovery().rebuilt || !intact, "{context}: rebuilt, and trusted");
        }
    }
}
