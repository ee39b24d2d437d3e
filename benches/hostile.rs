//! What hostile peers cost everybody else: how long an ordinary client's requests take beside them, of
//! what they take without them, and what the broker's memory rises by.
//!
//!     cargo bench --bench hostile [-- ROUNDS]
//!
//! One broker on this machine; the ordinary client produces 1 KiB with acks=1 and fetches it, one
//! request after the other. Each round measures it alone and beside one kind of peer, in turn; of the
//! rounds' ratios the median is told. What is measured begins when the others are connected.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

#[path = "../tests/cluster/attacks.rs"]
mod attacks;
#[path = "../tests/cluster/harness.rs"]
mod harness;

use std::io::Write;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use attacks::{LIMITS, TOPIC};
use harness::Cluster;
use ottla::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::record::BatchBuilder;
use ottla::types::{Offset, TimestampMs};

const REQUESTS: usize = 3_000;
const MIB: f64 = 1_048_576.0;

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(5);
    ottla::broker::open_files::raise_limit();
    let cluster = Cluster::start(1, LIMITS);
    cluster.create_topic(TOPIC, 1, 1, &[]);
    let port = cluster.nodes[0].port;
    let mut client = Client::new(port);
    // What takers of nothing ask for.
    (0..4_096).for_each(|_| _ = client.produce());
    client.sample();

    let bomb = attacks::bomb(200 << 20);
    compare("10,000 idle connections", rounds, &cluster, &mut client, |measure| {
        let _left = attacks::idle(port, 10_000);
        measure()
    });
    compare("1,000 frames of the greatest size", rounds, &cluster, &mut client, |measure| {
        let _left = attacks::greatest_frames(port, 1_000);
        measure()
    });
    compare("40 clients that take no answers", rounds, &cluster, &mut client, |measure| {
        let _left = attacks::takers_of_nothing(port, 40);
        measure()
    });
    compare("decompression bombs without a pause", rounds, &cluster, &mut client, |measure| {
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    attacks::send_bombs(port, 4, &bomb);
                }
            });
            let measured = measure();
            stop.store(true, Ordering::Relaxed);
            measured
        })
    });
}

/// Median and 99th percentile.
type Latency = [Duration; 2];

fn compare(
    what: &str,
    rounds: usize,
    cluster: &Cluster,
    client: &mut Client,
    mut beside: impl FnMut(&mut dyn FnMut() -> Latency) -> Latency,
) {
    let mut ratios = [Vec::new(), Vec::new()];
    let mut shown = Vec::new();
    let before = cluster.resident_bytes()[0];
    cluster.forget_peaks();
    for _ in 0..rounds {
        let alone = client.sample();
        // Once they are there: a thousand connections a moment are work for anyone.
        let attacked = beside(&mut || {
            client.sample();
            client.sample()
        });
        for ((ratios, alone), attacked) in ratios.iter_mut().zip(alone).zip(attacked) {
            ratios.push(attacked.as_secs_f64() / alone.as_secs_f64());
        }
        shown.push(format!(
            "{:.0?}/{:.0?} -> {:.0?}/{:.0?}",
            alone[0], alone[1], attacked[0], attacked[1]
        ));
    }
    let rose = cluster.peak_resident_bytes()[0].saturating_sub(before) as f64 / MIB;
    let [p50, p99] = ratios.map(|mut ratios| {
        ratios.sort_by(f64::total_cmp);
        ratios[ratios.len() / 2]
    });
    println!(
        "{what}: p50 x {p50:.2}, p99 x {p99:.2}; memory +{rose:.0} MiB at most; {}",
        shown.join(", ")
    );
}

/// An ordinary client.
struct Client {
    stream: TcpStream,
    produce: Vec<u8>,
    fetch: Vec<u8>,
}

impl Client {
    fn new(port: u16) -> Client {
        let stream = attacks::connect(port);
        stream.set_nodelay(true).unwrap();
        let mut batch = BatchBuilder::new(Offset::ZERO);
        batch.push(TimestampMs(1), None, Some(&[b'x'; 1_024]), &[]).unwrap();
        let partition = PartitionProduceData { index: 0, records: Some(batch.build().unwrap()) };
        let topic = TopicProduceData {
            name: TOPIC.into(),
            partition_data: vec![partition],
            ..Default::default()
        };
        let produce = ProduceRequest {
            acks: 1,
            timeout_ms: 30_000,
            topic_data: vec![topic],
            ..Default::default()
        };
        let partition =
            FetchPartition { partition: 0, partition_max_bytes: 1_024, ..Default::default() };
        let topic =
            FetchTopic { topic: TOPIC.into(), partitions: vec![partition], ..Default::default() };
        let fetch = FetchRequest { max_bytes: 1_024, topics: vec![topic], ..Default::default() };
        Client { stream, produce: attacks::frame(9, &produce), fetch: attacks::frame(12, &fetch) }
    }

    fn produce(&mut self) -> Duration {
        let began = Instant::now();
        self.stream.write_all(&self.produce).unwrap();
        attacks::answer(&mut self.stream);
        began.elapsed()
    }

    fn fetch(&mut self) -> Duration {
        let began = Instant::now();
        self.stream.write_all(&self.fetch).unwrap();
        attacks::answer(&mut self.stream);
        began.elapsed()
    }

    fn sample(&mut self) -> Latency {
        let mut took: Vec<Duration> =
            (0..REQUESTS / 2).flat_map(|_| [self.produce(), self.fetch()]).collect();
        took.sort();
        [took[took.len() / 2], took[took.len() * 99 / 100]]
    }
}
