//! What administrators do meanwhile. While brokers come and go any of it may be refused: it is
//! counted, and tried again another time.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::Rng;
use rand::rngs::StdRng;
use rdkafka::admin::{
    AdminClient, AdminOptions, AlterConfig, NewPartitions, NewTopic, ResourceSpecifier,
    TopicReplication,
};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use rdkafka::{Offset, TopicPartitionList};

use crate::harness::Cluster;
use crate::logs::INCARNATION;

/// The topic that is deleted and made again.
pub const PASSING: &str = "chaos-passing";

/// One administrator.
pub struct Administrator {
    runtime: tokio::runtime::Runtime,
    client: AdminClient<DefaultClientContext>,
    options: AdminOptions,
    /// Which incarnation of [`PASSING`] there is, if it is known.
    pub passing: Option<u64>,
    incarnations: u64,
    /// The largest offset before which records were deleted, as answered, by partition.
    pub deleted_before: BTreeMap<i32, i64>,
    /// What was done, and what was tried in vain.
    pub counts: BTreeMap<&'static str, (u32, u32)>,
}

impl Administrator {
    pub fn new(cluster: &Cluster) -> Administrator {
        let mut config = cluster.client();
        config.set("log_level", "0");
        Administrator {
            runtime: tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
            client: config.create().expect("an admin client"),
            options: AdminOptions::new()
                .operation_timeout(Some(Duration::from_secs(5)))
                .request_timeout(Some(Duration::from_secs(10))),
            passing: None,
            incarnations: 0,
            deleted_before: BTreeMap::new(),
            counts: BTreeMap::new(),
        }
    }

    fn count(&mut self, what: &'static str, done: bool) -> bool {
        let (successes, failures) = self.counts.entry(what).or_default();
        *(if done { successes } else { failures }) += 1;
        done
    }

    /// Sets some of a topic's configuration; `base` stays as it is.
    pub fn configure(&mut self, topic: &str, base: &[(&str, &str)], rng: &mut StdRng) {
        let segment = rng.random_range(14_000..64_000).to_string();
        let codecs = ["producer", "uncompressed", "gzip", "snappy", "lz4", "zstd"];
        let codec = codecs[rng.random_range(0..codecs.len())];
        let stamps = ["CreateTime", "LogAppendTime"];
        let stamp = stamps[rng.random_range(0..stamps.len())];
        let flush = if rng.random_bool(0.2) { "1" } else { "1000000" };
        let mut change = AlterConfig::new(ResourceSpecifier::Topic(topic));
        for (key, value) in base {
            change = change.set(key, value);
        }
        let change = change
            .set("internal.segment.bytes", &segment)
            .set("compression.type", codec)
            .set("message.timestamp.type", stamp)
            .set("flush.messages", flush);
        let altered = self.runtime.block_on(self.client.alter_configs([&change], &self.options));
        let done = altered.is_ok_and(|results| results.iter().all(Result::is_ok));
        self.count("configurations changed", done);
    }

    /// Deletes the older half of a partition's records.
    pub fn delete_records(&mut self, consumer: &BaseConsumer, topic: &str, partition: i32) {
        let marks = consumer.fetch_watermarks(topic, partition, Duration::from_secs(5));
        let Ok((low, high)) = marks else {
            self.count("records deleted", false);
            return;
        };
        let before = low.max(high - (high - low) / 2);
        let mut list = TopicPartitionList::new();
        list.add_partition_offset(topic, partition, Offset::Offset(before)).expect("a list");
        let deleted = self.runtime.block_on(self.client.delete_records(&list, &self.options));
        let done = deleted.is_ok_and(|list| list.elements().iter().all(|one| one.error().is_ok()));
        if self.count("records deleted", done) {
            let known = self.deleted_before.entry(partition).or_default();
            *known = before.max(*known);
        }
    }

    /// Gives a topic another partition, and says how many it has then.
    pub fn grow(&mut self, topic: &str, partitions: i32) -> Option<i32> {
        let more = partitions + 1;
        let count = usize::try_from(more).expect("a count");
        let grown = self.runtime.block_on(
            self.client.create_partitions([&NewPartitions::new(topic, count)], &self.options),
        );
        let done = grown.is_ok_and(|results| results.iter().all(Result::is_ok));
        self.count("partitions added", done).then_some(more)
    }

    /// Deletes the passing topic where it is there, or makes it and writes into it which
    /// incarnation it is. Unsure of either, it is deleted next.
    pub fn pass(&mut self, cluster: &Cluster) {
        if self.passing.take().is_some() || self.incarnations > 0 && self.exists() {
            let deleted =
                self.runtime.block_on(self.client.delete_topics(&[PASSING], &self.options));
            let done = deleted.is_ok_and(|results| results.iter().all(Result::is_ok));
            self.count("topics deleted", done);
            return;
        }
        self.incarnations += 1;
        let topic =
            NewTopic::new(PASSING, 2, TopicReplication::Fixed(3)).set("min.insync.replicas", "2");
        let created = self.runtime.block_on(self.client.create_topics([&topic], &self.options));
        let done = created.is_ok_and(|results| results.iter().all(Result::is_ok));
        if self.count("topics made", done) && fill(cluster, self.incarnations) {
            self.passing = Some(self.incarnations);
        }
    }

    fn exists(&self) -> bool {
        let metadata = self.client.inner().fetch_metadata(None, Duration::from_secs(5));
        // Not knowing counts as being there: then deleting it is tried, and refused.
        metadata
            .map_or(true, |metadata| metadata.topics().iter().any(|topic| topic.name() == PASSING))
    }
}

/// Writes a few records that say which incarnation they belong to, all or nothing being answered.
fn fill(cluster: &Cluster, incarnation: u64) -> bool {
    let mut config = cluster.client();
    config.set("acks", "all").set("delivery.timeout.ms", "5000").set("log_level", "0");
    let producer: BaseProducer = config.create().expect("a producer");
    let bytes = incarnation.to_be_bytes();
    for partition in 0..2 {
        for _ in 0..10 {
            let header = Header { key: INCARNATION, value: Some(&bytes[..]) };
            let record = BaseRecord::<(), [u8]>::to(PASSING)
                .partition(partition)
                .payload(&bytes)
                .headers(OwnedHeaders::new().insert(header));
            if producer.send(record).is_err() {
                return false;
            }
        }
    }
    // Nothing of this incarnation may be under way when the next is made.
    let flushed = producer.flush(Duration::from_secs(8)).is_ok();
    flushed && producer.in_flight_count() == 0
}
