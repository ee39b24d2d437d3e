//! `--describe --history`: a group's last rebalances and why they came, read from the topic in which
//! the brokers remember them.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use crate::cli::client::consumer::{Consumer, Start};
use crate::cli::client::log_offsets::LogPoint;
use crate::cli::client::options::ConsumerOptions;
use crate::cli::client::{ClientFailure, Cluster};
use crate::cli::consumer_groups::args::ConsumerGroupsArgs;
use crate::cli::consumer_groups::table::Table;
use crate::cli::perf::format_time;
use crate::cli::properties::Properties;
use crate::coordinator::group::rebalance::{Moved, Rebalance, RebalanceCause};
use crate::coordinator::history::{Remembered, SLOTS, decode};
use crate::coordinator::partition_of;
use crate::metadata::topic_name::GROUP_HISTORY;
use crate::types::{Offset, TopicName, TopicPartition};

/// Shows each group's rebalances, the oldest first. Groups that are gone have a history too.
pub(in crate::cli::consumer_groups) async fn run(
    cluster: &Arc<Cluster>,
    args: &ConsumerGroupsArgs,
) -> anyhow::Result<ExitCode> {
    let groups = crate::cli::consumer_groups::named_groups(cluster, args).await?;
    let count = match cluster.topic(&TopicName::new(GROUP_HISTORY), false).await {
        Ok(topic) => i32::try_from(topic.partitions.len()).unwrap_or(i32::MAX),
        Err(ClientFailure::NoSuchTopic(_)) => 0,
        Err(failure) => return Err(failure.into()),
    };
    let mut code = ExitCode::SUCCESS;
    for group in &groups {
        let remembered = match partition_of(group, count) {
            Some(partition) => {
                let partition = TopicPartition::new(GROUP_HISTORY, partition.0);
                let wait = Duration::from_millis(args.timeout);
                let reading = read(cluster, partition, group);
                tokio::time::timeout(wait, reading).await.map_err(|_| {
                    ClientFailure::TimedOut {
                        what: format!("the history of group '{group}'"),
                        after: wait,
                        reason: None,
                    }
                })??
            }
            None => Vec::new(),
        };
        if remembered.is_empty() {
            eprintln!("Error: no rebalance of group '{group}' is remembered.");
            code = ExitCode::FAILURE;
        } else {
            std::io::stdout().write_all(text(&remembered, args.verbose).as_bytes())?;
        }
    }
    Ok(code)
}

/// The rebalances of `group` in that partition, the oldest first.
async fn read(
    cluster: &Arc<Cluster>,
    partition: TopicPartition,
    group: &str,
) -> anyhow::Result<Vec<Remembered>> {
    let partitions = BTreeSet::from([partition.clone()]);
    let bound = |found: BTreeMap<TopicPartition, Offset>| found.values().next().copied();
    let start = bound(cluster.log_offsets(&partitions, LogPoint::Start, false).await?);
    let end = bound(cluster.log_offsets(&partitions, LogPoint::End, false).await?);
    let (Some(start), Some(end)) = (start, end) else { return Ok(Vec::new()) };
    let mut slots = BTreeMap::new();
    if start < end {
        let options = ConsumerOptions::from_properties(&Properties::default())?;
        let assignment = vec![(partition, Start::At(start))];
        let mut consumer = Consumer::start(Arc::clone(cluster), options, assignment).await?;
        loop {
            let record = consumer.next().await?;
            let last = record.offset.plus(1) >= end;
            if let (Some(key), Some(value)) = (record.key, record.value) {
                match decode(key, value) {
                    Ok(read) if &*read.rebalance.group == group => {
                        slots.insert(read.rebalance.generation.rem_euclid(SLOTS), read);
                    }
                    Ok(_) => {}
                    Err(error) => eprintln!("WARN: {error}"),
                }
            }
            if last {
                break;
            }
        }
    }
    let mut remembered: Vec<Remembered> = slots.into_values().collect();
    remembered.sort_by_key(|it| (it.rebalance.at, it.rebalance.generation));
    Ok(remembered)
}

