//! The names of the directories within a data directory. Pure.

use crate::types::{Random, TimestampMs, TopicPartition};

/// The topic of the metadata log, as Kafka names it. A node that has lost this log has lost its
/// votes.
pub const METADATA_TOPIC: &str = "__cluster_metadata";
/// No name of a file system is longer.
const LONGEST_NAME: usize = 255;
/// How many digits tell names of the same partition apart.
const UNIQUE_DIGITS: usize = 32;

/// What a directory's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DirectoryName {
    /// The log of a partition.
    Log(TopicPartition),
    /// A log that will be removed.
    Deleted,
    /// A log that is being filled to take the place of one in another data directory.
    Future(TopicPartition),
    /// A log whose topic is not known.
    Stray {
        /// Since when.
        since_ms: i64,
    },
}

impl DirectoryName {
    pub(crate) const DELETED: &'static str = "-delete";
    pub(crate) const STRAY: &'static str = "-stray";
    pub(crate) const FUTURE: &'static str = "-future";

    /// What `name` says; `None` if it is no log's.
    pub(crate) fn parse(name: &str) -> Option<DirectoryName> {
        if let Some(rest) = name.strip_suffix(Self::STRAY) {
            let (_, unique) = rest.rsplit_once('.')?;
            // A stray that Kafka renamed bears no time: it stays until somebody removes it.
            let since_ms = unique.get(..12).and_then(|hex| i64::from_str_radix(hex, 16).ok());
            return Some(DirectoryName::Stray { since_ms: since_ms.unwrap_or(i64::MAX) });
        }
        if name.ends_with(Self::DELETED) && name.contains('.') {
            return Some(DirectoryName::Deleted);
        }
        if let Some(rest) = name.strip_suffix(Self::FUTURE) {
            let (log, _unique) = rest.rsplit_once('.')?;
            return parse_log(log).map(DirectoryName::Future);
        }
        parse_log(name).map(DirectoryName::Log)
    }
}

fn parse_log(name: &str) -> Option<TopicPartition> {
    let (topic, partition) = name.rsplit_once('-')?;
    let digits = !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
    let partition = partition.parse().ok().filter(|_| digits && !topic.is_empty())?;
    Some(TopicPartition::new(topic, partition))
}

/// Whether a future log's name would have to be cut off, so that nobody could read it back.
pub(crate) fn is_too_long_for_a_future(topic_partition: &TopicPartition) -> bool {
    let mark = 1 + UNIQUE_DIGITS + DirectoryName::FUTURE.len();
    topic_partition.to_string().len() + mark > LONGEST_NAME
}

/// The directory's name of a partition's log.
pub(crate) fn log_name(topic_partition: &TopicPartition) -> String {
    topic_partition.to_string()
}

/// The name that a log's directory gets when it is put aside: as Kafka's, at most 255 characters,
/// with 32 hexadecimal digits that begin with the time.
pub(crate) fn discarded_name(
    topic_partition: &TopicPartition,
    since: TimestampMs,
    random: &dyn Random,
    suffix: &str,
) -> String {
    let unique =
        format!("{:012x}{:016x}{:04x}", since.0.max(0), random.bits(), random.bits() & 0xffff);
    let mut name = topic_partition.to_string();
    let room = LONGEST_NAME.saturating_sub(unique.len() + suffix.len() + 1);
    name.truncate(room);
    format!("{name}.{unique}{suffix}")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::types::random::SeededRandom;

    #[test]
    fn names_tell_what_is_in_a_directory() {
        let log = |topic: &str, partition| {
            Some(DirectoryName::Log(TopicPartition::new(topic, partition)))
        };
        let future = |topic: &str, partition| {
            Some(DirectoryName::Future(TopicPartition::new(topic, partition)))
        };
        for (name, expected) in [
            ("orders-3", log("orders", 3)),
            ("a-b.c-delete-0", log("a-b.c-delete", 0)),
            ("__cluster_metadata-0", log("__cluster_metadata", 0)),
            ("catalog", None),
            ("orders-3.0123456789abcdef0123456789abcdef-future", future("orders", 3)),
            ("a.b-c-0.x-future", future("a.b-c", 0)),
            ("a.b-future-0", log("a.b-future", 0)),
            ("orders-future", None),
            ("orders.x-future", None),
            ("lost+found", None),
            ("-1", None),
            ("orders-", None),
            ("orders-+1", None),
        ] {
            assert_eq!(DirectoryName::parse(name), expected, "{name}");
        }
        let random = SeededRandom::new(1);
        let since = TimestampMs(1_700_000_000_000);
        for topic in ["orders", &"x".repeat(249)] {
            let partition = TopicPartition::new(topic, 3);
            let stray = discarded_name(&partition, since, &random, DirectoryName::STRAY);
            assert!(stray.len() <= 255);
            let expected = DirectoryName::Stray { since_ms: since.0 };
            assert_eq!(DirectoryName::parse(&stray), Some(expected));
            let is_too_long = is_too_long_for_a_future(&partition);
            assert_eq!(is_too_long, topic.len() > 200);
            if !is_too_long {
                let name = discarded_name(&partition, since, &random, DirectoryName::FUTURE);
                let expected = DirectoryName::Future(partition.clone());
                assert_eq!(DirectoryName::parse(&name), Some(expected));
            }
            let deleted = discarded_name(&partition, since, &random, DirectoryName::DELETED);
            assert_eq!(DirectoryName::parse(&deleted), Some(DirectoryName::Deleted));
        }
    }
}
