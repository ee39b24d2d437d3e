//! Bit rot on one replica or several, found by a verification or a reader, mended from the others.

use std::io::IoSlice;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::cluster::{Cluster, eventually, orders, records, settings};
use crate::log::{Log, LogConfig, MendStep, Mending, ReplacementFile};
use crate::record::{HEADER_BYTES, batches};
use crate::replication::{
    FetchPartition, FetchSpec, FetchedPartition, Isolation, MendOutcome, TopicSettings,
};
use crate::storage::{Disk, OpenMode};
use crate::types::{ErrorCode, LeaderEpoch, Offset, TopicId};

fn small_segments(min_isr: usize) -> TopicSettings {
    let log = LogConfig { segment_bytes: 1_000, ..LogConfig::default() };
    TopicSettings { log, ..settings(min_isr) }
}

/// Nodes that all have the same segments of `orders`, checkpointed.
async fn filled(replicas: &[i32], settings: TopicSettings) -> Cluster {
    let mut cluster = Cluster::start(3, settings).await;
    cluster.create("orders", replicas);
    cluster.until_leading(1).await;
    for _ in 0..30 {
        cluster.produce(1, 5, -1).await.unwrap();
    }
    cluster.until_same(replicas).await;
    checkpoint(&cluster, replicas);
    assert!(cluster.log_on(1).sealed_segments().len() > 3);
    cluster
}

fn checkpoint(cluster: &Cluster, nodes: &[i32]) {
    nodes.iter().for_each(|node| cluster.node(*node).directory.checkpoint_blocking().unwrap());
}

fn path(base: Offset) -> PathBuf {
    PathBuf::from(format!("/data/orders-0/{:020}.log", base.0))
}

fn bytes_on(cluster: &Cluster, node: i32, base: Offset) -> Vec<u8> {
    cluster.machine(node).disk.read(&path(base)).unwrap()
}

/// Flips a byte of a segment's file.
fn rot(cluster: &Cluster, node: i32, base: Offset, at: usize) {
    let flipped = !bytes_on(cluster, node, base)[at];
    let file = cluster.machine(node).disk.open(&path(base), OpenMode::Write).unwrap();
    file.write_at(&[IoSlice::new(&[flipped])], at as u64).unwrap();
}

/// Verifies the log on a node; how much was found.
fn verify(cluster: &Cluster, node: i32) -> usize {
    let log = cluster.log_on(node);
    let mut found = 0;
    for base in log.segments_to_verify() {
        let mut check = log.verify_segment(base).unwrap();
        while !check.is_done() {
            check.step(1_000);
        }
        found += check.conclude().map_or(0, |findings| findings.len());
    }
    found
}

async fn until_mended(cluster: &Cluster, node: i32) {
    let mended = || {
        checkpoint(cluster, &[node]);
        cluster.log_on(node).segments_to_mend().is_empty()
    };
    eventually(&format!("node {node} to be mended"), mended).await;
    assert_eq!(verify(cluster, node), 0);
}

/// The second sealed segment, which is the same on all nodes.
fn second(cluster: &Cluster) -> Offset {
    cluster.log_on(1).sealed_segments()[1].base_offset()
}

fn position_of_batch(cluster: &Cluster, node: i32, base: Offset, index: usize) -> usize {
    let bytes = bytes::Bytes::from(bytes_on(cluster, node, base));
    batches(&bytes).take(index).map(|batch| batch.unwrap().bytes.len()).sum()
}

async fn consume(cluster: &Cluster, node: i32, from: Offset) -> FetchedPartition {
    let wanted = FetchPartition {
        topic_partition: orders(),
        topic_id: TopicId::ZERO,
        fetch_offset: from,
        log_start_offset: Offset::UNKNOWN,
        last_fetched_epoch: LeaderEpoch::NONE,
        current_leader_epoch: LeaderEpoch::NONE,
        max_bytes: 1 << 20,
    };
    let spec = FetchSpec {
        replica: None,
        max_wait: Duration::ZERO,
        min_bytes: 1,
        max_bytes: 1 << 20,
        isolation: Isolation::ReadUncommitted,
        client_rack: Some(Arc::from("")),
        every_batch: false,
        partitions: vec![wanted],
    };
    cluster.node(node).replicas.fetch(spec).await.remove(0)
}

