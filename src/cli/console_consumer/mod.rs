//! `console-consumer`: `kafka-console-consumer.sh` by its flags and its output.
//!
//! With a group it is a member of it, and shares the topics with the other members; without one it
//! reads all partitions. (Kafka's tool then makes a group of its own up, which nobody sees.)
//!
//! - [`formatter`]: how a record is printed
//! - [`group`]: which group the flags and properties name
//! - [`source`]: where records come from: assigned partitions, or a group

mod formatter;
mod group;
mod source;

use std::io::{self, BufWriter, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use clap::Args;
use tokio::signal::unix::{SignalKind, signal};

use crate::cli::client::consumer::group::{GroupConsumer, Subscription};
use crate::cli::client::consumer::{Consumer, Start};
use crate::cli::client::options::ConsumerOptions;
use crate::cli::client::{Cluster, ClusterOptions};
use crate::cli::connection::{ConnectionArgs, warn_of_unknown};
use crate::cli::properties::Properties;
use crate::cli::topics::TopicFilter;
use crate::metadata::topic_name::is_internal;
use crate::types::{Offset, PartitionId, TopicName, TopicPartition};
use formatter::Formatter;
use source::Source;

/// Print the records of a topic
#[derive(Debug, Clone, Args)]
pub struct ConsoleConsumerArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// The topic to read
    #[arg(long, required_unless_present = "include")]
    topic: Option<String>,
    /// A regular expression for the topics to read
    #[arg(long, value_name = "REGEX", alias = "whitelist", conflicts_with = "topic")]
    include: Option<String>,
    /// Read only this partition; from its end, unless --offset says otherwise
    #[arg(long, requires = "topic")]
    partition: Option<i32>,
    /// Where to begin in --partition: a number, 'earliest' or 'latest'
    #[arg(long, requires = "partition", allow_hyphen_values = true, value_parser = parse_offset)]
    offset: Option<Start>,
    /// Begin with the first record there is, not with the next one that comes; a group goes on from
    /// where it has come to
    #[arg(long, conflicts_with = "offset")]
    from_beginning: bool,
    /// Stop after so many records
    #[arg(long, value_name = "COUNT", allow_negative_numbers = true)]
    max_messages: Option<i64>,
    /// Stop when no record has come for so long
    #[arg(long, value_name = "MS", allow_negative_numbers = true)]
    timeout_ms: Option<i64>,
    /// How to print: print.key, print.value, print.timestamp, print.partition, print.offset,
    /// print.epoch, print.headers (true or false), key.separator, line.separator,
    /// headers.separator, null.literal
    #[arg(long, value_name = "KEY=VALUE", visible_alias = "property")]
    formatter_property: Vec<String>,
    /// A properties file with the same keys
    #[arg(long, value_name = "FILE")]
    formatter_config: Option<PathBuf>,
    /// Print only what is committed, with read_committed
    #[arg(long, value_name = "LEVEL", default_value = "read_uncommitted")]
    isolation_level: String,
    /// A setting of the consumer
    #[arg(long, value_name = "KEY=VALUE", visible_alias = "consumer-property")]
    command_property: Vec<String>,
    /// A properties file with settings of the consumer
    #[arg(long, value_name = "FILE", visible_alias = "consumer.config")]
    command_config: Option<PathBuf>,
    /// Go on when a record cannot be printed
    #[arg(long)]
    skip_message_on_error: bool,
    /// Read as a member of this consumer group, and share the partitions with its other members
    #[arg(long, value_name = "GROUP", conflicts_with = "partition")]
    group: Option<String>,
}

fn parse_offset(text: &str) -> Result<Start, String> {
    match text.to_ascii_lowercase().as_str() {
        "earliest" => Ok(Start::Earliest),
        "latest" => Ok(Start::Latest),
        number => match number.parse() {
            Ok(offset) if offset >= 0 => Ok(Start::At(Offset(offset))),
            Ok(_) | Err(_) => Err(format!(
                "The provided offset value '{text}' is incorrect. Valid values are 'earliest', \
                 'latest', or a non-negative long."
            )),
        },
    }
}

/// Prints records until a limit, a timeout, a signal or the end of whoever reads.
pub(super) async fn run(args: ConsoleConsumerArgs) -> anyhow::Result<ExitCode> {
    args.connection.refuse_zookeeper()?;
    let formatting = Properties::from_file_and_pairs(
        args.formatter_config.as_deref(),
        &args.formatter_property,
    )?;
    let (formatter, unknown) = Formatter::new(&formatting)?;
    for key in unknown {
        eprintln!("WARN The formatter has no property '{key}'.");
    }
    let properties = args.properties()?;
    warn_of_unknown(&properties);
    let servers = args.connection.servers(&properties)?;
    let options = ClusterOptions::from_properties(&servers, "ottla-console-consumer", &properties)?;
    let consumer_options = ConsumerOptions::from_properties(&properties)?;
    let group = args.group_options(&properties)?;
    let may_create = properties.is_true("allow.auto.create.topics", true);

    let cluster = Cluster::connect(options).await?;
    let mut source = match group {
        Some(group) => {
            let subscription = args.subscription(&cluster, may_create).await?;
            Source::member(GroupConsumer::new(cluster, consumer_options, group, subscription))
        }
        None => {
            let assignment = args.assignment(&cluster, may_create).await?;
            Source::assigned(Consumer::start(cluster, consumer_options, assignment).await?)
        }
    };
    let mut count = 0;
    let outcome = args.print(&mut source, &formatter, &mut count).await;
    source.close().await;
    eprintln!("Processed a total of {count} messages");
    outcome.map(|()| ExitCode::SUCCESS)
}

