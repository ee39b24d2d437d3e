//! Groups: rolling restarts, commits, dying coordinators, and many idle groups.
//!
//!     cargo bench --bench groups [-- rolling|commits|failover|idle ...] [restarts=N] [kills=N]
//!
//! - `rolling`: 50 consumers (librdkafka, heartbeats each 500 ms) on 500 partitions are restarted one
//!   after another; for each step the time to a stable, even assignment, and how many partitions have
//!   another owner, beside the least that must (those of the member that left, then those that the
//!   new one is due)
//! - `commits`: OffsetCommit requests of one partition each to one coordinator, replicated to three
//!   brokers, over pipelined connections
//! - `failover`: ten groups of one coordinator commit while it is killed time and again; from just
//!   before the kill to the first commit that is accepted, and to the first one of the last group
//! - `idle`: 2,000 groups that have no members any more, each with offsets of ten partitions, all in one
//!   partition of `__consumer_offsets`: memory for each, and the time until another broker serves them
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

#[path = "../tests/cluster/harness.rs"]
mod harness;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use hdrhistogram::Histogram;
use ottla::net::client::{ClientOptions, Connection};
use ottla::net::transport::{HostPort, TcpNetwork};
use ottla::protocol::messages::find_coordinator::FindCoordinatorRequest;
use ottla::protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use ottla::protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use ottla::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use ottla::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopics,
};
use parking_lot::Mutex;
use rdkafka::ClientConfig;
use rdkafka::client::ClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext, Rebalance};
use tokio::task::block_in_place;

use harness::{Cluster, PATIENCE};

const BROKERS: &str = "group.initial.rebalance.delay.ms=0\ngroup.min.session.timeout.ms=1000\n\
    group.consumer.min.heartbeat.interval.ms=100\ngroup.consumer.heartbeat.interval.ms=500\n";
const TOPIC: &str = "load";
const OFFSETS_TOPIC: &str = "__consumer_offsets";

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: usize| {
        let found =
            arguments.iter().find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='));
        found.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let sections = ["rolling", "commits", "failover", "idle"];
    let some = arguments.iter().any(|argument| sections.contains(&argument.as_str()));
    let is_wanted = |section: &str| !some || arguments.iter().any(|argument| argument == section);
    let runtime = tokio::runtime::Runtime::new().unwrap();
    if is_wanted("commits") {
        runtime.block_on(commits());
    }
    if is_wanted("failover") {
        runtime.block_on(failover(number("kills", 20)));
    }
    if is_wanted("idle") {
        runtime.block_on(idle());
    }
    if is_wanted("rolling") {
        let restarts = number("restarts", MEMBERS);
        let classic = [
            ("group.protocol", "classic"),
            ("partition.assignment.strategy", "cooperative-sticky"),
            ("heartbeat.interval.ms", "500"),
        ];
        rolling("classic, cooperative-sticky", &classic, restarts);
        rolling("consumer, uniform", &[("group.protocol", "consumer")], restarts);
    }
}

/// Where a group's coordinator is; asks until there is one.
async fn coordinator(cluster: &[HostPort], group: &str) -> (i32, Connection) {
    let deadline = Instant::now() + PATIENCE;
    let request = FindCoordinatorRequest {
        key_type: 0,
        coordinator_keys: vec![group.into()],
        ..FindCoordinatorRequest::default()
    };
    loop {
        for address in cluster {
            let Ok(connection) = connect(address).await else { continue };
            let Ok(found) = connection.call(&request).await else { continue };
            let found = &found.coordinators[0];
            if found.error_code == 0 {
                let there = HostPort::new(found.host.to_string(), found.port as u16);
                if let Ok(connection) = connect(&there).await {
                    return (found.node_id, connection);
                }
            }
        }
        assert!(Instant::now() < deadline, "no coordinator of {group} in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

async fn connect(address: &HostPort) -> Result<Connection, ottla::net::client::ClientError> {
    let options = ClientOptions {
        connect_timeout: Duration::from_secs(1),
        request_timeout: Duration::from_secs(5),
        ..ClientOptions::default()
    };
    Connection::connect(&TcpNetwork, address, options).await
}

fn addresses(cluster: &Cluster) -> Vec<HostPort> {
    cluster.nodes.iter().map(|node| HostPort::new("127.0.0.1", node.port)).collect()
}

/// A commit of some partitions' offsets by name (version 9), by nobody in particular.
fn commit_of(group: &str, partitions: std::ops::Range<i32>, offset: i64) -> OffsetCommitRequest {
    let partitions = partitions
        .map(|partition_index| OffsetCommitRequestPartition {
            partition_index,
            committed_offset: offset,
            committed_leader_epoch: -1,
            committed_metadata: Some("".into()),
        })
        .collect();
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: -1,
        topics: vec![OffsetCommitRequestTopic {
            name: TOPIC.into(),
            partitions,
            ..OffsetCommitRequestTopic::default()
        }],
        ..OffsetCommitRequest::default()
    }
}

/// The versions with which topics are named, not numbered.
const COMMIT_VERSION: i16 = 9;
const FETCH_VERSION: i16 = 9;

/// The committed offset of partition 0; none while it is not told.
async fn fetch(connection: &Connection, group: &str) -> Option<i64> {
    let request = OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.into(),
            topics: Some(vec![OffsetFetchRequestTopics {
                name: TOPIC.into(),
                partition_indexes: vec![0],
                ..OffsetFetchRequestTopics::default()
            }]),
            ..OffsetFetchRequestGroup::default()
        }],
        ..OffsetFetchRequest::default()
    };
    let response = connection.call_at(FETCH_VERSION, &request).await.ok()?;
    let group = response.groups.first().filter(|group| group.error_code == 0)?;
    let partition = group.topics.first()?.partitions.first()?;
    (partition.error_code == 0).then_some(partition.committed_offset)
}

