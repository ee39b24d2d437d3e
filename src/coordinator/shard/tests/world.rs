//! One broker with real replicas on a disk in memory, a second that is in the metadata only, and a
//! machine that counts.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::controller::test_network::{NodeNetwork, Switch};
use crate::coordinator::shard::{RequestId, ShardMachine, ShardOptions, ShardSeams};
use crate::coordinator::shards::Coordinator;
use crate::log::{LogDirectory, LogDirectoryOptions, LogEnvironment};
use crate::metadata::{
    BrokerRegistration, Cause, Endpoint, Image, LeaderRecoveryState, MetadataRecord,
    MetadataSource, Partition as Registered, SecurityProtocol, Topic,
};
use crate::protocol::DecodeError;
use crate::replication::leader::IsrConfirmed;
use crate::replication::tests::seen::Seen;
use crate::replication::{
    AlterIsr, FetchPartition, FetchSpec, Isolation, IsrChange, Partition, PlacedReplica,
    ReplicaOptions, Replicas, ReplicasParts, Surrounds, TopicSettings,
};
use crate::storage::{Catalog, InlineOffload, MemoryCatalog, MemoryDisk};
use crate::types::clock::SystemClock;
use crate::types::machine::{Decision, Machine, Now};
use crate::types::random::SeededRandom;
use crate::types::{
    BrokerEpoch, Clock, DirectoryId, ErrorCode, IncarnationId, LeaderEpoch, Monotonic, NodeId,
    Offset, PartitionEpoch, PartitionId, TopicId, TopicPartition,
};

pub const TOPIC: &str = "__counts";
/// The least ISR, where a test does not say.
const MIN_ISR: usize = 2;
/// How long anything may take on a busy machine. Time stands still while anything happens.
const PATIENCE: Duration = Duration::from_secs(3600);

/// A sum; requests can be parked until it is added to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Counter {
    pub total: i64,
    pub parked: Vec<RequestId>,
    pub deadline: Option<Monotonic>,
    pub was_loaded: bool,
    pub topics_seen: usize,
}

#[derive(Debug)]
pub enum Command {
    Add(RequestId, i64),
    Get(RequestId),
    /// Answered by the next that adds.
    Park(RequestId),
    /// At the next tick after so long 1,000 are added.
    AddLater(RequestId, Duration),
    Panic,
    Tick,
    Loaded,
    Metadata(usize),
}

#[derive(Debug)]
pub enum Note {
    Parked(RequestId),
    Woken,
    Deadline(Option<Monotonic>),
    Loaded,
    Topics(usize),
}

impl Machine for Counter {
    type Command = Command;
    type Record = i64;
    type Note = Note;
    type Reply = (RequestId, i64);
    type Effect = i64;

    fn decide(&self, now: Now, command: Command) -> Decision<i64, Note, (RequestId, i64), i64> {
        let mut decision = Decision::default();
        match command {
            Command::Add(id, amount) => {
                let total = self.total + amount;
                decision.records = vec![amount];
                let waiting = std::iter::once(&id).chain(&self.parked);
                decision.replies = waiting.map(|id| (*id, total)).collect();
                decision.notes = vec![Note::Woken];
                decision.effects = vec![total];
            }
            Command::Get(id) => decision.replies = vec![(id, self.total)],
            Command::Park(id) => decision.notes = vec![Note::Parked(id)],
            Command::AddLater(id, after) => {
                decision.notes = vec![Note::Deadline(Some(now.monotonic.plus(after)))];
                decision.replies = vec![(id, self.total)];
            }
            Command::Panic => panic!("as the test wants"),
            Command::Tick => {
                decision.records = vec![1_000];
                decision.notes = vec![Note::Deadline(None)];
            }
            Command::Loaded => decision.notes = vec![Note::Loaded],
            Command::Metadata(topics) => decision.notes = vec![Note::Topics(topics)],
        }
        decision
    }

