//! What was sent and acknowledged, and whether the logs on disk agree with it.

use std::collections::BTreeSet;
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};

use crate::harness::{Cluster, Node, PATIENCE, eventually};
use crate::logs::{Oddity, Replica};

/// One acknowledgement.
#[derive(Debug, Clone, Copy)]
pub struct Acknowledged {
    pub number: u64,
    pub partition: i32,
    /// Negative: not known. librdkafka tells none where it takes a batch as acknowledged because a
    /// later one was, which in an idempotent log can only stand behind it.
    pub offset: i64,
    pub at: Instant,
}

#[derive(Default)]
struct Deliveries {
    acknowledged: Mutex<Vec<Acknowledged>>,
    failed: Mutex<Vec<(u64, String)>>,
}

/// Notes every delivery report.
#[derive(Clone, Default)]
struct Recorder(Arc<Deliveries>);

impl ClientContext for Recorder {
    /// What the client says goes to the file `OTTLA_CLIENT_LOG`, where that is set.
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let Some(path) = std::env::var_os("OTTLA_CLIENT_LOG") else { return };
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = format!("{:.3} {level:?} {facility} {message}\n", now.as_secs_f64());
        let file = std::fs::File::options().create(true).append(true).open(path);
        file.and_then(|mut file| file.write_all(line.as_bytes()))
            .expect("writing the client's log");
    }
}

impl ProducerContext for Recorder {
    type DeliveryOpaque = Box<u64>;

    fn delivery(&self, result: &DeliveryResult<'_>, number: Box<u64>) {
        match result {
            Ok(message) => self.0.acknowledged.lock().push(Acknowledged {
                number: *number,
                partition: message.partition(),
                offset: message.offset(),
                at: Instant::now(),
            }),
            Err((error, _)) => self.0.failed.lock().push((*number, error.to_string())),
        }
    }
}

/// An idempotent acks=all producer that sends numbered records at a steady rate in a thread.
pub struct Load {
    recorder: Recorder,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Load {
    /// About `rate` records a second to all partitions of `topic`, with settings that look for a
    /// new leader often.
    pub fn start(cluster: &Cluster, topic: &str, partitions: i32, rate: u32) -> Load {
        let mut config = cluster.client();
        config.set("enable.idempotence", "true").set("acks", "all").set("linger.ms", "1");
        config.set("delivery.timeout.ms", "120000").set("request.timeout.ms", "10000");
        config.set("topic.metadata.refresh.fast.interval.ms", "50").set("retry.backoff.ms", "20");
        Load::start_with(config, topic, partitions, rate)
    }

    /// The same, with librdkafka's own defaults but for idempotence.
    #[allow(dead_code)] // for benches
    pub fn start_with_defaults(cluster: &Cluster, topic: &str, partitions: i32, rate: u32) -> Load {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap());
        config.set("enable.idempotence", "true").set("acks", "all");
        Load::start_with(config, topic, partitions, rate)
    }

    fn start_with(mut config: ClientConfig, topic: &str, partitions: i32, rate: u32) -> Load {
        let recorder = Recorder::default();
        if std::env::var_os("OTTLA_CLIENT_LOG").is_some() {
            config.set("debug", "eos,msg,broker").set_log_level(RDKafkaLogLevel::Debug);
        }
        let producer: ThreadedProducer<Recorder> =
            config.create_with_context(recorder.clone()).expect("a producer");
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let sent = Arc::new(AtomicU64::new(0));
        let sending = Arc::clone(&sent);
        let topic = topic.to_owned();
        let thread = std::thread::spawn(move || {
            let started = Instant::now();
            let mut number = 0_u64;
            while !stopped.load(Ordering::Relaxed) {
                let due = (started.elapsed().as_secs_f64() * f64::from(rate)) as u64;
                while number < due {
                    let value = number.to_be_bytes();
                    let record = BaseRecord::<(), _, _>::with_opaque_to(&topic, Box::new(number))
                        .partition((number % partitions as u64) as i32)
                        .payload(&value[..]);
                    match producer.send(record) {
                        Ok(()) => number += 1,
                        Err(_) => break,
                    }
                }
                sending.store(number, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(1));
            }
            producer.flush(Duration::from_secs(120)).expect("flushing the producer");
        });
        Load { recorder, sent, stop, thread }
    }

    /// How many are acknowledged so far.
    pub fn acknowledged(&self) -> usize {
        self.recorder.0.acknowledged.lock().len()
    }

    /// Waits until `more` further records are acknowledged.
    pub fn await_progress(&self, more: usize) {
        let goal = self.acknowledged() + more;
        eventually("further acknowledgements", || (self.acknowledged() >= goal).then_some(()));
    }

    /// What has been sent so far: every later record has this number or a greater one.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// When the first record of `partition` was acknowledged that was sent after `number`. What was
    /// sent before may have been acknowledged by a leader that is dead by now.
    pub fn acknowledgement_after(&self, partition: i32, number: u64) -> Instant {
        eventually(&format!("an acknowledgement of partition {partition}"), || {
            let acknowledged = self.recorder.0.acknowledged.lock();
            let recent =
                acknowledged.iter().rev().take_while(|found| found.number + 200_000 > number);
            let later = recent.filter(|f| f.partition == partition && f.number > number);
            later.map(|found| found.at).min()
        })
    }

    /// Stops sending, waits for what is under way, and gives the history.
    pub fn finish(self) -> History {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the load's thread");
        let acknowledged = std::mem::take(&mut *self.recorder.0.acknowledged.lock());
        let failed = std::mem::take(&mut *self.recorder.0.failed.lock());
        History { acknowledged, failed }
    }
}

