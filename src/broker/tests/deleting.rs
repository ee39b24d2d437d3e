//! What a node answers to those who delete records (KIP-107).

use std::time::Duration;

use super::world::Node;
use crate::net::client::Connection;
use crate::protocol::messages::create_topics::{
    CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use crate::protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsTopic,
};
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use crate::protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use crate::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use crate::record::BatchBuilder;
use crate::types::clock::SystemClock;
use crate::types::{Clock, ErrorCode, Offset};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

async fn create(connection: &Connection, name: &str, policy: &str) {
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: 2,
        replication_factor: 1,
        configs: vec![CreatableTopicConfig {
            name: "cleanup.policy".into(),
            value: Some(policy.into()),
        }],
        ..Default::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 10_000, ..Default::default() };
    let answer = connection.call(&request).await.unwrap();
    assert_eq!(answer.topics[0].error_code, 0, "{:?}", answer.topics[0].error_message);
}

/// Ten records into partition 0, once it is led.
async fn fill(connection: &Connection, topic: &str) {
    let name = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
    let metadata = MetadataRequest { topics: Some(vec![name]), ..Default::default() };
    let topic_id = connection.call(&metadata).await.unwrap().topics[0].topic_id;
    let mut batch = BatchBuilder::new(Offset::ZERO);
    for _ in 0..10 {
        batch.push(SystemClock::new().wall(), Some(b"key"), Some(b"value"), &[]).unwrap();
    }
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 10_000,
        topic_data: vec![TopicProduceData {
            topic_id,
            partition_data: vec![PartitionProduceData {
                index: 0,
                records: Some(batch.build().unwrap()),
            }],
            ..Default::default()
        }],
        ..Default::default()
    };
    let filled = async {
        let error = |code: i16| code != ErrorCode::None.code();
        while error(
            connection.call(&request).await.unwrap().responses[0].partition_responses[0].error_code,
        ) {}
    };
    tokio::time::timeout(PATIENCE, filled).await.expect("waited for the topic's leader");
}

/// Each partition's low watermark and error.
async fn delete(
    connection: &Connection,
    topic: &str,
    partitions: &[(i32, i64)],
) -> Vec<(i64, i16)> {
    let partitions = partitions
        .iter()
        .map(|&(partition_index, offset)| DeleteRecordsPartition { partition_index, offset });
    let topic = DeleteRecordsTopic { name: topic.into(), partitions: partitions.collect() };
    let request = DeleteRecordsRequest { topics: vec![topic], timeout_ms: 10_000 };
    let answer = connection.call(&request).await.unwrap();
    let results = answer.topics[0].partitions.iter();
    results.map(|result| (result.low_watermark, result.error_code)).collect()
}

async fn earliest(connection: &Connection, topic: &str) -> i64 {
    let partition =
        ListOffsetsPartition { partition_index: 0, current_leader_epoch: -1, timestamp: -2 };
    let topic = ListOffsetsTopic { name: topic.into(), partitions: vec![partition] };
    let request = ListOffsetsRequest { replica_id: -1, topics: vec![topic], ..Default::default() };
    connection.call(&request).await.unwrap().topics[0].partitions[0].offset
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_are_deleted_where_that_is_allowed_and_each_partition_is_answered() {
    let node = Node::start().await;
    let connection = node.connect().await;
    create(&connection, "orders", "delete").await;
    create(&connection, "latest", "compact").await;
    fill(&connection, "orders").await;
    fill(&connection, "latest").await;

    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    let out_of_range = ErrorCode::OffsetOutOfRange.code();
    let asked = [(0, 3), (1, 1), (7, 0), (0, -5)];
    let answer = delete(&connection, "orders", &asked).await;
    assert_eq!(answer, [(3, 0), (-1, out_of_range), (-1, unknown), (-1, out_of_range)]);
    assert_eq!(earliest(&connection, "orders").await, 3);
    assert_eq!(delete(&connection, "orders", &[(0, -1), (1, -1)]).await, [(10, 0), (0, 0)]);
    assert_eq!(earliest(&connection, "orders").await, 10);

    let policy = ErrorCode::PolicyViolation.code();
    assert_eq!(delete(&connection, "latest", &[(0, 1)]).await, [(-1, policy)]);
    assert_eq!(delete(&connection, "nowhere", &[(0, 1)]).await, [(-1, unknown)]);
    let internal = ErrorCode::InvalidTopicException.code();
    assert_eq!(delete(&connection, "__consumer_offsets", &[(0, 1)]).await, [(-1, internal)]);
    node.stop().await;
}
