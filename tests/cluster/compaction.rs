//! Compacted topics as clients see them: they read on past what is gone, and `__consumer_offsets`
//! stays small and loses no offset.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;

use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};
use rdkafka::types::RDKafkaErrorCode;
use rdkafka::{Offset, TopicPartitionList};

use crate::harness::{Cluster, PATIENCE, eventually};

/// The bytes of the segments in a log's directory, those that are going left out.
fn log_bytes(directory: &Path) -> u64 {
    let entries = fs::read_dir(directory).unwrap().filter_map(Result::ok);
    let segments = entries.filter(|entry| entry.path().extension().is_some_and(|e| e == "log"));
    segments.filter_map(|entry| entry.metadata().ok()).map(|metadata| metadata.len()).sum()
}

/// The last value of each key, read from the beginning to the end; and how many records there were.
fn last_values(cluster: &Cluster, topic: &str) -> (BTreeMap<Vec<u8>, Option<Vec<u8>>>, usize) {
    let mut config = cluster.client();
    config.set("group.id", "not-used").set("enable.auto.commit", "false");
    config.set("enable.partition.eof", "true").set("check.crcs", "true");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, 0, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    let (mut values, mut count) = (BTreeMap::new(), 0);
    eventually("the end of the partition", || {
        loop {
            match consumer.poll(PATIENCE).expect("a record or the end") {
                Ok(record) => {
                    count += 1;
                    let value = record.payload().map(<[u8]>::to_vec);
                    values.insert(record.key().unwrap().to_vec(), value);
                }
                Err(KafkaError::PartitionEOF(_)) => return Some(()),
                // Of the brokers that it was given one is dead; it goes on with the others.
                Err(KafkaError::MessageConsumption(
                    RDKafkaErrorCode::BrokerTransportFailure | RDKafkaErrorCode::AllBrokersDown,
                )) => return None,
                Err(error) => panic!("{error}"),
            }
        }
    });
    (values, count)
}

#[test]
fn readers_go_on_past_what_was_compacted() {
    let mut cluster = Cluster::start(3, "log.cleaner.backoff.ms=100\nlog.cleaner.threads=2\n");
    let config = [
        ("cleanup.policy", "compact"),
        ("segment.bytes", "1048576"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("file.delete.delay.ms", "0"),
        ("min.insync.replicas", "2"),
    ];
    cluster.create_topic("compacted", 1, 3, &config);
    let mut settings = cluster.client();
    settings.set("acks", "all").set("enable.idempotence", "true").set("linger.ms", "5");
    let producer: ThreadedProducer<_> = settings.create().unwrap();
    let mut expected = BTreeMap::new();
    for number in 0..4_000_u32 {
        // One key of its own now and then, so that something of each segment stays.
        let key =
            if number % 400 == 0 { format!("own {number}") } else { format!("{}", number % 20) };
        let value = vec![u8::try_from(number % 251).unwrap(); 2_000];
        let record = BaseRecord::to("compacted").key(&key).payload(&value);
        producer.send(record).map_err(|(error, _)| error).unwrap();
        expected.insert(key.into_bytes(), Some(value));
        if number % 500 == 0 {
            producer.flush(PATIENCE).unwrap();
        }
    }
    producer.flush(PATIENCE).unwrap();
    for node in &cluster.nodes {
        let directory = node.directory.join("compacted-0");
        eventually(&format!("node {} to have compacted", node.id), || {
            (log_bytes(&directory) < 4_000_000).then_some(())
        });
    }
    let (found, count) = last_values(&cluster, "compacted");
    assert_eq!(found, expected);
    assert!(count < 2_500, "{count} records of 4000 are left");

    // The same by the command line, and from each replica once it leads.
    let output = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["console-consumer", "--bootstrap-server", &cluster.bootstrap()])
        .args(["--topic", "compacted", "--from-beginning", "--timeout-ms", "20000"])
        .args(["--max-messages", &expected.len().to_string()])
        .args(["--property", "print.key=true", "--property", "print.value=false"])
        .output()
        .unwrap();
    let lines = String::from_utf8_lossy(&output.stdout).lines().count();
    assert_eq!(lines, expected.len(), "each key is there once at least");
    for _ in 0..2 {
        let leader = cluster.leader("compacted", 0);
        cluster.kill(leader);
        eventually("another leader", || (cluster.leader("compacted", 0) != leader).then_some(()));
        assert_eq!(last_values(&cluster, "compacted").0, expected, "after node {leader} died");
        cluster.spawn(leader);
        cluster.await_in_sync("compacted", 3);
    }
}

#[test]
fn the_offsets_topic_shrinks_and_a_restart_finds_the_same_offsets() {
    let mut cluster = Cluster::start(
        1,
        "log.cleaner.backoff.ms=100\noffsets.topic.num.partitions=1\n\
         offsets.topic.replication.factor=1\noffsets.topic.segment.bytes=1048576\n",
    );
    cluster.create_topic("read", 100, 1, &[]);
    let consumer = |group: &str| -> BaseConsumer {
        let mut config = cluster.client();
        config.set("group.id", group).set("enable.auto.commit", "false");
        config.create().unwrap()
    };
    let partitions = |offset| {
        let mut list = TopicPartitionList::new();
        for partition in 0..100 {
            list.add_partition_offset("read", partition, offset).unwrap();
        }
        list
    };
    let directory = cluster.node(1).directory.join("__consumer_offsets-0");
    let committing = consumer("a group");
    let commit = |round| committing.commit(&partitions(Offset::Offset(round)), CommitMode::Sync);
    eventually("the coordinator to be there", || commit(0).ok());
    // 100 records of more than 52 bytes each time.
    let last = 500;
    for round in 1..=last {
        commit(round).unwrap();
    }
    drop(committing);
    eventually("__consumer_offsets to shrink", || {
        (log_bytes(&directory) < 1_800_000).then_some(())
    });
    for clean in [false, true] {
        if clean {
            cluster.terminate(1);
        } else {
            cluster.kill(1);
        }
        cluster.spawn(1);
        cluster.await_brokers(1);
        let mut config = cluster.client();
        config.set("group.id", "a group");
        let asking: BaseConsumer = config.create().unwrap();
        let found = eventually("the committed offsets", || {
            asking.committed_offsets(partitions(Offset::Invalid), PATIENCE).ok()
        });
        for element in found.elements() {
            assert_eq!(element.offset(), Offset::Offset(last), "clean: {clean}");
        }
    }
}
