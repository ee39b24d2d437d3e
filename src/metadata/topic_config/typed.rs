//! A topic's configuration, resolved: the topic's own value, then the broker's, then Kafka's.

use std::collections::BTreeMap;

use super::{KEYS, TopicConfigKey, items, key};

/// How batches are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CompressionType {
    /// As the producer sent them.
    Producer,
    /// Not compressed.
    Uncompressed,
    /// With gzip.
    Gzip,
    /// With Snappy.
    Snappy,
    /// With LZ4.
    Lz4,
    /// With zstd.
    Zstd,
}

/// Which time a message bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampType {
    /// When the producer made it.
    CreateTime,
    /// When the leader appended it.
    LogAppendTime,
}

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// It was set for the topic.
    Topic,
    /// The named broker key was set.
    Broker(&'static str),
    /// Nobody set it.
    Default,
}

/// The value of one key for one topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The value.
    pub value: String,
    /// Where it comes from.
    pub source: Source,
}

/// The value of `key` for a topic with `overrides` on a broker configured with `broker`.
pub fn resolve(
    key: &TopicConfigKey,
    overrides: &BTreeMap<String, String>,
    broker: &BTreeMap<String, String>,
) -> Resolved {
    if let Some(value) = overrides.get(key.name) {
        return Resolved { value: value.clone(), source: Source::Topic };
    }
    for synonym in key.synonyms {
        let Some(value) = broker.get(synonym.name) else { continue };
        let value = match value.trim().parse::<i64>() {
            // -1, "no limit", means the same in every unit.
            Ok(number) if number > 0 && synonym.to_topic_unit != 1 => {
                number.saturating_mul(synonym.to_topic_unit).to_string()
            }
            _ => value.clone(),
        };
        return Resolved { value, source: Source::Broker(synonym.name) };
    }
    Resolved { value: key.default.to_owned(), source: Source::Default }
}

/// A topic's configuration. Each field has the name of its key.
#[derive(Debug, Clone, PartialEq)]
#[allow(missing_docs)] // The keys' table has each key's meaning.
pub struct TopicConfig {
    pub cleanup_compact: bool,
    pub cleanup_delete: bool,
    pub compression_gzip_level: i32,
    pub compression_lz4_level: i32,
    pub compression_type: CompressionType,
    pub compression_zstd_level: i32,
    pub delete_retention_ms: i64,
    pub file_delete_delay_ms: i64,
    pub flush_messages: i64,
    pub flush_ms: i64,
    pub index_interval_bytes: i32,
    pub max_compaction_lag_ms: i64,
    pub max_message_bytes: i32,
    pub message_timestamp_after_max_ms: i64,
    pub message_timestamp_before_max_ms: i64,
    pub message_timestamp_type: TimestampType,
    pub min_cleanable_dirty_ratio: f64,
    pub min_compaction_lag_ms: i64,
    pub min_insync_replicas: i32,
    pub preallocate: bool,
    pub retention_bytes: i64,
    pub retention_ms: i64,
    pub segment_bytes: i32,
    pub segment_index_bytes: i32,
    pub segment_jitter_ms: i64,
    pub segment_ms: i64,
    pub unclean_leader_election_enable: bool,
}

impl Default for TopicConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        Self::resolve(&BTreeMap::new(), &BTreeMap::new())
    }
}

