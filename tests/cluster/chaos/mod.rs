//! Mixed load while everything breaks: kills, pauses, restarts, administrators, and damage to the files
//! of a broker that is down, never of a second one before the first has everything again. Nothing
//! that was acknowledged with acks=all is lost, and no replica differs below the high watermark.
//!
//! `OTTLA_CHAOS_SECONDS` says how long (20), `OTTLA_CHAOS_SEED` repeats the steps of another run
//! (their effects depend on timing, too), `OTTLA_CHAOS_DAMAGE` chooses the kinds of damage.
//!
//! - `load`, `reader`, `admin`: who writes, reads and administrates meanwhile
//! - `turmoil`, `damage`: what happens to the brokers and their files
//! - `verdict`: whether what the files hold in the end is right

mod admin;
mod damage;
mod load;
pub mod reader;
mod turmoil;
mod verdict;

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::chaos::admin::PASSING;
use crate::chaos::load::{Load, Writing};
use crate::chaos::reader::Reader;
use crate::chaos::turmoil::{Turmoil, await_everything, await_soundness};
use crate::chaos::verdict::{Ends, Findings, Promise, check, check_passing};
use crate::harness::{Cluster, eventually};
use crate::history::stop_all;

/// The topic that loses its older half at times.
const CUT: &str = "chaos-cut";
/// The topic that gets further partitions.
const GROWS: &str = "chaos-grows";

/// A topic: how it is written, what is promised, its replicas, its configuration.
type Topic = (Writing, Promise, i32, &'static [(&'static str, &'static str)]);

const fn writing(topic: &'static str, partitions: i32, rate: u32) -> Writing {
    let (idempotent, keys, codec, value_bytes) = (true, None, "none", 100);
    let patience_ms = 180_000;
    Writing { topic, partitions, rate, idempotent, keys, codec, value_bytes, patience_ms }
}

const TOPICS: &[Topic] = &[
    (
        writing("chaos-orders", 3, 300),
        Promise::FromLogStart,
        3,
        &[("min.insync.replicas", "2"), ("internal.segment.bytes", "32000")],
    ),
    (
        Writing { idempotent: false, codec: "lz4", ..writing("chaos-plain", 2, 150) },
        Promise::FromLogStart,
        3,
        &[("min.insync.replicas", "2"), ("internal.segment.bytes", "16000")],
    ),
    (
        Writing { keys: Some(200), codec: "zstd", ..writing("chaos-latest", 2, 300) },
        Promise::LastPerKey,
        3,
        &[
            ("min.insync.replicas", "2"),
            ("internal.segment.bytes", "16000"),
            ("cleanup.policy", "compact"),
            ("min.cleanable.dirty.ratio", "0.1"),
            // A replica that lags for longer than this may keep what the others have forgotten.
            ("delete.retention.ms", "20000"),
            ("segment.ms", "5000"),
        ],
    ),
    (
        writing(CUT, 2, 150),
        Promise::FromLogStart,
        3,
        &[("min.insync.replicas", "2"), ("internal.segment.bytes", "16000")],
    ),
    (
        Writing { codec: "snappy", value_bytes: 400, ..writing("chaos-short", 2, 150) },
        Promise::NewestBytes(64_000),
        3,
        &[
            ("min.insync.replicas", "2"),
            ("internal.segment.bytes", "16000"),
            ("retention.bytes", "64000"),
            ("file.delete.delay.ms", "500"),
        ],
    ),
    (writing(GROWS, 1, 100), Promise::FromLogStart, 3, &[("min.insync.replicas", "2")]),
    // Of one replica; damaged, it may have no leader for good.
    (Writing { patience_ms: 11_000, ..writing("chaos-lonely", 2, 50) }, Promise::Nothing, 1, &[]),
];

/// The topics that are read along: nothing is removed from them.
const READ: &[(&str, i32)] = &[("chaos-orders", 3), ("chaos-plain", 2)];

fn config_of(topic: &str) -> &'static [(&'static str, &'static str)] {
    let found = TOPICS.iter().find(|(writing, ..)| writing.topic == topic);
    found.map_or(&[], |(.., config)| config)
}

/// A number that the environment sets.
pub fn setting(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text}")))
}

