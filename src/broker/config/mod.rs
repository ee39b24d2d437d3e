//! The configuration of one node: Kafka's `server.properties`, checked and typed.
//!
//! - [`keys`]: the table of keys
//! - [`ignored`]: Kafka's keys without effect here, and those that are refused, and why
//! - [`cleaner`]: the keys of compaction
//! - [`values`]: what was set where, checked one by one
//! - [`listeners`]: the listener keys together
//! - [`groups`]: the keys of groups and committed offsets
//! - [`scrub`]: the keys of the scrubber
//! - [`live`]: the configuration as it changes while the node runs
//! - `precedence`: what goes before what
//!
//! Unknown keys and bad values are errors of one line; keys of Kafka's without use here are told
//! once. `--override` goes before the environment, and that before the file; an error says where the
//! value came from, with the line where that is the file.

pub mod cleaner;
pub mod groups;
pub mod ignored;
pub mod keys;
pub mod listeners;
pub mod live;
mod precedence;
pub mod scrub;
pub mod values;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

pub use cleaner::CleanerConfig;
pub use groups::GroupsConfig;
pub use listeners::{ListenerConfig, Listeners};
pub use live::LiveConfig;
pub use scrub::ScrubConfig;
pub use values::{ConfigError, Origin, Values, environment_name};

use crate::net::HostPort;
use crate::net::server::ServerLimits;
use crate::types::NodeId;

/// A voter of the metadata quorum.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Voter {
    /// Its `node.id`.
    pub node_id: NodeId,
    /// Its controller listener.
    pub address: HostPort,
}

/// A node's configuration. Times are durations, sizes bytes.
#[derive(Debug, Clone, PartialEq)]
pub struct BrokerConfig {
    /// `node.id`
    pub node_id: NodeId,
    /// Whether `process.roles` has `broker`.
    pub is_broker: bool,
    /// Whether `process.roles` has `controller`.
    pub is_controller: bool,
    /// `controller.quorum.voters`
    pub voters: Vec<Voter>,
    /// The listener keys.
    pub listeners: Listeners,
    /// `log.dirs`
    pub log_dirs: Vec<PathBuf>,
    /// `metadata.log.dir`
    pub metadata_log_dir: PathBuf,
    /// `num.recovery.threads.per.data.dir`; none: one for each core.
    pub recovery_threads: Option<usize>,
    /// `broker.rack`
    pub rack: Option<String>,
    /// `num.partitions`
    pub num_partitions: i32,
    /// `default.replication.factor`
    pub default_replication_factor: i16,
    /// `auto.create.topics.enable`
    pub auto_create_topics: bool,
    /// `auto.leader.rebalance.enable`
    pub auto_leader_rebalance: bool,
    /// `controlled.shutdown.enable`
    pub controlled_shutdown: bool,
    /// `delete.topic.enable`
    pub delete_topics: bool,
    /// `leader.imbalance.check.interval.seconds`
    pub preferred_leader_delay: Duration,
    /// `broker.heartbeat.interval.ms`
    pub heartbeat_interval: Duration,
    /// `broker.session.timeout.ms`
    pub session_timeout: Duration,
    /// `controller.quorum.election.timeout.ms`
    pub election_timeout: Duration,
    /// `ottla.quorum.replace.after.ms`
    pub replace_voter_after: Duration,
    /// `ottla.quorum.snapshot.entries`
    pub snapshot_entries: u64,
    /// `log.initial.task.delay.ms`
    pub initial_task_delay: Duration,
    /// `log.retention.check.interval.ms`
    pub retention_check_interval: Duration,
    /// The `log.cleaner.*` keys.
    pub cleaner: CleanerConfig,
    /// `fetch.max.bytes`
    pub fetch_max_bytes: usize,
    /// `max.incremental.fetch.session.cache.slots`
    pub fetch_session_slots: usize,
    /// `socket.request.max.bytes`
    pub socket_request_max_bytes: usize,
    /// `queued.max.request.bytes`; none: no bound.
    pub queued_max_request_bytes: Option<usize>,
    /// `max.connections`
    pub max_connections: usize,
    /// `max.connection.creation.rate`
    pub max_connection_creation_rate: usize,
    /// `max.connections.per.ip`
    pub max_connections_per_ip: usize,
    /// `max.connections.per.ip.overrides`
    pub max_connections_per_ip_overrides: BTreeMap<IpAddr, usize>,
    /// `connections.max.idle.ms`; none: never.
    pub connections_max_idle: Option<Duration>,
    /// The `replica.*` keys.
    pub replica: ReplicaConfig,
    /// The `group.*` and `offsets.*` keys.
    pub groups: GroupsConfig,
    /// The broker-wide defaults of topic configurations that were set, by their broker-level names.
    pub topic_defaults: Arc<BTreeMap<String, String>>,
    /// The `ottla.scrub.*` keys.
    pub scrub: ScrubConfig,
    /// Everything that was set, for the defaults of topics and for DescribeConfigs.
    pub values: Values,
}