/// Everything that was answered.
pub struct History {
    pub acknowledged: Vec<Acknowledged>,
    pub failed: Vec<(u64, String)>,
}

/// What a history and the replicas' files disagree on.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Acknowledged, and not at its offset on some replica.
    pub lost: Vec<String>,
    /// In a log twice, or an offset acknowledged twice.
    pub duplicated: Vec<String>,
    /// In a log before a record that was sent earlier.
    pub out_of_order: Vec<String>,
    /// Replicas whose files differ.
    pub different: Vec<String>,
    /// Sends that the client reported as failed.
    pub failed: Vec<String>,
}

impl History {
    /// Checks this history against every replica's files. The cluster must have been stopped
    /// cleanly with all replicas in sync.
    pub fn check(&self, cluster: &Cluster, topic: &str, partitions: i32) {
        let mut findings = self.findings(cluster, topic, partitions);
        for found in [
            &mut findings.lost,
            &mut findings.duplicated,
            &mut findings.out_of_order,
            &mut findings.failed,
        ] {
            found.truncate(5);
        }
        assert_eq!(findings, Findings::default(), "the first few of each kind");
    }

    /// What is wrong, if anything. The cluster must have been stopped cleanly with all replicas in
    /// sync.
    pub fn findings(&self, cluster: &Cluster, topic: &str, partitions: i32) -> Findings {
        let failed = self.failed.iter().map(|(number, error)| format!("{number}: {error}"));
        let mut findings = Findings { failed: failed.collect(), ..Findings::default() };
        for partition in 0..partitions {
            let logs = replicas(cluster, topic, partition);
            for (index, log) in logs.iter().enumerate() {
                let place = format!("{topic}-{partition} on node {}", index + 1);
                if log.batches != logs[0].batches {
                    findings.different.push(format!("{place} differs from node 1"));
                }
                self.check_replica(log, partition, &place, &mut findings);
            }
        }
        findings
    }

    fn check_replica(&self, log: &Replica, partition: i32, place: &str, findings: &mut Findings) {
        let mut offsets = BTreeSet::new();
        for found in self.acknowledged.iter().filter(|found| found.partition == partition) {
            let Acknowledged { number, offset, .. } = *found;
            if offset < 0 {
                if !log.records.values().any(|there| there.number == Some(number)) {
                    findings
                        .lost
                        .push(format!("{place}: {number} was acknowledged, and is not there"));
                }
                continue;
            }
            let there = log.records.get(&offset).and_then(|there| there.number);
            if there != Some(number) {
                findings.lost.push(format!(
                    "{place}: {number} was acknowledged at {offset}, where {there:?} is"
                ));
            }
            if !offsets.insert(offset) {
                findings.duplicated.push(format!("{place}: {offset} was acknowledged twice"));
            }
        }
        for oddity in log.oddities(0) {
            match oddity {
                Oddity::Twice { number, offset, .. } => {
                    findings.duplicated.push(format!("{place}: {number} again at {offset}"));
                }
                Oddity::SentAgain { number, .. } => {
                    eprintln!("{place}: {number} was sent again in a new epoch");
                }
                Oddity::Late { number, offset } => {
                    findings.out_of_order.push(format!("{place}: {number} at {offset} is late"));
                }
                Oddity::Foreign { offset } => panic!("{place}: {offset} has no number"),
            }
        }
    }
}

/// Every node's replica of a partition. The cluster must have been stopped cleanly.
pub fn replicas(cluster: &Cluster, topic: &str, partition: i32) -> Vec<Replica> {
    let read = |node: &Node| {
        let directory = node.replica(topic, partition).expect("a replica");
        let replica = Replica::read(&directory);
        assert_eq!(replica.wrong, Vec::<String>::new(), "{}", directory.display());
        replica
    };
    cluster.nodes.iter().map(read).collect()
}

/// Stops every running node cleanly, one after another.
pub fn stop_all(cluster: &mut Cluster) {
    let running: Vec<i32> =
        cluster.nodes.iter().filter(|node| node.is_running()).map(|node| node.id).collect();
    for id in running {
        cluster.terminate(id);
    }
}

/// Waits for all replicas, stops the cluster cleanly and checks the history against the files.
pub fn settle_and_check(cluster: &mut Cluster, load: Load, topic: &str, partitions: i32) {
    let history = settle(cluster, load, topic, partitions);
    assert!(!history.acknowledged.is_empty(), "nothing was acknowledged in {PATIENCE:?}");
    history.check(cluster, topic, partitions);
}

/// Stops sending, waits for all replicas and stops the cluster cleanly.
pub fn settle(cluster: &mut Cluster, load: Load, topic: &str, partitions: i32) -> History {
    let replicas = cluster.nodes.len();
    let history = load.finish();
    cluster.await_in_sync(topic, replicas);
    await_one_length(cluster, topic, partitions);
    stop_all(cluster);
    history
}

/// Waits until all replicas of every partition have files of one length.
pub fn await_one_length(cluster: &Cluster, topic: &str, partitions: i32) {
    let ends = |cluster: &Cluster| -> Vec<Vec<u64>> {
        let size = |node: &Node, partition: i32| {
            let directory = node.replica(topic, partition).expect("a replica");
            std::fs::read_dir(directory)
                .into_iter()
                .flatten()
                .flatten()
                .filter(|entry| entry.path().extension().is_some_and(|e| e == "log"))
                .map(|entry| entry.metadata().map_or(0, |metadata| metadata.len()))
                .sum()
        };
        let nodes = cluster.nodes.iter();
        nodes.map(|node| (0..partitions).map(|p| size(node, p)).collect()).collect()
    };
    eventually("all replicas to be of one length", || {
        let ends = ends(cluster);
        ends.iter().all(|end| *end == ends[0]).then_some(())
    });
}
