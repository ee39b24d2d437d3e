//! What may be set for one group (KIP-848, KIP-932, KIP-1071): Kafka's keys, their types and ranges,
//! and the broker keys that give their defaults and bounds.

use std::collections::BTreeMap;

use crate::metadata::topic_config::Kind::{self, Boolean, Int, Text};

/// One key of a group's configuration.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupConfigKey {
    /// Its name. The broker's default, where there is one, is named `group.` and this.
    pub name: &'static str,
    /// Its type and range.
    pub kind: Kind,
    /// Its value where neither the group nor the broker sets it.
    pub default: &'static str,
    /// What it means.
    pub doc: &'static str,
}

const MAX_INT: i64 = i32::MAX as i64;

macro_rules! keys {
    ($($name:literal $kind:expr, $default:literal, $doc:literal;)*) => {
        /// Every key, by name.
        pub const KEYS: &[GroupConfigKey] = &[$(GroupConfigKey {
            name: $name, kind: $kind, default: $default, doc: $doc,
        }),*];
    };
}

keys! {
    "consumer.assignment.interval.ms" Int(0, MAX_INT), "1000",
        "How long assignments of a consumer group lie apart at least. Kept; assignments are made at once.";
    "consumer.heartbeat.interval.ms" Int(1, MAX_INT), "5000",
        "How often members of a consumer group are to send heartbeats.";
    "consumer.session.timeout.ms" Int(1, MAX_INT), "45000",
        "How long a silent member of a consumer group is taken to be alive.";
    "share.assignment.interval.ms" Int(0, MAX_INT), "1000",
        "How long assignments of a share group lie apart at least. Kept; there are no share groups yet.";
    "share.auto.offset.reset" Text(&["earliest", "latest"]), "latest",
        "Where a share group begins to read. Kept; there are no share groups yet.";
    "share.delivery.count.limit" Int(2, MAX_INT), "5",
        "How often a record is delivered to a share group. Kept; there are no share groups yet.";
    "share.heartbeat.interval.ms" Int(1, MAX_INT), "5000",
        "How often members of a share group are to send heartbeats. Kept; there are no share groups yet.";
    "share.isolation.level" Text(&["read_committed", "read_uncommitted"]), "read_uncommitted",
        "Whether a share group reads what is not committed. Kept; there are no share groups yet.";
    "share.partition.max.record.locks" Int(100, MAX_INT), "2000",
        "How many records of a partition a share group holds. Kept; there are no share groups yet.";
    "share.record.lock.duration.ms" Int(1000, MAX_INT), "30000",
        "How long a member of a share group holds a record. Kept; there are no share groups yet.";
    "share.renew.acknowledge.enable" Boolean, "true",
        "Whether members of a share group may hold records longer. Kept; there are no share groups yet.";
    "share.session.timeout.ms" Int(1, MAX_INT), "45000",
        "How long a silent member of a share group is taken to be alive. Kept; there are no share groups yet.";
    "streams.assignment.interval.ms" Int(0, MAX_INT), "1000",
        "How long assignments of a streams group lie apart at least. Kept; there are no streams groups yet.";
    "streams.heartbeat.interval.ms" Int(1, MAX_INT), "5000",
        "How often members of a streams group are to send heartbeats. Kept; there are no streams groups yet.";
    "streams.initial.rebalance.delay.ms" Int(0, MAX_INT), "3000",
        "How long a new streams group waits for members. Kept; there are no streams groups yet.";
    "streams.num.standby.replicas" Int(0, MAX_INT), "0",
        "How many standby copies each task has. Kept; there are no streams groups yet.";
    "streams.session.timeout.ms" Int(1, MAX_INT), "45000",
        "How long a silent member of a streams group is taken to be alive. Kept; there are no streams groups yet.";
}

/// The protocols that have both a session and heartbeats.
const PROTOCOLS: [&str; 3] = ["consumer", "share", "streams"];

/// The broker keys that bound a key of every group, with Kafka's defaults: at least, at most.
const BOUNDS: [(&str, &str, i64, &str, i64); 2] = [
    (
        "heartbeat.interval.ms",
        "min.heartbeat.interval.ms",
        5_000,
        "max.heartbeat.interval.ms",
        15_000,
    ),
    ("session.timeout.ms", "min.session.timeout.ms", 45_000, "max.session.timeout.ms", 60_000),
];

/// The key of that name.
pub fn key(name: &str) -> Option<&'static GroupConfigKey> {
    KEYS.binary_search_by(|key| key.name.cmp(name)).ok().map(|index| &KEYS[index])
}