/// How this node's followers fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaConfig {
    /// `replica.lag.time.max.ms`
    pub lag_time_max: Duration,
    /// `replica.fetch.wait.max.ms`
    pub fetch_wait_max: Duration,
    /// `replica.fetch.min.bytes`
    pub fetch_min_bytes: i32,
    /// `replica.fetch.max.bytes`
    pub fetch_max_bytes: i32,
    /// `replica.fetch.response.max.bytes`
    pub fetch_response_max_bytes: i32,
    /// `replica.socket.timeout.ms`
    pub socket_timeout: Duration,
    /// Whether `replica.selector.class` is the rack-aware one.
    pub rack_aware_reads: bool,
}

const RECOVERY_THREADS: &str = "num.recovery.threads.per.data.dir";

/// The only replica selector besides the leader.
const RACK_AWARE_SELECTOR: &str = "org.apache.kafka.common.replica.RackAwareReplicaSelector";
const LEADER_SELECTOR: &str = "org.apache.kafka.common.replica.LeaderSelector";

impl BrokerConfig {
    /// Puts a configuration together from a properties text, `key=value` overrides, and the
    /// environment as `environment` tells it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn load(
        text: &str,
        overrides: &[(String, String)],
        environment: impl Fn(&str) -> Option<String>,
    ) -> Result<BrokerConfig, ConfigError> {
        let mut values = Values::read(text)?;
        for name in keys::names() {
            let variable = environment_name(name);
            if let Some(value) = environment(&variable) {
                values.set(name, &value, Origin::Environment)?;
            }
        }
        for (name, value) in overrides {
            values.set(name, value, Origin::Override)?;
        }
        BrokerConfig::from_values(values)
    }

    /// Checks values together.
    ///
    /// # Errors
    /// The first thing that is wrong.
    fn from_values(values: Values) -> Result<BrokerConfig, ConfigError> {
        let roles = values.list("process.roles");
        if roles.is_empty() {
            return Err(values.wrong(
                &["process.roles"],
                "process.roles is not set; say broker, controller, or broker,controller",
            ));
        }
        let (is_broker, is_controller) = (roles.contains(&"broker"), roles.contains(&"controller"));
        let node_id = NodeId(small(&values, "node.id")?);
        let voters = voters(&values)?;
        if is_controller && !voters.iter().any(|voter| voter.node_id == node_id) {
            return Err(values.wrong(
                &["controller.quorum.voters"],
                format!(
                    "controller.quorum.voters does not list this controller; \
                 add {node_id}@host:port"
                ),
            ));
        }
        if !is_controller && voters.iter().any(|voter| voter.node_id == node_id) {
            return Err(values.wrong(
                &["controller.quorum.voters"],
                format!(
                    "controller.quorum.voters lists node {node_id}, but \
                 process.roles has no controller"
                ),
            ));
        }
        let listeners = listeners::read(&values, is_broker, is_controller)?;
        let log_dirs = log_dirs(&values)?;
        let metadata_log_dir = match values.explicit("metadata.log.dir") {
            Some(directory) => PathBuf::from(directory),
            None => log_dirs[0].clone(),
        };
        let heartbeat_interval = millis(&values, "broker.heartbeat.interval.ms")?;
        let session_timeout = millis(&values, "broker.session.timeout.ms")?;
        if session_timeout < heartbeat_interval * 2 {
            return Err(values.wrong(
                &["broker.session.timeout.ms", "broker.heartbeat.interval.ms"],
                "broker.session.timeout.ms must be at least twice broker.heartbeat.interval.ms",
            ));
        }
        let election = millis(&values, "controller.quorum.election.timeout.ms")?;
        let fetch_timeout = millis(&values, "controller.quorum.fetch.timeout.ms")?;
        let seconds = values.number("leader.imbalance.check.interval.seconds")?;
        Ok(BrokerConfig {
            node_id,
            is_broker,
            is_controller,
            voters,
            listeners,
            log_dirs,
            metadata_log_dir,
            recovery_threads: match values.explicit(RECOVERY_THREADS) {
                Some(_) => Some(small(&values, RECOVERY_THREADS)?),
                None => None,
            },
            rack: values.explicit("broker.rack").map(str::to_owned),
            num_partitions: small(&values, "num.partitions")?,
            default_replication_factor: small(&values, "default.replication.factor")?,
            auto_create_topics: values.is_true("auto.create.topics.enable"),
            auto_leader_rebalance: values.is_true("auto.leader.rebalance.enable"),
            controlled_shutdown: values.is_true("controlled.shutdown.enable"),
            delete_topics: values.is_true("delete.topic.enable"),
            preferred_leader_delay: Duration::from_secs(seconds.unsigned_abs()),
            heartbeat_interval,
            session_timeout,
            election_timeout: election.max(fetch_timeout),
            replace_voter_after: millis(&values, "ottla.quorum.replace.after.ms")?,
            snapshot_entries: values.number("ottla.quorum.snapshot.entries")?.unsigned_abs(),
            initial_task_delay: millis(&values, "log.initial.task.delay.ms")?,
            retention_check_interval: millis(&values, "log.retention.check.interval.ms")?,
            cleaner: cleaner::read(&values)?,
            fetch_max_bytes: small(&values, "fetch.max.bytes")?,
            fetch_session_slots: small(&values, "max.incremental.fetch.session.cache.slots")?,
            socket_request_max_bytes: small(&values, "socket.request.max.bytes")?,
            queued_max_request_bytes: usize::try_from(values.number("queued.max.request.bytes")?)
                .ok(),
            max_connections: small(&values, "max.connections")?,
            max_connection_creation_rate: small(&values, "max.connection.creation.rate")?,
            max_connections_per_ip: small(&values, "max.connections.per.ip")?,
            max_connections_per_ip_overrides: per_ip_overrides(&values)?,
            connections_max_idle: u64::try_from(values.number("connections.max.idle.ms")?)
                .ok()
                .map(Duration::from_millis),
            replica: replica(&values)?,
            groups: groups::read(&values)?,
            topic_defaults: Arc::new(topic_defaults(&values)),
            scrub: scrub::read(&values)?,
            values,
        })
    }

    /// What this node's listeners take on together.
    pub fn server_limits(&self) -> ServerLimits {
        ServerLimits {
            socket_request_max_bytes: self.socket_request_max_bytes,
            queued_max_request_bytes: self.queued_max_request_bytes,
            connections_max_idle: self.connections_max_idle,
            max_connections: self.max_connections,
            max_connection_creation_rate: self.max_connection_creation_rate,
            max_connections_per_ip: self.max_connections_per_ip,
            max_connections_per_ip_overrides: self.max_connections_per_ip_overrides.clone(),
        }
    }

    /// What of this configuration topics and groups inherit, or are bounded by, as far as it was set, by
    /// broker-level names.
    pub fn inherited(&self) -> BTreeMap<String, String> {
        let of_groups = self.values.iter().filter(|(name, _)| name.starts_with("group."));
        let of_groups = of_groups.map(|(name, value)| (name.to_owned(), value.to_owned()));
        self.topic_defaults
            .iter()
            .map(|(name, value)| (name.clone(), value.clone()))
            .chain(of_groups)
            .collect()
    }
}

