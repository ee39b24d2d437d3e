//! How the previous run of a directory ended (rule 15). Two files tell it: the running marker,
//! which is there from opening to closing, and Kafka's clean-shutdown marker.

use std::path::PathBuf;
use std::sync::Arc;

use crate::log::error::StorageError;
use crate::log::format::{RunningMarker, from_bytes, to_bytes};
use crate::storage::Disk;
use crate::types::{BrokerEpoch, DirectoryId};

const RUNNING: &str = ".ottla_running";
const CLEAN_SHUTDOWN: &str = ".kafka_cleanshutdown";

/// How the previous run ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PreviousRun {
    /// There was none: the directory is new.
    Fresh,
    /// It closed the directory.
    Clean {
        /// Its broker epoch.
        broker_epoch: BrokerEpoch,
    },
    /// Its process died, but the machine has been up since: the page cache has survived, so
    /// nothing is lost.
    ProcessDied {
        /// Its broker epoch.
        broker_epoch: BrokerEpoch,
    },
    /// The machine stopped, or nobody knows: what was not synced may be lost.
    Unclean {
        /// Its broker epoch, if it is known.
        broker_epoch: Option<BrokerEpoch>,
    },
}

impl PreviousRun {
    /// The broker epoch under which this directory's logs are as the controller believes; `None`
    /// if they may have lost something.
    pub fn intact_epoch(self) -> Option<BrokerEpoch> {
        match self {
            PreviousRun::Clean { broker_epoch } | PreviousRun::ProcessDied { broker_epoch } => {
                Some(broker_epoch)
            }
            PreviousRun::Fresh | PreviousRun::Unclean { .. } => None,
        }
    }

    fn known_epoch(self) -> Option<BrokerEpoch> {
        match self {
            PreviousRun::Unclean { broker_epoch } => broker_epoch,
            PreviousRun::Fresh | PreviousRun::Clean { .. } | PreviousRun::ProcessDied { .. } => {
                self.intact_epoch()
            }
        }
    }

    /// The same run, now that its logs have turned out to be damaged.
    pub(crate) fn damaged(self) -> PreviousRun {
        PreviousRun::Unclean { broker_epoch: self.known_epoch() }
    }
}

/// The markers of one directory.
#[derive(Debug, Clone)]
pub(crate) struct Markers {
    pub(crate) disk: Arc<dyn Disk>,
    pub(crate) directory: PathBuf,
    pub(crate) directory_id: DirectoryId,
    pub(crate) boot_id: String,
}

impl Markers {
    /// Whether a file of that name is one of the markers.
    pub(crate) fn is_marker(name: &str) -> bool {
        [RUNNING, CLEAN_SHUTDOWN].contains(&name)
    }

    /// Reads both markers, before any log is loaded.
    pub(crate) fn previous_run(&self, is_new: bool) -> PreviousRun {
        if let Some(broker_epoch) = self.read_clean() {
            return PreviousRun::Clean { broker_epoch };
        }
        match self.read_running() {
            Some(marker) => {
                let broker_epoch = BrokerEpoch(marker.broker_epoch);
                let known = broker_epoch != BrokerEpoch::NONE;
                let same_boot = !self.boot_id.is_empty() && *marker.boot_id == *self.boot_id;
                if known && same_boot && marker.directory_id == self.directory_id.0 {
                    PreviousRun::ProcessDied { broker_epoch }
                } else {
                    PreviousRun::Unclean { broker_epoch: known.then_some(broker_epoch) }
                }
            }
            None if is_new => PreviousRun::Fresh,
            None => PreviousRun::Unclean { broker_epoch: None },
        }
    }

    /// Whether the page cache may hold what an earlier process could not sync: no run has closed
    /// the directory since, and the machine is not known to have stopped.
    pub(crate) fn cache_survived(&self) -> bool {
        let other_boot = |marker: RunningMarker| {
            let boots = [&*marker.boot_id, &*self.boot_id];
            boots.iter().all(|boot| !boot.is_empty()) && boots[0] != boots[1]
        };
        self.read_clean().is_none() && !self.read_running().is_some_and(other_boot)
    }

    /// Notes that a run has begun whose logs are as `previous` left them, and only then removes
    /// the clean marker: whatever happens from here on is not a clean shutdown.
    pub(crate) fn begin(&self, previous: PreviousRun) -> Result<(), StorageError> {
        self.write_running(previous.intact_epoch().unwrap_or(BrokerEpoch::NONE))?;
        self.remove(CLEAN_SHUTDOWN)
    }

    /// Notes the running broker's epoch.
    pub(crate) fn write_running(&self, broker_epoch: BrokerEpoch) -> Result<(), StorageError> {
        let marker = RunningMarker {
            broker_epoch: broker_epoch.0,
            directory_id: self.directory_id.0,
            boot_id: self.boot_id.as_str().into(),
        };
        let mut content = to_bytes(&marker);
        content.extend_from_slice(&crc32c::crc32c(&content).to_be_bytes());
        self.write(RUNNING, &content)
    }

    /// Notes that everything is on the device.
    pub(crate) fn end(&self, broker_epoch: BrokerEpoch) -> Result<(), StorageError> {
        self.write(CLEAN_SHUTDOWN, clean_marker(broker_epoch).as_bytes())?;
        self.remove(RUNNING)
    }

    fn read_running(&self) -> Option<RunningMarker> {
        let content = self.disk.read(&self.directory.join(RUNNING)).ok()?;
        let (message, crc) = content.split_last_chunk::<4>()?;
        let whole = crc32c::crc32c(message) == u32::from_be_bytes(*crc);
        // A marker that cannot be read tells nothing, which is not a clean shutdown either.
        let damaged = RunningMarker { broker_epoch: -1, ..RunningMarker::default() };
        Some(if whole { from_bytes(message).unwrap_or(damaged) } else { damaged })
    }

    fn read_clean(&self) -> Option<BrokerEpoch> {
        let content = self.disk.read(&self.directory.join(CLEAN_SHUTDOWN)).ok()?;
        let json: serde_json::Value = serde_json::from_slice(&content).ok()?;
        let epoch = json.get("brokerEpoch")?.as_i64().map(BrokerEpoch)?;
        // It has no checksum: anything but what is written there is not trusted.
        (content == clean_marker(epoch).as_bytes()).then_some(epoch)
    }

    fn write(&self, name: &str, content: &[u8]) -> Result<(), StorageError> {
        let path = self.directory.join(name);
        self.disk.write_atomic(&path, content).map_err(StorageError::io("write", &path))
    }

    fn remove(&self, name: &str) -> Result<(), StorageError> {
        let path = self.directory.join(name);
        if self.disk.exists(&path) {
            self.disk.remove_file(&path).map_err(StorageError::io("remove", &path))?;
        }
        self.disk.sync_dir(&self.directory).map_err(StorageError::io("sync", &self.directory))
    }
}

/// Kafka's clean-shutdown marker, byte for byte.
fn clean_marker(broker_epoch: BrokerEpoch) -> String {
    format!("{{\"version\":0,\"brokerEpoch\":{broker_epoch}}}")
}

/// The kernel's boot id, by which a restarted machine is told from a restarted process; empty
/// where there is none.
pub fn kernel_boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|id| id.trim().to_owned())
        .unwrap_or_default()
}
