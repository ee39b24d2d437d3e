//! All replicas of this node: made, changed and given up as the metadata says, in its order.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::StreamExt;
use parking_lot::{Mutex, RwLock};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::MissedTickBehavior;

use super::fetcher::{Fetchers, Way};
use super::isr_changes::UnderWay;
use super::leader::IsrProposal;
use super::moves::Moves;
use super::options::{AlterIsr, NodeContext, ReplicaOptions, Surrounds, World};
use super::partition::{Partition, Registration};
use super::places::Misplaced;
use super::repair::Repairer;
use super::suspects::Suspects;
use crate::log::LogDirectory;
use crate::metadata::{BrokerRegistration, Image, LocalReplica, MetadataSource, broker_delta};
use crate::net::Network;
use crate::storage::Offload;
use crate::types::{Clock, ErrorCode, NodeId, TopicName, TopicPartition, watch};

/// How many replicas change their roles at a time: those that do share the syncs of the directory and
/// of the catalog.
const ROLE_CHANGES_AT_A_TIME: usize = 1_024;

/// Between two attempts to tell the controller where replicas lie.
const TELL_AGAIN: Duration = Duration::from_secs(1);

/// What the replicas of a node are made from.
pub struct ReplicasParts {
    /// This node.
    pub node: NodeId,
    /// Its data directories that could be opened.
    pub directories: Vec<Arc<LogDirectory>>,
    /// Its data directories that could not: the replicas in them are offline.
    pub unopened: Vec<PathBuf>,
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
pub(super) enum Hosted {
    Online(Arc<Partition>),
    /// Its directory has failed.
    Offline,
}

/// All replicas of this node.
pub struct Replicas {
    pub(super) context: Arc<NodeContext>,
    pub(super) directories: Vec<Arc<LogDirectory>>,
    pub(super) unopened: Vec<PathBuf>,
    pub(super) misplaced: Misplaced,
    pub(super) moves: Moves,
    pub(super) metadata: Arc<dyn MetadataSource>,
    alter_isr: Arc<dyn AlterIsr>,
    way: Arc<Way>,
    repairer: Repairer,
    pub(super) offload: Arc<dyn Offload>,
    pub(super) hosted: RwLock<BTreeMap<TopicPartition, Hosted>>,
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
        let way = Way::new(Arc::clone(&context), parts.network, Arc::clone(&parts.metadata));
        Arc::new(Self {
            context,
            repairer: Repairer::new(Arc::clone(&way)),
            way,
            directories: parts.directories,
            unopened: parts.unopened,
            misplaced: Misplaced::default(),
            moves: Moves::default(),
            metadata: parts.metadata,
            alter_isr: parts.alter_isr,
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
        let fetchers = Fetchers::new(Arc::clone(&self.way));
        let mut tasks = JoinSet::new();
        tasks.spawn(Arc::clone(self).follow_metadata(Arc::clone(&fetchers)));
        tasks.spawn(Arc::clone(self).serve_isrs(proposals));
        tasks.spawn(Arc::clone(self).watch_directories());
        tasks.spawn(Arc::clone(self).correct_places());
        tasks.spawn(Arc::clone(self).move_replicas());
        tasks.spawn(Arc::clone(self).mend_what_is_reported());
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

    pub(super) fn repairer(&self) -> &Repairer {
        &self.repairer
    }

    /// The data directories that could be opened.
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
        // Before the roles: a leader that learns of a smaller ISR and of a higher minimum at once must
        // not acknowledge by the one before it knows the other.
        if delta.broker_configs_changed {
            image.topics.keys().for_each(|topic| self.configure(image, topic));
        } else {
            delta.topic_configs_changed.iter().for_each(|topic| self.configure(image, topic));
        }
        let replicas = delta.leaders.into_iter().chain(delta.followers);
        let changes = replicas.map(|replica| self.change(image, replica, fetchers));
        futures::stream::iter(changes)
            .buffer_unordered(ROLE_CHANGES_AT_A_TIME)
            .for_each(|()| std::future::ready(()))
            .await;
        if delta.brokers_changed {
            self.note_offline_replicas(known, image);
            fetchers.brokers_changed();
            self.online().iter().for_each(|partition| partition.reconsider());
        }
    }

    async fn change(&self, image: &Image, replica: LocalReplica, fetchers: &Fetchers) {
        let hosted = self.host(image, &replica).await;
        let lies_in = hosted.as_ref().map(|partition| partition.log().directory_id());
        self.misplaced.note(self.context.node, &replica, lies_in);
        let Some(partition) = hosted else { return };
        partition.apply(Registration::of(image, &replica.partition)).await;
        if let Some(leader) = partition.followed_leader() {
            fetchers.add(leader, partition);
        }
    }

    /// Takes down, where directories of brokers have come or gone, which replicas that concerns.
    fn note_offline_replicas(&self, known: &Image, image: &Image) {
        let has_changed = image.brokers.values().any(|broker| {
            let before = known.broker(broker.node_id);
            before.is_some_and(|before| before.directories != broker.directories)
        });
        for partition in self.online().into_iter().filter(|_| has_changed) {
            if let Some(registered) = image.partition(partition.topic_partition()) {
                partition.set_offline_replicas(image.offline_replicas(registered).collect());
            }
        }
    }

    /// Tells the controller of replicas that lie elsewhere than the metadata says, until it says so.
    async fn correct_places(self: Arc<Self>) {
        loop {
            let misplaced = self.misplaced.all();
            if misplaced.is_empty() {
                self.misplaced.changed().await;
                continue;
            }
            if let Err(error) = self.alter_isr.assign_directories(misplaced).await {
                tracing::debug!(%error, "the controller was not told where replicas lie");
            }
            // What is told is taken off the list when the metadata has it.
            let again = tokio::time::timeout(TELL_AGAIN, self.misplaced.changed());
            again.await.unwrap_or_default();
        }
    }

    fn configure(&self, image: &Image, topic: &TopicName) {
        let Some(topic) = image.topic(topic) else { return };
        let settings = self.context.surrounds.settings(image, topic);
        for index in topic.partitions.keys() {
            let name = TopicPartition { topic: topic.name.clone(), partition: *index };
            let hosted = self.hosted.read().get(&name).cloned();
            if let Some(Hosted::Online(partition)) = hosted {
                partition.configure(settings.clone());
            }
        }
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
}
