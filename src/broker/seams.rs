//! The ways in for the world: disks, catalogs, sockets, clocks, chance and blocking work.

use std::path::Path;
use std::sync::Arc;

use crate::broker::loggers::{DEFAULT_DIRECTIVES, Loggers};
use crate::log::{CatalogOpener, kernel_boot_id};
use crate::net::{Network, TcpNetwork};
use crate::storage::{Catalog, CatalogError, Disk, FileDisk, Offload, SledCatalog, ThreadOffload};
use crate::types::Clock;
use crate::types::clock::SystemClock;
use crate::types::random::{Random, SystemRandom};

/// How many threads do blocking work. They wait for disks, so there are more than cores.
const OFFLOAD_THREADS: usize = 8;

/// How many do the quorum's: one syncs the log, one may write a snapshot meanwhile.
const QUORUM_THREADS: usize = 2;

/// Everything through which a node touches the world. A simulated node gets others.
#[derive(Clone)]
pub struct Seams {
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Opens a directory's catalog.
    pub catalog_opener: CatalogOpener,
    /// Connections.
    pub network: Arc<dyn Network>,
    /// Both clocks.
    pub clock: Arc<dyn Clock>,
    /// Chance.
    pub random: Arc<dyn Random>,
    /// Blocking work.
    pub offload: Arc<dyn Offload>,
    /// Blocking work of the metadata quorum: a sync that waits behind checkpoints costs elections.
    pub quorum_offload: Arc<dyn Offload>,
    /// Which boot of the machine this is; empty if that is not known.
    pub boot_id: String,
    /// What is logged.
    pub loggers: Arc<Loggers>,
}

impl Seams {
    /// This machine's, in a process that logs nothing.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn of_this_machine() -> std::io::Result<Seams> {
        let open_catalog = |path: &Path| -> Result<Arc<dyn Catalog>, CatalogError> {
            Ok(Arc::new(SledCatalog::open(path)?))
        };
        Ok(Seams {
            disk: Arc::new(FileDisk),
            catalog_opener: Arc::new(open_catalog),
            network: Arc::new(TcpNetwork),
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandom),
            offload: Arc::new(ThreadOffload::start("ottla-blocking", OFFLOAD_THREADS)?),
            quorum_offload: Arc::new(ThreadOffload::start("ottla-quorum", QUORUM_THREADS)?),
            boot_id: kernel_boot_id(),
            loggers: Arc::new(Loggers::new(DEFAULT_DIRECTIVES, |_| Ok(()))),
        })
    }
}
