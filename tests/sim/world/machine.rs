//! One machine: its disk and catalogs, which outlive the process, and of which a power failure
//! takes what was not synced.

use std::collections::BTreeMap;
use std::io::{self, IoSlice};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};

use ottla::broker::loggers::{DEFAULT_DIRECTIVES, Loggers};
use ottla::broker::{Seams, Server};
use ottla::storage::{Catalog, CatalogError, Disk, MemoryCatalog, MemoryDisk, OpenMode};
use ottla::types::Random;
use ottla::types::random::{SeededRandom, mix};
use parking_lot::Mutex;

use super::clock::{SimClock, Skew};
use super::network::{Links, SimNetwork};
use super::offload::{SimOffload, Slowness};
use super::pause::Pause;
use crate::trace::Trace;

/// One machine of the cluster.
#[derive(Debug)]
pub struct Machine {
    /// `node.id` of the node on it.
    pub id: i32,
    /// Its host name.
    pub name: String,
    /// How wrong its clocks are.
    pub skew: Arc<Skew>,
    /// How slow its disks are.
    pub slowness: Arc<Slowness>,
    /// Whether its process stands still.
    pub pause: Arc<Pause>,
    pub links: Arc<Links>,
    pub trace: Arc<Trace>,
    seed: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    disk: MemoryDisk,
    catalogs: BTreeMap<PathBuf, MemoryCatalog>,
    boots: u64,
    processes: u64,
    server: Weak<Server>,
}

impl Machine {
    /// An empty one, of which everything random follows from `seed`.
    pub fn new(id: i32, seed: u64, links: &Arc<Links>, trace: &Arc<Trace>) -> Arc<Machine> {
        Arc::new(Machine {
            id,
            name: format!("n{id}"),
            skew: Arc::default(),
            slowness: Arc::default(),
            pause: Arc::default(),
            links: Arc::clone(links),
            trace: Arc::clone(trace),
            seed: mix(seed ^ mix(u64::from(id.unsigned_abs()))),
            state: Mutex::default(),
        })
    }

    /// The disk, as the process that runs now has it.
    pub fn disk(&self) -> MemoryDisk {
        self.state.lock().disk.clone()
    }

    /// Nothing more fits on the disk, or next to nothing.
    pub fn fill_up(&self) {
        let disk = self.disk();
        if let Ok(space) = disk.space(Path::new("/data")) {
            let used = space.total_bytes - space.available_bytes;
            disk.set_capacity(Some(used + 1_000));
        }
    }

    /// The process dies, or the power fails, at the so manieth call to the disk from now on. It says
    /// nothing more then; who moves the simulation on takes it down.
    pub fn dies_within(&self, calls: u64) {
        let disk = self.disk();
        disk.fail_from(calls);
        self.links.silence_with(&self.name, disk);
    }

    /// Whether that call has come.
    pub fn is_dying(&self) -> bool {
        self.disk().is_broken()
    }

    /// The call that it was to die at did not come.
    pub fn lives_on(&self) {
        self.disk().lives_on();
    }

    /// The process stands still.
    pub fn pause(&self) {
        self.pause.begin(self.trace.now());
        self.links.set_paused(&self.name, true);
    }

    /// The process goes on.
    pub fn resume(&self) {
        self.pause.end();
        self.links.set_paused(&self.name, false);
    }

    /// New and empty disks are in it.
    pub fn replace_disks(&self) {
        let mut state = self.state.lock();
        (state.disk, state.catalogs) = (MemoryDisk::new(), BTreeMap::new());
    }

    /// Flips one bit of a log's segment, but not of the last one: `choose` takes one of so many
    /// bytes. The byte, if there is such a segment.
    pub fn rot(&self, choose: impl FnOnce(u64) -> u64) -> io::Result<Option<(PathBuf, u64)>> {
        let disk = self.disk();
        let mut segments = Vec::new();
        for directory in disk.list(Path::new("/data"))?.iter().filter(|entry| entry.is_dir) {
            let within = Path::new("/data").join(&directory.name);
            let mut logs = disk.list(&within)?;
            logs.retain(|file| file.name.ends_with(".log"));
            logs.pop();
            let is_partition = !directory.name.starts_with("__cluster");
            segments.extend(
                logs.into_iter()
                    .filter(|file| is_partition && file.size_bytes > 0)
                    .map(|file| (within.join(file.name), file.size_bytes)),
            );
        }
        let all: u64 = segments.iter().map(|(_, size_bytes)| size_bytes).sum();
        if all == 0 {
            return Ok(None);
        }
        let mut at = choose(all);
        for (path, size_bytes) in segments {
            if at < size_bytes {
                let file = disk.open(&path, OpenMode::Write)?;
                let mut byte = [0];
                file.read_at(&mut byte, at)?;
                file.write_at(&[IoSlice::new(&[byte[0] ^ 1 << (at % 8)])], at)?;
                file.sync_data()?;
                return Ok(Some((path, at)));
            }
            at -= size_bytes;
        }
        Ok(None)
    }

    /// The process is dead; what it wrote is still in the page cache.
    pub fn process_died(&self) {
        let mut state = self.state.lock();
        state.disk = state.disk.kill();
        for catalog in state.catalogs.values_mut() {
            *catalog = catalog.kill();
        }
    }

    /// The power failed: what was not synced is kept, lost or torn as the seed says.
    pub fn power_failed(&self) {
        let mut state = self.state.lock();
        state.boots += 1;
        let mut seed = mix(self.seed ^ mix(state.boots));
        state.disk = state.disk.crash(seed);
        for catalog in state.catalogs.values_mut() {
            seed = mix(seed);
            *catalog = catalog.crash(seed);
        }
    }

    /// The node that runs on it, for looking into.
    pub fn server(&self) -> Option<Arc<Server>> {
        self.state.lock().server.upgrade()
    }

    /// A process has started.
    pub fn runs(&self, server: &Arc<Server>) {
        self.state.lock().server = Arc::downgrade(server);
    }

    /// The world as a new process finds it. Within the machine's runtime only.
    pub fn seams(self: &Arc<Self>) -> Seams {
        let (disk, boots, processes) = {
            let mut state = self.state.lock();
            state.processes += 1;
            (state.disk.clone(), state.boots, state.processes)
        };
        let seeded = |purpose: u64| -> Arc<dyn Random> {
            Arc::new(SeededRandom::new(mix(self.seed ^ mix(processes << 8 | purpose))))
        };
        let offload = |purpose| {
            let (slowness, pause) = (Arc::clone(&self.slowness), Arc::clone(&self.pause));
            Arc::new(SimOffload { random: seeded(purpose), slowness, pause })
        };
        let machine = Arc::clone(self);
        let open_catalog = move |path: &Path| -> Result<Arc<dyn Catalog>, CatalogError> {
            let mut state = machine.state.lock();
            let disk = state.disk.clone();
            let catalog = state.catalogs.entry(path.to_owned()).or_default().clone();
            Ok(Arc::new(catalog.on(&disk)))
        };
        let (skew, pause) = (Arc::clone(&self.skew), Arc::clone(&self.pause));
        Seams {
            disk: Arc::new(disk),
            catalog_opener: Arc::new(open_catalog),
            network: Arc::new(SimNetwork::new(&self.name, &self.links)),
            clock: Arc::new(SimClock::begin(Arc::clone(&self.trace), skew, pause)),
            random: seeded(1),
            offload: offload(2),
            quorum_offload: offload(3),
            boot_id: format!("boot-{boots}"),
            loggers: Arc::new(Loggers::new(DEFAULT_DIRECTIVES, |_| Ok(()))),
        }
    }
}
