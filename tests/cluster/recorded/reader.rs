//! A consumer of all logs without a group, which now and then goes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use ottla::types::Offset;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use rdkafka::TopicPartitionList;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};

use crate::chaos::reader::is_fatal;
use crate::checker::history::{Log, Process};
use crate::recorded::polls::Polls;
use crate::recorded::recorder::Recorder;
use crate::recorded::{TOPICS, logs};

/// How many records a poll gives at most.
const MOST_POLLED: usize = 64;

/// How far back a consumer goes at most.
const MOST_BACK: i64 = 300;

/// One at work.
pub struct Reader {
    pub process: Process,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Reader {
    /// `committed`: with `isolation.level=read_committed`.
    pub fn start(
        mut config: ClientConfig,
        committed: bool,
        seed: u64,
        recorder: &Arc<Recorder>,
    ) -> Reader {
        config.set("group.id", "reader").set("enable.auto.commit", "false");
        let consumer: BaseConsumer = settings(&mut config, committed).create().expect("a consumer");
        let process = recorder.process();
        let stop = Arc::new(AtomicBool::new(false));
        let (stopped, recorder) = (Arc::clone(&stop), Arc::clone(recorder));
        let mut rng = StdRng::seed_from_u64(seed);
        let thread = std::thread::spawn(move || {
            let mut polls = Polls::new(&recorder, process, committed);
            assign(
                &consumer,
                &mut polls,
                logs().into_iter().map(|log| (log, Some(Offset::ZERO))).collect(),
            );
            while !stopped.load(Ordering::Relaxed) {
                polls.open();
                poll(&consumer, &recorder, |message| polls.take(message));
                polls.close();
                if rng.random_ratio(1, 40) {
                    go_back(&consumer, &mut polls, &mut rng);
                }
            }
        });
        Reader { process, stop, thread }
    }

    pub fn finish(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the consumer's thread");
    }
}

/// What all consumers are set to.
pub fn settings(config: &mut ClientConfig, committed: bool) -> &mut ClientConfig {
    let isolation = if committed { "read_committed" } else { "read_uncommitted" };
    // An offset that is out of range would mean that something is gone.
    config.set("auto.offset.reset", "error").set("check.crcs", "true").set("log_level", "0");
    config.set("isolation.level", isolation).set("socket.timeout.ms", "5000");
    config.set("topic.metadata.refresh.fast.interval.ms", "50").set("fetch.wait.max.ms", "100");
    config.set("fetch.error.backoff.ms", "50")
}

/// All that there is at once, or the first that comes soon.
pub fn poll<C: ConsumerContext>(
    consumer: &BaseConsumer<C>,
    recorder: &Recorder,
    mut take: impl FnMut(&rdkafka::message::BorrowedMessage<'_>),
) {
    let mut patience = Duration::from_millis(100);
    for _ in 0..MOST_POLLED {
        match consumer.poll(patience) {
            None => return,
            Some(Ok(message)) => take(&message),
            Some(Err(error)) if is_fatal(&error) => recorder.wrong(format!("a poll: {error}")),
            Some(Err(_)) => {}
        }
        patience = Duration::ZERO;
    }
}

/// The list that assigns these; where no offset is known, the group's committed one.
pub fn list(positions: &BTreeMap<Log, Option<Offset>>) -> TopicPartitionList {
    let mut list = TopicPartitionList::new();
    for (log, offset) in positions {
        let topic = TOPICS[log.topic as usize].name;
        let offset = offset.map_or(rdkafka::Offset::Stored, |at| rdkafka::Offset::Offset(at.0));
        list.add_partition_offset(topic, log.partition, offset).expect("an assignment");
    }
    list
}

fn assign(consumer: &BaseConsumer, polls: &mut Polls, positions: BTreeMap<Log, Option<Offset>>) {
    consumer.assign(&list(&positions)).expect("assigning");
    polls.assign(positions, false);
}

/// In one log by a seek, or in all by another assignment.
fn go_back(consumer: &BaseConsumer, polls: &mut Polls, rng: &mut StdRng) {
    let mut back = |at: Option<Offset>| {
        let at = at.unwrap_or(Offset::ZERO).0;
        Offset(rng.random_range((at - MOST_BACK).max(0)..=at))
    };
    let mut positions = polls.positions().clone();
    positions.values_mut().for_each(|at| *at = Some(back(*at)));
    let chosen = positions.iter().nth(rng.random_range(0..positions.len()));
    let Some((&log, &Some(to))) = chosen else { return };
    let topic = TOPICS[log.topic as usize].name;
    let sought = rng.random_bool(0.8) && {
        let offset = rdkafka::Offset::Offset(to.0);
        consumer.seek(topic, log.partition, offset, Duration::from_secs(1)).is_ok()
    };
    if sought {
        polls.seek(log, to);
    } else {
        assign(consumer, polls, positions);
    }
}
