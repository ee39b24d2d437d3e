//! The table of configuration keys: Kafka's names, types, ranges and defaults. Ottla's own begin with
//! `ottla.`.
//!
//! The broker-wide defaults of topic configurations (`log.retention.ms`, `min.insync.replicas`) are
//! not repeated here: they are the synonyms that `metadata::topic_config` lists.

use crate::broker::config::ignored;
use crate::metadata::topic_config::{self, Kind};

/// What Ottla does with a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// It is used.
    Used,
    /// Kafka has it and Ottla has no use for it: one warning.
    Ignored,
}

/// Whether a key may be set while the node runs, and for whom (Kafka's update modes).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Update {
    /// Only before a start.
    ReadOnly,
    /// For one broker.
    PerBroker,
    /// For one broker, or for all that have no value of their own.
    ClusterWide,
}

/// One key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Key {
    /// Its name in `server.properties`.
    pub name: &'static str,
    /// Its type and range.
    pub kind: Kind,
    /// Its value where nobody sets it; none if there is no default.
    pub default: Option<&'static str>,
    /// What it means.
    pub doc: &'static str,
    /// Whether it may be set while the node runs.
    pub update: Update,
}

impl Key {
    /// The same key, to be set while the node runs: whoever uses it reads `LiveConfig`.
    const fn cluster_wide(self) -> Key {
        Key { update: Update::ClusterWide, ..self }
    }
}

const ANY: Kind = Kind::List(&[]);
const MAX_INT: i64 = i32::MAX as i64;

const fn key(name: &'static str, kind: Kind, default: &'static str, doc: &'static str) -> Key {
    Key { name, kind, default: Some(default), doc, update: Update::ReadOnly }
}

const fn without_default(name: &'static str, kind: Kind, doc: &'static str) -> Key {
    Key { name, kind, default: None, doc, update: Update::ReadOnly }
}

