//! Which part of a log may be compacted, and how urgent that is. Pure.

use std::ops::Range;
use std::time::Duration;

use crate::types::{Offset, TimestampMs};

/// What is known of a sealed segment without reading it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sealed {
    /// The offset that its name tells.
    pub base_offset: Offset,
    /// The offset after its last.
    pub next_offset: Offset,
    /// Its bytes.
    pub size_bytes: u64,
    /// The largest timestamp of its first batch.
    pub first_timestamp: Option<TimestampMs>,
    /// The largest timestamp in it.
    pub max_timestamp: TimestampMs,
}

/// What limits the part of a log that may be compacted.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Everything below is without repetitions already.
    pub first_dirty: Offset,
    /// Nothing at or above may be touched: it is not committed, or a transaction is open there, or
    /// it is not on the device.
    pub uncleanable: Offset,
    /// The time.
    pub now: TimestampMs,
    /// `min.compaction.lag.ms`
    pub min_lag: Duration,
    /// `max.compaction.lag.ms`; `None`: no limit.
    pub max_lag: Option<Duration>,
}

/// The part of a log that may be compacted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cleanable {
    /// Where what has not been compacted begins.
    pub first_dirty: Offset,
    /// Where what may not be compacted begins: the end of a segment.
    pub end: Offset,
    /// The bytes of the segments before the dirty ones.
    pub clean_bytes: u64,
    /// The bytes of the segments with something dirty.
    pub dirty_bytes: u64,
    /// Something dirty is older than `max.compaction.lag.ms`.
    pub is_overdue: bool,
}

impl Cleanable {
    /// How much of it is dirty, from 0 to 1.
    pub fn dirty_ratio(&self) -> f64 {
        let total = self.clean_bytes + self.dirty_bytes;
        if total == 0 { 0.0 } else { self.dirty_bytes as f64 / total as f64 }
    }

    /// Whether it should be compacted now.
    pub fn is_due(&self, min_cleanable_dirty_ratio: f64) -> bool {
        self.dirty_bytes > 0 && (self.is_overdue || self.dirty_ratio() > min_cleanable_dirty_ratio)
    }
}

/// What of `sealed`, by offset, may be compacted.
pub fn cleanable(sealed: &[Sealed], limits: Limits) -> Cleanable {
    let Limits { first_dirty, now, .. } = limits;
    let mut part = Cleanable {
        first_dirty,
        end: first_dirty,
        clean_bytes: 0,
        dirty_bytes: 0,
        is_overdue: false,
    };
    let youngest = before(now, limits.min_lag);
    let oldest = limits.max_lag.map(|lag| before(now, lag));
    for segment in sealed {
        if segment.next_offset <= first_dirty {
            part.clean_bytes += segment.size_bytes;
            continue;
        }
        let too_young = !limits.min_lag.is_zero() && segment.max_timestamp > youngest;
        if segment.next_offset > limits.uncleanable || too_young {
            break;
        }
        part.dirty_bytes += segment.size_bytes;
        part.end = segment.next_offset;
        part.is_overdue |=
            oldest.is_some_and(|oldest| segment.first_timestamp.is_some_and(|at| at < oldest));
    }
    part
}

fn before(now: TimestampMs, lag: Duration) -> TimestampMs {
    TimestampMs(now.0.saturating_sub(i64::try_from(lag.as_millis()).unwrap_or(i64::MAX)))
}

/// The segments below `end` in groups, each of which becomes one segment of at most
/// `segment_bytes`, unless a single one was larger, and of no more offsets than an index can tell.
pub fn groups(sealed: &[Sealed], end: Offset, segment_bytes: u64) -> Vec<Range<usize>> {
    let mut groups: Vec<Range<usize>> = Vec::new();
    let mut size_bytes = 0;
    for (index, segment) in sealed.iter().enumerate().take_while(|(_, s)| s.base_offset < end) {
        size_bytes += segment.size_bytes;
        match groups.last_mut() {
            Some(group)
                if size_bytes <= segment_bytes
                    && segment.next_offset.since(sealed[group.start].base_offset)
                        <= i64::from(i32::MAX) =>
            {
                group.end = index + 1;
            }
            Some(_) | None => {
                groups.push(index..index + 1);
                size_bytes = segment.size_bytes;
            }
        }
    }
    groups
}

