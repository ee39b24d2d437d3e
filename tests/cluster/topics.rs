//! Creating, describing and deleting topics, through librdkafka and through our own tool.

use rdkafka::admin::{AdminOptions, NewPartitions};

use crate::harness::{Cluster, eventually};

#[test]
fn the_tool_creates_describes_alters_and_deletes() {
    let cluster = Cluster::start(3, "");
    let create = ["topics", "--create", "--topic", "orders", "--partitions", "3"];
    let created = cluster.ottla(&[&create[..], &["--replication-factor", "3"]].concat());
    assert_eq!(created, "Created topic orders.\n");
    cluster.await_in_sync("orders", 3);

    let described = cluster.ottla(&["topics", "--describe", "--topic", "orders"]);
    let lines: Vec<&str> = described.lines().collect();
    assert_eq!(lines.len(), 4, "{described}");
    assert!(lines[0].starts_with("Topic: orders\tTopicId: "), "{described}");
    assert!(lines[0].contains("PartitionCount: 3\tReplicationFactor: 3\tConfigs:"), "{described}");
    assert!(lines[1].starts_with("\tTopic: orders\tPartition: 0\tLeader: "), "{described}");

    let again = cluster.ottla_output(&[&create[..], &["--replication-factor", "3"]].concat());
    assert!(!again.status.success());
    let message = String::from_utf8_lossy(&again.stderr).into_owned();
    assert!(message.contains("'orders' already exists"), "{message}");

    cluster.ottla(&["topics", "--alter", "--topic", "orders", "--partitions", "5"]);
    cluster.await_in_sync("orders", 3);
    let described = cluster.ottla(&["topics", "--describe", "--topic", "orders"]);
    assert!(described.contains("PartitionCount: 5"), "{described}");

    assert_eq!(cluster.ottla(&["topics", "--list"]).trim(), "orders");
    cluster.ottla(&["topics", "--delete", "--topic", "orders"]);
    eventually("the topic to be gone", || {
        cluster.ottla(&["topics", "--list"]).trim().is_empty().then_some(())
    });
}

#[test]
fn leaders_are_spread_over_the_brokers() {
    let cluster = Cluster::start(3, "");
    cluster.create_topic("spread", 6, 3, &[]);
    let mut led = [0; 4];
    for partition in 0..6 {
        led[cluster.leader("spread", partition) as usize] += 1;
    }
    assert_eq!(led, [0, 2, 2, 2]);
}

#[test]
fn librdkafka_adds_partitions_and_deletes() {
    let cluster = Cluster::start(1, "");
    cluster.create_topic("grown", 1, 1, &[]);
    let admin = cluster.admin();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let options = AdminOptions::new();
    let grown =
        runtime.block_on(admin.create_partitions(&[NewPartitions::new("grown", 4)], &options));
    grown.unwrap()[0].as_ref().expect("adding partitions");
    eventually("four partitions", || {
        let metadata = cluster.metadata()?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == "grown")?;
        (topic.partitions().len() == 4).then_some(())
    });
    runtime.block_on(admin.delete_topics(&["grown"], &options)).unwrap()[0].as_ref().unwrap();
    eventually("the topic to be gone", || {
        let metadata = cluster.metadata()?;
        metadata.topics().iter().all(|topic| topic.name() != "grown").then_some(())
    });
}

#[test]
fn producing_to_an_unknown_topic_creates_it_as_in_kafka() {
    use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
    let cluster = Cluster::start(1, "num.partitions=2");
    let producer: ThreadedProducer<_> = cluster.client().create().unwrap();
    producer.send(BaseRecord::<(), _>::to("made-by-use").payload("x")).unwrap();
    producer.flush(crate::harness::PATIENCE).unwrap();
    let metadata = cluster.metadata().unwrap();
    let topic = metadata.topics().iter().find(|topic| topic.name() == "made-by-use").unwrap();
    assert_eq!(topic.partitions().len(), 2);
}
