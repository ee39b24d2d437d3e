//! One node from start to stop.
//!
//! The order of a start: listeners are bound (a busy port is told before anything is touched), data
//! directories opened and recovered, the quorum joined, the broker registered; once the metadata
//! that this node has applied contains its own registration the replicas start, and once they have
//! taken their roles the broker asks to be unfenced and begins to answer. What clients ask before
//! that waits for it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;

use crate::broker::cleaner::Cleaner;
use crate::broker::config::ignored::why_ignored;
use crate::broker::config::{BrokerConfig, ListenerConfig, LiveConfig};
use crate::broker::controller_link::ControllerLink;
use crate::broker::directories::{self, Directories};
use crate::broker::entry::Entry;
use crate::broker::failed_directories::FailedDirectories;
use crate::broker::group_history::{GroupHistory, Writer as HistoryWriter};
use crate::broker::handlers::Parts;
use crate::broker::health::{BrokerProbe, HealthProbe, watch_catching_up};
use crate::broker::housekeeping;
use crate::broker::log_ends::LogEndReports;
use crate::broker::mending::Mender;
use crate::broker::open_files;
use crate::broker::scrubber::Scrubber;
use crate::broker::seams::Seams;
use crate::broker::service::{Gate, NodeService};
use crate::broker::start_error::StartError;
use crate::broker::surroundings::{IsrLink, Surroundings};
use crate::broker::verification::Verifications;
use crate::controller::lifecycle::{BrokerLifecycle, BrokerState, LifecycleOptions};
use crate::controller::liveness::LivenessOptions;
use crate::controller::machine::{self, RegisterBroker};
use crate::controller::membership::MembershipOptions;
use crate::controller::{Controller, ControllerOptions, Environment, MemberNode, RaftTimings};
use crate::coordinator::group::command::Effect;
use crate::coordinator::groups::Groups;
use crate::coordinator::shard::ShardSeams;
use crate::metadata::{Endpoint, SecurityProtocol, features};
use crate::net::server::{Class, Server as NetServer};
use crate::net::{HostPort, Listener};
use crate::replication::{ReplicaOptions, Replicas, ReplicasParts};
use crate::types::{IncarnationId, watch};

/// How long leaders may take to move away from a broker that stops.
const CONTROLLED_SHUTDOWN_PATIENCE: Duration = Duration::from_secs(20);
/// How long requests under way may take when a node stops.
const DRAIN: Duration = Duration::from_secs(3);

/// A node at work.
pub struct Server {
    config: Arc<BrokerConfig>,
    live: LiveConfig,
    listeners: Vec<(String, HostPort)>,
    net: Arc<NetServer>,
    controller: Arc<Controller>,
    broker: Option<Broker>,
    directories: Directories,
    failure: watch::Sender<Option<String>>,
    tasks: JoinSet<()>,
}

/// What a node has that is a broker.
struct Broker {
    lifecycle: Arc<BrokerLifecycle>,
    replicas: Arc<Replicas>,
    groups: Arc<Groups>,
    caught_up: watch::Receiver<bool>,
}

/// A listener that is bound and not yet served.
struct Bound {
    config: ListenerConfig,
    listener: Box<dyn Listener>,
}

impl Server {
    /// Starts a node. It comes back once the node listens; joining the cluster goes on behind.
    ///
    /// # Errors
    /// What keeps it from starting, with what to do about it.
    pub async fn start(config: BrokerConfig, seams: Seams) -> Result<Server, StartError> {
        for key in &config.values.ignored {
            let why = why_ignored(key).unwrap_or("it has no use here");
            tracing::warn!("{key} is ignored: {why}");
        }
        let bound = bind(&config, &seams).await?;
        let config = Arc::new(config);
        let directories = directories::open(&config, &seams).await?;
        let controller = start_controller(&config, &bound, &directories, &seams).await?;
        let net = Arc::new(NetServer::new(config.server_limits(), Arc::clone(&seams.clock)));
        let mut server = Server {
            listeners: bound
                .iter()
                .map(|bound| (bound.config.name.clone(), bound.config.advertised.clone()))
                .collect(),
            net,
            controller,
            broker: None,
            directories,
            failure: watch::Sender::new(None),
            tasks: JoinSet::new(),
            live: LiveConfig::new(Arc::clone(&config)),
            config,
        };
        server.follow_configuration();
        server.serve(bound, &seams);
        server.watch_failures();
        Ok(server)
    }

