//! A consumer that reads along: what it was given once must be what the logs hold in the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::chaos::load::number_of;
use crate::harness::Cluster;

/// What was read, by partition and offset.
pub type Seen = BTreeMap<(i32, i64), u64>;

/// A consumer of one topic that loses nothing to retention.
pub struct Reader {
    pub topic: &'static str,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<(Seen, Vec<String>)>,
}

impl Reader {
    pub fn start(cluster: &Cluster, topic: &'static str, partitions: i32) -> Reader {
        let mut config = cluster.client();
        config.set("group.id", "chaos-reader").set("enable.auto.commit", "false");
        // An offset that is out of range would mean that something is gone.
        config.set("auto.offset.reset", "error").set("check.crcs", "true").set("log_level", "0");
        let consumer: BaseConsumer = config.create().expect("a consumer");
        let mut from = TopicPartitionList::new();
        for partition in 0..partitions {
            from.add_partition_offset(topic, partition, Offset::Offset(0)).expect("an assignment");
        }
        consumer.assign(&from).expect("assigning");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || read(&consumer, topic, &stopped));
        Reader { topic, stop, thread }
    }

    /// What was read, and what was wrong with it.
    pub fn finish(self) -> (Seen, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the reader's thread")
    }
}

fn read(consumer: &BaseConsumer, topic: &str, stopped: &AtomicBool) -> (Seen, Vec<String>) {
    let (mut seen, mut wrong) = (Seen::new(), Vec::new());
    let mut last: BTreeMap<i32, i64> = BTreeMap::new();
    while !stopped.load(Ordering::Relaxed) {
        match consumer.poll(Duration::from_millis(100)) {
            None => {}
            Some(Ok(message)) => {
                let (partition, offset) = (message.partition(), message.offset());
                let before = last.insert(partition, offset);
                if before.is_some_and(|before| before >= offset) {
                    wrong.push(format!("{topic}-{partition}: {offset} was read after {before:?}"));
                }
                match number_of(&message) {
                    Some(number) => {
                        seen.insert((partition, offset), number);
                    }
                    None => wrong.push(format!("{topic}-{partition}: {offset} has no number")),
                }
            }
            Some(Err(error)) if is_fatal(&error) => wrong.push(format!("{topic}: {error}")),
            Some(Err(_)) => {}
        }
    }
    (seen, wrong)
}

/// Whether it says something about the log, not about brokers that come and go.
pub fn is_fatal(error: &KafkaError) -> bool {
    let code = error.rdkafka_error_code();
    use RDKafkaErrorCode::{AutoOffsetReset, BadMessage, InvalidMessage, OffsetOutOfRange};
    matches!(code, Some(AutoOffsetReset | BadMessage | InvalidMessage | OffsetOutOfRange))
}
