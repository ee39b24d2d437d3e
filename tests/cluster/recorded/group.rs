//! Consumers that share all logs in one group. Where each begins is what the group has committed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ottla::types::Offset;
use parking_lot::Mutex;
use rdkafka::TopicPartitionList;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaRespErr;

use crate::checker::history::{Log, Process};
use crate::recorded::polls::Polls;
use crate::recorded::reader::{list, poll, settings};
use crate::recorded::recorder::Recorder;
use crate::recorded::{TOPICS, log_of};

/// Answers rebalances.
struct Sharing(Arc<Mutex<Polls>>);

impl ClientContext for Sharing {
    fn log(&self, _: RDKafkaLogLevel, _: &str, _: &str) {}
    fn error(&self, _: KafkaError, _: &str) {}
}

impl ConsumerContext for Sharing {
    fn rebalance(
        &self,
        consumer: &BaseConsumer<Self>,
        what: RDKafkaRespErr,
        shared: &mut TopicPartitionList,
    ) {
        if what == RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS {
            let positions = committed(consumer, shared);
            consumer.assign(&list(&positions)).expect("assigning");
            self.0.lock().assign(positions, true);
        } else {
            commit(consumer, &self.0, CommitMode::Sync);
            consumer.unassign().expect("unassigning");
            self.0.lock().assign(BTreeMap::new(), true);
        }
    }
}

/// Where to go on in what was assigned. Where nobody answers the client finds out by itself.
fn committed(
    consumer: &BaseConsumer<Sharing>,
    shared: &TopicPartitionList,
) -> BTreeMap<Log, Option<Offset>> {
    let asked = consumer.committed_offsets(shared.clone(), Duration::from_secs(3));
    let (found, is_known): (_, bool) = match &asked {
        Ok(found) => (found, true),
        Err(_) => (shared, false),
    };
    let position = |element: &rdkafka::topic_partition_list::TopicPartitionListElem<'_>| {
        let log = log_of(element.topic(), element.partition()).expect("a log");
        let at = match element.offset() {
            _ if !is_known || element.error().is_err() => None,
            rdkafka::Offset::Offset(at) => Some(Offset(at)),
            _ => Some(Offset::ZERO),
        };
        (log, at)
    };
    found.elements().iter().map(position).collect()
}

/// Commits how far it has come. Refused, somebody reads it again.
fn commit(consumer: &BaseConsumer<Sharing>, polls: &Mutex<Polls>, mode: CommitMode) {
    let known = {
        let mut polls = polls.lock();
        polls.close();
        let known = polls.positions().iter().filter(|(_, at)| at.is_some());
        known.map(|(log, at)| (*log, *at)).collect::<BTreeMap<_, _>>()
    };
    if !known.is_empty() {
        let _refused: KafkaResult<()> = consumer.commit(&list(&known), mode);
    }
}

/// A member at work.
pub struct Member {
    pub process: Process,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Member {
    pub fn start(mut config: ClientConfig, recorder: &Arc<Recorder>) -> Member {
        config.set("group.id", "recorded").set("enable.auto.commit", "false");
        config.set("partition.assignment.strategy", "range").set("session.timeout.ms", "6000");
        config.set("heartbeat.interval.ms", "500");
        let process = recorder.process();
        let polls = Arc::new(Mutex::new(Polls::new(recorder, process, true)));
        let sharing = Sharing(Arc::clone(&polls));
        let consumer: BaseConsumer<Sharing> =
            settings(&mut config, true).create_with_context(sharing).expect("a consumer");
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, recorder) = (Arc::clone(&stop), Arc::clone(recorder));
        let thread = std::thread::spawn(move || {
            let topics: Vec<&str> = TOPICS.iter().map(|topic| topic.name).collect();
            consumer.subscribe(&topics).expect("subscribing");
            while !stopped.load(Ordering::Relaxed) {
                polls.lock().open();
                // Not locked meanwhile: a rebalance comes within a poll.
                poll(&consumer, &recorder, |message| polls.lock().take(message));
                commit(&consumer, &polls, CommitMode::Async);
            }
        });
        Member { process, stop, thread }
    }

    pub fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the member's thread");
    }
}
