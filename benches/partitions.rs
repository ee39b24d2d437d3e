//! What many partitions with little traffic cost one broker: how long they take to be made, what
//! they hold of memory and files, how soon all of them are described, how busy a broker is that has
//! nothing to do, and how soon it is back after a clean stop and after `kill -9`.
//!
//!     cargo bench --bench partitions [-- one|hundred|followers ...] [partitions=N] [brokers=N]
//!
//! - `one`: one topic of 10,000 partitions on one broker
//! - `hundred`: a hundred topics of a hundred partitions each on one broker, in one request
//! - `followers`: 2,000 partitions with three replicas each on three brokers: what they need to do
//!   nothing
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

#[path = "../tests/cluster/harness.rs"]
mod harness;

use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla::net::client::{ClientOptions, Connection};
use ottla::net::transport::{HostPort, TcpNetwork};
use ottla::protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use ottla::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla::protocol::messages::metadata::{MetadataRequest, MetadataResponse};
use ottla::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::record::BatchBuilder;
use ottla::types::{Clock, Offset, clock::SystemClock};
use tokio::runtime::Runtime;

use harness::Cluster;

/// How long a broker is left alone before it is looked at, and then while its CPU time is taken.
const SETTLE: Duration = Duration::from_secs(5);
const IDLE: Duration = Duration::from_secs(10);
const METADATA_ROUNDS: usize = 30;

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: usize| {
        let found = arguments.iter().find_map(|text| text.strip_prefix(name)?.strip_prefix('='));
        found.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let sections = ["one", "hundred", "followers"];
    let some = arguments.iter().any(|argument| sections.contains(&argument.as_str()));
    let is_wanted = |section: &str| !some || arguments.iter().any(|argument| argument == section);
    let runtime = Runtime::new().unwrap();
    let partitions = number("partitions", 10_000);
    if is_wanted("one") {
        alone(&runtime, 1, partitions);
    }
    if is_wanted("hundred") {
        alone(&runtime, 100, partitions / 100);
    }
    if is_wanted("followers") {
        let partitions = number("partitions", 2_000);
        followers(&runtime, number("brokers", 3), partitions);
    }
}

/// `topics` times `partitions` on one broker.
fn alone(runtime: &Runtime, topics: usize, partitions: usize) {
    println!("{topics} topics x {partitions} partitions, one broker");
    let mut cluster = Cluster::start(1, "");
    let before = cluster.resident_bytes()[0];
    let took = runtime.block_on(create(&cluster, topics, partitions, 1));
    println!("  created, all led: {took:.2?}");
    std::thread::sleep(SETTLE);
    resources(&cluster, before);
    runtime.block_on(describe(&cluster));
    idle(&cluster);
    let took = runtime.block_on(produce_to_all(&cluster));
    println!("  one record to each: {took:.2?}");
    std::thread::sleep(SETTLE);
    resources(&cluster, before);
    idle(&cluster);

    let stopping = Instant::now();
    cluster.terminate(1);
    println!("  clean stop: {:.2?}", stopping.elapsed());
    let took = runtime.block_on(restart(&mut cluster, topics * partitions));
    println!("  start after it, all led: {took:.2?}");
    std::thread::sleep(SETTLE);
    resources(&cluster, before);
    cluster.kill(1);
    let took = runtime.block_on(restart(&mut cluster, topics * partitions));
    println!("  start after kill -9, all led: {took:.2?}");
}

fn followers(runtime: &Runtime, brokers: usize, partitions: usize) {
    println!("1 topic x {partitions} partitions x {brokers} replicas, {brokers} brokers");
    let cluster = Cluster::start(brokers, "");
    idle(&cluster);
    let took = runtime.block_on(create(&cluster, 1, partitions, brokers));
    println!("  created, all led: {took:.2?}");
    let since = Instant::now();
    cluster.await_in_sync("topic-0", brokers);
    println!("  all in sync: {:.2?} later", since.elapsed());
    std::thread::sleep(SETTLE);
    idle(&cluster);
    resources(&cluster, 0);
    let took = runtime.block_on(produce_to_all(&cluster));
    println!("  one record to each: {took:.2?}");
    std::thread::sleep(SETTLE);
    idle(&cluster);
    resources(&cluster, 0);
}

fn resources(cluster: &Cluster, before: u64) {
    let megabytes = |bytes: u64| bytes as f64 / 1e6;
    for (resident, files) in cluster.resident_bytes().into_iter().zip(cluster.open_files()) {
        println!(
            "  resident {:.0} MB (before {:.0} MB), {files} open files",
            megabytes(resident),
            megabytes(before),
        );
    }
}

fn idle(cluster: &Cluster) {
    let before = cluster.cpu_seconds();
    let since = Instant::now();
    std::thread::sleep(IDLE);
    let share = (cluster.cpu_seconds() - before) / since.elapsed().as_secs_f64();
    println!("  idle: {:.2} % of one core over all brokers", share * 100.0);
}

