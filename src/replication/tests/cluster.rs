//! Several nodes in one process. The test is the controller: it changes the metadata and says who
//! learns of it; ISR changes that leaders propose are taken as the real one would take them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use uuid::Uuid;

use super::seen::Seen;
use super::service::ReplicaService;
use crate::log::{Log, LogDirectory, LogDirectoryOptions, LogEnvironment, settle_moves};
use crate::metadata::{
    BrokerRegistration, Cause, ConfigResource, Endpoint, Image, LeaderRecoveryState,
    MetadataRecord, Partition as Registered, SecurityProtocol, Topic, election,
};
use crate::net::server::{Class, Server, ServerLimits};
use crate::net::{HostPort, Network, TcpNetwork};
use crate::record::{BatchBuilder, Record, batches};
use crate::replication::leader::IsrConfirmed;
use crate::replication::{
    AlterIsr, IsrChange, Partition, PlacedReplica, ReplicaOptions, Replicas, ReplicasParts,
    Surrounds, TopicSettings,
};
use crate::storage::{Catalog, InlineOffload, MemoryCatalog, MemoryDisk};
use crate::types::clock::SystemClock;
use crate::types::random::SeededRandom;
use crate::types::{
    BrokerEpoch, Clock, DirectoryId, ErrorCode, IncarnationId, LeaderEpoch, NodeId, Offset,
    PartitionEpoch, PartitionId, ProducerEpoch, ProducerId, TimestampMs, TopicId, TopicPartition,
};

const PATIENCE: Duration = Duration::from_secs(20);

/// The controller's part, shared by all nodes.
pub(super) struct Controller {
    image: Mutex<Image>,
    nodes: Mutex<BTreeMap<NodeId, Arc<Seen>>>,
    /// What it answers to ISR changes instead of taking them.
    refuses: Mutex<Option<ErrorCode>>,
    /// The nodes that learn of nothing new.
    withheld: Mutex<BTreeSet<NodeId>>,
    min_isr: usize,
    pub(super) asked: Mutex<Vec<IsrChange>>,
}

struct Way(Arc<Controller>, NodeId);

impl AlterIsr for Way {
    fn alter_partition(
        &self,
        change: IsrChange,
    ) -> BoxFuture<'static, Result<IsrConfirmed, ErrorCode>> {
        let answer = self.0.alter(self.1, change);
        Box::pin(std::future::ready(answer))
    }

    fn assign_directories(
        &self,
        replicas: Vec<PlacedReplica>,
    ) -> BoxFuture<'static, Result<(), ErrorCode>> {
        let is_recorded = |replica: &PlacedReplica| {
            let image = self.0.image.lock();
            let topic = image.topic_by_id(replica.topic_id);
            let partition = topic.and_then(|topic| topic.partition(replica.partition));
            let recorded = partition.and_then(|partition| partition.directory_of(self.1));
            recorded.is_some_and(|recorded| recorded != DirectoryId::ZERO)
        };
        // Tests that are not about directories say nothing of them, and hear nothing.
        let replicas: Vec<_> = replicas.into_iter().filter(is_recorded).collect();
        if !replicas.is_empty() {
            self.0.assign(self.1, &replicas);
        }
        Box::pin(std::future::ready(Ok(())))
    }
}

