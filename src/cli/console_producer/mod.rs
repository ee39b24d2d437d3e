//! `console-producer`: `kafka-console-producer.sh` by its flags. Each line of stdin becomes a
//! record. On a terminal it prompts; what is piped in is counted and summed up on stderr.
//!
//! - [`line_reader`]: how a line becomes a record
//! - [`progress`]: the bar and the summary

mod line_reader;
mod progress;

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use bytes::{Bytes, BytesMut};
use clap::Args;
use tokio::io::{AsyncBufReadExt, BufReader};

use crate::cli::client::options::ProducerOptions;
use crate::cli::client::producer::{Producer, ProducerRecord};
use crate::cli::client::{Cluster, ClusterOptions};
use crate::cli::connection::{ConnectionArgs, warn_of_unknown};
use crate::cli::properties::Properties;
use crate::record::Header;
use crate::types::TopicName;
use line_reader::LineReader;
use progress::Progress;

/// How much of stdin is read at a time.
const READ_AHEAD_BYTES: usize = 256 * 1024;

/// Send lines to a topic
#[derive(Debug, Clone, Args)]
pub struct ConsoleProducerArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// The topic to send to
    #[arg(long)]
    topic: String,
    /// How to read a line: parse.key, parse.headers, ignore.error (true or false), key.separator,
    /// headers.delimiter, headers.separator, headers.key.separator, null.marker
    #[arg(long, value_name = "KEY=VALUE", visible_alias = "property")]
    reader_property: Vec<String>,
    /// A properties file with the same keys
    #[arg(long, value_name = "FILE")]
    reader_config: Option<PathBuf>,
    /// A setting of the producer
    #[arg(long, value_name = "KEY=VALUE", visible_alias = "producer-property")]
    command_property: Vec<String>,
    /// A properties file with settings of the producer
    #[arg(long, value_name = "FILE", visible_alias = "producer.config")]
    command_config: Option<PathBuf>,
    /// Wait for each record's acknowledgement before the next is read
    #[arg(long)]
    sync: bool,
    /// Compress batches: none, gzip, snappy, lz4 or zstd (gzip without a value)
    #[arg(long, value_name = "CODEC", num_args = 0..=1, default_missing_value = "gzip")]
    compression_codec: Option<String>,
    /// When a batch is full, in bytes
    #[arg(long, value_name = "BYTES")]
    batch_size: Option<usize>,
    /// The same, under Kafka's other name
    #[arg(long, value_name = "BYTES", hide = true)]
    max_partition_memory_bytes: Option<usize>,
    /// How often a batch is sent again (default: until delivery.timeout.ms)
    #[arg(long, value_name = "COUNT")]
    message_send_max_retries: Option<u32>,
    /// How long to wait before that
    #[arg(long, value_name = "MS")]
    retry_backoff_ms: Option<u64>,
    /// How long a batch may wait for more records, in milliseconds (default: 1000)
    #[arg(long, value_name = "MS")]
    timeout: Option<u64>,
    /// When a record counts as sent: 0, 1 or all (default: all)
    #[arg(long, value_name = "ACKS", allow_hyphen_values = true)]
    request_required_acks: Option<String>,
    /// How long a request may take (default: 1500)
    #[arg(long, value_name = "MS")]
    request_timeout_ms: Option<u64>,
    /// After how long metadata is asked for again
    #[arg(long, value_name = "MS")]
    metadata_expiry_ms: Option<u64>,
    /// How long sending may wait for metadata and memory
    #[arg(long, value_name = "MS")]
    max_block_ms: Option<u64>,
    /// How many bytes may wait for their acknowledgement
    #[arg(long, value_name = "BYTES")]
    max_memory_bytes: Option<u64>,
    /// Accepted as in Kafka; sockets size themselves
    #[arg(long, value_name = "BYTES", hide = true)]
    socket_buffer_size: Option<u64>,
}

impl ConsoleProducerArgs {
    /// The settings: a flag that is given goes before `--command-property`, which goes before the
    /// file, which goes before this tool's defaults.
    fn properties(&self) -> anyhow::Result<Properties> {
        let mut properties = Properties::from_file_and_pairs(
            self.command_config.as_deref(),
            &self.command_property,
        )?;
        let batch_size = self.max_partition_memory_bytes.or(self.batch_size);
        let text = |value: Option<u64>| value.map(|value| value.to_string());
        let flags = [
            ("compression.type", self.compression_codec.clone()),
            ("batch.size", batch_size.map(|size| size.to_string())),
            ("retries", self.message_send_max_retries.map(|count| count.to_string())),
            ("retry.backoff.ms", text(self.retry_backoff_ms)),
            ("linger.ms", text(self.timeout)),
            ("acks", self.request_required_acks.clone()),
            ("request.timeout.ms", text(self.request_timeout_ms)),
            ("metadata.max.age.ms", text(self.metadata_expiry_ms)),
            ("max.block.ms", text(self.max_block_ms)),
            ("buffer.memory", text(self.max_memory_bytes)),
        ];
        for (key, value) in flags {
            if let Some(value) = value {
                properties.set(key, &value);
            }
        }
        properties.set_default("linger.ms", "1000");
        properties.set_default("request.timeout.ms", "1500");
        Ok(properties)
    }
}

