//! How much goes through, and what it costs the brokers: 1 KiB records in 64 KiB batches by
//! librdkafka over loopback, beside what the same machine's loopback and files do at that moment.
//!
//!     cargo bench --bench throughput [-- ROUNDS]
//!
//! Each round takes every measurement once, so that a slow moment of the machine falls on all.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

#[path = "../tests/cluster/harness.rs"]
mod harness;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use harness::{Cluster, PATIENCE};

const RECORD_BYTES: usize = 1024;
const BATCH_BYTES: usize = 64 << 10;
const TOTAL_BYTES: usize = 512 << 20;
const MEGABYTE: f64 = 1e6;

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(3);
    let mut rows: Vec<(&str, Vec<Sample>)> = Vec::new();
    let mut note = |name: &'static str, sample: Sample| {
        println!("  {name}: {sample}");
        match rows.iter_mut().find(|(known, _)| *known == name) {
            Some((_, samples)) => samples.push(sample),
            None => rows.push((name, vec![sample])),
        }
    };
    for round in 1..=rounds {
        println!("round {round}");
        note("loopback, 64 KiB writes", loopback());
        note("file, CRC-32C and pwrite of 64 KiB", file());
        let (produced, consumed) = through_brokers(1, "1");
        note("one broker, acks=1: produce", produced);
        note("one broker: consume", consumed);
        let (produced, consumed) = through_brokers(3, "all");
        note("three brokers, RF 3, acks=all: produce", produced);
        note("three brokers: consume", consumed);
    }
    println!("medians of {rounds} rounds");
    for (name, samples) in rows {
        println!("  {name}: {}", median(samples));
    }
}

/// One measurement.
#[derive(Debug, Clone, Copy)]
struct Sample {
    mb_per_s: f64,
    /// CPU seconds of the brokers for each GB of records.
    cpu_s_per_gb: Option<f64>,
}

impl std::fmt::Display for Sample {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:.0} MB/s", self.mb_per_s)?;
        match self.cpu_s_per_gb {
            Some(cpu) => write!(f, ", {cpu:.2} broker CPU s/GB"),
            None => Ok(()),
        }
    }
}

fn median(mut samples: Vec<Sample>) -> Sample {
    samples.sort_by(|a, b| a.mb_per_s.total_cmp(&b.mb_per_s));
    samples[samples.len() / 2]
}

fn rate(bytes: usize, elapsed: Duration) -> f64 {
    bytes as f64 / MEGABYTE / elapsed.as_secs_f64()
}

fn loopback() -> Sample {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let reader = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let mut buffer = vec![0; BATCH_BYTES];
        let mut total = 0;
        while total < TOTAL_BYTES {
            total += stream.read(&mut buffer).unwrap();
        }
    });
    let mut stream = TcpStream::connect(address).unwrap();
    let buffer = vec![7; BATCH_BYTES];
    let started = Instant::now();
    for _ in 0..TOTAL_BYTES / BATCH_BYTES {
        stream.write_all(&buffer).unwrap();
    }
    reader.join().unwrap();
    Sample { mb_per_s: rate(TOTAL_BYTES, started.elapsed()), cpu_s_per_gb: None }
}

fn file() -> Sample {
    let file = tempfile::tempfile().unwrap();
    let buffer = vec![7; BATCH_BYTES];
    let started = Instant::now();
    for index in 0..TOTAL_BYTES / BATCH_BYTES {
        std::hint::black_box(crc32c::crc32c(&buffer));
        file.write_all_at(&buffer, (index * BATCH_BYTES) as u64).unwrap();
    }
    Sample { mb_per_s: rate(TOTAL_BYTES, started.elapsed()), cpu_s_per_gb: None }
}

fn through_brokers(count: usize, acks: &str) -> (Sample, Sample) {
    let cluster = Cluster::start(count, "");
    cluster.create_topic("load", 1, count as i32, &[]);
    let before = cluster.cpu_seconds();
    let started = Instant::now();
    produce(&cluster, acks);
    let produced = sample(&cluster, started, before);
    let before = cluster.cpu_seconds();
    let started = Instant::now();
    consume(&cluster);
    let consumed = sample(&cluster, started, before);
    (produced, consumed)
}

fn sample(cluster: &Cluster, started: Instant, cpu_before: f64) -> Sample {
    let elapsed = started.elapsed();
    let cpu = cluster.cpu_seconds() - cpu_before;
    Sample {
        mb_per_s: rate(TOTAL_BYTES, elapsed),
        cpu_s_per_gb: Some(cpu / (TOTAL_BYTES as f64 / 1e9)),
    }
}

fn produce(cluster: &Cluster, acks: &str) {
    let mut config = cluster.client();
    config.set("acks", acks).set("linger.ms", "5").set("batch.size", BATCH_BYTES.to_string());
    config.set("queue.buffering.max.messages", "500000");
    config.set("queue.buffering.max.kbytes", "262144");
    let producer: BaseProducer = config.create().unwrap();
    let value = vec![b'x'; RECORD_BYTES];
    for _ in 0..TOTAL_BYTES / RECORD_BYTES {
        let mut record = BaseRecord::<(), _>::to("load").partition(0).payload(&value);
        while let Err((_, refused)) = producer.send(record) {
            producer.poll(Duration::from_millis(1));
            record = refused;
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE).unwrap();
}

fn consume(cluster: &Cluster) {
    let mut config = cluster.client();
    config.set("group.id", "none").set("enable.auto.commit", "false");
    config.set("fetch.message.max.bytes", "1048576").set("queued.max.messages.kbytes", "65536");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset("load", 0, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    for _ in 0..TOTAL_BYTES / RECORD_BYTES {
        consumer.poll(PATIENCE).expect("a record").expect("no error");
    }
}