/// Groups of one coordinator, `count` of them, and the coordinator's node and address.
async fn groups_of_one_coordinator(
    cluster: &Cluster,
    count: usize,
) -> (i32, HostPort, Vec<String>) {
    let nodes = addresses(cluster);
    let (node, connection) = coordinator(&nodes, "group-0").await;
    let mut groups = vec!["group-0".to_owned()];
    for number in 1.. {
        if groups.len() == count {
            break;
        }
        let group = format!("group-{number}");
        if cluster.leader(OFFSETS_TOPIC, partition_of(&group)) == node {
            groups.push(group);
        }
    }
    (node, connection.address().clone(), groups)
}

/// The partition of the offsets topic that a group belongs to: Java's hash of its name.
fn partition_of(group: &str) -> i32 {
    let hash = group
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    hash.checked_abs().unwrap_or(0) % 50
}

async fn commits() {
    let cluster = Cluster::start(3, BROKERS);
    block_in_place(|| cluster.create_topic(TOPIC, 10, 3, &[]));
    let (node, address, groups) = groups_of_one_coordinator(&cluster, 32).await;
    cluster.await_in_sync(OFFSETS_TOPIC, 3);
    println!("commits to coordinator {node}, {} groups, one connection each", groups.len());
    for in_flight in [1, 4, 16, 32, 64] {
        let cpu = cluster.cpu_seconds();
        let started = Instant::now();
        let until = started + Duration::from_secs(4);
        let mut tasks = Vec::new();
        for group in &groups {
            let connection = connect(&address).await.unwrap();
            tasks.push(tokio::spawn(commit_until(connection, group.clone(), in_flight, until)));
        }
        let mut times = Histogram::<u64>::new(3).unwrap();
        for task in tasks {
            times.add(task.await.unwrap()).unwrap();
        }
        let elapsed = started.elapsed().as_secs_f64();
        println!(
            "  {in_flight:3} in flight each: {:6.0} commits/s, p50 {:.1} ms, p99 {:.1} ms, max {:.1} ms, \
             {:.1} broker CPU µs each",
            times.len() as f64 / elapsed,
            times.value_at_quantile(0.5) as f64 / 1e3,
            times.value_at_quantile(0.99) as f64 / 1e3,
            times.max() as f64 / 1e3,
            (cluster.cpu_seconds() - cpu) * 1e6 / times.len() as f64,
        );
    }
}

/// Commits with `in_flight` requests under way; gives the times that they took, in µs.
async fn commit_until(
    connection: Connection,
    group: String,
    in_flight: usize,
    until: Instant,
) -> Histogram<u64> {
    let mut times = Histogram::new(3).unwrap();
    let mut offset = 0;
    let mut waiting = FuturesUnordered::new();
    loop {
        while waiting.len() < in_flight && Instant::now() < until {
            offset += 1;
            let partition = (offset % 10) as i32;
            let request = commit_of(&group, partition..partition + 1, offset);
            let connection = &connection;
            waiting.push(async move {
                let sent = Instant::now();
                let response = connection.call_at(COMMIT_VERSION, &request).await.unwrap();
                (sent, response)
            });
        }
        let Some((sent, response)) = waiting.next().await else { break };
        assert_eq!(response.topics[0].partitions[0].error_code, 0, "a commit was refused");
        times.record(sent.elapsed().as_micros() as u64).unwrap();
    }
    times
}

