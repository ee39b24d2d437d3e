//! `--reset-offsets`: groups without members begin elsewhere.
//!
//! - [`scenario`]: what a reset means for one partition
//! - [`scope`]: which partitions `--topic` means
//! - [`time`]: dates and durations
//! - [`csv`]: the file of `--export` and `--from-file`

mod csv;
pub(super) mod scenario;
pub(super) mod scope;
pub(super) mod time;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::ExitCode;

use anyhow::{Context, bail};

use crate::cli::client::groups::describe::GroupDescription;
use crate::cli::client::groups::offsets::{Committed, Offsets};
use crate::cli::client::log_offsets::LogPoint;
use crate::cli::client::{ClientFailure, Cluster};
use crate::cli::consumer_groups::args::ConsumerGroupsArgs;
use crate::cli::consumer_groups::table::Table;
use crate::types::{ErrorCode, LeaderEpoch, Offset, TimestampMs, TopicPartition};
use csv::Plan;
use scenario::{Known, Scenario, new_offset};

/// Said when neither flag is given.
const NO_ACTION: &str = "WARN: No action will be performed as the --execute option is missing. \
     In a future major release, the default behavior of this command will be to prompt the user \
     before executing the reset rather than doing a dry run. You should add the --dry-run option \
     explicitly if you are scripting this command and want to keep the current default behavior \
     without prompting.";

