//! Records, acknowledgements, and who is in sync.

use std::time::Duration;

use super::cluster::{Cluster, batch, eventually, idempotent, settings};
use crate::replication::ReplicaOptions;
use crate::types::{ErrorCode, Offset, TopicPartition};

const SOON: Duration = Duration::from_secs(20);

#[tokio::test]
async fn what_is_acknowledged_is_on_every_replica() {
    let cluster = Cluster::with_orders(2).await;
    for round in 0..20 {
        assert_eq!(cluster.produce(1, 5, -1).await, Ok(Offset(round * 5)));
    }
    cluster.until_same(&[1, 2, 3]).await;
    assert_eq!(cluster.log_on(3).log_end_offset(), Offset(100));
}

#[tokio::test]
async fn large_batches_travel_whole() {
    let cluster = Cluster::with_orders(3).await;
    for _ in 0..4 {
        cluster.produce(1, 20_000, -1).await.unwrap();
    }
    cluster.until_same(&[1, 2, 3]).await;
}

#[tokio::test]
async fn acknowledgements_by_what_was_asked() {
    let cluster = Cluster::with_orders(1).await;
    for acks in [0, 1, -1] {
        assert!(cluster.produce(1, 1, acks).await.is_ok(), "acks={acks}");
    }
    assert_eq!(cluster.produce(1, 1, 2).await, Err(ErrorCode::InvalidRequiredAcks));
    assert_eq!(cluster.produce(2, 1, 1).await, Err(ErrorCode::NotLeaderOrFollower));
}

#[tokio::test]
async fn rule_09_too_few_replicas_are_refused_up_front() {
    let cluster = Cluster::with_orders(2).await;
    cluster.change(Some(1), &[1]);
    cluster.controller_refuses(Some(ErrorCode::IneligibleReplica));
    cluster.publish();
    let alone = || cluster.orders_on(1).describe().isr.len() == 1;
    eventually("the leader to be alone", alone).await;
    assert_eq!(cluster.produce(1, 1, -1).await, Err(ErrorCode::NotEnoughReplicas));
    assert!(cluster.produce(1, 1, 1).await.is_ok(), "acks=1 does not ask");
}

#[tokio::test]
async fn rule_09_an_acknowledgement_that_does_not_come_times_out() {
    let mut cluster = Cluster::with_orders(1).await;
    cluster.kill(2).await;
    let partition = cluster.orders_on(1);
    let produced = partition.produce(batch(1), -1).unwrap();
    let replicas = &cluster.node(1).replicas;
    let wait = vec![(partition, produced)];
    let results = replicas.wait_committed(wait, Duration::from_millis(50)).await;
    assert_eq!(results, [Err(ErrorCode::RequestTimedOut)]);
}

#[tokio::test]
async fn rule_10_a_restarted_follower_catches_up_and_rejoins_with_its_new_incarnation() {
    let mut cluster = Cluster::with_orders(2).await;
    cluster.produce(1, 3, -1).await.unwrap();
    cluster.kill(3).await;
    cluster.fence(3);
    cluster.change(Some(1), &[1, 2]);
    cluster.publish();
    cluster.produce(1, 100, -1).await.unwrap();
    cluster.run(3).await;
    eventually("the ISR to be whole", || cluster.isr() == [1, 2, 3]).await;
    cluster.produce(1, 1, -1).await.unwrap();
    cluster.until_same(&[1, 2, 3]).await;
    let epoch = cluster.broker_epoch(3);
    let asked = cluster.controller.asked.lock();
    let joined = asked.last().unwrap().isr.iter().find(|member| member.node.0 == 3).unwrap();
    assert_eq!(joined.broker_epoch, epoch);
}

#[tokio::test]
async fn rule_07_a_refused_change_is_proposed_again_but_not_in_a_hurry() {
    let mut cluster = Cluster::with_orders(1).await;
    cluster.kill(3).await;
    cluster.change(Some(1), &[1, 2]);
    cluster.controller_refuses(Some(ErrorCode::IneligibleReplica));
    cluster.run(3).await;
    let asked = || cluster.controller.asked.lock().len();
    eventually("a proposal", || asked() > 0).await;
    for _ in 0..50 {
        cluster.produce(1, 1, 1).await.unwrap();
        tokio::task::yield_now().await;
    }
    assert!(asked() < 10, "{} proposals", asked());
    cluster.controller_refuses(None);
    eventually("the ISR to be whole", || cluster.isr() == [1, 2, 3]).await;
}

#[tokio::test]
async fn rule_07_a_change_of_unknown_fate_is_put_again() {
    let mut cluster = Cluster::with_orders(1).await;
    cluster.kill(3).await;
    cluster.change(Some(1), &[1, 2]);
    cluster.controller_refuses(Some(ErrorCode::RequestTimedOut));
    cluster.run(3).await;
    eventually("a second attempt", || cluster.controller.asked.lock().len() > 1).await;
    cluster.controller_refuses(None);
    eventually("the ISR to be whole", || cluster.isr() == [1, 2, 3]).await;
    let asked = cluster.controller.asked.lock();
    assert_eq!(asked[0], asked[1], "the same proposal");
}

