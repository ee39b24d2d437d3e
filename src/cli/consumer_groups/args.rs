//! The flags of `consumer-groups`, and which of them go together.

use std::path::PathBuf;

use anyhow::bail;
use clap::Args;

use crate::cli::connection::{CommandConfigArgs, ConnectionArgs};
use crate::cli::consumer_groups::reset::scenario::Scenario;
use crate::cli::consumer_groups::reset::time::{IsoDuration, parse_datetime, parse_duration};
use crate::types::{Offset, TimestampMs};

/// List, describe, reset and delete consumer groups and their offsets
#[derive(Debug, Clone, Args)]
pub struct ConsumerGroupsArgs {
    #[command(flatten)]
    pub(super) connection: ConnectionArgs,
    #[command(flatten)]
    pub(super) config_file: CommandConfigArgs,

    /// List the groups
    #[arg(long)]
    pub(super) list: bool,
    /// Show what a group reads, how far it has come, and who its members are
    #[arg(long)]
    pub(super) describe: bool,
    /// Delete groups that have no members
    #[arg(long)]
    pub(super) delete: bool,
    /// Let a group that has no members begin elsewhere; shows the new offsets, and with --execute
    /// commits them
    #[arg(long)]
    pub(super) reset_offsets: bool,
    /// Forget a group's offsets of the topics in --topic
    #[arg(long)]
    pub(super) delete_offsets: bool,
    /// Say whether this is a regular expression that a group may subscribe with
    #[arg(long, value_name = "REGEX", allow_hyphen_values = true)]
    pub(super) validate_regex: Option<String>,

    /// The group; may be given several times
    #[arg(long)]
    pub(super) group: Vec<String>,
    /// All groups
    #[arg(long)]
    pub(super) all_groups: bool,
    /// A topic, or TOPIC:PARTITION,PARTITION; may be given several times
    #[arg(long, value_name = "TOPIC[:PARTITIONS]")]
    pub(super) topic: Vec<String>,
    /// All topics that the group has offsets of
    #[arg(long)]
    pub(super) all_topics: bool,

    /// Show offsets and lag, with --describe (the default)
    #[arg(long)]
    pub(super) offsets: bool,
    /// Show the members, with --describe
    #[arg(long)]
    pub(super) members: bool,
    /// Show the group's state, with --describe; with --list, show states, or only groups in these
    #[arg(long, value_name = "STATES", num_args = 0..=1, default_missing_value = "")]
    pub(super) state: Option<String>,
    /// Show types, or only groups of these types, with --list
    #[arg(long = "type", value_name = "TYPES", num_args = 0..=1, default_missing_value = "")]
    pub(super) group_type: Option<String>,
    /// Show the group's last rebalances and why they came, with --describe
    #[arg(long)]
    pub(super) history: bool,
    /// Show more, with --describe
    #[arg(long)]
    pub(super) verbose: bool,

    /// Only show what would be reset
    #[arg(long)]
    pub(super) dry_run: bool,
    /// Reset
    #[arg(long)]
    pub(super) execute: bool,
    /// Print the new offsets as CSV, for --from-file
    #[arg(long)]
    pub(super) export: bool,
    /// Reset to the first record there is
    #[arg(long)]
    to_earliest: bool,
    /// Reset to the end
    #[arg(long)]
    to_latest: bool,
    /// Reset to what is committed, and where nothing is, to the end
    #[arg(long)]
    to_current: bool,
    /// Reset to this offset
    #[arg(long, value_name = "OFFSET", allow_negative_numbers = true)]
    to_offset: Option<i64>,
    /// Go on by so many offsets, or back by a negative number
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    shift_by: Option<i64>,
    /// Reset to the first record from then on: YYYY-MM-DDTHH:mm:SS.sss, with Z or +hh:mm (default: UTC)
    #[arg(long, value_name = "DATETIME", value_parser = parse_datetime)]
    to_datetime: Option<TimestampMs>,
    /// Reset to the first record that is no older than this: PnDTnHnMnS
    #[arg(long, value_name = "DURATION", value_parser = parse_duration, allow_hyphen_values = true)]
    by_duration: Option<IsoDuration>,
    /// Reset to the offsets in a CSV file as --export writes it
    #[arg(long, value_name = "FILE")]
    from_file: Option<PathBuf>,

    /// How long anything may take, in milliseconds
    #[arg(long, value_name = "MS", default_value_t = 5000)]
    pub(super) timeout: u64,
}

/// What `--describe` shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum View {
    Offsets,
    Members,
    State,
}

/// What the tool shall do; each check on the flags has been made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Action {
    List,
    Describe(View),
    History,
    Delete,
    ResetOffsets(Scenario),
    DeleteOffsets,
    ValidateRegex(String),
}

