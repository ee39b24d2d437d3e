//! Topics that go and come again, directories that fail, syncs before acknowledgements.

use std::time::Duration;

use super::cluster::{Cluster, batch, eventually, orders, settings};
use crate::replication::TopicSettings;
use crate::types::{ErrorCode, Offset};

#[tokio::test]
async fn a_topic_made_again_under_its_name_begins_empty() {
    let mut cluster = Cluster::start(3, settings(1)).await;
    let old = cluster.create("orders", &[1, 2, 3]);
    cluster.until_leading(1).await;
    cluster.produce(1, 5, -1).await.unwrap();
    cluster.until_same(&[1, 2, 3]).await;
    let partition = cluster.orders_on(1);
    cluster.remove(old);
    let gone = || cluster.node(2).replicas.partition(&orders()).is_err();
    eventually("the topic to be gone", gone).await;
    let new = cluster.create("orders", &[1, 2, 3]);
    cluster.until_leading(1).await;
    assert_eq!(cluster.orders_on(1).topic_id(), new);
    assert_eq!(cluster.produce(1, 1, -1).await, Ok(Offset(0)));
    cluster.until_same(&[1, 2, 3]).await;
    let refused = partition.produce(batch(1), 1).map_err(|error| error.code);
    assert_eq!(refused, Err(ErrorCode::NotLeaderOrFollower), "the old one is closed");
}

#[tokio::test]
async fn a_topic_that_was_replaced_while_the_node_was_down_is_not_mistaken_for_the_new_one() {
    let mut cluster = Cluster::start(3, settings(1)).await;
    let old = cluster.create("orders", &[1, 2, 3]);
    cluster.until_leading(1).await;
    cluster.produce(1, 5, -1).await.unwrap();
    cluster.until_same(&[1, 2, 3]).await;
    cluster.kill(3).await;
    cluster.remove(old);
    cluster.create("orders", &[1, 2, 3]);
    let fresh = || cluster.orders_on(1).log().log_end_offset() == Offset(0);
    eventually("the new topic", || {
        cluster.node(1).replicas.partition(&orders()).is_ok() && fresh()
    })
    .await;
    cluster.run(3).await;
    cluster.until_leading(1).await;
    assert_eq!(cluster.produce(1, 2, -1).await, Ok(Offset(0)));
    cluster.until_same(&[1, 2, 3]).await;
    assert_eq!(cluster.node(3).directory.strays().unwrap().len(), 1, "the old log is set aside");
}

#[tokio::test]
async fn logs_of_unknown_topics_are_set_aside() {
    let mut cluster = Cluster::start(1, settings(1)).await;
    let old = cluster.create("orders", &[1]);
    cluster.until_leading(1).await;
    cluster.kill(1).await;
    cluster.remove(old);
    cluster.run(1).await;
    let node = cluster.node(1);
    node.replicas.applied().wait_for(|version| *version > 0).await.unwrap();
    assert_eq!(node.directory.logs().len(), 1, "not before it is asked for");
    node.replicas.set_strays_aside().await.unwrap();
    assert_eq!(node.directory.logs().len(), 0);
    assert_eq!(node.directory.strays().unwrap().len(), 1);
}

#[tokio::test]
async fn a_failed_disk_takes_its_replicas_offline() {
    let cluster = Cluster::with_orders(1).await;
    cluster.produce(1, 1, -1).await.unwrap();
    cluster.machine(1).disk.set_broken(true);
    let refused = cluster.orders_on(1).produce(batch(1), 1).map_err(|error| error.code);
    assert_eq!(refused, Err(ErrorCode::KafkaStorageError));
    let gone = || cluster.node(1).replicas.partition(&orders()).map(|_| ());
    eventually("the replica to be offline", || gone() == Err(ErrorCode::KafkaStorageError)).await;
}

#[tokio::test]
async fn with_flush_messages_1_nothing_unsynced_is_acknowledged() {
    let settings = TopicSettings { flush_before_ack: true, ..settings(3) };
    let mut cluster = Cluster::start(3, settings).await;
    cluster.create("orders", &[1, 2, 3]);
    cluster.until_leading(1).await;
    for acks in [1, -1] {
        cluster.produce(1, 3, acks).await.unwrap();
        let end = cluster.log_on(1).log_end_offset();
        assert_eq!(cluster.log_on(1).flushed_offset(), end, "acks={acks}");
    }
    let end = cluster.log_on(1).log_end_offset();
    for node in [2, 3] {
        assert_eq!(cluster.log_on(node).flushed_offset(), end, "node {node}");
    }
}

#[tokio::test]
async fn new_settings_reach_the_leader() {
    let cluster = Cluster::with_orders(1).await;
    cluster.change(Some(1), &[1]);
    cluster.controller_refuses(Some(ErrorCode::IneligibleReplica));
    cluster.publish();
    eventually("the leader to be alone", || cluster.orders_on(1).describe().isr.len() == 1).await;
    cluster.configure("min.insync.replicas", "2");
    let refused = || {
        let produced = cluster.orders_on(1).produce(batch(1), -1);
        produced.is_err_and(|error| error.code == ErrorCode::NotEnoughReplicas)
    };
    eventually("the new minimum", refused).await;
}

#[tokio::test]
async fn many_partitions_move_at_once() {
    let mut cluster = Cluster::start(3, settings(2)).await;
    cluster.create("orders", &[1, 2, 3]);
    for topic in 0..40 {
        let replicas = [[1, 2, 3], [2, 3, 1], [3, 1, 2]][topic % 3];
        cluster.create(&format!("topic-{topic}"), &replicas);
    }
    let led = |node: i32| {
        let partitions = cluster.node(node).replicas.online();
        partitions.iter().filter(|partition| partition.leading_epoch().is_ok()).count()
    };
    eventually("everything to be led", || led(1) + led(2) + led(3) == 41).await;
    let mut waits = Vec::new();
    for partition in cluster.node(1).replicas.online() {
        if let Ok(produced) = partition.produce(batch(3), -1) {
            waits.push((partition, produced));
        }
    }
    assert_eq!(waits.len(), led(1));
    let replicas = &cluster.node(1).replicas;
    let results = replicas.wait_committed(waits, Duration::from_secs(10)).await;
    assert!(results.iter().all(Result::is_ok), "{results:?}");
}
