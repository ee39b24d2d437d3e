//! The table of partitions: what is committed, where the log ends, what lies between, and who reads.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::client::groups::describe::{GroupDescription, MemberDescription};
use crate::cli::client::groups::offsets::Offsets;
use crate::cli::consumer_groups::describe::{MISSING, or_missing};
use crate::cli::consumer_groups::table::Table;
use crate::types::{LeaderEpoch, Offset, TopicPartition};

/// The partitions of each member, the one with most of them first; then those that nobody reads.
pub(super) fn table(
    group: &GroupDescription,
    committed: &Offsets,
    ends: &BTreeMap<TopicPartition, Offset>,
    is_verbose: bool,
) -> String {
    let mut columns = vec![("GROUP", 15), ("TOPIC", 15), ("PARTITION", 10)];
    if is_verbose {
        columns.push(("LEADER-EPOCH", 15));
    }
    columns.extend([
        ("CURRENT-OFFSET", 15),
        ("LOG-END-OFFSET", 15),
        ("LAG", 15),
        ("CONSUMER-ID", 15),
        ("HOST", 15),
        ("CLIENT-ID", 0),
    ]);
    let mut table = Table::new(&columns);
    for (partition, member) in rows(group, committed) {
        let current = committed.get(partition);
        let offset = current.map(|committed| committed.offset);
        let end = ends.get(partition).copied();
        let mut cells = vec![
            group.group_id.clone(),
            partition.topic.as_str().to_owned(),
            partition.partition.to_string(),
        ];
        if is_verbose {
            let epoch = current.map(|committed| committed.leader_epoch);
            cells.push(or_missing(epoch.filter(|epoch| *epoch != LeaderEpoch::NONE)));
        }
        cells.extend([or_missing(offset), or_missing(end), or_missing(lag(offset, end))]);
        cells.extend(match member {
            Some(member) => [&member.member_id, &member.host, &member.client_id].map(String::clone),
            None => [MISSING; 3].map(str::to_owned),
        });
        table.row(cells);
    }
    table.to_string()
}

/// How many offsets are still to be read; not known where nothing is committed.
fn lag(committed: Option<Offset>, end: Option<Offset>) -> Option<i64> {
    Some(end?.since(committed?))
}

type Row<'a> = (&'a TopicPartition, Option<&'a MemberDescription>);

fn rows<'a>(group: &'a GroupDescription, committed: &'a Offsets) -> Vec<Row<'a>> {
    let mut members: Vec<&MemberDescription> = group.members.iter().collect();
    members.sort_by_key(|member| std::cmp::Reverse(member.assignment.len()));
    let assigned: BTreeSet<&TopicPartition> =
        members.iter().flat_map(|member| &member.assignment).collect();
    let read = members.iter().flat_map(|member| {
        member.assignment.iter().map(move |partition| (partition, Some(*member)))
    });
    let unread =
        committed.keys().filter(|partition| !assigned.contains(partition)).map(|one| (one, None));
    read.chain(unread).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::client::groups::offsets::Committed;
    use crate::cli::consumer_groups::describe::tests::{group, member};

    fn offsets(all: &[(&str, i32, i64)]) -> BTreeMap<TopicPartition, Offset> {
        all.iter().map(|&(t, p, offset)| (TopicPartition::new(t, p), Offset(offset))).collect()
    }

    fn committed(all: &[(&str, i32, i64)]) -> Offsets {
        let epoch =
            |offset: Offset| Committed { offset, leader_epoch: LeaderEpoch(offset.0 as i32 - 5) };
        offsets(all).into_iter().map(|(partition, offset)| (partition, epoch(offset))).collect()
    }

    #[test]
    fn the_table_is_kafkas() {
        let group =
            group("Stable", vec![member("m1", &[("t", 0)]), member("m2", &[("t", 1), ("t", 2)])]);
        let committed = committed(&[("t", 0, 5), ("t", 1, 7), ("gone", 0, 4)]);
        let ends = offsets(&[("t", 0, 5), ("t", 1, 10), ("t", 2, 3)]);
        assert_eq!(
            table(&group, &committed, &ends, false),
            "\n\
             GROUP           TOPIC           PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG             CONSUMER-ID     HOST            CLIENT-ID\n\
             readers         t               1          7               10              3               m2              /127.0.0.1      client\n\
             readers         t               2          -               3               -               m2              /127.0.0.1      client\n\
             readers         t               0          5               5               0               m1              /127.0.0.1      client\n\
             readers         gone            0          4               -               -               -               -               -\n"
        );
    }

    #[test]
    fn verbose_shows_the_leaders_epoch() {
        let group = group("Empty", Vec::new());
        let committed = committed(&[("t", 0, 5), ("t", 1, 4)]);
        let text = table(&group, &committed, &BTreeMap::new(), true);
        let epochs: Vec<&str> =
            text.lines().skip(1).filter_map(|line| line.split_whitespace().nth(3)).collect();
        assert_eq!(epochs, ["LEADER-EPOCH", "0", "-"]);
    }
}
