//! What handlers tell of an image.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;

use super::world::*;
use crate::broker::controller_link::timeout;
use crate::broker::directories;
use crate::broker::handlers::api_versions::ApiVersions;
use crate::broker::handlers::describe_configs::{ConfigView, DescribeConfigs};
use crate::broker::handlers::describe_topic_partitions::DescribeTopicPartitions;
use crate::broker::handlers::leaders::Leaders;
use crate::broker::handlers::metadata::brokers;
use crate::broker::service::{Gate, KafkaService, NodeService};
use crate::broker::{BrokerConfig, StartError};
use crate::log::{LogDirectory, LogDirectoryOptions, LogEnvironment};
use crate::metadata::{ConfigResource, Image, MetadataRecord};
use crate::net::server::{Answer, Handled, Service};
use crate::protocol::ApiKey;
use crate::protocol::header::RequestHeader;
use crate::protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource, DescribeConfigsResult,
};
use crate::protocol::messages::describe_topic_partitions::{
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponseTopic, TopicRequest,
};
use crate::protocol::messages::{fetch, produce};
use crate::types::{ErrorCode, NodeId, TopicName};

#[test]
fn nobody_is_told_of_no_broker_at_all() {
    let told = |image: &Image| -> Vec<i32> {
        brokers(image, "PLAINTEXT", NodeId(2)).iter().map(|broker| broker.node_id).collect()
    };
    let mut image = Image::clone(&image(&[]));
    assert_eq!(told(&image), [1, 2], "3 is fenced");
    for node in 1..=2 {
        image.apply(&broker(node, true)).unwrap();
    }
    assert_eq!(told(&image), [2], "all are fenced: the one that answers is there at least");
}

/// The partitions of every page, and whether a cursor follows the last.
async fn pages(names: &[&str], limit: i32) -> Vec<Vec<String>> {
    let metadata = Arc::new(Still(image(&[("a", &[1, 1, 1]), ("b", &[1, 1]), ("c", &[2])])));
    let handler = Arc::new(DescribeTopicPartitions { metadata });
    let topics: Vec<_> = names.iter().map(|&name| TopicRequest { name: name.into() }).collect();
    let (mut pages, mut cursor) = (Vec::new(), None);
    loop {
        let request = DescribeTopicPartitionsRequest {
            topics: topics.clone(),
            response_partition_limit: limit,
            cursor,
        };
        let answer = ask(&handler, request).await;
        let of_topic = |topic: &DescribeTopicPartitionsResponseTopic| {
            let name = topic.name.clone().unwrap();
            let partition = |index: i32| format!("{name}-{index}");
            topic
                .partitions
                .iter()
                .map(|found| partition(found.partition_index))
                .collect::<Vec<_>>()
        };
        pages.push(answer.topics.iter().flat_map(of_topic).collect::<Vec<_>>());
        assert!(pages.len() < 10, "it does not end: {pages:?}");
        cursor = answer.next_cursor;
        if cursor.is_none() {
            return pages;
        }
    }
}

#[tokio::test]
async fn topics_are_described_page_by_page() {
    let all = ["a-0", "a-1", "a-2", "b-0", "b-1", "c-0"];
    for (names, limit, expected) in [
        (&[][..], 2000, vec![&all[..]]),
        (&[], 6, vec![&all[..]]),
        (&[], 4, vec![&all[..4], &all[4..]]),
        (&[], 3, vec![&all[..3], &all[3..]]),
        (&[], 0, all.chunks(1).collect()),
        (&["c", "a", "a"], 2, vec![&all[..2], &["a-2", "c-0"]]),
        (&["a"], 3, vec![&all[..3]]),
    ] {
        assert_eq!(pages(names, limit).await, expected, "{names:?} by {limit}");
    }
}

#[tokio::test]
async fn an_unknown_topic_is_told_and_a_fenced_leader_is_none() {
    let metadata = Arc::new(Still(image(&[("a", &[3])])));
    let handler = Arc::new(DescribeTopicPartitions { metadata });
    let topics = ["a", "nowhere"].map(|name| TopicRequest { name: name.into() }).to_vec();
    let request = DescribeTopicPartitionsRequest { topics, ..Default::default() };
    let answer = ask(&handler, request).await;
    let partition = &answer.topics[0].partitions[0];
    let none = ErrorCode::LeaderNotAvailable.code();
    assert_eq!((partition.error_code, partition.leader_id), (none, -1));
    assert_eq!(partition.offline_replicas, [3]);
    assert_eq!(answer.topics[1].error_code, ErrorCode::UnknownTopicOrPartition.code());
}

