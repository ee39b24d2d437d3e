//! What a node answers to those who configure it while it runs, and that it holds at once.

use super::world::Node;
use crate::net::client::Connection;
use crate::protocol::messages::alter_configs::{
    AlterConfigsRequest, AlterConfigsResource as ReplacedResource, AlterableConfig as Replaced,
};
use crate::protocol::messages::create_topics::{CreatableTopic, CreateTopicsRequest};
use crate::protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use crate::protocol::messages::incremental_alter_configs::{
    AlterConfigsResource, AlterableConfig, IncrementalAlterConfigsRequest,
};
use crate::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use crate::record::BatchBuilder;
use crate::types::{ErrorCode, Offset, TimestampMs};

const TOPIC: i8 = 2;
const BROKER: i8 = 4;
const LOGGER: i8 = 8;
const GROUP: i8 = 32;

/// One resource of a request: type, name, and per key its name, operation and value.
type Change<'a> = (i8, &'a str, &'a [(&'a str, i8, Option<&'a str>)]);

fn request(changes: &[Change<'_>], validate_only: bool) -> IncrementalAlterConfigsRequest {
    let resources = changes.iter().map(|(resource_type, name, configs)| AlterConfigsResource {
        resource_type: *resource_type,
        resource_name: (*name).into(),
        configs: configs
            .iter()
            .map(|(name, config_operation, value)| AlterableConfig {
                name: (*name).into(),
                config_operation: *config_operation,
                value: value.map(Into::into),
            })
            .collect(),
    });
    IncrementalAlterConfigsRequest { resources: resources.collect(), validate_only }
}

/// The errors, resource by resource.
async fn alter(connection: &Connection, changes: &[Change<'_>]) -> Vec<(i16, String)> {
    let answer = connection.call(&request(changes, false)).await.unwrap();
    assert_eq!(answer.responses.len(), changes.len());
    let message =
        |text: &Option<crate::protocol::Str>| text.as_deref().unwrap_or_default().to_owned();
    answer.responses.iter().map(|it| (it.error_code, message(&it.error_message))).collect()
}

/// Sets keys of one resource, which must be done.
async fn set(connection: &Connection, resource_type: i8, name: &str, key: &str, value: &str) {
    let done = alter(connection, &[(resource_type, name, &[(key, 0, Some(value))])]).await;
    assert_eq!(done, [(0, String::new())], "{key}={value}");
}

/// A key's value and source.
async fn described(
    connection: &Connection,
    resource_type: i8,
    name: &str,
    key: &str,
) -> (Option<String>, i8) {
    let resource = DescribeConfigsResource {
        resource_type,
        resource_name: name.into(),
        configuration_keys: Some(vec![key.into()]),
    };
    let request = DescribeConfigsRequest { resources: vec![resource], ..Default::default() };
    let answer = connection.call(&request).await.unwrap();
    assert_eq!(answer.results[0].error_code, 0, "{name} {key}");
    let config = &answer.results[0].configs[0];
    (config.value.as_deref().map(str::to_owned), config.config_source)
}

async fn create(connection: &Connection, name: &str) {
    let topic = CreatableTopic {
        name: name.into(),
        num_partitions: 1,
        replication_factor: 1,
        ..Default::default()
    };
    let request =
        CreateTopicsRequest { topics: vec![topic], timeout_ms: 30_000, ..Default::default() };
    let answer = connection.call(&request).await.unwrap();
    assert_eq!(answer.topics[0].error_code, 0);
}

/// What comes of producing one record with a value of so many bytes.
async fn produce(connection: &Connection, topic: &str, bytes: usize) -> ErrorCode {
    let mut batch = BatchBuilder::new(Offset::ZERO);
    batch.push(TimestampMs(1), None, Some(&vec![b'x'; bytes]), &[]).unwrap();
    let records = batch.build().unwrap();
    let request = ProduceRequest {
        acks: -1,
        timeout_ms: 30_000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![PartitionProduceData { index: 0, records: Some(records) }],
            ..Default::default()
        }],
        ..Default::default()
    };
    loop {
        let answer = connection.call_at(12, &request).await.unwrap();
        let code = answer.responses[0].partition_responses[0].error_code;
        let code = ErrorCode::from_code(code).unwrap();
        // The replica takes its role a moment after the topic is there.
        if code != ErrorCode::NotLeaderOrFollower {
            return code;
        }
    }
}