impl ConsumerGroupsArgs {
    /// The one action asked for.
    pub(super) fn action(&self) -> anyhow::Result<Action> {
        let asked = [
            self.list,
            self.describe,
            self.delete,
            self.reset_offsets,
            self.delete_offsets,
            self.validate_regex.is_some(),
        ];
        if asked.into_iter().filter(|asked| *asked).count() != 1 {
            bail!(
                "Command must include exactly one action: --list, --describe, --delete, \
                 --reset-offsets, --delete-offsets, --validate-regex"
            );
        }
        self.check_companions()?;
        if let Some(regex) = &self.validate_regex {
            return Ok(Action::ValidateRegex(regex.clone()));
        }
        if self.list {
            return Ok(Action::List);
        }
        self.check_groups()?;
        if self.describe && self.history {
            if self.offsets || self.members || self.state.is_some() {
                bail!("--history does not go with --members, --offsets or --state");
            }
            return Ok(Action::History);
        }
        if self.describe {
            return Ok(Action::Describe(self.view()?));
        }
        if self.delete {
            if !self.topic.is_empty() {
                bail!("--delete deletes whole groups; use --delete-offsets for --topic");
            }
            return Ok(Action::Delete);
        }
        if self.delete_offsets {
            let [_] = &self.group[..] else { bail!("--delete-offsets takes exactly one --group") };
            if self.topic.is_empty() {
                bail!("--delete-offsets takes the following options: --group, --topic");
            }
            return Ok(Action::DeleteOffsets);
        }
        Ok(Action::ResetOffsets(self.reset_scenario()?))
    }

    fn check_groups(&self) -> anyhow::Result<()> {
        match (self.group.is_empty(), self.all_groups) {
            (true, false) => bail!("this takes one of these options: --group, --all-groups"),
            (false, true) => bail!("--group and --all-groups do not go together"),
            _ => Ok(()),
        }
    }

    /// Each flag beside the actions that it goes with.
    fn check_companions(&self) -> anyhow::Result<()> {
        let only = |given: bool, flag: &str, actions: &[(bool, &str)]| {
            if given && !actions.iter().any(|(asked, _)| *asked) {
                let names: Vec<&str> = actions.iter().map(|(_, name)| *name).collect();
                bail!("--{flag} goes only with {}", names.join(" and "));
            }
            Ok(())
        };
        let list = (self.list, "--list");
        let describe = (self.describe, "--describe");
        let delete = (self.delete, "--delete");
        let reset = (self.reset_offsets, "--reset-offsets");
        let forget = (self.delete_offsets, "--delete-offsets");
        only(!self.group.is_empty(), "group", &[describe, delete, reset, forget])?;
        only(self.all_groups, "all-groups", &[describe, delete, reset])?;
        only(!self.topic.is_empty(), "topic", &[delete, reset, forget])?;
        only(self.all_topics, "all-topics", &[reset])?;
        only(self.offsets, "offsets", &[describe])?;
        only(self.members, "members", &[describe])?;
        only(self.history, "history", &[describe])?;
        only(self.verbose, "verbose", &[describe])?;
        only(self.state.is_some(), "state", &[list, describe])?;
        only(self.group_type.is_some(), "type", &[list])?;
        only(self.dry_run, "dry-run", &[reset])?;
        only(self.execute, "execute", &[reset])?;
        only(self.export, "export", &[reset])?;
        for (name, _) in self.scenarios() {
            only(true, name, &[reset])?;
        }
        Ok(())
    }

    fn view(&self) -> anyhow::Result<View> {
        match (self.offsets, self.members, self.state.as_deref()) {
            (_, false, None) => Ok(View::Offsets),
            (false, true, None) => Ok(View::Members),
            (false, false, Some("")) => Ok(View::State),
            (false, false, Some(_)) => bail!("--describe does not take a value for --state"),
            _ => bail!(
                "--describe takes at most one of these options: --members, --offsets, --state"
            ),
        }
    }

    /// The scenarios that the flags name, each with its flag.
    fn scenarios(&self) -> Vec<(&'static str, Scenario)> {
        [
            ("to-earliest", self.to_earliest.then_some(Scenario::ToEarliest)),
            ("to-latest", self.to_latest.then_some(Scenario::ToLatest)),
            ("to-current", self.to_current.then_some(Scenario::ToCurrent)),
            ("to-offset", self.to_offset.map(|offset| Scenario::ToOffset(Offset(offset)))),
            ("shift-by", self.shift_by.map(Scenario::ShiftBy)),
            ("to-datetime", self.to_datetime.map(Scenario::ToDatetime)),
            ("by-duration", self.by_duration.map(Scenario::ByDuration)),
            ("from-file", self.from_file.clone().map(Scenario::FromFile)),
        ]
        .into_iter()
        .filter_map(|(name, scenario)| Some((name, scenario?)))
        .collect()
    }

