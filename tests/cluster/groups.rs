//! Groups of consumers with real clients, members as processes that are killed and paused, and
//! coordinators that are killed.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer};
use rdkafka::{Offset, TopicPartitionList};

use ottla::record::batches;

use crate::harness::{Cluster, PATIENCE, eventually};
use crate::history::{Load, stop_all};
use crate::members::{Event, Member};

const TOPIC: &str = "shared";
const GROUP: &str = "group";
const OFFSETS_TOPIC: &str = "__consumer_offsets";

/// Short sessions, so that a vanished member is missed soon, and no waiting for more members.
const BROKERS: &str = "group.initial.rebalance.delay.ms=0\ngroup.min.session.timeout.ms=1000\n\
    group.consumer.min.session.timeout.ms=1000\ngroup.consumer.session.timeout.ms=3000\n\
    group.consumer.min.heartbeat.interval.ms=100\ngroup.consumer.heartbeat.interval.ms=300\n";
const SESSION: Duration = Duration::from_secs(3);

const CLASSIC: &[(&str, &str)] = &[
    ("group.id", GROUP),
    ("group.protocol", "classic"),
    ("session.timeout.ms", "3000"),
    ("heartbeat.interval.ms", "300"),
];
const CONSUMER: &[(&str, &str)] = &[("group.id", GROUP), ("group.protocol", "consumer")];

fn cluster_with_topic(partitions: i32) -> Cluster {
    let cluster = Cluster::start(3, BROKERS);
    cluster.create_topic(TOPIC, partitions, 3, &[("min.insync.replicas", "2")]);
    cluster
}

/// The partition of the offsets topic that a group belongs to: Java's hash of its name.
fn partition_of(group: &str) -> i32 {
    let hash = group
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0) % 50
}

/// The node that coordinates a group.
fn coordinator(cluster: &Cluster, group: &str) -> i32 {
    cluster.leader(OFFSETS_TOPIC, partition_of(group))
}

/// The numbers of the records that were taken.
fn numbers<'a>(events: impl IntoIterator<Item = &'a Vec<Event>>) -> Vec<u64> {
    let events = events.into_iter().flatten();
    events
        .filter_map(|event| match event {
            Event::Got { number, .. } => Some(*number),
            _ => None,
        })
        .collect()
}

/// Four consumers, three partitions, one of them idle, until one of the others dies.
fn the_idle_one_takes_over(config: &[(&str, &str)]) {
    let cluster = cluster_with_topic(3);
    let load = Load::start(&cluster, TOPIC, 3, 200);
    let mut members: Vec<Member> = ["a", "b", "c", "d"]
        .iter()
        .map(|name| Member::start(&cluster, name, TOPIC, config))
        .collect();
    let shares = |members: &[Member]| {
        let mut shares: Vec<Vec<i32>> = members.iter().map(Member::owns).collect();
        shares.sort();
        shares
    };
    eventually("three members with a partition each, and one idle", || {
        let joined = members.iter().all(Member::has_joined);
        (joined && shares(&members) == [vec![], vec![0], vec![1], vec![2]]).then_some(())
    });
    for member in members.iter().filter(|member| !member.owns().is_empty()) {
        eventually(&format!("fifty records of {}", member.name), || {
            (numbers([&member.events()]).len() >= 50).then_some(())
        });
    }
    let idle = members.iter().position(|member| member.owns().is_empty()).unwrap();
    let idle = members.remove(idle);
    let victim = members.remove(0);
    let partition = victim.owns()[0];
    let killed = Instant::now();
    let victim = victim.kill();

    let (at, first) = idle.first(
        &format!("a record of partition {partition}"),
        |event| matches!(event, Event::Got { partition: of, .. } if *of == partition),
    );
    eprintln!("the idle one took over after {:?}", at - killed);
    assert!(at - killed < SESSION + Duration::from_secs(10), "only after {:?}", at - killed);
    let Event::Got { offset: first, .. } = first else { unreachable!("a record was asked for") };
    let last_committed = victim.iter().rev().find_map(|event| match event {
        Event::Committed { offset, .. } => Some(*offset),
        _ => None,
    });
    let last_committed = last_committed.expect("a commit of the killed member");
    // A commit may have been accepted whose answer the killed member did not see any more.
    let attempted = last_committed..=last_committed + 1;
    assert!(attempted.contains(&first), "began at {first}, {last_committed} was committed");

    load.await_progress(100);
    let history = load.finish();
    let all = || -> Vec<Vec<Event>> {
        let living = members.iter().chain([&idle]).map(Member::events);
        living.chain([victim.clone()]).collect()
    };
    let sent: BTreeSet<u64> = history.acknowledged.iter().map(|record| record.number).collect();
    eventually("every record to be taken", || {
        let taken: BTreeSet<u64> = numbers(&all()).into_iter().collect();
        taken.is_superset(&sent).then_some(())
    });
    let mut taken = numbers(&all());
    taken.sort_unstable();
    let doubled: Vec<u64> =
        taken.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    let allowed = victim.iter().rev().find_map(|event| match event {
        Event::Got { offset, number, .. } if *offset >= last_committed => Some(*number),
        _ => None,
    });
    assert!(doubled.iter().all(|number| Some(*number) == allowed), "taken twice: {doubled:?}");
}