    /// What is set while the node runs takes effect.
    fn follow_configuration(&mut self) {
        let metadata = self.controller.metadata();
        // What is known from before the restart holds from the first connection on.
        self.net.set_limits(self.live.at(&metadata.image()).server_limits());
        let (live, net, mut changes) =
            (self.live.clone(), Arc::clone(&self.net), self.live.subscribe());
        self.tasks.spawn(self.live.clone().follow(metadata));
        self.tasks.spawn(async move {
            while changes.changed().await.is_ok() {
                net.set_limits(live.current().server_limits());
            }
        });
    }

    fn serve(&mut self, bound: Vec<Bound>, seams: &Seams) {
        let metadata = self.controller.metadata();
        let node_id = self.config.node_id;
        let link =
            ControllerLink::new(node_id, Arc::clone(&self.controller), Arc::clone(&seams.clock));
        let parts = Parts {
            config: Arc::clone(&self.config),
            live: self.live.clone(),
            controller: Arc::clone(&self.controller),
            link: Arc::new(link),
            metadata,
            clock: Arc::clone(&seams.clock),
            random: Arc::clone(&seams.random),
            loggers: Arc::clone(&seams.loggers),
        };
        let controller_service = Arc::new(NodeService::new(
            parts.controller_service(),
            Gate::open(),
            Some(Arc::clone(&self.controller)),
        ));
        let broker_service = self.config.is_broker.then(|| {
            let (history, rebalances) = GroupHistory::new();
            let writer = HistoryWriter {
                rebalances,
                metadata: Arc::clone(&parts.metadata),
                auto_create: parts.auto_create(),
                network: Arc::clone(&seams.network),
                listener: self.config.listeners.inter_broker.clone(),
                clock: Arc::clone(&seams.clock),
                connections: BTreeMap::new(),
            };
            self.tasks.spawn(writer.run());
            let broker = self.start_broker(&bound, seams, history);
            let gate = Gate::closed();
            let verifications = self.start_verifying(&broker.replicas, seams);
            let service = parts.broker_service(&broker.replicas, &broker.groups, &verifications);
            // A pure broker's peers reach it by the listener that brokers use.
            let peers = (!self.config.is_controller).then(|| Arc::clone(&self.controller));
            let entry = Entry {
                node_id: self.config.node_id,
                lifecycle: Arc::clone(&broker.lifecycle),
                replicas: Arc::clone(&broker.replicas),
                controller: Arc::clone(&self.controller),
                gate: gate.clone(),
            };
            self.tasks.spawn(entry.run());
            self.broker = Some(broker);
            Arc::new(NodeService::new(service, gate, peers))
        });
        let of_brokers = bound.iter().filter(|bound| !bound.config.is_controller).count();
        for Bound { config, listener } in bound {
            // As in Kafka, clients do not keep brokers out that have a listener of their own, and
            // controllers are counted by themselves.
            let is_inter_broker = config.name == self.config.listeners.inter_broker;
            let class = match config.is_controller {
                true => Class::Apart,
                false if is_inter_broker && of_brokers > 1 => Class::Exempt,
                false => Class::Limited,
            };
            let service = match (&broker_service, config.is_controller) {
                (Some(service), false) => Arc::clone(service),
                _ => Arc::clone(&controller_service),
            };
            self.net.listen(&config.name, class, listener, service);
        }
    }