    fn apply(&mut self, record: &i64) {
        self.total += record;
    }

    fn note(&mut self, note: Note) {
        match note {
            Note::Parked(id) => self.parked.push(id),
            Note::Woken => self.parked.clear(),
            Note::Deadline(deadline) => self.deadline = deadline,
            Note::Loaded => self.was_loaded = true,
            Note::Topics(topics) => self.topics_seen = topics,
        }
    }
}

impl ShardMachine for Counter {
    type Answer = i64;

    fn encode(record: &i64) -> (Bytes, Option<Bytes>) {
        (Bytes::from_static(b"add"), Some(record.to_be_bytes().to_vec().into()))
    }

    fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<i64>, DecodeError> {
        if key != "add" {
            return Ok(None);
        }
        let value = <[u8; 8]>::try_from(value.as_deref().unwrap_or_default());
        value
            .map(|value| Some(i64::from_be_bytes(value)))
            .map_err(|_| DecodeError::BadValue("no sum".to_owned()))
    }

    fn next_deadline(&self) -> Option<Monotonic> {
        self.deadline
    }

    fn tick() -> Command {
        Command::Tick
    }

    fn loaded() -> Command {
        Command::Loaded
    }

    fn metadata_changed(image: Arc<Image>) -> Command {
        Command::Metadata(image.topics.len())
    }
}

struct NoController;

impl AlterIsr for NoController {
    fn alter_partition(&self, _: IsrChange) -> BoxFuture<'static, Result<IsrConfirmed, ErrorCode>> {
        Box::pin(std::future::ready(Err(ErrorCode::IneligibleReplica)))
    }

    fn assign_directories(
        &self,
        _: Vec<PlacedReplica>,
    ) -> BoxFuture<'static, Result<(), ErrorCode>> {
        Box::pin(std::future::ready(Ok(())))
    }
}

struct Around {
    settings: TopicSettings,
    live: AtomicBool,
}

impl Surrounds for Around {
    fn settings(&self, _: &Image, _: &Topic) -> TopicSettings {
        self.settings.clone()
    }

    fn is_live(&self) -> bool {
        self.live.load(Ordering::SeqCst)
    }
}

/// Broker 1, with the topic on it and on broker 2, which exists in the metadata only: the test
/// fetches in its name.
pub struct World {
    seen: Arc<Seen>,
    around: Arc<Around>,
    pub clock: Arc<dyn Clock>,
    pub replicas: Arc<Replicas>,
    pub coordinator: Arc<Coordinator<Counter>>,
    /// The effects that were performed.
    pub performed: Arc<Mutex<Vec<i64>>>,
}

impl World {
    /// The topic has so many partitions, all led by broker 1, with `isr`.
    pub async fn start(partitions: i32, isr: &[i32]) -> World {
        let settings =
            TopicSettings { log: Default::default(), min_isr: MIN_ISR, flush_before_ack: false };
        Self::start_with(partitions, isr, settings).await
    }