#[test]
fn the_idle_consumer_takes_over_from_a_killed_one_classic() {
    let sticky = [CLASSIC, &[("partition.assignment.strategy", "cooperative-sticky")]].concat();
    the_idle_one_takes_over(&sticky);
}

#[test]
fn the_idle_consumer_takes_over_from_a_killed_one_consumer() {
    the_idle_one_takes_over(CONSUMER);
}

/// A consumer without a membership that commits ever greater offsets of partition 0.
struct Committer {
    consumer: BaseConsumer,
    committed: i64,
}

impl Committer {
    fn new(cluster: &Cluster, group: &str) -> Committer {
        let mut config = cluster.client();
        config.set("group.id", group).set("enable.auto.commit", "false");
        config.set("retry.backoff.ms", "20").set("socket.timeout.ms", "5000");
        Committer { consumer: config.create().unwrap(), committed: 0 }
    }

    /// Commits the next offset, however often that takes.
    fn commit(&mut self) {
        let mut offsets = TopicPartitionList::new();
        let next = Offset::Offset(self.committed + 1);
        offsets.add_partition_offset(TOPIC, 0, next).unwrap();
        let deadline = Instant::now() + PATIENCE;
        while let Err(error) = self.consumer.commit(&offsets, CommitMode::Sync) {
            assert!(Instant::now() < deadline, "no commit in {PATIENCE:?}: {error}");
            std::thread::sleep(Duration::from_millis(20));
        }
        self.committed += 1;
    }

    /// What the coordinator has.
    fn fetch(&self) -> i64 {
        fetch(&self.consumer, 0)
    }
}

fn fetch(consumer: &BaseConsumer, partition: i32) -> i64 {
    let mut wanted = TopicPartitionList::new();
    wanted.add_partition(TOPIC, partition);
    let found = eventually("the committed offset", || {
        let found = consumer.committed_offsets(wanted.clone(), Duration::from_secs(5)).ok()?;
        found.elements()[0].error().is_ok().then_some(found)
    });
    match found.elements()[0].offset() {
        Offset::Offset(offset) => offset,
        _ => 0,
    }
}

#[test]
fn commits_go_on_soon_after_the_coordinator_is_killed_and_none_is_lost() {
    let mut cluster = cluster_with_topic(1);
    let mut committer = Committer::new(&cluster, GROUP);
    committer.commit();
    cluster.await_in_sync(OFFSETS_TOPIC, 3);
    for round in 0..6 {
        for _ in 0..50 {
            committer.commit();
        }
        let victim = coordinator(&cluster, GROUP);
        let killed = Instant::now();
        cluster.kill(victim);
        committer.commit();
        let gap = killed.elapsed();
        eprintln!("coordinator {victim} killed, round {round}: {gap:?}");
        // The figures are the benchmark's to show.
        assert!(gap < Duration::from_secs(10), "no commit for {gap:?}");
        let elsewhere = Committer::new(&cluster, GROUP);
        assert_eq!(committer.committed, elsewhere.fetch(), "round {round}");
        cluster.spawn(victim);
        cluster.await_brokers(3);
        cluster.await_in_sync(OFFSETS_TOPIC, 3);
    }
    stop_all(&mut cluster);
    assert_eq!(never_back(&cluster), Vec::<String>::new(), "in the logs");
}

/// The commits in the logs of all nodes that are smaller than an earlier one of the same partition
/// by the same group. The cluster must have been stopped.
fn never_back(cluster: &Cluster) -> Vec<String> {
    let mut found = Vec::new();
    for node in &cluster.nodes {
        let mut greatest = BTreeMap::new();
        for partition in 0..50 {
            for (key, offset) in
                commits(&node.directory.join(format!("{OFFSETS_TOPIC}-{partition}")))
            {
                let before = greatest.insert(key.clone(), offset);
                if before > Some(offset) {
                    found.push(format!("node {}: {key:?} from {before:?} to {offset}", node.id));
                }
            }
        }
    }
    found
}

