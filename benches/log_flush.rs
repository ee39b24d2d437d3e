//! What `flush.messages=1` costs: 64 producers, each with a connection of its own and one request
//! under way, write batches to one partition of one broker with acks=all, with it and without it,
//! in interleaved rounds of one run: `cargo bench --bench log_flush`. Prints requests per second
//! of both and their ratio; the goal is at least 0.5. Producers and broker share the machine.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, missing_docs)]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use ottla::broker::{BrokerConfig, Seams, Server};
use ottla::controller::lifecycle::BrokerState;
use ottla::net::client::{ClientOptions, Connection};
use ottla::net::{HostPort, TcpNetwork};
use ottla::protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use ottla::protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use ottla::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use ottla::record::BatchBuilder;
use ottla::types::clock::SystemClock;
use ottla::types::{Clock, Offset};

const PRODUCERS: usize = 64;
const ROUND: Duration = Duration::from_secs(2);
const ROUNDS: usize = 7;
const PATIENCE: Duration = Duration::from_secs(60);

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

async fn start(directory: &std::path::Path) -> (Server, HostPort) {
    let (port, controller) = (free_port(), free_port());
    let text = format!(
        "process.roles=broker,controller\nnode.id=1\n\
         controller.quorum.voters=1@127.0.0.1:{controller}\n\
         listeners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller}\n\
         controller.listener.names=CONTROLLER\nlog.dirs={}\n",
        directory.display()
    );
    let config = BrokerConfig::load(&text, &[], |_| None).unwrap();
    let server = Server::start(config, Seams::of_this_machine().unwrap()).await.unwrap();
    let mut state = server.broker_state().unwrap();
    let running = state.wait_for(|state| matches!(state, BrokerState::Running(_)));
    tokio::time::timeout(PATIENCE, running).await.expect("waited for service").unwrap();
    (server, HostPort::new("127.0.0.1", port))
}

async fn connect(address: &HostPort) -> Connection {
    Connection::connect(&TcpNetwork, address, ClientOptions::default()).await.unwrap()
}

/// Makes a topic; the request that writes one batch to it.
async fn topic(
    connection: &Connection,
    name: &str,
    is_flushed: bool,
    batch_bytes: usize,
) -> ProduceRequest {
    let flush = CreatableTopicConfig { name: "flush.messages".into(), value: Some("1".into()) };
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        configs: if is_flushed { vec![flush] } else { Vec::new() },
        ..Default::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let answer = connection.call(&request).await.unwrap();
    assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
    let asked = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
    let metadata = MetadataRequest { topics: Some(vec![asked]), ..Default::default() };
    let topic_id = connection.call(&metadata).await.unwrap().topics[0].topic_id;
    let mut batch = BatchBuilder::new(Offset::ZERO);
    let value = vec![b'v'; (batch_bytes - 100).min(1024)];
    while batch.size_bytes() + value.len() + 16 < batch_bytes {
        batch.push(SystemClock::new().wall(), None, Some(&value), &[]).unwrap();
    }
    let partition = PartitionProduceData { index: 0, records: Some(batch.build().unwrap()) };
    ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            topic_id,
            partition_data: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// Acknowledged requests per second.
async fn round(producers: &[Arc<Connection>], request: &Arc<ProduceRequest>) -> f64 {
    let acknowledged = Arc::new(AtomicUsize::new(0));
    let begin = Instant::now();
    let tasks: Vec<_> = producers
        .iter()
        .map(|connection| {
            let (connection, request) = (Arc::clone(connection), Arc::clone(request));
            let acknowledged = Arc::clone(&acknowledged);
            tokio::spawn(async move {
                while begin.elapsed() < ROUND {
                    let answer = connection.call(&*request).await.unwrap();
                    let code = answer.responses[0].partition_responses[0].error_code;
                    if code == 0 {
                        acknowledged.fetch_add(1, Ordering::Relaxed);
                    }
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    acknowledged.load(Ordering::Relaxed) as f64 / begin.elapsed().as_secs_f64()
}

#[tokio::main]
async fn main() {
    for batch_bytes in [1 << 10, 16 << 10] {
        let directory = tempfile::tempdir().unwrap();
        let (server, address) = start(directory.path()).await;
        let mut producers = Vec::new();
        for _ in 0..PRODUCERS {
            producers.push(Arc::new(connect(&address).await));
        }
        let plain = Arc::new(topic(&producers[0], "plain", false, batch_bytes).await);
        let flushed = Arc::new(topic(&producers[0], "flushed", true, batch_bytes).await);
        round(&producers, &plain).await;
        round(&producers, &flushed).await;
        let (mut without, mut with) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            without.push(round(&producers, &plain).await);
            with.push(round(&producers, &flushed).await);
        }
        let mut ratios: Vec<f64> =
            with.iter().zip(&without).map(|(with, without)| with / without).collect();
        ratios.sort_by(f64::total_cmp);
        let mean = |rates: &[f64]| rates.iter().sum::<f64>() / rates.len() as f64;
        println!(
            "{PRODUCERS} producers, {batch_bytes} B batches: {:.0} requests/s without, {:.0} with \
             flush.messages=1, ratio {:.3} (median of {ROUNDS} rounds {:.3})",
            mean(&without),
            mean(&with),
            mean(&with) / mean(&without),
            ratios[ROUNDS / 2],
        );
        drop(producers);
        server.stop().await;
    }
}
