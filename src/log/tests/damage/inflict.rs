//! A directory with one log in which every place is, and the hands that damage it.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::table::{Damage, Place, When};
use crate::log::segment::file_name;
use crate::log::tests::world::*;
use crate::log::{AppendOrigin, Log, LogConfig, LogDirectory, LogEnvironment, OpenError};
use crate::record::batches;
use crate::storage::{CatalogError, Disk, MemoryCatalog, OpenMode};
use crate::types::{BrokerEpoch, LeaderEpoch, Offset};

/// The epoch under which the run before the damage was registered.
pub const REGISTERED: BrokerEpoch = BrokerEpoch(8);
/// So much is zeroed at a time.
const PAGE_BYTES: u64 = 512;

/// One batch as it must be read.
#[derive(Debug, Clone)]
pub struct Appended {
    pub base: Offset,
    pub next: Offset,
    pub bytes: Vec<u8>,
}

/// A segment's file and what is in it.
#[derive(Debug, Clone)]
pub struct File {
    pub base: Offset,
    pub next: Offset,
    pub path: PathBuf,
    pub bytes: u64,
}

/// Puts right what was damaged.
pub type Undo = Box<dyn FnOnce(&World)>;

/// What has been damaged, and what must be known to judge it.
pub struct Scene {
    pub world: World,
    pub when: When,
    pub random: StdRng,
    pub appended: Vec<Appended>,
    pub files: Vec<File>,
    /// Where the active segment's bytes are that no checkpoint covers.
    pub durable_bytes: u64,
    pub recovery_point: Offset,
    pub running: Option<(Arc<LogDirectory>, Arc<Log>)>,
    /// The catalog cannot be opened.
    pub catalog_unavailable: bool,
    /// An opening before was interrupted: it may have cut, and not have told why.
    pub interrupted: bool,
    /// Puts right what was damaged.
    pub undo: Option<Undo>,
}

impl Scene {
    /// Sealed segments, an active one with bytes on both sides of the recovery point.
    pub fn play(when: When, seed: u64) -> Scene {
        let mut random = StdRng::seed_from_u64(seed);
        let world = World::new();
        let (directory, log) = one_log(&world);
        directory.set_broker_epoch(REGISTERED).unwrap();
        log.set_config(LogConfig { segment_bytes: 3_000, ..LogConfig::default() });
        let mut epoch = 1;
        let mut append = |log: &Log, random: &mut StdRng| {
            epoch += i32::from(random.random_range(0..5) == 0);
            let records = batch(random.random_range(1..5));
            log.append_as_leader(records, LeaderEpoch(epoch), AppendOrigin::Client).unwrap();
        };
        while log.segment_count() < 5 || log.active().size_bytes() < 1_500 {
            append(&log, &mut random);
        }
        directory.checkpoint_blocking().unwrap();
        let (recovery_point, durable_bytes) = (log.recovery_point(), log.active().size_bytes());
        log.set_config(LogConfig::default());
        for _ in 0..random.random_range(3..8) {
            append(&log, &mut random);
        }
        log.set_high_watermark(Offset(random.random_range(0..=log.log_end_offset().0)));
        let mut scene = Scene {
            appended: all_batches(&log),
            files: files(&log),
            durable_bytes,
            recovery_point,
            running: Some((directory, log)),
            catalog_unavailable: false,
            interrupted: false,
            undo: None,
            world,
            when,
            random,
        };
        scene.stop();
        scene
    }

    fn stop(&mut self) {
        if self.when == When::Running {
            return;
        }
        let (directory, log) = self.running.take().unwrap();
        if self.when == When::Closed {
            directory.close_blocking().unwrap();
            self.recovery_point = log.log_end_offset();
            self.durable_bytes = self.files.last().unwrap().bytes;
        }
        self.world = self.world.kill();
    }

    pub fn log_end(&self) -> Offset {
        self.appended.last().unwrap().next
    }

    /// Opens the directory as the next run would.
    pub fn open(&self) -> Result<Arc<LogDirectory>, OpenError> {
        let environment = self.world.environment();
        if !self.catalog_unavailable {
            return LogDirectory::open(World::options(), environment);
        }
        let unreadable = CatalogError::Unavailable("Input/output error (os error 5)".to_owned());
        let opener = move |_: &Path| Err(unreadable.clone());
        let environment = LogEnvironment { catalog_opener: Arc::new(opener), ..environment };
        LogDirectory::open(World::options(), environment)
    }

