//! What handlers tell of an image.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;

use super::world::*;
use crate::broker::config::LiveConfig;
use crate::broker::controller_link::timeout;
use crate::broker::directories;
use crate::broker::handlers::api_versions::ApiVersions;
use crate::broker::handlers::describe_configs::{ConfigView, DescribeConfigs};
use crate::broker::handlers::describe_topic_partitions::DescribeTopicPartitions;
use crate::broker::handlers::leaders::Leaders;
use crate::broker::handlers::list_config_resources::ListConfigResources;
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
use crate::protocol::messages::list_config_resources::ListConfigResourcesRequest;
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

/// A view of topic `a`, of which broker 1 tells, with values set on every level.
fn configured() -> ConfigView {
    let mut image = image(&[("a", &[1])]).as_ref().clone();
    for (resource, key, value) in [
        (ConfigResource::Topic(TopicName::new("a")), "retention.ms", "7"),
        (ConfigResource::Broker(NodeId(1)), "log.roll.ms", "11"),
        (ConfigResource::DefaultBroker, "log.roll.ms", "12"),
        (ConfigResource::DefaultBroker, "num.io.threads", "3"),
        (ConfigResource::DefaultBroker, "max.connections", "100"),
        (ConfigResource::Group("g".to_owned()), "consumer.session.timeout.ms", "50000"),
        (ConfigResource::ClientMetrics("m".to_owned()), "interval.ms", "200"),
    ] {
        let (key, value) = (key.to_owned(), Some(value.to_owned()));
        image.apply(&MetadataRecord::Config { resource, key, value }).unwrap();
    }
    let text = format!(
        "{CONFIG}log.retention.ms=70\nmin.insync.replicas=2\nlog.roll.ms=13\n\
         group.consumer.session.timeout.ms=46000\n"
    );
    let config = Arc::new(BrokerConfig::load(&text, &[], |_| None).unwrap());
    ConfigView::new(Arc::new(Still(Arc::new(image))), LiveConfig::new(config))
}

async fn describe(resource_type: i8, name: &str, keys: &[&str]) -> DescribeConfigsResult {
    let resource = DescribeConfigsResource {
        resource_type,
        resource_name: name.into(),
        configuration_keys: Some(keys.iter().map(|&key| key.into()).collect()),
    };
    let request = DescribeConfigsRequest {
        resources: vec![resource],
        include_synonyms: true,
        include_documentation: true,
    };
    ask(&Arc::new(DescribeConfigs { configs: configured(), loggers: seams().loggers }), request)
        .await
        .results
        .remove(0)
}

#[tokio::test]
async fn a_configuration_says_where_it_comes_from() {
    type Case<'a> = (i8, &'a str, &'a str, Option<&'a str>, i8, bool, Vec<(i8, &'a str)>);
    let day = "604800000";
    // Type, name, key; value, source, whether it is read-only; synonyms.
    let cases: Vec<Case<'_>> = vec![
        (2, "a", "retention.ms", Some("7"), 1, false, vec![(1, "7"), (4, "70"), (5, day)]),
        (
            2,
            "a",
            "segment.ms",
            Some("11"),
            2,
            false,
            vec![(2, "11"), (3, "12"), (4, "13"), (5, day)],
        ),
        (2, "a", "min.insync.replicas", Some("2"), 4, false, vec![(4, "2"), (5, "1")]),
        (2, "a", "cleanup.policy", Some("delete"), 5, false, vec![(5, "delete")]),
        (2, "a", "remote.storage.enable", Some("false"), 5, false, vec![]),
        (4, "1", "node.id", Some("1"), 4, true, vec![(4, "1")]),
        (4, "1", "num.partitions", Some("3"), 4, true, vec![(4, "3"), (5, "1")]),
        (4, "1", "fetch.max.bytes", Some("57671680"), 5, true, vec![(5, "57671680")]),
        (4, "1", "message.max.bytes", Some("1048588"), 5, false, vec![(5, "1048588")]),
        (4, "1", "log.retention.ms", Some("70"), 4, false, vec![(4, "70"), (5, day)]),
        (4, "1", "log.retention.hours", None, 5, true, vec![]),
        (4, "1", "max.connections", Some("100"), 3, false, vec![(3, "100"), (5, "2147483647")]),
        (4, "1", "num.io.threads", Some("3"), 3, false, vec![(3, "3")]),
        (4, "", "max.connections", Some("100"), 3, false, vec![(3, "100")]),
        (4, "", "log.roll.ms", Some("12"), 3, false, vec![(3, "12")]),
        (
            32,
            "g",
            "consumer.session.timeout.ms",
            Some("50000"),
            8,
            false,
            vec![(8, "50000"), (4, "46000"), (5, "45000")],
        ),
        (
            32,
            "h",
            "consumer.session.timeout.ms",
            Some("46000"),
            4,
            false,
            vec![(4, "46000"), (5, "45000")],
        ),
        (32, "h", "share.session.timeout.ms", Some("45000"), 5, false, vec![(5, "45000")]),
        (16, "m", "interval.ms", Some("200"), 7, false, vec![(7, "200")]),
        (16, "m", "metrics", Some(""), 5, false, vec![]),
    ];
    for (resource_type, name, key, value, source, read_only, synonyms) in cases {
        let described = describe(resource_type, name, &[key]).await;
        assert_eq!(described.configs.len(), 1, "{key}");
        let config = &described.configs[0];
        assert_eq!((config.value.as_deref(), config.config_source), (value, source), "{key}");
        assert_eq!(config.read_only, read_only, "{key}");
        assert!(config.documentation.as_deref().is_some_and(|doc| doc.ends_with('.')), "{key}");
        let told: Vec<_> =
            config.synonyms.iter().map(|it| (it.source, it.value.as_deref().unwrap())).collect();
        assert_eq!(told, synonyms, "{key}");
    }
}

