//! Two of three controllers are lost for good; `--unsafe-recover` makes the third the only voter.

use std::process::{Command, Output, Stdio};
use std::time::Duration;

use rdkafka::admin::{AdminOptions, NewTopic, TopicReplication};

use crate::harness::{Cluster, eventually};
use crate::history::{Load, settle_and_check};

const TOPIC: &str = "survives";
const PARTITIONS: i32 = 3;
const SURVIVOR: i32 = 1;

/// `ottla metadata-quorum --unsafe-recover` on the survivor.
fn recover(cluster: &Cluster, flags: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["metadata-quorum", "--unsafe-recover", "--config"])
        .arg(&cluster.node(SURVIVOR).config)
        .args(flags)
        .stdin(Stdio::null())
        .output()
        .expect("running the tool")
}

fn refused(cluster: &Cluster, flags: &[&str]) -> String {
    let output = recover(cluster, flags);
    let message = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!output.status.success(), "it was done");
    assert_eq!(message.trim_end().lines().count(), 1, "more than one line: {message}");
    message
}

/// The line of the quorum's description that begins with `name`.
fn described(cluster: &Cluster, name: &str) -> Option<String> {
    let output = cluster.ottla(&["metadata-quorum", "describe", "--status"]);
    output.lines().find(|line| line.starts_with(name)).map(str::to_owned)
}

/// Whether there is a controller that can create a topic.
fn changes_metadata(cluster: &Cluster) -> bool {
    let topic = NewTopic::new("other", 1, TopicReplication::Fixed(1));
    let options = AdminOptions::new()
        .request_timeout(Some(Duration::from_secs(4)))
        .operation_timeout(Some(Duration::from_secs(3)));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let results = runtime.block_on(cluster.admin().create_topics([&topic], &options));
    results.is_ok_and(|results| results.iter().all(Result::is_ok))
}

fn voters(cluster: &Cluster) -> usize {
    described(cluster, "CurrentVoters:").map_or(0, |line| line.matches("\"id\"").count())
}

#[test]
fn a_survivor_is_recovered_and_the_lost_ones_join_it_with_empty_disks() {
    let mut cluster = Cluster::start(3, "");
    cluster.create_topic(TOPIC, PARTITIONS, 3, &[("min.insync.replicas", "1")]);
    let load = Load::start(&cluster, TOPIC, PARTITIONS, 1_000);
    load.await_progress(1_000);
    for id in [2, 3] {
        cluster.kill(id);
        std::fs::remove_dir_all(&cluster.node(id).directory).unwrap();
    }
    assert!(!changes_metadata(&cluster), "one of three is no majority");
    let message = refused(&cluster, &["--yes"]);
    assert!(message.contains("lock"), "the node runs: {message}");
    cluster.kill(SURVIVOR);

    let message = refused(&cluster, &[]);
    assert!(message.contains("nothing was changed") && message.contains("--yes"), "{message}");
    let output = recover(&cluster, &["--yes"]);
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}\n{}", String::from_utf8_lossy(&output.stderr));
    for part in ["What it costs", "node 2, directory id", "node 3, directory id", "only voter now"]
    {
        assert!(text.contains(part), "{part} is not in: {text}");
    }
    let message = refused(&cluster, &["--yes"]);
    assert!(message.contains("the only voter already"), "{message}");

    cluster.spawn(SURVIVOR);
    assert_eq!(cluster.controller(), SURVIVOR);
    assert_eq!(voters(&cluster), 1);
    for partition in 0..PARTITIONS {
        assert_eq!(cluster.leader(TOPIC, partition), SURVIVOR);
    }
    load.await_progress(500);

    for id in [2, 3] {
        cluster.spawn(id);
    }
    cluster.await_brokers(3);
    cluster.await_in_sync(TOPIC, 3);
    eventually("three voters", || (voters(&cluster) == 3).then_some(()));
    load.await_progress(500);
    cluster.create_topic("later", 1, 3, &[]);
    // The quorum bears the loss of a voter again.
    cluster.kill(SURVIVOR);
    load.await_progress(500);
    cluster.spawn(SURVIVOR);
    settle_and_check(&mut cluster, load, TOPIC, PARTITIONS);
}