    fn start_broker(&mut self, bound: &[Bound], seams: &Seams, history: GroupHistory) -> Broker {
        let config = &self.config;
        let endpoints = bound.iter().filter(|bound| !bound.config.is_controller);
        let registration = RegisterBroker {
            node_id: config.node_id,
            cluster_id: self.directories.metadata.cluster_id(),
            incarnation: IncarnationId(seams.random.uuid()),
            endpoints: endpoints
                .map(|bound| Endpoint {
                    listener: bound.config.name.clone(),
                    host: bound.config.advertised.host.clone(),
                    port: bound.config.advertised.port,
                    security_protocol: SecurityProtocol::Plaintext,
                })
                .collect(),
            rack: config.rack.clone(),
            directories: self.directories.registered(),
            has_offline_directories: !self.directories.unopened.is_empty(),
            features: features::supported(),
        };
        let options = LifecycleOptions {
            registration,
            heartbeat: config.heartbeat_interval,
            session: config.session_timeout,
            directories: self.directories.all(),
            offload: Arc::clone(&seams.offload),
        };
        let lifecycle = Arc::new(BrokerLifecycle::start(
            options,
            Arc::clone(&self.controller),
            Arc::clone(&seams.clock),
        ));
        let replicas = Replicas::new(ReplicasParts {
            node: config.node_id,
            directories: self.directories.data.clone(),
            unopened: self.directories.unopened.clone(),
            metadata: self.controller.metadata(),
            alter_isr: Arc::new(IsrLink {
                node_id: config.node_id,
                controller: Arc::clone(&self.controller),
                lifecycle: Arc::clone(&lifecycle),
                clock: Arc::clone(&seams.clock),
            }),
            network: Arc::clone(&seams.network),
            offload: Arc::clone(&seams.offload),
            clock: Arc::clone(&seams.clock),
            surrounds: Arc::new(Surroundings {
                live: self.live.clone(),
                lifecycle: Arc::clone(&lifecycle),
            }),
            options: replica_options(config),
        });
        let reports = LogEndReports {
            node_id: config.node_id,
            directories: self.directories.data.clone(),
            metadata: self.controller.metadata(),
            controller: Arc::clone(&self.controller),
            lifecycle: Arc::clone(&lifecycle),
            clock: Arc::clone(&seams.clock),
        };
        self.tasks.spawn(reports.run());
        self.tasks.spawn(open_files::watch(self.directories.all()));
        let failing = FailedDirectories {
            node_id: config.node_id,
            directories: self.directories.clone(),
            metadata: self.controller.metadata(),
            controller: Arc::clone(&self.controller),
            clock: Arc::clone(&seams.clock),
            offload: Arc::clone(&seams.offload),
            failure: self.failure.clone(),
        };
        self.tasks.spawn(failing.run());
        let keeping =
            housekeeping::run(Arc::clone(&replicas), Arc::clone(&seams.clock), self.live.clone());
        self.tasks.spawn(keeping);
        let cleaner = Cleaner {
            replicas: Arc::clone(&replicas),
            clock: Arc::clone(&seams.clock),
            random: Arc::clone(&seams.random),
            offload: Arc::clone(&seams.offload),
            live: self.live.clone(),
        };
        self.tasks.spawn(cleaner.run());
        let caught_up = watch::Sender::new(false);
        let caught_up_receiver = caught_up.subscribe();
        let metadata = self.controller.metadata();
        let watching = watch_catching_up(config.node_id, lifecycle.state(), metadata, caught_up);
        self.tasks.spawn(watching);
        let groups = start_groups(config, &replicas, seams, history);
        Broker { lifecycle, replicas, groups, caught_up: caught_up_receiver }
    }