impl Controller {
    fn alter(&self, from: NodeId, change: IsrChange) -> Result<IsrConfirmed, ErrorCode> {
        self.asked.lock().push(change.clone());
        if let Some(error) = *self.refuses.lock() {
            return Err(error);
        }
        let (known, min_isr) = {
            let image = self.image.lock();
            let topic = image.topic_by_id(change.topic_id).ok_or(ErrorCode::UnknownTopicId)?;
            let known = topic.partition(change.partition).unwrap().clone();
            let min_isr = configured_min_isr(topic).unwrap_or(self.min_isr);
            let eligible = change.isr.iter().all(|member| {
                image.broker(member.node).is_some_and(|broker| {
                    broker.is_active() && broker.broker_epoch == member.broker_epoch
                })
            });
            if known.leader_epoch != change.leader_epoch || known.leader != Some(from) {
                return Err(ErrorCode::FencedLeaderEpoch);
            }
            if known.partition_epoch != change.partition_epoch {
                return Err(ErrorCode::InvalidUpdateVersion);
            }
            if !eligible {
                return Err(ErrorCode::IneligibleReplica);
            }
            (known, min_isr)
        };
        let reported = election::Change {
            isr: change.isr.iter().map(|member| member.node).collect(),
            unclean: &[],
            min_isr: election::effective_min_isr(min_isr, known.replicas.len()),
            search: election::Search::Any,
            may_lead: &|_| true,
        };
        let state = match election::change(&known, &reported) {
            Some(outcome) => outcome.partition,
            None => (*known).clone(),
        };
        let (leader_epoch, partition_epoch) = (state.leader_epoch, state.partition_epoch);
        let (isr, elr) = (state.isr.clone(), state.elr.clone());
        self.record(MetadataRecord::Partition {
            topic_id: change.topic_id,
            partition: change.partition,
            state: Arc::new(state),
            cause: Cause::IsrReported(from),
        });
        self.publish();
        Ok(IsrConfirmed { leader_epoch, partition_epoch, isr, elr })
    }

    /// Takes down where replicas of `from` lie.
    fn assign(&self, from: NodeId, replicas: &[PlacedReplica]) {
        for replica in replicas {
            let image = self.image.lock().clone();
            let topic = image.topic_by_id(replica.topic_id).unwrap();
            let mut state = (**topic.partition(replica.partition).unwrap()).clone();
            let position = state.replicas.iter().position(|node| *node == from).unwrap();
            state.directories[position] = replica.directory;
            state.partition_epoch = state.partition_epoch.next();
            self.record(MetadataRecord::Partition {
                topic_id: replica.topic_id,
                partition: replica.partition,
                state: Arc::new(state),
                cause: Cause::DirectoryAssigned(from),
            });
        }
        self.publish();
    }

    fn record(&self, record: MetadataRecord) {
        let mut image = self.image.lock();
        let offset = image.offset().plus(1);
        image.apply_entry([&record], offset).unwrap();
    }

    fn publish(&self) {
        let nodes = self.nodes.lock().clone();
        let withheld = self.withheld.lock().clone();
        let told = nodes.keys().filter(|node| !withheld.contains(node));
        told.for_each(|node| self.publish_to(*node));
    }

    fn publish_to(&self, node: NodeId) {
        let image = Arc::new(self.image.lock().clone());
        if let Some(seen) = self.nodes.lock().get(&node) {
            let version = image.version();
            seen.image.store(image);
            seen.version.send_replace(version);
        }
    }
}

fn configured_min_isr(topic: &Topic) -> Option<usize> {
    topic.configs.get("min.insync.replicas").and_then(|it| it.parse().ok())
}

/// What a node's surroundings are told and say.
pub(super) struct NodeWorld {
    settings: TopicSettings,
    live: AtomicBool,
}

impl Surrounds for NodeWorld {
    fn settings(&self, _image: &Image, topic: &Topic) -> TopicSettings {
        let mut settings = self.settings.clone();
        settings.min_isr = configured_min_isr(topic).unwrap_or(settings.min_isr);
        if let Some(policy) = topic.configs.get("cleanup.policy") {
            settings.log.cleanup_compact = policy.contains("compact");
            settings.log.cleanup_delete = policy.contains("delete");
        }
        settings
    }

    fn is_live(&self) -> bool {
        self.live.load(Ordering::SeqCst)
    }
}

/// A node while it runs.
pub(super) struct Running {
    pub(super) replicas: Arc<Replicas>,
    pub(super) world: Arc<NodeWorld>,
    pub(super) directory: Arc<LogDirectory>,
    /// On the second disk.
    pub(super) second: Option<Arc<LogDirectory>>,
    server: Server,
}

