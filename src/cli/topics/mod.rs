//! `topics`: `kafka-topics.sh` by its flags and its output.
//!
//! - [`args`]: the flags and which go together
//! - [`filter`]: topics by regular expression
//! - [`describe`]: the lines of `--describe`

mod args;
mod describe;
mod filter;

use std::io::{BufWriter, Write};
use std::process::ExitCode;

use anyhow::bail;

use crate::cli::client::admin::NewTopic;
use crate::cli::client::{Cluster, ClusterOptions};
use crate::cli::connection::warn_of_unknown;
use crate::metadata::topic_name::is_internal;
use crate::types::{ErrorCode, TopicName};
use args::Action;
pub use args::TopicsArgs;
use describe::Selection;
pub use filter::TopicFilter;

/// Does the one action that the flags ask for.
pub(super) async fn run(args: TopicsArgs) -> anyhow::Result<ExitCode> {
    args.connection.refuse_zookeeper()?;
    let action = args.action()?;
    let properties = args.config_file.properties()?;
    warn_of_unknown(&properties);
    let servers = args.connection.servers(&properties)?;
    let options = ClusterOptions::from_properties(&servers, "ottla-topics", &properties)?;
    let new_topic = (action == Action::Create).then(|| new_topic(&args)).transpose()?;
    let cluster = Cluster::connect(options).await?;
    match action {
        Action::Create => create(&cluster, &args, &new_topic.unwrap_or_default()).await?,
        Action::List => list(&cluster, &args).await?,
        Action::Describe => describe(&cluster, &args).await?,
        Action::Alter => alter(&cluster, &args).await?,
        Action::Delete => delete(&cluster, &args).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn new_topic(args: &TopicsArgs) -> anyhow::Result<NewTopic> {
    Ok(NewTopic {
        name: args.topic.clone().unwrap_or_default(),
        partitions: args.partitions,
        replication_factor: args.replication_factor.map(i16::try_from).transpose()?,
        assignment: args.replica_assignment.clone().map(|given| given.0).unwrap_or_default(),
        configs: args.configs()?,
    })
}

async fn create(cluster: &Cluster, args: &TopicsArgs, topic: &NewTopic) -> anyhow::Result<()> {
    if topic.name.contains(['.', '_']) {
        println!(
            "WARNING: Due to limitations in metric names, topics with a period ('.') or \
             underscore ('_') could collide. To avoid issues it is best to use either, but not \
             both."
        );
    }
    match cluster.create_topic(topic).await {
        Ok(()) => {
            writeln!(std::io::stdout(), "Created topic {}.", topic.name)?;
            Ok(())
        }
        Err(failure)
            if args.if_not_exists && failure.code() == Some(ErrorCode::TopicAlreadyExists) =>
        {
            Ok(())
        }
        Err(failure) => Err(failure.into()),
    }
}

async fn list(cluster: &Cluster, args: &TopicsArgs) -> anyhow::Result<()> {
    let mut out = BufWriter::new(std::io::stdout());
    for topic in matching(cluster, args).await? {
        writeln!(out, "{topic}")?;
    }
    Ok(out.flush()?)
}

async fn describe(cluster: &Cluster, args: &TopicsArgs) -> anyhow::Result<()> {
    let topics = matching_or_refused(cluster, args).await?;
    let descriptions =
        cluster.describe_topics(&topics, args.partition_size_limit_per_response).await?;
    let configs = cluster.describe_topic_configs(&topics).await?;
    let live = cluster.live_brokers().await?.into_keys().collect();
    let selection = Selection {
        under_replicated: args.under_replicated_partitions,
        unavailable: args.unavailable_partitions,
        under_min_isr: args.under_min_isr_partitions,
        at_min_isr: args.at_min_isr_partitions,
        with_overrides: args.topics_with_overrides,
    };
    let mut out = BufWriter::new(std::io::stdout());
    for topic in &descriptions {
        let configs = configs.get(&topic.name).map(Vec::as_slice).unwrap_or_default();
        describe::print_topic(&mut out, topic, configs, &live, selection)?;
    }
    Ok(out.flush()?)
}

async fn alter(cluster: &Cluster, args: &TopicsArgs) -> anyhow::Result<()> {
    let topics = matching_or_refused(cluster, args).await?;
    let count = args.partitions.unwrap_or_default();
    let assignment = args.replica_assignment.as_ref().map(|given| given.0.as_slice());
    let known = cluster.describe_topics(&topics, args.partition_size_limit_per_response).await?;
    for topic in known {
        // The assignment names the partitions that are there, too.
        let new = assignment.and_then(|given| given.get(topic.partitions.len()..));
        cluster.create_partitions(&topic.name, count, new.unwrap_or_default()).await?;
    }
    Ok(())
}

async fn delete(cluster: &Cluster, args: &TopicsArgs) -> anyhow::Result<()> {
    let topics: Vec<String> = matching_or_refused(cluster, args)
        .await?
        .iter()
        .map(|topic| topic.as_str().to_owned())
        .collect();
    if !topics.is_empty() {
        cluster.delete_topics(&topics).await?;
    }
    Ok(())
}

/// The topics that the flags mean, sorted.
async fn matching(cluster: &Cluster, args: &TopicsArgs) -> anyhow::Result<Vec<TopicName>> {
    let filter = args.topic.as_deref().map(TopicFilter::new).transpose()?;
    let topics = cluster.list_topics().await?.into_iter().filter(|(name, id)| {
        match (args.topic_id, &filter) {
            (Some(wanted), _) => *id == wanted,
            (None, Some(filter)) => filter.matches(name),
            (None, None) => true,
        }
    });
    Ok(topics
        .map(|(name, _)| name)
        .filter(|name| !(args.exclude_internal && is_internal(name)))
        .collect())
}

/// The same, and an error if a topic is named and there is none.
async fn matching_or_refused(
    cluster: &Cluster,
    args: &TopicsArgs,
) -> anyhow::Result<Vec<TopicName>> {
    let topics = matching(cluster, args).await?;
    if topics.is_empty() && !args.if_exists {
        if let Some(id) = args.topic_id {
            bail!("TopicId '{id}' does not exist as expected");
        }
        if let Some(topic) = args.topic.as_deref().filter(|topic| !topic.is_empty()) {
            bail!("Topic '{topic}' does not exist as expected");
        }
    }
    Ok(topics)
}