/// Every key that is used, sorted by name.
pub static KEYS: &[Key] = &[
    without_default(
        "advertised.listeners",
        ANY,
        "Where clients and other brokers reach the listeners, as NAME://host:port; the default is listeners.",
    ),
    key(
        "auto.create.topics.enable",
        Kind::Boolean,
        "true",
        "Whether a topic that a client asks for is created.",
    ),
    key(
        "auto.leader.rebalance.enable",
        Kind::Boolean,
        "true",
        "Whether leadership goes back to the preferred replicas by itself.",
    ),
    key(
        "broker.heartbeat.interval.ms",
        Kind::Int(1, MAX_INT),
        "250",
        "How often a broker tells the controller that it lives.",
    ),
    without_default("broker.rack", ANY, "The rack of this broker; replicas are spread over racks."),
    key(
        "broker.session.timeout.ms",
        Kind::Int(1, MAX_INT),
        "2000",
        "How long a silent broker is taken to be alive.",
    ),
    key(
        "connections.max.idle.ms",
        Kind::Long(-1, i64::MAX),
        "600000",
        "Connections that were idle for so long are closed; -1: never.",
    ),
    key(
        "controlled.shutdown.enable",
        Kind::Boolean,
        "true",
        "Whether a broker that is told to stop hands its leaderships over first.",
    ),
    without_default(
        "controller.listener.names",
        ANY,
        "The listeners that controllers use; a voter's own address is the first of them.",
    ),
    key(
        "controller.quorum.election.timeout.ms",
        Kind::Int(1, MAX_INT),
        "300",
        "How long a voter waits at most before it stands for election; half of it at least.",
    ),
    key(
        "controller.quorum.fetch.timeout.ms",
        Kind::Int(1, MAX_INT),
        "300",
        "Kafka's name for the time without the leader after which voters elect; the greater of this and the election timeout counts.",
    ),
    without_default(
        "controller.quorum.voters",
        ANY,
        "The voters of the metadata quorum, as id@host:port.",
    ),
    key(
        "default.replication.factor",
        Kind::Int(1, i16::MAX as i64),
        "1",
        "How many replicas a topic has where nobody says.",
    ),
    key("delete.topic.enable", Kind::Boolean, "true", "Whether topics can be deleted."),
    key(
        "fetch.max.bytes",
        Kind::Int(1024, MAX_INT),
        "57671680",
        "No answer to a fetch is larger, but for a first batch that is.",
    ),
    key(
        "group.consumer.assignors",
        Kind::List(&["uniform", "range"]),
        "uniform,range",
        "The assignors that groups of the consumer protocol may choose; the first is the default.",
    ),
    key(
        "group.consumer.heartbeat.interval.ms",
        Kind::Int(1, MAX_INT),
        "5000",
        "How often members of consumer groups are to send heartbeats.",
    ),
    key(
        "group.consumer.max.heartbeat.interval.ms",
        Kind::Int(1, MAX_INT),
        "15000",
        "The longest heartbeat interval of consumer groups.",
    ),
    key(
        "group.consumer.max.session.timeout.ms",
        Kind::Int(1, MAX_INT),
        "60000",
        "The longest session timeout of consumer groups.",
    ),
    key(
        "group.consumer.max.size",
        Kind::Int(1, MAX_INT),
        "2147483647",
        "How many members a group of the consumer protocol may have.",
    ),
    key(
        "group.consumer.migration.policy",
        Kind::Text(&["disabled", "upgrade", "downgrade", "bidirectional"]),
        "bidirectional",
        "Which way a group with members may change over between the classic and the consumer protocol.",
    ),
    key(
        "group.consumer.min.heartbeat.interval.ms",
        Kind::Int(1, MAX_INT),
        "5000",
        "The shortest heartbeat interval of consumer groups.",
    ),
    key(
        "group.consumer.min.session.timeout.ms",
        Kind::Int(1, MAX_INT),
        "45000",
        "The shortest session timeout of consumer groups.",
    ),
    key(
        "group.consumer.regex.refresh.interval.ms",
        Kind::Int(10000, MAX_INT),
        "600000",
        "How often regular expressions of consumer groups are resolved anew.",
    ),
    key(
        "group.consumer.session.timeout.ms",
        Kind::Int(1, MAX_INT),
        "45000",
        "How long a silent member of a consumer group is taken to be alive.",
    ),
    key(
        "group.initial.rebalance.delay.ms",
        Kind::Int(0, MAX_INT),
        "3000",
        "How long the first rebalance of a classic group waits for more members.",
    ),
    key(
        "group.max.session.timeout.ms",
        Kind::Int(0, MAX_INT),
        "1800000",
        "The longest session timeout that members of classic groups may ask for.",
    ),
    key(
        "group.max.size",
        Kind::Int(1, MAX_INT),
        "2147483647",
        "How many members a classic group may have.",
    ),
    key(
        "group.min.session.timeout.ms",
        Kind::Int(0, MAX_INT),
        "6000",
        "The shortest session timeout that members of classic groups may ask for.",
    ),
    without_default(
        "inter.broker.listener.name",
        ANY,
        "The listener by which brokers reach each other; the default is the first of listeners that is not a controller's.",
    ),
    key(
        "leader.imbalance.check.interval.seconds",
        Kind::Long(1, i64::MAX),
        "30",
        "How long a preferred leader must have been back before it leads again.",
    ),
    key(
        "listener.security.protocol.map",
        ANY,
        "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
        "Which security protocol each listener speaks; only PLAINTEXT is served yet.",
    ),
    key("listeners", ANY, "PLAINTEXT://:9092", "Where this node listens, as NAME://host:port."),
    key(
        "log.cleaner.backoff.ms",
        Kind::Long(0, i64::MAX),
        "15000",
        "How long the cleaner waits where no log is to be compacted.",
    )
    .cluster_wide(),
    key(
        "log.cleaner.dedupe.buffer.size",
        Kind::Long(0, i64::MAX),
        "134217728",
        "The memory for the last offsets of keys, of all cleaner threads together: 24 bytes a key.",
    )
    .cluster_wide(),
    key(
        "log.cleaner.enable",
        Kind::Boolean,
        "true",
        "Whether topics with cleanup.policy=compact are compacted.",
    ),
    key(
        "log.cleaner.io.buffer.load.factor",
        Kind::Double(0.0, 1.0),
        "0.9",
        "How much of the memory for the last offsets of keys may be filled.",
    )
    .cluster_wide(),
    key(
        "log.cleaner.io.buffer.size",
        Kind::Int(0, MAX_INT),
        "524288",
        "How much a cleaner thread reads at once.",
    )
    .cluster_wide(),
    key(
        "log.cleaner.io.max.bytes.per.second",
        Kind::Double(0.0, f64::MAX),
        "1.7976931348623157E308",
        "How much all cleaner threads together read and write in a second.",
    )
    .cluster_wide(),
    key(
        "log.cleaner.threads",
        Kind::Int(0, MAX_INT),
        "1",
        "How many logs are compacted at once; more than four are as four.",
    )
    .cluster_wide(),
    key("log.dir", ANY, "/tmp/kafka-logs", "The data directory, where log.dirs is not set."),
    without_default("log.dirs", ANY, "The data directories, separated by commas."),
    key(
        "log.initial.task.delay.ms",
        Kind::Long(0, i64::MAX),
        "30000",
        "How long after its start a broker looks for old segments for the first time.",
    ),
    key(
        "log.retention.check.interval.ms",
        Kind::Long(1, i64::MAX),
        "300000",
        "How often old segments are looked for.",
    ),
    key(
        "max.connection.creation.rate",
        Kind::Int(0, MAX_INT),
        "2147483647",
        "How many connections are accepted in a second; ten seconds' worth may come at once. Not for brokers \
         that have a listener of their own.",
    )
    .cluster_wide(),
    key(
        "max.connections",
        Kind::Int(0, MAX_INT),
        "2147483647",
        "How many connections there may be at once; others wait. Those of brokers that have a listener of their \
         own are let in, and the least recently used other one is closed.",
    )
    .cluster_wide(),
    key(
        "max.connections.per.ip",
        Kind::Int(0, MAX_INT),
        "2147483647",
        "How many connections one address may have at once.",
    )
    .cluster_wide(),
    without_default(
        "max.connections.per.ip.overrides",
        ANY,
        "Other limits for some addresses, as address:count, separated by commas.",
    )
    .cluster_wide(),
    key(
        "max.incremental.fetch.session.cache.slots",
        Kind::Int(0, MAX_INT),
        "1000",
        "How many incremental fetch sessions are kept.",
    ),
    without_default(
        "metadata.log.dir",
        ANY,
        "The directory of the cluster's metadata; the default is the first of log.dirs.",
    ),
    key(
        "metadata.log.max.record.bytes.between.snapshots",
        Kind::Long(1, i64::MAX),
        "20971520",
        "A snapshot of the metadata is made after so many bytes of records.",
    ),
    without_default("node.id", Kind::Int(0, MAX_INT), "This node's id, unique in the cluster."),
    key(
        "num.partitions",
        Kind::Int(1, MAX_INT),
        "1",
        "How many partitions a topic has where nobody says.",
    ),
    without_default(
        "num.recovery.threads.per.data.dir",
        Kind::Int(1, MAX_INT),
        "How many logs of a data directory are recovered at a time; the default is one for each core.",
    ),
    key(
        "offset.metadata.max.bytes",
        Kind::Int(0, MAX_INT),
        "4096",
        "How long the metadata of a committed offset may be.",
    ),
    key(
        "offsets.commit.timeout.ms",
        Kind::Int(1, MAX_INT),
        "5000",
        "How long an answer of a group coordinator waits for the replicas of its records.",
    ),
    key(
        "offsets.load.buffer.size",
        Kind::Int(1, MAX_INT),
        "5242880",
        "How many bytes of committed offsets and groups are read at once when they are loaded.",
    ),
    key(
        "offsets.retention.check.interval.ms",
        Kind::Long(1, i64::MAX),
        "600000",
        "How often expired offsets are looked for.",
    ),
    key(
        "offsets.retention.minutes",
        Kind::Int(1, MAX_INT),
        "10080",
        "How long the offsets of a group without members are kept.",
    ),
    key(
        "offsets.topic.compression.codec",
        Kind::Int(0, 4),
        "0",
        "How the records of __consumer_offsets are packed: 0 not, 1 gzip, 2 snappy, 3 lz4, 4 zstd.",
    ),
    key(
        "offsets.topic.num.partitions",
        Kind::Int(1, MAX_INT),
        "50",
        "How many partitions __consumer_offsets is made with.",
    ),
    key(
        "offsets.topic.replication.factor",
        Kind::Int(1, i16::MAX as i64),
        "3",
        "How many replicas __consumer_offsets is made with; fewer live brokers than that refuse groups.",
    ),
    key(
        "offsets.topic.segment.bytes",
        Kind::Int(1, MAX_INT),
        "104857600",
        "How long a segment of __consumer_offsets may be.",
    ),
    without_default(
        "ottla.http.listener",
        ANY,
        "Where this node answers HTTP (/health/live, /health/ready): http://host:port or host:port; not set: nowhere.",
    ),
    key(
        "ottla.quorum.replace.after.ms",
        Kind::Int(0, MAX_INT),
        "60000",
        "How long a voter's old directory must have been unreachable before the same node with an empty disk takes its place.",
    ),
    key(
        "ottla.quorum.snapshot.entries",
        Kind::Int(1, MAX_INT),
        "5000",
        "After how many entries of the metadata log a snapshot takes the place of those before.",
    ),
    key(
        "ottla.scrub.bytes.per.second",
        Kind::Long(0, i64::MAX),
        "8388608",
        "How fast segments are read to be verified in the background; 0 pauses that.",
    )
    .cluster_wide(),
    key(
        "ottla.scrub.enable",
        Kind::Boolean,
        "true",
        "Whether all segments are verified in the background, and mended from other replicas where they are damaged.",
    )
    .cluster_wide(),
    key(
        "ottla.scrub.interval.ms",
        Kind::Long(1, i64::MAX),
        "604800000",
        "How long after the beginning of one pass over all segments the next one begins.",
    )
    .cluster_wide(),
    without_default(
        "process.roles",
        Kind::List(&["broker", "controller"]),
        "What this node is: broker, controller, or both.",
    ),
    key(
        "queued.max.request.bytes",
        Kind::Long(-1, i64::MAX),
        "268435456",
        "How many bytes of requests are held at once; -1: no bound. Kafka's default is no bound.",
    ),
    key(
        "replica.fetch.max.bytes",
        Kind::Int(0, MAX_INT),
        "1048576",
        "How much a follower fetches of one partition at once.",
    ),
    key(
        "replica.fetch.min.bytes",
        Kind::Int(0, MAX_INT),
        "1",
        "How much a follower's fetch waits for.",
    ),
    key(
        "replica.fetch.response.max.bytes",
        Kind::Int(0, MAX_INT),
        "10485760",
        "How much a follower fetches at once.",
    ),
    key(
        "replica.fetch.wait.max.ms",
        Kind::Int(0, MAX_INT),
        "500",
        "How long a follower's fetch waits for new records.",
    ),
    key(
        "replica.lag.time.max.ms",
        Kind::Long(1, i64::MAX),
        "30000",
        "A follower that has not caught up for so long leaves the ISR.",
    ),
    without_default(
        "replica.selector.class",
        ANY,
        "org.apache.kafka.common.replica.RackAwareReplicaSelector lets consumers read from a replica in their rack.",
    ),
    key(
        "replica.socket.timeout.ms",
        Kind::Int(1, MAX_INT),
        "30000",
        "How long a request to another broker may take.",
    ),
    key(
        "security.inter.broker.protocol",
        Kind::Text(&["PLAINTEXT"]),
        "PLAINTEXT",
        "The protocol between brokers; inter.broker.listener.name says more.",
    ),
    key(
        "socket.request.max.bytes",
        Kind::Int(1, MAX_INT),
        "104857600",
        "No request may be larger.",
    ),
];