/// A node's machine, which outlives its process.
pub(super) struct Machine {
    pub(super) disk: Arc<MemoryDisk>,
    catalog: Arc<MemoryCatalog>,
    pub(super) second_disk: Arc<MemoryDisk>,
    second_catalog: Arc<MemoryCatalog>,
    running: Option<Running>,
}

pub(super) struct Cluster {
    pub(super) controller: Arc<Controller>,
    machines: BTreeMap<NodeId, Machine>,
    settings: TopicSettings,
    options: ReplicaOptions,
    next_topic: u128,
}

pub(super) fn orders() -> TopicPartition {
    TopicPartition::new("orders", 0)
}

pub(super) fn settings(min_isr: usize) -> TopicSettings {
    TopicSettings { log: Default::default(), min_isr, flush_before_ack: false }
}

impl Cluster {
    /// `count` nodes that run, and no topic.
    pub(super) async fn start(count: i32, settings: TopicSettings) -> Self {
        let options = ReplicaOptions {
            fetch_wait_max: Duration::from_millis(300),
            ..ReplicaOptions::default()
        };
        Self::start_with(count, settings, options).await
    }

    pub(super) async fn start_with(
        count: i32,
        settings: TopicSettings,
        options: ReplicaOptions,
    ) -> Self {
        let machine = || Machine {
            disk: Arc::new(MemoryDisk::new()),
            catalog: Arc::new(MemoryCatalog::new()),
            second_disk: Arc::new(MemoryDisk::new()),
            second_catalog: Arc::new(MemoryCatalog::new()),
            running: None,
        };
        let mut cluster = Self {
            controller: Arc::new(Controller {
                image: Mutex::default(),
                nodes: Mutex::default(),
                refuses: Mutex::default(),
                withheld: Mutex::default(),
                min_isr: settings.min_isr,
                asked: Mutex::default(),
            }),
            machines: (1..=count).map(|id| (NodeId(id), machine())).collect(),
            settings,
            options,
            // The first few are reserved.
            next_topic: 100,
        };
        for node in 1..=count {
            cluster.run(node).await;
        }
        cluster
    }

    /// Three nodes with the topic `orders` on them, led by node 1.
    pub(super) async fn with_orders(min_isr: usize) -> Self {
        let mut cluster = Self::start(3, settings(min_isr)).await;
        cluster.create("orders", &[1, 2, 3]);
        cluster.until_leading(1).await;
        cluster
    }

    /// Starts a node's process; it registers with a new broker epoch and is unfenced at once.
    pub(super) async fn run(&mut self, node: i32) {
        let id = NodeId(node);
        let machine = self.machines.get_mut(&id).unwrap();
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let open = |path: &str, disk: &Arc<MemoryDisk>, catalog: &Arc<MemoryCatalog>, seed| {
            let catalog = Arc::clone(catalog);
            let environment = LogEnvironment {
                disk: Arc::clone(disk) as _,
                catalog_opener: Arc::new(move |_| Ok(Arc::clone(&catalog) as Arc<dyn Catalog>)),
                clock: Arc::clone(&clock),
                offload: Arc::new(InlineOffload),
                recovery_threads: 1,
                random: Arc::new(SeededRandom::new(seed)),
                boot_id: "boot".to_owned(),
            };
            let path = PathBuf::from(path);
            let options = LogDirectoryOptions { path, cluster_id: None, node_id: id };
            LogDirectory::open(options, environment)
        };
        let seed = node as u64;
        let directory = open("/data", &machine.disk, &machine.catalog, seed).unwrap();
        let second = open("/more", &machine.second_disk, &machine.second_catalog, seed + 1_000);
        let second = second.ok();
        let mut directories = vec![Arc::clone(&directory)];
        directories.extend(second.clone());
        settle_moves(&directories).unwrap();
        let unopened = if second.is_none() { vec![PathBuf::from("/more")] } else { Vec::new() };
        let ids = directories.iter().map(|directory| directory.directory_id()).collect();
        let world =
            Arc::new(NodeWorld { settings: self.settings.clone(), live: AtomicBool::new(true) });
        let seen = Arc::new(Seen::default());
        self.controller.nodes.lock().insert(id, Arc::clone(&seen));
        let replicas = Replicas::new(ReplicasParts {
            node: id,
            directories,
            unopened,
            metadata: seen,
            alter_isr: Arc::new(Way(Arc::clone(&self.controller), id)),
            network: Arc::new(TcpNetwork),
            offload: Arc::new(InlineOffload),
            clock,
            surrounds: Arc::clone(&world) as _,
            options: self.options.clone(),
        });
        let server = Server::new(ServerLimits::default(), Arc::new(SystemClock::new()));
        let listener = TcpNetwork.bind(&HostPort::new("127.0.0.1", 0)).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        server.listen(
            "PLAINTEXT",
            Class::Limited,
            listener,
            Arc::new(ReplicaService(Arc::clone(&replicas))),
        );
        machine.running =
            Some(Running { replicas: Arc::clone(&replicas), world, directory, second, server });
        self.register(node, port, ids);
        replicas.start();
        self.controller.publish();
    }

