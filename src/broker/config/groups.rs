//! The keys of groups and committed offsets, together.

use std::time::Duration;

use crate::broker::config::{ConfigError, Values, millis, small};
use crate::coordinator::group::{GroupConfig, MigrationPolicy};
use crate::coordinator::shard::ShardOptions;
use crate::record::Compression;

/// How this broker coordinates groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupsConfig {
    /// What the groups themselves need.
    pub group: GroupConfig,
    /// What the partitions of `__consumer_offsets` need.
    pub shard: ShardOptions,
    /// `offsets.topic.num.partitions`
    pub topic_partitions: i32,
    /// `offsets.topic.replication.factor`
    pub topic_replication_factor: i16,
    /// `offsets.topic.segment.bytes`
    pub topic_segment_bytes: i32,
}

/// Reads the keys.
pub(super) fn read(values: &Values) -> Result<GroupsConfig, ConfigError> {
    check_order(
        values,
        &[
            "group.consumer.min.heartbeat.interval.ms",
            "group.consumer.heartbeat.interval.ms",
            "group.consumer.max.heartbeat.interval.ms",
        ],
    )?;
    check_order(
        values,
        &[
            "group.consumer.min.session.timeout.ms",
            "group.consumer.session.timeout.ms",
            "group.consumer.max.session.timeout.ms",
        ],
    )?;
    check_order(
        values,
        &["group.consumer.heartbeat.interval.ms", "group.consumer.session.timeout.ms"],
    )?;
    check_order(values, &["group.min.session.timeout.ms", "group.max.session.timeout.ms"])?;
    Ok(GroupsConfig {
        group: group(values)?,
        shard: ShardOptions {
            commit_timeout: millis(values, "offsets.commit.timeout.ms")?,
            load_buffer_bytes: small(values, "offsets.load.buffer.size")?,
            compression: compression(values)?,
        },
        topic_partitions: small(values, "offsets.topic.num.partitions")?,
        topic_replication_factor: small(values, "offsets.topic.replication.factor")?,
        topic_segment_bytes: small(values, "offsets.topic.segment.bytes")?,
    })
}

fn group(values: &Values) -> Result<GroupConfig, ConfigError> {
    let minutes: u64 = small(values, "offsets.retention.minutes")?;
    let assignors = values.list("group.consumer.assignors");
    if assignors.is_empty() {
        let message = "group.consumer.assignors is empty; name at least one";
        return Err(values.wrong(&["group.consumer.assignors"], message));
    }
    Ok(GroupConfig {
        initial_rebalance_delay: millis(values, "group.initial.rebalance.delay.ms")?,
        max_size: small(values, "group.max.size")?,
        min_session_timeout: millis(values, "group.min.session.timeout.ms")?,
        max_session_timeout: millis(values, "group.max.session.timeout.ms")?,
        consumer_session_timeout: millis(values, "group.consumer.session.timeout.ms")?,
        consumer_heartbeat_interval: millis(values, "group.consumer.heartbeat.interval.ms")?,
        consumer_session_timeouts: millis(values, "group.consumer.min.session.timeout.ms")?
            ..=millis(values, "group.consumer.max.session.timeout.ms")?,
        consumer_heartbeat_intervals: millis(values, "group.consumer.min.heartbeat.interval.ms")?
            ..=millis(values, "group.consumer.max.heartbeat.interval.ms")?,
        consumer_max_size: small(values, "group.consumer.max.size")?,
        consumer_assignors: assignors.into_iter().map(str::to_owned).collect(),
        migration_policy: migration_policy(values)?,
        regex_refresh_interval: millis(values, "group.consumer.regex.refresh.interval.ms")?,
        offset_metadata_max_bytes: small(values, "offset.metadata.max.bytes")?,
        offsets_retention: Duration::from_secs(minutes * 60),
        offsets_retention_check_interval: millis(values, "offsets.retention.check.interval.ms")?,
    })
}

/// None of `names` may be larger than the next one.
fn check_order(values: &Values, names: &[&str]) -> Result<(), ConfigError> {
    for pair in names.windows(2) {
        if values.number(pair[0])? > values.number(pair[1])? {
            return Err(values.wrong(pair, format!("{} must not exceed {}", pair[0], pair[1])));
        }
    }
    Ok(())
}

fn migration_policy(values: &Values) -> Result<MigrationPolicy, ConfigError> {
    match values.required("group.consumer.migration.policy")? {
        "disabled" => Ok(MigrationPolicy::Disabled),
        "upgrade" => Ok(MigrationPolicy::Upgrade),
        "downgrade" => Ok(MigrationPolicy::Downgrade),
        "bidirectional" => Ok(MigrationPolicy::Bidirectional),
        other => {
            Err(ConfigError::new(format!("group.consumer.migration.policy={other}: not known")))
        }
    }
}

fn compression(values: &Values) -> Result<Compression, ConfigError> {
    match values.number("offsets.topic.compression.codec")? {
        0 => Ok(Compression::None),
        1 => Ok(Compression::Gzip),
        2 => Ok(Compression::Snappy),
        3 => Ok(Compression::Lz4),
        4 => Ok(Compression::Zstd),
        other => {
            Err(ConfigError::new(format!("offsets.topic.compression.codec={other}: not known")))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::broker::config::Origin;

    fn with(set: &[(&str, &str)]) -> Result<GroupsConfig, ConfigError> {
        let mut values = Values::default();
        for (name, value) in set {
            values.set(name, value, Origin::Override).unwrap();
        }
        read(&values)
    }

    #[test]
    fn kafkas_defaults_are_the_rooms_defaults() {
        let config = with(&[]).unwrap();
        assert_eq!(config.group, GroupConfig::default());
        assert_eq!(config.shard, ShardOptions::default());
        let topic = (config.topic_partitions, config.topic_replication_factor);
        assert_eq!((topic, config.topic_segment_bytes), ((50, 3), 100 * 1024 * 1024));
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let config = with(&[
            ("offsets.retention.minutes", "2"),
            ("group.consumer.migration.policy", "upgrade"),
            ("offsets.topic.compression.codec", "4"),
        ]);
        let config = config.unwrap();
        assert_eq!(config.group.offsets_retention, Duration::from_secs(120));
        assert_eq!(config.group.migration_policy, MigrationPolicy::Upgrade);
        assert_eq!(config.shard.compression, Compression::Zstd);
        for (name, value) in [
            ("group.consumer.session.timeout.ms", "1000"),
            ("group.consumer.session.timeout.ms", "60001"),
            ("group.consumer.heartbeat.interval.ms", "4999"),
            ("group.max.session.timeout.ms", "5999"),
            ("group.consumer.assignors", ""),
        ] {
            let error = with(&[(name, value)]).unwrap_err().to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
