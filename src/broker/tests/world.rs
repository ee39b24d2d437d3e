//! An image that stands still, and a whole node in memory.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use uuid::Uuid;

use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::broker::loggers::{DEFAULT_DIRECTIVES, Loggers};
use crate::broker::{BrokerConfig, Seams, Server};
use crate::controller::lifecycle::BrokerState;
use crate::controller::test_network::{NodeNetwork, Switch};
use crate::metadata::{
    BrokerRegistration, Cause, Endpoint, Image, LeaderRecoveryState, MetadataRecord,
    MetadataSource, Partition, SecurityProtocol,
};
use crate::net::HostPort;
use crate::net::client::{ClientOptions, Connection};
use crate::net::server::RequestContext;
use crate::protocol::Request;
use crate::storage::{Catalog, InlineOffload, MemoryCatalog, MemoryDisk};
use crate::types::clock::SystemClock;
use crate::types::random::SystemRandom;
use crate::types::{
    BrokerEpoch, DirectoryId, IncarnationId, LeaderEpoch, NodeId, PartitionEpoch, PartitionId,
    TopicId, TopicName, watch,
};

pub const CONFIG: &str = "process.roles=broker,controller\nnode.id=1\n\
    controller.quorum.voters=1@1:9093\nlisteners=PLAINTEXT://1:9092,CONTROLLER://1:9093\n\
    controller.listener.names=CONTROLLER\nlog.dirs=/one,/two\nnum.partitions=3\n\
    group.initial.rebalance.delay.ms=0\n\
    offsets.topic.replication.factor=1\n";

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Metadata that stands still.
pub struct Still(pub Arc<Image>);

impl MetadataSource for Still {
    fn image(&self) -> Arc<Image> {
        Arc::clone(&self.0)
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        watch::Sender::new(self.0.version()).subscribe()
    }
}

/// Brokers 1 to 3, of which 3 is fenced, and topics led by the brokers that stand in order.
pub fn image(topics: &[(&str, &[i32])]) -> Arc<Image> {
    let mut image = Image::default();
    for node in 1..=3 {
        image.apply(&broker(node, node == 3)).unwrap();
    }
    for (number, (name, leaders)) in topics.iter().enumerate() {
        let topic_id = topic_id(number);
        image.apply(&MetadataRecord::Topic { name: TopicName::new(name), topic_id }).unwrap();
        for (index, leader) in (0..).map(PartitionId).zip(*leaders) {
            let state = Arc::new(partition(*leader));
            let cause = Cause::Created;
            let record = MetadataRecord::Partition { topic_id, partition: index, state, cause };
            image.apply(&record).unwrap();
        }
    }
    Arc::new(image)
}

/// The id of the topic at that place in [`image`].
pub fn topic_id(number: usize) -> TopicId {
    TopicId(Uuid::from_u128(100 + number as u128))
}

pub fn broker(node: i32, fenced: bool) -> MetadataRecord {
    let endpoint = Endpoint {
        listener: "PLAINTEXT".to_owned(),
        host: format!("host-{node}"),
        port: 9092,
        security_protocol: SecurityProtocol::Plaintext,
    };
    let registration = Arc::new(BrokerRegistration {
        node_id: NodeId(node),
        broker_epoch: BrokerEpoch(node.into()),
        incarnation: IncarnationId::ZERO,
        endpoints: vec![endpoint],
        rack: Some(format!("rack-{node}")),
        fenced,
        in_controlled_shutdown: false,
        directories: Vec::new(),
        has_offline_directories: false,
        features: Vec::new(),
    });
    MetadataRecord::Broker { registration, cause: Cause::Snapshot }
}

fn partition(leader: i32) -> Partition {
    Partition {
        replicas: vec![NodeId(leader)],
        directories: vec![DirectoryId(Uuid::nil())],
        isr: vec![NodeId(leader)],
        elr: Vec::new(),
        last_known_elr: Vec::new(),
        leader: Some(NodeId(leader)),
        leader_epoch: LeaderEpoch(5),
        partition_epoch: PartitionEpoch(6),
        recovery: LeaderRecoveryState::Recovered,
        adding: Vec::new(),
        removing: Vec::new(),
    }
}

pub fn context() -> Arc<RequestContext> {
    Arc::new(RequestContext {
        connection_id: 1,
        peer: ([127, 0, 0, 1], 1).into(),
        listener: "PLAINTEXT".into(),
        principal: "User:ANONYMOUS".into(),
        client_id: None,
        client_software: Arc::default(),
    })
}

/// What `handler` answers at once, in the newest version.
pub async fn ask<H: Handler>(
    handler: &Arc<H>,
    request: H::Request,
) -> <H::Request as Request>::Response {
    ask_at(handler, *H::Request::VERSIONS.end(), request).await
}

/// What `handler` answers at once.
pub async fn ask_at<H: Handler>(
    handler: &Arc<H>,
    version: i16,
    request: H::Request,
) -> <H::Request as Request>::Response {
    match Arc::clone(handler).handle(Call { context: context(), version, request }).await {
        Outcome::Now(response) => response,
        Outcome::Later(_) | Outcome::Silence | Outcome::Close(_) => panic!("not answered at once"),
    }
}

/// This machine, with disks and sockets in memory.
pub fn seams() -> Seams {
    let catalogs: Mutex<BTreeMap<PathBuf, MemoryCatalog>> = Mutex::default();
    let open_catalog = move |path: &Path| {
        let catalog = catalogs.lock().entry(path.to_owned()).or_default().clone();
        Ok(Arc::new(catalog) as Arc<dyn Catalog>)
    };
    Seams {
        disk: Arc::new(MemoryDisk::new()),
        catalog_opener: Arc::new(open_catalog),
        network: Arc::new(NodeNetwork { switch: Arc::<Switch>::default(), host: "1".to_owned() }),
        clock: Arc::new(SystemClock::new()),
        random: Arc::new(SystemRandom),
        offload: Arc::new(InlineOffload),
        quorum_offload: Arc::new(InlineOffload),
        boot_id: String::new(),
        loggers: Arc::new(Loggers::new(DEFAULT_DIRECTIVES, |_| Ok(()))),
    }
}

/// A node that is a whole cluster.
pub struct Node {
    pub seams: Seams,
    server: Server,
}

impl Node {
    /// Starts it and waits until it is in service.
    pub async fn start() -> Node {
        Node::start_on(seams()).await
    }

    /// Starts it on this machine and waits until it is in service.
    pub async fn start_on(seams: Seams) -> Node {
        let config = BrokerConfig::load(CONFIG, &[], |_| None).unwrap();
        let server = Server::start(config, seams.clone()).await.unwrap();
        let mut state = server.broker_state().unwrap();
        let running = state.wait_for(|state| matches!(state, BrokerState::Running(_)));
        tokio::time::timeout(PATIENCE, running).await.expect("waited for service").unwrap();
        Node { seams, server }
    }

    /// A client's connection to it.
    pub async fn connect(&self) -> Connection {
        let address = HostPort::new("1", 9092);
        Connection::connect(&*self.seams.network, &address, ClientOptions::default()).await.unwrap()
    }

    /// Why it has to stop, once it has.
    pub async fn failed(&self) -> String {
        tokio::time::timeout(PATIENCE, self.server.failed()).await.expect("waited for a failure")
    }

    /// Has nothing left running behind.
    pub async fn stop(self) {
        self.server.stop().await;
    }
}
