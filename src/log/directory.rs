//! One data directory: whose it is, the logs in it, and the task that checkpoints them.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::{Mutex, RwLock};
use tokio::task::JoinHandle;

use crate::log::checkpoint::checkpoint;
use crate::log::error::{OpenError, StorageError};
use crate::log::flush_timers;
use crate::log::future::Futures;
use crate::log::marker::{Markers, PreviousRun};
use crate::log::meta_properties::MetaProperties;
use crate::log::names::{DirectoryName, discarded_name};
use crate::log::opening;
use crate::log::partition_log::Log;
use crate::log::shared::DirectoryShared;
use crate::log::stored;
use crate::storage::{Catalog, CatalogError, DirLock, Disk, Offload, Space, offload};
use crate::types::{
    BrokerEpoch, Clock, DirectoryId, NodeId, Random, TopicIdPartition, TopicPartition, watch,
};

/// How often the logs are checkpointed.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(500);
/// How long a stray log stays before it is removed.
pub const STRAY_KEPT: Duration = Duration::from_secs(24 * 3600);
/// Below this much room, or a fiftieth of a smaller disk, writes are refused, so that the catalog
/// still has room for itself.
const ROOM_KEPT_BYTES: u64 = 32 << 20;

/// Opens the catalog that lies at a path.
pub type CatalogOpener = Arc<dyn Fn(&Path) -> Result<Arc<dyn Catalog>, CatalogError> + Send + Sync>;

/// Which directory to open, and for whom.
#[derive(Debug, Clone)]
pub struct LogDirectoryOptions {
    /// The directory; made if it does not exist.
    pub path: PathBuf,
    /// The cluster that the node belongs to, if it knows.
    pub cluster_id: Option<String>,
    /// The node's id.
    pub node_id: NodeId,
}

/// The seams through which a directory reaches the world.
#[derive(Clone)]
pub struct LogEnvironment {
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// How to open the catalog.
    pub catalog_opener: CatalogOpener,
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Where blocking work runs.
    pub offload: Arc<dyn Offload>,
    /// How many logs of a directory are recovered at a time
    /// (`num.recovery.threads.per.data.dir`), as far as `offload` has threads to spare.
    pub recovery_threads: usize,
    /// Where the directory's id comes from.
    pub random: Arc<dyn Random>,
    /// The machine's boot id ([`crate::log::kernel_boot_id`]); empty: not known, and then a
    /// killed process's directory counts as unclean.
    pub boot_id: String,
}

impl fmt::Debug for LogEnvironment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LogEnvironment").field("disk", &self.disk).finish_non_exhaustive()
    }
}

/// A log whose topic the metadata does not know, renamed out of the way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StrayLog {
    /// Its directory's name.
    pub name: String,
    /// Since when it is stray, in milliseconds since 1970.
    pub since_ms: i64,
}

/// One data directory, locked for this process.
#[derive(Debug)]
pub struct LogDirectory {
    pub(crate) shared: Arc<DirectoryShared>,
    pub(crate) environment: LogEnvironment,
    pub(crate) meta: Mutex<MetaProperties>,
    pub(crate) logs: RwLock<BTreeMap<TopicPartition, Arc<Log>>>,
    pub(crate) futures: RwLock<Futures>,
    pub(crate) previous_run: PreviousRun,
    pub(crate) broker_epoch: Mutex<BrokerEpoch>,
    /// One checkpoint at a time.
    pub(crate) checkpointing: Mutex<()>,
    pub(crate) checkpoints: Mutex<Option<(watch::Sender<bool>, JoinHandle<()>)>>,
    pub(crate) _lock: Box<dyn DirLock>,
}

impl LogDirectory {
    /// Locks the directory, learns whose it is and how its last run ended, and opens every log in
    /// it. Blocks while logs are recovered.
    pub fn open(
        options: LogDirectoryOptions,
        environment: LogEnvironment,
    ) -> Result<Arc<LogDirectory>, OpenError> {
        opening::open(options, environment)
    }

