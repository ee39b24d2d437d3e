//! What disks and people do to the files of a broker that is not running.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rand::Rng;
use rand::rngs::StdRng;

use crate::harness::Node;

/// One kind of damage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Damage {
    CutTail,
    FlipTail,
    ZeroTail,
    TornBatch,
    FlipSealed,
    CutSealed,
    MissingSegment,
    DoubleSegment,
    ExtraFile,
    NoCatalog,
    EmptyCatalog,
    FlipCatalog,
    NoPartition,
}

use Damage::{
    CutSealed, CutTail, DoubleSegment, EmptyCatalog, ExtraFile, FlipCatalog, FlipSealed, FlipTail,
    MissingSegment, NoCatalog, NoPartition, TornBatch, ZeroTail,
};

const ALL: &[Damage] = &[
    CutTail,
    FlipTail,
    ZeroTail,
    TornBatch,
    FlipSealed,
    CutSealed,
    MissingSegment,
    DoubleSegment,
    ExtraFile,
    NoCatalog,
    EmptyCatalog,
    FlipCatalog,
    NoPartition,
];

impl Damage {
    /// Whether opening the directory does not find it: whoever reads the bytes does.
    pub fn is_silent(self) -> bool {
        matches!(self, FlipTail | ZeroTail | FlipSealed)
    }
}

/// The kinds that are done. `OTTLA_CHAOS_DAMAGE` is `all`, `none`, or a list by comma; without it
/// those are done that a broker finds by itself before it serves.
pub fn enabled() -> Vec<Damage> {
    let chosen = |damage: &Damage| match std::env::var("OTTLA_CHAOS_DAMAGE").as_deref() {
        Err(_) => !damage.is_silent(),
        Ok("all") => true,
        Ok(list) => list.split(',').any(|name| name == format!("{damage:?}")),
    };
    ALL.iter().copied().filter(chosen).collect()
}

/// Does it somewhere in the node's directories, but never to the cluster's metadata, and says
/// where; `None` if there is nothing of that kind.
pub fn inflict(damage: Damage, node: &Node, rng: &mut StdRng) -> Option<PathBuf> {
    assert!(!node.is_running(), "node {} is running", node.id);
    match damage {
        NoCatalog | EmptyCatalog | FlipCatalog => {
            let directory = &node.directories[rng.random_range(0..node.directories.len())];
            damage_catalog(damage, &directory.join("catalog"), rng)
        }
        NoPartition => {
            let directory = any(partitions(node), rng)?;
            fs::remove_dir_all(&directory).ok()?;
            Some(directory)
        }
        CutTail | FlipTail | ZeroTail | TornBatch => {
            let last = |directory: &PathBuf| segments(directory).pop();
            let tails: Vec<PathBuf> = partitions(node).iter().filter_map(last).collect();
            let tail = any(tails.into_iter().filter(|path| size(path) > 200).collect(), rng)?;
            damage_tail(damage, &tail, rng).expect("damaging the active segment");
            Some(tail)
        }
        FlipSealed | CutSealed | MissingSegment | DoubleSegment | ExtraFile => {
            let sealed = |directory: &PathBuf| {
                let mut segments = segments(directory);
                segments.pop();
                segments
            };
            let sealed: Vec<PathBuf> = partitions(node).iter().flat_map(sealed).collect();
            let segment = any(sealed.into_iter().filter(|path| size(path) > 0).collect(), rng)?;
            damage_sealed(damage, &segment, rng).expect("damaging a sealed segment");
            Some(segment)
        }
    }
}

fn damage_catalog(damage: Damage, catalog: &Path, rng: &mut StdRng) -> Option<PathBuf> {
    let database = catalog.join("db");
    let bytes = size(&database);
    if bytes == 0 {
        return None;
    }
    match damage {
        EmptyCatalog => open(&database).set_len(0).expect("emptying the catalog"),
        FlipCatalog => {
            for _ in 0..20 {
                flip(&database, rng.random_range(0..bytes), rng);
            }
        }
        _ => fs::remove_dir_all(catalog).expect("removing the catalog"),
    }
    Some(catalog.to_owned())
}

fn damage_tail(damage: Damage, path: &Path, rng: &mut StdRng) -> std::io::Result<()> {
    let bytes = size(path);
    let near = rng.random_range(1..=bytes.min(4_000));
    match damage {
        CutTail => open(path).set_len(bytes - near),
        FlipTail => {
            flip(path, bytes - near, rng);
            Ok(())
        }
        ZeroTail => open(path).write_all_at(&vec![0; near as usize], bytes - near),
        _ => {
            // The beginning of a batch that was not written to its end.
            let mut head = vec![0; 150];
            open(path).read_exact_at(&mut head, 0)?;
            head.truncate(rng.random_range(1..150));
            open(path).write_all_at(&head, bytes)
        }
    }
}

fn damage_sealed(damage: Damage, path: &Path, rng: &mut StdRng) -> std::io::Result<()> {
    let bytes = size(path);
    let base: i64 = path.file_stem().and_then(|stem| stem.to_str()?.parse().ok()).unwrap_or(0);
    let other = |base: i64| path.with_file_name(format!("{base:020}.log"));
    match damage {
        FlipSealed => {
            flip(path, rng.random_range(0..bytes), rng);
            Ok(())
        }
        CutSealed => open(path).set_len(rng.random_range(0..bytes)),
        MissingSegment => fs::remove_file(path),
        DoubleSegment => fs::copy(path, other(base + 1)).map(drop),
        _ => {
            fs::write(path.with_file_name("notes.txt"), "not a segment")?;
            fs::write(path.with_file_name("00000000000000000000.index"), [7; 100])?;
            fs::write(other(base + 100_000_000), [7; 100])
        }
    }
}

fn flip(path: &Path, position: u64, rng: &mut StdRng) {
    let file = open(path);
    let mut byte = [0];
    file.read_exact_at(&mut byte, position).expect("reading a byte");
    byte[0] ^= 1 << rng.random_range(0..8);
    file.write_all_at(&byte, position).expect("writing a byte");
}

fn open(path: &Path) -> File {
    File::options().read(true).write(true).open(path).expect("opening a file to damage it")
}

fn size(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

fn any(mut paths: Vec<PathBuf>, rng: &mut StdRng) -> Option<PathBuf> {
    if paths.is_empty() { None } else { Some(paths.swap_remove(rng.random_range(0..paths.len()))) }
}

/// The directories of the node's replicas, in order.
fn partitions(node: &Node) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = node
        .directories
        .iter()
        .flat_map(|directory| fs::read_dir(directory).into_iter().flatten().flatten())
        .map(|entry| entry.path())
        .filter(|path| path.join("partition.metadata").exists())
        .filter(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            !name.starts_with("__cluster_metadata") && !name.contains('.')
        })
        .collect();
    found.sort();
    found
}

/// A partition's segments, oldest first.
fn segments(directory: &Path) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(directory)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    found.sort();
    found
}