/// When each commit was sent and accepted.
type Accepted = Arc<Mutex<Vec<(Instant, Instant)>>>;

async fn failover(kills: usize) {
    let mut cluster = Cluster::start(3, BROKERS);
    block_in_place(|| cluster.create_topic(TOPIC, 1, 3, &[("min.insync.replicas", "2")]));
    let (_, _, groups) = groups_of_one_coordinator(&cluster, 1).await;
    cluster.await_in_sync(OFFSETS_TOPIC, 3);
    let partition = partition_of(&groups[0]);
    let names = (1..).map(|number| format!("group-{number}"));
    let groups: Vec<String> =
        names.filter(|name| partition_of(name) == partition).take(10).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let nodes = addresses(&cluster);
    let mut committers = Vec::new();
    for group in groups {
        let accepted = Accepted::default();
        let task = keep_committing(nodes.clone(), group, Arc::clone(&accepted), Arc::clone(&stop));
        committers.push((tokio::spawn(task), accepted));
    }
    let (mut firsts, mut lasts) = (Vec::new(), Vec::new());
    for kill in 1..=kills {
        tokio::time::sleep(Duration::from_millis(500)).await; // load before the kill
        let victim = block_in_place(|| cluster.leader(OFFSETS_TOPIC, partition));
        let killed = Instant::now();
        cluster.kill(victim);
        let mut gaps = Vec::new();
        for (_, accepted) in &committers {
            gaps.push(next_after(accepted, killed).await - killed);
        }
        gaps.sort();
        println!(
            "kill {kill:2}: coordinator {victim}: first commit after {} ms, every group after {} ms",
            gaps[0].as_millis(),
            gaps[gaps.len() - 1].as_millis()
        );
        firsts.push(gaps[0]);
        lasts.push(gaps[gaps.len() - 1]);
        block_in_place(|| {
            cluster.spawn(victim);
            cluster.await_brokers(3);
            cluster.await_in_sync(OFFSETS_TOPIC, 3);
        });
    }
    stop.store(true, Ordering::Relaxed);
    let mut wrong = Vec::new();
    let mut count = 0;
    for (task, accepted) in committers {
        wrong.extend(task.await.unwrap());
        count += accepted.lock().len();
    }
    summary("first commit accepted after a kill", &mut firsts);
    summary("every group's first commit after a kill", &mut lasts);
    println!("{count} commits accepted, lost or moved back: {}", wrong.len());
    assert!(wrong.is_empty(), "{wrong:?}");
}

