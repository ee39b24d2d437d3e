//! A node with two disks, of which one fails.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::world::{Node, seams};
use crate::broker::Seams;
use crate::net::client::Connection;
use crate::protocol::messages::alter_replica_log_dirs::{
    AlterReplicaLogDir, AlterReplicaLogDirTopic, AlterReplicaLogDirsRequest,
};
use crate::protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use crate::protocol::messages::describe_log_dirs::{
    DescribableLogDirTopic, DescribeLogDirsRequest, DescribeLogDirsResult,
};
use crate::protocol::messages::metadata::{MetadataRequest, MetadataResponsePartition};
use crate::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use crate::record::BatchBuilder;
use crate::storage::{MemoryDisk, MountedDisks};
use crate::types::clock::SystemClock;
use crate::types::{Clock, ErrorCode, Offset};

/// How long anything may take on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

struct Machine {
    one: MemoryDisk,
    two: MemoryDisk,
    seams: Seams,
}

impl Machine {
    fn new() -> Self {
        Self::with(MemoryDisk::new(), MemoryDisk::new(), seams())
    }

    fn with(one: MemoryDisk, two: MemoryDisk, seams: Seams) -> Self {
        let disk = MountedDisks::new()
            .mount("/one", Arc::new(one.clone()))
            .mount("/two", Arc::new(two.clone()));
        Self { one, two, seams: Seams { disk: Arc::new(disk), ..seams } }
    }

    /// After the process has ended; nothing fails any more.
    fn again(&self) -> Self {
        Self::with(self.one.kill(), self.two.kill(), self.seams.clone())
    }
}

