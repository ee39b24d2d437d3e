//! Several data directories: one fails without the other, and replicas move between them.

use std::path::Path;
use std::sync::Arc;

use super::cluster::{Cluster, batch, eventually, orders, records, settings};
use crate::types::{ErrorCode, Offset, TopicPartition};

const DATA: &str = "/data";
const MORE: &str = "/more";

fn lies_in(cluster: &Cluster, node: i32) -> std::path::PathBuf {
    cluster.log_on(node).path().parent().unwrap().to_owned()
}

async fn move_to(cluster: &Cluster, node: i32, path: &str) -> Result<(), ErrorCode> {
    cluster.node(node).replicas.alter_directory(&orders(), Path::new(path)).await
}

async fn until_in(cluster: &Cluster, node: i32, path: &str) {
    let is_there = || {
        let partition = cluster.node(node).replicas.partition(&orders());
        partition.is_ok_and(|it| it.log().path().starts_with(path))
    };
    eventually(&format!("the replica of node {node} to be in {path}"), is_there).await;
}

#[tokio::test]
async fn replicas_move_while_they_serve() {
    let mut cluster = Cluster::with_orders(2).await;
    cluster.record_directories();
    cluster.produce(1, 50, -1).await.unwrap();
    let coordinator_side = cluster.orders_on(1);
    for node in [1, 2] {
        let old = cluster.log_on(node);
        move_to(&cluster, node, MORE).await.unwrap();
        while !lies_in(&cluster, node).starts_with(MORE) {
            cluster.produce(1, 3, -1).await.unwrap();
        }
        assert!(
            old.append_as_leader(
                batch(1),
                old.latest_epoch().unwrap(),
                crate::log::AppendOrigin::Client
            )
            .is_err()
        );
        let second = cluster.node(node).second.clone().unwrap();
        let is_recorded = || cluster.recorded(node) == second.directory_id();
        eventually("the metadata to say where it lies", is_recorded).await;
        let is_removed = || cluster.node(node).directory.log(&orders()).is_none();
        eventually("the old log to be removed", is_removed).await;
        assert!(second.futures().is_empty());
    }
    assert!(Arc::ptr_eq(&coordinator_side, &cluster.orders_on(1)), "the same replica all along");
    cluster.produce(1, 3, -1).await.unwrap();
    cluster.until_same(&[1, 2, 3]).await;
    let held = records(&cluster.log_on(3));
    for node in [1, 2] {
        cluster.kill(node).await;
        cluster.run(node).await;
        until_in(&cluster, node, MORE).await;
    }
    cluster.publish();
    cluster.until_same(&[1, 2, 3]).await;
    assert!(records(&cluster.log_on(1)).starts_with(&held));
    let moved_back = move_to(&cluster, 2, DATA).await;
    assert_eq!(moved_back, Ok(()));
    until_in(&cluster, 2, DATA).await;
}

#[tokio::test]
async fn what_cannot_move_is_refused_as_kafka_does() {
    let mut cluster = Cluster::start(2, settings(1)).await;
    cluster.create("orders", &[1]);
    cluster.until_leading(1).await;
    assert_eq!(move_to(&cluster, 1, "/nowhere").await, Err(ErrorCode::LogDirNotFound));
    assert_eq!(move_to(&cluster, 1, "/data/").await, Ok(()), "where it is");
    assert_eq!(move_to(&cluster, 2, MORE).await, Err(ErrorCode::ReplicaNotAvailable));
    let unknown = TopicPartition::new("unknown", 0);
    let refused = cluster.node(1).replicas.alter_directory(&unknown, Path::new(MORE)).await;
    assert_eq!(refused, Err(ErrorCode::UnknownTopicOrPartition));
    cluster.machine(1).second_disk.set_broken(true);
    assert_eq!(move_to(&cluster, 1, MORE).await, Err(ErrorCode::KafkaStorageError));
    cluster.produce(1, 1, -1).await.unwrap();
}