/// The broker key that sets the default of a group's key.
pub fn broker_key(name: &str) -> String {
    format!("group.{name}")
}

/// Judges the configuration of a group as it is to be, within the bounds that `broker` sets (its keys
/// have their broker-level names); says what is wrong, in Kafka's words.
///
/// # Errors
/// One sentence.
pub fn validate(
    configs: &BTreeMap<String, String>,
    broker: &BTreeMap<String, String>,
) -> Result<(), String> {
    for (name, value) in configs {
        let key = key(name).ok_or_else(|| format!("Unknown group config name: {name}"))?;
        key.kind.judge(key.name, value)?;
    }
    for protocol in PROTOCOLS {
        let number = |key: &str| value(configs, broker, &format!("{protocol}.{key}"));
        let bound = |key: &str, default| bound(broker, protocol, key, default);
        for (key, min_key, min, max_key, max) in BOUNDS {
            let name = format!("{protocol}.{key}");
            if !configs.contains_key(&name) {
                continue;
            }
            let (number, (min_key, min), (max_key, max)) =
                (number(key), bound(min_key, min), bound(max_key, max));
            if number < min {
                return Err(format!("{name} must be greater than or equal to {min_key}"));
            }
            if number > max {
                return Err(format!("{name} must be less than or equal to {max_key}"));
            }
        }
        if number("session.timeout.ms") <= number("heartbeat.interval.ms") {
            return Err(format!(
                "{protocol}.session.timeout.ms must be greater than {protocol}.heartbeat.interval.ms"
            ));
        }
    }
    Ok(())
}

/// A bound's full name and its value.
fn bound(
    broker: &BTreeMap<String, String>,
    protocol: &str,
    key: &str,
    default: i64,
) -> (String, i64) {
    let name = format!("group.{protocol}.{key}");
    let set = broker.get(&name).and_then(|value| value.trim().parse().ok());
    (name, set.unwrap_or(default))
}

/// The number that a group has for `name`: its own, the broker's, Kafka's.
fn value(configs: &BTreeMap<String, String>, broker: &BTreeMap<String, String>, name: &str) -> i64 {
    let default = || key(name).map(|key| key.default);
    let set = configs.get(name).or_else(|| broker.get(&broker_key(name))).map(String::as_str);
    set.or_else(default).and_then(|value| value.trim().parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_valid() {
        assert!(KEYS.windows(2).all(|pair| pair[0].name < pair[1].name));
        let defaults: Vec<_> = KEYS.iter().map(|key| (key.name, key.default)).collect();
        assert_eq!(validate(&map(&defaults), &map(&[])), Ok(()));
    }

    #[test]
    fn values_are_judged_in_kafkas_words() {
        for (set, broker, fault) in [
            (&[("retention.ms", "1")][..], &[][..], "Unknown group config name: retention.ms"),
            (
                &[("consumer.session.timeout.ms", "soon")],
                &[],
                "Invalid value soon for configuration consumer.session.timeout.ms: Not a number of type INT",
            ),
            (
                &[("consumer.session.timeout.ms", "0")],
                &[],
                "Invalid value 0 for configuration consumer.session.timeout.ms: Value must be at least 1",
            ),
            (
                &[("consumer.session.timeout.ms", "44999")],
                &[],
                "consumer.session.timeout.ms must be greater than or equal to \
                 group.consumer.min.session.timeout.ms",
            ),
            (
                &[("consumer.session.timeout.ms", "60001")],
                &[],
                "consumer.session.timeout.ms must be less than or equal to \
                 group.consumer.max.session.timeout.ms",
            ),
            (
                &[("consumer.heartbeat.interval.ms", "4999")],
                &[],
                "consumer.heartbeat.interval.ms must be greater than or equal to \
                 group.consumer.min.heartbeat.interval.ms",
            ),
            (
                &[
                    ("consumer.session.timeout.ms", "9000"),
                    ("consumer.heartbeat.interval.ms", "9000"),
                ],
                &[("group.consumer.min.session.timeout.ms", "1")],
                "consumer.session.timeout.ms must be greater than consumer.heartbeat.interval.ms",
            ),
            (
                &[("share.isolation.level", "any")],
                &[],
                "Invalid value any for configuration share.isolation.level: String must be one of: \
                 read_committed, read_uncommitted",
            ),
        ] {
            assert_eq!(validate(&map(set), &map(broker)), Err(fault.to_owned()), "{set:?}");
        }
        let broker = map(&[("group.consumer.min.session.timeout.ms", "10000")]);
        assert_eq!(validate(&map(&[("consumer.session.timeout.ms", "10000")]), &broker), Ok(()));
    }
}