#[tokio::test]
async fn a_damaged_segment_of_any_replica_is_mended_byte_for_byte() {
    for node in [1, 3] {
        let cluster = filled(&[1, 2, 3], small_segments(2)).await;
        let base = second(&cluster);
        let original = bytes_on(&cluster, node, base);
        let place = position_of_batch(&cluster, node, base, 2);
        for at in [place + 3, place + 8, place + 15, place + HEADER_BYTES + 4, original.len() - 1] {
            rot(&cluster, node, base, at);
            assert!(verify(&cluster, node) > 0, "node {node}, byte {at}");
            until_mended(&cluster, node).await;
            assert_eq!(bytes_on(&cluster, node, base), original, "node {node}, byte {at}");
        }
        cluster.produce(1, 5, -1).await.unwrap();
        cluster.until_same(&[1, 2, 3]).await;
    }
}

#[tokio::test]
async fn what_is_mended_survives_a_restart() {
    let mut cluster = filled(&[1, 2, 3], small_segments(1)).await;
    let base = second(&cluster);
    let original = bytes_on(&cluster, 2, base);
    rot(&cluster, 2, base, 100);
    assert_eq!(verify(&cluster, 2), 1);
    until_mended(&cluster, 2).await;
    cluster.kill(2).await;
    cluster.run(2).await;
    eventually("the replica to be there", || cluster.node(2).replicas.partition(&orders()).is_ok())
        .await;
    assert_eq!(cluster.log_on(2).recovery().truncated, None);
    assert_eq!(bytes_on(&cluster, 2, base), original);
    assert_eq!(verify(&cluster, 2), 0);
}

#[tokio::test]
async fn replicas_that_are_damaged_in_different_places_mend_each_other() {
    let cluster = filled(&[1, 2, 3], small_segments(2)).await;
    let base = second(&cluster);
    let original = bytes_on(&cluster, 1, base);
    for (node, batch) in [(1, 0), (2, 1), (3, 2)] {
        let place = position_of_batch(&cluster, node, base, batch);
        rot(&cluster, node, base, place + HEADER_BYTES + 2);
    }
    for node in [1, 2, 3] {
        assert_eq!(verify(&cluster, node), 1, "node {node}");
    }
    for node in [1, 2, 3] {
        until_mended(&cluster, node).await;
        assert_eq!(bytes_on(&cluster, node, base), original, "node {node}");
    }
}

#[tokio::test]
async fn damage_that_a_reader_meets_is_mended_and_never_served() {
    let cluster = filled(&[1, 2, 3], small_segments(2)).await;
    let base = second(&cluster);
    let sound = consume(&cluster, 1, base).await.records;
    // The format's number: no reader takes this for a batch.
    rot(&cluster, 1, base, 16);
    let refused = consume(&cluster, 1, base).await;
    assert_eq!(refused.error, ErrorCode::KafkaStorageError, "clients try that again");
    assert!(refused.records.is_empty());
    until_mended(&cluster, 1).await;
    assert_eq!(consume(&cluster, 1, base).await.records, sound);
}

#[tokio::test]
async fn nothing_damaged_reaches_a_follower_that_catches_up() {
    let mut cluster = Cluster::start(3, small_segments(1)).await;
    cluster.create("orders", &[1, 2, 3]);
    cluster.until_leading(1).await;
    cluster.kill(3).await;
    cluster.fence(3);
    cluster.change(Some(1), &[1, 2]);
    cluster.publish();
    for _ in 0..30 {
        cluster.produce(1, 5, -1).await.unwrap();
    }
    cluster.until_same(&[1, 2]).await;
    checkpoint(&cluster, &[1, 2]);
    let base = second(&cluster);
    rot(&cluster, 1, base, HEADER_BYTES + 4);
    cluster.run(3).await;
    let mended = || {
        checkpoint(&cluster, &[1]);
        cluster.isr() == [1, 2, 3]
    };
    eventually("the newcomer to be in sync", mended).await;
    cluster.until_same(&[1, 2, 3]).await;
    assert_eq!(verify(&cluster, 1), 0, "the leader was mended from the other follower");
    assert_eq!(verify(&cluster, 3), 0);
}

