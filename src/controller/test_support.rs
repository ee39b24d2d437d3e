//! Nodes for tests: directories that outlive a controller, and clusters on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::controller::liveness::LivenessOptions;
use crate::controller::machine::{
    Command, NewTopic, PreviousRun, RegisterBroker, RegisteredDirectory, Reply,
};
use crate::controller::membership::MembershipOptions;
use crate::controller::start::{Environment, metadata_log};
use crate::controller::test_network::{NodeNetwork, Switch};
use crate::controller::{
    BrokerLifecycle, Controller, ControllerOptions, HeartbeatRequest, LifecycleOptions, MemberNode,
    RaftTimings, RequestContext,
};
use crate::log::{Log, LogDirectory, LogDirectoryOptions, LogEnvironment, OpenError};
use crate::metadata::{Endpoint, Image, SecurityProtocol};
use crate::net::transport::{HostPort, Network};
use crate::storage::{InlineOffload, MemoryCatalog, MemoryDisk};
use crate::types::clock::SystemClock;
use crate::types::random::SystemRandom;
use crate::types::{BrokerEpoch, IncarnationId, NodeId};

/// One machine's disk, and what has been opened on it.
pub struct Node {
    pub directory: Arc<LogDirectory>,
    pub disk: MemoryDisk,
    catalog: MemoryCatalog,
}

impl Node {
    /// A machine with an empty disk.
    pub fn fresh() -> Node {
        Node::on(MemoryDisk::new(), MemoryCatalog::new())
    }

    /// The same machine after its process was killed.
    pub fn killed(&self) -> Node {
        Node::on(self.disk.kill(), self.catalog.kill())
    }

    /// The same machine after a power loss.
    pub fn crashed(&self, seed: u64) -> Node {
        Node::on(self.disk.crash(seed), self.catalog.crash(seed))
    }

    /// As [`Self::killed`], for a disk that may be refused.
    pub fn try_killed(&self) -> Result<Node, OpenError> {
        Node::try_on(self.disk.kill(), self.catalog.kill())
    }

    fn on(disk: MemoryDisk, catalog: MemoryCatalog) -> Node {
        Node::try_on(disk, catalog).unwrap()
    }

    fn try_on(disk: MemoryDisk, catalog: MemoryCatalog) -> Result<Node, OpenError> {
        let options =
            LogDirectoryOptions { path: "/data".into(), cluster_id: None, node_id: NodeId(1) };
        let opened = catalog.clone();
        let environment = LogEnvironment {
            disk: Arc::new(disk.clone()),
            catalog_opener: Arc::new(move |_| Ok(Arc::new(opened.clone()))),
            clock: Arc::new(SystemClock::new()),
            offload: Arc::new(InlineOffload),
            recovery_threads: 1,
            random: Arc::new(SystemRandom),
            boot_id: String::new(),
        };
        let directory = LogDirectory::open(options, environment)?;
        Ok(Node { directory, disk, catalog })
    }

    pub fn environment(&self, network: Arc<dyn Network>) -> Environment {
        Environment {
            network,
            clock: Arc::new(SystemClock::new()),
            random: Arc::new(SystemRandom),
            offload: Arc::new(InlineOffload),
            disk: Arc::new(self.disk.clone()),
        }
    }

    pub async fn metadata_log(&self) -> Arc<Log> {
        metadata_log(&self.directory, &InlineOffload).await.unwrap()
    }
}

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// Waits until `condition` holds; says what it waited for if it never does.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.unwrap_or_else(|_| panic!("waited for {what}"));
}

/// The node of that number, as members know it.
pub fn member(id: i32) -> MemberNode {
    MemberNode { node_id: NodeId(id), host: id.to_string(), port: 9093 }
}

/// A controller that runs on a node, with its listener.
struct Running {
    controller: Arc<Controller>,
    _acceptor: JoinSet<()>,
}

/// Nodes 1, 2, ... on loopback; the first few are voters.
pub struct Cluster {
    pub voters: Vec<MemberNode>,
    pub nodes: BTreeMap<i32, Node>,
    pub timings: RaftTimings,
    pub membership: MembershipOptions,
    pub liveness: LivenessOptions,
    pub switch: Arc<Switch>,
    running: BTreeMap<i32, Running>,
}

impl Cluster {
    /// `voters` nodes with empty disks, none of them started.
    pub fn new(voters: i32) -> Cluster {
        let listed = (1..=voters).map(member).collect();
        let timings = RaftTimings {
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(300),
            election_max: Duration::from_millis(600),
            ..RaftTimings::default()
        };
        Cluster {
            nodes: (1..=voters).map(|id| (id, Node::fresh())).collect(),
            voters: listed,
            timings,
            membership: MembershipOptions::default(),
            liveness: LivenessOptions::default(),
            switch: Arc::default(),
            running: BTreeMap::new(),
        }
    }

