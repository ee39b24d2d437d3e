//! Which group the flags and properties name.

use std::collections::BTreeSet;

use anyhow::bail;

use crate::cli::client::consumer::group::GroupOptions;
use crate::cli::console_consumer::ConsoleConsumerArgs;
use crate::cli::properties::Properties;

impl ConsoleConsumerArgs {
    /// The group to be a member of, if one is named anywhere. All places must name the same.
    pub(super) fn group_options(
        &self,
        properties: &Properties,
    ) -> anyhow::Result<Option<GroupOptions>> {
        let file = self.command_config.as_deref().map(Properties::from_file).transpose()?;
        let flags = Properties::from_pairs(&self.command_property)?;
        let named: BTreeSet<&str> = [
            self.group.as_deref(),
            flags.get("group.id"),
            file.as_ref().and_then(|file| file.get("group.id")),
        ]
        .into_iter()
        .flatten()
        .collect();
        let mut named = named.into_iter();
        match (named.next(), named.next()) {
            (None, _) => Ok(None),
            (Some(_), _) if self.partition.is_some() => {
                bail!("Options group and partition cannot be specified together.")
            }
            (Some(group), None) => GroupOptions::from_properties(group, properties).map(Some),
            (Some(first), Some(second)) => bail!(
                "The group ids provided in different places (directly using '--group', via \
                 '--consumer-property', or via '--consumer.config') do not match. Detected group \
                 ids: '{first}', '{second}'"
            ),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        consumer: ConsoleConsumerArgs,
    }

    fn group(line: &str) -> anyhow::Result<Option<String>> {
        let words = std::iter::once("console-consumer").chain(line.split_whitespace());
        let args = Only::try_parse_from(words).map_err(|error| anyhow::anyhow!("{error}"))?;
        let properties = Properties::from_pairs(&args.consumer.command_property)?;
        let options = args.consumer.group_options(&properties)?;
        Ok(options.map(|options| options.group_id))
    }

    #[test]
    fn all_places_name_the_same_group() {
        for (line, expected) in [
            ("--topic t", Ok(None)),
            ("--topic t --group g", Ok(Some("g"))),
            ("--topic t --consumer-property group.id=g", Ok(Some("g"))),
            ("--topic t --group g --consumer-property group.id=g", Ok(Some("g"))),
            ("--topic t --group g --consumer-property group.id=h", Err("'g', 'h'")),
            ("--topic t --group g --partition 0", Err("cannot be used with")),
            ("--topic t --partition 0 --consumer-property group.id=g", Err("specified together")),
            (
                "--topic t --group g --consumer-property group.protocol=consumer",
                Err("group.protocol=consumer is not available"),
            ),
        ] {
            match (group(line), expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found.as_deref(), expected, "{line}"),
                (Err(error), Err(says)) => {
                    let text = error.to_string();
                    assert!(text.contains(says), "{line}: {text}");
                }
                (found, _) => panic!("{line}: {found:?}"),
            }
        }
    }
}
