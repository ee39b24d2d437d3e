//! Client settings by Kafka's names, with Kafka's defaults and Kafka's rules between them.

use std::time::Duration;

use anyhow::{Context, bail};

use crate::cli::client::admin::Endpoints;
use crate::cli::client::consumer::group::GROUP_SETTINGS;
use crate::cli::properties::Properties;
use crate::net::transport::HostPort;
use crate::record::Compression;

/// What every client needs.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// The brokers to ask first.
    pub bootstrap: Vec<HostPort>,
    /// Whether those are brokers or controllers.
    pub endpoints: Endpoints,
    /// What the brokers' logs call this client.
    pub client_id: String,
    /// How long one request may take.
    pub request_timeout: Duration,
    /// How long one connection may take to come about.
    pub connect_timeout: Duration,
    /// How long an operation with all its retries may take.
    pub api_timeout: Duration,
    /// How long to wait before trying again.
    pub retry_backoff: Duration,
    /// After how long metadata is asked for even if nothing went wrong.
    pub metadata_max_age: Duration,
}

impl ClusterOptions {
    /// Kafka's defaults for the brokers in `servers`, `HOST:PORT,HOST:PORT`.
    pub fn new(servers: &str, client_id: &str) -> anyhow::Result<Self> {
        Self::from_properties(servers, client_id, &Properties::default())
    }

    /// What the properties say.
    pub fn from_properties(
        servers: &str,
        client_id: &str,
        properties: &Properties,
    ) -> anyhow::Result<Self> {
        refuse_security(properties)?;
        let bootstrap = servers
            .split(',')
            .map(|server| {
                let address = server.trim().parse::<HostPort>();
                address.context("--bootstrap-server takes HOST:PORT,HOST:PORT")
            })
            .collect::<anyhow::Result<Vec<HostPort>>>()?;
        let duration = |key, default_ms| millis(properties, key, default_ms);
        Ok(Self {
            bootstrap,
            endpoints: Endpoints::Brokers,
            client_id: properties.get("client.id").unwrap_or(client_id).to_owned(),
            request_timeout: duration("request.timeout.ms", 30_000)?,
            connect_timeout: duration("socket.connection.setup.timeout.ms", 10_000)?,
            api_timeout: duration("default.api.timeout.ms", 60_000)?,
            retry_backoff: duration("retry.backoff.ms", 100)?,
            metadata_max_age: duration("metadata.max.age.ms", 300_000)?,
        })
    }
}

/// When a produce request is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acks {
    /// Never: what is lost is lost silently.
    None,
    /// When the leader has it.
    Leader,
    /// When all in-sync replicas have it.
    All,
}