    /// Starts all nodes and waits for an active controller.
    pub async fn start_all(&mut self) -> i32 {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            self.start(id).await;
        }
        self.active().await
    }

    /// Starts one node on its disk as it is.
    pub async fn start(&mut self, id: i32) {
        self.start_as(id, id).await;
    }

    /// Starts a node on an empty disk that takes itself for node `id`; here it is called `name`.
    pub async fn start_twin(&mut self, id: i32, name: i32) {
        self.nodes.insert(name, Node::fresh());
        self.start_as(name, id).await;
    }

    /// Starts the disk called `name` as node `id`.
    pub async fn start_as(&mut self, name: i32, id: i32) {
        let node = &self.nodes[&name];
        let MemberNode { host, port, .. } = member(name);
        let network = NodeNetwork { switch: Arc::clone(&self.switch), host: host.clone() };
        let listener = network.bind(&HostPort::new(host.clone(), port)).await.unwrap();
        let options = ControllerOptions {
            node_id: NodeId(id),
            host,
            port,
            voters: self.voters.clone(),
            directory: Arc::clone(&node.directory),
            decisions: Default::default(),
            liveness: self.liveness,
            membership: self.membership,
            raft: self.timings,
        };
        let controller =
            Controller::start(options, node.environment(Arc::new(network))).await.unwrap();
        let mut acceptor = JoinSet::new();
        let accepting = Arc::clone(&controller);
        acceptor.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let controller = Arc::clone(&accepting);
                connections.spawn(async move { controller.accept_peer(stream).await });
            }
        });
        self.running.insert(name, Running { controller, _acceptor: acceptor });
    }

    /// Ends a node's process; its disk stays.
    pub async fn kill(&mut self, id: i32) {
        let running = self.running.remove(&id).expect("a running node");
        running.controller.shutdown().await;
        let node = self.nodes[&id].killed();
        self.nodes.insert(id, node);
    }

    /// Ends all processes.
    pub async fn stop(mut self) {
        for id in self.running.keys().copied().collect::<Vec<_>>() {
            self.kill(id).await;
        }
    }

    pub fn controller(&self, id: i32) -> Arc<Controller> {
        Arc::clone(&self.running[&id].controller)
    }

    /// Waits for an active controller; its id.
    pub async fn active(&self) -> i32 {
        let mut active = None;
        eventually("an active controller", || {
            active = self.running.iter().find(|(_, node)| node.controller.is_active());
            active.is_some()
        })
        .await;
        *active.expect("just seen").0
    }

    /// A running node that is not the active controller.
    pub async fn follower(&self) -> i32 {
        let active = self.active().await;
        *self.running.keys().find(|id| **id != active).expect("a follower")
    }

    /// Submits on node `id` until it is done.
    pub async fn submit(&self, id: i32, command: Command) -> Reply {
        let controller = self.controller(id);
        let deadline = controller.clock.monotonic().plus(PATIENCE);
        controller.submit(command, RequestContext::internal(deadline)).await.expect("a reply")
    }

    /// Waits until every running node's image satisfies `condition`.
    pub async fn all_images(&self, what: &str, condition: impl Fn(&Image) -> bool) {
        eventually(what, || {
            self.running.values().all(|node| condition(&node.controller.metadata().image()))
        })
        .await;
    }

    fn registration(&self, id: i32) -> RegisterBroker {
        let directory_id = self.nodes[&id].directory.directory_id();
        let MemberNode { host, port, .. } = member(id);
        RegisterBroker {
            node_id: NodeId(id),
            cluster_id: None,
            incarnation: IncarnationId(directory_id.0),
            endpoints: vec![Endpoint {
                listener: "PLAINTEXT".to_owned(),
                host,
                port,
                security_protocol: SecurityProtocol::Plaintext,
            }],
            rack: None,
            directories: vec![RegisteredDirectory {
                id: directory_id,
                previous_run: PreviousRun::Fresh,
            }],
            has_offline_directories: false,
            features: crate::metadata::features::supported(),
        }
    }

    /// Broker `id`, which registers and heartbeats by itself.
    pub fn broker(&self, id: i32) -> BrokerLifecycle {
        let options = LifecycleOptions {
            registration: self.registration(id),
            heartbeat: Duration::from_millis(250),
            session: Duration::from_secs(2),
            directories: vec![Arc::clone(&self.nodes[&id].directory)],
            offload: Arc::new(InlineOffload),
        };
        let controller = self.controller(id);
        let clock = Arc::clone(&controller.clock);
        BrokerLifecycle::start(options, controller, clock)
    }

    /// Registers broker `id`, through itself.
    pub async fn register(&self, id: i32) -> BrokerEpoch {
        let registration = self.registration(id);
        match self.submit(id, Command::RegisterBroker(registration)).await {
            Reply::Registered { broker_epoch } => broker_epoch,
            other => panic!("not registered: {other:?}"),
        }
    }

    /// One heartbeat of a broker that is ready to serve.
    pub async fn heartbeat(&self, id: i32, broker_epoch: BrokerEpoch) -> bool {
        let request = HeartbeatRequest {
            node_id: NodeId(id),
            broker_epoch,
            applied: self.controller(id).metadata().image().offset(),
            ready: true,
            wants_shutdown: false,
        };
        self.controller(id).heartbeat(request, PATIENCE).await.is_ok_and(|answer| !answer.fenced)
    }

    /// Registers a broker and brings it into service.
    pub async fn bring_up(&self, id: i32) -> BrokerEpoch {
        let broker_epoch = self.register(id).await;
        let unfenced = async {
            while !self.heartbeat(id, broker_epoch).await {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(PATIENCE, unfenced).await.expect("the broker to be unfenced");
        broker_epoch
    }
}

/// Asks for a topic with one partition per broker in service.
pub fn create_topic(name: &str) -> Command {
    Command::CreateTopics {
        topics: vec![NewTopic {
            name: name.to_owned(),
            num_partitions: 1,
            replication_factor: 1,
            assignments: Vec::new(),
            configs: Vec::new(),
        }],
        validate_only: false,
    }
}
