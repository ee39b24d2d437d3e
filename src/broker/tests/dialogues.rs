//! What a node answers to those who talk to it.

use std::collections::BTreeSet;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

use super::world::Node;
use crate::net::HostPort;
use crate::protocol::messages::api_versions::ApiVersionsResponse;
use crate::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchResponse, FetchTopic};
use crate::protocol::messages::init_producer_id::InitProducerIdRequest;
use crate::protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use crate::protocol::{ApiKey, Message};
use crate::types::ErrorCode;

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

/// A request with a header and nothing behind it.
fn frame(api_key: i16, version: i16) -> Vec<u8> {
    let mut header = Vec::new();
    header.extend(api_key.to_be_bytes());
    header.extend(version.to_be_bytes());
    header.extend(7_i32.to_be_bytes());
    header.extend((-1_i16).to_be_bytes());
    if version > 4 {
        // No tagged fields.
        header.push(0);
    }
    let mut frame = u32::try_from(header.len()).unwrap().to_be_bytes().to_vec();
    frame.extend(header);
    frame
}

/// What comes back on `port` before the connection ends, at most one frame of it.
async fn exchange(node: &Node, port: u16, sent: &[u8]) -> Vec<u8> {
    let talking = async {
        let address = HostPort::new("1", port);
        let mut stream = node.seams.network.connect(&address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        let mut length = [0; 4];
        if stream.read_exact(&mut length).await.is_err() {
            return Vec::new();
        }
        let mut body = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut body).await.unwrap();
        body
    };
    tokio::time::timeout(PATIENCE, talking).await.expect("waited for an answer or an end")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_versions_are_refused_and_those_of_api_versions_explained() {
    let node = Node::start().await;
    for port in [9092, 9093] {
        for version in [5, 99, i16::MAX, -1] {
            let answer = exchange(&node, port, &frame(18, version)).await;
            assert_eq!(answer[..4], 7_i32.to_be_bytes(), "{port} {version}");
            let body = bytes::Bytes::from(answer).slice(4..);
            let response = ApiVersionsResponse::decode_all(body, 0).unwrap();
            assert_eq!(response.error_code, ErrorCode::UnsupportedVersion.code());
            let itself = response.api_keys.iter().find(|api| api.api_key == 18).unwrap();
            assert_eq!((itself.min_version, itself.max_version), (0, 4), "{port} {version}");
        }
    }
    // Port, API, version: refused by the end of the connection.
    let alien = [(9092, 999, 0), (9092, -1, 0), (9092, 4, 0), (9092, 3, 99), (9092, 1, 3)];
    let no_data_on_controllers = [ApiKey::Produce, ApiKey::Fetch, ApiKey::ListOffsets];
    let no_data_on_controllers = no_data_on_controllers.map(|api| (9093, api as i16, 4));
    for (port, api, version) in alien.into_iter().chain(no_data_on_controllers) {
        let answer = exchange(&node, port, &frame(api, version)).await;
        assert!(answer.is_empty(), "{port} {api} {version}: {answer:?}");
    }
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_two_producers_get_the_same_id() {
    let node = Node::start().await;
    let connection = node.connect().await;
    let request = InitProducerIdRequest { producer_id: -1, ..Default::default() };
    let mut ids = BTreeSet::new();
    // More than the controller gives to a broker at a time.
    for _ in 0..1_200 {
        let answer = connection.call(&request).await.unwrap();
        assert_eq!((answer.error_code, answer.producer_epoch), (0, 0));
        assert!(ids.insert(answer.producer_id), "{} twice", answer.producer_id);
    }
    for (transactional_id, error) in
        [("", ErrorCode::InvalidRequest), ("t", ErrorCode::UnsupportedVersion)]
    {
        let request = InitProducerIdRequest {
            transactional_id: Some(transactional_id.into()),
            ..request.clone()
        };
        let answer = connection.call(&request).await.unwrap();
        assert_eq!((answer.error_code, answer.producer_id), (error.code(), -1));
    }
    node.stop().await;
}

fn metadata_of(name: &str, allow_auto_topic_creation: bool) -> MetadataRequest {
    let topic = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
    MetadataRequest { topics: Some(vec![topic]), allow_auto_topic_creation, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_that_a_crowd_asks_for_is_created_once() {
    let node = Node::start().await;
    let (one, other) = (node.connect().await, node.connect().await);
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    let answer = one.call(&metadata_of("orders", false)).await.unwrap();
    assert_eq!(answer.topics[0].error_code, unknown, "not created unasked");
    let wanted = metadata_of("orders", true);
    let (first, second) = tokio::join!(one.call(&wanted), other.call(&wanted));
    assert!(first.is_ok() && second.is_ok());
    let found = one.call(&metadata_of("orders", false)).await.unwrap();
    assert_eq!((found.topics[0].error_code, found.topics[0].partitions.len()), (0, 3));
    let refused = one.call(&metadata_of("no/name", true)).await.unwrap();
    assert_eq!(refused.topics[0].error_code, ErrorCode::InvalidTopicException.code());
    node.stop().await;
}

fn fetch_of(topic_ids: &[Uuid], session_id: i32, session_epoch: i32) -> FetchRequest {
    let topic = |topic_id: &Uuid| FetchTopic {
        topic_id: *topic_id,
        partitions: vec![FetchPartition { partition_max_bytes: 1000, ..Default::default() }],
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms: if session_epoch == -1 { 0 } else { 60_000 },
        min_bytes: 1,
        max_bytes: 1000,
        session_id,
        session_epoch,
        topics: topic_ids.iter().map(topic).collect(),
        ..Default::default()
    }
}

/// The errors of the whole and of each partition.
fn errors(response: &FetchResponse) -> (i16, Vec<i16>) {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    (response.error_code, partitions.map(|partition| partition.error_code).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unknown_topic_id_is_told_at_once_and_never_enters_a_session() {
    let node = Node::start().await;
    let connection = node.connect().await;
    connection.call(&metadata_of("orders", true)).await.unwrap();
    let found = connection.call(&metadata_of("orders", false)).await.unwrap();
    let (known, unknown) = (found.topics[0].topic_id, Uuid::from_u128(1));
    let unknown_id = ErrorCode::UnknownTopicId.code();

    let leads = async {
        while errors(&connection.call(&fetch_of(&[known], 0, -1)).await.unwrap()).1 != [0] {}
    };
    tokio::time::timeout(PATIENCE, leads).await.expect("waited for the topic's leader");

    // Although it would wait a minute for records.
    let asked = fetch_of(&[known, unknown], 0, 0);
    let asking = tokio::time::timeout(PATIENCE / 2, connection.call(&asked));
    let answer = asking.await.expect("waited for an answer that should come at once").unwrap();
    assert_eq!(errors(&answer), (0, vec![0, unknown_id]));
    assert_eq!(answer.session_id, 0, "no session without it");

    let mut asked = fetch_of(&[known], 0, 0);
    asked.max_wait_ms = 0;
    let answer = connection.call(&asked).await.unwrap();
    assert_eq!(errors(&answer), (0, vec![0]));
    assert_ne!(answer.session_id, 0);
    let answer = connection.call(&fetch_of(&[unknown], answer.session_id, 1)).await.unwrap();
    assert_eq!(errors(&answer), (ErrorCode::FetchSessionTopicIdError.code(), vec![]));
    node.stop().await;
}