fn text(remembered: &[Remembered], is_verbose: bool) -> String {
    let mut table = Table::new(&[
        ("GROUP", 15),
        ("TIME (UTC)", 23),
        ("GENERATION", 10),
        ("TOOK-MS", 7),
        ("MEMBERS", 7),
        ("MOVED", 5),
        ("CAUSE", 0),
    ]);
    for Remembered { rebalance, moved_total } in remembered {
        let mut cause = sentence(rebalance);
        if is_verbose {
            for moved in &rebalance.moved {
                cause.push_str(&format!("\n    {}", movement(moved)));
            }
            if *moved_total > rebalance.moved.len() {
                cause.push_str(&format!("\n    and {} more", moved_total - rebalance.moved.len()));
            }
        }
        table.row(vec![
            rebalance.group.to_string(),
            format_time(rebalance.at),
            rebalance.generation.to_string(),
            rebalance.took_ms.to_string(),
            rebalance.members.to_string(),
            moved_total.to_string(),
            cause,
        ]);
    }
    table.to_string()
}

/// Why, for people: who, from where, did what.
fn sentence(rebalance: &Rebalance) -> String {
    let who = match &rebalance.member {
        Some(member) if rebalance.client_host.is_empty() => format!("member {member}"),
        Some(member) => format!("member {member} at {}", rebalance.client_host),
        None => "a member".to_owned(),
    };
    let what = match rebalance.cause {
        RebalanceCause::MemberJoined => format!("{who} joined"),
        RebalanceCause::MemberRejoined => format!("{who} joined again"),
        RebalanceCause::MemberLeft => format!("{who} left"),
        RebalanceCause::SessionTimedOut => {
            format!("{who} was not heard of for its session timeout")
        }
        RebalanceCause::PollTimedOut => format!("{who} was alive but did not poll in time"),
        RebalanceCause::RebalanceTimedOut => format!("{who} did not join again in time"),
        RebalanceCause::SubscriptionChanged => format!("{who} changed its subscription"),
        RebalanceCause::PartitionsChanged => "the subscribed topics changed".to_owned(),
        RebalanceCause::LeaderRejoined => format!("{who}, the leader, joined again to assign anew"),
        RebalanceCause::CoordinatorMoved => "the coordinator moved to another broker".to_owned(),
        RebalanceCause::ProtocolChanged => {
            format!("{who} brought the group to the other protocol")
        }
        RebalanceCause::MemberRemoved => format!("an administrator removed {who}"),
    };
    match rebalance.reason.as_str() {
        "" => what,
        reason => format!("{what}: {reason}"),
    }
}

/// `orders-3: from a to b`.
fn movement(moved: &Moved) -> String {
    let name = |member: &Option<_>| match member {
        Some(member) => format!("{member}"),
        None => "nobody".to_owned(),
    };
    let Moved { partition, from, to } = moved;
    let (from, to): (String, String) = (name(from), name(to));
    format!("{partition}: from {from} to {to}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::TimestampMs;

    fn remembered(cause: RebalanceCause, reason: &str) -> Remembered {
        let rebalance = Rebalance {
            group: "g".into(),
            at: TimestampMs(1_700_000_000_123),
            took_ms: 12,
            generation: 7,
            cause,
            member: Some("c-1".into()),
            client_id: "c".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            reason: reason.to_owned(),
            members: 2,
            moved: vec![Moved {
                partition: TopicPartition::new("orders", 3),
                from: None,
                to: Some("c-1".into()),
            }],
        };
        Remembered { rebalance, moved_total: 5 }
    }

    #[test]
    fn a_rebalance_is_a_row_that_ends_with_a_sentence() {
        let rows = [remembered(RebalanceCause::MemberLeft, "it was time")];
        assert_eq!(
            text(&rows, false),
            "\nGROUP           TIME (UTC)              GENERATION TOOK-MS MEMBERS MOVED CAUSE\n\
             g               2023-11-14 22:13:20:123 7          12      2       5     \
             member c-1 at /127.0.0.1 left: it was time\n"
        );
        let verbose = text(&rows, true);
        assert!(
            verbose.contains("\n    orders-3: from nobody to c-1\n    and 4 more\n"),
            "{verbose}"
        );
    }

    #[test]
    fn every_cause_is_a_sentence_without_a_reason() {
        let at = "member c-1 at /127.0.0.1";
        for (cause, expected) in [
            (RebalanceCause::MemberJoined, format!("{at} joined")),
            (
                RebalanceCause::SessionTimedOut,
                format!("{at} was not heard of for its session timeout"),
            ),
            (RebalanceCause::PartitionsChanged, "the subscribed topics changed".to_owned()),
            (RebalanceCause::MemberRemoved, format!("an administrator removed {at}")),
        ] {
            assert_eq!(sentence(&remembered(cause, "").rebalance), expected);
        }
        let mut nobody = remembered(RebalanceCause::MemberLeft, "").rebalance;
        nobody.member = None;
        assert_eq!(sentence(&nobody), "a member left");
    }
}