/// The committed offsets in a log in their order, each with its key's bytes as text.
fn commits(directory: &std::path::Path) -> Vec<(String, i64)> {
    let mut files: Vec<_> = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "log"))
        .collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let bytes = bytes::Bytes::from(std::fs::read(&file).unwrap());
        for batch in batches(&bytes) {
            for record in batch.unwrap().records().unwrap() {
                let (Some(key), Some(value)) = (&record.key, &record.value) else { continue };
                // Keys of versions 0 and 1 are those of offsets; the offset comes first in the value.
                if key[..2] == [0, 0] || key[..2] == [0, 1] {
                    let offset = i64::from_be_bytes(value[2..10].try_into().unwrap());
                    found.push((String::from_utf8_lossy(&key[2..]).into_owned(), offset));
                }
            }
        }
    }
    found
}

/// Pairs of members that took records of one partition in one generation.
fn concurrent(histories: &BTreeMap<String, Vec<Event>>) -> Vec<String> {
    let mut holders: BTreeMap<(i32, i32), BTreeSet<&str>> = BTreeMap::new();
    for (name, events) in histories {
        let mut generation = 0;
        for event in events {
            match event {
                Event::Generation(told) => generation = *told,
                Event::Got { partition, .. } => {
                    holders.entry((generation, *partition)).or_default().insert(name);
                }
                _ => {}
            }
        }
    }
    let shared = holders.iter().filter(|(_, names)| names.len() > 1);
    shared.map(|((g, p), names)| format!("generation {g}, partition {p}: {names:?}")).collect()
}

#[test]
fn two_members_with_one_partition_in_one_generation_are_found() {
    let got = |offset| Event::Got { partition: 0, offset, number: 0 };
    let history = |generation| vec![Event::Generation(generation), got(1)];
    let of = |a: i32, b: i32| {
        BTreeMap::from([("a".to_owned(), history(a)), ("b".to_owned(), history(b))])
    };
    assert_eq!(concurrent(&of(1, 2)), Vec::<String>::new());
    assert_eq!(concurrent(&of(2, 2)), ["generation 2, partition 0: {\"a\", \"b\"}"]);
}

/// Everything at random for a while, and what must hold nevertheless.
struct Chaos {
    cluster: Cluster,
    config: Vec<(&'static str, &'static str)>,
    random: StdRng,
    members: Vec<Member>,
    started: usize,
    histories: BTreeMap<String, Vec<Event>>,
    dead_node: Option<i32>,
}

const PARTITIONS: i32 = 6;
const MOST_MEMBERS: usize = 5;

impl Chaos {
    fn add(&mut self) {
        self.started += 1;
        let name = format!("member-{:02}", self.started);
        self.members.push(Member::start(&self.cluster, &name, TOPIC, &self.config));
    }

    fn step(&mut self) -> String {
        let chosen = self.random.random_range(0..self.members.len().max(1));
        match self.random.random_range(0..10) {
            _ if self.members.len() < 2 => self.join(),
            0..3 if self.members.len() < MOST_MEMBERS => self.join(),
            0..5 => {
                let mut member = self.members.swap_remove(chosen);
                if member.is_paused() {
                    member.resume();
                }
                let name = member.name.clone();
                self.histories.insert(name.clone(), member.kill());
                format!("{name} killed")
            }
            5 => {
                let member = self.members.swap_remove(chosen);
                let name = member.name.clone();
                let mut member = member;
                member.ask_to_leave();
                self.histories.insert(name.clone(), member.leave());
                format!("{name} left")
            }
            6 | 7 => self.pause_or_resume(chosen),
            _ => self.kill_or_start_coordinator(),
        }
    }

    fn join(&mut self) -> String {
        self.add();
        format!("member-{:02} joins", self.started)
    }

    fn pause_or_resume(&mut self, chosen: usize) -> String {
        let member = &mut self.members[chosen];
        if member.is_paused() {
            member.resume()
        } else {
            member.pause()
        }
        format!("{} {}", member.name, if member.is_paused() { "paused" } else { "resumed" })
    }

    fn kill_or_start_coordinator(&mut self) -> String {
        match self.dead_node.take() {
            Some(node) => {
                self.cluster.spawn(node);
                self.cluster.await_brokers(3);
                self.cluster.await_in_sync(OFFSETS_TOPIC, 3);
                self.cluster.await_in_sync(TOPIC, 3);
                format!("node {node} started")
            }
            None => {
                let node = coordinator(&self.cluster, GROUP);
                self.cluster.kill(node);
                self.dead_node = Some(node);
                format!("coordinator {node} killed")
            }
        }
    }

    /// Lets everyone go on.
    fn settle(&mut self) {
        if self.dead_node.is_some() {
            self.kill_or_start_coordinator();
        }
        for member in &mut self.members {
            if member.is_paused() {
                member.resume();
            }
        }
        if self.members.is_empty() {
            self.add();
        }
    }