#[tokio::test]
async fn rule_11_a_silent_follower_is_dropped_from_the_isr_and_the_rest_goes_on() {
    let options = ReplicaOptions {
        lag_max: Duration::from_millis(600),
        fetch_wait_max: Duration::from_millis(100),
        ..ReplicaOptions::default()
    };
    let mut cluster = Cluster::start_with(3, settings(2), options).await;
    cluster.create("orders", &[1, 2, 3]);
    cluster.until_leading(1).await;
    cluster.produce(1, 3, -1).await.unwrap();
    cluster.kill(3).await;
    assert!(cluster.produce(1, 3, -1).await.is_ok(), "once the ISR is without 3");
    assert_eq!(cluster.isr(), [1, 2]);
}

/// The controller has the higher minimum and counts the dropped followers as eligible leaders; the
/// leader hears of the smaller ISR, by the answer to its proposal, before it hears of the minimum.
#[tokio::test]
async fn rule_14_a_leader_that_has_not_heard_of_a_higher_minimum_commits_nothing_below_it() {
    let options = ReplicaOptions {
        lag_max: Duration::from_millis(600),
        fetch_wait_max: Duration::from_millis(100),
        ..ReplicaOptions::default()
    };
    let mut cluster = Cluster::start_with(3, settings(1), options).await;
    cluster.create("orders", &[1, 2, 3]);
    cluster.until_leading(1).await;
    cluster.produce(1, 3, -1).await.unwrap();
    cluster.until_same(&[1, 2, 3]).await;
    cluster.withhold_from(1);
    cluster.configure("min.insync.replicas", "2");
    cluster.kill(2).await;
    cluster.kill(3).await;
    let partition = cluster.orders_on(1);
    let waiting = partition.produce(batch(1), -1).unwrap();
    let is_alone = || partition.describe().isr.len() == 1;
    eventually("the leader to be alone", is_alone).await;
    assert_eq!(cluster.elr(), [2, 3], "any of them may lead next");
    assert_eq!(partition.committed(&waiting), None, "neither of them has it");
    assert_eq!(cluster.produce(1, 1, -1).await, Err(ErrorCode::NotEnoughReplicas));
    cluster.withhold_no_more();
    cluster.run(2).await;
    let results = cluster.node(1).replicas.wait_committed(vec![(partition, waiting)], SOON).await;
    assert_eq!(results, [Ok(())], "once two have it");
    assert_eq!(cluster.elr(), [] as [i32; 0]);
}

#[tokio::test]
async fn rule_20_the_next_leader_knows_the_producers() {
    let cluster = Cluster::with_orders(2).await;
    let send = |node, sequence| {
        let partition = cluster.orders_on(node);
        partition.produce(idempotent(7, sequence, 1), -1).map_err(|error| error.code)
    };
    assert_eq!(send(1, 1).map(|_| ()), Err(ErrorCode::OutOfOrderSequenceNumber), "starts at 0");
    send(1, 0).unwrap();
    let second = send(1, 1).unwrap();
    cluster.until_same(&[1, 2, 3]).await;
    cluster.change(Some(2), &[1, 2, 3]);
    cluster.publish();
    cluster.until_leading(2).await;
    let again = send(2, 1).unwrap();
    assert!(again.duplicate);
    assert_eq!(again.base_offset, second.base_offset);
    assert_eq!(send(2, 2).map(|produced| produced.base_offset), Ok(Offset(2)));
    assert_eq!(send(2, 4).map(|_| ()), Err(ErrorCode::OutOfOrderSequenceNumber));
}

#[tokio::test]
async fn partitions_that_come_to_a_leader_do_not_wait_behind_its_long_polls() {
    let fetch_wait_max = Duration::from_secs(600);
    let options = ReplicaOptions { fetch_wait_max, ..ReplicaOptions::default() };
    let mut cluster = Cluster::start_with(3, settings(3), options).await;
    cluster.create("orders", &[1, 2, 3]);
    cluster.until_leading(1).await;
    for topic in 0..12 {
        let name = TopicPartition::new(&*format!("topic-{topic}"), 0);
        cluster.create(&name.topic, &[1, 2, 3]);
        let replicas = &cluster.node(1).replicas;
        let led = || replicas.partition(&name).is_ok_and(|it| it.leading_epoch().is_ok());
        eventually("the topic to be led", led).await;
        let partition = replicas.partition(&name).unwrap();
        let produced = partition.produce(batch(1), -1).unwrap();
        let wait = vec![(partition, produced)];
        let results = replicas.wait_committed(wait, Duration::from_secs(20)).await;
        assert_eq!(results, [Ok(())], "{name}");
    }
}
