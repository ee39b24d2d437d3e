//! `log-dirs`: `kafka-log-dirs.sh` by its flags and its output, and moving replicas between the
//! directories of a broker, for which Kafka has only a part of its reassignment tool.
//!
//! - [`describe`]: what lies where
//! - [`alter`]: moving one replica
//! - [`verify`]: whether what lies there is what was written

mod alter;
mod describe;
mod verify;

use std::process::ExitCode;

use anyhow::bail;
use clap::Args;

use crate::cli::client::{Cluster, ClusterOptions};
use crate::cli::connection::{CommandConfigArgs, ConnectionArgs, warn_of_unknown};
use crate::types::NodeId;

/// Show or verify what lies in the log directories of brokers, or move a replica to another one
#[derive(Debug, Clone, Args)]
#[command(group = clap::ArgGroup::new("looking").args(["describe", "verify"]))]
pub struct LogDirsArgs {
    /// The brokers to ask first: HOST:PORT,HOST:PORT (default: $OTTLA_BOOTSTRAP_SERVER or localhost:9092)
    #[arg(long, value_name = "SERVERS")]
    bootstrap_server: Option<String>,
    /// Only to say what to use instead
    #[arg(long, value_name = "URL", hide = true, num_args = 0..=1, default_missing_value = "")]
    zookeeper: Option<String>,
    #[command(flatten)]
    config_file: CommandConfigArgs,

    /// Describe the log directories
    #[arg(long)]
    describe: bool,
    /// Only these topics: NAME,NAME
    #[arg(long, value_name = "TOPICS", requires = "looking")]
    topic_list: Option<String>,
    /// Only these brokers: ID,ID
    #[arg(long, value_name = "IDS", requires = "looking")]
    broker_list: Option<String>,
    /// Print a table instead of Kafka's JSON
    #[arg(long, requires = "describe")]
    human_readable: bool,

    /// Verify the logs, and mend from other replicas what is damaged; exit code 1 if anything was
    #[arg(long)]
    verify: bool,
    /// How many bytes per second each broker may read, with --verify
    #[arg(long, value_name = "BYTES", requires = "verify", value_parser = clap::value_parser!(i64).range(1..))]
    throttle: Option<i64>,

    /// Move a replica to another log directory of its broker
    #[arg(long, conflicts_with = "looking", requires_all = ["broker", "topic_partition", "to"])]
    alter: bool,
    /// The broker whose replica is moved, with --alter
    #[arg(long, value_name = "ID", requires = "alter")]
    broker: Option<i32>,
    /// The replica's partition, with --alter: TOPIC-PARTITION
    #[arg(long, value_name = "TOPIC-PARTITION", requires = "alter")]
    topic_partition: Option<String>,
    /// The directory that it is moved to, with --alter; the one that it is in ends a move
    #[arg(long, value_name = "DIR", requires = "alter")]
    to: Option<String>,
}

/// Does the one action that the flags ask for.
pub(super) async fn run(args: LogDirsArgs) -> anyhow::Result<ExitCode> {
    let connection = ConnectionArgs {
        bootstrap_server: args.bootstrap_server.clone(),
        broker_list: None,
        zookeeper: args.zookeeper.clone(),
    };
    connection.refuse_zookeeper()?;
    if !args.describe && !args.alter && !args.verify {
        bail!(
            "log-dirs needs --describe, --verify or --alter; \
             'ottla log-dirs --help' lists the options"
        );
    }
    let brokers = args.broker_list.as_deref().map(broker_ids).transpose()?;
    let properties = args.config_file.properties()?;
    warn_of_unknown(&properties);
    let servers = connection.servers(&properties)?;
    let options = ClusterOptions::from_properties(&servers, "ottla-log-dirs", &properties)?;
    let cluster = Cluster::connect(options).await?;
    match (args.broker, &args.topic_partition, &args.to) {
        (Some(broker), Some(place), Some(to)) => {
            alter::run(&cluster, NodeId(broker), place, to).await
        }
        _ => {
            let topics = args.topic_list.as_deref().map(names).unwrap_or_default();
            if args.verify {
                let brokers = brokers.unwrap_or_default();
                let bytes_per_second = args.throttle;
                let wanted = verify::Wanted { brokers, topics, bytes_per_second };
                return verify::run(&cluster, wanted).await;
            }
            describe::run(&cluster, brokers, &topics, args.human_readable).await
        }
    }
}

fn names(list: &str) -> Vec<String> {
    list.split(',').filter(|name| !name.is_empty()).map(str::to_owned).collect()
}

fn broker_ids(list: &str) -> anyhow::Result<Vec<NodeId>> {
    let ids = list.split(',').filter(|id| !id.is_empty()).map(|id| match id.trim().parse() {
        Ok(id) => Ok(NodeId(id)),
        Err(_) => bail!("'{id}' in --broker-list is no broker's id"),
    });
    ids.collect()
}
