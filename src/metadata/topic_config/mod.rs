//! A topic's configuration: Kafka's keys, their types, ranges and defaults, what is wrong with a
//! value in Kafka's words, and the typed whole as the log uses it.
//!
//! - `keys`: the table of keys
//! - `typed`: [`TopicConfig`], resolved

mod keys;
mod typed;

use std::collections::BTreeMap;

pub use keys::KEYS;
pub use typed::{CompressionType, Resolved, Source, TimestampType, TopicConfig, resolve};

/// A key's type and range.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// true or false.
    Boolean,
    /// A 32-bit number between the two, inclusive.
    Int(i64, i64),
    /// A 32-bit number between the first two, inclusive, or the third.
    IntOr(i64, i64, i64),
    /// A 64-bit number between the two, inclusive.
    Long(i64, i64),
    /// A fraction between the two, inclusive.
    Double(f64, f64),
    /// One of these texts.
    Text(&'static [&'static str]),
    /// Several of these texts, separated by commas; of any, if none are listed.
    List(&'static [&'static str]),
    /// Replicas as partition:broker, separated by commas, or `*`.
    Replicas,
}

impl Kind {
    /// Whether values can be appended to it and taken out of it.
    pub fn is_list(self) -> bool {
        matches!(self, Self::List(_) | Self::Replicas)
    }

    /// Says what is wrong with `value` for the key `name`, in Kafka's words.
    ///
    /// # Errors
    /// One sentence.
    pub fn judge(self, name: &str, value: &str) -> Result<(), String> {
        let invalid = |why: &str| format!("Invalid value {value} for configuration {name}: {why}");
        let trimmed = value.trim();
        let int = || -> Result<i64, String> {
            let number: Result<i32, _> = trimmed.parse();
            number.map(i64::from).map_err(|_| invalid("Not a number of type INT"))
        };
        match self {
            Self::Boolean => {
                let is_boolean = ["true", "false"].iter().any(|b| trimmed.eq_ignore_ascii_case(b));
                let fault = || invalid("Expected value to be either true or false");
                is_boolean.then_some(()).ok_or_else(fault)
            }
            Self::Int(min, max) => in_range(int()?, min, max).map_err(|why| invalid(&why)),
            Self::IntOr(min, max, other) => {
                let number = int()?;
                let fits = (min..=max).contains(&number) || number == other;
                let fault = || {
                    invalid(&format!("Value must be between {min} and {max} or equal to {other}"))
                };
                fits.then_some(()).ok_or_else(fault)
            }
            Self::Long(min, max) => {
                let number: i64 =
                    trimmed.parse().map_err(|_| invalid("Not a number of type LONG"))?;
                in_range(number, min, max).map_err(|why| invalid(&why))
            }
            Self::Double(min, max) => {
                let number: f64 =
                    trimmed.parse().map_err(|_| invalid("Not a number of type DOUBLE"))?;
                if number.is_nan() {
                    return Err(invalid("Not a number of type DOUBLE"));
                }
                in_range(number, min, max).map_err(|why| invalid(&why))
            }
            Self::Text(allowed) => one_of(allowed, trimmed).map_err(|why| invalid(&why)),
            Self::List(allowed) => {
                items(value).filter(|_| !allowed.is_empty()).try_for_each(|item| {
                    let told =
                        |why| format!("Invalid value {item} for configuration {name}: {why}");
                    one_of(allowed, item).map_err(told)
                })
            }
            Self::Replicas => {
                let is_replica = |item: &str| {
                    item.split_once(':').is_some_and(|(partition, broker)| {
                        partition.parse::<u32>().is_ok() && broker.parse::<u32>().is_ok()
                    })
                };
                if trimmed == "*" || items(value).all(is_replica) {
                    return Ok(());
                }
                Err(invalid(&format!(
                    "{name} must be the literal '*' or a list of replicas in the following format: \
                     [partitionId]:[brokerId],[partitionId]:[brokerId],..."
                )))
            }
        }
    }
}

/// A broker key that sets the default of a topic key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Synonym {
    /// The broker key.
    pub name: &'static str,
    /// What its value is multiplied by, e.g. from hours to milliseconds.
    pub to_topic_unit: i64,
}

/// One topic configuration key.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct TopicConfigKey {
    /// Its name.
    pub name: &'static str,
    /// Its type and range.
    pub kind: Kind,
    /// Its value where nobody sets it.
    pub default: &'static str,
    /// The broker keys that set its default; an earlier one wins.
    pub synonyms: &'static [Synonym],
    /// What it means.
    pub doc: &'static str,
}

impl TopicConfigKey {
    /// Says what is wrong with `value`, in Kafka's words.
    pub fn validate(&self, value: &str) -> Result<(), String> {
        self.kind.judge(self.name, value)
    }
}

fn in_range<T: PartialOrd + std::fmt::Display>(number: T, min: T, max: T) -> Result<(), String> {
    if number < min {
        Err(format!("Value must be at least {min}"))
    } else if number > max {
        Err(format!("Value must be no more than {max}"))
    } else {
        Ok(())
    }
}