#[test]
fn clients_with_old_metadata_are_told_where_the_leader_is() {
    let leaders = Leaders { metadata: Arc::new(Still(image(&[("a", &[2, 3, 1])]))) };
    let moved = ErrorCode::NotLeaderOrFollower.code();
    let answers = || [moved, moved, ErrorCode::None.code()].into_iter().zip(0..);
    for (version, named) in [(9, false), (10, true), (12, true), (13, true)] {
        let mut response = produce::ProduceResponse::default();
        response.responses.push(produce::TopicProduceResponse {
            name: if version < 13 { "a".into() } else { "".into() },
            topic_id: if version < 13 { uuid::Uuid::nil() } else { topic_id(0).0 },
            partition_responses: answers()
                .map(|(error_code, index)| produce::PartitionProduceResponse {
                    index,
                    error_code,
                    ..Default::default()
                })
                .collect(),
        });
        leaders.complete_produce(&mut response, version, "PLAINTEXT");
        let told: Vec<i32> = response.responses[0]
            .partition_responses
            .iter()
            .map(|answer| answer.current_leader.leader_id)
            .collect();
        assert_eq!(told, if named { [2, 3, -1] } else { [-1; 3] }, "version {version}");
        // Broker 3 is fenced, so nobody is sent there.
        let nodes: Vec<i32> = response.node_endpoints.iter().map(|node| node.node_id).collect();
        assert_eq!(nodes, if named { vec![2] } else { vec![] }, "version {version}");
    }
}

#[test]
fn fetchers_are_told_from_version_16_on() {
    let leaders = Leaders { metadata: Arc::new(Still(image(&[("a", &[2])]))) };
    for (version, listener, expected) in
        [(15, "PLAINTEXT", vec![]), (16, "PLAINTEXT", vec!["host-2"]), (16, "OTHER", vec![])]
    {
        let mut data = fetch::PartitionData {
            error_code: ErrorCode::FencedLeaderEpoch.code(),
            ..Default::default()
        };
        data.current_leader.leader_id = 2;
        let topic = fetch::FetchableTopicResponse { partitions: vec![data], ..Default::default() };
        let mut response = fetch::FetchResponse { responses: vec![topic], ..Default::default() };
        leaders.complete_fetch(&mut response, version, listener);
        let hosts: Vec<_> =
            response.node_endpoints.iter().map(|node| node.host.to_string()).collect();
        assert_eq!(hosts, expected, "version {version} on {listener}");
    }
}

async fn describe(resource_type: i8, name: &str, keys: &[&str]) -> DescribeConfigsResult {
    let mut image = image(&[("a", &[1])]).as_ref().clone();
    let record = MetadataRecord::Config {
        resource: ConfigResource::Topic(TopicName::new("a")),
        key: "retention.ms".to_owned(),
        value: Some("7".to_owned()),
    };
    image.apply(&record).unwrap();
    let text = format!("{CONFIG}log.retention.ms=70\nmin.insync.replicas=2\n");
    let config = Arc::new(BrokerConfig::load(&text, &[], |_| None).unwrap());
    let configs = ConfigView::new(Arc::new(Still(Arc::new(image))), config);
    let resource = DescribeConfigsResource {
        resource_type,
        resource_name: name.into(),
        configuration_keys: Some(keys.iter().map(|&key| key.into()).collect()),
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: false,
    };
    ask(&Arc::new(DescribeConfigs { configs }), request).await.results.remove(0)
}

#[tokio::test]
async fn a_configuration_says_where_it_comes_from() {
    for (key, value, source, synonyms) in [
        ("retention.ms", "7", 1, vec![(1, "7"), (4, "70"), (5, "604800000")]),
        ("min.insync.replicas", "2", 4, vec![(4, "2"), (5, "1")]),
        ("cleanup.policy", "delete", 5, vec![(5, "delete")]),
    ] {
        let described = describe(2, "a", &[key]).await;
        assert_eq!(described.configs.len(), 1, "{key}");
        let config = &described.configs[0];
        assert_eq!((config.value.as_deref(), config.config_source), (Some(value), source), "{key}");
        let told: Vec<_> =
            config.synonyms.iter().map(|it| (it.source, it.value.as_deref().unwrap())).collect();
        assert_eq!(told, synonyms, "{key}");
    }
}