async fn connect(cluster: &Cluster, id: i32) -> Option<Connection> {
    let address = HostPort::new("127.0.0.1", cluster.node(id).port);
    let options =
        ClientOptions { request_timeout: Duration::from_secs(120), ..ClientOptions::default() };
    Connection::connect(&TcpNetwork, &address, options).await.ok()
}

async fn create(cluster: &Cluster, topics: usize, partitions: usize, replicas: usize) -> Duration {
    let connection = connect(cluster, 1).await.unwrap();
    let topic = |index: usize| CreatableTopic {
        name: format!("topic-{index}").as_str().into(),
        num_partitions: partitions as i32,
        replication_factor: replicas as i16,
        ..CreatableTopic::default()
    };
    let request = CreateTopicsRequest {
        topics: (0..topics).map(topic).collect(),
        ..CreateTopicsRequest::default()
    };
    let started = Instant::now();
    let response = connection.call(&request).await.unwrap();
    assert!(response.topics.iter().all(|topic| topic.error_code == 0), "{response:?}");
    println!("  answered: {:.2?}", started.elapsed());
    until_led(cluster, topics * partitions).await;
    started.elapsed()
}

/// Waits until the broker leads all: the metadata names leaders at once, but only a broker that has
/// made its replicas can say where their logs end.
async fn until_led(cluster: &Cluster, all: usize) {
    let asked = Instant::now();
    loop {
        let mut led = 0;
        for id in 1..=cluster.nodes.len() as i32 {
            let Some(connection) = connect(cluster, id).await else { continue };
            let described = connection.call(&all_topics()).await;
            let Ok(described) = described else { continue };
            let topics = described.topics.iter().map(|topic| ListOffsetsTopic {
                name: topic.name.clone().unwrap(),
                partitions: topic
                    .partitions
                    .iter()
                    .filter(|partition| partition.leader_id == id)
                    .map(|partition| ListOffsetsPartition {
                        partition_index: partition.partition_index,
                        timestamp: -1,
                        ..ListOffsetsPartition::default()
                    })
                    .collect(),
            });
            let request = ListOffsetsRequest {
                replica_id: -1,
                topics: topics.collect(),
                ..ListOffsetsRequest::default()
            };
            let Ok(answer) = connection.call(&request).await else { continue };
            let partitions = answer.topics.iter().flat_map(|topic| &topic.partitions);
            led += partitions.filter(|partition| partition.error_code == 0).count();
        }
        if led >= all {
            return;
        }
        assert!(asked.elapsed() < Duration::from_secs(600), "{led} of {all} are led");
        // Asking costs the broker something, too.
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

fn all_topics() -> MetadataRequest {
    MetadataRequest { topics: None, ..MetadataRequest::default() }
}

async fn describe(cluster: &Cluster) {
    let connection = connect(cluster, 1).await.unwrap();
    for version in [12, 13] {
        let mut times = Vec::new();
        for _ in 0..METADATA_ROUNDS {
            let asked = Instant::now();
            let answer: MetadataResponse =
                connection.call_at(version, &all_topics()).await.unwrap();
            times.push(asked.elapsed());
            assert!(!answer.topics.is_empty());
        }
        times.sort();
        let (median, worst) = (times[times.len() / 2], times[times.len() - 1]);
        println!(
            "  Metadata of all topics, version {version}: median {median:.2?}, worst {worst:.2?}"
        );
    }
}

/// One record to each partition, by one request for each leader and thousand partitions.
async fn produce_to_all(cluster: &Cluster) -> Duration {
    let mut builder = BatchBuilder::new(Offset::ZERO);
    builder.push(SystemClock::new().wall(), None, Some(b"little traffic"), &[]).unwrap();
    let batch: Bytes = builder.build().unwrap();
    let described = connect(cluster, 1).await.unwrap().call(&all_topics()).await.unwrap();
    let started = Instant::now();
    for id in 1..=cluster.nodes.len() as i32 {
        let connection = connect(cluster, id).await.unwrap();
        for topic in &described.topics {
            let led = topic.partitions.iter().filter(|partition| partition.leader_id == id);
            let led: Vec<i32> = led.map(|partition| partition.partition_index).collect();
            for some in led.chunks(1_000) {
                let partitions = some
                    .iter()
                    .map(|&index| PartitionProduceData { index, records: Some(batch.clone()) });
                let topic_data = TopicProduceData {
                    name: topic.name.clone().unwrap(),
                    topic_id: topic.topic_id,
                    partition_data: partitions.collect(),
                };
                let request = ProduceRequest {
                    acks: -1,
                    timeout_ms: 30_000,
                    topic_data: vec![topic_data],
                    ..ProduceRequest::default()
                };
                let answer = connection.call(&request).await.unwrap();
                let answers = answer.responses.iter().flat_map(|it| &it.partition_responses);
                assert!(answers.clone().all(|it| it.error_code == 0), "a produce was refused");
            }
        }
    }
    started.elapsed()
}

async fn restart(cluster: &mut Cluster, all: usize) -> Duration {
    let started = Instant::now();
    cluster.spawn(1);
    until_led(cluster, all).await;
    started.elapsed()
}
