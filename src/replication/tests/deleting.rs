//! DeleteRecords, and how a log's start moves on all replicas (KIP-107).

use std::time::Duration;

use super::cluster::{Cluster, batch, eventually, orders, settings};
use crate::replication::ReplicaOptions;
use crate::types::{ErrorCode, Offset, TopicPartition};

const PATIENCE: Duration = Duration::from_secs(20);

/// Deletes what lies below `offset` at `node`; the low watermark.
async fn delete(cluster: &Cluster, node: i32, offset: i64) -> Result<Offset, ErrorCode> {
    delete_within(cluster, node, offset, PATIENCE).await
}

async fn delete_within(
    cluster: &Cluster,
    node: i32,
    offset: i64,
    timeout: Duration,
) -> Result<Offset, ErrorCode> {
    let replicas = &cluster.node(node).replicas;
    let made = replicas.delete_records(vec![(orders(), Offset(offset))]).await;
    let deletion = made.into_iter().next().unwrap()?;
    replicas.wait_deleted(&[deletion], timeout).await[0]
}

/// Of those of the nodes that have the log open.
fn log_starts(cluster: &Cluster, nodes: &[i32]) -> Vec<i64> {
    let log_start = |&node: &i32| {
        let partition = cluster.node(node).replicas.partition(&orders()).ok()?;
        Some(partition.log().log_start_offset().0)
    };
    nodes.iter().filter_map(log_start).collect()
}

#[tokio::test]
async fn what_is_deleted_is_gone_from_every_replica_when_it_is_answered() {
    let cluster = Cluster::with_orders(1).await;
    cluster.produce(1, 10, -1).await.unwrap();
    for (offset, expected) in [(4, 4), (2, 4), (0, 4), (-1, 10), (10, 10)] {
        assert_eq!(delete(&cluster, 1, offset).await, Ok(Offset(expected)), "{offset}");
        assert_eq!(log_starts(&cluster, &[1, 2, 3]), [expected; 3], "{offset}");
    }
    assert_eq!(cluster.produce(1, 5, -1).await, Ok(Offset(10)), "the offsets go on");
    cluster.until_same(&[1, 2, 3]).await;
}

#[tokio::test]
async fn followers_hear_of_it_although_they_wait_for_records() {
    let fetch_wait_max = Duration::from_secs(600);
    let options = ReplicaOptions { fetch_wait_max, ..ReplicaOptions::default() };
    let mut cluster = Cluster::start_with(3, settings(3), options).await;
    cluster.create("orders", &[1, 2, 3]);
    cluster.until_leading(1).await;
    cluster.produce(1, 10, -1).await.unwrap();
    assert_eq!(delete(&cluster, 1, 10).await, Ok(Offset(10)));
    assert_eq!(log_starts(&cluster, &[1, 2, 3]), [10; 3]);
}

