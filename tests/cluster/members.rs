//! Members of groups as processes of their own, which can be killed and paused: this test program
//! itself, started again for nothing but [`a_member`]. A member commits every record before it takes
//! the next one, and writes down all that happens to it on its standard output; closing its standard
//! input makes it leave.

use std::io::{BufRead, BufReader, Read, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext, Rebalance};
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use crate::harness::{Cluster, eventually};

const MARK: &str = "member> ";
const CONFIG: &str = "OTTLA_MEMBER_CONFIG";
const TOPIC: &str = "OTTLA_MEMBER_TOPIC";

/// What happened to a member.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// It was told its generation, or its epoch.
    Generation(i32),
    /// Partitions came to it.
    Assigned(Vec<i32>),
    /// Partitions went from it.
    Revoked(Vec<i32>),
    /// It took a record.
    Got { partition: i32, offset: i64, number: u64 },
    /// A commit was acknowledged.
    Committed { partition: i32, offset: i64 },
    /// A commit was not.
    Refused { partition: i32, offset: i64, why: String },
    /// It failed in some other way.
    Failed(String),
}

impl Event {
    fn line(&self) -> String {
        let list = |partitions: &[i32]| {
            partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
        };
        match self {
            Event::Generation(generation) => format!("generation {generation}"),
            Event::Assigned(partitions) => format!("assigned {}", list(partitions)),
            Event::Revoked(partitions) => format!("revoked {}", list(partitions)),
            Event::Got { partition, offset, number } => {
                format!("got {partition} {offset} {number}")
            }
            Event::Committed { partition, offset } => format!("committed {partition} {offset}"),
            Event::Refused { partition, offset, why } => {
                format!("refused {partition} {offset} {why}")
            }
            Event::Failed(why) => format!("failed {why}"),
        }
    }

    fn parse(line: &str) -> Option<Event> {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        let mut numbers = rest.split_whitespace().map_while(|text| text.parse::<i64>().ok());
        let list = || rest.split(',').filter_map(|text| text.parse().ok()).collect();
        Some(match word {
            "generation" => Event::Generation(numbers.next()? as i32),
            "assigned" => Event::Assigned(list()),
            "revoked" => Event::Revoked(list()),
            "got" => Event::Got {
                partition: numbers.next()? as i32,
                offset: numbers.next()?,
                number: numbers.next()? as u64,
            },
            "committed" => {
                Event::Committed { partition: numbers.next()? as i32, offset: numbers.next()? }
            }
            "refused" => Event::Refused {
                partition: numbers.next()? as i32,
                offset: numbers.next()?,
                why: rest.splitn(3, ' ').nth(2).unwrap_or_default().to_owned(),
            },
            "failed" => Event::Failed(rest.to_owned()),
            _ => return None,
        })
    }
}

fn say(event: &Event) {
    let line = format!("{MARK}{}\n", event.line());
    let mut out = std::io::stdout().lock();
    // Nobody listens any more when the test is over.
    let _ = out.write_all(line.as_bytes()).and_then(|()| out.flush());
}

struct Narrator;

impl ClientContext for Narrator {
    /// The generation is told nowhere else. These lines come before what follows from them.
    fn log(&self, _: RDKafkaLogLevel, _: &str, message: &str) {
        let classic = message.split_once("JoinGroup response: GenerationId ");
        let consumer = message.split_once("Heartbeat response received for member id");
        let consumer = consumer.and_then(|(_, rest)| rest.split_once("with epoch "));
        if let Some((_, rest)) = classic.or(consumer)
            && let Some(number) = rest.split([',', ' ']).next()
            && let Ok(generation) = number.parse()
            && generation > 0
        {
            say(&Event::Generation(generation));
        }
    }
}

impl ConsumerContext for Narrator {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let numbers = |list: &TopicPartitionList| {
            list.elements().iter().map(|element| element.partition()).collect()
        };
        match rebalance {
            Rebalance::Assign(list) => say(&Event::Assigned(numbers(list))),
            Rebalance::Revoke(list) => say(&Event::Revoked(numbers(list))),
            Rebalance::Error(error) => say(&Event::Failed(error.to_string())),
        }
    }
}

/// No test: a member, where the environment says which.
#[test]
#[ignore = "the tests of groups run it as a process of its own"]
fn a_member() {
    let (Ok(config), Ok(topic)) = (std::env::var(CONFIG), std::env::var(TOPIC)) else { return };
    let mut client = ClientConfig::new();
    for (key, value) in config.lines().filter_map(|line| line.split_once('=')) {
        client.set(key, value);
    }
    client.set("debug", "cgrp").set_log_level(RDKafkaLogLevel::Debug);
    let consumer: BaseConsumer<Narrator> = client.create_with_context(Narrator).unwrap();
    consumer.subscribe(&[&topic]).unwrap();
    let leaving = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&leaving);
    std::thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        told.store(true, Ordering::Relaxed);
    });
    while !leaving.load(Ordering::Relaxed) {
        match consumer.poll(Duration::from_millis(50)) {
            Some(Ok(message)) => {
                let (partition, offset) = (message.partition(), message.offset());
                let value: [u8; 8] = message.payload().unwrap().try_into().unwrap();
                say(&Event::Got { partition, offset, number: u64::from_be_bytes(value) });
                commit(&consumer, &topic, partition, offset + 1);
            }
            Some(Err(error)) => say(&Event::Failed(error.to_string())),
            None => {}
        }
    }
}