impl ConsoleConsumerArgs {
    fn properties(&self) -> anyhow::Result<Properties> {
        let mut properties = Properties::from_file_and_pairs(
            self.command_config.as_deref(),
            &self.command_property,
        )?;
        properties.set_default("isolation.level", &self.isolation_level);
        if self.isolation_level != "read_uncommitted" {
            properties.set("isolation.level", &self.isolation_level);
        }
        let reset = if self.from_beginning { "earliest" } else { "latest" };
        if self.from_beginning && properties.get("auto.offset.reset").is_some_and(|to| to != reset)
        {
            bail!("--from-beginning contradicts the setting auto.offset.reset");
        }
        properties.set_default("auto.offset.reset", reset);
        Ok(properties)
    }

    /// The topics that a member of a group wants. A topic that is named must be there, or come.
    async fn subscription(
        &self,
        cluster: &Arc<Cluster>,
        may_create: bool,
    ) -> anyhow::Result<Subscription> {
        match (&self.topic, &self.include) {
            (Some(topic), _) => {
                let topic = TopicName::new(topic);
                cluster.topic(&topic, may_create).await?;
                Ok(Subscription::Topics([topic].into()))
            }
            (None, Some(include)) => {
                let filter = TopicFilter::new(include)?;
                Ok(Subscription::Matching(Arc::new(move |topic: &TopicName| {
                    filter.matches(topic) && !is_internal(topic)
                })))
            }
            (None, None) => bail!("--topic or --include is missing"),
        }
    }

    /// The partitions to read, and where to begin.
    async fn assignment(
        &self,
        cluster: &Arc<Cluster>,
        may_create: bool,
    ) -> anyhow::Result<Vec<(TopicPartition, Start)>> {
        let topics: Vec<TopicName> = match (&self.topic, &self.include) {
            (Some(topic), _) => vec![TopicName::new(topic)],
            (None, Some(include)) => {
                let filter = TopicFilter::new(include)?;
                let topics = cluster.list_topics().await?.into_keys();
                topics.filter(|topic| filter.matches(topic) && !is_internal(topic)).collect()
            }
            (None, None) => bail!("--topic or --include is missing"),
        };
        if topics.is_empty() {
            bail!("no topic matches '{}'", self.include.as_deref().unwrap_or_default());
        }
        let start = match self.offset {
            Some(start) => start,
            None if self.from_beginning => Start::Earliest,
            None => Start::Latest,
        };
        let mut assignment = Vec::new();
        for topic in topics {
            let known = cluster.topic(&topic, may_create).await?;
            let wanted = self.partition.map(PartitionId);
            if let Some(wanted) = wanted.filter(|wanted| !known.partitions.contains_key(wanted)) {
                bail!("topic {topic} has no partition {wanted}");
            }
            let partitions = known.partitions.into_keys();
            for partition in partitions.filter(|partition| wanted.is_none_or(|w| w == *partition)) {
                assignment.push((TopicPartition { topic: topic.clone(), partition }, start));
            }
        }
        Ok(assignment)
    }

    async fn print(
        &self,
        source: &mut Source,
        formatter: &Formatter,
        count: &mut i64,
    ) -> anyhow::Result<()> {
        let mut out = BufWriter::with_capacity(64 * 1024, io::stdout());
        let limit = self.max_messages.filter(|limit| *limit >= 0).unwrap_or(i64::MAX);
        let mut interrupt = signal(SignalKind::interrupt()).context("cannot listen for SIGINT")?;
        let mut terminate = signal(SignalKind::terminate()).context("cannot listen for SIGTERM")?;
        while *count < limit {
            let patience = async {
                match self.timeout_ms.and_then(|timeout| u64::try_from(timeout).ok()) {
                    Some(timeout) => tokio::time::sleep(Duration::from_millis(timeout)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                _ = interrupt.recv() => return Ok(()),
                _ = terminate.recv() => return Ok(()),
                filled = source.fill() => filled?,
                () = patience => {
                    eprintln!("WARN no record has come for {} ms", self.timeout_ms.unwrap_or(0));
                    return Ok(());
                }
            }
            while *count < limit
                && let Some(record) = source.take_ready()
            {
                *count += 1;
                match formatter.print(&mut out, &record) {
                    Err(error)
                        if self.skip_message_on_error
                            && error.kind() != io::ErrorKind::BrokenPipe =>
                    {
                        eprintln!("Error: cannot print the record at {}: {error}", record.offset);
                    }
                    printed => printed?,
                }
            }
            out.flush()?;
            source.settle();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn offsets_are_numbers_or_names() {
        for (text, start) in [
            ("earliest", Some(Start::Earliest)),
            ("Latest", Some(Start::Latest)),
            ("42", Some(Start::At(Offset(42)))),
            ("-1", None),
            ("first", None),
        ] {
            assert_eq!(parse_offset(text).ok(), start, "{text}");
        }
    }
}