#[test]
fn mixed_load_under_kills_and_damage_loses_nothing() {
    let seconds = setting("OTTLA_CHAOS_SECONDS").unwrap_or(20);
    let seed = setting("OTTLA_CHAOS_SEED").unwrap_or_else(rand::random);
    let damages = damage::enabled();
    eprintln!("OTTLA_CHAOS_SEED={seed}, {seconds} s, damage: {damages:?}");
    let mut cluster = Cluster::start_with_directories(
        3,
        DIRECTORIES,
        "log.initial.task.delay.ms=300\nlog.retention.check.interval.ms=500\nlog.cleaner.backoff.ms=300\n\
         offsets.topic.num.partitions=3\nauto.create.topics.enable=false",
    );
    for (writing, _, replicas, config) in TOPICS {
        cluster.create_topic(writing.topic, writing.partitions, *replicas, config);
    }
    let loads: Vec<Load> =
        TOPICS.iter().map(|(writing, ..)| Load::start(&cluster, *writing)).collect();
    let readers: Vec<Reader> = READ
        .iter()
        .map(|(topic, partitions)| Reader::start(&cluster, topic, *partitions))
        .collect();

    let is_silently_damaged = damages.iter().any(|damage| damage.is_silent());
    let mut turmoil = Turmoil::new(&mut cluster, &loads, seed, damages);
    turmoil.run(Duration::from_secs(seconds));
    let administrator = turmoil.administrator;
    eprintln!("done, and tried in vain: {:?}", administrator.counts);

    let passing = administrator.passing;
    settle(&mut cluster, loads, readers, passing, is_silently_damaged, seed);
}

/// Data directories of each broker.
const DIRECTORIES: usize = 2;

/// Waits for all that is under way and all replicas, stops the brokers and judges.
fn settle(
    cluster: &mut Cluster,
    loads: Vec<Load>,
    readers: Vec<Reader>,
    passing: Option<u64>,
    is_silently_damaged: bool,
    seed: u64,
) {
    loads.iter().for_each(Load::stop);
    await_everything(cluster);
    let written: Vec<_> = loads.into_iter().map(Load::finish).collect();
    await_everything(cluster);
    if is_silently_damaged {
        await_soundness(cluster);
    }
    let (ends, passing_exists) = quiet_ends(cluster);
    let mut findings = Findings::default();
    for (writing, partitions, answers) in &written {
        let (topic, count) = (writing.topic, answers.acknowledged.len());
        eprintln!("{topic}: {count} acknowledged in {partitions} partitions");
    }
    let read: Vec<_> = readers.into_iter().map(|reader| (reader.topic, reader.finish())).collect();
    stop_all(cluster);

    for (topic, (_, wrong)) in &read {
        wrong.iter().for_each(|what| findings.add("read wrongly", format!("{topic}: {what}")));
    }
    for (writing, partitions, answers) in &written {
        let topic = TOPICS.iter().find(|(other, ..)| other.topic == writing.topic);
        let promise = topic.map_or(Promise::Nothing, |(_, promise, ..)| *promise);
        let seen = read.iter().find(|(topic, _)| *topic == writing.topic);
        let seen = seen.map(|(_, (seen, _))| seen);
        check(cluster, (writing, promise), *partitions, (answers, seen), &ends, &mut findings);
        assert!(!answers.acknowledged.is_empty(), "nothing was acknowledged in {}", writing.topic);
    }
    check_passing(cluster, PASSING, (passing_exists, passing), &mut findings);
    let summary = findings.summary();
    assert!(summary.is_empty(), "OTTLA_CHAOS_SEED={seed}\n{summary}");
}

/// The ends of all partitions, once neither moves any more; and whether the passing topic is there.
fn quiet_ends(cluster: &Cluster) -> (Ends, bool) {
    let consumer: BaseConsumer = cluster.client().create().expect("a consumer");
    let patience = Duration::from_secs(5);
    let mut last = (Ends::new(), false);
    let mut since = Instant::now();
    eventually("the ends of all partitions to rest", || {
        let metadata = cluster.metadata()?;
        let mut ends = Ends::new();
        for topic in metadata.topics().iter().filter(|topic| topic.name().starts_with("chaos-")) {
            for partition in topic.partitions() {
                let marks =
                    consumer.fetch_watermarks(topic.name(), partition.id(), patience).ok()?;
                ends.insert((topic.name().to_owned(), partition.id()), marks);
            }
        }
        let exists = metadata.topics().iter().any(|topic| topic.name() == PASSING);
        if last != (ends.clone(), exists) {
            last = (ends, exists);
            since = Instant::now();
        }
        (since.elapsed() > Duration::from_secs(2)).then(|| last.clone())
    })
}