    /// Segments are verified, in the background and on demand.
    fn start_verifying(&mut self, replicas: &Arc<Replicas>, seams: &Seams) -> Arc<Verifications> {
        let directories = self.directories.data.clone();
        let mender: Arc<dyn Mender> = Arc::clone(replicas) as _;
        let scrubber = Scrubber {
            directories: directories.clone(),
            mender: Arc::clone(&mender),
            offload: Arc::clone(&seams.offload),
            clock: Arc::clone(&seams.clock),
            live: self.live.clone(),
        };
        self.tasks.spawn(scrubber.run());
        let first_id = i64::try_from(seams.random.below(1 << 40)).unwrap_or(1);
        let offload = Arc::clone(&seams.offload);
        let verifications = Verifications::new(directories, mender, offload, first_id);
        self.tasks.spawn(Arc::clone(&verifications).run());
        verifications
    }

    /// Whatever ends a part of this node for good ends the node.
    fn watch_failures(&mut self) {
        let mut failures = vec![self.controller.failure()];
        failures.extend(self.broker.as_ref().map(|broker| broker.lifecycle.failure()));
        for mut failure in failures {
            let failed = self.failure.clone();
            self.tasks.spawn(async move {
                if let Ok(reason) = failure.wait_for(Option::is_some).await {
                    failed.send_replace(reason.clone());
                }
            });
        }
        if let Some(broker) = &self.broker {
            let (replicas, failed) = (Arc::clone(&broker.replicas), self.failure.clone());
            self.tasks.spawn(async move {
                failed.send_replace(Some(replicas.failed().await));
            });
        }
    }

    /// The listeners by name, and where they are reached.
    pub fn listeners(&self) -> &[(String, HostPort)] {
        &self.listeners
    }

    /// Returns, with the reason, once the node cannot go on.
    pub async fn failed(&self) -> String {
        let mut failure = self.failure.subscribe();
        match failure.wait_for(Option::is_some).await {
            Ok(reason) => reason.clone().unwrap_or_default(),
            Err(_) => std::future::pending().await,
        }
    }

    /// How the broker stands, and each change of that. None if this node is no broker.
    pub fn broker_state(&self) -> Option<watch::Receiver<BrokerState>> {
        self.broker.as_ref().map(|broker| broker.lifecycle.state())
    }

    /// This node's replicas, for who looks into a node in its own process. None if it is no broker.
    pub fn replicas(&self) -> Option<&Arc<Replicas>> {
        self.broker.as_ref().map(|broker| &broker.replicas)
    }

    /// This node's part in the quorum, for who looks into a node in its own process.
    pub fn controller(&self) -> &Arc<Controller> {
        &self.controller
    }

    /// What tells how this node stands, for health checks.
    pub fn health_probe(&self) -> HealthProbe {
        HealthProbe {
            node_id: self.config.node_id,
            is_controller: self.config.is_controller,
            controller: Arc::clone(&self.controller),
            broker: self.broker.as_ref().map(|broker| BrokerProbe {
                lifecycle: Arc::clone(&broker.lifecycle),
                caught_up: broker.caught_up.clone(),
            }),
        }
    }

    /// Stops in order: leaders move away (not from a node that has failed: that would only wait),
    /// requests under way are finished, logs are closed.
    pub async fn stop(mut self) {
        let has_failed = self.failure.borrow().is_some();
        if let Some(broker) = &self.broker
            && self.config.controlled_shutdown
            && !has_failed
            && broker.lifecycle.broker_epoch().is_some()
            && !broker.lifecycle.shutdown(CONTROLLED_SHUTDOWN_PATIENCE).await
        {
            tracing::warn!("stopping all the same; what this broker led fails over to others");
        }
        self.tasks.shutdown().await;
        if let Some(broker) = &self.broker {
            // Members that wait for others would keep their connections open.
            broker.groups.stop().await;
        }
        self.net.shutdown(DRAIN).await;
        if let Some(broker) = &self.broker {
            broker.replicas.stop().await;
        }
        self.controller.shutdown().await;
        for directory in self.directories.all() {
            if directory.is_offline() {
                tracing::warn!(path = %directory.path().display(), "failed, and left as it is");
            } else if let Err(error) = directory.close().await {
                tracing::error!(path = %directory.path().display(), %error, "not closed in order");
            }
        }
        tracing::info!("stopped");
    }
}

