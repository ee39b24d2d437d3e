//! The file of `--export` and `--from-file`: `topic,partition,offset`, and with the group before it
//! where there are several.

use std::collections::BTreeMap;

use crate::types::{Offset, TopicPartition};

/// New offsets of groups.
pub(super) type Plan = BTreeMap<String, BTreeMap<TopicPartition, Offset>>;

/// The file for a plan. The groups are named unless only one group was asked for.
pub(super) fn write(plan: &Plan, is_single_group: bool) -> String {
    let mut text = String::new();
    for (group, offsets) in plan {
        for (TopicPartition { topic, partition }, offset) in offsets {
            if !is_single_group {
                text.push_str(&quoted(group));
                text.push(',');
            }
            text.push_str(&format!("{},{partition},{offset}\n", quoted(topic.as_str())));
        }
    }
    text
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) || field.trim() != field {
        format!("\"{}\"", field.replace('"', "\"\""))
    } else {
        field.to_owned()
    }
}

/// Reads a file. Lines without a group are of `group`, the only one that was asked for.
///
/// # Errors
/// A line is neither form, or is without a group although several were asked for.
pub(super) fn read(text: &str, group: Option<&str>) -> Result<Plan, String> {
    let mut plan = Plan::new();
    for (index, line) in text.lines().enumerate() {
        if line.trim().is_empty() {
            continue;
        }
        let (group, partition, offset) = read_line(line, group)
            .map_err(|reason| format!("line {} of the file: {reason}", index + 1))?;
        plan.entry(group).or_default().insert(partition, offset);
    }
    Ok(plan)
}

fn read_line(line: &str, group: Option<&str>) -> Result<(String, TopicPartition, Offset), String> {
    let fields = fields(line).ok_or("a quoted field does not end")?;
    let (group, [topic, partition, offset]) = match (&fields[..], group) {
        ([topic, partition, offset], Some(group)) => (group, [topic, partition, offset]),
        ([_, _, _], None) => return Err("it names no group, and there are several".to_owned()),
        ([group, topic, partition, offset], _) => (group.as_str(), [topic, partition, offset]),
        _ => return Err("expected topic,partition,offset or group,topic,partition,offset".into()),
    };
    let partition: i32 =
        partition.trim().parse().map_err(|_| format!("'{partition}' is not a partition"))?;
    let offset: i64 = offset.trim().parse().map_err(|_| format!("'{offset}' is not an offset"))?;
    Ok((group.to_owned(), TopicPartition::new(topic.as_str(), partition), Offset(offset)))
}

/// The fields of one line; `None` if a quote is left open.
fn fields(line: &str) -> Option<Vec<String>> {
    let mut all = vec![String::new()];
    let mut is_quoted = false;
    let mut letters = line.chars().peekable();
    while let Some(letter) = letters.next() {
        let field = all.last_mut()?;
        match letter {
            '"' if is_quoted && letters.peek() == Some(&'"') => {
                field.push('"');
                letters.next();
            }
            '"' => is_quoted = !is_quoted,
            ',' if !is_quoted => all.push(String::new()),
            _ => field.push(letter),
        }
    }
    (!is_quoted).then_some(all)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn plan(groups: &[&str]) -> Plan {
        let offsets = [("a", 0, 5), ("b", 12, 0)].map(|(topic, partition, offset)| {
            (TopicPartition::new(topic, partition), Offset(offset))
        });
        groups.iter().map(|group| ((*group).to_owned(), offsets.clone().into())).collect()
    }

    #[test]
    fn what_is_exported_can_be_imported() {
        let one = plan(&["g"]);
        assert_eq!(write(&one, true), "a,0,5\nb,12,0\n");
        assert_eq!(read(&write(&one, true), Some("g")).unwrap(), one);
        let odd = plan(&["plain", "with,comma", "with \"quotes\"", " spaced "]);
        assert_eq!(read(&write(&odd, false), None).unwrap(), odd);
        assert_eq!(read(&write(&odd, false), Some("other")).unwrap(), odd);
    }

    #[test]
    fn lines_are_read_or_refused() {
        for (text, group, expected) in [
            ("t,0,1", Some("g"), Ok(1)),
            ("\"t\",0,1\r\n\n\"u\",1,2\n", Some("g"), Ok(2)),
            ("g,t,0,1\nh,t,0,1", None, Ok(2)),
            ("t,0,1", None, Err("names no group")),
            ("t,0", Some("g"), Err("line 1 of the file: expected topic,partition,offset")),
            ("t,0,1\nt,x,1", Some("g"), Err("line 2 of the file: 'x' is not a partition")),
            ("t,0,x", Some("g"), Err("'x' is not an offset")),
            ("\"t,0,1", Some("g"), Err("does not end")),
            ("", Some("g"), Ok(0)),
        ] {
            match (read(text, group), expected) {
                (Ok(plan), Ok(count)) => {
                    let read: usize = plan.values().map(BTreeMap::len).sum();
                    assert_eq!(read, count, "{text}");
                }
                (Err(said), Err(expected)) => assert!(said.contains(expected), "{text}: {said}"),
                (got, _) => panic!("{text}: {got:?}"),
            }
        }
    }
}
