//! A sample of the damage matrix (`log::tests::damage`) with real files and real kills: a broker is
//! killed, its directory is damaged, and it is started again. It comes back with all that was
//! acknowledged, or it says in a clear line why it does not.
//!
//! `OTTLA_DAMAGE_SEED` draws the same damages again.

use std::fs;
use std::path::{Path, PathBuf};

use rand::rngs::StdRng;
use rand::seq::SliceRandom;
use rand::{Rng, SeedableRng};

use crate::harness::Cluster;
use crate::history::{Load, settle_and_check};

const TOPIC: &str = "damaged";
const PARTITIONS: i32 = 2;
/// How many damages one run draws.
const ROUNDS: usize = 5;

#[derive(Debug, Clone, Copy)]
enum Damage {
    /// The active segment ends earlier, at any byte.
    TruncatedActive,
    /// Something else lies behind what was written.
    GarbageBehind,
    /// A sealed segment is gone.
    MissingSegment,
    /// A segment lies amid another.
    ExtraSegment,
    /// The catalog is gone.
    DeletedCatalog,
    /// The catalog's database is there, and empty.
    EmptiedCatalog,
    /// Nobody says any more which topic a log belongs to.
    MissingPartitionMetadata,
    /// The directory of a log is gone.
    MissingLog,
    /// Refused: nobody knows whose directory it is.
    GarbageMetaProperties,
    /// Refused: the votes are gone.
    GarbageQuorumState,
}

use Damage::*;

const ALL: [Damage; 10] = [
    TruncatedActive,
    GarbageBehind,
    MissingSegment,
    ExtraSegment,
    DeletedCatalog,
    EmptiedCatalog,
    MissingPartitionMetadata,
    MissingLog,
    GarbageMetaProperties,
    GarbageQuorumState,
];

impl Damage {
    /// What a start that is refused says.
    fn refusal(self) -> Option<&'static str> {
        match self {
            GarbageMetaProperties => Some("meta.properties: node.id is missing: restore the file"),
            GarbageQuorumState => Some("must not vote again under its directory id"),
            _ => None,
        }
    }
}

fn segments(log: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(log).unwrap().map(|entry| entry.unwrap().path());
    let is_segment = |path: &PathBuf| path.extension().is_some_and(|extension| extension == "log");
    let mut segments: Vec<PathBuf> = files.filter(is_segment).collect();
    segments.sort();
    segments
}

/// Damages a directory. Gives the file to put back, and what was in it, where a start is refused.
fn inflict(damage: Damage, directory: &Path, random: &mut StdRng) -> Option<(PathBuf, Vec<u8>)> {
    let partition = random.random_range(0..PARTITIONS);
    let log = directory.join(format!("{TOPIC}-{partition}"));
    let segments = segments(&log);
    let (active, sealed) = segments.split_last().expect("a segment");
    match damage {
        TruncatedActive => {
            let bytes = fs::metadata(active).unwrap().len();
            let file = fs::File::options().write(true).open(active).unwrap();
            file.set_len(random.random_range(bytes / 2..=bytes)).unwrap();
        }
        GarbageBehind => {
            let mut content = fs::read(active).unwrap();
            content.extend((0..random.random_range(1..3_000)).map(|_| random.random::<u8>()));
            fs::write(active, content).unwrap();
        }
        MissingSegment => {
            let missing = sealed.get(random.random_range(0..sealed.len().max(1)));
            fs::remove_file(missing.unwrap_or(active)).unwrap();
        }
        ExtraSegment => {
            fs::copy(active, log.join("00000000000000000001.log")).unwrap();
        }
        DeletedCatalog => fs::remove_dir_all(directory.join("catalog")).unwrap(),
        EmptiedCatalog => fs::write(directory.join("catalog/db"), b"").unwrap(),
        MissingPartitionMetadata => fs::remove_file(log.join("partition.metadata")).unwrap(),
        MissingLog => fs::remove_dir_all(log).unwrap(),
        GarbageMetaProperties => return Some(overwrite(directory.join("meta.properties"))),
        GarbageQuorumState => {
            return Some(overwrite(directory.join("__cluster_metadata-0/quorum-state")));
        }
    }
    None
}

fn overwrite(path: PathBuf) -> (PathBuf, Vec<u8>) {
    let content = fs::read(&path).unwrap();
    fs::write(&path, vec![b'?'; content.len()]).unwrap();
    (path, content)
}

#[test]
fn a_damaged_directory_comes_back_whole_or_says_why_not() {
    let wanted = std::env::var("OTTLA_DAMAGE_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = wanted.unwrap_or_else(rand::random);
    println!("OTTLA_DAMAGE_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let mut damages = ALL;
    damages.shuffle(&mut random);

    let mut cluster = Cluster::start(3, "");
    cluster.create_topic(
        TOPIC,
        PARTITIONS,
        3,
        &[("min.insync.replicas", "2"), ("segment.ms", "400")],
    );
    let load = Load::start(&cluster, TOPIC, PARTITIONS, 1_000);
    load.await_progress(2_000);
    for damage in damages.into_iter().take(ROUNDS) {
        let id = random.random_range(1..=3);
        eprintln!("seed {seed}: {damage:?} on {id}, {} acknowledged", load.acknowledged());
        cluster.kill(id);
        let directory = cluster.node(id).directory.clone();
        let undo = inflict(damage, &directory, &mut random);
        cluster.spawn(id);
        if let Some(text) = damage.refusal() {
            let said = cluster.await_refusal(id);
            assert!(said.contains(text), "{damage:?}, seed {seed}: {said}");
            let (path, content) = undo.expect("something to put back");
            fs::write(path, content).unwrap();
            cluster.spawn(id);
        }
        cluster.await_brokers(3);
        cluster.await_in_sync(TOPIC, 3);
        load.await_progress(300);
    }
    settle_and_check(&mut cluster, load, TOPIC, PARTITIONS);
}