    fn change(&mut self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let disk = &*self.world.disk;
        let before = disk.read(path).unwrap();
        let mut content = before.clone();
        change(&mut content);
        assert_ne!(before, content, "nothing was damaged");
        write(disk, path, &content);
        let path = path.to_owned();
        self.undo = Some(Box::new(move |world| write(&*world.disk, &path, &before)));
    }

    /// Where the batches of a file begin and end.
    fn batches_of(&self, file: &File) -> Vec<(u64, u64)> {
        let mut position = 0;
        let in_file = |batch: &&Appended| batch.base >= file.base && batch.base < file.next;
        let bounds = |batch: &Appended| {
            let start = position;
            position += batch.bytes.len() as u64;
            (start, position)
        };
        self.appended.iter().filter(in_file).map(bounds).collect()
    }
}

fn write(disk: &dyn Disk, path: &Path, content: &[u8]) {
    let file = disk.open(path, OpenMode::Create).unwrap();
    file.set_len(0).unwrap();
    file.write_at(&[IoSlice::new(content)], 0).unwrap();
    file.sync_data().unwrap();
}

fn all_batches(log: &Log) -> Vec<Appended> {
    let mut found = Vec::new();
    let mut next = log.log_start_offset();
    while next < log.log_end_offset() {
        let slice = log.read(next, log.log_end_offset(), 1 << 20, true).unwrap();
        for batch in batches(&slice.records) {
            let batch = batch.unwrap();
            let (base, next) = (batch.header.base_offset, batch.header.next_offset());
            found.push(Appended { base, next, bytes: batch.bytes.to_vec() });
        }
        next = slice.next_offset;
    }
    found
}

fn files(log: &Log) -> Vec<File> {
    let segments = log.segments.load_full();
    let file = |segment: &Arc<crate::log::segment::Segment>| File {
        base: segment.base_offset(),
        next: segment.next_offset(),
        path: segment.path().to_owned(),
        bytes: segment.size_bytes(),
    };
    segments.iter().map(file).collect()
}

/// Does the damage.
pub fn inflict(scene: &mut Scene, damage: Damage, place: Place) {
    if damage == Damage::ReadOnly {
        scene.world.disk.set_read_only(true);
        scene.undo = Some(Box::new(|world| world.disk.set_read_only(false)));
        return;
    }
    match place {
        Place::Sealed | Place::ActiveBelow | Place::ActiveAbove => {
            damage_segment(scene, damage, place);
        }
        Place::Catalog => damage_catalog(scene, damage),
        Place::MetaProperties => damage_file(scene, damage, "/data/meta.properties"),
        Place::PartitionMetadata => damage_file(scene, damage, "/data/orders-0/partition.metadata"),
        Place::Marker => {
            let markers = ["/data/.ottla_running", "/data/.kafka_cleanshutdown"];
            let is_there = |path: &&&str| scene.world.disk.exists(Path::new(path));
            let path = *markers.iter().find(is_there).expect("a marker");
            damage_file(scene, damage, path);
        }
    }
}

fn damage_catalog(scene: &mut Scene, damage: Damage) {
    match damage {
        Damage::TruncatedTail | Damage::Missing if scene.when != When::Running => {
            scene.world.catalog = Arc::new(MemoryCatalog::new());
        }
        Damage::ExtraFile => write(&*scene.world.disk, Path::new("/data/catalog.old"), b"?"),
        _ => {
            scene.world.catalog.set_broken(true);
            scene.catalog_unavailable = true;
        }
    }
}