impl TopicConfig {
    /// The configuration of a topic with `overrides` on a broker configured with `broker`, whose
    /// keys have their broker-level names. A value that is not valid, which no controller lets
    /// pass, counts as not set.
    pub fn resolve(
        overrides: &BTreeMap<String, String>,
        broker: &BTreeMap<String, String>,
    ) -> Self {
        let values = Values::new(overrides, broker);
        let policies = values.text("cleanup.policy");
        let has_policy = |policy: &str| items(&policies).any(|item| item == policy);
        Self {
            cleanup_compact: has_policy("compact"),
            cleanup_delete: has_policy("delete"),
            compression_gzip_level: values.int("compression.gzip.level"),
            compression_lz4_level: values.int("compression.lz4.level"),
            compression_type: compression(&values.text("compression.type")),
            compression_zstd_level: values.int("compression.zstd.level"),
            delete_retention_ms: values.long("delete.retention.ms"),
            file_delete_delay_ms: values.long("file.delete.delay.ms"),
            flush_messages: values.long("flush.messages"),
            flush_ms: values.long("flush.ms"),
            index_interval_bytes: values.int("index.interval.bytes"),
            max_compaction_lag_ms: values.long("max.compaction.lag.ms"),
            max_message_bytes: values.int("max.message.bytes"),
            message_timestamp_after_max_ms: values.long("message.timestamp.after.max.ms"),
            message_timestamp_before_max_ms: values.long("message.timestamp.before.max.ms"),
            message_timestamp_type: match values.text("message.timestamp.type").as_str() {
                "LogAppendTime" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            },
            min_cleanable_dirty_ratio: values
                .text("min.cleanable.dirty.ratio")
                .parse()
                .unwrap_or(0.5),
            min_compaction_lag_ms: values.long("min.compaction.lag.ms"),
            min_insync_replicas: values.int("min.insync.replicas"),
            preallocate: values.boolean("preallocate"),
            retention_bytes: values.long("retention.bytes"),
            retention_ms: values.long("retention.ms"),
            segment_bytes: match values.text("internal.segment.bytes").parse() {
                Ok(bytes) => bytes,
                Err(_) => values.int("segment.bytes"),
            },
            segment_index_bytes: values.int("segment.index.bytes"),
            segment_jitter_ms: values.long("segment.jitter.ms"),
            segment_ms: values.long("segment.ms"),
            unclean_leader_election_enable: values.boolean("unclean.leader.election.enable"),
        }
    }
}

fn compression(name: &str) -> CompressionType {
    match name {
        "uncompressed" => CompressionType::Uncompressed,
        "gzip" => CompressionType::Gzip,
        "snappy" => CompressionType::Snappy,
        "lz4" => CompressionType::Lz4,
        "zstd" => CompressionType::Zstd,
        _ => CompressionType::Producer,
    }
}

/// The valid values of every key.
struct Values(BTreeMap<&'static str, String>);

impl Values {
    fn new(overrides: &BTreeMap<String, String>, broker: &BTreeMap<String, String>) -> Self {
        let valid = |key: &TopicConfigKey| {
            let value = resolve(key, overrides, broker).value;
            let value = if key.validate(&value).is_ok() { value } else { key.default.to_owned() };
            value.trim().to_owned()
        };
        Self(KEYS.iter().map(|key| (key.name, valid(key))).collect())
    }

    fn text(&self, name: &str) -> String {
        self.0.get(name).cloned().unwrap_or_default()
    }

    fn int(&self, name: &str) -> i32 {
        let default = || key(name)?.default.parse().ok();
        self.text(name).parse().ok().or_else(default).unwrap_or_default()
    }

    fn long(&self, name: &str) -> i64 {
        let default = || key(name)?.default.parse().ok();
        self.text(name).parse().ok().or_else(default).unwrap_or_default()
    }

    fn boolean(&self, name: &str) -> bool {
        self.text(name).eq_ignore_ascii_case("true")
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn kafkas_defaults() {
        let config = TopicConfig::default();
        assert!(config.cleanup_delete && !config.cleanup_compact);
        assert_eq!(config.retention_ms, 7 * 24 * 3_600_000);
        assert_eq!(config.max_message_bytes, 1_048_588);
        assert_eq!(config.segment_bytes, 1 << 30);
        assert_eq!(config.flush_messages, i64::MAX);
    }

    #[test]
    fn a_topics_own_value_wins_over_the_brokers_and_that_over_kafkas() {
        let broker = map(&[("log.retention.hours", "2"), ("message.max.bytes", "1000")]);
        let config = TopicConfig::resolve(&map(&[("max.message.bytes", "2000")]), &broker);
        assert_eq!(config.retention_ms, 2 * 3_600_000);
        assert_eq!(config.max_message_bytes, 2000);
        let finer = map(&[("log.retention.hours", "2"), ("log.retention.ms", "5")]);
        assert_eq!(TopicConfig::resolve(&map(&[]), &finer).retention_ms, 5);
        let forever = map(&[("log.retention.hours", "-1")]);
        assert_eq!(TopicConfig::resolve(&map(&[]), &forever).retention_ms, -1);
    }

    #[test]
    fn a_value_says_where_it_comes_from() {
        let broker = map(&[("log.retention.minutes", "1")]);
        let retention = key("retention.ms").unwrap();
        assert_eq!(
            resolve(retention, &map(&[]), &broker),
            Resolved { value: "60000".into(), source: Source::Broker("log.retention.minutes") }
        );
        assert_eq!(resolve(retention, &map(&[]), &map(&[])).source, Source::Default);
    }
}