#[tokio::test]
async fn what_nobody_has_stays_damaged_and_all_else_is_served() {
    let cluster = filled(&[1], small_segments(1)).await;
    let base = second(&cluster);
    rot(&cluster, 1, base, HEADER_BYTES + 4);
    assert_eq!(verify(&cluster, 1), 1);
    let partition = cluster.orders_on(1);
    let mends = cluster.node(1).replicas.mend(&partition).await;
    let [mend] = &mends[..] else { panic!("{mends:?}") };
    let MendOutcome::Failed(reason) = &mend.outcome else { panic!("{mends:?}") };
    assert!(reason.contains("there is no other replica in sync"), "{reason}");
    let damaged = partition.log().damage()[0].clone();
    let refused = consume(&cluster, 1, damaged.from).await;
    assert_eq!(refused.error, ErrorCode::KafkaStorageError);
    let before = consume(&cluster, 1, Offset::ZERO).await;
    assert!(before.error.is_none() && !before.records.is_empty());
    let after = consume(&cluster, 1, damaged.to).await;
    assert!(after.error.is_none() && !after.records.is_empty());
    cluster.produce(1, 5, -1).await.unwrap();
}

#[tokio::test]
async fn what_is_damaged_everywhere_is_refused_everywhere() {
    let cluster = filled(&[1, 2], small_segments(1)).await;
    let base = second(&cluster);
    for node in [1, 2] {
        rot(&cluster, node, base, HEADER_BYTES + 4);
        assert_eq!(verify(&cluster, node), 1);
    }
    for node in [1, 2] {
        let partition = cluster.orders_on(node);
        let mends = cluster.node(node).replicas.mend(&partition).await;
        assert!(matches!(mends[0].outcome, MendOutcome::Failed(_)), "node {node}: {mends:?}");
        assert!(!partition.log().damage().is_empty(), "node {node}");
    }
    assert_eq!(consume(&cluster, 1, base).await.error, ErrorCode::KafkaStorageError);
}

#[tokio::test]
async fn a_damaged_active_segment_is_closed_and_mended() {
    for node in [1, 2] {
        let cluster = filled(&[1, 2, 3], small_segments(2)).await;
        let log = cluster.log_on(node);
        let base = *log.segments_to_verify().last().unwrap();
        let original = bytes_on(&cluster, node, base);
        rot(&cluster, node, base, HEADER_BYTES + 4);
        let segments = log.segment_count();
        assert_eq!(verify(&cluster, node), 1, "node {node}");
        until_mended(&cluster, node).await;
        assert_eq!(log.segment_count(), segments + 1, "node {node}");
        assert_eq!(bytes_on(&cluster, node, base), original, "node {node}");
        cluster.produce(1, 5, -1).await.unwrap();
        cluster.until_same(&[1, 2, 3]).await;
    }
}

#[tokio::test]
async fn a_damaged_replica_moves_to_another_directory_once_it_is_mended() {
    for is_active in [false, true] {
        let cluster = filled(&[1, 2, 3], small_segments(2)).await;
        let old = cluster.log_on(2);
        let active = *old.segments_to_verify().last().unwrap();
        let base = if is_active { active } else { second(&cluster) };
        // Nobody has read this since it was written.
        rot(&cluster, 2, base, HEADER_BYTES + 4);
        let replicas = &cluster.node(2).replicas;
        replicas.alter_directory(&orders(), Path::new("/more")).await.unwrap();
        let has_moved = || {
            checkpoint(&cluster, &[2]);
            cluster.log_on(2).path().starts_with("/more")
        };
        eventually(&format!("the replica to move, active: {is_active}"), has_moved).await;
        assert_eq!(verify(&cluster, 2), 0, "active: {is_active}");
        assert_eq!(records(&cluster.log_on(2)), records(&cluster.log_on(1)));
        cluster.produce(1, 5, -1).await.unwrap();
        cluster.until_same(&[1, 2, 3]).await;
    }
}