fn damage_file(scene: &mut Scene, damage: Damage, path: &str) {
    let path = Path::new(path);
    let content = scene.world.disk.read(path).unwrap();
    let at = scene.random.random_range(0..content.len());
    let bit = scene.random.random_range(0..8);
    match damage {
        Damage::BitFlip => scene.change(path, |content| content[at] ^= 1 << bit),
        Damage::ZeroedPage => scene.change(path, |content| content.fill(0)),
        // The last byte alone may be the end of a line.
        Damage::TruncatedTail => {
            scene.change(path, |content| content.truncate(at.min(content.len() - 2)))
        }
        Damage::Missing => {
            scene.world.disk.remove_file(path).unwrap();
            let path = path.to_owned();
            scene.undo = Some(Box::new(move |world| write(&*world.disk, &path, &content)));
        }
        Damage::ExtraFile => {
            let beside = format!("{}.bak", path.display());
            write(&*scene.world.disk, Path::new(&beside), &content[..at]);
        }
        Damage::Unreadable => make_unreadable(scene, path),
        Damage::TornBatch | Damage::Duplicate | Damage::ReadOnly => panic!("makes no sense"),
    }
}

fn make_unreadable(scene: &mut Scene, path: &Path) {
    scene.world.disk.set_unreadable(path, true);
    let path = path.to_owned();
    scene.undo = Some(Box::new(move |world| world.disk.set_unreadable(&path, false)));
}

fn damage_segment(scene: &mut Scene, damage: Damage, place: Place) {
    let sealed = scene.random.random_range(0..scene.files.len() - 1);
    let file = match place {
        Place::Sealed => scene.files[sealed].clone(),
        _ => scene.files.last().unwrap().clone(),
    };
    if matches!(damage, Damage::ExtraFile | Damage::Duplicate) {
        return add_segment(scene, damage, place, &file);
    }
    let bounds = scene.batches_of(&file);
    let inside: Vec<(u64, u64)> = bounds
        .iter()
        .copied()
        .filter(|&(start, end)| match place {
            Place::ActiveBelow => end <= scene.durable_bytes,
            Place::ActiveAbove => start >= scene.durable_bytes,
            _ => true,
        })
        .collect();
    let (from, to) = (inside[0].0, inside[inside.len() - 1].1);
    // What is amiss with the very last batch may be a write that was interrupted.
    let before_last = if place == Place::ActiveAbove { inside[inside.len() - 1].0 } else { to };
    let at = scene.random.random_range(from..before_last);
    match damage {
        Damage::BitFlip => {
            let bit = scene.random.random_range(0..8);
            scene.change(&file.path, |content| content[at as usize] ^= 1 << bit);
        }
        Damage::ZeroedPage => {
            let end = (at + PAGE_BYTES).min(before_last);
            let start = end.saturating_sub(PAGE_BYTES).max(from);
            scene.change(&file.path, |content| content[start as usize..end as usize].fill(0));
        }
        Damage::TruncatedTail => {
            let cuts: Vec<u64> =
                (from..to).filter(|at| bounds.iter().all(|(start, _)| start != at)).collect();
            let at = cuts[scene.random.random_range(0..cuts.len())];
            scene.change(&file.path, |content| content.truncate(at as usize));
        }
        Damage::TornBatch => {
            let (start, end) = inside[inside.len() - 1];
            let half = (start + end) / 2;
            let cut = place == Place::ActiveAbove && scene.random.random();
            scene.change(&file.path, |content| match cut {
                true => content.truncate(half as usize),
                false => content[half as usize..end as usize].fill(0),
            });
        }
        Damage::Missing => scene.world.disk.remove_file(&file.path).unwrap(),
        Damage::Unreadable => make_unreadable(scene, &file.path),
        Damage::ExtraFile | Damage::Duplicate | Damage::ReadOnly => panic!("done above"),
    }
}

/// A file with the name of a segment, where none is.
fn add_segment(scene: &mut Scene, damage: Damage, place: Place, file: &File) {
    let base = match (damage, place) {
        (Damage::ExtraFile, Place::ActiveAbove) => scene.log_end().plus(5),
        (_, Place::ActiveAbove) => scene.recovery_point.plus(1),
        (_, Place::ActiveBelow) => scene.recovery_point.plus(-1),
        _ => Offset(scene.random.random_range(file.base.0 + 1..file.next.0)),
    };
    let content = match damage {
        Damage::Duplicate => scene.world.disk.read(&file.path).unwrap(),
        _ => (0..scene.random.random_range(1..2_000)).map(|_| scene.random.random()).collect(),
    };
    let path = file.path.with_file_name(file_name(base));
    write(&*scene.world.disk, &path, &content);
}
