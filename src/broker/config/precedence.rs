//! What goes before what: the values set for this broker while it runs, those set for all brokers, then
//! what the node was started with (`--override`, the environment, the file), then Kafka's defaults. Pure.

use std::collections::BTreeMap;

use super::keys::{self, Known, Update};
use super::{BrokerConfig, ConfigError, Origin, Values};

/// Values that were set while brokers run, by key.
pub(super) type Dynamic = BTreeMap<String, String>;

/// The configuration that follows, and what of the dynamic values does not fit it: each in one line.
///
/// Values may fit only together, so all are tried first; if they do not, each is tried by itself on top
/// of those before it, and one that does not fit is passed over.
pub(super) fn effective(
    started_with: &BrokerConfig,
    cluster: &Dynamic,
    broker: &Dynamic,
) -> (BrokerConfig, Vec<String>) {
    let set: Vec<_> = cluster
        .iter()
        .map(|(key, value)| (Origin::Cluster, key, value))
        .chain(broker.iter().map(|(key, value)| (Origin::Broker, key, value)))
        .collect();
    if let Ok(together) = combined(started_with, set.iter().copied()) {
        return (together, Vec::new());
    }
    let (mut fitting, mut faults) = (Vec::new(), Vec::new());
    let mut config = started_with.clone();
    for item in set {
        match combined(started_with, fitting.iter().copied().chain([item])) {
            Ok(next) => {
                fitting.push(item);
                config = next;
            }
            Err(error) => faults.push(error.to_string()),
        }
    }
    (config, faults)
}

/// The configuration with these values over what it was started with.
pub(super) fn combined<'a>(
    started_with: &BrokerConfig,
    dynamic: impl IntoIterator<Item = (Origin, &'a String, &'a String)>,
) -> Result<BrokerConfig, ConfigError> {
    let mut values: Values = started_with.values.clone();
    for (origin, key, value) in dynamic {
        // Kept without effect: what has no use here is told when it is set, not at every change.
        if !matches!(keys::find(key), Some(Known::Ignored(_))) {
            values.set(key, value, origin)?;
        }
    }
    BrokerConfig::from_values(values)
}

/// Judges what shall be set for one broker (`per_broker`) or for all; says what is wrong, in Kafka's words
/// and order.
pub(super) fn judge(set: &Dynamic, per_broker: bool) -> Result<(), String> {
    let with = |wanted: Update| -> Vec<&str> {
        let names = set.keys().map(String::as_str);
        names.filter(|name| keys::update_mode(name) == Some(wanted)).collect()
    };
    let read_only = with(Update::ReadOnly);
    if !read_only.is_empty() {
        return Err(format!("Cannot update these configs dynamically: [{}]", read_only.join(", ")));
    }
    for (name, value) in set {
        match keys::find(name) {
            Some(Known::Broker(key)) => key.kind.judge(name, value)?,
            Some(Known::TopicDefault(key)) => key.kind.judge(name, value)?,
            Some(Known::Ignored(_)) | None => {}
        }
    }
    let of_one = with(Update::PerBroker);
    if !per_broker && !of_one.is_empty() {
        return Err(format!(
            "Cannot update these configs at default cluster level, broker id must be specified: [{}]",
            of_one.join(", ")
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const FILE: &str = "process.roles=broker,controller\nnode.id=1\n\
        controller.quorum.voters=1@1:9093\nlisteners=PLAINTEXT://1:9092,CONTROLLER://1:9093\n\
        controller.listener.names=CONTROLLER\nlog.dirs=/one\n";

    fn map(pairs: &[(&str, &str)]) -> Dynamic {
        pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn what_goes_before_what() {
        // What the file, the environment, an override, the cluster and the broker say of max.connections.
        let cases: [([Option<&str>; 5], usize); 7] = [
            ([None, None, None, None, None], i32::MAX as usize),
            ([Some("1"), None, None, None, None], 1),
            ([Some("1"), Some("2"), None, None, None], 2),
            ([Some("1"), Some("2"), Some("3"), None, None], 3),
            ([Some("1"), Some("2"), Some("3"), Some("4"), None], 4),
            ([Some("1"), Some("2"), Some("3"), Some("4"), Some("5")], 5),
            ([Some("1"), None, None, None, Some("5")], 5),
        ];
        for ([file, environment, r#override, cluster, broker], expected) in cases {
            let key = "max.connections";
            let text = format!("{FILE}{}", file.map_or(String::new(), |v| format!("{key}={v}\n")));
            let overrides: Vec<_> =
                r#override.map(|v| (key.to_owned(), v.to_owned())).into_iter().collect();
            let variable = |name: &str| {
                environment.filter(|_| name == "OTTLA_MAX_CONNECTIONS").map(str::to_owned)
            };
            let config = BrokerConfig::load(&text, &overrides, variable).unwrap();
            let dynamic =
                |value: Option<&str>| map(&value.map(|v| vec![(key, v)]).unwrap_or_default());
            let (config, faults) = effective(&config, &dynamic(cluster), &dynamic(broker));
            assert_eq!((config.max_connections, faults), (expected, vec![]));
        }
    }

    #[test]
    fn a_value_that_does_not_fit_is_passed_over_and_told() {
        let config = BrokerConfig::load(FILE, &[], |_| None).unwrap();
        let cluster = map(&[("log.retention.ms", "soon"), ("max.connections", "7")]);
        let broker = map(&[("num.io.threads", "3"), ("max.connections.per.ip.overrides", "x")]);
        let (config, faults) = effective(&config, &cluster, &broker);
        assert_eq!(config.max_connections, 7);
        assert!(config.topic_defaults.is_empty() && config.values.ignored.is_empty());
        assert_eq!(faults.len(), 2, "{faults:?}");
        assert!(faults[0].contains("log.retention.ms=soon"), "{faults:?}");
        assert!(faults[1].contains("max.connections.per.ip.overrides: 'x'"), "{faults:?}");
    }

    #[test]
    fn what_may_not_be_set_is_refused_in_kafkas_words() {
        for (set, fault) in [
            (
                &[("node.id", "2"), ("listeners", "x"), ("max.connections", "y")][..],
                Some("Cannot update these configs dynamically: [listeners, node.id]"),
            ),
            (
                &[("max.connections", "-1")],
                Some(
                    "Invalid value -1 for configuration max.connections: Value must be at least 0",
                ),
            ),
            (
                &[("log.cleanup.policy", "burn")],
                Some(
                    "Invalid value burn for configuration log.cleanup.policy: \
                     String must be one of: compact, delete",
                ),
            ),
            (&[("log.retention.ms", "-1"), ("num.io.threads", "8")], None),
        ] {
            assert_eq!(judge(&map(set), false).err().as_deref(), fault, "{set:?}");
        }
    }
}