    fn register(&self, node: i32, port: u16, directories: Vec<DirectoryId>) {
        let broker_epoch = self.controller.image.lock().next_broker_epoch();
        let endpoint = Endpoint {
            listener: "PLAINTEXT".to_owned(),
            host: "127.0.0.1".to_owned(),
            port,
            security_protocol: SecurityProtocol::Plaintext,
        };
        let registration = Arc::new(BrokerRegistration {
            node_id: NodeId(node),
            broker_epoch,
            incarnation: IncarnationId(Uuid::from_u128(broker_epoch.0 as u128)),
            endpoints: vec![endpoint],
            rack: Some(format!("rack-{node}")),
            fenced: false,
            in_controlled_shutdown: false,
            directories,
            has_offline_directories: false,
            features: Vec::new(),
        });
        let cause = Cause::Registered(NodeId(node));
        self.controller.record(MetadataRecord::Broker { registration, cause });
    }

    /// Ends a node's process as kill -9 does: the page cache stays.
    pub(super) async fn kill(&mut self, node: i32) {
        let machine = self.machines.get_mut(&NodeId(node)).unwrap();
        self.controller.nodes.lock().remove(&NodeId(node));
        let running = machine.running.take().expect("a running node");
        running.replicas.stop().await;
        running.server.shutdown(Duration::ZERO).await;
        machine.disk = Arc::new(machine.disk.kill());
        machine.catalog = Arc::new(machine.catalog.kill());
        machine.second_disk = Arc::new(machine.second_disk.kill());
        machine.second_catalog = Arc::new(machine.second_catalog.kill());
    }

    /// Fences a node, without telling anybody.
    pub(super) fn fence(&self, node: i32) {
        let known = self.controller.image.lock().broker(NodeId(node)).unwrap().clone();
        let registration = Arc::new(BrokerRegistration { fenced: true, ..(*known).clone() });
        let cause = Cause::ProcessDied(NodeId(node));
        self.controller.record(MetadataRecord::Broker { registration, cause });
    }

    pub(super) fn machine(&self, node: i32) -> &Machine {
        &self.machines[&NodeId(node)]
    }

    pub(super) fn node(&self, node: i32) -> &Running {
        self.machines[&NodeId(node)].running.as_ref().expect("a running node")
    }

    pub(super) fn orders_on(&self, node: i32) -> Arc<Partition> {
        self.node(node).replicas.partition(&orders()).unwrap()
    }

    pub(super) fn log_on(&self, node: i32) -> Arc<Log> {
        self.orders_on(node).log()
    }

    /// Whether a node believes that it may answer as a leader.
    pub(super) fn set_live(&self, node: i32, live: bool) {
        self.node(node).world.live.store(live, Ordering::SeqCst);
    }