    fn reset_scenario(&self) -> anyhow::Result<Scenario> {
        if self.dry_run && self.execute {
            bail!("--reset-offsets only accepts one of --execute and --dry-run");
        }
        let mut given = self.scenarios();
        let (Some((name, scenario)), true) = (given.pop(), given.is_empty()) else {
            bail!(
                "--reset-offsets requires exactly one of: --to-earliest, --to-latest, \
                 --to-current, --to-offset, --shift-by, --to-datetime, --by-duration, --from-file"
            );
        };
        match (self.topic.is_empty(), self.all_topics) {
            (false, true) => bail!("--topic and --all-topics do not go together"),
            (true, false) if name != "from-file" => {
                bail!("One of the reset scopes should be defined: --all-topics, --topic")
            }
            _ => Ok(scenario),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        groups: ConsumerGroupsArgs,
    }

    fn action(line: &str) -> anyhow::Result<Action> {
        Only::try_parse_from(std::iter::once("groups").chain(line.split_whitespace()))
            .map_err(|error| anyhow::anyhow!("{error}"))?
            .groups
            .action()
    }

    #[test]
    fn the_commands_of_kafkas_documentation_are_understood() {
        let reset = |scenario| Action::ResetOffsets(scenario);
        for (line, expected) in [
            ("--bootstrap-server localhost:9092 --list", Action::List),
            ("--list --state", Action::List),
            ("--list --state Stable,empty --type classic,consumer", Action::List),
            ("--describe --group my-group", Action::Describe(View::Offsets)),
            ("--describe --group a --group b --offsets --verbose", Action::Describe(View::Offsets)),
            ("--describe --group my-group --members --verbose", Action::Describe(View::Members)),
            ("--describe --all-groups --state", Action::Describe(View::State)),
            ("--describe --group g --history --verbose", Action::History),
            ("--delete --group my-group --group my-other-group", Action::Delete),
            ("--delete-offsets --group g --topic t --topic u:0,1", Action::DeleteOffsets),
            ("--validate-regex -.*", Action::ValidateRegex("-.*".to_owned())),
            (
                "--reset-offsets --group my-group --topic topic1 --to-latest",
                reset(Scenario::ToLatest),
            ),
            (
                "--reset-offsets --group g --topic t:0,1 --to-offset 5 --execute --timeout 100",
                reset(Scenario::ToOffset(Offset(5))),
            ),
            (
                "--reset-offsets --all-groups --all-topics --shift-by -5",
                reset(Scenario::ShiftBy(-5)),
            ),
            (
                "--reset-offsets --group g --from-file f --dry-run",
                reset(Scenario::FromFile("f".into())),
            ),
            (
                "--reset-offsets --group g --all-topics --to-datetime 1970-01-01T00:00:01.000",
                reset(Scenario::ToDatetime(TimestampMs(1000))),
            ),
            (
                "--reset-offsets --group g --all-topics --by-duration PT1S --export",
                reset(Scenario::ByDuration(IsoDuration { ms: 1000 })),
            ),
        ] {
            assert_eq!(action(line).unwrap(), expected, "{line}");
        }
    }

    #[test]
    fn flags_that_do_not_go_together_are_refused() {
        for (line, says) in [
            ("", "exactly one action"),
            ("--list --describe --group g", "exactly one action"),
            ("--describe", "--group, --all-groups"),
            ("--delete", "--group, --all-groups"),
            ("--describe --group g --all-groups", "do not go together"),
            ("--describe --group g --members --state", "at most one"),
            ("--describe --group g --offsets --members", "at most one"),
            ("--describe --group g --state Stable", "does not take a value"),
            ("--describe --group g --type classic", "--type goes only with --list"),
            ("--list --members", "--members goes only with --describe"),
            ("--list --history", "--history goes only with --describe"),
            ("--describe --group g --history --members", "--history does not go with"),
            ("--list --group g", "--group goes only with"),
            ("--describe --group g --topic t", "--topic goes only with"),
            ("--describe --group g --to-earliest", "--to-earliest goes only with --reset-offsets"),
            ("--delete --group g --topic t", "use --delete-offsets"),
            ("--delete-offsets --group g", "--group, --topic"),
            ("--delete-offsets --group g --group h --topic t", "exactly one --group"),
            ("--reset-offsets --group g --to-latest", "--all-topics, --topic"),
            ("--reset-offsets --group g --topic t", "exactly one of"),
            ("--reset-offsets --group g --topic t --to-latest --to-earliest", "exactly one of"),
            ("--reset-offsets --group g --topic t --all-topics --to-latest", "do not go together"),
            ("--reset-offsets --group g --topic t --to-latest --execute --dry-run", "only accepts"),
            ("--reset-offsets --topic t --to-latest", "--group, --all-groups"),
            ("--reset-offsets --group g --topic t --by-duration 5s", "PnDTnHnMnS"),
            ("--reset-offsets --group g --topic t --to-datetime yesterday", "YYYY-MM-DDT"),
        ] {
            let error = action(line).unwrap_err().to_string();
            assert!(error.contains(says), "{line}: {error}");
        }
    }
}