#[tokio::test]
async fn loggers_have_levels_and_no_synonyms() {
    let described = describe(8, "1", &["root", "openraft", "ottla.log"]).await;
    let told = described.configs.iter().map(|config| {
        assert!(config.synonyms.is_empty() && !config.read_only, "{config:?}");
        (&*config.name, config.value.as_deref().unwrap_or_default(), config.config_source)
    });
    let expected = [("openraft", "OFF", 6), ("ottla.log", "INFO", 6), ("root", "INFO", 6)];
    assert_eq!(told.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn what_has_no_configuration_is_refused() {
    for (resource_type, name, error, count) in [
        (2, "nowhere", ErrorCode::UnknownTopicOrPartition, 0),
        (2, "no/name", ErrorCode::InvalidTopicException, 0),
        (4, "1", ErrorCode::None, 1),
        (4, "2", ErrorCode::InvalidRequest, 0),
        (4, "one", ErrorCode::InvalidRequest, 0),
        (4, "", ErrorCode::None, 0),
        (8, "1", ErrorCode::None, 0),
        (8, "2", ErrorCode::InvalidRequest, 0),
        (8, "one", ErrorCode::InvalidRequest, 0),
        (8, "", ErrorCode::InvalidRequest, 0),
        (16, "", ErrorCode::InvalidRequest, 0),
        (32, "", ErrorCode::InvalidRequest, 0),
        (3, "x", ErrorCode::InvalidRequest, 0),
    ] {
        let described = describe(resource_type, name, &["node.id"]).await;
        assert_eq!(described.error_code, error.code(), "{resource_type} {name}");
        assert_eq!(described.configs.len(), count, "{resource_type} {name}");
    }
}

#[tokio::test]
async fn resources_are_listed_by_type_and_version_0_knows_one_type() {
    let metadata = configured().metadata();
    let handler = Arc::new(ListConfigResources { metadata });
    for (version, types, error, expected) in [
        (0, vec![], ErrorCode::None, "16:m"),
        (1, vec![], ErrorCode::None, "32:g 16:m 8:1 8:2 8:3 4:1 4:2 4:3 2:a"),
        (1, vec![2, 32], ErrorCode::None, "32:g 2:a"),
        (1, vec![8], ErrorCode::None, "8:1 8:2 8:3"),
        (1, vec![2, 3], ErrorCode::UnsupportedVersion, ""),
    ] {
        let request = ListConfigResourcesRequest { resource_types: types.clone() };
        let answer = ask_at(&handler, version, request).await;
        assert_eq!(answer.error_code, error.code(), "{version} {types:?}");
        let listed = answer.config_resources.iter();
        let listed: Vec<_> =
            listed.map(|it| format!("{}:{}", it.resource_type, it.resource_name)).collect();
        assert_eq!(listed.join(" "), expected, "{version} {types:?}");
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
            recovery_threads: 1,
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
