//! `producer-perf-test`: `kafka-producer-perf-test.sh` by its flags and its lines.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use parking_lot::Mutex;

use crate::cli::client::options::ProducerOptions;
use crate::cli::client::producer::{Delivery, Producer, ProducerRecord};
use crate::cli::client::{Cluster, ClusterOptions};
use crate::cli::connection::{ConnectionArgs, warn_of_unknown};
use crate::cli::perf::ProducerStats;
use crate::cli::properties::Properties;
use crate::types::random::next_mixed;
use crate::types::{Monotonic, TopicName};

/// A token holds when a record was sent and how large it is: these bits are for its size.
const SIZE_BITS: u32 = 24;

/// Measure how fast records can be sent
#[derive(Debug, Clone, Args)]
pub struct ProducerPerfArgs {
    #[command(flatten)]
    connection: ConnectionArgs,
    /// The topic to send to
    #[arg(long)]
    topic: String,
    /// How many records to send
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u64).range(1..))]
    num_records: u64,
    /// How large each record's value is
    #[arg(long, value_name = "BYTES", group = "payload", value_parser = clap::value_parser!(u32).range(1..1 << SIZE_BITS))]
    record_size: Option<u32>,
    /// A file whose lines are the values, drawn at random
    #[arg(long, value_name = "FILE", group = "payload")]
    payload_file: Option<PathBuf>,
    /// The values are the numbers from 0 on
    #[arg(long, group = "payload")]
    payload_monotonic: bool,
    /// What separates the values in --payload-file
    #[arg(long, value_name = "TEXT", default_value = "\\n")]
    payload_delimiter: String,
    /// At most so many records per second; -1 for as many as possible
    #[arg(long, value_name = "RECORDS", allow_negative_numbers = true)]
    throughput: f64,
    /// Settings of the producer; they go before those of the file
    #[arg(long, value_name = "KEY=VALUE", num_args = 1.., visible_alias = "command-property")]
    producer_props: Vec<String>,
    /// A properties file with settings of the producer
    #[arg(long, value_name = "FILE", visible_alias = "producer.config")]
    command_config: Option<PathBuf>,
    /// Print metrics at the end
    #[arg(long)]
    print_metrics: bool,
    /// So many records are sent before the steady state is measured
    #[arg(long, value_name = "COUNT", default_value_t = 0)]
    warmup_records: u64,
}

/// Both measurements: of everything, and of what comes after the warm-up.
#[derive(Debug)]
struct Measured {
    total: ProducerStats,
    steady: Option<ProducerStats>,
    failures: u64,
    batches: u64,
}

