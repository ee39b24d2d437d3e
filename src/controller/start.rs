//! Putting a controller together: open the store, start raft, start the tasks that live as long as
//! the controller does.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use openraft::{Config, SnapshotPolicy};
use parking_lot::Mutex;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::controller::admission::Admission;
use crate::controller::decision::{DecisionLoop, QUEUE_COMMANDS};
use crate::controller::handle::Controller;
use crate::controller::liveness::LivenessOptions;
use crate::controller::machine::{self, Command, Liveness};
use crate::controller::membership::{Membership, MembershipOptions};
use crate::controller::office::Office;
use crate::controller::peer::PeerClientOptions;
use crate::controller::raft::lease::Lease;
use crate::controller::raft::log_store::{LogStore, LogStoreError};
use crate::controller::raft::network::{Contacts, PeerNetwork};
use crate::controller::raft::runtime::with_random;
use crate::controller::raft::snapshot::{SnapshotDirectory, SnapshotError};
use crate::controller::raft::state_machine::StateMachine;
use crate::controller::raft::types::{MemberNode, Raft};
use crate::log::{Log, LogConfig, LogDirectory};
use crate::metadata::MetadataSource;
use crate::net::transport::Network;
use crate::storage::{Disk, Offload, offload};
use crate::types::{Clock, NodeId, Random, TopicId, TopicPartition, watch};

pub use crate::log::METADATA_TOPIC;

/// The metadata topic's id, as Kafka has it.
pub const METADATA_TOPIC_ID: TopicId = TopicId(uuid::Uuid::from_u128(1));

/// Between two looks at what is due.
const TICK_COMMAND: Duration = Duration::from_secs(1);

/// How long the wait for a new connection between nodes may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// How often raft speaks and how patient it is.
#[derive(Debug, Clone, Copy)]
pub struct RaftTimings {
    /// Between two heartbeats of a leader.
    pub heartbeat: Duration,
    /// The shortest election timeout.
    pub election_min: Duration,
    /// The longest election timeout, and the leader's lease.
    pub election_max: Duration,
    /// A snapshot is made after so many entries.
    pub snapshot_every: u64,
    /// So many entries that a snapshot covers are kept for members that lag a little.
    pub keep_entries: u64,
}

impl Default for RaftTimings {
    fn default() -> Self {
        Self {
            heartbeat: Duration::from_millis(50),
            election_min: Duration::from_millis(150),
            election_max: Duration::from_millis(300),
            snapshot_every: 5_000,
            keep_entries: 1_000,
        }
    }
}

/// What a controller is told about itself and its cluster.
#[derive(Debug)]
pub struct ControllerOptions {
    /// This node's id.
    pub node_id: NodeId,
    /// Where other nodes reach this one's peer RPC: the CONTROLLER listener as the voters' list
    /// has it, or a pure broker's inter-broker listener.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// `controller.quorum.voters`.
    pub voters: Vec<MemberNode>,
    /// The directory of the metadata log.
    pub directory: Arc<LogDirectory>,
    /// What decisions go by.
    pub decisions: machine::Options,
    /// How patient the controller is with brokers.
    pub liveness: LivenessOptions,
    /// How careful it is with members.
    pub membership: MembershipOptions,
    /// How patient raft is.
    pub raft: RaftTimings,
}

/// The seams through which the world comes in.
#[derive(Debug, Clone)]
pub struct Environment {
    /// Connections.
    pub network: Arc<dyn Network>,
    /// Both clocks.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub random: Arc<dyn Random>,
    /// Blocking work.
    pub offload: Arc<dyn Offload>,
    /// Files.
    pub disk: Arc<dyn Disk>,
}