    pub(super) fn controller_refuses(&self, error: Option<ErrorCode>) {
        *self.controller.refuses.lock() = error;
    }

    /// From now on that node learns of nothing new.
    pub(super) fn withhold_from(&self, node: i32) {
        self.controller.withheld.lock().insert(NodeId(node));
    }

    /// Tells everybody what was withheld.
    pub(super) fn withhold_no_more(&self) {
        self.controller.withheld.lock().clear();
        self.publish();
    }

    /// Makes a topic of one partition and lets everybody know.
    pub(super) fn create(&mut self, name: &str, replicas: &[i32]) -> TopicId {
        let topic_id = TopicId(Uuid::from_u128(self.next_topic));
        self.next_topic += 1;
        let replicas: Vec<NodeId> = replicas.iter().copied().map(NodeId).collect();
        self.controller.record(MetadataRecord::Topic { name: name.into(), topic_id });
        let state = Registered {
            directories: vec![DirectoryId::ZERO; replicas.len()],
            isr: replicas.clone(),
            elr: Vec::new(),
            last_known_elr: Vec::new(),
            leader: Some(replicas[0]),
            leader_epoch: LeaderEpoch(0),
            partition_epoch: PartitionEpoch(0),
            recovery: LeaderRecoveryState::Recovered,
            adding: Vec::new(),
            removing: Vec::new(),
            replicas,
        };
        self.controller.record(MetadataRecord::Partition {
            topic_id,
            partition: PartitionId(0),
            state: Arc::new(state),
            cause: Cause::Created,
        });
        self.controller.publish();
        topic_id
    }

    pub(super) fn remove(&self, topic_id: TopicId) {
        self.controller.record(MetadataRecord::TopicRemoved { topic_id });
        self.controller.publish();
    }

    /// Where the metadata says that the replica of `orders` on `node` lies.
    pub(super) fn recorded(&self, node: i32) -> DirectoryId {
        let image = self.controller.image.lock();
        image.partition(&orders()).unwrap().directory_of(NodeId(node)).unwrap()
    }

    /// Takes down in which directories the replicas of `orders` lie, and lets everybody know.
    pub(super) fn record_directories(&self) {
        let (topic_id, known) = {
            let image = self.controller.image.lock();
            let topic = image.topic("orders").unwrap();
            (topic.id, topic.partition(PartitionId(0)).unwrap().clone())
        };
        for node in &known.replicas {
            let log = self.log_on(node.0);
            let (partition, directory) = (PartitionId(0), log.directory_id());
            self.controller.assign(*node, &[PlacedReplica { topic_id, partition, directory }]);
        }
    }

    /// Changes the registration of `orders`, without telling anybody.
    pub(super) fn change(&self, leader: Option<i32>, isr: &[i32]) {
        let (topic_id, known) = {
            let image = self.controller.image.lock();
            let topic = image.topic("orders").unwrap();
            (topic.id, topic.partition(PartitionId(0)).unwrap().clone())
        };
        let leader = leader.map(NodeId);
        let leader_epoch =
            if leader == known.leader { known.leader_epoch } else { known.leader_epoch.next() };
        let state = Registered {
            leader,
            leader_epoch,
            isr: isr.iter().copied().map(NodeId).collect(),
            partition_epoch: known.partition_epoch.next(),
            ..(*known).clone()
        };
        self.controller.record(MetadataRecord::Partition {
            topic_id,
            partition: PartitionId(0),
            state: Arc::new(state),
            cause: Cause::ElectionRequested,
        });
    }

    /// Configures `orders` and lets everybody know.
    pub(super) fn configure(&self, key: &str, value: &str) {
        self.controller.record(MetadataRecord::Config {
            resource: ConfigResource::Topic("orders".into()),
            key: key.to_owned(),
            value: Some(value.to_owned()),
        });
        self.publish();
    }

    pub(super) fn publish(&self) {
        self.controller.publish();
    }

    pub(super) fn publish_to(&self, node: i32) {
        self.controller.publish_to(NodeId(node));
    }