/// Sends the records and prints how that went.
pub(super) async fn run(args: ProducerPerfArgs) -> anyhow::Result<ExitCode> {
    args.connection.refuse_zookeeper()?;
    if args.warmup_records >= args.num_records {
        bail!(
            "The value for --warmup-records must be strictly fewer than the number of records in \
             the test, --num-records."
        );
    }
    let mut payloads = args.payloads()?;
    let properties =
        Properties::from_file_and_pairs(args.command_config.as_deref(), &args.producer_props)?;
    warn_of_unknown(&properties);
    let servers = args.connection.servers(&properties)?;
    let options = ClusterOptions::from_properties(&servers, "perf-producer-client", &properties)?;
    let producer_options = ProducerOptions::from_properties(&properties)?;
    let cluster = Cluster::connect(options).await?;
    let clock = cluster.clock().clone();

    if args.warmup_records > 0 {
        println!(
            "Warmup first {} records. Steady state results will print after the complete test \
             summary.",
            args.warmup_records
        );
    }
    let start = clock.monotonic();
    let measured = Arc::new(Mutex::new(Measured {
        total: ProducerStats::new(start, false)?,
        steady: None,
        failures: 0,
        batches: 0,
    }));
    let (told, told_clock) = (measured.clone(), clock.clone());
    let sink = move |delivery: Delivery| tell(&told, &delivery, told_clock.monotonic());
    let mut producer = Producer::new(cluster, producer_options, Box::new(sink));

    let topic = TopicName::new(&args.topic);
    for sent in 0..args.num_records {
        if args.warmup_records > 0 && sent == args.warmup_records {
            measured.lock().steady = Some(ProducerStats::new(clock.monotonic(), true)?);
        }
        let value = payloads.next(sent);
        let now = clock.monotonic();
        let token = token(now, value.len());
        let record = ProducerRecord { value: Some(value), token, ..ProducerRecord::default() };
        producer.send(&topic, record).await?;
        if let Some(wait) = ahead_by(sent + 1, args.throughput, now.since(start)) {
            tokio::time::sleep(wait).await;
        }
    }
    producer.close().await;
    let end = clock.monotonic();
    let measured = measured.lock();
    println!("{}", measured.total.total_line(end));
    if let Some(steady) = &measured.steady {
        println!("{}", steady.total_line(end));
    }
    if args.print_metrics {
        let elapsed = end.since(start).as_secs_f64();
        println!();
        println!("{:<50} Value", "Metric Name");
        for (name, value) in [
            ("producer-metrics:batch-total", measured.batches as f64),
            ("producer-metrics:record-error-total", measured.failures as f64),
            ("producer-metrics:test-time-seconds", elapsed),
        ] {
            println!("{name:<50} : {value:.3}");
        }
    }
    Ok(if measured.failures > 0 { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Counts the records of a batch.
fn tell(measured: &Mutex<Measured>, delivery: &Delivery, now: Monotonic) {
    let mut measured = measured.lock();
    measured.batches += 1;
    if let Err(failure) = &delivery.outcome {
        measured.failures += delivery.tokens.len() as u64;
        eprintln!(
            "Error: {} records for {} were not sent: {failure}",
            delivery.tokens.len(),
            delivery.topic_partition
        );
        return;
    }
    for &token in &delivery.tokens {
        let (sent, size_bytes) = read_token(token);
        let latency = now.since(sent);
        measured.total.record(size_bytes, latency);
        if let Some(steady) = &mut measured.steady {
            steady.record(size_bytes, latency);
        }
    }
    let line = match &mut measured.steady {
        None => measured.total.window_line(now),
        Some(steady) => steady.window_line(now),
    };
    if let Some(line) = line {
        println!("{line}");
    }
}

fn token(now: Monotonic, size_bytes: usize) -> u64 {
    let millis = u64::try_from(now.0.as_millis()).unwrap_or(u64::MAX);
    let size = u64::try_from(size_bytes).unwrap_or(u64::MAX).min((1 << SIZE_BITS) - 1);
    (millis << SIZE_BITS) | size
}

fn read_token(token: u64) -> (Monotonic, u64) {
    let sent = Monotonic(Duration::from_millis(token >> SIZE_BITS));
    (sent, token & ((1 << SIZE_BITS) - 1))
}

/// How long to wait so that `count` records in `elapsed` are not more than `throughput` per
/// second.
fn ahead_by(count: u64, throughput: f64, elapsed: Duration) -> Option<Duration> {
    if throughput <= 0.0 {
        return None;
    }
    let due = Duration::try_from_secs_f64(count as f64 / throughput).ok()?;
    due.checked_sub(elapsed).filter(|wait| *wait >= Duration::from_millis(1))
}

/// Where the values come from.
#[derive(Debug)]
enum Payloads {
    /// Random capital letters.
    Random { size_bytes: usize, state: u64 },
    /// Lines of a file, at random.
    Lines { lines: Vec<Bytes>, state: u64 },
    /// The numbers.
    Monotonic,
}

impl ProducerPerfArgs {
    fn payloads(&self) -> anyhow::Result<Payloads> {
        match (self.record_size, &self.payload_file) {
            (Some(size), _) => {
                Ok(Payloads::Random { size_bytes: usize::try_from(size)?, state: 0 })
            }
            (None, Some(file)) => {
                let lines = read_payloads(file, &self.payload_delimiter)?;
                Ok(Payloads::Lines { lines, state: 0 })
            }
            (None, None) if self.payload_monotonic => Ok(Payloads::Monotonic),
            (None, None) => {
                bail!("one of --record-size, --payload-file and --payload-monotonic is missing")
            }
        }
    }
}

fn read_payloads(file: &Path, delimiter: &str) -> anyhow::Result<Vec<Bytes>> {
    println!("Reading payloads from: {}", std::path::absolute(file)?.display());
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    let delimiter = if delimiter == "\\n" { "\n" } else { delimiter };
    let text = text.strip_suffix(delimiter).unwrap_or(&text);
    if text.is_empty() {
        bail!("File does not exist or empty file provided.");
    }
    let lines: Vec<Bytes> =
        text.split(delimiter).map(|line| Bytes::copy_from_slice(line.as_bytes())).collect();
    println!("Number of messages read: {}", lines.len());
    Ok(lines)
}

impl Payloads {
    /// The value of the record of that number. The same numbers give the same values in each run,
    /// so that runs can be compared.
    fn next(&mut self, number: u64) -> Bytes {
        match self {
            Payloads::Random { size_bytes, state } => {
                let mut value = Vec::with_capacity(*size_bytes + 8);
                while value.len() < *size_bytes {
                    let letters = next_mixed(state).to_le_bytes();
                    value.extend(letters.map(|byte| b'A' + ((u16::from(byte) * 26) >> 8) as u8));
                }
                value.truncate(*size_bytes);
                Bytes::from(value)
            }
            Payloads::Lines { lines, state } => {
                let drawn = next_mixed(state) % lines.len().max(1) as u64;
                lines.get(drawn as usize).cloned().unwrap_or_default()
            }
            Payloads::Monotonic => Bytes::from(number.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn a_token_holds_time_and_size() {
        let sent = Monotonic(Duration::from_millis(123_456_789));
        assert_eq!(read_token(token(sent, 1024)), (sent, 1024));
        assert_eq!(read_token(token(sent, usize::MAX)).0, sent);
    }

    #[test]
    fn throughput_is_held_back_by_waiting() {
        let second = Duration::from_secs(1);
        assert_eq!(ahead_by(2000, 1000.0, second), Some(second));
        assert_eq!(ahead_by(1000, 1000.0, second), None);
        assert_eq!(ahead_by(u64::MAX, -1.0, second), None);
    }

    #[test]
    fn payloads_are_letters_lines_or_numbers() {
        let mut random = Payloads::Random { size_bytes: 1001, state: 0 };
        let first = random.next(0);
        assert_eq!(first.len(), 1001);
        assert!(first.iter().all(u8::is_ascii_uppercase));
        assert_ne!(first, random.next(1));
        assert_eq!(Payloads::Monotonic.next(42), "42");
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("payloads");
        std::fs::write(&file, "a;b;c").unwrap();
        let lines = read_payloads(&file, ";").unwrap();
        assert_eq!(lines, ["a", "b", "c"]);
        let mut payloads = Payloads::Lines { lines: lines.clone(), state: 0 };
        assert!((0..100).all(|number| lines.contains(&payloads.next(number))));
    }
}
