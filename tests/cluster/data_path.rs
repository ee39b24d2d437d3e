//! What a program produces comes back byte for byte.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

use rdkafka::Offset;
use rdkafka::TopicPartitionList;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, Headers, Message, OwnedHeaders, OwnedMessage};
use rdkafka::producer::{BaseRecord, Producer, ThreadedProducer};

use crate::harness::{Cluster, PATIENCE};

/// Reads `count` records of one partition from its beginning.
pub fn read(cluster: &Cluster, topic: &str, partition: i32, count: usize) -> Vec<OwnedMessage> {
    let mut config = cluster.client();
    config.set("group.id", "not-used").set("enable.auto.commit", "false");
    config.set("check.crcs", "true");
    let consumer: BaseConsumer = config.create().unwrap();
    let mut assignment = TopicPartitionList::new();
    assignment.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    consumer.assign(&assignment).unwrap();
    let mut records = Vec::new();
    while records.len() < count {
        let record = consumer
            .poll(PATIENCE)
            .unwrap_or_else(|| panic!("record {} of {count} did not come", records.len()))
            .expect("a record");
        records.push(record.detach());
    }
    records
}

/// The codecs of the batches that node 1 has on disk for partition 0 of `topic`, each once.
fn codecs(cluster: &Cluster, topic: &str) -> Vec<String> {
    let segment = format!("{topic}-0/00000000000000000000.log");
    let segment = cluster.node(1).directory.join(segment).display().to_string();
    let dump = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["dump-log", "--files", &segment])
        .output()
        .unwrap();
    let dump = String::from_utf8(dump.stdout).unwrap();
    let after = dump.split("compresscodec: ").skip(1);
    let mut codecs: Vec<String> =
        after.filter_map(|rest| Some(rest.split_whitespace().next()?.to_owned())).collect();
    codecs.dedup();
    codecs
}

#[test]
fn every_codec_key_header_and_timestamp_comes_back() {
    let cluster = Cluster::start(1, "");
    for codec in ["none", "gzip", "snappy", "lz4", "zstd"] {
        let topic = format!("codec-{codec}");
        cluster.create_topic(&topic, 1, 1, &[]);
        let mut config = cluster.client();
        config.set("compression.type", codec).set("linger.ms", "20");
        let producer: ThreadedProducer<_> = config.create().unwrap();
        let base_time = 1_700_000_000_000;
        for number in 0..200_i64 {
            let key = format!("key-{number}");
            let value = format!("value {number} ").repeat((number % 40) as usize);
            let headers = OwnedHeaders::new()
                .insert(Header { key: "n", value: Some(&number.to_be_bytes()[..]) })
                .insert(Header { key: "none", value: None::<&[u8]> });
            let record = BaseRecord::to(&topic).key(&key).timestamp(base_time + number);
            let record = record.headers(headers).payload(&value);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        for (number, record) in read(&cluster, &topic, 0, 200).iter().enumerate() {
            let expected = format!("value {number} ").repeat(number % 40);
            assert_eq!(record.offset(), number as i64, "{codec}");
            assert_eq!(record.key(), Some(format!("key-{number}").as_bytes()), "{codec}");
            assert_eq!(record.payload().unwrap_or_default(), expected.as_bytes(), "{codec}");
            assert_eq!(record.timestamp().to_millis(), Some(base_time + number as i64), "{codec}");
            let headers = record.headers().expect("headers");
            assert_eq!(headers.get(0).value, Some(&(number as i64).to_be_bytes()[..]), "{codec}");
            assert_eq!((headers.get(1).key, headers.get(1).value), ("none", None), "{codec}");
        }
        assert_eq!(codecs(&cluster, &topic), [codec], "what is stored of {codec}");
    }
}

#[test]
fn acks_zero_one_and_all_arrive_and_so_do_idempotent_ones() {
    let cluster = Cluster::start(3, "");
    cluster.create_topic("acks", 1, 3, &[("min.insync.replicas", "2")]);
    let mut sent = 0;
    for (acks, idempotent) in [("0", "false"), ("1", "false"), ("all", "false"), ("all", "true")] {
        let mut config = cluster.client();
        config.set("acks", acks).set("enable.idempotence", idempotent);
        let producer: ThreadedProducer<_> = config.create().unwrap();
        for number in 0..100 {
            let value = format!("{acks} {idempotent} {number}");
            producer.send(BaseRecord::<(), _>::to("acks").payload(&value)).unwrap();
        }
        producer.flush(PATIENCE).unwrap();
        sent += 100;
        assert_eq!(read(&cluster, "acks", 0, sent).len(), sent);
    }
}

#[test]
fn offsets_are_found_by_time() {
    let cluster = Cluster::start(1, "");
    cluster.create_topic("times", 1, 1, &[]);
    let producer: ThreadedProducer<_> = cluster.client().create().unwrap();
    for number in 0..50_i64 {
        let record = BaseRecord::<(), _>::to("times").timestamp(1_000_000 + number * 10);
        producer.send(record.payload("x")).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
    let consumer: BaseConsumer = cluster.client().set("group.id", "g").create().unwrap();
    for (time, offset) in [(0, 0), (1_000_000, 0), (1_000_001, 1), (1_000_490, 49)] {
        let mut wanted = TopicPartitionList::new();
        wanted.add_partition_offset("times", 0, Offset::Offset(time)).unwrap();
        let found = consumer.offsets_for_times(wanted, Duration::from_secs(20)).unwrap();
        assert_eq!(found.elements()[0].offset(), Offset::Offset(offset), "time {time}");
    }
    let (low, high) = consumer.fetch_watermarks("times", 0, Duration::from_secs(20)).unwrap();
    assert_eq!((low, high), (0, 50));
}

/// Versions 0-2 of Produce are advertised for librdkafka's sake and refused, on a connection that
/// goes on.
#[test]
fn produce_of_an_old_version_is_refused_and_nothing_is_appended() {
    let cluster = Cluster::start(1, "");
    cluster.create_topic("old", 1, 1, &[]);
    let mut stream = TcpStream::connect(("127.0.0.1", cluster.node(1).port)).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    for version in [0, 1, 2, 2] {
        let mut frame = vec![0, 0, 0, version, 0, 0, 0, 7, 0xff, 0xff]; // header
        frame.extend([0, 1, 0, 0, 0x75, 0x30]); // acks, timeout
        frame.extend([0, 0, 0, 1, 0, 3, b'o', b'l', b'd', 0, 0, 0, 1]);
        frame.extend([0, 0, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4]); // partition 0, records
        stream.write_all(&(frame.len() as u32).to_be_bytes()).unwrap();
        stream.write_all(&frame).unwrap();

        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut response = vec![0; u32::from_be_bytes(length) as usize];
        stream.read_exact(&mut response).unwrap();
        let mut expected = vec![0, 0, 0, 7, 0, 0, 0, 1, 0, 3, b'o', b'l', b'd', 0, 0, 0, 1];
        expected.extend([0, 0, 0, 0, 0, 35]); // partition 0: UNSUPPORTED_VERSION
        expected.extend([0xff; 8]); // base offset
        expected.extend(vec![0xff; if version >= 2 { 8 } else { 0 }]); // append time
        expected.extend(vec![0; if version >= 1 { 4 } else { 0 }]); // throttle time
        assert_eq!(response, expected, "version {version}");
    }
    let consumer: BaseConsumer = cluster.client().set("group.id", "g").create().unwrap();
    assert_eq!(consumer.fetch_watermarks("old", 0, PATIENCE).unwrap(), (0, 0));
}
