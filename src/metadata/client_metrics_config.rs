//! What may be set for a subscription to the metrics of clients (KIP-714). Subscriptions are kept and
//! shown; no metrics are collected yet.

use std::collections::BTreeMap;

use regex::Regex;

use crate::metadata::topic_config::Kind::{self, Int, List};
use crate::types::ErrorCode;

/// One key of a subscription.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClientMetricsKey {
    /// Its name.
    pub name: &'static str,
    /// Its type.
    pub kind: Kind,
    /// Its value where nobody sets it.
    pub default: &'static str,
    /// What it means.
    pub doc: &'static str,
}

/// Every key, by name.
pub const KEYS: &[ClientMetricsKey] = &[
    ClientMetricsKey {
        name: "interval.ms",
        kind: Int(i32::MIN as i64, i32::MAX as i64),
        default: "300000",
        doc: "How often clients are to send their metrics, between 100 ms and an hour.",
    },
    ClientMetricsKey {
        name: "match",
        kind: List(&[]),
        default: "",
        doc: "Which clients are meant: a list of name=pattern; all of them must match.",
    },
    ClientMetricsKey {
        name: "metrics",
        kind: List(&[]),
        default: "",
        doc: "Prefixes of the names of the metrics that are wanted; '*' means all.",
    },
];

/// What a client may be matched by.
const MATCHED_BY: [&str; 6] = [
    "client_id",
    "client_instance_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
];

/// The key of that name.
pub fn key(name: &str) -> Option<&'static ClientMetricsKey> {
    KEYS.iter().find(|key| key.name == name)
}

/// Judges a subscription as it is to be; says what is wrong, in Kafka's words.
///
/// # Errors
/// Kafka's error and one sentence.
pub fn validate(
    subscription: &str,
    configs: &BTreeMap<String, String>,
) -> Result<(), (ErrorCode, String)> {
    let request = |message: String| (ErrorCode::InvalidRequest, message);
    let config = |message: String| (ErrorCode::InvalidConfig, message);
    if subscription.is_empty() {
        return Err(request("Subscription name can't be empty".to_owned()));
    }
    for name in configs.keys() {
        key(name)
            .ok_or_else(|| request(format!("Unknown client metrics configuration: {name}")))?;
    }
    if let Some(interval) = configs.get("interval.ms") {
        let number: i32 = interval.trim().parse().map_err(|_| {
            config(format!(
                "Invalid value {interval} for configuration interval.ms: Not a number of type INT"
            ))
        })?;
        if !(100..=3_600_000).contains(&number) {
            return Err(request(format!(
                "Invalid value {number} for interval.ms, interval must be between 100 and 3600000 \
                 (1 hour)"
            )));
        }
    }
    let patterns = configs.get("match").map(String::as_str).unwrap_or_default();
    for pattern in patterns.split(',').map(str::trim).filter(|pattern| !pattern.is_empty()) {
        if !is_pattern(pattern) {
            return Err(config(format!("Illegal client matching pattern: {pattern}")));
        }
    }
    Ok(())
}

fn is_pattern(text: &str) -> bool {
    let mut parts = text.split('=');
    let (Some(name), Some(pattern), None) = (parts.next(), parts.next(), parts.next()) else {
        return false;
    };
    MATCHED_BY.contains(&name.trim()) && Regex::new(pattern.trim()).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_judged_in_kafkas_words() {
        use ErrorCode::{InvalidConfig, InvalidRequest};
        for (name, key, value, expected) in [
            ("", "metrics", "a", Err((InvalidRequest, "Subscription name can't be empty"))),
            (
                "s",
                "nonsense",
                "1",
                Err((InvalidRequest, "Unknown client metrics configuration: nonsense")),
            ),
            (
                "s",
                "interval.ms",
                "99",
                Err((
                    InvalidRequest,
                    "Invalid value 99 for interval.ms, interval must be between 100 and 3600000 (1 hour)",
                )),
            ),
            (
                "s",
                "interval.ms",
                "soon",
                Err((
                    InvalidConfig,
                    "Invalid value soon for configuration interval.ms: Not a number of type INT",
                )),
            ),
            ("s", "interval.ms", "100", Ok(())),
            ("s", "match", "client_id=a.*, client_software_name=java", Ok(())),
            (
                "s",
                "match",
                "client_id",
                Err((InvalidConfig, "Illegal client matching pattern: client_id")),
            ),
            ("s", "match", "who=a", Err((InvalidConfig, "Illegal client matching pattern: who=a"))),
            (
                "s",
                "match",
                "client_id=(",
                Err((InvalidConfig, "Illegal client matching pattern: client_id=(")),
            ),
            ("s", "metrics", "*", Ok(())),
        ] {
            let configs = BTreeMap::from([(key.to_owned(), value.to_owned())]);
            let expected = expected.map_err(|(code, message)| (code, message.to_owned()));
            assert_eq!(validate(name, &configs), expected, "{name} {key}={value}");
        }
    }
}