#[cfg(test)]
mod tests {
    #![allow(clippy::single_range_in_vec_init)]
    use super::*;

    const NOW: TimestampMs = TimestampMs(100_000);

    /// Segments of 10 offsets and 100 bytes each, the first batches of which bear these times.
    fn segments(times: &[i64]) -> Vec<Sealed> {
        (0..)
            .zip(times)
            .map(|(index, &time)| Sealed {
                base_offset: Offset(index * 10),
                next_offset: Offset(index * 10 + 10),
                size_bytes: 100,
                first_timestamp: Some(TimestampMs(time)),
                max_timestamp: TimestampMs(time + 50),
            })
            .collect()
    }

    #[test]
    fn what_may_be_compacted() {
        let sealed = segments(&[10_000, 20_000, 90_000, 95_000]);
        let seconds = Duration::from_secs;
        // (first dirty, uncleanable, min lag, max lag) → (end, clean, dirty, overdue)
        for (case, expected) in [
            ((0, 99, 0, None), (40, 0, 400, false)),
            ((20, 99, 0, None), (40, 200, 200, false)),
            ((25, 99, 0, None), (40, 200, 200, false)),
            ((40, 99, 0, None), (40, 400, 0, false)),
            ((0, 39, 0, None), (30, 0, 300, false)),
            ((0, 30, 0, None), (30, 0, 300, false)),
            ((0, 5, 0, None), (0, 0, 0, false)),
            ((0, 99, 7, None), (30, 0, 300, false)),
            ((0, 99, 20, None), (20, 0, 200, false)),
            ((0, 99, 20, Some(85)), (20, 0, 200, true)),
            ((10, 99, 20, Some(85)), (20, 100, 100, false)),
            ((0, 99, 0, Some(95)), (40, 0, 400, false)),
            ((40, 99, 0, Some(1)), (40, 400, 0, false)),
        ] {
            let (first_dirty, uncleanable, min_lag, max_lag) = case;
            let limits = Limits {
                first_dirty: Offset(first_dirty),
                uncleanable: Offset(uncleanable),
                now: NOW,
                min_lag: seconds(min_lag),
                max_lag: max_lag.map(seconds),
            };
            let part = cleanable(&sealed, limits);
            let found = (part.end.0, part.clean_bytes, part.dirty_bytes, part.is_overdue);
            assert_eq!((found, part.first_dirty.0), (expected, first_dirty), "{case:?}");
        }
    }

    #[test]
    fn what_is_due() {
        let part = |clean_bytes, dirty_bytes, is_overdue| Cleanable {
            first_dirty: Offset(0),
            end: Offset(1),
            clean_bytes,
            dirty_bytes,
            is_overdue,
        };
        for (part, ratio, due) in [
            (part(100, 100, false), 0.5, false),
            (part(100, 101, false), 0.5, true),
            (part(100, 1, false), 0.0, true),
            (part(100, 0, false), 0.0, false),
            (part(100, 1, true), 1.0, true),
            (part(100, 0, true), 0.0, false),
            (part(0, 100, false), 1.0, false),
        ] {
            assert_eq!(part.is_due(ratio), due, "{part:?} at {ratio}");
        }
    }

    #[test]
    fn segments_are_grouped_up_to_a_size_and_a_range_of_offsets() {
        let sealed = segments(&[0; 5]);
        for (end, segment_bytes, expected) in [
            (50, 1_000, vec![0..5]),
            (50, 200, vec![0..2, 2..4, 4..5]),
            (50, 250, vec![0..2, 2..4, 4..5]),
            (50, 1, vec![0..1, 1..2, 2..3, 3..4, 4..5]),
            (25, 1_000, vec![0..3]),
            (20, 1_000, vec![0..2]),
            (0, 1_000, vec![]),
        ] {
            assert_eq!(
                groups(&sealed, Offset(end), segment_bytes),
                expected,
                "{end} {segment_bytes}"
            );
        }
        let mut far = segments(&[0; 3]);
        far[2].base_offset = Offset(i64::from(i32::MAX) - 5);
        far[2].next_offset = Offset(i64::from(i32::MAX) + 5);
        far[1].next_offset = far[2].base_offset;
        assert_eq!(groups(&far, Offset(i64::MAX), 1_000), [0..2, 2..3]);
    }
}
