//! A member's settings by Kafka's names, with Kafka's defaults.

use std::time::Duration;

use anyhow::bail;

use crate::cli::properties::Properties;

/// The settings that only a member has.
pub const GROUP_SETTINGS: &[&str] = &[
    "auto.commit.interval.ms",
    "enable.auto.commit",
    "group.id",
    "group.instance.id",
    "group.protocol",
    "heartbeat.interval.ms",
    "max.poll.interval.ms",
    "partition.assignment.strategy",
    "session.timeout.ms",
];

/// How a member behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupOptions {
    /// The group.
    pub group_id: String,
    /// Who this is across restarts (KIP-345).
    pub instance_id: Option<String>,
    /// After how long a silent member is given up.
    pub session_timeout: Duration,
    /// How often a member shows that it is alive.
    pub heartbeat_interval: Duration,
    /// How long handling records may take, and how long the others wait for one to join again.
    pub max_poll_interval: Duration,
    /// How often is committed; `None`: never.
    pub auto_commit_interval: Option<Duration>,
}

impl GroupOptions {
    /// What the properties say for a member of `group_id`.
    pub fn from_properties(group_id: &str, properties: &Properties) -> anyhow::Result<Self> {
        match properties.get("group.protocol").map(|name| name.trim().to_ascii_lowercase()) {
            None => {}
            Some(name) if name == "classic" => {}
            Some(name) if name == "consumer" => {
                bail!("group.protocol=consumer is not available in this tool; use classic")
            }
            Some(name) => {
                bail!("Invalid value '{name}' for configuration group.protocol: classic")
            }
        }
        if let Some(strategy) = properties.get("partition.assignment.strategy")
            && !strategy.split(',').any(|name| is_range(name.trim()))
        {
            bail!(
                "partition.assignment.strategy={strategy} is not available in this tool; \
                 use range or org.apache.kafka.clients.consumer.RangeAssignor"
            );
        }
        let millis = |key, default_ms| -> anyhow::Result<Duration> {
            properties.parse(key, default_ms).map(Duration::from_millis)
        };
        let options = Self {
            group_id: group_id.to_owned(),
            instance_id: properties.get("group.instance.id").map(str::to_owned),
            session_timeout: millis("session.timeout.ms", 45_000)?,
            heartbeat_interval: millis("heartbeat.interval.ms", 3_000)?,
            max_poll_interval: millis("max.poll.interval.ms", 300_000)?,
            auto_commit_interval: if properties.is_true("enable.auto.commit", true) {
                Some(millis("auto.commit.interval.ms", 5_000)?)
            } else {
                None
            },
        };
        if options.heartbeat_interval >= options.session_timeout {
            bail!("heartbeat.interval.ms must be less than session.timeout.ms");
        }
        Ok(options)
    }
}

fn is_range(name: &str) -> bool {
    name == super::range::RANGE || name.ends_with(".RangeAssignor")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn options(pairs: &[&str]) -> anyhow::Result<GroupOptions> {
        let pairs: Vec<String> = pairs.iter().map(|pair| (*pair).to_owned()).collect();
        GroupOptions::from_properties("g", &Properties::from_pairs(&pairs).unwrap())
    }

    #[test]
    fn the_defaults_are_kafkas() {
        let defaults = options(&[]).unwrap();
        assert_eq!(defaults.session_timeout, Duration::from_secs(45));
        assert_eq!(defaults.heartbeat_interval, Duration::from_secs(3));
        assert_eq!(defaults.auto_commit_interval, Some(Duration::from_secs(5)));
        assert_eq!(options(&["enable.auto.commit=false"]).unwrap().auto_commit_interval, None);
    }

    #[test]
    fn what_cannot_be_served_is_refused() {
        for (pair, says) in [
            ("group.protocol=consumer", "not available"),
            ("group.protocol=share", "Invalid value"),
            ("partition.assignment.strategy=sticky", "use range"),
            ("session.timeout.ms=3000", "heartbeat.interval.ms"),
            ("session.timeout.ms=x", "session.timeout.ms"),
        ] {
            let error = options(&[pair]).unwrap_err().to_string();
            assert!(error.contains(says), "{pair}: {error}");
        }
        for pair in [
            "group.protocol=CLASSIC",
            "partition.assignment.strategy=org.apache.kafka.clients.consumer.RangeAssignor,\
             org.apache.kafka.clients.consumer.CooperativeStickyAssignor",
        ] {
            assert!(options(&[pair]).is_ok(), "{pair}");
        }
    }
}