    pub(super) fn isr(&self) -> Vec<i32> {
        let image = self.controller.image.lock();
        let partition = image.partition(&orders()).unwrap();
        let mut isr: Vec<i32> = partition.isr.iter().map(|node| node.0).collect();
        isr.sort_unstable();
        isr
    }

    /// The replicas of `orders` outside the ISR that may be elected.
    pub(super) fn elr(&self) -> Vec<i32> {
        let image = self.controller.image.lock();
        image.partition(&orders()).unwrap().elr.iter().map(|node| node.0).collect()
    }

    pub(super) fn broker_epoch(&self, node: i32) -> BrokerEpoch {
        self.controller.image.lock().broker(NodeId(node)).unwrap().broker_epoch
    }

    pub(super) async fn until_leading(&self, node: i32) {
        let leads = || {
            let partition = self.node(node).replicas.partition(&orders());
            partition.is_ok_and(|partition| partition.describe().role == "leader")
        };
        eventually(&format!("node {node} to lead"), leads).await;
    }

    /// Appends `count` records at `node` and waits for the acknowledgement that `acks` asks for.
    pub(super) async fn produce(
        &self,
        node: i32,
        count: usize,
        acks: i16,
    ) -> Result<Offset, ErrorCode> {
        let partition = self.orders_on(node);
        let produced = partition.produce(batch(count), acks).map_err(|error| error.code)?;
        let wait = vec![(partition, produced)];
        let results = self.node(node).replicas.wait_committed(wait, Duration::from_secs(10)).await;
        results[0].map(|()| produced.base_offset)
    }

    /// Waits until the replicas on `nodes` hold the same records, all committed.
    pub(super) async fn until_same(&self, nodes: &[i32]) {
        let held = |node: &i32| {
            let partition = self.node(*node).replicas.partition(&orders()).ok()?;
            let log = partition.log();
            (log.high_watermark() == log.log_end_offset()).then(|| records(&log))
        };
        let same = || {
            let first = held(&nodes[0]);
            first.is_some() && nodes.iter().all(|node| held(node) == first)
        };
        // Followers learn the high watermark with the answer to their next fetch.
        eventually(&format!("{nodes:?} to hold the same"), same).await;
    }
}

/// Waits, within bounds, until `done`.
pub(super) async fn eventually(what: &str, mut done: impl FnMut() -> bool) {
    let waited = async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    };
    let in_time = tokio::time::timeout(PATIENCE, waited).await;
    assert!(in_time.is_ok(), "waited {PATIENCE:?} for {what}");
}

pub(super) fn batch(count: usize) -> Bytes {
    fill(BatchBuilder::new(Offset::ZERO), count)
}

pub(super) fn idempotent(id: i64, sequence: i32, count: usize) -> Bytes {
    let builder = BatchBuilder::new(Offset::ZERO);
    fill(builder.producer(ProducerId(id), ProducerEpoch(0), sequence), count)
}

fn fill(mut builder: BatchBuilder, count: usize) -> Bytes {
    let now = SystemClock::new().wall();
    for index in 0..count {
        let value = format!("value {index}");
        builder.push(now, Some(b"key"), Some(value.as_bytes()), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// Every record of a log, with the epoch that wrote it.
pub(super) fn records(log: &Log) -> Vec<(LeaderEpoch, Record)> {
    let mut records = Vec::new();
    let mut next = log.log_start_offset();
    while next < log.log_end_offset() {
        let Ok(slice) = log.read(next, log.log_end_offset(), 1 << 20, true) else { break };
        for batch in batches(&slice.records) {
            let batch = batch.unwrap();
            let epoch = batch.header.partition_leader_epoch;
            records.extend(batch.records().unwrap().into_iter().map(|record| (epoch, record)));
        }
        next = slice.next_offset;
    }
    records
}

/// A time that no record has.
pub(super) const FUTURE: TimestampMs = TimestampMs(i64::MAX - 1);
