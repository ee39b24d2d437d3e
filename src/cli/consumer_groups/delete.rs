//! `--delete` and `--delete-offsets`.

use std::collections::BTreeMap;
use std::io::Write;
use std::process::ExitCode;

use crate::cli::client::groups::PerGroup;
use crate::cli::client::{ClientFailure, Cluster};
use crate::cli::consumer_groups::args::ConsumerGroupsArgs;
use crate::cli::consumer_groups::reset::scope::{self, TopicArg};
use crate::cli::consumer_groups::table::Table;
use crate::types::{ErrorCode, TopicPartition};

/// Deletes groups, and says which could not be.
pub(super) async fn groups(
    cluster: &Cluster,
    args: &ConsumerGroupsArgs,
) -> anyhow::Result<ExitCode> {
    let groups = super::named_groups(cluster, args).await?;
    let outcome = cluster.delete_groups(&groups).await?;
    let (said, complaint) = report(&outcome);
    eprint!("{complaint}");
    std::io::stdout().write_all(said.as_bytes())?;
    Ok(if complaint.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is said on stdout and on stderr.
fn report(outcome: &PerGroup<()>) -> (String, String) {
    let quoted = |is_wanted: fn(&Result<(), ClientFailure>) -> bool| {
        let wanted = outcome.iter().filter(|(_, outcome)| is_wanted(outcome));
        wanted.map(|(group, _)| format!("'{group}'")).collect::<Vec<_>>().join(", ")
    };
    let deleted = quoted(Result::is_ok);
    let failed: Vec<String> = outcome
        .iter()
        .filter_map(|(group, outcome)| {
            let failure = outcome.as_ref().err()?;
            Some(format!("* Group '{group}' could not be deleted due to: {failure}\n"))
        })
        .collect();
    if failed.is_empty() {
        let said = format!("Deletion of requested consumer groups ({deleted}) was successful.\n");
        return (said, String::new());
    }
    let complaint = format!("Error: Deletion of some consumer groups failed:\n{}", failed.concat());
    if deleted.is_empty() {
        return (String::new(), complaint);
    }
    (format!("\nThese consumer groups were deleted successfully: {deleted}\n"), complaint)
}

type Outcome = BTreeMap<TopicPartition, Result<(), ClientFailure>>;

/// Forgets a group's offsets of some topics, and says how that went for each partition.
pub(super) async fn offsets(
    cluster: &Cluster,
    args: &ConsumerGroupsArgs,
) -> anyhow::Result<ExitCode> {
    let Some(group) = args.group.first() else { return Ok(ExitCode::FAILURE) };
    let mut outcome = Outcome::new();
    let mut partitions = Vec::new();
    for text in &args.topic {
        let TopicArg { topic, .. } = scope::parse(text).map_err(anyhow::Error::msg)?;
        match scope::partitions(cluster, std::slice::from_ref(text)).await {
            Ok(found) => partitions.extend(found),
            Err(error) => {
                let failure = ClientFailure::Group(error.to_string());
                outcome.insert(TopicPartition::new(topic, -1), Err(failure));
            }
        }
    }
    let asked = if partitions.is_empty() {
        Ok(Outcome::new())
    } else {
        cluster.delete_offsets(group, &partitions).await
    };
    let refusal = asked.as_ref().err().map(ToString::to_string);
    match asked {
        Ok(answers) => outcome.extend(answers),
        Err(failure) => outcome.extend(partitions.into_iter().map(|partition| {
            let failure = match failure.code() {
                Some(code) => ClientFailure::Refused { code, message: None },
                None => ClientFailure::Group(failure.to_string()),
            };
            (partition, Err(failure))
        })),
    }
    let is_whole = outcome.values().all(Result::is_ok);
    match (is_whole, refusal) {
        (true, _) => println!("Request succeeded for deleting offsets from group {group}."),
        (false, Some(refusal)) => eprintln!("Error: {refusal}"),
        (false, None) => {
            eprintln!("Error: Encountered some partition-level error, see the follow-up details.");
        }
    }
    std::io::stdout().write_all(table(&outcome).as_bytes())?;
    Ok(if is_whole { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn table(outcome: &Outcome) -> String {
    let mut table = Table::new(&[("TOPIC", 15), ("PARTITION", 10), ("STATUS", 15)]);
    for (TopicPartition { topic, partition }, outcome) in outcome {
        let index = if partition.0 >= 0 { partition.to_string() } else { "-".to_owned() };
        let status = match outcome {
            Ok(()) => "Successful".to_owned(),
            Err(failure) => format!("Error: {}", reason(failure)),
        };
        table.row(vec![topic.as_str().to_owned(), index, status]);
    }
    table.to_string()
}

fn reason(failure: &ClientFailure) -> String {
    match failure.code() {
        Some(ErrorCode::GroupSubscribedToTopic) => {
            "The group is subscribed to this topic: its offsets are in use.".to_owned()
        }
        _ => failure.to_string(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn refused(code: ErrorCode) -> Result<(), ClientFailure> {
        Err(ClientFailure::Refused { code, message: None })
    }

    #[test]
    fn what_was_deleted_is_told_apart_from_what_was_not() {
        let outcome = |all: &[(&str, bool)]| -> PerGroup<()> {
            let outcome = |is_ok| if is_ok { Ok(()) } else { refused(ErrorCode::NonEmptyGroup) };
            all.iter().map(|&(group, is_ok)| (group.to_owned(), outcome(is_ok))).collect()
        };
        let all = "Deletion of requested consumer groups ('a', 'b') was successful.\n";
        assert_eq!(report(&outcome(&[("a", true), ("b", true)])), (all.to_owned(), String::new()));
        let (said, complaint) = report(&outcome(&[("a", true), ("b", false)]));
        assert_eq!(said, "\nThese consumer groups were deleted successfully: 'a'\n");
        assert_eq!(
            complaint,
            "Error: Deletion of some consumer groups failed:\n\
             * Group 'b' could not be deleted due to: The group is not empty (NON_EMPTY_GROUP)\n"
        );
        assert_eq!(report(&outcome(&[("a", false)])).0, "");
    }

    #[test]
    fn each_partition_has_its_status() {
        let outcome = Outcome::from([
            (TopicPartition::new("t", 0), Ok(())),
            (TopicPartition::new("t", 1), refused(ErrorCode::GroupSubscribedToTopic)),
            (TopicPartition::new("u", -1), Err(ClientFailure::Group("gone".to_owned()))),
        ]);
        let text = table(&outcome);
        let lines: Vec<&str> = text.lines().skip(1).map(str::trim_end).collect();
        assert_eq!(
            lines,
            [
                "TOPIC           PARTITION  STATUS",
                "t               0          Successful",
                "t               1          Error: The group is subscribed to this topic: its offsets are in use.",
                "u               -          Error: gone",
            ]
        );
    }
}