fn commit(consumer: &BaseConsumer<Narrator>, topic: &str, partition: i32, offset: i64) {
    let mut offsets = TopicPartitionList::new();
    offsets.add_partition_offset(topic, partition, Offset::Offset(offset)).unwrap();
    say(&match consumer.commit(&offsets, CommitMode::Sync) {
        Ok(()) => Event::Committed { partition, offset },
        Err(error) => Event::Refused { partition, offset, why: error.to_string() },
    });
}

/// A member's process.
pub struct Member {
    pub name: String,
    process: Child,
    input: Option<ChildStdin>,
    reader: Option<JoinHandle<()>>,
    events: Arc<Mutex<Vec<(Instant, Event)>>>,
    is_paused: bool,
}

impl Member {
    /// Starts a member with `config` on top of what the cluster's clients have.
    pub fn start(cluster: &Cluster, name: &str, topic: &str, config: &[(&str, &str)]) -> Member {
        let mut client = cluster.client();
        client.set("enable.auto.commit", "false").set("auto.offset.reset", "earliest");
        client.set("client.id", name);
        for (key, value) in config {
            client.set(*key, *value);
        }
        let lines: Vec<String> =
            client.config_map().iter().map(|(key, value)| format!("{key}={value}")).collect();
        let mut process = Command::new(std::env::current_exe().unwrap())
            .args(["members::a_member", "--exact", "--ignored", "--nocapture"])
            .env(CONFIG, lines.join("\n"))
            .env(TOPIC, topic)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("starting a member");
        let input = process.stdin.take();
        let output = BufReader::new(process.stdout.take().unwrap());
        let events = Arc::new(Mutex::new(Vec::new()));
        let noted = Arc::clone(&events);
        let reader = std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let event = line.split_once(MARK).and_then(|(_, told)| Event::parse(told));
                if let Some(event) = event {
                    noted.lock().push((Instant::now(), event));
                }
            }
        });
        let reader = Some(reader);
        Member { name: name.to_owned(), process, input, reader, events, is_paused: false }
    }

    /// All that has happened to it so far.
    pub fn events(&self) -> Vec<Event> {
        self.events.lock().iter().map(|(_, event)| event.clone()).collect()
    }

    /// The first event that `is_wanted`, once it is there, and when it was.
    pub fn first(&self, what: &str, is_wanted: impl Fn(&Event) -> bool) -> (Instant, Event) {
        eventually(&format!("{what} of {}", self.name), || {
            self.events.lock().iter().find(|(_, event)| is_wanted(event)).cloned()
        })
    }

    /// The partitions that it has by what it was told.
    pub fn owns(&self) -> Vec<i32> {
        let mut owned = std::collections::BTreeSet::new();
        for (_, event) in self.events.lock().iter() {
            match event {
                Event::Assigned(partitions) => owned.extend(partitions.iter().copied()),
                Event::Revoked(partitions) => owned.retain(|owned| !partitions.contains(owned)),
                _ => {}
            }
        }
        owned.into_iter().collect()
    }

    /// Whether it has been given an assignment, even an empty one.
    pub fn has_joined(&self) -> bool {
        self.events.lock().iter().any(|(_, event)| matches!(event, Event::Generation(_)))
    }

    /// Silence, without closing its connections.
    pub fn pause(&mut self) {
        self.signal("-STOP");
        self.is_paused = true;
    }

    /// Lets it go on as if no time had passed.
    pub fn resume(&mut self) {
        self.signal("-CONT");
        self.is_paused = false;
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.is_paused
    }

    fn signal(&self, signal: &str) {
        let sent = Command::new("kill").args([signal, &self.process.id().to_string()]).status();
        assert!(sent.expect("kill").success(), "kill {signal}");
    }

    /// SIGKILL: it leaves no word to anyone. Gives all that had happened to it.
    pub fn kill(mut self) -> Vec<Event> {
        self.process.kill().expect("kill");
        self.finish()
    }

    /// Makes it leave the group and end. Gives all that had happened to it.
    pub fn leave(mut self) -> Vec<Event> {
        self.ask_to_leave();
        eventually(&format!("{} to leave", self.name), || self.process.try_wait().expect("wait"));
        self.finish()
    }

    /// Makes it leave, without waiting for that.
    pub fn ask_to_leave(&mut self) {
        if self.is_paused {
            self.resume();
        }
        self.input = None;
    }

    fn finish(&mut self) -> Vec<Event> {
        self.process.wait().expect("wait");
        self.reader.take().map(JoinHandle::join).expect("a reader").expect("the reader's thread");
        self.events()
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[test]
fn what_a_member_says_is_understood() {
    let events = [
        Event::Generation(3),
        Event::Assigned(vec![0, 2]),
        Event::Assigned(vec![]),
        Event::Revoked(vec![1]),
        Event::Got { partition: 1, offset: 5, number: 77 },
        Event::Committed { partition: 1, offset: 6 },
        Event::Refused { partition: 1, offset: 6, why: "no such member".to_owned() },
        Event::Failed("all brokers down".to_owned()),
    ];
    for event in events {
        assert_eq!(Event::parse(&event.line()), Some(event));
    }
    assert_eq!(Event::parse("running 1 test"), None);
}