/// Sends lines until stdin ends.
pub(super) async fn run(args: ConsoleProducerArgs) -> anyhow::Result<ExitCode> {
    args.connection.refuse_zookeeper()?;
    let reading =
        Properties::from_file_and_pairs(args.reader_config.as_deref(), &args.reader_property)?;
    let (reader, unknown) = LineReader::new(&reading)?;
    for key in unknown {
        eprintln!("WARN The reader has no property '{key}'.");
    }
    let properties = args.properties()?;
    warn_of_unknown(&properties);
    let servers = args.connection.servers(&properties)?;
    let options = ClusterOptions::from_properties(&servers, "console-producer", &properties)?;
    let producer_options = ProducerOptions::from_properties(&properties)?;
    let cluster = Cluster::connect(options).await?;

    let progress = Arc::new(Progress::new(cluster.clock().clone()));
    let told = progress.clone();
    let producer = Producer::new(
        cluster,
        producer_options,
        Box::new(move |delivery| told.delivered(&delivery)),
    );
    let topic = TopicName::new(&args.topic);
    let outcome = send_lines(producer, &topic, &reader, args.sync, &progress).await;
    progress.finish(&topic);
    outcome?;
    Ok(if progress.has_failures() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Reads, sends, and waits for the acknowledgements. What was read before a bad line is sent.
async fn send_lines(
    mut producer: Producer,
    topic: &TopicName,
    reader: &LineReader,
    is_sync: bool,
    progress: &Progress,
) -> anyhow::Result<()> {
    let mut interrupt = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::interrupt())
        .context("cannot listen for SIGINT")?;
    let is_terminal = std::io::stdin().is_terminal();
    let mut input = BufReader::with_capacity(READ_AHEAD_BYTES, tokio::io::stdin());
    let mut number = 0;
    let outcome = loop {
        number += 1;
        if is_terminal {
            print!(">");
            std::io::stdout().flush()?;
        }
        let line = tokio::select! {
            line = next_line(&mut input) => line,
            _ = interrupt.recv() => break Ok(()),
        };
        let line = match line {
            Ok(Some(line)) => line,
            Ok(None) => break Ok(()),
            Err(error) => break Err(anyhow::Error::new(error).context("cannot read stdin")),
        };
        progress.read(&line);
        let record = match reader.read(&line, number) {
            Ok(record) => record,
            Err(error) => break Err(error),
        };
        let record = ProducerRecord {
            key: record.key,
            value: record.value,
            headers: record.headers.into_iter().map(|(key, value)| Header { key, value }).collect(),
            token: number,
            ..ProducerRecord::default()
        };
        if let Err(failure) = producer.send(topic, record).await {
            progress.failed(number, &failure);
            // Neither a topic nor memory comes by reading on.
            if failure.code().is_none() {
                break Ok(());
            }
        }
        if is_sync {
            producer.flush().await;
        }
    };
    producer.close().await;
    outcome
}

/// The next line without its end, which may be `\n` or `\r\n`.
async fn next_line(input: &mut (impl AsyncBufReadExt + Unpin)) -> std::io::Result<Option<Bytes>> {
    let mut line = Vec::new();
    if input.read_until(b'\n', &mut line).await? == 0 {
        return Ok(None);
    }
    if line.last() == Some(&b'\n') {
        line.pop();
        if line.last() == Some(&b'\r') {
            line.pop();
        }
    }
    Ok(Some(BytesMut::from(line.as_slice()).freeze()))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use clap::Parser;

    #[derive(Debug, Parser)]
    struct Only {
        #[command(flatten)]
        args: ConsoleProducerArgs,
    }

    fn properties(line: &str) -> Properties {
        let words = ["x", "--topic", "t"].into_iter().chain(line.split_whitespace());
        Only::try_parse_from(words).unwrap().args.properties().unwrap()
    }

    #[test]
    fn flags_go_before_properties_before_defaults() {
        for (line, key, value) in [
            ("", "linger.ms", "1000"),
            ("--producer-property linger.ms=5", "linger.ms", "5"),
            ("--producer-property linger.ms=5 --timeout 7", "linger.ms", "7"),
            ("--compression-codec --sync", "compression.type", "gzip"),
            ("--compression-codec zstd", "compression.type", "zstd"),
            ("--request-required-acks -1", "acks", "-1"),
            ("--batch-size 1 --max-partition-memory-bytes 2", "batch.size", "2"),
        ] {
            assert_eq!(properties(line).get(key), Some(value), "{line}");
        }
    }

    #[tokio::test]
    async fn lines_end_as_they_end_on_any_system() {
        let mut input: &[u8] = b"a\nb\r\n\nlast";
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut input).await.unwrap() {
            lines.push(line);
        }
        assert_eq!(lines, ["a", "b", "", "last"]);
    }
}