#[tokio::test]
async fn a_move_that_was_begun_goes_on_after_a_restart_and_ends_with_its_topic() {
    let mut cluster = Cluster::start(1, settings(1)).await;
    let topic = cluster.create("orders", &[1]);
    cluster.until_leading(1).await;
    cluster.produce(1, 20, -1).await.unwrap();
    let second = cluster.node(1).second.clone().unwrap();
    let log = cluster.log_on(1);
    let config = crate::log::LogConfig::clone(&log.config());
    second.create_future_blocking(&orders(), topic, config, Offset(0)).unwrap();
    second.checkpoint().await.unwrap();
    cluster.kill(1).await;
    cluster.run(1).await;
    until_in(&cluster, 1, MORE).await;
    assert_eq!(cluster.log_on(1).log_end_offset(), Offset(20));
    cluster.remove(topic);
    let second = cluster.node(1).second.clone().unwrap();
    eventually("the topic to be gone", || second.logs().is_empty()).await;
    assert!(cluster.node(1).directory.logs().is_empty() && second.futures().is_empty());
}

#[tokio::test]
async fn one_directory_fails_and_the_other_serves_on() {
    let mut cluster = Cluster::with_orders(1).await;
    cluster.create("more", &[1]);
    let more = TopicPartition::new("more", 0);
    let hosted = || cluster.node(1).replicas.partition(&more);
    eventually("the second topic", || hosted().is_ok_and(|it| it.reign().is_some())).await;
    assert!(hosted().unwrap().log().path().starts_with(MORE), "where fewest are");
    cluster.machine(1).second_disk.set_broken(true);
    let refused = hosted().unwrap().produce(batch(1), 1).map_err(|error| error.code);
    assert_eq!(refused, Err(ErrorCode::KafkaStorageError));
    let is_offline = || hosted().map(|_| ()) == Err(ErrorCode::KafkaStorageError);
    eventually("its replicas to be offline", is_offline).await;
    cluster.produce(1, 3, -1).await.unwrap();
    let described = cluster.node(1).replicas.describe_directories().await;
    let offline: Vec<bool> = described.iter().map(|directory| directory.is_offline).collect();
    assert_eq!(offline, [false, true]);
    assert_eq!(described[0].logs.len(), 1);
    assert_eq!(described[0].logs[0].offset_lag, Some(0));
    let to_it = cluster.node(1).replicas.alter_directory(&orders(), Path::new(MORE)).await;
    assert_eq!(to_it, Err(ErrorCode::KafkaStorageError));
}

#[tokio::test]
async fn a_replica_waits_for_its_directory_and_catches_up_in_it() {
    let mut cluster = Cluster::with_orders(2).await;
    move_to(&cluster, 3, MORE).await.unwrap();
    until_in(&cluster, 3, MORE).await;
    cluster.record_directories();
    cluster.produce(1, 5, -1).await.unwrap();
    cluster.until_same(&[1, 2, 3]).await;
    cluster.kill(3).await;
    cluster.machine(3).second_disk.set_broken(true);
    cluster.change(Some(1), &[1, 2]);
    cluster.run(3).await;
    let offline = || cluster.node(3).replicas.partition(&orders()).map(|_| ());
    let is_offline = || offline() == Err(ErrorCode::KafkaStorageError);
    eventually("the replica to be offline", is_offline).await;
    assert!(cluster.node(3).directory.logs().is_empty(), "nothing takes its place");
    let described = cluster.node(3).replicas.describe_directories().await;
    assert!(described[1].is_offline && described[1].path == Path::new(MORE));
    cluster.produce(1, 5, -1).await.unwrap();

    cluster.kill(3).await;
    cluster.run(3).await;
    until_in(&cluster, 3, MORE).await;
    cluster.until_same(&[1, 2, 3]).await;
}

#[tokio::test]
async fn a_log_that_came_back_with_its_directory_does_not_take_the_place_of_the_present_one() {
    let mut cluster = Cluster::start(1, settings(1)).await;
    let topic = cluster.create("orders", &[1]);
    cluster.until_leading(1).await;
    cluster.record_directories();
    cluster.produce(1, 5, -1).await.unwrap();
    let second = cluster.node(1).second.clone().unwrap();
    let config = crate::log::LogConfig::default();
    second.create(&orders(), topic, config).unwrap();
    second.checkpoint().await.unwrap();
    cluster.kill(1).await;
    cluster.run(1).await;
    cluster.until_leading(1).await;
    until_in(&cluster, 1, DATA).await;
    let second = cluster.node(1).second.clone().unwrap();
    assert_eq!((second.logs().len(), second.strays().unwrap().len()), (0, 1));
    assert_eq!(cluster.log_on(1).log_end_offset(), Offset(5));
}
