//! Two data directories per broker: one disappears while the broker runs, as a disk does that is
//! pulled; and replicas move between them under load.

use std::fs;

use crate::harness::{Cluster, eventually};
use crate::history::{Load, settle_and_check};

const TOPIC: &str = "disks";
const PARTITIONS: i32 = 4;

fn cluster_with_load() -> (Cluster, Load) {
    let cluster = Cluster::start_with_directories(3, 2, "");
    cluster.create_topic(TOPIC, PARTITIONS, 3, &[("min.insync.replicas", "2")]);
    let load = Load::start(&cluster, TOPIC, PARTITIONS, 2_000);
    load.await_progress(500);
    (cluster, load)
}

/// The partitions of the topic whose replica on node 1 lies in its second directory.
fn in_second(cluster: &Cluster) -> Vec<i32> {
    let second = cluster.node(1).directories[1].clone();
    (0..PARTITIONS).filter(|index| second.join(format!("{TOPIC}-{index}")).is_dir()).collect()
}

fn await_isr(cluster: &Cluster, partition: i32, with_node_1: bool) {
    eventually(&format!("partition {partition} with node 1 in sync: {with_node_1}"), || {
        let metadata = cluster.metadata()?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == TOPIC)?;
        let found = topic.partitions().iter().find(|found| found.id() == partition)?;
        (found.isr().contains(&1) == with_node_1 && found.leader() > 0).then_some(())
    });
}

#[test]
fn a_directory_that_disappears_is_done_without_until_it_comes_back() {
    let (mut cluster, load) = cluster_with_load();
    let lost = in_second(&cluster);
    assert_eq!(lost.len(), 2, "two of the four are in the second directory");
    let kept: Vec<i32> = (0..PARTITIONS).filter(|index| !lost.contains(index)).collect();
    let second = cluster.node(1).directories[1].clone();
    let pulled = second.with_extension("pulled");
    fs::rename(&second, &pulled).unwrap();
    lost.iter().for_each(|&partition| await_isr(&cluster, partition, false));
    load.await_progress(1_000);
    kept.iter().for_each(|&partition| await_isr(&cluster, partition, true));
    let described = cluster.ottla(&["log-dirs", "--describe", "--broker-list", "1"]);
    assert!(described.contains("KafkaStorageException"), "{described}");
    assert!(described.contains(&format!("{TOPIC}-{}", kept[0])), "{described}");
    assert!(!described.contains(&format!("{TOPIC}-{}\"", lost[0])), "{described}");

    // It cannot be opened at the next start either: a file lies where it should be.
    cluster.terminate(1);
    fs::write(&second, "no directory").unwrap();
    cluster.spawn(1);
    cluster.await_brokers(3);
    kept.iter().for_each(|&partition| await_isr(&cluster, partition, true));
    lost.iter().for_each(|&partition| await_isr(&cluster, partition, false));
    load.await_progress(1_000);

    cluster.kill(1);
    fs::remove_file(&second).unwrap();
    fs::rename(&pulled, &second).unwrap();
    cluster.spawn(1);
    cluster.await_in_sync(TOPIC, 3);
    assert_eq!(in_second(&cluster), lost, "they are where they were");
    load.await_progress(500);
    settle_and_check(&mut cluster, load, TOPIC, PARTITIONS);
}

#[test]
fn replicas_move_between_directories_under_load() {
    let (mut cluster, load) = cluster_with_load();
    for round in 0..2 {
        let away = in_second(&cluster);
        for index in 0..PARTITIONS {
            let node = cluster.node(1);
            let to = if away.contains(&index) {
                node.directory.clone()
            } else {
                node.directories[1].clone()
            };
            let place = format!("{TOPIC}-{index}");
            let to = to.display().to_string();
            let arguments = ["--alter", "--broker", "1", "--topic-partition", &place, "--to", &to];
            let output = cluster.ottla_output(&[&["log-dirs"], &arguments[..]].concat());
            assert!(output.status.success(), "{output:?}");
        }
        let expected: Vec<i32> = (0..PARTITIONS).filter(|index| !away.contains(index)).collect();
        eventually(&format!("the replicas to have moved in round {round}"), || {
            let described = cluster.ottla(&["log-dirs", "--describe", "--broker-list", "1"]);
            let is_over = !described.contains("\"isFuture\":true");
            (is_over && in_second(&cluster) == expected).then_some(())
        });
        load.await_progress(500);
        cluster.kill(1);
        cluster.spawn(1);
        cluster.await_in_sync(TOPIC, 3);
        assert_eq!(in_second(&cluster), expected, "round {round}");
    }
    let nowhere = ["--alter", "--broker", "1", "--topic-partition", "disks-0", "--to", "/nowhere"];
    let refused = cluster.ottla_output(&[&["log-dirs"], &nowhere[..]].concat());
    assert!(String::from_utf8_lossy(&refused.stderr).contains("LOG_DIR_NOT_FOUND"), "{refused:?}");
    settle_and_check(&mut cluster, load, TOPIC, PARTITIONS);
}
