//! Whether what was acknowledged is there in the end, and whether everybody read the same.

use std::collections::BTreeMap;

use super::record::{Outcome, Record, Value};

/// What lies in each partition in the end, by offset.
pub type Contents = BTreeMap<i32, BTreeMap<i64, Value>>;

/// Everything that must not be, in words.
pub fn judge(record: &Record, contents: &Contents) -> Vec<String> {
    let mut complaints = Vec::new();
    let empty = BTreeMap::new();
    for (value, write) in &record.writes {
        let there = contents.get(&write.partition).unwrap_or(&empty);
        match write.outcome {
            Outcome::Acknowledged(offset) if write.acks == -1 => {
                if there.get(&offset) != Some(value) {
                    let found = there.get(&offset).map(ToString::to_string);
                    complaints.push(format!(
                        "lost write: {value} was acknowledged at offset {offset} of partition {} at \
                         {:.3} s; there lies {found:?}",
                        write.partition,
                        write.answered.as_secs_f64()
                    ));
                }
            }
            Outcome::Acknowledged(_) | Outcome::Failed | Outcome::Unknown => {}
        }
    }
    for ((consumer, partition), reads) in &record.reads {
        let there = contents.get(partition).unwrap_or(&empty);
        for (offset, value) in reads {
            if there.get(offset) != Some(value) {
                complaints.push(format!(
                    "inconsistent offset: consumer {consumer} read {value} at offset {offset} of \
                     partition {partition}; in the end there lies {:?}",
                    there.get(offset)
                ));
            }
        }
        if reads.windows(2).any(|pair| pair[1].0 <= pair[0].0) {
            complaints.push(format!(
                "nonmonotonic poll: consumer {consumer} was given partition {partition} out of order"
            ));
        }
    }
    for (partition, there) in contents {
        let mut seen = BTreeMap::new();
        for (offset, value) in there {
            if let Some(before) = seen.insert(value, offset) {
                complaints.push(format!(
                    "duplicate: {value} lies at offsets {before} and {offset} of partition {partition}"
                ));
            }
            if !record.writes.contains_key(value) {
                complaints.push(format!("{value} at {offset} of {partition} was never written"));
            }
        }
    }
    complaints
}
