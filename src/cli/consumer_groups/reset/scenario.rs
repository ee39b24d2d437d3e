//! What a reset means for one partition.

use std::path::PathBuf;

use crate::cli::consumer_groups::reset::time::IsoDuration;
use crate::types::{Offset, TimestampMs, TopicPartition};

/// Where a group shall begin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli::consumer_groups) enum Scenario {
    /// With the first record there is.
    ToEarliest,
    /// After the last record there is.
    ToLatest,
    /// Where it has come to; where it has not been, after the last record.
    ToCurrent,
    /// At this offset.
    ToOffset(Offset),
    /// So many offsets after where it has come to.
    ShiftBy(i64),
    /// With the first record that is not older.
    ToDatetime(TimestampMs),
    /// With the first record that is not older than that.
    ByDuration(IsoDuration),
    /// At the offsets that a file names.
    FromFile(PathBuf),
}

/// What is known of one partition.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// The first offset of its log.
    pub(super) start: Option<Offset>,
    /// One past its last offset.
    pub(super) end: Option<Offset>,
    /// The first offset that is not older than the scenario's time.
    pub(super) at_time: Option<Offset>,
    /// What the group has committed.
    pub(super) committed: Option<Offset>,
    /// What a file says.
    pub(super) planned: Option<Offset>,
}

/// A new offset, and what the user must hear about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Reset {
    pub(super) offset: Offset,
    pub(super) warning: Option<String>,
}

/// Where the group will begin in `partition`.
///
/// # Errors
/// The log's ends are not known, or the scenario starts from a commit that does not exist; in words
/// for the user.
pub(super) fn new_offset(
    scenario: &Scenario,
    partition: &TopicPartition,
    known: Known,
) -> Result<Reset, String> {
    let start = known.start.ok_or_else(|| unknown_end("starting", partition))?;
    let end = known.end.ok_or_else(|| unknown_end("ending", partition))?;
    let plain = |offset| Ok(Reset { offset, warning: None });
    let within = |offset| Ok(within_log(offset, start, end, partition));
    match scenario {
        Scenario::ToEarliest => plain(start),
        Scenario::ToLatest => plain(end),
        Scenario::ToCurrent => plain(known.committed.unwrap_or(end)),
        Scenario::ToOffset(offset) => within(*offset),
        Scenario::FromFile(_) => {
            within(known.planned.ok_or_else(|| format!("The file has no offset for {partition}"))?)
        }
        Scenario::ShiftBy(count) => match known.committed {
            Some(committed) => within(Offset(committed.0.saturating_add(*count))),
            None => Err(format!(
                "Cannot shift offset for partition {partition} since there is no current \
                 committed offset"
            )),
        },
        Scenario::ToDatetime(_) | Scenario::ByDuration(_) => match known.at_time {
            Some(offset) => plain(offset),
            None => Ok(Reset { offset: end, warning: Some(too_young(partition)) }),
        },
    }
}

fn unknown_end(which: &str, partition: &TopicPartition) -> String {
    format!("Error getting {which} offset of topic partition: {partition}")
}

/// Kafka's words; the partition may have records, but none that young.
fn too_young(TopicPartition { topic, partition }: &TopicPartition) -> String {
    format!(
        "Partition {partition} from topic {topic} is empty. Falling back to latest known offset."
    )
}

/// The offset, or the nearest one that the log has.
fn within_log(offset: Offset, start: Offset, end: Offset, partition: &TopicPartition) -> Reset {
    let warn = |relation: &str, to: Offset| {
        Some(format!(
            "New offset ({offset}) is {relation} offset for topic partition {partition}. Value \
             will be set to {to}."
        ))
    };
    if offset > end {
        Reset { offset: end, warning: warn("higher than latest", end) }
    } else if offset < start {
        Reset { offset: start, warning: warn("lower than earliest", start) }
    } else {
        Reset { offset, warning: None }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_reset_means_for_a_partition() {
        let none = Known { start: Some(Offset(10)), end: Some(Offset(20)), ..Known::default() };
        let committed = Known { committed: Some(Offset(15)), ..none };
        let timed = Known { at_time: Some(Offset(12)), ..none };
        let planned = |offset| Known { planned: Some(Offset(offset)), ..none };
        let now = TimestampMs(0);
        for (scenario, known, expected) in [
            (Scenario::ToEarliest, none, Ok((10, ""))),
            (Scenario::ToLatest, none, Ok((20, ""))),
            (Scenario::ToCurrent, committed, Ok((15, ""))),
            (Scenario::ToCurrent, none, Ok((20, ""))),
            (Scenario::ToOffset(Offset(10)), none, Ok((10, ""))),
            (Scenario::ToOffset(Offset(20)), none, Ok((20, ""))),
            (Scenario::ToOffset(Offset(9)), none, Ok((10, "(9) is lower than earliest"))),
            (Scenario::ToOffset(Offset(21)), none, Ok((20, "(21) is higher than latest"))),
            (Scenario::ToOffset(Offset(-1)), none, Ok((10, "(-1) is lower than earliest"))),
            (Scenario::ShiftBy(3), committed, Ok((18, ""))),
            (Scenario::ShiftBy(-3), committed, Ok((12, ""))),
            (Scenario::ShiftBy(-6), committed, Ok((10, "(9) is lower than earliest"))),
            (Scenario::ShiftBy(i64::MAX), committed, Ok((20, "higher than latest"))),
            (Scenario::ShiftBy(1), none, Err("since there is no current committed offset")),
            (Scenario::ToDatetime(now), timed, Ok((12, ""))),
            (Scenario::ToDatetime(now), none, Ok((20, "Falling back to latest"))),
            (Scenario::ByDuration(IsoDuration { ms: 1 }), timed, Ok((12, ""))),
            (Scenario::FromFile("f".into()), planned(11), Ok((11, ""))),
            (Scenario::FromFile("f".into()), planned(99), Ok((20, "Value will be set to 20."))),
            (Scenario::FromFile("f".into()), none, Err("no offset for t-0")),
            (Scenario::ToLatest, Known { end: None, ..none }, Err("ending offset")),
            (Scenario::ToEarliest, Known { start: None, ..none }, Err("starting offset")),
        ] {
            let got = new_offset(&scenario, &TopicPartition::new("t", 0), known);
            match (got, expected) {
                (Ok(got), Ok((offset, warning))) => {
                    assert_eq!(got.offset, Offset(offset), "{scenario:?}");
                    let said = got.warning.unwrap_or_default();
                    assert_eq!(said.is_empty(), warning.is_empty(), "{scenario:?}: {said}");
                    assert!(said.contains(warning), "{scenario:?}: {said}");
                }
                (Err(said), Err(expected)) => assert!(said.contains(expected), "{said}"),
                (got, expected) => panic!("{scenario:?}: {got:?} instead of {expected:?}"),
            }
        }
    }
}
