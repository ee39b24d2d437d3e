//! `consumer-groups`: `kafka-consumer-groups.sh` by its flags and its output. Where Kafka's tool
//! prints an error and exits with 0, this one exits with 1.
//!
//! - [`args`]: the flags and which go together
//! - [`list`], [`describe`], [`delete`], [`reset`]: one for each action
//! - [`table`](table::Table): columns

mod args;
mod delete;
mod describe;
mod list;
mod reset;
mod table;

use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use crate::cli::client::{Cluster, ClusterOptions};
use crate::cli::connection::warn_of_unknown;
use args::Action;
pub use args::ConsumerGroupsArgs;

/// Does the one action that the flags ask for.
pub(super) async fn run(args: ConsumerGroupsArgs) -> anyhow::Result<ExitCode> {
    args.connection.refuse_zookeeper()?;
    let action = args.action()?;
    if let Action::ValidateRegex(regex) = action {
        return validate_regex(&regex);
    }
    let states = list::states(args.state.as_deref().unwrap_or_default())?;
    let types = list::types(args.group_type.as_deref().unwrap_or_default())?;
    let properties = args.config_file.properties()?;
    warn_of_unknown(&properties);
    let servers = args.connection.servers(&properties)?;
    let mut options =
        ClusterOptions::from_properties(&servers, "ottla-consumer-groups", &properties)?;
    options.api_timeout = Duration::from_millis(args.timeout);
    options.request_timeout = options.request_timeout.min(options.api_timeout);
    let cluster = Cluster::connect(options).await?;
    match action {
        Action::List => list_groups(&cluster, &args, &states, &types).await,
        Action::Describe(view) => describe::run(&cluster, &args, view).await,
        Action::History => describe::history::run(&cluster, &args).await,
        Action::Delete => delete::groups(&cluster, &args).await,
        Action::ResetOffsets(scenario) => reset::run(&cluster, &args, &scenario).await,
        Action::DeleteOffsets => delete::offsets(&cluster, &args).await,
        Action::ValidateRegex(regex) => validate_regex(&regex),
    }
}

async fn list_groups(
    cluster: &Cluster,
    args: &ConsumerGroupsArgs,
    states: &[String],
    types: &[String],
) -> anyhow::Result<ExitCode> {
    let groups = cluster.list_groups(states, types).await?;
    let text = if args.state.is_some() || args.group_type.is_some() {
        list::table(&groups, args.group_type.is_some(), args.state.is_some())
    } else {
        list::plain(&groups)
    };
    std::io::stdout().write_all(text.as_bytes())?;
    Ok(ExitCode::SUCCESS)
}

/// The groups that the flags mean.
async fn named_groups(cluster: &Cluster, args: &ConsumerGroupsArgs) -> anyhow::Result<Vec<String>> {
    if !args.all_groups {
        return Ok(args.group.clone());
    }
    let listed = cluster.list_groups(&[], &[]).await?;
    Ok(listed.into_iter().map(|group| group.group_id).collect())
}

/// Whether the brokers would take an expression (KIP-848): they read RE2's syntax, and so does this.
fn validate_regex(regex: &str) -> anyhow::Result<ExitCode> {
    let (line, code) = match regex::Regex::new(regex) {
        Ok(_) => (format!("The regular expression `{regex}` is valid."), ExitCode::SUCCESS),
        Err(error) => {
            let reason = regex_reason(&error);
            let line = format!("The regular expression `{regex}` is invalid: {reason}.");
            (line, ExitCode::FAILURE)
        }
    };
    writeln!(std::io::stdout(), "{line}")?;
    Ok(code)
}

/// The last line of what the library says: the others draw the expression.
fn regex_reason(error: &regex::Error) -> String {
    let text = error.to_string();
    let last = text.lines().last().unwrap_or_default().trim();
    last.strip_prefix("error: ").unwrap_or(last).trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn what_is_wrong_with_an_expression_is_one_phrase() {
        for (regex, reason) in [
            ("(", "unclosed group"),
            ("[a-", "unclosed character class"),
            ("*", "repetition operator missing expression"),
            ("(?=a)", "look-around, including look-ahead and look-behind, is not supported"),
        ] {
            // A variable, so that the lint does not read the expression.
            let text: String = regex.to_owned();
            assert_eq!(regex_reason(&regex::Regex::new(&text).unwrap_err()), reason, "{regex}");
        }
    }
}
