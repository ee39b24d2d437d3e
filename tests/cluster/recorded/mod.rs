//! Real clients' operations, recorded and judged by the checker of the simulation, while brokers are
//! killed and paused or the network between them is cut.
//!
//! `OTTLA_RECORDED_SECONDS` says how long the faults go on (20), `OTTLA_RECORDED_SEED` repeats their
//! order (their effects depend on timing, too).
//!
//! - `recorder`: operations as they are invoked and answered
//! - `producer`, `reader`, `group`: the clients; `polls`: what consumers are given
//! - `ending`: what the replicas hold in the end, and the verdict
//! - `processes`: brokers are killed and paused
//! - `cuts`: the network between them is cut; `networks`: the namespaces for that

mod cuts;
mod ending;
mod group;
mod networks;
mod polls;
mod processes;
mod producer;
mod reader;
mod recorder;

use std::sync::Arc;

use crate::chaos::setting;
use crate::checker::history::{Acks, Log};
use crate::harness::Cluster;
use crate::recorded::group::Member;
use crate::recorded::producer::{Sender, Writing};
use crate::recorded::reader::Reader;
use crate::recorded::recorder::Recorder;

/// A topic: its name, its partitions, and how many replicas must have what is acknowledged.
struct Topic {
    name: &'static str,
    partitions: i32,
    min_in_sync: &'static str,
}

const TOPICS: &[Topic] = &[
    Topic { name: "recorded-orders", partitions: 3, min_in_sync: "2" },
    // The last in-sync replica alone acknowledges here.
    Topic { name: "recorded-drafts", partitions: 2, min_in_sync: "1" },
];

/// Larger batches are refused.
const MAX_MESSAGE_BYTES: usize = 16_000;

/// All partitions of all topics, a topic's number being its place.
fn logs() -> Vec<Log> {
    let of = |(number, topic): (usize, &Topic)| {
        (0..topic.partitions).map(move |partition| Log { topic: number as u32, partition })
    };
    TOPICS.iter().enumerate().flat_map(of).collect()
}

fn log_of(topic: &str, partition: i32) -> Option<Log> {
    let number = TOPICS.iter().position(|known| known.name == topic)?;
    Some(Log { topic: number as u32, partition })
}

const BROKERS: &str = "offsets.topic.num.partitions=3\nauto.create.topics.enable=false\n\
    group.initial.rebalance.delay.ms=0";

const WRITINGS: &[Writing] = &[
    Writing { acks: Acks::All, idempotent: true, rate: 200, patience_ms: 90_000, too_large: None },
    // Impatient: it gives up what may be there all the same.
    Writing { acks: Acks::All, idempotent: true, rate: 100, patience_ms: 3_000, too_large: None },
    Writing { acks: Acks::All, idempotent: false, rate: 100, patience_ms: 5_000, too_large: None },
    Writing {
        acks: Acks::One,
        idempotent: false,
        rate: 100,
        patience_ms: 5_000,
        too_large: Some(50),
    },
];

/// Everybody who uses a cluster.
struct Clients {
    recorder: Arc<Recorder>,
    senders: Vec<Sender>,
    readers: Vec<Reader>,
    members: Vec<Member>,
}

impl Clients {
    /// Makes the topics and begins.
    fn start(cluster: &Cluster, seed: u64) -> Clients {
        let max_bytes = MAX_MESSAGE_BYTES.to_string();
        for topic in TOPICS {
            let config =
                [("min.insync.replicas", topic.min_in_sync), ("max.message.bytes", &max_bytes)];
            cluster.create_topic(topic.name, topic.partitions, 3, &config);
        }
        let recorder = Arc::new(Recorder::new());
        let sender = |writing: &Writing| Sender::start(cluster.client(), *writing, &recorder);
        let reader = |committed| {
            Reader::start(cluster.client(), committed, seed ^ u64::from(committed), &recorder)
        };
        let member = |_| Member::start(cluster.client(), &recorder);
        Clients {
            senders: WRITINGS.iter().map(sender).collect(),
            readers: [true, false].map(reader).into(),
            members: (0..2).map(member).collect(),
            recorder,
        }
    }
}

const SEED: &str = "OTTLA_RECORDED_SEED";

/// How long, and the seed.
fn settings() -> (u64, u64) {
    let seconds = setting("OTTLA_RECORDED_SECONDS").unwrap_or(20);
    (seconds, setting(SEED).unwrap_or_else(rand::random))
}
