//! All replicas of this node: made, changed and given up as the metadata says, in its order.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::StreamExt;
use parking_lot::{Mutex, RwLock};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::fetcher::Fetchers;
use super::isr_changes::UnderWay;
use super::leader::IsrProposal;
use super::options::{AlterIsr, NodeContext, ReplicaOptions, Surrounds, World};
use super::partition::{Partition, Registration};
use super::suspects::Suspects;
use crate::controller::METADATA_TOPIC_ID;
use crate::log::{CreateError, Log, LogConfig, LogDirectory, StorageError};
use crate::metadata::{
    BrokerRegistration, Image, LocalReplica, MetadataSource, RemovedReplica, Topic, broker_delta,
};
use crate::net::Network;
use crate::storage::{Offload, offload};
use crate::types::{Clock, ErrorCode, NodeId, TopicName, TopicPartition};

/// How many replicas change their roles at a time: enough to share syncs of the catalog.
const ROLE_CHANGES_AT_A_TIME: usize = 64;

/// What the replicas of a node are made from.
pub struct ReplicasParts {
    /// This node.
    pub node: NodeId,
    /// Its data directories that are online.
    pub directories: Vec<Arc<LogDirectory>>,
    /// Where the metadata is read.
    pub metadata: Arc<dyn MetadataSource>,
    /// The way to the controller.
    pub alter_isr: Arc<dyn AlterIsr>,
    /// The way to other brokers.
    pub network: Arc<dyn Network>,
    /// Where blocking work runs.
    pub offload: Arc<dyn Offload>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What happens around.
    pub surrounds: Arc<dyn Surrounds>,
    /// Settings.
    pub options: ReplicaOptions,
}

type Proposed = (Arc<Partition>, IsrProposal);

/// A replica, or what is left of it.
#[derive(Debug, Clone)]
enum Hosted {
    Online(Arc<Partition>),
    /// Its directory has failed.
    Offline,
}

/// All replicas of this node.
pub struct Replicas {
    pub(super) context: Arc<NodeContext>,
    directories: Vec<Arc<LogDirectory>>,
    metadata: Arc<dyn MetadataSource>,
    alter_isr: Arc<dyn AlterIsr>,
    network: Arc<dyn Network>,
    offload: Arc<dyn Offload>,
    hosted: RwLock<BTreeMap<TopicPartition, Hosted>>,
    proposals: Mutex<Option<mpsc::UnboundedReceiver<Proposed>>>,
    applied: watch::Sender<u64>,
    failure: watch::Sender<Option<String>>,
    stopping: watch::Sender<bool>,
    supervisor: Mutex<Option<JoinHandle<()>>>,
}

impl std::fmt::Debug for Replicas {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Replicas").field("node", &self.context.node).finish_non_exhaustive()
    }
}

impl Replicas {
    /// Takes everything that it needs; nothing happens before [`Replicas::start`].
    pub fn new(parts: ReplicasParts) -> Arc<Self> {
        // Bounded by the partitions: each has at most one proposal under way (rule 7).
        let (proposals, receiver) = mpsc::unbounded_channel();
        let context = Arc::new(NodeContext {
            node: parts.node,
            options: parts.options,
            surrounds: parts.surrounds,
            clock: parts.clock,
            world: ArcSwap::default(),
            suspects: Suspects::default(),
            proposals,
        });
        Arc::new(Self {
            context,
            directories: parts.directories,
            metadata: parts.metadata,
            alter_isr: parts.alter_isr,
            network: parts.network,
            offload: parts.offload,
            hosted: RwLock::default(),
            proposals: Mutex::new(Some(receiver)),
            applied: watch::Sender::new(0),
            failure: watch::Sender::new(None),
            stopping: watch::Sender::new(false),
            supervisor: Mutex::default(),
        })
    }