fn start_groups(
    config: &BrokerConfig,
    replicas: &Arc<Replicas>,
    seams: &Seams,
    history: GroupHistory,
) -> Arc<Groups> {
    let shards =
        ShardSeams { clock: Arc::clone(&seams.clock), offload: Arc::clone(&seams.offload) };
    let perform = move |Effect::Rebalanced(rebalance)| history.remember(rebalance);
    let groups = Groups::new(
        Arc::clone(replicas),
        shards,
        config.groups.shard.clone(),
        config.groups.group.clone(),
        Arc::clone(&seams.random),
        perform,
    );
    groups.start();
    groups
}

async fn bind(config: &BrokerConfig, seams: &Seams) -> Result<Vec<Bound>, StartError> {
    let mut all = Vec::new();
    for listener in &config.listeners.all {
        let mut config = listener.clone();
        let failed = |error| StartError::bind(&listener.name, &listener.bind, error);
        let bound = seams.network.bind(&listener.bind).await.map_err(failed)?;
        if config.advertised.port == 0 {
            config.advertised.port = bound.local_addr().map_err(failed)?.port();
        }
        all.push(Bound { config, listener: bound });
    }
    Ok(all)
}

async fn start_controller(
    config: &BrokerConfig,
    bound: &[Bound],
    directories: &Directories,
    seams: &Seams,
) -> Result<Arc<Controller>, StartError> {
    let peers = bound.iter().find(|bound| bound.config.name == config.listeners.inter_broker);
    let address = peers.or(bound.first()).map(|bound| bound.config.advertised.clone());
    let address = address.unwrap_or_else(|| HostPort::new("", 0));
    let voters = config.voters.iter().map(|voter| MemberNode {
        node_id: voter.node_id,
        host: voter.address.host.clone(),
        port: voter.address.port,
    });
    let defaults = (LivenessOptions::default(), MembershipOptions::default());
    let options = ControllerOptions {
        node_id: config.node_id,
        host: address.host,
        port: address.port,
        voters: voters.collect(),
        directory: Arc::clone(&directories.metadata),
        decisions: machine::Options {
            num_partitions: config.num_partitions,
            default_replication_factor: config.default_replication_factor,
            node_id: config.node_id,
            broker_defaults: config.inherited(),
            preferred_leader_delay: match config.auto_leader_rebalance {
                true => config.preferred_leader_delay,
                false => Duration::MAX,
            },
        },
        liveness: LivenessOptions { session: config.session_timeout, ..defaults.0 },
        membership: MembershipOptions { replace_after: config.replace_voter_after, ..defaults.1 },
        raft: RaftTimings {
            election_min: config.election_timeout / 2,
            election_max: config.election_timeout,
            heartbeat: config.election_timeout / 6,
            snapshot_every: config.snapshot_entries,
            // For members that lag a little.
            keep_entries: config.snapshot_entries / 5,
        },
    };
    let environment = Environment {
        network: Arc::clone(&seams.network),
        clock: Arc::clone(&seams.clock),
        random: Arc::clone(&seams.random),
        offload: Arc::clone(&seams.quorum_offload),
        disk: Arc::clone(&seams.disk),
    };
    Ok(Controller::start(options, environment).await?)
}

fn replica_options(config: &BrokerConfig) -> ReplicaOptions {
    ReplicaOptions {
        lag_max: config.replica.lag_time_max,
        fetch_wait_max: config.replica.fetch_wait_max,
        fetch_min_bytes: config.replica.fetch_min_bytes,
        fetch_max_bytes: config.replica.fetch_max_bytes,
        fetch_response_max_bytes: config.replica.fetch_response_max_bytes,
        socket_timeout: config.replica.socket_timeout,
        inter_broker_listener: config.listeners.inter_broker.clone(),
        rack_aware_reads: config.replica.rack_aware_reads,
    }
}