#[tokio::test]
async fn a_broker_tells_its_own_keys_and_the_defaults_that_it_sets_for_topics() {
    for (key, value, source) in [
        ("node.id", Some("1"), 4),
        ("num.partitions", Some("3"), 4),
        ("fetch.max.bytes", Some("57671680"), 5),
        ("message.max.bytes", Some("1048588"), 5),
        ("log.retention.ms", Some("70"), 4),
        ("log.retention.hours", None, 5),
    ] {
        let described = describe(4, "1", &[key]).await;
        assert_eq!(described.configs.len(), 1, "{key}");
        let config = &described.configs[0];
        assert_eq!((config.value.as_deref(), config.config_source), (value, source), "{key}");
    }
}

#[tokio::test]
async fn what_has_no_configuration_is_refused() {
    for (resource_type, name, error, count) in [
        (2, "nowhere", ErrorCode::UnknownTopicOrPartition, 0),
        (2, "no/name", ErrorCode::InvalidTopicException, 0),
        (4, "1", ErrorCode::None, 1),
        (4, "2", ErrorCode::InvalidRequest, 0),
        (4, "", ErrorCode::None, 0),
        (8, "1", ErrorCode::InvalidRequest, 0),
    ] {
        let described = describe(resource_type, name, &["node.id"]).await;
        assert_eq!(described.error_code, error.code(), "{resource_type} {name}");
        assert_eq!(described.configs.len(), count, "{resource_type} {name}");
    }
}

#[tokio::test]
async fn a_closed_gate_keeps_requests_until_it_opens() {
    let metadata = Arc::new(Still(image(&[])));
    let api_versions = Arc::new(ApiVersions { served: Vec::new(), metadata });
    let gate = Gate::closed();
    let kafka = KafkaService::new(Vec::new(), api_versions);
    let service = NodeService::new(kafka, gate.clone(), None);
    let header = || RequestHeader {
        api_key: ApiKey::ApiVersions as i16,
        api_version: 0,
        correlation_id: 1,
        client_id: None,
    };
    let mut waiting = service.handle(context(), header(), Default::default());
    assert!((&mut waiting).now_or_never().is_none());
    gate.let_in();
    assert!(matches!(waiting.await, Handled::Now(Answer::Response(_))));
    let later = service.handle(context(), header(), Default::default()).now_or_never();
    assert!(matches!(later, Some(Handled::Now(Answer::Response(_)))));
    assert!(service.peer_magic().is_none());
}

#[tokio::test]
async fn directories_of_two_clusters_are_refused_by_name() {
    let seams = seams();
    for (path, cluster_id) in [("/one", "first"), ("/two", "second")] {
        let options = LogDirectoryOptions {
            path: path.into(),
            cluster_id: Some(cluster_id.to_owned()),
            node_id: NodeId(1),
        };
        let environment = LogEnvironment {
            disk: Arc::clone(&seams.disk),
            catalog_opener: Arc::clone(&seams.catalog_opener),
            clock: Arc::clone(&seams.clock),
            offload: Arc::clone(&seams.offload),
            random: Arc::clone(&seams.random),
            boot_id: String::new(),
        };
        let directory = LogDirectory::open(options, environment).unwrap();
        directory.close().await.unwrap();
    }
    let config = BrokerConfig::load(CONFIG, &[], |_| None).unwrap();
    let Err(StartError::Directories(said)) = directories::open(&config, &seams).await else {
        panic!("two clusters' directories were taken");
    };
    for word in ["/one", "/two", "first", "second", "log.dirs"] {
        assert!(said.contains(word), "{said}");
    }
}

#[test]
fn a_requests_timeout_is_bounded() {
    for (asked_ms, given_ms) in
        [(-1, 0), (0, 0), (1_500, 1_500), (i32::MAX, 300_000), (i32::MIN, 0)]
    {
        assert_eq!(timeout(asked_ms), Duration::from_millis(given_ms), "{asked_ms}");
    }
}