    /// Begins to follow the metadata. A second call does nothing.
    pub fn start(self: &Arc<Self>) {
        let Some(proposals) = self.proposals.lock().take() else { return };
        let fetchers = Fetchers::new(
            Arc::clone(&self.context),
            Arc::clone(&self.network),
            Arc::clone(&self.metadata),
        );
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(self).follow_metadata(Arc::clone(&fetchers)));
        tasks.spawn(Arc::clone(self).serve_isrs(proposals));
        tasks.spawn(Arc::clone(self).watch_directories());
        tasks.spawn(fetchers.run());
        *self.supervisor.lock() = Some(tokio::spawn(Arc::clone(self).supervise(tasks)));
    }

    async fn supervise(self: Arc<Self>, mut tasks: JoinSet<()>) {
        let mut stopping = self.stopping.subscribe();
        tokio::select! {
            biased;
            _ = stopping.wait_for(|stopping| *stopping) => {}
            ended = tasks.join_next() => {
                let reason = match ended {
                    Some(Err(error)) => format!("a task of the replicas has failed: {error}"),
                    Some(Ok(())) | None => "a task of the replicas has ended".to_owned(),
                };
                tracing::error!(reason);
                self.failure.send_replace(Some(reason));
            }
        }
        tasks.shutdown().await;
    }

    /// Stops following, fetching and proposing; the replicas answer as closed.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        let supervisor = self.supervisor.lock().take();
        if let Some(supervisor) = supervisor
            && let Err(error) = supervisor.await
        {
            tracing::error!(%error, "the replicas did not stop well");
        }
        for partition in self.online() {
            partition.close();
        }
    }

    /// Returns, with the reason, if a task of the replicas has failed: the node must stop.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        loop {
            if let Some(reason) = failure.borrow_and_update().clone() {
                return reason;
            }
            if failure.changed().await.is_err() {
                return "the replicas are gone".to_owned();
            }
        }
    }

    /// This node.
    pub fn node_id(&self) -> NodeId {
        self.context.node
    }

    /// Tells which version of the metadata has been applied, and each newer one.
    pub fn applied(&self) -> watch::Receiver<u64> {
        self.applied.subscribe()
    }

    /// The replica of a partition on this node. NOT_LEADER_OR_FOLLOWER: the partition exists
    /// elsewhere; KAFKA_STORAGE_ERROR: its directory has failed.
    pub fn partition(&self, topic_partition: &TopicPartition) -> Result<Arc<Partition>, ErrorCode> {
        match self.hosted.read().get(topic_partition) {
            Some(Hosted::Online(partition)) => return Ok(Arc::clone(partition)),
            Some(Hosted::Offline) => return Err(ErrorCode::KafkaStorageError),
            None => {}
        }
        match self.metadata.image().partition(topic_partition) {
            Some(_) => Err(ErrorCode::NotLeaderOrFollower),
            None => Err(ErrorCode::UnknownTopicOrPartition),
        }
    }

    /// Whether a broker that the metadata holds for alive is probably dead: a fetch from it has
    /// just failed, and no other has succeeded since.
    pub fn is_suspect(&self, broker: &BrokerRegistration) -> bool {
        let now = self.context.clock.monotonic();
        self.context.suspects.has(broker.node_id, broker.broker_epoch, now)
    }

    /// Every replica on this node whose directory works, in the order of their names.
    pub fn online(&self) -> Vec<Arc<Partition>> {
        let hosted = self.hosted.read();
        hosted
            .values()
            .filter_map(|hosted| match hosted {
                Hosted::Online(partition) => Some(Arc::clone(partition)),
                Hosted::Offline => None,
            })
            .collect()
    }

    /// The newest metadata that this node has, which may not be applied here yet.
    pub fn image(&self) -> Arc<Image> {
        self.metadata.image()
    }

    /// The data directories.
    pub fn directories(&self) -> &[Arc<LogDirectory>] {
        &self.directories
    }

    async fn follow_metadata(self: Arc<Self>, fetchers: Arc<Fetchers>) {
        let mut versions = self.metadata.subscribe();
        let mut known = Arc::new(Image::default());
        loop {
            versions.borrow_and_update();
            let image = self.metadata.image();
            self.apply(&known, &image, &fetchers).await;
            self.applied.send_replace(image.version());
            known = image;
            if versions.changed().await.is_err() {
                return futures::future::pending().await;
            }
        }
    }

    async fn apply(&self, known: &Image, image: &Arc<Image>, fetchers: &Fetchers) {
        let delta = broker_delta(known, image, self.context.node);
        if delta.brokers_changed {
            self.context.world.store(Arc::new(World::of(image)));
        }
        for removed in &delta.removed {
            self.give_up(removed).await;
        }
        let replicas = delta.leaders.into_iter().chain(delta.followers);
        let changes = replicas.map(|replica| self.change(image, replica, fetchers));
        futures::stream::iter(changes)
            .buffer_unordered(ROLE_CHANGES_AT_A_TIME)
            .for_each(|()| std::future::ready(()))
            .await;
        for topic in &delta.topic_configs_changed {
            self.configure(image, topic);
        }
        if delta.brokers_changed {
            fetchers.brokers_changed();
            self.online().iter().for_each(|partition| partition.reconsider());
        }
    }

    async fn change(&self, image: &Image, replica: LocalReplica, fetchers: &Fetchers) {
        let Some(partition) = self.host(image, &replica).await else { return };
        partition.apply(Registration::from(&*replica.partition)).await;
        if let Some(leader) = partition.followed_leader() {
            fetchers.add(leader, partition);
        }
    }

    /// The replica that the metadata speaks of; its log is made if it is not there yet.
    async fn host(&self, image: &Image, replica: &LocalReplica) -> Option<Arc<Partition>> {
        let name = &replica.topic_partition;
        let hosted = self.hosted.read().get(name).cloned();
        match hosted {
            Some(Hosted::Online(partition)) if partition.topic_id() == replica.topic_id => {
                return Some(partition);
            }
            Some(Hosted::Offline) => return None,
            Some(Hosted::Online(_)) | None => {}
        }
        let topic = image.topic(&name.topic)?;
        match self.open(image, topic, replica).await {
            Ok(partition) => {
                let online = Hosted::Online(Arc::clone(&partition));
                self.hosted.write().insert(name.clone(), online);
                Some(partition)
            }
            Err(error) => {
                tracing::error!(partition = %name, %error, "the replica's log cannot be opened");
                self.hosted.write().insert(name.clone(), Hosted::Offline);
                None
            }
        }
    }

    async fn open(
        &self,
        image: &Image,
        topic: &Topic,
        replica: &LocalReplica,
    ) -> Result<Arc<Partition>, CreateError> {
        let settings = self.context.surrounds.settings(image, topic);
        let log = match self.existing_log(replica).await? {
            Some(log) => {
                log.set_config(settings.log.clone());
                log
            }
            None => self.create(replica, settings.log.clone()).await?,
        };
        Ok(Partition::new(log, Arc::clone(&self.context), &settings))
    }

    /// The replica's log, if a directory has it. A log of that name with another topic id is of a
    /// topic that is gone: it is set aside.
    async fn existing_log(&self, replica: &LocalReplica) -> Result<Option<Arc<Log>>, StorageError> {
        for directory in &self.directories {
            let Some(log) = directory.log(&replica.topic_partition) else { continue };
            if log.topic_id() == replica.topic_id {
                return Ok(Some(log));
            }
            directory.mark_stray(&replica.topic_partition).await?;
        }
        Ok(None)
    }

    async fn create(
        &self,
        replica: &LocalReplica,
        config: LogConfig,
    ) -> Result<Arc<Log>, CreateError> {
        let directory = Arc::clone(self.directory_for(replica));
        let (name, topic_id) = (replica.topic_partition.clone(), replica.topic_id);
        offload(&*self.offload, move || directory.create(&name, topic_id, config))
            .await
            .map_err(StorageError::from)?
    }

    /// Where the metadata wants the replica, or else where fewest logs are.
    fn directory_for(&self, replica: &LocalReplica) -> &Arc<LogDirectory> {
        let wanted = replica.partition.directory_of(self.context.node);
        let online = || self.directories.iter().filter(|directory| !directory.is_offline());
        online()
            .find(|directory| Some(directory.directory_id()) == wanted)
            .or_else(|| online().min_by_key(|directory| directory.logs().len()))
            .unwrap_or(&self.directories[0])
    }

    async fn give_up(&self, removed: &RemovedReplica) {
        let name = &removed.topic_partition;
        let is_it = |hosted: &Hosted| match hosted {
            Hosted::Online(partition) => partition.topic_id() == removed.topic_id,
            Hosted::Offline => true,
        };
        let taken = {
            let mut hosted = self.hosted.write();
            if hosted.get(name).is_some_and(is_it) { hosted.remove(name) } else { None }
        };
        if let Some(Hosted::Online(partition)) = taken {
            partition.close();
        }
        for directory in &self.directories {
            let Some(log) = directory.log(name) else { continue };
            if log.topic_id() == removed.topic_id
                && let Err(error) = directory.delete(name).await
            {
                tracing::error!(partition = %name, %error, "cannot delete the log");
            }
        }
    }

    fn configure(&self, image: &Image, topic: &TopicName) {
        let Some(topic) = image.topic(topic) else { return };
        for index in topic.partitions.keys() {
            let name = TopicPartition { topic: topic.name.clone(), partition: *index };
            let hosted = self.hosted.read().get(&name).cloned();
            if let Some(Hosted::Online(partition)) = hosted {
                partition.configure(self.context.surrounds.settings(image, topic));
            }
        }
    }

    /// Resolves every topic's configuration again: the broker's own defaults have changed.
    pub fn reconfigure(&self) {
        let image = self.metadata.image();
        for topic in image.topics.values() {
            self.configure(&image, &topic.name);
        }
    }

    /// Sets aside the logs of topics that the metadata does not know. Call it once the metadata
    /// that is applied is newer than this node's registration.
    pub async fn set_strays_aside(&self) -> Result<(), StorageError> {
        let image = self.metadata.image();
        for directory in &self.directories {
            let logs = directory.logs().into_iter();
            for log in logs.filter(|log| log.topic_id() != METADATA_TOPIC_ID) {
                let name = log.topic_partition();
                let known = image.topic_by_id(log.topic_id()).is_some_and(|topic| {
                    let partition = topic.partition(name.partition);
                    topic.name == name.topic
                        && partition.is_some_and(|it| it.is_replica(self.context.node))
                });
                if !known {
                    tracing::warn!(log = %name, topic_id = %log.topic_id(), "set aside as stray");
                    directory.mark_stray(name).await?;
                }
            }
        }
        Ok(())
    }

    /// Puts proposals to the controller and looks for lagging members of ISRs.
    async fn serve_isrs(self: Arc<Self>, mut proposals: mpsc::UnboundedReceiver<Proposed>) {
        let mut under_way = UnderWay::default();
        let period = self.context.options.lag_max / 2;
        let mut shrinks = tokio::time::interval(period.max(Duration::from_millis(1)));
        shrinks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                proposed = proposals.recv() => match proposed {
                    Some((partition, proposal)) => {
                        under_way.put(partition, proposal, Arc::clone(&self.alter_isr));
                    }
                    None => return,
                },
                () = under_way.drive() => {}
                _ = shrinks.tick() => {
                    self.online().iter().for_each(Partition::shrink_isr);
                }
            }
        }
    }

    /// Takes the replicas of a directory offline when it fails.
    async fn watch_directories(self: Arc<Self>) {
        let watches = self.directories.iter().map(|directory| async {
            let mut offline = directory.watch_offline();
            let reason = match offline.wait_for(Option::is_some).await {
                Ok(reason) => reason.clone().unwrap_or_default(),
                Err(_closed) => return,
            };
            let id = directory.directory_id();
            tracing::error!(directory = %id, reason, "the directory has failed");
            self.take_offline(directory);
            self.context.surrounds.directory_failed(id);
        });
        futures::future::join_all(watches).await;
        futures::future::pending::<()>().await;
    }

    fn take_offline(&self, directory: &Arc<LogDirectory>) {
        for log in directory.logs() {
            let name = log.topic_partition().clone();
            let before = self.hosted.write().insert(name, Hosted::Offline);
            if let Some(Hosted::Online(partition)) = before {
                partition.fail("its directory has failed");
            }
        }
    }
}