/// Replicas follow the metadata by a moment: produces until the answer is `expected`.
async fn until_produced(connection: &Connection, bytes: usize, expected: ErrorCode) {
    let asking = async { while produce(connection, "t", bytes).await != expected {} };
    let patience = std::time::Duration::from_secs(60);
    let in_time = tokio::time::timeout(patience, asking).await;
    in_time.unwrap_or_else(|_| panic!("waited for {bytes} bytes to be answered {expected:?}"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_changed_is_refused_resource_by_resource() {
    let node = Node::start().await;
    let connection = node.connect().await;
    create(&connection, "t").await;
    let (request, config) = (ErrorCode::InvalidRequest, ErrorCode::InvalidConfig);
    let nothing: &[(&str, i8, Option<&str>)] = &[];
    let changes: Vec<(Change<'_>, ErrorCode, &str)> = vec![
        ((TOPIC, "t", &[("retention.ms", 0, Some("5"))]), ErrorCode::None, ""),
        (
            (TOPIC, "u", &[("retention.ms", 0, Some("5"))]),
            ErrorCode::UnknownTopicOrPartition,
            "'u'",
        ),
        (
            (TOPIC, "v", &[("retention.ms", 0, None)]),
            request,
            "Null value not supported for : retention.ms",
        ),
        (
            (TOPIC, "w", &[("retention.ms", 1, None), ("retention.ms", 1, None)]),
            request,
            "Error due to duplicate config keys",
        ),
        ((TOPIC, "x", &[("retention.ms", 9, Some("5"))]), request, "Unknown operations type 9"),
        ((TOPIC, "y", nothing), request, "Each resource must appear at most once."),
        ((TOPIC, "y", nothing), request, "Each resource must appear at most once."),
        (
            (BROKER, "2", &[("max.connections", 0, Some("5"))]),
            request,
            "Unexpected broker id, expected 1, but received 2",
        ),
        ((BROKER, "one", nothing), request, "Node id must be an integer, but it is: one"),
        (
            (BROKER, "1", &[("node.id", 0, Some("5")), ("listeners", 0, Some("x"))]),
            request,
            "Cannot update these configs dynamically: [listeners, node.id]",
        ),
        (
            (BROKER, "", &[("nonsense", 0, Some("5"))]),
            config,
            "Unknown broker config name: nonsense",
        ),
        ((LOGGER, "1", &[("nobody", 0, Some("INFO"))]), config, "Logger nobody does not exist!"),
        (
            (LOGGER, "2", &[("root", 0, Some("INFO"))]),
            request,
            "Unexpected node id. Expected 1, but received 2",
        ),
        ((LOGGER, "one", nothing), request, "Node id must be an integer, but it is: one"),
        ((LOGGER, "", nothing), request, "Node id must be an integer"),
        ((77, "1", nothing), request, "Unknown resource type 77"),
        (
            (GROUP, "g", &[("consumer.session.timeout.ms", 0, Some("1"))]),
            config,
            "group.consumer.min",
        ),
    ];
    let asked: Vec<Change<'_>> = changes.iter().map(|(change, ..)| *change).collect();
    let answers = alter(&connection, &asked).await;
    for ((change, code, message), (told, text)) in changes.iter().zip(&answers) {
        assert_eq!(*told, code.code(), "{change:?}: {text}");
        assert!(text.contains(message), "{change:?}: {text}");
    }
    for (key, operation, message) in [
        (
            "max.connections",
            2,
            "Config value append is not allowed for config key: max.connections",
        ),
        (
            "max.connections",
            3,
            "Config value subtract is not allowed for config key: max.connections",
        ),
        ("nonsense", 2, "Unknown broker config name: nonsense"),
    ] {
        let answers = alter(&connection, &[(BROKER, "", &[(key, operation, Some("1"))])]).await;
        assert_eq!(answers, [(config.code(), message.to_owned())]);
    }
    let burnt =
        alter(&connection, &[(BROKER, "", &[("log.cleanup.policy", 2, Some("burn"))])]).await;
    assert_eq!(burnt[0].0, request.code(), "{burnt:?}");
    // A value that is right by itself and does not fit this node's others.
    let wrong = [("max.connections.per.ip.overrides", 0, Some("x"))];
    let refused = alter(&connection, &[(BROKER, "1", &wrong)]).await;
    assert_eq!(refused[0].0, request.code());
    assert!(refused[0].1.contains("not of the form address:count"), "{refused:?}");
    assert_eq!(described(&connection, TOPIC, "t", "retention.ms").await, (Some("5".to_owned()), 1));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_holds_without_a_restart() {
    let node = Node::start().await;
    let connection = node.connect().await;
    create(&connection, "t").await;
    until_produced(&connection, 5_000, ErrorCode::None).await;

    // The topic's own value, the cluster's default, and the default again.
    set(&connection, TOPIC, "t", "max.message.bytes", "1000").await;
    until_produced(&connection, 5_000, ErrorCode::MessageTooLarge).await;
    set(&connection, BROKER, "", "message.max.bytes", "500").await;
    until_produced(&connection, 800, ErrorCode::None).await;
    let own = described(&connection, TOPIC, "t", "max.message.bytes").await;
    assert_eq!(own, (Some("1000".to_owned()), 1));
    alter(&connection, &[(TOPIC, "t", &[("max.message.bytes", 1, None)])]).await;
    until_produced(&connection, 800, ErrorCode::MessageTooLarge).await;
    let inherited = described(&connection, TOPIC, "t", "max.message.bytes").await;
    assert_eq!(inherited, (Some("500".to_owned()), 3));
    set(&connection, BROKER, "1", "message.max.bytes", "100000").await;
    until_produced(&connection, 5_000, ErrorCode::None).await;
    let of_broker = described(&connection, TOPIC, "t", "max.message.bytes").await;
    assert_eq!(of_broker, (Some("100000".to_owned()), 2));

    // A topic cannot ask for more than it has: one replica is enough for any minimum.
    set(&connection, TOPIC, "t", "min.insync.replicas", "3").await;
    until_produced(&connection, 10, ErrorCode::None).await;

    // The old way deletes what it does not name.
    let replaced = ReplacedResource {
        resource_type: TOPIC,
        resource_name: "t".into(),
        configs: vec![Replaced { name: "segment.ms".into(), value: Some("9".into()) }],
    };
    let replacing = AlterConfigsRequest { resources: vec![replaced], validate_only: false };
    let answer = connection.call(&replacing).await.unwrap();
    assert_eq!(answer.responses[0].error_code, 0);
    assert_eq!(described(&connection, TOPIC, "t", "segment.ms").await, (Some("9".to_owned()), 1));
    let gone = described(&connection, TOPIC, "t", "min.insync.replicas").await;
    assert_eq!(gone, (Some("1".to_owned()), 5));
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn levels_of_loggers_are_set_beside_what_the_controller_decides() {
    let node = Node::start().await;
    let connection = node.connect().await;
    let changes: &[Change<'_>] = &[
        (LOGGER, "1", &[("ottla.net", 0, Some("DEBUG")), ("ottla.log", 0, Some("FATAL"))]),
        (BROKER, "", &[("log.retention.ms", 0, Some("7"))]),
    ];
    let done = connection.call(&request(changes, true)).await.unwrap();
    assert!(done.responses.iter().all(|response| response.error_code == 0));
    let level = async |logger| described(&connection, LOGGER, "1", logger).await;
    assert_eq!(level("ottla.net").await, (Some("INFO".to_owned()), 6), "only validated");
    assert_eq!(alter(&connection, changes).await, [(0, String::new()), (0, String::new())]);
    assert_eq!(level("ottla.net").await, (Some("DEBUG".to_owned()), 6));
    assert_eq!(level("ottla.log").await, (Some("FATAL".to_owned()), 6));
    let default = described(&connection, BROKER, "", "log.retention.ms").await;
    assert_eq!(default, (Some("7".to_owned()), 3));
    alter(&connection, &[(LOGGER, "1", &[("ottla.net", 1, None)])]).await;
    assert_eq!(level("ottla.net").await, (Some("INFO".to_owned()), 6), "as what is above it");

    let invalid = ErrorCode::InvalidRequest.code();
    for (operation, says) in [(2, "APPEND operation"), (3, "SUBTRACT operation"), (9, "type 9")] {
        let asked = [("ottla.net", operation, Some("DEBUG"))];
        let refused = alter(&connection, &[(LOGGER, "1", &asked)]).await;
        assert!(refused[0].0 == invalid && refused[0].1.contains(says), "{refused:?}");
    }
    let replaced = ReplacedResource {
        resource_type: LOGGER,
        resource_name: "1".into(),
        configs: vec![Replaced { name: "root".into(), value: Some("WARN".into()) }],
    };
    let replacing = AlterConfigsRequest { resources: vec![replaced], validate_only: false };
    let answer = connection.call(&replacing).await.unwrap();
    assert_eq!(answer.responses[0].error_code, invalid, "AlterConfigs knows no loggers");
    node.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_are_limited_from_the_next_one_on() {
    let node = Node::start().await;
    let patience = std::time::Duration::from_secs(60);
    let connect = async |port: u16, connect_timeout: std::time::Duration| {
        let network = std::sync::Arc::clone(&node.seams.network);
        let options = crate::net::client::ClientOptions { connect_timeout, ..Default::default() };
        Connection::connect(&*network, &crate::net::HostPort::new("1", port), options).await
    };
    // Controllers are not kept out, nor counted.
    let of_controller = connect(9093, patience).await.unwrap();
    set(&of_controller, BROKER, "", "max.connections", "1").await;
    // The limit follows the metadata by a moment. Then one connection stays, and no other is accepted.
    let soon = std::time::Duration::from_millis(300);
    let waiting = async {
        let mut accepted = Vec::new();
        while let Ok(connection) = connect(9092, soon).await {
            accepted.push(connection);
        }
        accepted
    };
    let accepted = tokio::time::timeout(patience, waiting).await;
    let _accepted = accepted.expect("waited for a connection that is not accepted");
    let raise = set(&of_controller, BROKER, "", "max.connections", "10");
    let (another, ()) = tokio::join!(connect(9092, patience), raise);
    another.unwrap();
    node.stop().await;
}