/// Shows what the groups' offsets become, and with `--execute` commits them.
pub(super) async fn run(
    cluster: &Cluster,
    args: &ConsumerGroupsArgs,
    scenario: &Scenario,
) -> anyhow::Result<ExitCode> {
    if !args.dry_run && !args.execute {
        eprintln!("{NO_ACTION}");
    }
    let groups = super::named_groups(cluster, args).await?;
    let file = read_file(scenario, &groups)?;
    let mut plan = Plan::new();
    let mut is_refused = false;
    for (group, described) in cluster.describe_groups(&groups).await? {
        let offsets = match check_inactive(&group, described) {
            Ok(()) => plan_group(cluster, args, scenario, &group, file.get(&group)).await?,
            Err(refusal) => {
                eprintln!("Error: {refusal}");
                is_refused = true;
                BTreeMap::new()
            }
        };
        if args.execute && !offsets.is_empty() {
            let commits = as_commits(&offsets);
            let committed = cluster.commit_offsets(&group, &commits).await;
            committed.with_context(|| format!("cannot reset the offsets of group '{group}'"))?;
        }
        plan.insert(group, offsets);
    }
    let text = if args.export { csv::write(&plan, groups.len() == 1) } else { table(&plan) };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(if is_refused { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// The plan in the file, if the scenario names one.
fn read_file(scenario: &Scenario, groups: &[String]) -> anyhow::Result<Plan> {
    let Scenario::FromFile(path) = scenario else { return Ok(Plan::new()) };
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("cannot read the file {}", path.display()))?;
    let only = match groups {
        [only] => Some(only.as_str()),
        _ => None,
    };
    csv::read(&text, only).map_err(anyhow::Error::msg)
}

/// Whether a group has no members. One that does not exist has none either.
fn check_inactive(
    group: &str,
    described: Result<GroupDescription, ClientFailure>,
) -> Result<(), String> {
    match described {
        Ok(described) if matches!(described.state.as_str(), "Empty" | "Dead") => Ok(()),
        Ok(described) => Err(format!(
            "Assignments can only be reset if the group '{group}' is inactive, but the current \
             state is {}.",
            described.state
        )),
        Err(failure) if failure.code() == Some(ErrorCode::GroupIdNotFound) => Ok(()),
        Err(failure) => Err(format!("cannot describe group '{group}': {failure}")),
    }
}

/// The new offsets of one group.
async fn plan_group(
    cluster: &Cluster,
    args: &ConsumerGroupsArgs,
    scenario: &Scenario,
    group: &str,
    file: Option<&BTreeMap<TopicPartition, Offset>>,
) -> anyhow::Result<BTreeMap<TopicPartition, Offset>> {
    let committed = match cluster.committed_offsets(group).await {
        Err(failure) if failure.code() == Some(ErrorCode::GroupIdNotFound) => Offsets::new(),
        outcome => outcome?,
    };
    let partitions = match (scenario, file) {
        (Scenario::FromFile(_), None) => {
            eprintln!("Error: No reset plan for group {group} found.");
            return Ok(BTreeMap::new());
        }
        (Scenario::FromFile(_), Some(file)) => file.keys().cloned().collect(),
        _ if args.all_topics => committed.keys().cloned().collect(),
        _ => scope::partitions(cluster, &args.topic).await?,
    };
    check_partitions(cluster, &partitions).await?;
    let known = observe(cluster, scenario, &partitions).await?;
    let mut offsets = BTreeMap::new();
    for (partition, mut known) in known {
        known.committed = committed.get(&partition).map(|committed| committed.offset);
        known.planned = file.and_then(|file| file.get(&partition).copied());
        let reset = new_offset(scenario, &partition, known).map_err(anyhow::Error::msg)?;
        if let Some(warning) = reset.warning {
            eprintln!("WARN {warning}");
        }
        offsets.insert(partition, reset.offset);
    }
    Ok(offsets)
}

/// Refuses partitions that do not exist or have no leader.
async fn check_partitions(
    cluster: &Cluster,
    partitions: &BTreeSet<TopicPartition>,
) -> anyhow::Result<()> {
    let topics: BTreeSet<_> = partitions.iter().map(|one| one.topic.clone()).collect();
    let topics: Vec<_> = topics.into_iter().collect();
    let metadata = cluster.refresh(Some(&topics), false).await?;
    let mut missing = Vec::new();
    let mut leaderless = Vec::new();
    for one in partitions {
        let topic = metadata.topics.get(&one.topic).filter(|topic| topic.error.is_none());
        match topic.and_then(|topic| topic.partitions.get(&one.partition)) {
            None => missing.push(one.to_string()),
            Some(known) if known.leader.is_none() => leaderless.push(one.to_string()),
            Some(_) => {}
        }
    }
    if !missing.is_empty() {
        bail!("The partitions \"{}\" do not exist", missing.join(","));
    }
    if !leaderless.is_empty() {
        bail!("The partitions \"{}\" have no leader", leaderless.join(","));
    }
    Ok(())
}

/// What the logs say that the scenario needs.
async fn observe(
    cluster: &Cluster,
    scenario: &Scenario,
    partitions: &BTreeSet<TopicPartition>,
) -> anyhow::Result<BTreeMap<TopicPartition, Known>> {
    let starts = cluster.log_offsets(partitions, LogPoint::Start, false).await?;
    let ends = cluster.log_offsets(partitions, LogPoint::End, false).await?;
    let at_time = match time_of(scenario, cluster.clock().wall()) {
        Some(time) => cluster.log_offsets(partitions, LogPoint::At(time), false).await?,
        None => BTreeMap::new(),
    };
    let known = |partition: &TopicPartition| Known {
        start: starts.get(partition).copied(),
        end: ends.get(partition).copied(),
        at_time: at_time.get(partition).copied(),
        ..Known::default()
    };
    Ok(partitions.iter().map(|partition| (partition.clone(), known(partition))).collect())
}

/// The time that a scenario speaks of.
fn time_of(scenario: &Scenario, now: TimestampMs) -> Option<TimestampMs> {
    match scenario {
        Scenario::ToDatetime(time) => Some(*time),
        Scenario::ByDuration(duration) => Some(duration.before(now)),
        Scenario::ToEarliest
        | Scenario::ToLatest
        | Scenario::ToCurrent
        | Scenario::ToOffset(_)
        | Scenario::ShiftBy(_)
        | Scenario::FromFile(_) => None,
    }
}

fn as_commits(offsets: &BTreeMap<TopicPartition, Offset>) -> Offsets {
    let commit = |&offset| Committed { offset, leader_epoch: LeaderEpoch::NONE };
    offsets.iter().map(|(partition, offset)| (partition.clone(), commit(offset))).collect()
}

fn table(plan: &Plan) -> String {
    let mut table =
        Table::new(&[("GROUP", 15), ("TOPIC", 15), ("PARTITION", 10), ("NEW-OFFSET", 0)]);
    for (group, offsets) in plan {
        for (TopicPartition { topic, partition }, offset) in offsets {
            table.row(vec![
                group.clone(),
                topic.as_str().to_owned(),
                partition.to_string(),
                offset.to_string(),
            ]);
        }
    }
    table.to_string()
}