    pub async fn start_with(partitions: i32, isr: &[i32], settings: TopicSettings) -> World {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let catalog = Arc::new(MemoryCatalog::new());
        let environment = LogEnvironment {
            disk: Arc::new(MemoryDisk::new()),
            catalog_opener: Arc::new(move |_| Ok(Arc::clone(&catalog) as Arc<dyn Catalog>)),
            clock: Arc::clone(&clock),
            offload: Arc::new(InlineOffload),
            recovery_threads: 1,
            random: Arc::new(SeededRandom::new(1)),
            boot_id: "boot".to_owned(),
        };
        let path = PathBuf::from("/data");
        let options = LogDirectoryOptions { path, cluster_id: None, node_id: NodeId(1) };
        let directory = LogDirectory::open(options, environment).unwrap();
        let around = Arc::new(Around { settings, live: AtomicBool::new(true) });
        let seen = Arc::new(Seen::default());
        let replicas = Replicas::new(ReplicasParts {
            node: NodeId(1),
            directories: vec![directory],
            unopened: Vec::new(),
            metadata: Arc::clone(&seen) as _,
            alter_isr: Arc::new(NoController),
            network: Arc::new(NodeNetwork {
                switch: Arc::<Switch>::default(),
                host: "1".to_owned(),
            }),
            offload: Arc::new(InlineOffload),
            clock: Arc::clone(&clock),
            surrounds: Arc::clone(&around) as _,
            options: ReplicaOptions { lag_max: PATIENCE * 24, ..ReplicaOptions::default() },
        });
        let seams = ShardSeams { clock: Arc::clone(&clock), offload: Arc::new(InlineOffload) };
        // One batch at a time.
        let options = ShardOptions { load_buffer_bytes: 1, ..ShardOptions::default() };
        let performed: Arc<Mutex<Vec<i64>>> = Arc::default();
        let totals = Arc::clone(&performed);
        let coordinator = Coordinator::new(
            TOPIC.into(),
            Arc::clone(&replicas),
            seams,
            options,
            Counter::default,
            Arc::new(move |total| totals.lock().push(total)),
        );
        let world = World { seen, around, clock, replicas, coordinator, performed };
        for node in 1..=2 {
            world.record(broker(node));
        }
        world.create(TOPIC, partitions, isr);
        world.replicas.start();
        world.coordinator.start();
        world
    }

    /// As [`World::start`] with one partition, once that is loaded.
    pub async fn loaded(isr: &[i32]) -> World {
        let world = Self::start(1, isr).await;
        world.until_loaded().await;
        world
    }

    fn record(&self, record: MetadataRecord) {
        let mut image = (*self.seen.image.load_full()).clone();
        let offset = image.offset().plus(1);
        image.apply_entry([&record], offset).unwrap();
        let version = image.version();
        self.seen.image.store(Arc::new(image));
        self.seen.version.send_replace(version);
    }

    pub fn create(&self, name: &str, partitions: i32, isr: &[i32]) {
        let topic_id = TopicId(Uuid::from_u128(100 + u128::from(self.image().version())));
        self.record(MetadataRecord::Topic { name: name.into(), topic_id });
        let isr: Vec<NodeId> = isr.iter().copied().map(NodeId).collect();
        for partition in 0..partitions {
            let state = Registered {
                replicas: vec![NodeId(1), NodeId(2)],
                directories: vec![DirectoryId::ZERO; 2],
                isr: isr.clone(),
                elr: Vec::new(),
                last_known_elr: Vec::new(),
                leader: Some(NodeId(1)),
                leader_epoch: LeaderEpoch(0),
                partition_epoch: PartitionEpoch(0),
                recovery: LeaderRecoveryState::Recovered,
                adding: Vec::new(),
                removing: Vec::new(),
            };
            self.put(topic_id, PartitionId(partition), state);
        }
    }

    fn put(&self, topic_id: TopicId, partition: PartitionId, state: Registered) {
        let (state, cause) = (Arc::new(state), Cause::ElectionRequested);
        self.record(MetadataRecord::Partition { topic_id, partition, state, cause });
    }

    /// Partition 0 is led by `leader` from now on, in a new reign, with `isr`.
    pub fn elect(&self, leader: i32, isr: &[i32]) {
        let image = self.image();
        let topic = image.topic(TOPIC).unwrap();
        let known = topic.partition(PartitionId(0)).unwrap();
        let state = Registered {
            leader: Some(NodeId(leader)),
            isr: isr.iter().copied().map(NodeId).collect(),
            leader_epoch: known.leader_epoch.next(),
            partition_epoch: known.partition_epoch.next(),
            ..(**known).clone()
        };
        self.put(topic.id, PartitionId(0), state);
    }

