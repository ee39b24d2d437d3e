//! What a node answers to those who form groups.

use super::world::Node;
use crate::net::client::Connection;
use crate::protocol::messages::find_coordinator::FindCoordinatorRequest;
use crate::protocol::messages::join_group::JoinGroupRequest;
use crate::protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use crate::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use crate::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use crate::record::BatchBuilder;
use crate::types::{ErrorCode, Offset, TimestampMs};

fn metadata_of(name: &str) -> MetadataRequest {
    let topic = MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
    MetadataRequest {
        topics: Some(vec![topic]),
        allow_auto_topic_creation: true,
        ..Default::default()
    }
}

fn find(keys: &[&str], key_type: i8) -> FindCoordinatorRequest {
    let coordinator_keys = keys.iter().map(|key| (*key).into()).collect();
    FindCoordinatorRequest { key_type, coordinator_keys, ..Default::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_question_for_a_coordinator_makes_the_topic_of_the_groups() {
    let node = Node::start().await;
    let connection = node.connect().await;
    let found = connection.call(&find(&["one", "two", ""], 0)).await.unwrap();
    let keys: Vec<&str> = found.coordinators.iter().map(|it| it.key.as_str()).collect();
    assert_eq!(keys, ["one", "two", ""]);
    for it in &found.coordinators {
        let address = (it.node_id, it.host.as_str(), it.port);
        assert_eq!((it.error_code, address), (0, (1, "1", 9092)));
    }
    for version in 0..=3 {
        let request = FindCoordinatorRequest { key: "one".into(), ..Default::default() };
        let it = connection.call_at(version, &request).await.unwrap();
        let address = (it.node_id, it.host.as_str(), it.port);
        assert_eq!((it.error_code, address), (0, (1, "1", 9092)), "version {version}");
    }
    for not_served in [1, 2, 7] {
        let found = connection.call(&find(&["one"], not_served)).await.unwrap();
        let it = &found.coordinators[0];
        assert_eq!((it.error_code, it.node_id), (ErrorCode::InvalidRequest.code(), -1));
    }
    let topic = &connection.call(&metadata_of("__consumer_offsets")).await.unwrap().topics[0];
    assert_eq!((topic.error_code, topic.is_internal, topic.partitions.len()), (0, true, 50));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_do_not_write_to_the_topic_of_the_groups() {
    let node = Node::start().await;
    let connection = node.connect().await;
    let topic =
        connection.call(&metadata_of("__consumer_offsets")).await.unwrap().topics[0].clone();
    let mut batch = BatchBuilder::new(Offset::ZERO);
    batch.push(TimestampMs(1), Some(b"key"), Some(b"value"), &[]).unwrap();
    let data = PartitionProduceData { index: 0, records: Some(batch.build().unwrap()) };
    let produce = ProduceRequest {
        acks: -1,
        timeout_ms: 1_000,
        topic_data: vec![TopicProduceData {
            name: "__consumer_offsets".into(),
            topic_id: topic.topic_id,
            partition_data: vec![data],
        }],
        ..Default::default()
    };
    let answer = connection.call(&produce).await.unwrap();
    let error = answer.responses[0].partition_responses[0].error_code;
    assert_eq!(error, ErrorCode::InvalidTopicException.code());
    node.stop().await;
}

fn commit(topic_id: uuid::Uuid, offset: i64) -> OffsetCommitRequest {
    let partition = OffsetCommitRequestPartition {
        partition_index: 0,
        committed_offset: offset,
        committed_metadata: Some("note".into()),
        ..Default::default()
    };
    OffsetCommitRequest {
        group_id: "lonely".into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            topic_id,
            partitions: vec![partition],
            ..Default::default()
        }],
        ..Default::default()
    }
}

async fn committed(connection: &Connection, topic_id: uuid::Uuid) -> (i16, i64) {
    let topic =
        OffsetFetchRequestTopics { topic_id, partition_indexes: vec![0], ..Default::default() };
    let group = OffsetFetchRequestGroup {
        group_id: "lonely".into(),
        member_epoch: -1,
        topics: Some(vec![topic]),
        ..Default::default()
    };
    let request = OffsetFetchRequest { groups: vec![group], ..Default::default() };
    let answer = connection.call(&request).await.unwrap();
    let group = &answer.groups[0];
    assert_eq!(group.error_code, 0);
    let partition = &group.topics[0].partitions[0];
    (partition.error_code, partition.committed_offset)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_committed_is_found_again() {
    let node = Node::start().await;
    let connection = node.connect().await;
    let topic_id = connection.call(&metadata_of("orders")).await.unwrap().topics[0].topic_id;
    connection.call(&find(&["lonely"], 0)).await.unwrap();
    let load = ErrorCode::CoordinatorLoadInProgress.code();
    let mut error = load;
    while error == load {
        let answer = connection.call(&commit(topic_id, 7)).await.unwrap();
        error = answer.topics[0].partitions[0].error_code;
    }
    assert_eq!(error, 0);
    assert_eq!(committed(&connection, topic_id).await, (0, 7));
    let unknown = uuid::Uuid::from_u128(9);
    let answer = connection.call(&commit(unknown, 7)).await.unwrap();
    let error = ErrorCode::UnknownTopicId.code();
    assert_eq!(answer.topics[0].partitions[0].error_code, error);
    assert_eq!(committed(&connection, unknown).await, (error, -1));
    let nameless = JoinGroupRequest { protocol_type: "consumer".into(), ..Default::default() };
    let answer = connection.call(&nameless).await.unwrap();
    assert_eq!(answer.error_code, ErrorCode::InvalidGroupId.code());
    node.stop().await;
}