#[tokio::test]
async fn a_crash_in_the_middle_of_a_mending_leaves_the_damage_to_be_found_again() {
    let mut cluster = filled(&[1, 2, 3], small_segments(1)).await;
    let base = second(&cluster);
    let original = bytes_on(&cluster, 2, base);
    let place = position_of_batch(&cluster, 2, base, 2);
    rot(&cluster, 2, base, place + HEADER_BYTES + 2);
    {
        let mut check = cluster.log_on(2).verify_segment(base).unwrap();
        while check.step(1_000) > 0 {}
        let mut mending = Mending::begin(&check).unwrap();
        while mending.advance(100).unwrap() == MendStep::More {}
        // The process is killed while its file is half written.
        cluster.kill(2).await;
        drop(mending);
    }
    cluster.run(2).await;
    eventually("the replica to be there", || cluster.node(2).replicas.partition(&orders()).is_ok())
        .await;
    assert_eq!(verify(&cluster, 2), 1, "it is as it was");
    until_mended(&cluster, 2).await;
    assert_eq!(bytes_on(&cluster, 2, base), original);
}

#[tokio::test]
async fn batches_that_were_never_written_there_are_not_taken() {
    let cluster = filled(&[1, 2, 3], small_segments(2)).await;
    let base = second(&cluster);
    rot(&cluster, 2, base, HEADER_BYTES + 2);
    let log = cluster.log_on(2);
    let mut check = log.verify_segment(base).unwrap();
    while check.step(1_000) > 0 {}
    let mut mending = Mending::begin(&check).unwrap();
    let MendStep::Missing { from, to } = mending.advance(1).unwrap() else { panic!("nothing") };
    assert_eq!(from, base);
    let right = cluster.log_on(1).read(from, to, 1 << 20, true).unwrap().records;
    let right = batches(&right).next().unwrap().unwrap();
    let elsewhere = cluster.log_on(1).read(to, to.plus(5), 1 << 20, true).unwrap().records;
    let elsewhere = batches(&elsewhere).next().unwrap().unwrap();
    let mut later_reign = right.clone();
    later_reign.header.partition_leader_epoch = LeaderEpoch(9);
    let mut rotten = right.clone();
    rotten.bytes = {
        let mut bytes = right.bytes.to_vec();
        bytes[HEADER_BYTES + 1] ^= 1;
        bytes.into()
    };
    for (what, wrong) in
        [("elsewhere", &elsewhere), ("later reign", &later_reign), ("rotten", &rotten)]
    {
        assert!(mending.fill(wrong).is_err(), "{what}");
    }
    assert!(mending.fill_no_more().is_err(), "nothing is ever removed from this log");
    mending.fill(&right).unwrap();
    while mending.advance(1_000).unwrap() != MendStep::Complete {}
    assert_eq!(mending.finish().unwrap(), right.bytes.len() as u64);
    assert_eq!(bytes_on(&cluster, 2, base), bytes_on(&cluster, 1, base));
}

#[tokio::test]
async fn a_compacted_log_is_taken_as_it_is_elsewhere() {
    let log = LogConfig { segment_bytes: 1_000, cleanup_compact: true, ..LogConfig::default() };
    let cluster = filled(&[1, 2], TopicSettings { log, ..settings(1) }).await;
    let leader = cluster.log_on(1);
    // The leader's cleaner has been through, ours has not.
    for segment in leader.sealed_segments() {
        thin(&leader, segment.base_offset());
    }
    let base = second(&cluster);
    assert_ne!(records(&leader).len(), records(&cluster.log_on(2)).len());
    rot(&cluster, 2, base, HEADER_BYTES + 4);
    assert_eq!(verify(&cluster, 2), 1);
    until_mended(&cluster, 2).await;
    assert_eq!(records(&cluster.log_on(2)), records(&leader));
}

/// Keeps only the last batch of a sealed segment.
fn thin(log: &Arc<Log>, base: Offset) {
    let old = log.sealed_segments();
    let old = old.iter().find(|segment| segment.base_offset() == base).unwrap();
    let mut new = ReplacementFile::begin(log, base).unwrap();
    let slice = log.read(base, old.next_offset(), 1 << 20, true).unwrap();
    let last = batches(&slice.records).last().unwrap().unwrap();
    new.append(&last.bytes, &last.header).unwrap();
    log.replace_segments(&[Arc::clone(old)], new).unwrap();
}