/// What a name in `server.properties` is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Known {
    /// A key of this table.
    Broker(&'static Key),
    /// The broker-wide default of a topic configuration.
    TopicDefault(&'static topic_config::TopicConfigKey),
    /// A key of Kafka's without use here, and why.
    Ignored(&'static str),
}

/// Looks a name up.
pub fn find(name: &str) -> Option<Known> {
    if let Ok(index) = KEYS.binary_search_by(|key| key.name.cmp(name)) {
        return Some(Known::Broker(&KEYS[index]));
    }
    let mut topic_keys = topic_config::KEYS.iter();
    if let Some(key) =
        topic_keys.find(|key| key.synonyms.iter().any(|synonym| synonym.name == name))
    {
        return Some(Known::TopicDefault(key));
    }
    ignored::why_ignored(name).map(Known::Ignored)
}

/// Whether `name` may be set while the node runs; none if it is not known at all.
///
/// Of the keys that set a topic key's default in several units Kafka lets the finest be changed, which
/// goes before the others. Keys of Kafka's without use here that Kafka lets be changed are kept.
pub fn update_mode(name: &str) -> Option<Update> {
    Some(match find(name)? {
        Known::Broker(key) => key.update,
        Known::TopicDefault(key) => match key.synonyms.first() {
            Some(finest) if finest.name == name => Update::ClusterWide,
            _ => Update::ReadOnly,
        },
        Known::Ignored(_) if ignored::is_dynamic(name) => Update::ClusterWide,
        Known::Ignored(_) => Update::ReadOnly,
    })
}

/// Every name that is known.
pub fn names() -> impl Iterator<Item = &'static str> {
    let synonyms = topic_config::KEYS.iter().flat_map(|key| key.synonyms);
    KEYS.iter()
        .map(|key| key.name)
        .chain(synonyms.map(|synonym| synonym.name))
        .chain(ignored::names())
}

/// The known name that is nearest to `name`, if any is near.
pub fn nearest(name: &str) -> Option<&'static str> {
    let (distance, nearest) = names().map(|known| (distance(name, known), known)).min()?;
    (distance <= 2 + name.len() / 5).then_some(nearest)
}