fn topic_defaults(values: &Values) -> BTreeMap<String, String> {
    let is_default = |name: &str| matches!(keys::find(name), Some(keys::Known::TopicDefault(_)));
    let set = values.iter().filter(|(name, _)| is_default(name));
    set.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

fn replica(values: &Values) -> Result<ReplicaConfig, ConfigError> {
    let rack_aware_reads = match values.explicit("replica.selector.class") {
        None | Some(LEADER_SELECTOR) => false,
        Some(RACK_AWARE_SELECTOR) => true,
        Some(other) => {
            return Err(values.wrong(
                &["replica.selector.class"],
                format!("replica.selector.class={other}: only {RACK_AWARE_SELECTOR} is there"),
            ));
        }
    };
    let lag_time_max = millis(values, "replica.lag.time.max.ms")?;
    let fetch_wait_max = millis(values, "replica.fetch.wait.max.ms")?;
    if fetch_wait_max > lag_time_max {
        return Err(values.wrong(
            &["replica.fetch.wait.max.ms", "replica.lag.time.max.ms"],
            "replica.fetch.wait.max.ms must not exceed replica.lag.time.max.ms, or \
             idle followers leave the ISR",
        ));
    }
    Ok(ReplicaConfig {
        lag_time_max,
        fetch_wait_max,
        fetch_min_bytes: small(values, "replica.fetch.min.bytes")?,
        fetch_max_bytes: small(values, "replica.fetch.max.bytes")?,
        fetch_response_max_bytes: small(values, "replica.fetch.response.max.bytes")?,
        socket_timeout: millis(values, "replica.socket.timeout.ms")?,
        rack_aware_reads,
    })
}

fn millis(values: &Values, name: &str) -> Result<Duration, ConfigError> {
    Ok(Duration::from_millis(values.number(name)?.max(0).unsigned_abs()))
}

fn small<T: TryFrom<i64>>(values: &Values, name: &str) -> Result<T, ConfigError> {
    let number = values.number(name)?;
    T::try_from(number).map_err(|_| values.wrong(&[name], format!("{name}={number}: out of range")))
}

fn log_dirs(values: &Values) -> Result<Vec<PathBuf>, ConfigError> {
    let several = values.list("log.dirs");
    let listed = if several.is_empty() { values.list("log.dir") } else { several };
    for (index, directory) in listed.iter().enumerate() {
        if listed[..index].contains(directory) {
            return Err(
                values.wrong(&["log.dirs", "log.dir"], format!("log.dirs names {directory} twice"))
            );
        }
    }
    if listed.is_empty() {
        return Err(values.wrong(
            &["log.dirs", "log.dir"],
            "log.dirs names no directory; say where the data is kept",
        ));
    }
    Ok(listed.into_iter().map(PathBuf::from).collect())
}

/// Reads `max.connections.per.ip.overrides`.
fn per_ip_overrides(values: &Values) -> Result<BTreeMap<IpAddr, usize>, ConfigError> {
    let items = values.list("max.connections.per.ip.overrides").into_iter();
    items
        .map(|item| {
            let parts = item.rsplit_once(':').and_then(|(address, count)| {
                Some((address.trim().parse().ok()?, count.trim().parse().ok()?))
            });
            parts.ok_or_else(|| {
                values.wrong(
                    &["max.connections.per.ip.overrides"],
                    format!(
                        "max.connections.per.ip.overrides: '{item}' is \
                     not of the form address:count"
                    ),
                )
            })
        })
        .collect()
}

fn voters(values: &Values) -> Result<Vec<Voter>, ConfigError> {
    let items = values.list("controller.quorum.voters");
    if items.is_empty() {
        return Err(values.wrong(
            &["controller.quorum.voters"],
            "controller.quorum.voters is not set; list the controllers as id@host:port",
        ));
    }
    let mut voters: Vec<Voter> = Vec::new();
    for item in items {
        let wrong = || {
            values.wrong(
                &["controller.quorum.voters"],
                format!(
                    "controller.quorum.voters: '{item}' is not \
                 of the form id@host:port"
                ),
            )
        };
        let (id, address) = item.split_once('@').ok_or_else(wrong)?;
        let id: i32 = id.trim().parse().map_err(|_| wrong())?;
        let address: HostPort = address.parse().map_err(|_| wrong())?;
        if id < 0 || address.host.is_empty() || address.port == 0 {
            return Err(wrong());
        }
        if voters.iter().any(|voter| voter.node_id.0 == id) {
            return Err(values.wrong(
                &["controller.quorum.voters"],
                format!("controller.quorum.voters lists {id} twice"),
            ));
        }
        voters.push(Voter { node_id: NodeId(id), address });
    }
    Ok(voters)
}

#[cfg(test)]
mod tests;
