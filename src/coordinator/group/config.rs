//! Settings of groups and of committed offsets, under Kafka's names.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::time::Duration;

/// Which groups may change over between the two protocols while they have members
/// (`group.consumer.migration.policy`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MigrationPolicy {
    /// None.
    Disabled,
    /// From classic to consumer.
    Upgrade,
    /// From consumer to classic.
    Downgrade,
    /// Both ways.
    #[default]
    Bidirectional,
}

/// Settings of groups and of committed offsets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupConfig {
    /// `group.initial.rebalance.delay.ms`
    pub initial_rebalance_delay: Duration,
    /// `group.max.size`
    pub max_size: usize,
    /// `group.min.session.timeout.ms`
    pub min_session_timeout: Duration,
    /// `group.max.session.timeout.ms`
    pub max_session_timeout: Duration,
    /// `group.consumer.session.timeout.ms`
    pub consumer_session_timeout: Duration,
    /// `group.consumer.heartbeat.interval.ms`
    pub consumer_heartbeat_interval: Duration,
    /// `group.consumer.min.session.timeout.ms` to `group.consumer.max.session.timeout.ms`: what a group's
    /// own may be.
    pub consumer_session_timeouts: RangeInclusive<Duration>,
    /// `group.consumer.min.heartbeat.interval.ms` to `group.consumer.max.heartbeat.interval.ms`: what a
    /// group's own may be.
    pub consumer_heartbeat_intervals: RangeInclusive<Duration>,
    /// `group.consumer.max.size`
    pub consumer_max_size: usize,
    /// `group.consumer.assignors`, the default one first.
    pub consumer_assignors: Vec<String>,
    /// `group.consumer.migration.policy`
    pub migration_policy: MigrationPolicy,
    /// `group.consumer.regex.refresh.interval.ms`
    pub regex_refresh_interval: Duration,
    /// `offset.metadata.max.bytes`
    pub offset_metadata_max_bytes: usize,
    /// `offsets.retention.minutes`
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`
    pub offsets_retention_check_interval: Duration,
}

impl Default for GroupConfig {
    /// Kafka's defaults.
    fn default() -> Self {
        Self {
            initial_rebalance_delay: Duration::from_secs(3),
            max_size: i32::MAX as usize,
            min_session_timeout: Duration::from_secs(6),
            max_session_timeout: Duration::from_secs(1800),
            consumer_session_timeout: Duration::from_secs(45),
            consumer_heartbeat_interval: Duration::from_secs(5),
            consumer_session_timeouts: Duration::from_secs(45)..=Duration::from_secs(60),
            consumer_heartbeat_intervals: Duration::from_secs(5)..=Duration::from_secs(15),
            consumer_max_size: i32::MAX as usize,
            consumer_assignors: vec!["uniform".to_owned(), "range".to_owned()],
            migration_policy: MigrationPolicy::default(),
            regex_refresh_interval: Duration::from_secs(600),
            offset_metadata_max_bytes: 4096,
            offsets_retention: Duration::from_secs(10_080 * 60),
            offsets_retention_check_interval: Duration::from_secs(600),
        }
    }
}

/// What holds for the members of one consumer group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemberTimes {
    /// How long a silent member is taken to be alive.
    pub session_timeout: Duration,
    /// How often members are to send heartbeats.
    pub heartbeat_interval: Duration,
}

impl GroupConfig {
    /// What holds for a group with `own` set for it: that, within the bounds that this broker has by now,
    /// else what holds for all groups.
    pub fn member_times(&self, own: Option<&BTreeMap<String, String>>) -> MemberTimes {
        let set = |key: &str, bounds: &RangeInclusive<Duration>| -> Option<Duration> {
            let milliseconds = own?.get(key)?.trim().parse().ok()?;
            Some(Duration::from_millis(milliseconds).max(*bounds.start()).min(*bounds.end()))
        };
        MemberTimes {
            session_timeout: set("consumer.session.timeout.ms", &self.consumer_session_timeouts)
                .unwrap_or(self.consumer_session_timeout),
            heartbeat_interval: set(
                "consumer.heartbeat.interval.ms",
                &self.consumer_heartbeat_intervals,
            )
            .unwrap_or(self.consumer_heartbeat_interval),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_groups_own_times_go_before_the_brokers_within_its_bounds() {
        let config = GroupConfig::default();
        for (session, heartbeat, expected) in [
            (None, None, (45, 5)),
            (Some("50000"), None, (50, 5)),
            (Some("50000"), Some("10000"), (50, 10)),
            // The broker's bounds have changed since it was set.
            (Some("1000"), Some("99000"), (45, 15)),
            (Some("soon"), Some(""), (45, 5)),
        ] {
            let set = [
                ("consumer.session.timeout.ms", session),
                ("consumer.heartbeat.interval.ms", heartbeat),
            ];
            let own: BTreeMap<String, String> = set
                .into_iter()
                .filter_map(|(key, value)| Some((key.to_owned(), value?.to_owned())))
                .collect();
            let times = config.member_times(Some(&own));
            let seconds = (times.session_timeout.as_secs(), times.heartbeat_interval.as_secs());
            assert_eq!(seconds, expected, "{own:?}");
        }
        assert_eq!(config.member_times(None).session_timeout, Duration::from_secs(45));
    }
}