    fn all(&self) -> BTreeMap<String, Vec<Event>> {
        let mut all = self.histories.clone();
        all.extend(self.members.iter().map(|member| (member.name.clone(), member.events())));
        all
    }
}

/// Asks for all committed offsets over and over; gives what went back.
fn watch(cluster: &Cluster, stop: &Arc<AtomicBool>) -> std::thread::JoinHandle<Vec<String>> {
    let mut config = cluster.client();
    config.set("group.id", GROUP).set("enable.auto.commit", "false");
    let consumer: BaseConsumer = config.create().unwrap();
    let stop = Arc::clone(stop);
    std::thread::spawn(move || {
        let (mut greatest, mut back) = (vec![0; PARTITIONS as usize], Vec::new());
        while !stop.load(Ordering::Relaxed) {
            for partition in 0..PARTITIONS {
                let found = fetch(&consumer, partition);
                let before = std::mem::replace(&mut greatest[partition as usize], found);
                if found < before {
                    back.push(format!("partition {partition} from {before} to {found}"));
                }
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        back
    })
}

fn chaos(config: &[(&'static str, &'static str)], length: Duration) {
    let seed = std::env::var("OTTLA_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed: u64 = seed.unwrap_or_else(|| rand::rng().random());
    eprintln!("OTTLA_SEED={seed}");
    let mut chaos = Chaos {
        cluster: cluster_with_topic(PARTITIONS),
        config: config.to_vec(),
        random: StdRng::seed_from_u64(seed),
        members: Vec::new(),
        started: 0,
        histories: BTreeMap::new(),
        dead_node: None,
    };
    let load = Load::start(&chaos.cluster, TOPIC, PARTITIONS, 300);
    for _ in 0..3 {
        chaos.add();
    }
    eventually("the first records", || (numbers(chaos.all().values()).len() > 100).then_some(()));
    chaos.cluster.await_in_sync(OFFSETS_TOPIC, 3);
    let stop = Arc::new(AtomicBool::new(false));
    let watcher = watch(&chaos.cluster, &stop);
    let started = Instant::now();
    while started.elapsed() < length {
        let step = chaos.step();
        eprintln!("{:6.2} s: {step}", started.elapsed().as_secs_f64());
        let pause = *[100, 500, 1500].choose(&mut chaos.random).unwrap();
        std::thread::sleep(Duration::from_millis(pause)); // the length of this state of affairs
    }
    chaos.settle();
    let history = load.finish();
    let sent: BTreeSet<u64> = history.acknowledged.iter().map(|record| record.number).collect();
    eventually("every record to be taken", || {
        let taken: BTreeSet<u64> = numbers(chaos.all().values()).into_iter().collect();
        taken.is_superset(&sent).then_some(())
    });
    stop.store(true, Ordering::Relaxed);
    assert_eq!(watcher.join().unwrap(), Vec::<String>::new(), "seen going back, seed {seed}");
    judge(chaos, sent.len(), seed);
}

fn judge(mut chaos: Chaos, sent: usize, seed: u64) {
    let mut last = BTreeMap::new();
    for member in &mut chaos.members {
        member.ask_to_leave();
    }
    for member in std::mem::take(&mut chaos.members) {
        chaos.histories.insert(member.name.clone(), member.leave());
    }
    for event in chaos.histories.values().flatten() {
        if let Event::Committed { partition, offset } = event {
            let greatest = last.entry(*partition).or_insert(0);
            *greatest = (*greatest).max(*offset);
        }
    }
    let committer = Committer::new(&chaos.cluster, GROUP);
    for (partition, offset) in last {
        let found = fetch(&committer.consumer, partition);
        assert!(found >= offset, "partition {partition}: {offset} acknowledged, {found} found");
    }
    let taken = numbers(chaos.histories.values()).len();
    let refused = chaos.histories.values().flatten();
    let refused = refused.filter(|event| matches!(event, Event::Refused { .. })).count();
    eprintln!("{sent} sent, {taken} taken, {refused} commits refused, {} members", chaos.started);
    assert_eq!(concurrent(&chaos.histories), Vec::<String>::new(), "seed {seed}");
    drop(committer);
    stop_all(&mut chaos.cluster);
    assert_eq!(never_back(&chaos.cluster), Vec::<String>::new(), "in the logs, seed {seed}");
}

#[test]
fn every_record_is_processed_whatever_happens_to_the_members_classic() {
    chaos(CLASSIC, Duration::from_secs(25));
}

#[test]
fn every_record_is_processed_whatever_happens_to_the_members_consumer() {
    chaos(CONSUMER, Duration::from_secs(15));
}