#[tokio::test]
async fn what_may_not_be_deleted_is_refused() {
    let cluster = Cluster::with_orders(1).await;
    cluster.produce(1, 10, -1).await.unwrap();
    for (node, offset, error) in [
        (1, 11, ErrorCode::OffsetOutOfRange),
        (1, -2, ErrorCode::OffsetOutOfRange),
        (2, 3, ErrorCode::NotLeaderOrFollower),
    ] {
        assert_eq!(delete(&cluster, node, offset).await, Err(error), "{node} {offset}");
    }
    let replicas = &cluster.node(1).replicas;
    let unknown = vec![(TopicPartition::new("nowhere", 0), Offset(0))];
    let refused = replicas.delete_records(unknown).await.remove(0).unwrap_err();
    assert_eq!(refused, ErrorCode::UnknownTopicOrPartition);
    for (policy, answer) in [
        ("compact", Err(ErrorCode::PolicyViolation)),
        ("compact,delete", Ok(Offset(3))),
        ("delete", Ok(Offset(3))),
    ] {
        cluster.configure("cleanup.policy", policy);
        let taken = || {
            let config = cluster.log_on(1).config();
            let has = |name: &str| policy.split(',').any(|item| item == name);
            (config.cleanup_compact, config.cleanup_delete) == (has("compact"), has("delete"))
        };
        eventually("the policy to be known", taken).await;
        assert_eq!(delete(&cluster, 1, 3).await, answer, "{policy}");
    }
    cluster.set_live(1, false);
    assert_eq!(delete(&cluster, 1, 5).await, Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(log_starts(&cluster, &[1]), [3], "nothing of that was done");
}

#[tokio::test]
async fn nothing_beyond_the_high_watermark_is_deleted() {
    let mut cluster = Cluster::with_orders(1).await;
    cluster.produce(1, 4, -1).await.unwrap();
    cluster.kill(3).await;
    cluster.orders_on(1).produce(batch(6), 1).unwrap();
    assert_eq!(delete(&cluster, 1, 10).await, Err(ErrorCode::OffsetOutOfRange));
    assert_eq!(cluster.log_on(1).log_start_offset(), Offset(0));
}

#[tokio::test]
async fn a_replica_that_is_down_is_waited_for_until_it_is_known_to_be() {
    let mut cluster = Cluster::with_orders(1).await;
    cluster.produce(1, 10, -1).await.unwrap();
    cluster.until_same(&[1, 2, 3]).await;
    cluster.kill(3).await;
    let short = Duration::from_millis(50);
    assert_eq!(delete_within(&cluster, 1, 4, short).await, Err(ErrorCode::RequestTimedOut));
    assert_eq!(cluster.log_on(1).log_start_offset(), Offset(4), "but the leader has done it");
    let fencing = async {
        cluster.fence(3);
        cluster.change(Some(1), &[1, 2]);
        cluster.publish();
    };
    let (deleted, ()) = tokio::join!(delete(&cluster, 1, 5), fencing);
    assert_eq!(deleted, Ok(Offset(5)));
    cluster.run(3).await;
    eventually("node 3 to follow", || log_starts(&cluster, &[3]) == [5]).await;
    cluster.until_same(&[1, 2, 3]).await;
}

/// KAFKA-6975: a follower that begins where the leader does gets the whole batch.
#[tokio::test]
async fn a_follower_that_begins_within_a_batch_catches_up() {
    let mut cluster = Cluster::with_orders(1).await;
    cluster.kill(3).await;
    cluster.fence(3);
    cluster.change(Some(1), &[1, 2]);
    cluster.publish();
    cluster.produce(1, 10, -1).await.unwrap();
    cluster.produce(1, 10, -1).await.unwrap();
    assert_eq!(delete(&cluster, 1, 5).await, Ok(Offset(5)));
    cluster.run(3).await;
    eventually("node 3 to follow", || log_starts(&cluster, &[1, 2, 3]) == [5; 3]).await;
    cluster.until_same(&[1, 2, 3]).await;
    cluster.kill(3).await;
    cluster.run(3).await;
    eventually("node 3 to be back", || log_starts(&cluster, &[3]) == [5]).await;
    cluster.until_same(&[1, 2, 3]).await;
}

#[tokio::test]
async fn a_deletion_outlives_the_nodes_that_made_it() {
    let mut cluster = Cluster::with_orders(1).await;
    cluster.produce(1, 10, -1).await.unwrap();
    assert_eq!(delete(&cluster, 1, 7).await, Ok(Offset(7)));
    for node in [1, 2, 3] {
        cluster.kill(node).await;
    }
    for node in [1, 2, 3] {
        cluster.run(node).await;
    }
    eventually("all to be back", || log_starts(&cluster, &[1, 2, 3]) == [7; 3]).await;
    cluster.until_same(&[1, 2, 3]).await;
}

#[tokio::test]
async fn retention_on_the_leader_moves_its_followers() {
    let mut with_small_segments = settings(1);
    with_small_segments.log.segment_bytes = 300;
    let mut cluster = Cluster::start(3, with_small_segments).await;
    cluster.create("orders", &[1, 2, 3]);
    cluster.until_leading(1).await;
    for _ in 0..10 {
        cluster.produce(1, 5, -1).await.unwrap();
    }
    let log = cluster.log_on(1);
    log.set_config(crate::log::LogConfig {
        retention_bytes: Some(log.size_bytes() / 2),
        ..(*log.config()).clone()
    });
    let now = crate::types::Clock::wall(&crate::types::clock::SystemClock::new());
    assert!(cluster.orders_on(1).apply_retention(now).await.unwrap() > 0);
    let start = log.log_start_offset().0;
    assert!(start > 0);
    let followed = || log_starts(&cluster, &[2, 3]) == [start; 2];
    eventually("the followers' log starts to follow", followed).await;
}
