//! What a node answers to those who form groups.

use super::world::Node;
use std::time::{Duration, Instant};

use crate::coordinator::group::rebalance::RebalanceCause;
use crate::coordinator::{history, partition_of};
use crate::metadata::topic_name::GROUP_HISTORY;
use crate::net::client::Connection;
use crate::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use crate::protocol::messages::find_coordinator::FindCoordinatorRequest;
use crate::protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use crate::protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use crate::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use crate::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use crate::protocol::messages::sync_group::SyncGroupRequest;
use crate::record::{BatchBuilder, batches};
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

/// A member's way into `group`: its id and generation.
async fn join(connection: &Connection, group: &str) -> (String, i32) {
    connection.call(&find(&[group], 0)).await.unwrap();
    let protocol = JoinGroupRequestProtocol { name: "any".into(), ..Default::default() };
    let mut request = JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "testing".into(),
        protocols: vec![protocol],
        reason: Some("it was time".into()),
        ..Default::default()
    };
    loop {
        let answer = connection.call(&request).await.unwrap();
        match ErrorCode::from_code(answer.error_code).unwrap() {
            ErrorCode::None => return (answer.member_id.to_string(), answer.generation_id),
            ErrorCode::MemberIdRequired => request.member_id = answer.member_id,
            ErrorCode::CoordinatorLoadInProgress | ErrorCode::NotCoordinator => {}
            other => panic!("{other:?}"),
        }
    }
}

/// The first record of the partition that has the history of `group`, once there is one.
async fn first_remembered(connection: &Connection, group: &str) -> history::Remembered {
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(60) {
        let request = FetchRequest {
            max_wait_ms: 500,
            min_bytes: 1,
            max_bytes: 1 << 20,
            topics: vec![FetchTopic {
                topic: GROUP_HISTORY.into(),
                partitions: vec![FetchPartition {
                    partition: partition_of(group, 8).unwrap().0,
                    partition_max_bytes: 1 << 20,
                    ..Default::default()
                }],
                ..Default::default()
            }],
            ..Default::default()
        };
        let answer = connection.call_at(12, &request).await.unwrap();
        let partition = answer.responses.first().and_then(|topic| topic.partitions.first());
        let bytes = partition.and_then(|partition| partition.records.clone()).unwrap_or_default();
        if let Some(batch) = batches(&bytes).next() {
            let record = batch.unwrap().records().unwrap().remove(0);
            return history::decode(record.key.unwrap(), record.value.unwrap()).unwrap();
        }
    }
    panic!("waited a minute for a record of {GROUP_HISTORY}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_rebalance_is_remembered() {
    let node = Node::start().await;
    let connection = node.connect().await;
    let (member_id, generation_id) = join(&connection, "g").await;
    let sync = SyncGroupRequest {
        group_id: "g".into(),
        generation_id,
        member_id: member_id.as_str().into(),
        protocol_type: Some("testing".into()),
        protocol_name: Some("any".into()),
        ..Default::default()
    };
    assert_eq!(connection.call(&sync).await.unwrap().error_code, 0);
    let remembered = first_remembered(&connection, "g").await.rebalance;
    assert_eq!((&*remembered.group, remembered.generation, remembered.members), ("g", 1, 1));
    assert_eq!(remembered.cause, RebalanceCause::MemberJoined);
    assert_eq!(remembered.member.as_deref(), Some(&*member_id));
    assert_eq!(remembered.reason, "it was time");
    let topic = &connection.call(&metadata_of(GROUP_HISTORY)).await.unwrap().topics[0];
    assert_eq!((topic.is_internal, topic.partitions.len()), (true, 8));
    node.stop().await;
}
