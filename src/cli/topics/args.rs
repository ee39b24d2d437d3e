//! The flags of `topics`, and which of them go together.

use anyhow::{Context, bail};
use clap::Args;

use crate::cli::connection::{CommandConfigArgs, ConnectionArgs};
use crate::cli::properties::Properties;
use crate::types::{NodeId, TopicId};

/// Create, list, describe, alter and delete topics
#[derive(Debug, Clone, Args)]
pub struct TopicsArgs {
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
    #[command(flatten)]
    pub(super) config_file: CommandConfigArgs,

    /// Create a topic
    #[arg(long)]
    pub(super) create: bool,
    /// List the topics
    #[arg(long)]
    pub(super) list: bool,
    /// Show partitions, leaders, replicas and configuration
    #[arg(long)]
    pub(super) describe: bool,
    /// Add partitions to a topic
    #[arg(long)]
    pub(super) alter: bool,
    /// Delete a topic
    #[arg(long)]
    pub(super) delete: bool,

    /// The topic's name; for --list, --describe, --alter and --delete a regular expression
    #[arg(long)]
    pub(super) topic: Option<String>,
    /// The topic's id, for --describe
    #[arg(long, allow_hyphen_values = true)]
    pub(super) topic_id: Option<TopicId>,
    /// How many partitions the topic shall have (default for --create: the broker's num.partitions)
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    pub(super) partitions: Option<i32>,
    /// How many replicas each partition gets (default: the broker's default.replication.factor)
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    pub(super) replication_factor: Option<i32>,
    /// The brokers of each partition: PARTITION0_BROKER1:PARTITION0_BROKER2,PARTITION1_BROKER1:...
    #[arg(long, value_name = "ASSIGNMENT", value_parser = parse_assignment)]
    pub(super) replica_assignment: Option<Assignment>,
    /// A configuration of the topic to be created, NAME=VALUE; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub(super) config: Vec<String>,
    /// Only to say what to use instead
    #[arg(long, value_name = "NAME", hide = true)]
    pub(super) delete_config: Vec<String>,

    /// Do nothing if the topic is already there, with --create
    #[arg(long)]
    pub(super) if_not_exists: bool,
    /// Do nothing if the topic is not there, with --alter, --delete and --describe
    #[arg(long)]
    pub(super) if_exists: bool,
    /// Only partitions with fewer in-sync replicas than replicas, with --describe
    #[arg(long)]
    pub(super) under_replicated_partitions: bool,
    /// Only partitions without a live leader, with --describe
    #[arg(long)]
    pub(super) unavailable_partitions: bool,
    /// Only partitions with fewer in-sync replicas than min.insync.replicas, with --describe
    #[arg(long)]
    pub(super) under_min_isr_partitions: bool,
    /// Only partitions with exactly min.insync.replicas in-sync replicas, with --describe
    #[arg(long)]
    pub(super) at_min_isr_partitions: bool,
    /// Only topics with a configuration of their own, with --describe
    #[arg(long)]
    pub(super) topics_with_overrides: bool,
    /// Leave internal topics out, with --list and --describe
    #[arg(long)]
    pub(super) exclude_internal: bool,
    /// How many partitions to ask for in one request, with --describe
    #[arg(long, value_name = "COUNT", default_value_t = 2000)]
    pub(super) partition_size_limit_per_response: i32,
}

/// The brokers of each partition, in the order of the partitions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Assignment(pub(super) Vec<Vec<NodeId>>);

/// What the tool shall do; each of Kafka's checks on the flags has been made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    Create,
    List,
    Describe,
    Alter,
    Delete,
}

impl TopicsArgs {
    /// The one action asked for.
    pub(super) fn action(&self) -> anyhow::Result<Action> {
        let chosen: Vec<Action> = [
            (self.create, Action::Create),
            (self.list, Action::List),
            (self.describe, Action::Describe),
            (self.alter, Action::Alter),
            (self.delete, Action::Delete),
        ]
        .into_iter()
        .filter_map(|(asked, action)| asked.then_some(action))
        .collect();
        let [action] = chosen[..] else {
            bail!(
                "Command must include exactly one action: \
                 --list, --describe, --create, --alter or --delete"
            );
        };
        self.check(action)?;
        Ok(action)
    }

