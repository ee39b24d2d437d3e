//! The client against a scripted broker: two nodes on loopback over one log, which checks sequence
//! numbers as Kafka's brokers do and fails as the script says.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::future::BoxFuture;
use parking_lot::Mutex;

use crate::cli::client::consumer::{Consumer, Start};
use crate::cli::client::options::{ConsumerOptions, ProducerOptions};
use crate::cli::client::producer::{Delivery, Producer, ProducerRecord};
use crate::cli::client::{Cluster, ClusterOptions};
use crate::cli::properties::Properties;
use crate::net::server::{Answer, Class, Handled, RequestContext, Server, ServerLimits, Service};
use crate::net::{HostPort, Network, TcpNetwork};
use crate::protocol::header::{RequestHeader, encode_response_header};
use crate::protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse,
};
use crate::protocol::messages::fetch::{
    FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use crate::protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use crate::protocol::messages::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use crate::protocol::messages::produce::{
    PartitionProduceResponse, ProduceRequest, ProduceResponse, TopicProduceResponse,
};
use crate::protocol::{ApiKey, Message, Reader, Request, Writer};
use crate::record::{self, Batch};
use crate::types::clock::SystemClock;
use crate::types::{ErrorCode, LeaderEpoch, Offset, TopicName, TopicPartition};

const TOPIC: &str = "orders";
/// Nothing here takes a tenth of it.
const PATIENCE: Duration = Duration::from_secs(30);

/// What happens to the next produce request instead of what should.
#[derive(Debug, Clone, Copy)]
enum Fault {
    /// Refused with this error.
    Refuse(ErrorCode),
    /// Appended, but answered with this error.
    AppendAndSay(ErrorCode),
    /// Not appended, and the connection ends.
    Drop,
    /// Appended, and the connection ends.
    AppendAndDrop,
    /// The leader moves to the other node before it comes.
    MoveLeader,
}

/// First and last sequence number of a producer's batch, and its offset.
type Known = (i32, i32, i64);

#[derive(Debug, Default)]
struct State {
    nodes: BTreeMap<i32, HostPort>,
    leader: i32,
    epoch: i32,
    log: Vec<Bytes>,
    end: i64,
    sequences: BTreeMap<(i64, i16), Vec<Known>>,
    producers: i64,
    faults: VecDeque<Fault>,
    max_batch_bytes: usize,
}

impl State {
    fn append(&mut self, records: &Bytes) -> Result<i64, ErrorCode> {
        let batch: Batch = record::batches(records).next().unwrap().unwrap();
        batch.verify_crc().unwrap();
        if records.len() > self.max_batch_bytes {
            return Err(ErrorCode::MessageTooLarge);
        }
        let header = &batch.header;
        if header.producer_id.0 >= 0 {
            let known =
                self.sequences.entry((header.producer_id.0, header.producer_epoch.0)).or_default();
            let (first, last) = (header.base_sequence, header.last_sequence());
            if let Some(same) = known.iter().find(|known| (known.0, known.1) == (first, last)) {
                return Ok(same.2);
            }
            if first != known.last().map_or(0, |known| known.1 + 1) {
                return Err(ErrorCode::OutOfOrderSequenceNumber);
            }
            known.push((first, last, self.end));
        }
        let base = self.end;
        self.end += i64::from(header.record_count);
        let mut bytes = BytesMut::from(&records[..]);
        record::assign(&mut bytes, Offset(base), LeaderEpoch(self.epoch), None).unwrap();
        self.log.push(bytes.freeze());
        Ok(base)
    }

    fn produce(&mut self, node: i32, request: &ProduceRequest) -> Option<ProduceResponse> {
        let records = request.topic_data[0].partition_data[0].records.clone().unwrap();
        let fault = self.faults.pop_front();
        if let Some(Fault::MoveLeader) = fault {
            self.leader = 3 - self.leader;
            self.epoch += 1;
        }
        let outcome = match fault {
            Some(Fault::Drop) => return None,
            Some(Fault::Refuse(code)) => Err(code),
            _ if node != self.leader => Err(ErrorCode::NotLeaderOrFollower),
            Some(Fault::AppendAndSay(code)) => self.append(&records).and(Err(code)),
            Some(Fault::AppendAndDrop) => {
                let _ = self.append(&records);
                return None;
            }
            Some(Fault::MoveLeader) | None => self.append(&records),
        };
        let partition = PartitionProduceResponse {
            error_code: outcome.err().map_or(0, ErrorCode::code),
            base_offset: outcome.unwrap_or(-1),
            ..Default::default()
        };
        Some(ProduceResponse {
            responses: vec![TopicProduceResponse {
                topic_id: request.topic_data[0].topic_id,
                partition_responses: vec![partition],
                ..Default::default()
            }],
            ..Default::default()
        })
    }

    fn fetch(&self, node: i32, request: &FetchRequest) -> FetchResponse {
        let asked = &request.topics[0].partitions[0];
        let from = asked.fetch_offset;
        let code = if node != self.leader {
            ErrorCode::NotLeaderOrFollower
        } else if from > self.end {
            ErrorCode::OffsetOutOfRange
        } else {
            ErrorCode::None
        };
        let mut records = BytesMut::new();
        if code.is_none() {
            let parsed = self.log.iter().map(|bytes| (record::batches(bytes).next(), bytes));
            let wanted = parsed.filter(|(batch, _)| {
                batch.as_ref().unwrap().as_ref().unwrap().header.next_offset().0 > from
            });
            for (_, bytes) in wanted.take(3) {
                records.extend_from_slice(bytes);
            }
            // As a broker does: the size limit cuts the last batch off.
            if let Some(next) = self.log.last().filter(|_| !records.is_empty()) {
                records.extend_from_slice(&next[..next.len() / 2]);
            }
        }
        FetchResponse {
            responses: vec![FetchableTopicResponse {
                topic_id: request.topics[0].topic_id,
                partitions: vec![PartitionData {
                    error_code: code.code(),
                    high_watermark: self.end,
                    records: Some(records.freeze()),
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn metadata(&self) -> MetadataResponse {
        let brokers = self.nodes.iter().map(|(&node_id, address)| MetadataResponseBroker {
            node_id,
            host: address.host.as_str().into(),
            port: i32::from(address.port),
            ..Default::default()
        });
        MetadataResponse {
            brokers: brokers.collect(),
            topics: vec![MetadataResponseTopic {
                name: Some(TOPIC.into()),
                topic_id: uuid::Uuid::from_u128(7),
                partitions: vec![MetadataResponsePartition {
                    leader_id: self.leader,
                    leader_epoch: self.epoch,
                    replica_nodes: vec![1, 2],
                    isr_nodes: vec![1, 2],
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        }
    }
}

struct Node {
    id: i32,
    state: Arc<Mutex<State>>,
}

fn read<R: Request>(header: &RequestHeader, body: Bytes) -> R {
    R::decode(&mut Reader::new(body), header.api_version).unwrap()
}

fn write(header: &RequestHeader, response: &impl Message) -> Answer {
    let mut writer = Writer::new();
    let api = ApiKey::from_i16(header.api_key).unwrap();
    encode_response_header(api, header.api_version, header.correlation_id, &mut writer);
    response.encode(&mut writer, header.api_version).unwrap();
    Answer::Response(writer.into_parts())
}

fn versions() -> ApiVersionsResponse {
    fn row<R: Request>() -> ApiVersion {
        let (min_version, max_version) = (*R::VERSIONS.start(), *R::VERSIONS.end());
        ApiVersion { api_key: R::API.code(), min_version, max_version }
    }
    ApiVersionsResponse {
        api_keys: vec![
            row::<ApiVersionsRequest>(),
            row::<MetadataRequest>(),
            row::<ProduceRequest>(),
            row::<FetchRequest>(),
            row::<ListOffsetsRequest>(),
            row::<InitProducerIdRequest>(),
        ],
        ..Default::default()
    }
}

impl Service for Node {
    fn handle(
        &self,
        _: Arc<RequestContext>,
        header: RequestHeader,
        body: Bytes,
    ) -> BoxFuture<'static, Handled> {
        let mut state = self.state.lock();
        let answer = match ApiKey::from_i16(header.api_key).unwrap() {
            ApiKey::ApiVersions => write(&header, &versions()),
            ApiKey::Metadata => write(&header, &state.metadata()),
            ApiKey::InitProducerId => {
                state.producers += 1;
                let producer_id = state.producers;
                write(&header, &InitProducerIdResponse { producer_id, ..Default::default() })
            }
            ApiKey::Produce => {
                let request = read::<ProduceRequest>(&header, body);
                match state.produce(self.id, &request) {
                    _ if request.acks == 0 => Answer::None,
                    Some(response) => write(&header, &response),
                    None => Answer::Close("the script says so".to_owned()),
                }
            }
            ApiKey::Fetch => {
                let request = read::<FetchRequest>(&header, body);
                let response = state.fetch(self.id, &request);
                let answer = write(&header, &response);
                let is_empty =
                    response.responses[0].partitions[0].records.as_ref().unwrap().is_empty();
                if is_empty {
                    let wait = Duration::from_millis(request.max_wait_ms.unsigned_abs().into());
                    let later = async move {
                        tokio::time::sleep(wait).await;
                        answer
                    };
                    return Box::pin(async { Handled::Later(Box::pin(later)) });
                }
                answer
            }
            ApiKey::ListOffsets => {
                let request = read::<ListOffsetsRequest>(&header, body);
                let is_latest = request.topics[0].partitions[0].timestamp == -1;
                let partition = ListOffsetsPartitionResponse {
                    offset: if is_latest { state.end } else { 0 },
                    ..Default::default()
                };
                let topics = vec![ListOffsetsTopicResponse {
                    name: TOPIC.into(),
                    partitions: vec![partition],
                }];
                write(&header, &ListOffsetsResponse { topics, ..Default::default() })
            }
            other => panic!("{other:?} is not in the script"),
        };
        Box::pin(async { Handled::Now(answer) })
    }
}

struct Script {
    state: Arc<Mutex<State>>,
    servers: Vec<Server>,
}

impl Script {
    async fn start(faults: &[Fault]) -> Self {
        let state = Arc::new(Mutex::new(State {
            leader: 1,
            max_batch_bytes: usize::MAX,
            faults: faults.iter().copied().collect(),
            ..State::default()
        }));
        let mut servers = Vec::new();
        for id in [1, 2] {
            let listener = TcpNetwork.bind(&HostPort::new("127.0.0.1", 0)).await.unwrap();
            let address = HostPort::from(listener.local_addr().unwrap());
            state.lock().nodes.insert(id, address);
            let server = Server::new(ServerLimits::default(), Arc::new(SystemClock::new()));
            server.listen(
                "PLAINTEXT",
                Class::Limited,
                listener,
                Arc::new(Node { id, state: state.clone() }),
            );
            servers.push(server);
        }
        Self { state, servers }
    }

    async fn cluster(&self) -> Arc<Cluster> {
        let servers: Vec<String> =
            self.state.lock().nodes.values().map(HostPort::to_string).collect();
        let mut options = ClusterOptions::new(&servers.join(","), "test").unwrap();
        options.retry_backoff = Duration::from_millis(1);
        Cluster::connect(options).await.unwrap()
    }

    /// Sends records with the values 0, 1, 2... and gives the tokens that arrived and those that
    /// were lost.
    async fn produce(&self, count: u64, settings: &[&str]) -> (Vec<u64>, Vec<u64>) {
        let mut pairs: Vec<String> = settings.iter().map(|pair| (*pair).to_owned()).collect();
        pairs.extend(["batch.size=100", "retry.backoff.ms=1"].map(str::to_owned));
        let properties = Properties::from_pairs(&pairs).unwrap();
        let options = ProducerOptions::from_properties(&properties).unwrap();
        let told: Arc<Mutex<(Vec<u64>, Vec<u64>)>> = Arc::default();
        let sink = told.clone();
        let sink = Box::new(move |delivery: Delivery| {
            let mut told = sink.lock();
            let to = if delivery.outcome.is_ok() { &mut told.0 } else { &mut told.1 };
            to.extend(delivery.tokens);
        });
        let mut producer = Producer::new(self.cluster().await, options, sink);
        let topic = TopicName::from(TOPIC);
        let all = async {
            for token in 0..count {
                let value = Some(Bytes::from(token.to_string()));
                let record = ProducerRecord { value, token, ..ProducerRecord::default() };
                producer.send(&topic, record).await.unwrap();
            }
            producer.close().await;
        };
        tokio::time::timeout(PATIENCE, all).await.expect("the records to be sent in 30 s");
        let told = told.lock();
        (told.0.clone(), told.1.clone())
    }

    /// The values in the log.
    fn stored(&self) -> Vec<u64> {
        let state = self.state.lock();
        let batches = state.log.iter().flat_map(record::batches);
        let records = batches.flat_map(|batch| batch.unwrap().records().unwrap());
        records.map(|record| number(&record.value.unwrap())).collect()
    }

    async fn consumer(&self, start: Start, settings: &[&str]) -> Consumer {
        let mut pairs: Vec<String> = settings.iter().map(|pair| (*pair).to_owned()).collect();
        pairs.extend(["retry.backoff.ms=1", "fetch.max.wait.ms=20"].map(str::to_owned));
        let options =
            ConsumerOptions::from_properties(&Properties::from_pairs(&pairs).unwrap()).unwrap();
        let assignment = vec![(TopicPartition::new(TOPIC, 0), start)];
        Consumer::start(self.cluster().await, options, assignment).await.unwrap()
    }

    async fn end(self) {
        for server in self.servers {
            server.shutdown(Duration::ZERO).await;
        }
    }
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

async fn next(consumer: &mut Consumer) -> (i64, u64) {
    let record = tokio::time::timeout(PATIENCE, consumer.next()).await;
    let record = record.expect("a record in 30 s").unwrap();
    (record.offset.0, number(&record.value.unwrap()))
}

#[tokio::test]
async fn an_idempotent_producer_stores_everything_once_and_in_order_whatever_fails() {
    use ErrorCode as Code;
    let faults = [
        Fault::Refuse(Code::NotEnoughReplicas),
        Fault::AppendAndSay(Code::RequestTimedOut),
        Fault::AppendAndSay(Code::NotEnoughReplicasAfterAppend),
        Fault::Drop,
        Fault::AppendAndDrop,
        Fault::MoveLeader,
    ];
    // Every fault alone, and then all of them at several distances.
    let mut scripts: Vec<Vec<Fault>> = faults.iter().map(|&fault| vec![fault]).collect();
    for distance in 0..4 {
        let mut script = Vec::new();
        for fault in faults {
            script.push(fault);
            script.extend(std::iter::repeat_n(Fault::AppendAndSay(Code::None), distance));
        }
        scripts.push(script);
    }
    for script in scripts {
        let broker = Script::start(&script).await;
        let (mut delivered, lost) = broker.produce(200, &[]).await;
        let all: Vec<u64> = (0..200).collect();
        assert_eq!(broker.stored(), all, "{script:?}");
        // A batch that is sent again may be told after one that followed it.
        delivered.sort_unstable();
        assert_eq!(delivered, all, "{script:?}");
        assert_eq!(lost, [0; 0], "{script:?}");
        broker.end().await;
    }
}

#[tokio::test]
async fn without_idempotence_nothing_is_lost_either() {
    for settings in [&["acks=1"][..], &["enable.idempotence=false"], &["acks=0"]] {
        let broker = Script::start(&[]).await;
        let (delivered, _) = broker.produce(200, settings).await;
        assert_eq!(delivered.len(), 200, "{settings:?}");
        tokio::time::timeout(PATIENCE, async {
            while broker.stored().len() < 200 {
                tokio::task::yield_now().await;
            }
        })
        .await
        .expect("200 records in the log in 30 s");
        assert_eq!(broker.stored(), (0..200).collect::<Vec<u64>>(), "{settings:?}");
        broker.end().await;
    }
}

#[tokio::test]
async fn a_record_that_is_refused_for_good_is_told_and_the_others_go_on() {
    let broker = Script::start(&[Fault::Refuse(ErrorCode::InvalidRecord)]).await;
    let (delivered, lost) = broker.produce(200, &[]).await;
    assert!(!lost.is_empty());
    assert_eq!(delivered.len() + lost.len(), 200);
    assert_eq!(broker.stored(), delivered);
    assert!(broker.stored().is_sorted());
    broker.end().await;
}

#[tokio::test]
async fn batches_that_are_too_large_are_split_until_they_fit() {
    let broker = Script::start(&[]).await;
    broker.state.lock().max_batch_bytes = 85;
    let (delivered, lost) = broker.produce(50, &["batch.size=1000"]).await;
    assert_eq!(lost, [0; 0]);
    assert_eq!(delivered, (0..50).collect::<Vec<u64>>());
    assert_eq!(broker.stored(), (0..50).collect::<Vec<u64>>());
    broker.state.lock().max_batch_bytes = 10;
    let (_, lost) = broker.produce(3, &[]).await;
    assert_eq!(lost, [0, 1, 2]);
    broker.end().await;
}

#[tokio::test]
async fn a_record_that_cannot_be_acknowledged_is_given_up_in_time() {
    let faults = vec![Fault::Refuse(ErrorCode::NotEnoughReplicas); 100_000];
    let broker = Script::start(&faults).await;
    let settings = ["delivery.timeout.ms=50", "request.timeout.ms=20", "linger.ms=0"];
    let (delivered, lost) = broker.produce(1, &settings).await;
    assert_eq!((delivered.len(), lost.len()), (0, 1));
    broker.end().await;
}

#[tokio::test]
async fn a_consumer_reads_every_record_once_and_follows_the_leader() {
    let broker = Script::start(&[]).await;
    broker.produce(200, &[]).await;
    let mut consumer = broker.consumer(Start::Earliest, &[]).await;
    for expected in 0..200 {
        if expected == 100 {
            let mut state = broker.state.lock();
            state.leader = 2;
            state.epoch += 1;
        }
        assert_eq!(next(&mut consumer).await, (expected, expected as u64));
    }
    let mut middle = broker.consumer(Start::At(Offset(150)), &[]).await;
    assert_eq!(next(&mut middle).await, (150, 150));
    broker.end().await;
}

#[tokio::test]
async fn the_latest_offset_means_what_comes_next() {
    let broker = Script::start(&[]).await;
    broker.produce(10, &[]).await;
    let mut consumer = broker.consumer(Start::Latest, &[]).await;
    broker.produce(1, &[]).await;
    assert_eq!(next(&mut consumer).await, (10, 0));
    broker.end().await;
}

#[tokio::test]
async fn a_position_that_is_not_in_the_log_is_reset_or_refused() {
    let broker = Script::start(&[]).await;
    broker.produce(10, &[]).await;
    let beyond = Start::At(Offset(99));
    let mut consumer = broker.consumer(beyond, &["auto.offset.reset=earliest"]).await;
    assert_eq!(next(&mut consumer).await, (0, 0));
    let mut consumer = broker.consumer(beyond, &["auto.offset.reset=none"]).await;
    let failure = tokio::time::timeout(PATIENCE, consumer.next()).await.unwrap().unwrap_err();
    assert_eq!(failure.code(), Some(ErrorCode::OffsetOutOfRange));
    broker.end().await;
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_named_with_what_to_do() {
    let listener = TcpNetwork.bind(&HostPort::new("127.0.0.1", 0)).await.unwrap();
    let address = HostPort::from(listener.local_addr().unwrap()).to_string();
    drop(listener);
    let options = ClusterOptions::new(&address, "test").unwrap();
    let text = Cluster::connect(options).await.unwrap_err().to_string();
    assert!(text.contains(&address) && text.contains("ottla dev"), "{text}");
}
