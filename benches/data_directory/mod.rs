//! A data directory on a real disk with a real catalog, as the benchmarks of logs use it.

use std::path::Path;
use std::sync::Arc;

use ottla::log::{LogDirectory, LogDirectoryOptions, LogEnvironment, kernel_boot_id};
use ottla::storage::{Catalog, FileDisk, Offload, SledCatalog};
use ottla::types::NodeId;
use ottla::types::clock::SystemClock;
use ottla::types::random::SystemRandom;

/// Opens the directory, which is made if it is not there. `recovery_threads`: how many of
/// `offload`'s threads open the logs that are in it.
pub fn open(path: &Path, offload: Arc<dyn Offload>, recovery_threads: usize) -> Arc<LogDirectory> {
    let environment = LogEnvironment {
        disk: Arc::new(FileDisk),
        catalog_opener: Arc::new(|path| {
            SledCatalog::open(path).map(|catalog| Arc::new(catalog) as Arc<dyn Catalog>)
        }),
        clock: Arc::new(SystemClock::new()),
        offload,
        recovery_threads,
        random: Arc::new(SystemRandom),
        boot_id: kernel_boot_id(),
    };
    let options =
        LogDirectoryOptions { path: path.to_owned(), cluster_id: None, node_id: NodeId(1) };
    LogDirectory::open(options, environment).unwrap()
}
