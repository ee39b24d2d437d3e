//! How far the verification of a directory's segments has come: one small value in its catalog, which
//! is durable with the next checkpoint. It may be lost: then some segments are verified again.

use crate::log::directory::LogDirectory;
use crate::log::format::{ScrubEntry, from_bytes, to_bytes};
use crate::types::{Offset, TimestampMs, TopicName, TopicPartition};

/// The catalog's key for it; the keys of logs begin with `L`.
const KEY: &[u8] = b"scrub";

/// How far a pass over the segments has come. It goes by partition and offset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubProgress {
    /// When the pass began.
    pub began: TimestampMs,
    /// The segment that was verified last, by its base offset; none: the pass has just begun.
    pub last: Option<(TopicPartition, Offset)>,
    /// Whether the pass is over.
    pub is_over: bool,
}

impl LogDirectory {
    /// How far the last pass came; none if there never was one.
    pub fn scrub_progress(&self) -> Option<ScrubProgress> {
        let stored = match self.shared.gate.catalog().get(KEY) {
            Ok(stored) => stored?,
            Err(error) => {
                tracing::warn!(%error, "cannot tell how far the last verification came");
                return None;
            }
        };
        let entry: ScrubEntry = from_bytes(&stored).ok()?;
        let last = (!entry.topic.is_empty()).then(|| {
            let place = TopicPartition::new(TopicName::new(&entry.topic), entry.partition);
            (place, Offset(entry.segment))
        });
        Some(ScrubProgress { began: TimestampMs(entry.began), last, is_over: entry.is_over })
    }

    /// Remembers how far a pass has come.
    pub fn note_scrub_progress(&self, progress: &ScrubProgress) {
        let (topic, partition, segment) = match &progress.last {
            Some((place, segment)) => (place.topic.as_str(), place.partition.0, segment.0),
            None => ("", -1, -1),
        };
        let entry = ScrubEntry {
            began: progress.began.0,
            topic: topic.into(),
            partition,
            segment,
            is_over: progress.is_over,
        };
        if let Err(error) = self.shared.gate.lazily(|batch| batch.put(KEY, to_bytes(&entry))) {
            tracing::warn!(%error, "cannot remember how far the verification has come");
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    /// Bytes that a broker has written stay readable.
    #[test]
    fn what_was_stored_once_is_read() {
        let stored = ScrubEntry {
            began: 1_700_000_000_000,
            topic: "orders".into(),
            partition: 3,
            segment: 512,
            is_over: true,
        };
        #[rustfmt::skip]
        let bytes: &[u8] = &[
            0, 0,                                       // the format's version
            0, 0, 0x01, 0x8b, 0xcf, 0xe5, 0x68, 0,      // when it began
            7, b'o', b'r', b'd', b'e', b'r', b's',      // the topic
            0, 0, 0, 3,                                 // its partition
            0, 0, 0, 0, 0, 0, 2, 0,                     // the segment
            1,                                          // over
            0,                                          // no tags
        ];
        assert_eq!(to_bytes(&stored), bytes);
        assert_eq!(from_bytes::<ScrubEntry>(bytes).unwrap(), stored);
    }
}
