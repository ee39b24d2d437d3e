//! `--describe`: what groups read, how far they have come, who their members are.
//!
//! - [`offsets`]: the table of partitions, with lag
//! - [`members`]: the table of members
//! - [`history`]: the table of rebalances
//! - [`state`]: the table of coordinators and states

pub(super) mod history;
mod members;
mod offsets;
mod state;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::process::ExitCode;

use crate::cli::client::groups::describe::GroupDescription;
use crate::cli::client::groups::offsets::Offsets;
use crate::cli::client::log_offsets::LogPoint;
use crate::cli::client::{ClientFailure, Cluster};
use crate::cli::consumer_groups::args::{ConsumerGroupsArgs, View};
use crate::types::{ErrorCode, TopicPartition};

/// What stands where there is nothing to say.
const MISSING: &str = "-";

/// Describes each group in turn. A group that does not exist is an error, after the others.
pub(super) async fn run(
    cluster: &Cluster,
    args: &ConsumerGroupsArgs,
    view: View,
) -> anyhow::Result<ExitCode> {
    let groups = super::named_groups(cluster, args).await?;
    let mut code = ExitCode::SUCCESS;
    for (group, described) in cluster.describe_groups(&groups).await? {
        let described = match told(&group, described) {
            Ok(described) => described,
            Err(line) => {
                eprintln!("Error: {line}");
                code = ExitCode::FAILURE;
                continue;
            }
        };
        let text = match view {
            View::Offsets => describe_offsets(cluster, &described, args.verbose).await?,
            View::Members if described.members.is_empty() => String::new(),
            View::Members => members::table(&described, args.verbose),
            View::State => state::table(&described, args.verbose),
        };
        if let Some(line) = remark(&described) {
            eprintln!("\n{line}");
        }
        let mut out = std::io::stdout();
        out.write_all(text.as_bytes())?;
        out.flush()?;
    }
    Ok(code)
}

/// The description, or why there is none.
fn told(
    group: &str,
    described: Result<GroupDescription, ClientFailure>,
) -> Result<GroupDescription, String> {
    match described {
        Ok(described) if described.is_dead() => {
            Err(format!("Consumer group '{group}' does not exist."))
        }
        Ok(described) => Ok(described),
        Err(failure) if failure.code() == Some(ErrorCode::GroupIdNotFound) => {
            Err(format!("Consumer group '{group}' does not exist."))
        }
        Err(failure) => Err(format!("cannot describe group '{group}': {failure}")),
    }
}

/// What Kafka says, on stderr, of a group that is not stable.
fn remark(group: &GroupDescription) -> Option<String> {
    let id = &group.group_id;
    match group.state.as_str() {
        "Empty" => Some(format!("Consumer group '{id}' has no active members.")),
        "PreparingRebalance" | "CompletingRebalance" | "Assigning" | "Reconciling" => {
            Some(format!("Warning: Consumer group '{id}' is rebalancing."))
        }
        _ => None,
    }
}

async fn describe_offsets(
    cluster: &Cluster,
    group: &GroupDescription,
    is_verbose: bool,
) -> anyhow::Result<String> {
    let committed: Offsets = cluster.committed_offsets(&group.group_id).await?;
    let assigned = group.members.iter().flat_map(|member| &member.assignment);
    let partitions: BTreeSet<TopicPartition> = committed.keys().chain(assigned).cloned().collect();
    if partitions.is_empty() {
        return Ok(String::new());
    }
    let ends = cluster.log_offsets(&partitions, LogPoint::End, false).await?;
    Ok(offsets::table(group, &committed, &ends, is_verbose))
}

/// `a:0,1;b:2`: partitions by topic.
fn assignment_text(partitions: &BTreeSet<TopicPartition>) -> String {
    if partitions.is_empty() {
        return MISSING.to_owned();
    }
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for TopicPartition { topic, partition } in partitions {
        topics.entry(topic.as_str()).or_default().push(partition.to_string());
    }
    let topics: Vec<String> =
        topics.iter().map(|(topic, indexes)| format!("{topic}:{}", indexes.join(","))).collect();
    topics.join(";")
}

fn or_missing(value: Option<impl ToString>) -> String {
    value.map_or_else(|| MISSING.to_owned(), |value| value.to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::cli::client::groups::Coordinator;
    use crate::cli::client::groups::describe::MemberDescription;
    use crate::net::transport::HostPort;
    use crate::types::NodeId;

    pub(super) fn partitions(all: &[(&str, i32)]) -> BTreeSet<TopicPartition> {
        all.iter().map(|&(topic, index)| TopicPartition::new(topic, index)).collect()
    }

    pub(super) fn member(id: &str, assignment: &[(&str, i32)]) -> MemberDescription {
        MemberDescription {
            member_id: id.to_owned(),
            client_id: "client".to_owned(),
            host: "/127.0.0.1".to_owned(),
            assignment: partitions(assignment),
            ..MemberDescription::default()
        }
    }

    pub(super) fn group(state: &str, members: Vec<MemberDescription>) -> GroupDescription {
        GroupDescription {
            group_id: "readers".to_owned(),
            state: state.to_owned(),
            assignor: "range".to_owned(),
            group_epoch: None,
            assignment_epoch: None,
            members,
            coordinator: Coordinator { node: NodeId(2), address: HostPort::new("host", 9092) },
        }
    }

    #[test]
    fn groups_that_are_not_there_or_not_stable_are_remarked_upon() {
        for (state, expected) in [
            ("Stable", None),
            ("Empty", Some("Consumer group 'readers' has no active members.")),
            ("PreparingRebalance", Some("Warning: Consumer group 'readers' is rebalancing.")),
            ("Reconciling", Some("Warning: Consumer group 'readers' is rebalancing.")),
        ] {
            assert_eq!(remark(&group(state, Vec::new())).as_deref(), expected, "{state}");
        }
        let absent = "Consumer group 'readers' does not exist.";
        let refused = |code| ClientFailure::Refused { code, message: None };
        assert_eq!(told("readers", Ok(group("Dead", Vec::new()))).unwrap_err(), absent);
        let unknown = Err(refused(ErrorCode::GroupIdNotFound));
        assert_eq!(told("readers", unknown).unwrap_err(), absent);
        let denied = told("readers", Err(refused(ErrorCode::GroupAuthorizationFailed)));
        assert!(denied.unwrap_err().starts_with("cannot describe group 'readers': "));
    }

    #[test]
    fn an_assignment_is_one_word() {
        for (all, text) in
            [(&[][..], "-"), (&[("a", 1)], "a:1"), (&[("b", 2), ("a", 10), ("a", 9)], "a:9,10;b:2")]
        {
            assert_eq!(assignment_text(&partitions(all)), text);
        }
    }
}