/// When the first commit was accepted that was sent after `moment`.
async fn next_after(accepted: &Accepted, moment: Instant) -> Instant {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let found = accepted
            .lock()
            .iter()
            .rev()
            .filter(|(sent, _)| *sent > moment)
            .map(|(_, at)| *at)
            .min();
        if let Some(at) = found {
            return at;
        }
        assert!(Instant::now() < deadline, "no commit in {PATIENCE:?}");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// One commit after another; each time that the coordinator has been looked for anew, it is asked
/// what is committed. Gives what was not as it should be.
async fn keep_committing(
    nodes: Vec<HostPort>,
    group: String,
    accepted: Accepted,
    stop: Arc<AtomicBool>,
) -> Vec<String> {
    let (mut acknowledged, mut attempted, mut wrong) = (0, 0, Vec::new());
    while !stop.load(Ordering::Relaxed) {
        let (_, connection) = coordinator(&nodes, &group).await;
        if attempted > 0 {
            let Some(found) = fetch(&connection, &group).await else {
                tokio::time::sleep(Duration::from_millis(5)).await;
                continue;
            };
            let found = found.max(0); // -1: nothing is
            if found < acknowledged || found > attempted {
                wrong
                    .push(format!("{group}: {acknowledged}..={attempted} expected, {found} found"));
            }
        }
        while !stop.load(Ordering::Relaxed) {
            attempted += 1;
            let sent = Instant::now();
            let request = commit_of(&group, 0..1, attempted);
            let Ok(response) = connection.call_at(COMMIT_VERSION, &request).await else { break };
            if response.topics[0].partitions[0].error_code != 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
                break;
            }
            acknowledged = attempted;
            accepted.lock().push((sent, Instant::now()));
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }
    wrong
}

fn summary(what: &str, times: &mut [Duration]) {
    times.sort();
    let Some(worst) = times.last() else { return println!("{what}: never") };
    let median = times[times.len() / 2];
    println!(
        "{what}: {}, p50 {} ms, max {} ms",
        times.len(),
        median.as_millis(),
        worst.as_millis()
    );
}

const IDLE_GROUPS: usize = 2_000;

async fn idle() {
    let extra = format!("{BROKERS}offsets.topic.num.partitions=1\n");
    let mut cluster = Cluster::start(3, &extra);
    block_in_place(|| cluster.create_topic(TOPIC, 10, 3, &[("min.insync.replicas", "2")]));
    let nodes = addresses(&cluster);
    let (node, connection) = coordinator(&nodes, "warm").await;
    cluster.await_in_sync(OFFSETS_TOPIC, 3);
    make_groups(connection.address(), "warm", 500).await;
    let resident = |cluster: &Cluster, node: i32| cluster.resident_bytes()[node as usize - 1];
    let before = resident(&cluster, node);
    let started = Instant::now();
    make_groups(connection.address(), "idle", IDLE_GROUPS).await;
    println!("{IDLE_GROUPS} groups made in {:.1} s", started.elapsed().as_secs_f64());
    tokio::time::sleep(Duration::from_secs(2)).await; // what requests held is given back
    let grown = resident(&cluster, node).saturating_sub(before);
    println!(
        "memory of the coordinator: {:.1} KB for each idle group with ten offsets",
        grown as f64 / 1e3 / IDLE_GROUPS as f64
    );
    drop(connection);
    let (mut gaps, mut loads) = (Vec::new(), Vec::new());
    for _ in 0..5 {
        let victim = block_in_place(|| cluster.leader(OFFSETS_TOPIC, 0));
        let living: Vec<i32> = (1..=3).filter(|node| *node != victim).collect();
        let memory = |cluster: &Cluster| -> u64 { cluster.resident_bytes().iter().sum() };
        let all = memory(&cluster);
        let dead = resident(&cluster, victim);
        let killed = Instant::now();
        cluster.kill(victim);
        let leads = block_in_place(|| {
            cluster.leader(OFFSETS_TOPIC, 0);
            killed.elapsed()
        });
        let group = format!("idle-{}", IDLE_GROUPS - 1);
        let (node, connection) = coordinator(&nodes, &group).await;
        while fetch(&connection, &group).await != Some(1) {
            assert!(killed.elapsed() < PATIENCE, "no offsets of {group} after {PATIENCE:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let gap = killed.elapsed();
        println!(
            "coordinator {victim} killed: {node} leads after {} ms at most, serves the groups after {} ms; \
             the two others grew by {:.1} KB for each group",
            leads.as_millis(),
            gap.as_millis(),
            (memory(&cluster) as f64 - (all - dead) as f64) / 1e3 / (IDLE_GROUPS + 500) as f64,
        );
        assert!(living.contains(&node));
        gaps.push(gap);
        loads.push(gap.saturating_sub(leads));
        block_in_place(|| {
            cluster.spawn(victim);
            cluster.await_brokers(3);
            cluster.await_in_sync(OFFSETS_TOPIC, 3);
        });
    }
    summary("from the kill until the groups are served", &mut gaps);
    summary("of which after the new leader is known", &mut loads);
}

/// Groups that a member joined, committed ten offsets in, and left.
async fn make_groups(address: &HostPort, prefix: &str, count: usize) {
    let tasks: Vec<_> = (0..8)
        .map(|share| {
            let (address, prefix) = (address.clone(), prefix.to_owned());
            tokio::spawn(async move {
                let connection = connect(&address).await.unwrap();
                for number in (share..count).step_by(8) {
                    make_group(&connection, &format!("{prefix}-{number}")).await;
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
}

async fn make_group(connection: &Connection, group: &str) {
    let mut join = JoinGroupRequest {
        group_id: group.into(),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol {
            name: "range".into(),
            metadata: Bytes::from_static(&[
                0, 0, 0, 0, 0, 1, 0, 4, b'l', b'o', b'a', b'd', 0, 0, 0, 0,
            ]),
        }],
        ..JoinGroupRequest::default()
    };
    let mut joined = connection.call(&join).await.unwrap();
    if joined.error_code == 79 {
        join.member_id = joined.member_id;
        joined = connection.call(&join).await.unwrap();
    }
    assert_eq!(joined.error_code, 0, "joining {group}");
    let leave = LeaveGroupRequest {
        group_id: group.into(),
        members: vec![MemberIdentity { member_id: joined.member_id, ..MemberIdentity::default() }],
        ..LeaveGroupRequest::default()
    };
    assert_eq!(connection.call(&leave).await.unwrap().error_code, 0, "leaving {group}");
    let committed = connection.call_at(COMMIT_VERSION, &commit_of(group, 0..10, 1)).await.unwrap();
    let refused = committed.topics[0].partitions.iter().find(|partition| partition.error_code != 0);
    assert!(refused.is_none(), "committing in {group}: {refused:?}");
}

const MEMBERS: usize = 50;
const PARTITIONS: usize = 500;

#[derive(Clone, Default)]
struct Owned(Arc<Mutex<BTreeSet<i32>>>);

impl ClientContext for Owned {}

impl ConsumerContext for Owned {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        let mut owned = self.0.lock();
        match rebalance {
            Rebalance::Assign(list) => {
                owned.extend(list.elements().iter().map(|element| element.partition()));
            }
            Rebalance::Revoke(list) => {
                for element in list.elements() {
                    owned.remove(&element.partition());
                }
            }
            Rebalance::Error(error) => panic!("{error}"),
        }
    }
}

struct Polled {
    owned: Owned,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<()>,
}

impl Polled {
    fn start(config: &ClientConfig) -> Polled {
        let (owned, stop) = (Owned::default(), Arc::new(AtomicBool::new(false)));
        let consumer: BaseConsumer<Owned> = config.create_with_context(owned.clone()).unwrap();
        consumer.subscribe(&[TOPIC]).unwrap();
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                consumer.poll(Duration::from_millis(100));
            }
        });
        Polled { owned, stop, thread }
    }

    fn stop(self) {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
    }
}

/// Waits until every partition has one owner and nobody has two more than another; gives the owners by
/// their numbers.
fn stable(members: &BTreeMap<usize, Polled>) -> BTreeMap<i32, usize> {
    harness::eventually(&format!("{} members to share", members.len()), || {
        let mut owners = BTreeMap::new();
        let mut count = 0;
        let most = PARTITIONS.div_ceil(members.len());
        for (number, member) in members {
            let owned = member.owned.0.lock();
            if owned.len() > most || owned.len() + 1 < most {
                return None;
            }
            count += owned.len();
            owners.extend(owned.iter().map(|partition| (*partition, *number)));
        }
        (owners.len() == PARTITIONS && count == PARTITIONS).then_some(owners)
    })
}

fn rolling(name: &str, protocol: &[(&str, &str)], restarts: usize) {
    let cluster = Cluster::start(3, BROKERS);
    cluster.create_topic(TOPIC, PARTITIONS as i32, 1, &[]);
    let mut config = cluster.client();
    config.set("group.id", "rolling").set("enable.auto.commit", "false");
    config.set("fetch.wait.max.ms", "5000");
    for (key, value) in protocol {
        config.set(*key, *value);
    }
    let started = Instant::now();
    let mut members: BTreeMap<usize, Polled> =
        (0..MEMBERS).map(|number| (number, Polled::start(&config))).collect();
    let mut owners = stable(&members);
    println!(
        "{name}: {MEMBERS} members share {PARTITIONS} partitions after {:.1} s",
        started.elapsed().as_secs_f64()
    );
    let (mut left, mut joined) = (Step::default(), Step::default());
    for restart in 0..restarts {
        let started = Instant::now();
        let leaver = members.remove(&restart).unwrap();
        let due = leaver.owned.0.lock().len();
        leaver.stop();
        let now = stable(&members);
        left.note(started.elapsed(), &owners, &now, due);
        owners = now;

        let started = Instant::now();
        members.insert(MEMBERS + restart, Polled::start(&config));
        let now = stable(&members);
        joined.note(started.elapsed(), &owners, &now, PARTITIONS / MEMBERS);
        owners = now;
    }
    left.print("a member leaves");
    joined.print("a member joins");
    let threads: Vec<_> = members.into_values().collect();
    for member in &threads {
        member.stop.store(true, Ordering::Relaxed);
    }
    threads.into_iter().for_each(Polled::stop);
}

#[derive(Default)]
struct Step {
    times: Vec<Duration>,
    moved: usize,
    least: usize,
}

impl Step {
    fn note(
        &mut self,
        time: Duration,
        before: &BTreeMap<i32, usize>,
        after: &BTreeMap<i32, usize>,
        least: usize,
    ) {
        self.times.push(time);
        self.moved +=
            before.iter().filter(|(partition, owner)| after[partition] != **owner).count();
        self.least += least;
    }

    fn print(mut self, what: &str) {
        let (moved, least) = (self.moved, self.least);
        summary(&format!("  {what}: steps to a stable assignment"), &mut self.times);
        println!("  {what}: {moved} partitions moved, the least is {least}");
    }
}