async fn create(connection: &Connection) {
    let topic = CreatableTopic {
        name: "t".into(),
        num_partitions: 4,
        replication_factor: 1,
        ..Default::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    let response = connection.call(&request).await.unwrap();
    assert_eq!(response.topics[0].error_code, 0);
}

/// The error of a produce of one record to a partition of the topic, once that is led.
async fn produce(connection: &Connection, partition: i32) -> ErrorCode {
    let asking = async {
        loop {
            let error = try_produce(connection, partition).await;
            if error != ErrorCode::NotLeaderOrFollower {
                return error;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.expect("waited for the partition to be led")
}

async fn try_produce(connection: &Connection, partition: i32) -> ErrorCode {
    let metadata = connection.call(&MetadataRequest::default()).await.unwrap();
    let topic = metadata.topics.iter().find(|topic| topic.name.as_deref() == Some("t")).unwrap();
    let mut builder = BatchBuilder::new(Offset::ZERO);
    builder.push(SystemClock::new().wall(), None, Some(b"value"), &[]).unwrap();
    let data = PartitionProduceData { index: partition, records: Some(builder.build().unwrap()) };
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: "t".into(),
            topic_id: topic.topic_id,
            partition_data: vec![data],
        }],
        ..Default::default()
    };
    let response = connection.call(&request).await.unwrap();
    ErrorCode::from_code(response.responses[0].partition_responses[0].error_code).unwrap()
}

async fn describe(
    connection: &Connection,
    topics: Option<Vec<DescribableLogDirTopic>>,
) -> Vec<DescribeLogDirsResult> {
    connection.call(&DescribeLogDirsRequest { topics }).await.unwrap().results
}

/// The partitions in a directory, and those of them that are on their way into it.
fn partitions(result: &DescribeLogDirsResult) -> Vec<i32> {
    let all = result.topics.iter().flat_map(|topic| &topic.partitions);
    all.map(|partition| partition.partition_index).collect()
}

async fn registered(connection: &Connection) -> Vec<MetadataResponsePartition> {
    let metadata = connection.call(&MetadataRequest::default()).await.unwrap();
    let topic = metadata.topics.iter().find(|topic| topic.name.as_deref() == Some("t"));
    topic.unwrap().partitions.clone()
}

/// Asks until the partitions are `such`.
async fn until(
    what: &str,
    connection: &Connection,
    such: impl Fn(&[MetadataResponsePartition]) -> bool,
) {
    let asking = async {
        while !such(&registered(connection).await) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("waited for {what}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_lies_where_is_described() {
    let node = Node::start_on(Machine::new().seams).await;
    let connection = node.connect().await;
    create(&connection).await;
    assert_eq!(produce(&connection, 0).await, ErrorCode::None);
    // The topic is registered before all of its logs are made.
    let describing = async {
        loop {
            let all = describe(&connection, None).await;
            if all.iter().flat_map(partitions).count() == 4 {
                break all;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    let all = tokio::time::timeout(PATIENCE, describing).await.expect("four logs");
    let paths: Vec<&str> = all.iter().map(|result| &*result.log_dir).collect();
    assert_eq!(paths, ["/one", "/two"]);
    assert_eq!(all.iter().map(partitions).collect::<Vec<_>>(), [[0, 2], [1, 3]]);
    assert!(all.iter().all(|result| result.error_code == 0 && result.usable_bytes > 0));
    let first = &all[0].topics[0].partitions[0];
    assert!(first.partition_size > 0 && first.offset_lag == 0 && !first.is_future_key);
    let wanted = DescribableLogDirTopic { topic: "t".into(), partitions: vec![3, 9] };
    let some = describe(&connection, Some(vec![wanted])).await;
    assert_eq!(some.iter().map(partitions).collect::<Vec<_>>(), [vec![], vec![3]]);
    let none = describe(&connection, Some(Vec::new())).await;
    assert!(none.len() == 2 && none.iter().all(|result| result.topics.is_empty()));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_disk_fails_and_comes_back_while_the_other_serves() {
    let machine = Machine::new();
    let node = Node::start_on(machine.seams.clone()).await;
    let connection = node.connect().await;
    create(&connection).await;
    for partition in 0..4 {
        assert_eq!(produce(&connection, partition).await, ErrorCode::None);
    }
    machine.two.set_broken(true);
    assert_eq!(produce(&connection, 1).await, ErrorCode::KafkaStorageError);
    let is_lost = |partitions: &[MetadataResponsePartition]| {
        let lost = partitions.iter().filter(|it| it.leader_id == -1 && it.offline_replicas == [1]);
        lost.map(|it| it.partition_index).collect::<Vec<_>>() == [1, 3]
    };
    until("the failed disk's partitions to be offline", &connection, is_lost).await;
    for partition in [0, 2] {
        assert_eq!(produce(&connection, partition).await, ErrorCode::None);
    }
    let described = describe(&connection, None).await;
    let errors: Vec<i16> = described.iter().map(|result| result.error_code).collect();
    assert_eq!(errors, [0, ErrorCode::KafkaStorageError.code()]);
    node.stop().await;

    let machine = machine.again();
    machine.two.set_broken(true);
    let node = Node::start_on(machine.seams.clone()).await;
    let connection = node.connect().await;
    until("the same at the next start", &connection, is_lost).await;
    for partition in [0, 2] {
        assert_eq!(produce(&connection, partition).await, ErrorCode::None);
    }
    let described = describe(&connection, None).await;
    assert_eq!((&*described[1].log_dir, partitions(&described[0])), ("/two", vec![0, 2]));
    node.stop().await;

    let machine = machine.again();
    let node = Node::start_on(machine.seams.clone()).await;
    let connection = node.connect().await;
    let is_back = |partitions: &[MetadataResponsePartition]| {
        partitions.iter().all(|it| it.leader_id == 1 && it.offline_replicas.is_empty())
    };
    until("the disk's partitions to be back", &connection, is_back).await;
    for partition in 0..4 {
        assert_eq!(produce(&connection, partition).await, ErrorCode::None);
    }
    let described = describe(&connection, None).await;
    assert_eq!(described.iter().map(partitions).collect::<Vec<_>>(), [[0, 2], [1, 3]]);
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_clusters_metadata_the_node_stops() {
    let machine = Machine::new();
    let node = Node::start_on(machine.seams.clone()).await;
    let connection = node.connect().await;
    create(&connection).await;
    machine.one.set_broken(true);
    assert_eq!(produce(&connection, 0).await, ErrorCode::KafkaStorageError);
    let reason = node.failed().await;
    assert!(reason.contains("/one") || reason.contains("failed"), "{reason}");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_no_failure() {
    let machine = Machine::new();
    let node = Node::start_on(machine.seams.clone()).await;
    let connection = node.connect().await;
    create(&connection).await;
    assert_eq!(produce(&connection, 1).await, ErrorCode::None);
    machine.two.set_capacity(Some(1));
    let full = async { while produce(&connection, 1).await != ErrorCode::KafkaStorageError {} };
    tokio::time::timeout(PATIENCE, full).await.expect("waited for a refusal");
    assert_eq!(produce(&connection, 0).await, ErrorCode::None);
    machine.two.set_capacity(None);
    let recovered = async {
        while produce(&connection, 1).await != ErrorCode::None {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(PATIENCE, recovered).await.expect("waited for writes to be taken again");
    let described = describe(&connection, None).await;
    assert!(described.iter().all(|result| result.error_code == 0));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replica_moves_to_the_other_disk_on_request() {
    let machine = Machine::new();
    let node = Node::start_on(machine.seams.clone()).await;
    let connection = node.connect().await;
    create(&connection).await;
    assert_eq!(produce(&connection, 0).await, ErrorCode::None);
    let request = |path: &str, partitions: Vec<i32>| AlterReplicaLogDirsRequest {
        dirs: vec![AlterReplicaLogDir {
            path: path.into(),
            topics: vec![AlterReplicaLogDirTopic { name: "t".into(), partitions }],
        }],
    };
    let answer = connection.call(&request("/two", vec![0, 7])).await.unwrap();
    let errors = answer.results[0].partitions.iter().map(|result| result.error_code);
    let unknown = ErrorCode::UnknownTopicOrPartition.code();
    assert_eq!(errors.collect::<Vec<_>>(), [0, unknown]);
    let answer = connection.call(&request("/three", vec![0])).await.unwrap();
    let error = answer.results[0].partitions[0].error_code;
    assert_eq!(error, ErrorCode::LogDirNotFound.code());
    let moved = async {
        loop {
            let described = describe(&connection, None).await;
            let is_future = described[1].topics.iter().flat_map(|topic| &topic.partitions);
            let is_over = is_future.into_iter().all(|partition| !partition.is_future_key);
            if is_over && partitions(&described[1]) == [0, 1, 3] {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, moved).await.expect("waited for the move");
    assert_eq!(produce(&connection, 0).await, ErrorCode::None);
    node.stop().await;
    assert!(machine.seams.disk.exists(Path::new("/two/t-0")));
    let node = Node::start_on(machine.again().seams).await;
    let connection = node.connect().await;
    assert_eq!(produce(&connection, 0).await, ErrorCode::None);
    assert_eq!(partitions(&describe(&connection, None).await[1]), [0, 1, 3]);
    node.stop().await;
}
