//! Producers that send values to all logs at a steady rate.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use ottla::types::{Offset, ProducerId};
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use crate::checker::history::{Acks, Action, Outcome, Process, Send, Value};
use crate::recorded::recorder::Recorder;
use crate::recorded::{MAX_MESSAGE_BYTES, TOPICS, logs};

/// How one producer writes.
#[derive(Debug, Clone, Copy)]
pub struct Writing {
    pub acks: Acks,
    pub idempotent: bool,
    /// Records a second.
    pub rate: u32,
    /// For how long a record is tried.
    pub patience_ms: u32,
    /// Every so manieth record is larger than the topics take.
    pub too_large: Option<u64>,
}

impl Writing {
    fn config(&self, mut config: ClientConfig) -> ClientConfig {
        let acks = match self.acks {
            Acks::Zero => "0",
            Acks::One => "1",
            Acks::All => "all",
        };
        config.set("acks", acks).set("enable.idempotence", self.idempotent.to_string());
        config.set("linger.ms", "2").set("request.timeout.ms", "3000").set("log_level", "0");
        config.set("delivery.timeout.ms", self.patience_ms.to_string());
        config.set("topic.metadata.refresh.fast.interval.ms", "50").set("retry.backoff.ms", "20");
        config
    }
}

/// Notes every delivery report.
struct Deliveries(Arc<Recorder>);

impl ClientContext for Deliveries {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ProducerContext for Deliveries {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, operation: Box<usize>) {
        let told = match result {
            Ok(message) => Outcome::Acknowledged(offset(message.offset())),
            // It is refused for what it is: an earlier attempt was not taken either.
            Err((error, _))
                if error.rdkafka_error_code() == Some(RDKafkaErrorCode::MessageSizeTooLarge) =>
            {
                Outcome::Failed
            }
            // Whichever error came last, an earlier attempt may have been taken.
            Err(_) => Outcome::Unknown,
        };
        self.0.end(*operation, |action| set(action, told));
    }
}

/// librdkafka tells none where it takes a batch as acknowledged because a later one was.
fn offset(told: i64) -> Option<Offset> {
    (told >= 0).then_some(Offset(told))
}

fn set(action: &mut Action, told: Outcome<Option<Offset>>) {
    if let Action::Send(send) = action {
        send.outcome = told;
    }
}

/// One at work.
pub struct Sender {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Sender {
    pub fn start(config: ClientConfig, writing: Writing, recorder: &Arc<Recorder>) -> Sender {
        let (process, deliveries) = (recorder.process(), Deliveries(Arc::clone(recorder)));
        let producer: ThreadedProducer<Deliveries> =
            writing.config(config).create_with_context(deliveries).expect("a producer");
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, recorder) = (Arc::clone(&stop), Arc::clone(recorder));
        let thread = std::thread::spawn(move || {
            let (started, mut number) = (Instant::now(), 0);
            while !stopped.load(Ordering::Relaxed) {
                let due = (started.elapsed().as_secs_f64() * f64::from(writing.rate)) as u64;
                while number < due {
                    send(&producer, &writing, process, number, &recorder);
                    number += 1;
                }
                std::thread::sleep(Duration::from_millis(2));
            }
            // What is still under way is answered within its patience, one way or the other.
            producer.flush(Duration::from_secs(120)).expect("flushing the producer");
        });
        Sender { stop, thread }
    }

    /// Sends no more.
    pub fn stop(&self) {
        self.stop.store(true, Ordering::Relaxed);
    }

    /// Waits for what is under way.
    pub fn finish(self) {
        self.stop();
        self.thread.join().expect("the producer's thread");
    }
}

fn send(
    producer: &ThreadedProducer<Deliveries>,
    writing: &Writing,
    process: Process,
    number: u64,
    recorder: &Recorder,
) {
    let all = logs();
    let log = all[number as usize % all.len()];
    let value = Value((u64::from(process.0) << 32) | number);
    let mut payload = value.0.to_be_bytes().to_vec();
    if writing.too_large.is_some_and(|every| number % every == every - 1) {
        payload.resize(MAX_MESSAGE_BYTES, 0);
    }
    let operation = recorder.begin(
        process,
        Action::Send(Send {
            log,
            value,
            key: None,
            tombstone: false,
            acks: writing.acks,
            // Which one it was given nobody tells; it is this client's own.
            producer: writing.idempotent.then(|| ProducerId(i64::from(process.0))),
            transaction: None,
            outcome: Outcome::Unknown,
        }),
    );
    let topic = TOPICS[log.topic as usize].name;
    let record = BaseRecord::<(), _, _>::with_opaque_to(topic, Box::new(operation))
        .partition(log.partition)
        .payload(&payload);
    if let Err((error, _)) = producer.send(record) {
        recorder.end(operation, |action| set(action, Outcome::Failed));
        // An idempotent producer says so once it has lost faith in a broker.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::QueueFull) {
            recorder.wrong(format!("{value} cannot be sent: {error}"));
        }
    }
}
