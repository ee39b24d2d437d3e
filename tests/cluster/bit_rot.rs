//! A bit flips in a segment of a running broker: `log-dirs --verify` finds it and says that it was
//! mended, and the bytes are those of the other replicas again.

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::Duration;

use rdkafka::producer::{FutureProducer, FutureRecord};

use crate::harness::Cluster;

const TOPIC: &str = "rotting";

/// The segments of the topic on a node, oldest first.
fn segments(cluster: &Cluster, node: i32) -> Vec<PathBuf> {
    let directory = cluster.node(node).directory.join(format!("{TOPIC}-0"));
    let names = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        names.filter(|path| path.extension().is_some_and(|it| it == "log")).collect();
    found.sort();
    found
}

/// All that a node holds of the topic. Replicas close their segments in different places.
fn bytes(cluster: &Cluster, node: i32) -> Vec<u8> {
    segments(cluster, node).iter().flat_map(|path| fs::read(path).unwrap()).collect()
}

fn fill(cluster: &Cluster) {
    let producer: FutureProducer =
        cluster.client().set("linger.ms", "20").set("acks", "all").create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let payload = vec![b'x'; 10_000];
    runtime.block_on(async {
        let send = |index: usize| {
            let (producer, payload) = (&producer, &payload);
            async move {
                let key = index.to_string();
                let record = FutureRecord::to(TOPIC).key(&key).payload(payload);
                producer.send(record, Duration::from_secs(30)).await.expect("acknowledged");
            }
        };
        for round in 0..5 {
            futures::future::join_all((0..100).map(|index| send(round * 100 + index))).await;
        }
    });
}

/// Runs the tool; whether it found all sound, and what it printed.
fn verify(cluster: &Cluster) -> (bool, String) {
    let output = cluster.ottla_output(&["log-dirs", "--verify", "--topic-list", TOPIC]);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let complained = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!complained.contains("Error"), "{complained}");
    (output.status.success(), printed)
}

#[test]
fn a_flipped_bit_is_found_on_demand_and_mended_from_a_replica() {
    let cluster = Cluster::start(3, "");
    cluster.create_topic(TOPIC, 1, 3, &[("segment.bytes", "1048576")]);
    fill(&cluster);
    cluster.await_in_sync(TOPIC, 3);
    let (is_sound, printed) = verify(&cluster);
    assert!(is_sound, "{printed}");
    assert_eq!(printed.matches("no damage").count(), 3, "{printed}");

    let leader = cluster.leader(TOPIC, 0);
    let follower = (1..=3).find(|node| *node != leader).unwrap();
    let other = (1..=3).find(|node| *node != leader && *node != follower).unwrap();
    for node in [leader, follower] {
        let place = segments(&cluster, node)[1].clone();
        let original = fs::read(&place).unwrap();
        let file = File::options().write(true).open(&place).unwrap();
        file.write_all_at(&[original[300_000] ^ 4], 300_000).unwrap();

        let (is_sound, printed) = verify(&cluster);
        assert!(!is_sound, "{printed}");
        assert!(printed.contains(&format!("Broker {node}: {TOPIC}-0 in ")), "{printed}");
        assert!(printed.contains(": mended\n"), "{printed}");
        assert!(printed.contains("1 damaged, all mended"), "{printed}");
        assert_eq!(fs::read(&place).unwrap(), original, "broker {node}");
        assert!(bytes(&cluster, node) == bytes(&cluster, other), "the replicas are the same");
        let (is_sound, printed) = verify(&cluster);
        assert!(is_sound, "{printed}");
    }
    cluster.await_in_sync(TOPIC, 3);
}