/// Why a controller does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The metadata log cannot be made.
    #[error("the metadata log cannot be made: {0}")]
    Create(String),
    /// The metadata log cannot be used.
    #[error(transparent)]
    LogStore(#[from] LogStoreError),
    /// The newest snapshot cannot be used.
    #[error(transparent)]
    Snapshot(#[from] SnapshotError),
    /// Raft does not start.
    #[error("the metadata quorum does not start: {0}")]
    Raft(String),
    /// There is nobody to vote.
    #[error("controller.quorum.voters is empty: list at least one voter as id@host:port")]
    NoVoters,
}

impl Controller {
    /// Opens the store and starts raft and its tasks. It comes back at once; forming or joining
    /// the cluster goes on behind.
    pub async fn start(
        options: ControllerOptions,
        environment: Environment,
    ) -> Result<Arc<Controller>, StartError> {
        let mut voters = options.voters;
        voters.sort_by_key(|voter| voter.node_id);
        if voters.is_empty() {
            return Err(StartError::NoVoters);
        }
        let listed = voters.iter().find(|voter| voter.node_id == options.node_id).cloned();
        let itself = listed.unwrap_or_else(|| MemberNode {
            node_id: options.node_id,
            host: options.host.clone(),
            port: options.port,
        });
        let directory = options.directory;
        let log = metadata_log(&directory, &*environment.offload).await?;
        let (store, state_machine) = open_store(log, &environment).await?;
        let published = state_machine.published();
        let metadata: Arc<dyn MetadataSource> = published;

        let peers = Arc::new(PeerClientOptions {
            network: Arc::clone(&environment.network),
            node_id: itself.node_id,
            directory_id: directory.directory_id(),
            cluster_id: Mutex::new(directory.cluster_id()),
            connect_timeout: CONNECT_TIMEOUT,
        });
        let clock = Arc::clone(&environment.clock);
        let contacts = Arc::new(Contacts::new(Arc::clone(&clock)));
        let lease = Arc::new(Lease::new(Arc::clone(&clock), options.raft.election_max));
        let network =
            PeerNetwork::new(Arc::clone(&peers), Arc::clone(&contacts), Arc::clone(&lease));
        let config = Arc::new(raft_config(&options.raft)?);
        let random = Arc::clone(&environment.random);
        let raft = with_random(
            random,
            Raft::new(directory.directory_id(), config, network, store, state_machine),
        )
        .await
        .map_err(|error| StartError::Raft(error.to_string()))?;

        let (commands, queue) = mpsc::channel(QUEUE_COMMANDS);
        let office = Arc::new(Office::new(
            Arc::clone(&clock),
            lease,
            Arc::clone(&metadata),
            commands.clone(),
            options.liveness,
        ));
        let decisions = DecisionLoop {
            raft: raft.clone(),
            office: Arc::clone(&office),
            metadata: Arc::clone(&metadata),
            options: options.decisions,
            clock: Arc::clone(&clock),
            random: Arc::clone(&environment.random),
            queue,
            liveness: Liveness::default(),
            liveness_term: None,
        };
        let controller = Arc::new(Controller {
            itself,
            voters,
            membership: Membership::new(
                options.membership,
                Arc::clone(&clock),
                Arc::clone(&contacts),
            ),
            directory,
            raft,
            office,
            metadata,
            contacts,
            commands,
            clock,
            network: Arc::clone(&environment.network),
            offload: Arc::clone(&environment.offload),
            peers,
            route: Mutex::default(),
            failed: watch::Sender::new(None),
            stopping: watch::Sender::new(false),
            tasks: Mutex::new(JoinSet::new()),
        });
        controller.spawn_tasks(decisions, options.liveness.tick, environment.random);
        Ok(controller)
    }

    fn spawn_tasks(
        self: &Arc<Self>,
        decisions: DecisionLoop,
        tick: Duration,
        random: Arc<dyn Random>,
    ) {
        let admission = Admission {
            raft: self.raft.clone(),
            itself: self.itself.clone(),
            voters: self.voters.clone(),
            directory: Arc::clone(&self.directory),
            peers: Arc::clone(&self.peers),
            offload: Arc::clone(&self.offload),
            random,
        };
        let failed = self.failed.clone();
        let admission = async move {
            if let Err(error) = admission.run().await {
                tracing::error!("{error}");
                failed.send_replace(Some(error.to_string()));
            }
        };
        // The tasks hold the controller weakly: they end with it or with its shutdown.
        self.supervise("decisions", decisions.run());
        self.supervise("admission", admission);
        self.supervise("quorum", Controller::watch_raft(Arc::downgrade(self)));
        self.supervise("cluster id", Controller::watch_cluster_id(Arc::downgrade(self)));
        self.supervise("sessions", Controller::watch_sessions(Arc::downgrade(self), tick));
    }

    /// Runs a task without which the node must not go on: a panic in it is the node's failure.
    fn supervise(&self, name: &'static str, task: impl Future<Output = ()> + Send + 'static) {
        let failed = self.failed.clone();
        self.tasks.lock().spawn(async move {
            if AssertUnwindSafe(task).catch_unwind().await.is_err() {
                failed.send_replace(Some(format!("the controller's task '{name}' panicked")));
            }
        });
    }

    /// Follows what openraft says of itself: leadership taken and lost, and its end.
    async fn watch_raft(this: std::sync::Weak<Self>) {
        let Some(mut metrics) = this.upgrade().map(|controller| controller.raft.metrics()) else {
            return;
        };
        loop {
            let Some(controller) = this.upgrade() else { return };
            let now = metrics.borrow_and_update().clone();
            if let Err(fatal) = &now.running_state {
                controller.fail(format!("the metadata quorum's node stopped: {fatal}"));
                return;
            }
            if controller.office.observe(&now) {
                controller.spawn_taking_office();
            }
            drop(controller);
            if metrics.changed().await.is_err() {
                if let Some(controller) = this.upgrade() {
                    controller.fail("the metadata quorum's node is gone".to_owned());
                }
                return;
            }
        }
    }

    /// What a new leader does at once: make certain, give the cluster its id, dial the brokers.
    fn spawn_taking_office(self: &Arc<Self>) {
        let controller = Arc::clone(self);
        let mut tasks = self.tasks.lock();
        while tasks.try_join_next().is_some() {}
        tasks.spawn(async move {
            while controller.raft.metrics().borrow().state == openraft::ServerState::Leader {
                if controller.submit_here(Command::Tick, TICK_COMMAND * 5).await.is_ok() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            controller.suspect_all();
            let cluster_id = controller.directory.cluster_id();
            if let (None, Some(cluster_id)) = (&controller.metadata.image().cluster_id, cluster_id)
            {
                let command = Command::FormCluster { cluster_id };
                if let Err(error) = controller.submit_here(command, TICK_COMMAND * 5).await {
                    // Whoever leads next does it.
                    tracing::info!("the cluster id is not recorded yet: {}", error.name());
                }
            }
            controller.membership.finish_joint_change(&controller.raft).await;
        });
    }

    /// Binds a node that joined an existing cluster to that cluster's id, as soon as it learns it.
    async fn watch_cluster_id(this: std::sync::Weak<Self>) {
        let Some(mut versions) = this.upgrade().map(|controller| controller.metadata.subscribe())
        else {
            return;
        };
        loop {
            versions.borrow_and_update();
            let Some(controller) = this.upgrade() else { return };
            let cluster_id = controller.metadata.image().cluster_id.clone();
            if let Some(cluster_id) = cluster_id {
                match controller.bind(&cluster_id).await {
                    Ok(()) => return,
                    Err(error) => return controller.fail(error.to_string()),
                }
            }
            drop(controller);
            if versions.changed().await.is_err() {
                return;
            }
        }
    }

    /// Moves the brokers' sessions on, and asks the loop now and then what is due.
    async fn watch_sessions(this: std::sync::Weak<Self>, tick: Duration) {
        let mut ticks = tokio::time::interval(tick);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut since_command = Duration::ZERO;
        loop {
            ticks.tick().await;
            let Some(controller) = this.upgrade() else { return };
            controller.office.tick();
            since_command += tick;
            if since_command >= TICK_COMMAND && controller.is_active() {
                since_command = Duration::ZERO;
                controller.office.look_what_is_due();
            }
        }
    }

    fn fail(&self, reason: String) {
        if *self.stopping.borrow() {
            return;
        }
        tracing::error!("{reason}");
        self.failed.send_replace(Some(reason));
    }
}

pub(super) async fn metadata_log(
    directory: &Arc<LogDirectory>,
    offload_to: &dyn Offload,
) -> Result<Arc<Log>, StartError> {
    let name = TopicPartition::new(METADATA_TOPIC, 0);
    match directory.log(&name) {
        Some(log) => Ok(log),
        None => {
            let directory = Arc::clone(directory);
            // Raft says what may go, not the age of a segment.
            let config = LogConfig { cleanup_delete: false, ..LogConfig::default() };
            offload(offload_to, move || directory.create(&name, METADATA_TOPIC_ID, config))
                .await
                .map_err(|error| StartError::Create(error.to_string()))?
                .map_err(|error| StartError::Create(error.to_string()))
        }
    }
}

pub(super) async fn open_store(
    log: Arc<Log>,
    environment: &Environment,
) -> Result<(LogStore, StateMachine), StartError> {
    let snapshots = SnapshotDirectory::new(
        Arc::clone(&environment.disk),
        Arc::clone(&environment.offload),
        log.path(),
    );
    let state_machine = StateMachine::open(snapshots, Arc::clone(&environment.random)).await?;
    let store = LogStore::open(
        log,
        Arc::clone(&environment.disk),
        Arc::clone(&environment.offload),
        Arc::clone(&environment.clock),
        state_machine.covered(),
    )
    .await?;
    Ok((store, state_machine))
}

fn raft_config(timings: &RaftTimings) -> Result<Config, StartError> {
    let ms = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let config = Config {
        cluster_name: METADATA_TOPIC.to_owned(),
        heartbeat_interval: ms(timings.heartbeat),
        election_timeout_min: ms(timings.election_min),
        election_timeout_max: ms(timings.election_max),
        // openraft's own 200 ms are too short for a chunk on a slow disk.
        install_snapshot_timeout: 10_000,
        max_payload_entries: 64,
        // Above the interval of snapshots, or a snapshot would not end a lag.
        replication_lag_threshold: timings.snapshot_every * 2,
        snapshot_policy: SnapshotPolicy::LogsSinceLast(timings.snapshot_every),
        snapshot_max_chunk_size: 1 << 20,
        max_in_snapshot_log_to_keep: timings.keep_entries,
        ..Config::default()
    };
    config.validate().map_err(|error| StartError::Raft(error.to_string()))
}