    fn check(&self, action: Action) -> anyhow::Result<()> {
        let named = self.topic.is_some();
        match action {
            Action::Create | Action::Delete if !named => bail!("--topic is missing"),
            Action::Alter if !named => bail!("--topic is missing"),
            Action::Alter if !self.config.is_empty() || !self.delete_config.is_empty() => {
                bail!(
                    "Option combination \"[bootstrap-server],[config]\" can't be used with option \
                     \"[alter]\" (the configs tool alters topic configs: ottla configs --alter \
                     --topic NAME --add-config KEY=VALUE)"
                )
            }
            Action::Alter if self.partitions.is_none() => {
                bail!("--alter needs --partitions: the number of partitions to grow to")
            }
            _ => {}
        }
        let only = |given: bool, flag: &str, actions: &[Action]| {
            if given && !actions.contains(&action) {
                bail!("--{flag} does not go with this action");
            }
            Ok(())
        };
        use Action::{Alter, Create, Delete, Describe, List};
        only(self.partitions.is_some(), "partitions", &[Create, Alter])?;
        only(self.replication_factor.is_some(), "replication-factor", &[Create])?;
        only(self.replica_assignment.is_some(), "replica-assignment", &[Create, Alter])?;
        only(!self.config.is_empty(), "config", &[Create])?;
        only(!self.delete_config.is_empty(), "delete-config", &[])?;
        only(self.if_not_exists, "if-not-exists", &[Create])?;
        only(self.if_exists, "if-exists", &[Alter, Delete, Describe])?;
        only(self.topic_id.is_some(), "topic-id", &[Describe])?;
        only(self.under_replicated_partitions, "under-replicated-partitions", &[Describe])?;
        only(self.unavailable_partitions, "unavailable-partitions", &[Describe])?;
        only(self.under_min_isr_partitions, "under-min-isr-partitions", &[Describe])?;
        only(self.at_min_isr_partitions, "at-min-isr-partitions", &[Describe])?;
        only(self.topics_with_overrides, "topics-with-overrides", &[Describe])?;
        only(self.exclude_internal, "exclude-internal", &[List, Describe])?;
        if action == Create
            && self.replica_assignment.is_some()
            && self.replication_factor.is_some()
        {
            bail!("--replica-assignment already says the replication factor");
        }
        if action == Create && self.replica_assignment.is_some() && self.partitions.is_some() {
            bail!("--replica-assignment already says the number of partitions");
        }
        if self.partitions.is_some_and(|count| count < 1) {
            bail!("The partitions must be greater than 0");
        }
        if self.replication_factor.is_some_and(|count| !(1..=i32::from(i16::MAX)).contains(&count))
        {
            bail!("The replication factor must be between 1 and {} inclusive", i16::MAX);
        }
        Ok(())
    }

    /// The configurations given with --config.
    pub(super) fn configs(&self) -> anyhow::Result<Vec<(String, String)>> {
        let properties =
            Properties::from_pairs(&self.config).context("--config takes NAME=VALUE")?;
        Ok(properties
            .keys()
            .filter_map(|key| Some((key.to_owned(), properties.get(key)?.trim().to_owned())))
            .collect())
    }
}

/// Reads `1:2,2:3`: the brokers of partition 0, of partition 1, and so on.
fn parse_assignment(text: &str) -> Result<Assignment, String> {
    let mut partitions: Vec<Vec<NodeId>> = Vec::new();
    for (index, brokers) in text.split(',').enumerate() {
        let mut replicas = Vec::new();
        for broker in brokers.split(':') {
            let node = broker
                .trim()
                .parse()
                .map(NodeId)
                .map_err(|_| format!("'{broker}' is not a broker id"))?;
            if replicas.contains(&node) {
                return Err(format!(
                    "Partition replica lists may not contain duplicate entries: {node}"
                ));
            }
            replicas.push(node);
        }
        if partitions.first().is_some_and(|first| first.len() != replicas.len()) {
            return Err(format!("Partition {index} has different replication factor: {brokers}"));
        }
        partitions.push(replicas);
    }
    Ok(Assignment(partitions))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        topics: TopicsArgs,
    }

    fn action(line: &str) -> anyhow::Result<Action> {
        Only::try_parse_from(std::iter::once("topics").chain(line.split_whitespace()))
            .map_err(|error| anyhow::anyhow!("{error}"))?
            .topics
            .action()
    }

    #[test]
    fn the_commands_of_kafkas_documentation_are_understood() {
        for (line, expected) in [
            (
                "--bootstrap-server localhost:9092 --create --topic my_topic_name \
                 --partitions 20 --replication-factor 3 --config x=y",
                Action::Create,
            ),
            (
                "--create --topic orders --replica-assignment 0:1:2,0:1:2 --if-not-exists",
                Action::Create,
            ),
            ("--alter --topic my_topic_name --partitions 40", Action::Alter),
            ("--delete --topic my_topic_name --if-exists", Action::Delete),
            ("--list --exclude-internal", Action::List),
            ("--describe --topic orders", Action::Describe),
            ("--describe --under-replicated-partitions", Action::Describe),
            ("--describe --topic-id L2n0nNHlRmyHgTdAJGc8eg", Action::Describe),
        ] {
            assert_eq!(action(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn flags_that_do_not_go_together_are_refused() {
        for (line, says) in [
            ("", "exactly one action"),
            ("--create --delete --topic a", "exactly one action"),
            ("--create", "--topic is missing"),
            ("--alter --topic a", "--partitions"),
            ("--alter --topic a --config x=y", "ottla configs --alter"),
            ("--alter --topic a --delete-config x --partitions 3", "ottla configs --alter"),
            ("--create --topic a --delete-config x", "--delete-config does not go"),
            ("--list --partitions 3", "--partitions does not go"),
            ("--delete --topic a --if-not-exists", "--if-not-exists does not go"),
            ("--create --topic a --partitions 0", "greater than 0"),
            ("--create --topic a --replication-factor 0", "between 1 and 32767"),
            ("--create --topic a --replica-assignment 1:1", "duplicate entries: 1"),
            ("--create --topic a --replica-assignment 1:2,1", "different replication factor"),
            ("--create --topic a --partitions 2 --replica-assignment 1:2", "number of partitions"),
        ] {
            let error = action(line).unwrap_err().to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