impl Acks {
    /// The number on the wire.
    pub fn code(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

/// What a producer needs.
#[derive(Debug, Clone)]
pub struct ProducerOptions {
    /// When a request is answered.
    pub acks: Acks,
    /// How batches are compressed.
    pub compression: Compression,
    /// When a batch is full.
    pub batch_size_bytes: usize,
    /// How long a batch may wait for more records.
    pub linger: Duration,
    /// No record may be larger.
    pub max_request_size_bytes: usize,
    /// How much may wait for its acknowledgement; then sending blocks.
    pub buffer_memory_bytes: usize,
    /// How many requests per partition may be unanswered.
    pub max_in_flight: usize,
    /// Whether the broker refuses duplicates.
    pub is_idempotent: bool,
    /// How often a batch is sent again.
    pub retries: u32,
    /// When a record is given up.
    pub delivery_timeout: Duration,
    /// How long sending may block for metadata or memory.
    pub max_block: Duration,
    /// How long the broker may wait for the in-sync replicas.
    pub request_timeout: Duration,
    /// How long to wait before a request is sent again.
    pub retry_backoff: Duration,
}

impl ProducerOptions {
    /// What the properties say.
    pub fn from_properties(properties: &Properties) -> anyhow::Result<Self> {
        if properties.get("transactional.id").is_some() {
            bail!("transactional.id: transactions are not available yet");
        }
        let acks = match properties.get("acks").unwrap_or("all").trim() {
            "0" => Acks::None,
            "1" => Acks::Leader,
            "all" | "-1" => Acks::All,
            other => bail!("Invalid value '{other}' for configuration acks: 0, 1 or all"),
        };
        let max_in_flight = properties.parse("max.in.flight.requests.per.connection", 5_usize)?;
        let retries = properties.parse("retries", u32::MAX)?;
        let linger = millis(properties, "linger.ms", 5)?;
        let request_timeout = millis(properties, "request.timeout.ms", 30_000)?;
        let delivery_timeout = millis(properties, "delivery.timeout.ms", 120_000)?;
        if max_in_flight == 0 {
            bail!("Invalid value 0 for configuration max.in.flight.requests.per.connection");
        }
        let least = linger + request_timeout;
        if delivery_timeout < least && properties.get("delivery.timeout.ms").is_some() {
            bail!(
                "delivery.timeout.ms should be equal to or larger than linger.ms + \
                 request.timeout.ms"
            );
        }
        Ok(Self {
            acks,
            compression: compression(properties.get("compression.type").unwrap_or("none"))?,
            batch_size_bytes: properties.parse("batch.size", 16_384)?,
            linger,
            max_request_size_bytes: properties.parse("max.request.size", 1_048_576)?,
            buffer_memory_bytes: properties.parse("buffer.memory", 33_554_432)?,
            max_in_flight,
            is_idempotent: is_idempotent(properties, acks, max_in_flight, retries)?,
            retries,
            delivery_timeout: delivery_timeout.max(least),
            max_block: millis(properties, "max.block.ms", 60_000)?,
            request_timeout,
            retry_backoff: millis(properties, "retry.backoff.ms", 100)?,
        })
    }
}

/// Idempotence is on unless something speaks against it; asked for, nothing may speak against it.
fn is_idempotent(
    properties: &Properties,
    acks: Acks,
    max_in_flight: usize,
    retries: u32,
) -> anyhow::Result<bool> {
    let objection = if acks != Acks::All {
        Some("Must set acks to all in order to use the idempotent producer")
    } else if max_in_flight > 5 {
        Some(
            "Must set max.in.flight.requests.per.connection to at most 5 to use the idempotent \
             producer",
        )
    } else if retries == 0 {
        Some("Must set retries to non-zero when using the idempotent producer")
    } else {
        None
    };
    match (properties.get("enable.idempotence"), objection) {
        (None, objection) => Ok(objection.is_none()),
        (Some(_), _) if !properties.is_true("enable.idempotence", true) => Ok(false),
        (Some(_), Some(objection)) => bail!("{objection}"),
        (Some(_), None) => Ok(true),
    }
}

/// A codec by Kafka's name.
pub fn compression(name: &str) -> anyhow::Result<Compression> {
    Compression::from_name(&name.trim().to_ascii_lowercase())
        .with_context(|| format!("'{name}' is not a compression: none, gzip, snappy, lz4 or zstd"))
}

/// Where a consumer starts that has no position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reset {
    /// At the first record there is.
    Earliest,
    /// After the last record there is.
    Latest,
    /// Nowhere: that is an error.
    None,
}

/// What a consumer needs.
#[derive(Debug, Clone)]
pub struct ConsumerOptions {
    /// How many bytes a broker waits for.
    pub fetch_min_bytes: i32,
    /// How long a broker waits for them.
    pub fetch_max_wait: Duration,
    /// How many bytes one answer may have.
    pub fetch_max_bytes: i32,
    /// How many bytes of one partition one answer may have.
    pub max_partition_fetch_bytes: i32,
    /// Whether records of open and aborted transactions are left out.
    pub is_read_committed: bool,
    /// Where to go when the position is not in the log.
    pub reset: Reset,
    /// Where this consumer stands, for reading from near replicas.
    pub rack: String,
    /// Whether the batches' checksums are verified.
    pub check_crcs: bool,
    /// How long to wait before a request is sent again.
    pub retry_backoff: Duration,
}

impl ConsumerOptions {
    /// What the properties say.
    pub fn from_properties(properties: &Properties) -> anyhow::Result<Self> {
        Ok(Self {
            fetch_min_bytes: properties.parse("fetch.min.bytes", 1)?,
            fetch_max_wait: millis(properties, "fetch.max.wait.ms", 500)?,
            fetch_max_bytes: properties.parse("fetch.max.bytes", 52_428_800)?,
            max_partition_fetch_bytes: properties.parse("max.partition.fetch.bytes", 1_048_576)?,
            is_read_committed: match properties.get("isolation.level").map(str::trim) {
                None | Some("read_uncommitted") => false,
                Some("read_committed") => true,
                Some(other) => bail!(
                    "Invalid value '{other}' for configuration isolation.level: \
                     read_committed or read_uncommitted"
                ),
            },
            reset: match properties.get("auto.offset.reset").map(str::trim) {
                None | Some("latest") => Reset::Latest,
                Some("earliest") => Reset::Earliest,
                Some("none") => Reset::None,
                Some(other) => bail!(
                    "Invalid value '{other}' for configuration auto.offset.reset: \
                     earliest, latest or none"
                ),
            },
            rack: properties.get("client.rack").unwrap_or_default().to_owned(),
            check_crcs: properties.is_true("check.crcs", true),
            retry_backoff: millis(properties, "retry.backoff.ms", 100)?,
        })
    }
}

/// The keys that mean something to these clients, or safely nothing.
const KNOWN: &[&str] = &[
    "acks",
    "allow.auto.create.topics",
    "auto.offset.reset",
    "batch.size",
    "bootstrap.servers",
    "buffer.memory",
    "check.crcs",
    "client.dns.lookup",
    "client.id",
    "client.rack",
    "compression.type",
    "connections.max.idle.ms",
    "default.api.timeout.ms",
    "delivery.timeout.ms",
    "enable.idempotence",
    "fetch.max.bytes",
    "fetch.max.wait.ms",
    "fetch.min.bytes",
    "isolation.level",
    "key.deserializer",
    "key.serializer",
    "linger.ms",
    "max.block.ms",
    "max.in.flight.requests.per.connection",
    "max.partition.fetch.bytes",
    "max.request.size",
    "metadata.max.age.ms",
    "receive.buffer.bytes",
    "request.timeout.ms",
    "retries",
    "retry.backoff.max.ms",
    "retry.backoff.ms",
    "security.protocol",
    "send.buffer.bytes",
    "socket.connection.setup.timeout.max.ms",
    "socket.connection.setup.timeout.ms",
    "value.deserializer",
    "value.serializer",
];

/// A line for each key that these clients do not know.
pub fn unknown_keys(properties: &Properties) -> Vec<String> {
    properties
        .keys()
        .filter(|key| !KNOWN.contains(key) && !GROUP_SETTINGS.contains(key))
        .map(|key| format!("The configuration '{key}' was supplied but isn't a known config."))
        .collect()
}

fn refuse_security(properties: &Properties) -> anyhow::Result<()> {
    match properties.get("security.protocol").map(str::trim) {
        None | Some("PLAINTEXT") => Ok(()),
        Some(other) => bail!("security.protocol={other} is not available yet; use PLAINTEXT"),
    }
}

fn millis(properties: &Properties, key: &str, default_ms: u64) -> anyhow::Result<Duration> {
    properties.parse(key, default_ms).map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn properties(pairs: &[&str]) -> Properties {
        let pairs: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
        Properties::from_pairs(&pairs).unwrap()
    }

    #[test]
    fn idempotence_is_on_unless_something_speaks_against_it() {
        for (pairs, expected) in [
            (&[][..], Some(true)),
            (&["acks=all"], Some(true)),
            (&["acks=1"], Some(false)),
            (&["acks=0"], Some(false)),
            (&["retries=0"], Some(false)),
            (&["max.in.flight.requests.per.connection=6"], Some(false)),
            (&["enable.idempotence=false"], Some(false)),
            (&["enable.idempotence=false", "acks=1"], Some(false)),
            (&["enable.idempotence=true"], Some(true)),
            (&["enable.idempotence=true", "acks=1"], None),
            (&["enable.idempotence=true", "retries=0"], None),
            (&["enable.idempotence=true", "max.in.flight.requests.per.connection=6"], None),
        ] {
            let options = ProducerOptions::from_properties(&properties(pairs));
            assert_eq!(options.ok().map(|options| options.is_idempotent), expected, "{pairs:?}");
        }
    }

    #[test]
    fn bad_values_are_refused() {
        for pair in [
            "acks=2",
            "compression.type=zip",
            "linger.ms=soon",
            "max.in.flight.requests.per.connection=0",
            "delivery.timeout.ms=1",
            "transactional.id=t",
        ] {
            assert!(ProducerOptions::from_properties(&properties(&[pair])).is_err(), "{pair}");
        }
        for pair in ["isolation.level=serializable", "auto.offset.reset=middle"] {
            assert!(ConsumerOptions::from_properties(&properties(&[pair])).is_err(), "{pair}");
        }
        let tls = properties(&["security.protocol=SSL"]);
        assert!(ClusterOptions::from_properties("localhost:9092", "x", &tls).is_err());
    }

    #[test]
    fn unknown_keys_are_told() {
        let lines = unknown_keys(&properties(&["acks=all", "lingr.ms=1"]));
        assert_eq!(lines, ["The configuration 'lingr.ms' was supplied but isn't a known config."]);
    }
}