    /// As [`World::elect`] of broker 1, until it is loaded; broker 2 has everything.
    pub async fn lead_again(&self) {
        let before = self.image().partition(&TopicPartition::new(TOPIC, 0)).unwrap().leader_epoch;
        self.elect(1, &[1, 2]);
        while self.partition().reign() != Some(before.next()) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        self.follower_catches_up().await;
        self.until_loaded().await;
    }

    pub fn image(&self) -> Arc<Image> {
        self.seen.image()
    }

    pub fn partition(&self) -> Arc<Partition> {
        self.replicas.partition(&TopicPartition::new(TOPIC, 0)).unwrap()
    }

    /// Whether the broker believes that its session lasts.
    pub fn set_live(&self, live: bool) {
        self.around.live.store(live, Ordering::SeqCst);
    }

    /// Broker 2 has everything up to `offset` and says so.
    pub async fn follower_has(&self, offset: Offset) {
        let partition = FetchPartition {
            topic_partition: TopicPartition::new(TOPIC, 0),
            topic_id: TopicId::ZERO,
            fetch_offset: offset,
            log_start_offset: Offset::ZERO,
            last_fetched_epoch: LeaderEpoch::NONE,
            current_leader_epoch: LeaderEpoch::NONE,
            max_bytes: 1,
        };
        let spec = FetchSpec {
            replica: Some((NodeId(2), BrokerEpoch(2))),
            max_wait: Duration::ZERO,
            min_bytes: 0,
            max_bytes: 1,
            isolation: Isolation::ReadUncommitted,
            client_rack: None,
            every_batch: false,
            partitions: vec![partition],
        };
        let answers = self.replicas.fetch(spec).await;
        assert_eq!(answers[0].error, ErrorCode::None);
    }

    /// Broker 2 has everything.
    pub async fn follower_catches_up(&self) {
        self.follower_has(self.partition().log().log_end_offset()).await;
    }

    pub async fn until_loaded(&self) {
        self.until_answer("the shard to be loaded", |answer| answer.is_ok()).await;
    }

    /// Until the shard of partition 0 answers as wanted when it is read.
    pub async fn until_answer(&self, what: &str, wanted: fn(Result<i64, ErrorCode>) -> bool) {
        let waited = async {
            while !wanted(self.get().await) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(PATIENCE, waited).await.unwrap_or_else(|_| panic!("no end of {what}"));
    }

    pub async fn add(&self, amount: i64) -> Result<i64, ErrorCode> {
        self.coordinator.submit("any", |id| Command::Add(id, amount)).await
    }

    pub async fn get(&self) -> Result<i64, ErrorCode> {
        self.coordinator.submit("any", Command::Get).await
    }

    /// How many wait, and how many answers are held.
    pub fn counts(&self) -> (usize, usize) {
        let shard = self.coordinator.shard(PartitionId(0)).unwrap();
        shard.with_active(|active| active.counts()).unwrap()
    }

    /// The machine as it is.
    pub fn machine(&self) -> Counter {
        let shard = self.coordinator.shard(PartitionId(0)).unwrap();
        shard.with_active(|active| active.machine().clone()).unwrap()
    }

    pub async fn stop(self) {
        self.coordinator.stop().await;
        self.replicas.stop().await;
    }
}

fn broker(node: i32) -> MetadataRecord {
    let endpoint = Endpoint {
        listener: "PLAINTEXT".to_owned(),
        host: node.to_string(),
        port: 9092,
        security_protocol: SecurityProtocol::Plaintext,
    };
    let registration = Arc::new(BrokerRegistration {
        node_id: NodeId(node),
        broker_epoch: BrokerEpoch(node.into()),
        incarnation: IncarnationId::ZERO,
        endpoints: vec![endpoint],
        rack: None,
        fenced: false,
        in_controlled_shutdown: false,
        directories: Vec::new(),
        has_offline_directories: false,
        features: Vec::new(),
    });
    MetadataRecord::Broker { registration, cause: Cause::Registered(NodeId(node)) }
}