    /// The directory's identity.
    pub fn directory_id(&self) -> DirectoryId {
        self.meta.lock().directory_id
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The cluster that it belongs to, once it belongs to one.
    pub fn cluster_id(&self) -> Option<String> {
        self.meta.lock().cluster_id.clone()
    }

    /// Binds the directory to a cluster, durably.
    pub fn set_cluster_id(&self, cluster_id: &str) -> Result<(), StorageError> {
        let mut meta = self.meta.lock();
        let bound = MetaProperties { cluster_id: Some(cluster_id.to_owned()), ..meta.clone() };
        bound.write(&*self.shared.disk, &self.shared.path)?;
        *meta = bound;
        Ok(())
    }

    /// How the run before this one ended. A log of which nobody knows whether it has moved away
    /// makes it an unclean one.
    pub fn previous_run(&self) -> PreviousRun {
        if self.logs().iter().any(|log| log.moving_to().is_some()) {
            return self.previous_run.damaged();
        }
        self.previous_run
    }

    /// Notes the epoch under which this run is registered, durably: if the process dies, its next
    /// run can show that the logs are as they were.
    pub fn set_broker_epoch(&self, broker_epoch: BrokerEpoch) -> Result<(), StorageError> {
        let mut current = self.broker_epoch.lock();
        self.markers().write_running(broker_epoch)?;
        *current = broker_epoch;
        Ok(())
    }

    /// Notes durably, as far as a failed disk still lets it, that the logs may not be what the
    /// controller believes.
    pub fn note_failure(&self) -> Result<(), StorageError> {
        let mut current = self.broker_epoch.lock();
        *current = BrokerEpoch::NONE;
        self.markers().write_running(BrokerEpoch::NONE)
    }

    pub(crate) fn markers(&self) -> Markers {
        Markers {
            disk: Arc::clone(&self.shared.disk),
            directory: self.shared.path.clone(),
            directory_id: self.directory_id(),
            boot_id: self.environment.boot_id.clone(),
        }
    }

    /// Every log, in the order of their partitions.
    pub fn logs(&self) -> Vec<Arc<Log>> {
        self.logs.read().values().cloned().collect()
    }

    /// How many logs there are.
    pub fn log_count(&self) -> usize {
        self.logs.read().len()
    }

    /// The log of one partition.
    pub fn log(&self, topic_partition: &TopicPartition) -> Option<Arc<Log>> {
        self.logs.read().get(topic_partition).cloned()
    }

    /// Whether a write or a sync has failed, so that nothing more is written here.
    pub fn is_offline(&self) -> bool {
        self.shared.is_offline()
    }

    /// Becomes the reason once the directory goes offline.
    pub fn watch_offline(&self) -> watch::Receiver<Option<String>> {
        self.shared.watch_offline()
    }

    /// Moves whenever one of the logs meets damage: [`Log::segments_to_mend`] then tells where.
    pub fn watch_damage(&self) -> watch::Receiver<u64> {
        self.shared.watch_damage()
    }

    /// Removes a partition's log: the catalog forgets it, durably, and its files go a moment
    /// later. False if there is none.
    pub async fn delete(
        self: &Arc<Self>,
        topic_partition: &TopicPartition,
    ) -> Result<bool, StorageError> {
        let (directory, topic_partition) = (Arc::clone(self), topic_partition.clone());
        let job = move || directory.delete_blocking(&topic_partition);
        offload(&*self.shared.offload, job).await?
    }

    /// As [`LogDirectory::delete`], on the caller's thread.
    pub fn delete_blocking(&self, topic_partition: &TopicPartition) -> Result<bool, StorageError> {
        let Some(log) = self.forget(topic_partition)? else { return Ok(false) };
        let renamed = self.rename(topic_partition, log.path(), DirectoryName::DELETED)?;
        self.shared.discard_later(renamed, log.config().file_delete_delay);
        Ok(true)
    }

    /// Puts the log of a topic that the metadata does not know out of the way; its files stay for
    /// [`STRAY_KEPT`]. False if there is none.
    pub async fn mark_stray(
        self: &Arc<Self>,
        topic_partition: &TopicPartition,
    ) -> Result<bool, StorageError> {
        let (directory, topic_partition) = (Arc::clone(self), topic_partition.clone());
        let job = move || directory.mark_stray_blocking(&topic_partition);
        offload(&*self.shared.offload, job).await?
    }

    /// As [`LogDirectory::mark_stray`], on the caller's thread.
    pub fn mark_stray_blocking(
        &self,
        topic_partition: &TopicPartition,
    ) -> Result<bool, StorageError> {
        let Some(log) = self.forget(topic_partition)? else { return Ok(false) };
        let renamed = self.rename(topic_partition, log.path(), DirectoryName::STRAY)?;
        tracing::warn!(log = %topic_partition, path = %renamed.display(), "the log is stray");
        Ok(true)
    }

    /// Takes a log out of the directory's and the catalog's sight.
    fn forget(&self, topic_partition: &TopicPartition) -> Result<Option<Arc<Log>>, StorageError> {
        // No checkpoint may put the log back while it is forgotten.
        let _checkpoint = self.checkpointing.lock();
        let Some(log) = self.logs.write().remove(topic_partition) else { return Ok(None) };
        log.close();
        let id = TopicIdPartition { topic_id: log.topic_id, partition: topic_partition.partition };
        let catalog = self.shared.gate.catalog();
        let forgotten = self.shared.gate.durably(|batch| stored::delete_log(catalog, batch, id));
        forgotten.and_then(|forgotten| forgotten).map_err(|error| {
            self.shared.go_offline(&format!("catalog: {error}"));
            StorageError::Catalog(error)
        })?;
        Ok(Some(log))
    }

    pub(crate) fn rename(
        &self,
        topic_partition: &TopicPartition,
        path: &Path,
        suffix: &str,
    ) -> Result<PathBuf, StorageError> {
        let since = self.shared.clock.wall();
        let name = discarded_name(topic_partition, since, &*self.environment.random, suffix);
        let renamed = self.shared.path.join(name);
        let (disk, own) = (&self.shared.disk, &self.shared.path);
        let done = disk.rename(path, &renamed).map_err(StorageError::io("rename", path));
        let done = done.and_then(|()| disk.sync_dir(own).map_err(StorageError::io("sync", own)));
        done.inspect_err(|error| self.shared.offline_if_failed(error))?;
        Ok(renamed)
    }

    /// The logs that were put out of the way.
    pub fn strays(&self) -> Result<Vec<StrayLog>, StorageError> {
        let path = &self.shared.path;
        let entries = self.shared.disk.list(path).map_err(StorageError::io("list", path))?;
        let stray = |name: String| match DirectoryName::parse(&name) {
            Some(DirectoryName::Stray { since_ms }) => Some(StrayLog { name, since_ms }),
            _ => None,
        };
        Ok(entries.into_iter().filter_map(|entry| stray(entry.name)).collect())
    }

    /// Makes everything that was appended durable and lets the catalog know it; also removes what
    /// is due, and sees whether the disk has room.
    pub async fn checkpoint(self: &Arc<Self>) -> Result<(), StorageError> {
        let directory = Arc::clone(self);
        offload(&*self.shared.offload, move || directory.checkpoint_blocking()).await?
    }

    /// As [`LogDirectory::checkpoint`], on the caller's thread.
    pub fn checkpoint_blocking(&self) -> Result<(), StorageError> {
        let _one_at_a_time = self.checkpointing.lock();
        if self.is_offline() {
            return self.shared.check_writable();
        }
        self.check_room()?;
        checkpoint(&self.shared, &self.all_logs())?;
        self.shared.empty_trash();
        self.remove_old_strays()
    }

    /// The room on the file system that the directory lies on.
    pub fn space(&self) -> Result<Space, StorageError> {
        let path = &self.shared.path;
        self.shared.disk.space(path).map_err(StorageError::io("ask for the room of", path))
    }

    /// Sees how much room there is. That the directory is gone is a failure, as of a disk that was
    /// pulled.
    fn check_room(&self) -> Result<(), StorageError> {
        match self.space() {
            Ok(space) => {
                let kept = ROOM_KEPT_BYTES.min(space.total_bytes / 50);
                self.shared.set_full(space.available_bytes < kept);
            }
            Err(gone) if gone.is_not_found() => return Err(gone),
            Err(error) => tracing::warn!(%error, "cannot tell how full the disk is"),
        }
        Ok(())
    }

    /// Looks for them now and then only: listing a directory of many logs takes its time.
    fn remove_old_strays(&self) -> Result<(), StorageError> {
        if !self.shared.strays_are_due() {
            return Ok(());
        }
        let now = self.shared.clock.wall();
        let kept_ms = i64::try_from(STRAY_KEPT.as_millis()).unwrap_or(i64::MAX);
        for stray in self.strays()? {
            if now.0.saturating_sub(stray.since_ms) > kept_ms {
                self.shared.discard_later(self.shared.path.join(stray.name), Duration::ZERO);
            }
        }
        Ok(())
    }

    /// Starts the task that checkpoints every [`CHECKPOINT_INTERVAL`], until [`Self::close`].
    pub fn start_checkpoints(self: &Arc<Self>) {
        let mut running = self.checkpoints.lock();
        if running.is_none() {
            let (stop, stopped) = watch::channel(false);
            let checkpoints = checkpoint_regularly(Arc::downgrade(self), stopped.clone());
            let flushes = flush_timers::run(Arc::clone(&self.shared), stopped);
            let task = tokio::spawn(async move {
                tokio::join!(checkpoints, flushes);
            });
            *running = Some((stop, task));
        }
    }

    /// Closes the directory: the logs take no more, everything goes to the device, and the
    /// shutdown counts as clean.
    pub async fn close(self: &Arc<Self>) -> Result<(), StorageError> {
        let running = self.checkpoints.lock().take();
        if let Some((stop, task)) = running {
            stop.send_replace(true);
            if task.await.is_err() {
                tracing::error!("the checkpoint task died");
            }
        }
        let directory = Arc::clone(self);
        offload(&*self.shared.offload, move || directory.close_blocking()).await?
    }

    /// As [`LogDirectory::close`], on the caller's thread, for a directory whose checkpoint task
    /// was not started.
    pub fn close_blocking(&self) -> Result<(), StorageError> {
        let logs = self.all_logs();
        for log in &logs {
            log.refuse_writes();
        }
        self.checkpoint_blocking()?;
        // What was applied without a flush, such as how far logs are compacted.
        self.shared.gate.durably(|_| ())?;
        for log in &logs {
            log.close();
        }
        self.markers().end(*self.broker_epoch.lock())
    }
}

async fn checkpoint_regularly(directory: Weak<LogDirectory>, mut stopped: watch::Receiver<bool>) {
    let mut interval = tokio::time::interval(CHECKPOINT_INTERVAL);
    interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            _ = stopped.changed() => return,
            _ = interval.tick() => {}
        }
        let Some(directory) = directory.upgrade() else { return };
        if let Err(error) = directory.checkpoint().await {
            tracing::error!(path = %directory.path().display(), %error, "the checkpoint failed");
            directory.shared.go_offline(&error.to_string());
            return;
        }
    }
}
