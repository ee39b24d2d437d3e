//! `consumer-perf-test`: `kafka-consumer-perf-test.sh` by its flags and its lines. It reads all
//! partitions itself, without a group; what Kafka calls the rebalance is the time until all
//! positions are known.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Args;

use crate::cli::client::consumer::{Consumer, Start};
use crate::cli::client::options::ConsumerOptions;
use crate::cli::client::{Cluster, ClusterOptions};
use crate::cli::connection::{ConnectionArgs, warn_of_unknown};
use crate::cli::perf::{Consumed, consumer_header, consumer_line, consumer_progress_line};
use crate::cli::properties::Properties;
use crate::types::{Clock, TopicName, TopicPartition};

/// Measure how fast records can be read
#[derive(Debug, Clone, Args)]
pub struct ConsumerPerfArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// The topic to read
    #[arg(long)]
    topic: String,
    /// How many records to read
    #[arg(long, value_name = "COUNT", visible_alias = "num-records")]
    messages: u64,
    /// How many bytes of a partition to ask for at a time
    #[arg(long, value_name = "BYTES")]
    fetch_size: Option<u64>,
    /// Begin with the next record that comes, not with the first there is
    #[arg(long)]
    from_latest: bool,
    /// Give up when no record has come for so long
    #[arg(long, value_name = "MS", default_value_t = 10_000)]
    timeout: u64,
    /// How often --show-detailed-stats prints
    #[arg(long, value_name = "MS", default_value_t = 5_000)]
    reporting_interval: u64,
    /// Print what was read in each interval
    #[arg(long)]
    show_detailed_stats: bool,
    /// Do not print the names of the columns
    #[arg(long)]
    hide_header: bool,
    /// A setting of the consumer
    #[arg(long, value_name = "KEY=VALUE")]
    command_property: Vec<String>,
    /// A properties file with settings of the consumer
    #[arg(long, value_name = "FILE", visible_alias = "consumer.config")]
    command_config: Option<PathBuf>,
    /// Accepted as in Kafka; sockets size themselves
    #[arg(long, value_name = "BYTES", hide = true)]
    socket_buffer_size: Option<u64>,
    /// Accepted as in old commands; it has no effect in Kafka either
    #[arg(long, value_name = "COUNT", hide = true)]
    threads: Option<u64>,
}

/// Reads the records and prints how that went.
pub(super) async fn run(args: ConsumerPerfArgs) -> anyhow::Result<ExitCode> {
    args.connection.refuse_zookeeper()?;
    let mut properties =
        Properties::from_file_and_pairs(args.command_config.as_deref(), &args.command_property)?;
    warn_of_unknown(&properties);
    if let Some(size) = args.fetch_size {
        properties.set("max.partition.fetch.bytes", &size.to_string());
    }
    properties.set_default("auto.offset.reset", "earliest");
    properties.set_default("check.crcs", "false");
    let servers = args.connection.servers(&properties)?;
    let options = ClusterOptions::from_properties(&servers, "perf-consumer-client", &properties)?;
    let consumer_options = ConsumerOptions::from_properties(&properties)?;
    if !args.hide_header {
        println!("{}", consumer_header(args.show_detailed_stats));
    }
    let cluster = Cluster::connect(options).await?;
    let clock = cluster.clock().clone();

    let (started, start) = (clock.monotonic(), clock.wall());
    let topic = TopicName::new(&args.topic);
    let from = if args.from_latest { Start::Latest } else { Start::Earliest };
    let partitions = cluster.topic(&topic, false).await?.partitions.into_keys();
    let assignment = partitions
        .map(|partition| (TopicPartition { topic: topic.clone(), partition }, from))
        .collect();
    let consumer = Consumer::start(cluster, consumer_options, assignment).await?;
    let joined_after = clock.monotonic().since(started);
    let total = args.consume(consumer, clock.as_ref(), joined_after).await?;
    if total.records < args.messages {
        println!(
            "WARNING: Exiting before consuming the expected number of messages: timeout ({} ms) \
             exceeded. You can use the --timeout option to increase the timeout.",
            args.timeout
        );
    }
    if !args.show_detailed_stats {
        println!("{}", consumer_line(start, clock.wall(), joined_after, total));
    }
    Ok(ExitCode::SUCCESS)
}

impl ConsumerPerfArgs {
    /// Reads until there are enough or none come any more.
    async fn consume(
        &self,
        mut consumer: Consumer,
        clock: &dyn Clock,
        mut joined_after: Duration,
    ) -> anyhow::Result<Consumed> {
        let patience = Duration::from_millis(self.timeout);
        let interval = Duration::from_millis(self.reporting_interval);
        let mut total = Consumed::default();
        let (mut reported, mut before) = (clock.monotonic(), total);
        while total.records < self.messages {
            match tokio::time::timeout(patience, consumer.fill()).await {
                Ok(filled) => filled?,
                Err(_) => break,
            }
            for record in consumer.take_ready() {
                let length = |field: Option<&[u8]>| field.map_or(0, <[u8]>::len) as u64;
                total.records += 1;
                total.bytes += length(record.key.as_deref()) + length(record.value.as_deref());
            }
            let now = clock.monotonic();
            let elapsed = now.since(reported);
            if elapsed >= interval {
                if self.show_detailed_stats {
                    let wall = clock.wall();
                    println!(
                        "{}",
                        consumer_progress_line(wall, elapsed, joined_after, total, before)
                    );
                }
                joined_after = Duration::ZERO;
                (reported, before) = (now, total);
            }
        }
        Ok(total)
    }
}
