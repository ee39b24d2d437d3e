//! What is written while everything breaks: one steady writer per topic, whose records say by their
//! number which they are, and the record of what was acknowledged.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::message::{Header, Headers, Message, OwnedHeaders};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use crate::harness::Cluster;
use crate::logs::{NUMBER, number_in};

/// How records are written to one topic.
#[derive(Debug, Clone, Copy)]
pub struct Writing {
    pub topic: &'static str,
    /// At first; it may grow.
    pub partitions: i32,
    /// Records a second.
    pub rate: u32,
    pub idempotent: bool,
    /// How many different keys there are; none: the records have no key.
    pub keys: Option<u64>,
    /// librdkafka's name of a codec.
    pub codec: &'static str,
    /// Bytes of a value.
    pub value_bytes: usize,
    /// For how long a record is tried.
    pub patience_ms: u32,
}

impl Writing {
    /// The key of a record.
    pub fn key_of(&self, number: u64) -> Option<u64> {
        self.keys.map(|keys| number.wrapping_mul(0x9e37_79b9_7f4a_7c15) % keys)
    }

    /// Whether a record takes its key back.
    pub fn is_tombstone(&self, number: u64) -> bool {
        self.keys.is_some() && number.is_multiple_of(7)
    }

    fn partition_of(&self, number: u64, partitions: i32) -> i32 {
        let partition =
            self.key_of(number).unwrap_or(number) % u64::from(partitions.unsigned_abs());
        i32::try_from(partition).expect("a partition")
    }
}

/// One acknowledgement. A negative offset is one that the client does not know.
#[derive(Debug, Clone, Copy)]
pub struct Acknowledged {
    pub number: u64,
    pub partition: i32,
    pub offset: i64,
}

/// What was answered to the writer of one topic.
#[derive(Debug, Default)]
pub struct Answers {
    pub acknowledged: Vec<Acknowledged>,
    pub failed: Vec<(u64, String)>,
}

/// Notes every delivery report.
#[derive(Clone, Default)]
pub struct Notes(Arc<Mutex<Answers>>);

impl ClientContext for Notes {
    fn log(&self, _: rdkafka::config::RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: rdkafka::error::KafkaError, _: &str) {}
}

impl ProducerContext for Notes {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, number: Box<u64>) {
        let mut answers = self.0.lock();
        match result {
            Ok(message) => answers.acknowledged.push(Acknowledged {
                number: *number,
                partition: message.partition(),
                offset: message.offset(),
            }),
            Err((error, _)) => answers.failed.push((*number, error.to_string())),
        }
    }
}

/// The number that a consumed record bears.
pub fn number_of(message: &impl Message) -> Option<u64> {
    let headers = message.headers()?;
    let all: Vec<_> = headers.iter().map(|header| (header.key, header.value)).collect();
    number_in(&all)
}

/// A writer at work.
pub struct Load {
    pub writing: Writing,
    notes: Notes,
    partitions: Arc<AtomicI32>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Load {
    pub fn start(cluster: &Cluster, writing: Writing) -> Load {
        let mut config = cluster.client();
        let idempotent = if writing.idempotent { "true" } else { "false" };
        config.set("enable.idempotence", idempotent).set("acks", "all").set("linger.ms", "5");
        config.set("delivery.timeout.ms", writing.patience_ms.to_string());
        config.set("request.timeout.ms", "10000");
        config.set("topic.metadata.refresh.fast.interval.ms", "50").set("retry.backoff.ms", "20");
        config.set("topic.metadata.refresh.interval.ms", "1000");
        config.set("compression.codec", writing.codec).set("message.send.max.retries", "1000000");
        // Well below the smallest segment.
        config.set("batch.size", "6000");
        let notes = Notes::default();
        let producer: ThreadedProducer<Notes> =
            config.create_with_context(notes.clone()).expect("a producer");
        let stop = Arc::new(AtomicBool::new(false));
        let partitions = Arc::new(AtomicI32::new(writing.partitions));
        let (stopped, spread) = (Arc::clone(&stop), Arc::clone(&partitions));
        let thread = std::thread::spawn(move || {
            let started = Instant::now();
            let mut number = 0_u64;
            while !stopped.load(Ordering::Relaxed) {
                let due = (started.elapsed().as_secs_f64() * f64::from(writing.rate)) as u64;
                while number < due
                    && send(&producer, &writing, number, spread.load(Ordering::Relaxed))
                {
                    number += 1;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            // What is still under way is answered within the delivery timeout, one way or the other.
            producer.flush(Duration::from_secs(200)).expect("flushing the producer");
        });
        Load { writing, notes, partitions, stop, thread }
    }

    /// From now on records go to so many partitions.
    pub fn spread_to(&self, partitions: i32) {
        self.partitions.store(partitions, Ordering::Relaxed);
    }

    /// How many partitions are written to.
    pub fn partitions(&self) -> i32 {
        self.partitions.load(Ordering::Relaxed)
    }

    /// How many are acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.notes.0.lock().acknowledged.len()
    }

    /// Sends no more.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for all that is under way.
    pub fn finish(self) -> (Writing, i32, Answers) {
        self.stop();
        self.thread.join().expect("the writer's thread");
        let partitions = self.partitions.load(Ordering::Relaxed);
        (self.writing, partitions, std::mem::take(&mut *self.notes.0.lock()))
    }
}

/// Hands one record to the client; false if its queue is full.
fn send(
    producer: &ThreadedProducer<Notes>,
    writing: &Writing,
    number: u64,
    partitions: i32,
) -> bool {
    let bytes = number.to_be_bytes();
    let header = Header { key: NUMBER, value: Some(&bytes[..]) };
    let key = writing.key_of(number).map(|key| format!("key-{key}"));
    // Half of it is the same in all records, so that codecs find something to do.
    let value: Vec<u8> = (0..writing.value_bytes)
        .map(|at| if at % 2 == 0 { 7 } else { (number.wrapping_mul(31) >> (at % 8)) as u8 })
        .collect();
    let mut record = BaseRecord::<String, _, _>::with_opaque_to(writing.topic, Box::new(number))
        .partition(writing.partition_of(number, partitions))
        .headers(OwnedHeaders::new().insert(header));
    if let Some(key) = &key {
        record = record.key(key);
    }
    if !writing.is_tombstone(number) {
        record = record.payload(&value);
    }
    producer.send(record).is_ok()
}
