//! The names of the directories within a data directory. Pure.

use crate::types::{Random, TimestampMs, TopicPartition};

/// What a directory's name says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum DirectoryName {
    /// The log of a partition.
    Log(TopicPartition),
    /// A log that will be removed.
    Deleted,
    /// A log whose topic is not known.
    Stray {
        /// Since when.
        since_ms: i64,
    },
}

impl DirectoryName {
    pub(crate) const DELETED: &'static str = "-delete";
    pub(crate) const STRAY: &'static str = "-stray";

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
        let (topic, partition) = name.rsplit_once('-')?;
        let digits = !partition.is_empty() && partition.bytes().all(|byte| byte.is_ascii_digit());
        let partition = partition.parse().ok().filter(|_| digits && !topic.is_empty())?;
        Some(DirectoryName::Log(TopicPartition::new(topic, partition)))
    }
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
    let room = 255usize.saturating_sub(unique.len() + suffix.len() + 1);
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
        for (name, expected) in [
            ("orders-3", log("orders", 3)),
            ("a-b.c-delete-0", log("a-b.c-delete", 0)),
            ("__cluster_metadata-0", log("__cluster_metadata", 0)),
            ("catalog", None),
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
            let deleted = discarded_name(&partition, since, &random, DirectoryName::DELETED);
            assert_eq!(DirectoryName::parse(&deleted), Some(DirectoryName::Deleted));
        }
    }
}