fn one_of(allowed: &[&str], text: &str) -> Result<(), String> {
    if allowed.contains(&text) {
        Ok(())
    } else {
        Err(format!("String must be one of: {}", allowed.join(", ")))
    }
}

fn items(list: &str) -> impl Iterator<Item = &str> {
    list.split(',').map(str::trim).filter(|item| !item.is_empty())
}

/// The key of that name.
pub fn key(name: &str) -> Option<&'static TopicConfigKey> {
    KEYS.binary_search_by(|key| key.name.cmp(name)).ok().map(|index| &KEYS[index])
}

/// Judges the configuration of a topic as it is to be; says what is wrong, in Kafka's words.
pub fn validate<'a>(
    configs: impl IntoIterator<Item = (&'a str, Option<&'a str>)>,
) -> Result<(), String> {
    let mut values = BTreeMap::new();
    let mut nulls = Vec::new();
    for (name, value) in configs {
        match value {
            Some(value) => {
                values.insert(name, value);
            }
            None => nulls.push(name),
        }
    }
    if !nulls.is_empty() {
        return Err(format!("Null value not supported for topic configs: {}", nulls.join(",")));
    }
    for (name, value) in &values {
        let key = key(name).ok_or_else(|| format!("Unknown topic config name: {name}"))?;
        key.validate(value)?;
    }
    let is_remote = values.get("remote.storage.enable");
    if is_remote.is_some_and(|value| value.trim().eq_ignore_ascii_case("true")) {
        return Err("Tiered Storage functionality is disabled in the broker. Topic cannot be \
                    configured with remote log storage."
            .to_owned());
    }
    let number = |name: &str| -> Option<i64> {
        let text = values.get(name).copied().or_else(|| key(name).map(|key| key.default))?;
        text.trim().parse().ok()
    };
    match (number("min.compaction.lag.ms"), number("max.compaction.lag.ms")) {
        (Some(min), Some(max)) if min > max => Err(format!(
            "conflict topic config setting min.compaction.lag.ms ({min}) > max.compaction.lag.ms ({max})"
        )),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_valid() {
        assert!(KEYS.windows(2).all(|pair| pair[0].name < pair[1].name));
        for key in KEYS.iter().filter(|key| !key.default.is_empty()) {
            assert_eq!(key.validate(key.default), Ok(()), "{}", key.name);
        }
    }

    #[test]
    fn values_are_judged_in_kafkas_words() {
        for (name, value, fault) in [
            ("nonsense", Some("1"), "Unknown topic config name: nonsense"),
            ("retention.ms", None, "Null value not supported for topic configs: retention.ms"),
            (
                "retention.ms",
                Some("soon"),
                "Invalid value soon for configuration retention.ms: Not a number of type LONG",
            ),
            (
                "retention.ms",
                Some("-2"),
                "Invalid value -2 for configuration retention.ms: Value must be at least -1",
            ),
            (
                "min.insync.replicas",
                Some("0"),
                "Invalid value 0 for configuration min.insync.replicas: Value must be at least 1",
            ),
            (
                "min.cleanable.dirty.ratio",
                Some("1.5"),
                "Invalid value 1.5 for configuration min.cleanable.dirty.ratio: Value must be no more than 1",
            ),
            (
                "cleanup.policy",
                Some("compact,burn"),
                "Invalid value burn for configuration cleanup.policy: String must be one of: compact, delete",
            ),
            (
                "compression.gzip.level",
                Some("0"),
                "Invalid value 0 for configuration compression.gzip.level: Value must be between 1 and 9 or equal to -1",
            ),
            (
                "leader.replication.throttled.replicas",
                Some("0:1,x"),
                "Invalid value 0:1,x for configuration leader.replication.throttled.replicas: \
                 leader.replication.throttled.replicas must be the literal '*' or a list of replicas \
                 in the following format: [partitionId]:[brokerId],[partitionId]:[brokerId],...",
            ),
            (
                "remote.storage.enable",
                Some("true"),
                "Tiered Storage functionality is disabled in the broker. Topic cannot be configured \
                 with remote log storage.",
            ),
            (
                "preallocate",
                Some("yes"),
                "Invalid value yes for configuration preallocate: Expected value to be either true or false",
            ),
        ] {
            assert_eq!(validate([(name, value)]), Err(fault.to_owned()));
        }
        for (name, value) in [
            ("cleanup.policy", "compact, delete"),
            ("cleanup.policy", ""),
            ("compression.gzip.level", "-1"),
            ("follower.replication.throttled.replicas", "*"),
            ("follower.replication.throttled.replicas", "0:1, 1:2"),
            ("remote.storage.enable", "false"),
        ] {
            assert_eq!(validate([(name, Some(value))]), Ok(()), "{name}={value}");
        }
        let lags = [("min.compaction.lag.ms", Some("9")), ("max.compaction.lag.ms", Some("8"))];
        assert!(validate(lags).unwrap_err().contains("min.compaction.lag.ms (9)"));
    }
}