/// How many letters must be put in, taken out or changed (Levenshtein).
fn distance(one: &str, other: &str) -> usize {
    let other = other.as_bytes();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, a) in one.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, &b) in other.iter().enumerate() {
            let changed = diagonal + usize::from(a != b);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_tables_are_sorted_documented_and_their_defaults_are_valid() {
        assert!(KEYS.windows(2).all(|pair| pair[0].name < pair[1].name));
        assert!(KEYS.iter().all(|key| ignored::why_ignored(key.name).is_none()));
        for key in KEYS {
            assert!(key.doc.ends_with('.'), "{}: {}", key.name, key.doc);
            if let Some(default) = key.default {
                assert_eq!(key.kind.judge(key.name, default), Ok(()));
            }
        }
        let mut all: Vec<_> = names().collect();
        all.sort_unstable();
        let before = all.len();
        all.dedup();
        assert_eq!(all.len(), before, "a name stands in two tables");
    }

    #[test]
    fn what_may_change_while_the_node_runs() {
        for (name, mode) in [
            ("max.connections", Some(Update::ClusterWide)),
            ("ottla.scrub.bytes.per.second", Some(Update::ClusterWide)),
            ("log.retention.ms", Some(Update::ClusterWide)),
            ("log.retention.hours", Some(Update::ReadOnly)),
            ("min.insync.replicas", Some(Update::ClusterWide)),
            ("num.io.threads", Some(Update::ClusterWide)),
            ("zookeeper.connect", Some(Update::ReadOnly)),
            ("listeners", Some(Update::ReadOnly)),
            ("node.id", Some(Update::ReadOnly)),
            ("ssl.cipher.suites", Some(Update::ReadOnly)),
            ("nonsense", None),
        ] {
            assert_eq!(update_mode(name), mode, "{name}");
        }
    }

    #[test]
    fn the_nearest_name_is_suggested() {
        for (typed, meant) in [
            ("num.partition", Some("num.partitions")),
            ("log.retension.ms", Some("log.retention.ms")),
            ("advertised.listener", Some("advertised.listeners")),
            ("completely.different.thing", None),
        ] {
            assert_eq!(nearest(typed), meant, "{typed}");
        }
    }
}
