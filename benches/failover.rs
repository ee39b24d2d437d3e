//! How soon after `kill -9` of a partition's leader the next record is acknowledged, and whether
//! anything acknowledged is lost, doubled or out of order after many such kills.
//!
//!     cargo bench --bench failover [-- KILLS] [defaults]
//!
//! Three brokers on this machine, one topic of three partitions with three replicas and
//! `min.insync.replicas=2`, and one idempotent acks=all producer (librdkafka) at 2,000 records a
//! second, whose settings are in `tests/cluster/history.rs` (`Load::start`); with `defaults` they are
//! librdkafka's own, but for idempotence. The gap is from just
//! before the kill to the acknowledgement of the first record sent after it. Every other kill is of
//! a leader that is the active controller as well.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

#[path = "../tests/cluster/harness.rs"]
mod harness;
#[path = "../tests/cluster/history.rs"]
mod history;
#[path = "../tests/cluster/logs.rs"]
mod logs;

use std::time::{Duration, Instant};

use harness::Cluster;
use history::{Load, settle};

const TOPIC: &str = "failover";
const PARTITIONS: i32 = 3;
const RATE: u32 = 2_000;

fn main() {
    let kills = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(20);
    let mut cluster = Cluster::start(3, "");
    cluster.create_topic(TOPIC, PARTITIONS, 3, &[("min.insync.replicas", "2")]);
    let start = match std::env::args().any(|argument| argument == "defaults") {
        true => Load::start_with_defaults,
        false => Load::start,
    };
    let load = start(&cluster, TOPIC, PARTITIONS, RATE);
    load.await_progress(2 * RATE as usize);
    let (mut alive, mut dead) = (Vec::new(), Vec::new());
    for kill in 0..kills {
        let controller = cluster.controller();
        let wanted_dead = kill % 2 == 1;
        let (partition, leader) = victim(&cluster, controller, wanted_dead);
        let was_controller = leader == controller;
        let killed = Instant::now();
        cluster.kill(leader);
        let gap = load.acknowledgement_after(partition, load.sent()) - killed;
        let role = if was_controller { "leader and controller" } else { "leader" };
        println!(
            "kill {:2}: {TOPIC}-{partition}, node {leader}, {role}: {} ms",
            kill + 1,
            gap.as_millis()
        );
        if was_controller { &mut dead } else { &mut alive }.push(gap);
        cluster.spawn(leader);
        cluster.await_brokers(3);
        cluster.await_in_sync(TOPIC, 3);
        load.await_progress(RATE as usize);
    }
    summary("the controller lives", alive);
    summary("the dead broker was the controller too", dead);
    let history = settle(&mut cluster, load, TOPIC, PARTITIONS);
    let found = history.findings(&cluster, TOPIC, PARTITIONS);
    println!(
        "{} acknowledged: lost {}, duplicated {}, out of order {}, differing replicas {}, failed sends {}",
        history.acknowledged.len(),
        found.lost.len(),
        found.duplicated.len(),
        found.out_of_order.len(),
        found.different.len(),
        found.failed.len(),
    );
    let all = [found.lost, found.duplicated, found.out_of_order, found.different, found.failed];
    for line in all.iter().flat_map(|lines| lines.iter().take(3)) {
        println!("  {line}");
    }
    assert!(all.iter().all(Vec::is_empty), "the history is not as it should be");
}

/// A partition and its leader, which is the controller or another as asked. Preferred leaders are
/// away for a while after a kill, so the controller may lead nothing: any leader will do then.
fn victim(cluster: &Cluster, controller: i32, is_controller: bool) -> (i32, i32) {
    let leaders: Vec<i32> =
        (0..PARTITIONS).map(|partition| cluster.leader(TOPIC, partition)).collect();
    let found = leaders.iter().position(|leader| (*leader == controller) == is_controller);
    let partition = found.unwrap_or(0);
    (partition as i32, leaders[partition])
}

fn summary(class: &str, mut gaps: Vec<Duration>) {
    gaps.sort();
    match gaps.last() {
        Some(max) => println!(
            "{class}: {} kills, p50 {} ms, max {} ms",
            gaps.len(),
            gaps[gaps.len() / 2].as_millis(),
            max.as_millis()
        ),
        None => println!("{class}: no kill"),
    }
}
