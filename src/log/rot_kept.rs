//! Known damage, kept in the catalog: after a restart what is damaged is not served either. One small
//! value for each damaged segment, under a key of its own that opening a log does not look at; it is
//! durable with the next checkpoint.
//!
//! ```text
//! rot <topic id, 16 bytes> <partition, 4 bytes> <base offset>
//! ```

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::log::directory::LogDirectory;
use crate::log::format::{DamagedPart, DamagedSegment, from_bytes, to_bytes};
use crate::log::partition_log::Log;
use crate::log::rot::Finding;
use crate::types::Offset;

const PREFIX: &[u8] = b"rot";
/// How many parts of one segment are told apart; more become one.
const MAX_PARTS: usize = 16;
/// How much is kept of a reason.
const MAX_REASON_CHARS: usize = 48;

fn key(log: &Log, base: Offset) -> Vec<u8> {
    let mut key = PREFIX.to_vec();
    key.extend_from_slice(log.topic_id().0.as_bytes());
    key.extend_from_slice(&log.topic_partition().partition.0.to_be_bytes());
    key.extend_from_slice(&base.0.to_be_bytes());
    key
}

/// Keeps what was found in one segment; nothing: it is sound.
pub(crate) fn keep(log: &Log, base: Offset, findings: &[Finding]) {
    let kept = log.shared.gate.lazily(|batch| match findings {
        // It was deleted, or has moved away; another may come to lie here.
        _ if log.is_closed.load(Ordering::Acquire) => {}
        [] => batch.delete(key(log, base)),
        findings => {
            let segment = DamagedSegment { parts: parts(findings) };
            batch.put(key(log, base), to_bytes(&segment));
        }
    });
    if let Err(error) = kept {
        tracing::warn!(log = %log.topic_partition(), %error, "damage will be forgotten");
    }
}

fn parts(findings: &[Finding]) -> Vec<DamagedPart> {
    let bytes = |position: u64| i64::try_from(position).unwrap_or(i64::MAX);
    let part = |first: &Finding, last: &Finding| DamagedPart {
        position: bytes(first.position),
        end: bytes(last.end),
        from_offset: first.from.0,
        to_offset: last.to.0,
        reason: first.reason.chars().take(MAX_REASON_CHARS).collect::<String>().as_str().into(),
    };
    match findings {
        [first, .., last] if findings.len() > MAX_PARTS => vec![part(first, last)],
        findings => findings.iter().map(|finding| part(finding, finding)).collect(),
    }
}

impl LogDirectory {
    /// Lets the logs know of the damage that was found before they were opened. What is said of logs
    /// and segments that are gone is forgotten.
    pub(crate) fn recall_damage(&self) {
        let entries = match self.shared.gate.catalog().scan_prefix(PREFIX) {
            Ok(entries) => entries,
            Err(error) => {
                tracing::warn!(%error, "cannot tell what was known to be damaged");
                return;
            }
        };
        if entries.is_empty() {
            return;
        }
        let logs = self.logs();
        for (name, value) in entries {
            let owner = logs.iter().find_map(|log| {
                let base = base_of(log, &name)?;
                log.has_segment(base).then(|| (Arc::clone(log), base))
            });
            let known = from_bytes::<DamagedSegment>(&value).ok().zip(owner);
            let Some((segment, (log, base))) = known else {
                // It will be tried again at the next opening.
                let _ = self.shared.gate.lazily(|batch| batch.delete(name));
                continue;
            };
            let findings: Vec<Finding> =
                segment.parts.into_iter().map(|part| finding(base, part)).collect();
            log.note_damage(base, &findings);
        }
    }
}

/// The segment of `log` that a key speaks of, if it does.
fn base_of(log: &Log, name: &[u8]) -> Option<Offset> {
    let (_, base) = name.split_last_chunk::<8>()?;
    let base = Offset(i64::from_be_bytes(*base));
    (key(log, base) == name).then_some(base)
}

fn finding(segment: Offset, part: DamagedPart) -> Finding {
    Finding {
        segment,
        position: u64::try_from(part.position).unwrap_or(0),
        end: u64::try_from(part.end).unwrap_or(0),
        from: Offset(part.from_offset),
        to: Offset(part.to_offset),
        reason: part.reason.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::storage::MAX_VALUE_BYTES;

    fn found(count: i64) -> Vec<Finding> {
        let one = |index: i64| Finding {
            segment: Offset(7),
            position: index as u64 * 10,
            end: index as u64 * 10 + 5,
            from: Offset(index * 2),
            to: Offset(index * 2 + 1),
            reason: "é".repeat(500),
        };
        (0..count).map(one).collect()
    }

    #[test]
    fn what_is_kept_is_small_and_covers_all() {
        for count in [1, 16, 17, 5_000] {
            let findings = found(count);
            let bytes = to_bytes(&DamagedSegment { parts: parts(&findings) });
            assert!(bytes.len() <= MAX_VALUE_BYTES, "{count}: {} bytes", bytes.len());
            let back: Vec<Finding> = from_bytes::<DamagedSegment>(&bytes)
                .unwrap()
                .parts
                .into_iter()
                .map(|part| finding(Offset(7), part))
                .collect();
            for finding in &findings {
                let is_covered = |kept: &Finding| {
                    kept.from <= finding.from
                        && kept.to >= finding.to
                        && kept.position <= finding.position
                        && kept.end >= finding.end
                };
                assert!(back.iter().any(is_covered), "{count}: {finding:?}");
            }
        }
    }

    /// Bytes that a broker has written stay readable.
    #[test]
    fn what_was_stored_once_is_read() {
        let segment = DamagedSegment {
            parts: vec![DamagedPart {
                position: 1,
                end: 2,
                from_offset: 3,
                to_offset: 4,
                reason: "bad".into(),
            }],
        };
        #[rustfmt::skip]
        let bytes: &[u8] = &[
            0, 0,                       // the format's version
            2,                          // one part
            0, 0, 0, 0, 0, 0, 0, 1,     // position
            0, 0, 0, 0, 0, 0, 0, 2,     // end
            0, 0, 0, 0, 0, 0, 0, 3,     // from
            0, 0, 0, 0, 0, 0, 0, 4,     // to
            4, b'b', b'a', b'd',        // reason
            0,                          // no tags in the part
            0,                          // no tags
        ];
        assert_eq!(to_bytes(&segment), bytes);
        assert_eq!(from_bytes::<DamagedSegment>(bytes).unwrap(), segment);
    }
}
