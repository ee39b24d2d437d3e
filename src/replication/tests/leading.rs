//! Changes of leader: divergence, missed epochs, retention meanwhile, zombies.

use std::task::Poll;
use std::time::Duration;

use super::cluster::{Cluster, batch, eventually, records};
use crate::types::{ErrorCode, LeaderEpoch, Offset};

#[tokio::test]
async fn rule_01_a_reign_without_writes_is_in_the_history() {
    let cluster = Cluster::with_orders(1).await;
    cluster.produce(1, 3, -1).await.unwrap();
    cluster.until_same(&[1, 2, 3]).await;
    cluster.change(Some(2), &[1, 2, 3]);
    cluster.publish();
    cluster.until_leading(2).await;
    let log = cluster.log_on(2);
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(1)));
    assert_eq!(log.end_offset_for_epoch(LeaderEpoch(0)).end_offset, Offset(3));
}

#[tokio::test]
async fn rule_04_a_deposed_leader_drops_what_only_it_had() {
    let mut cluster = Cluster::with_orders(1).await;
    cluster.produce(1, 3, -1).await.unwrap();
    cluster.until_same(&[1, 2, 3]).await;
    // Nobody fetches from node 1 any more, but it does not know yet.
    cluster.change(Some(2), &[2, 3]);
    cluster.publish_to(2);
    cluster.publish_to(3);
    cluster.until_leading(2).await;
    let followed = || cluster.orders_on(3).current_leader().leader_epoch == LeaderEpoch(1);
    eventually("node 3 to know", followed).await;
    cluster.orders_on(1).produce(batch(5), 1).unwrap();
    assert_eq!(cluster.log_on(1).log_end_offset(), Offset(8));
    assert_eq!(cluster.produce(2, 4, -1).await, Ok(Offset(3)));
    cluster.publish();
    cluster.until_same(&[1, 2, 3]).await;
    let epochs: Vec<i32> = records(&cluster.log_on(1)).iter().map(|(epoch, _)| epoch.0).collect();
    assert_eq!(epochs, [0, 0, 0, 1, 1, 1, 1]);
    eventually("the ISR to be whole", || cluster.isr() == [1, 2, 3]).await;
    cluster.kill(2).await;
}

#[tokio::test]
async fn rule_04_missed_reigns_are_found() {
    let mut cluster = Cluster::with_orders(1).await;
    cluster.produce(1, 3, -1).await.unwrap();
    cluster.until_same(&[1, 2, 3]).await;
    cluster.orders_on(1).produce(batch(1), 1).unwrap();
    cluster.kill(1).await;
    for (leader, isr) in [(2, &[2, 3][..]), (3, &[2, 3]), (2, &[2, 3])] {
        cluster.change(Some(leader), isr);
        cluster.publish();
        cluster.until_leading(leader).await;
        cluster.produce(leader, 2, -1).await.unwrap();
    }
    cluster.run(1).await;
    cluster.until_same(&[1, 2, 3]).await;
    let epochs: Vec<i32> = records(&cluster.log_on(1)).iter().map(|(epoch, _)| epoch.0).collect();
    assert_eq!(epochs[3..].iter().filter(|epoch| **epoch == 0).count(), epochs.len() - 3 - 6);
}

#[tokio::test]
async fn a_reign_that_goes_on_under_a_new_epoch_keeps_its_promises() {
    let mut cluster = Cluster::with_orders(1).await;
    cluster.kill(3).await;
    let partition = cluster.orders_on(1);
    let produced = partition.produce(batch(2), -1).unwrap();
    cluster.change(None, &[1, 2, 3]);
    cluster.publish();
    let deposed = || partition.committed(&produced) == Some(Err(ErrorCode::NotLeaderOrFollower));
    eventually("node 1 to be deposed", deposed).await;
    cluster.change(Some(1), &[1, 2]);
    cluster.publish();
    cluster.until_leading(1).await;
    let replicas = &cluster.node(1).replicas;
    let wait = vec![(partition.clone(), produced)];
    let results = replicas.wait_committed(wait, Duration::from_secs(10)).await;
    assert_eq!(results, [Ok(())], "its records are still where they were");
}

#[tokio::test]
async fn a_promise_is_not_kept_by_another_leaders_records() {
    let cluster = Cluster::with_orders(1).await;
    cluster.change(Some(2), &[2, 3]);
    cluster.publish_to(2);
    cluster.publish_to(3);
    cluster.until_leading(2).await;
    let partition = cluster.orders_on(1);
    let produced = partition.produce(batch(2), -1).unwrap();
    cluster.produce(2, 2, -1).await.unwrap();
    cluster.publish();
    cluster.until_same(&[1, 2, 3]).await;
    eventually("the ISR to be whole", || cluster.isr() == [1, 2, 3]).await;
    cluster.change(Some(1), &[1, 2, 3]);
    cluster.publish();
    cluster.until_leading(1).await;
    let lost = || partition.committed(&produced) == Some(Err(ErrorCode::NotLeaderOrFollower));
    eventually("the producer to be told", lost).await;
}

#[tokio::test]
async fn a_node_that_may_have_been_deposed_does_not_answer() {
    let cluster = Cluster::with_orders(1).await;
    let partition = cluster.orders_on(1);
    let produced = partition.produce(batch(1), 1).unwrap();
    cluster.set_live(1, false);
    let refused = ErrorCode::NotLeaderOrFollower;
    assert_eq!(partition.produce(batch(1), 1).map_err(|error| error.code), Err(refused));
    assert_eq!(partition.committed(&produced), Some(Err(refused)));
    assert_eq!(partition.offset_for_leader_epoch(LeaderEpoch(0), LeaderEpoch(0)), Err(refused));
    assert_eq!(partition.leading_epoch(), Err(refused));
    cluster.set_live(1, true);
    assert!(partition.produce(batch(1), 1).is_ok());
    cluster.until_same(&[1, 2, 3]).await;
}

/// A batch waits for others to be written with; meanwhile the reign ends.
#[tokio::test]
async fn a_batch_that_waits_is_refused_once_another_leads() {
    let cluster = Cluster::with_orders(1).await;
    let partition = cluster.orders_on(1);
    let mut appended = 0;
    let waiting = loop {
        let mut asked = Box::pin(partition.produce_together(batch(1), 1));
        match futures::poll!(&mut asked) {
            Poll::Ready(produced) => assert_eq!(produced.unwrap().base_offset, Offset(appended)),
            Poll::Pending => break asked,
        }
        appended += 1;
        assert!(appended < 1_000, "none has waited");
    };
    cluster.until_same(&[1, 2, 3]).await;
    cluster.change(Some(2), &[1, 2, 3]);
    cluster.publish();
    cluster.until_leading(2).await;
    let follows = || partition.describe().role == "follower";
    eventually("node 1 to follow", follows).await;
    let refused = waiting.await.map_err(|error| error.code);
    assert_eq!(refused.map(|it| it.base_offset), Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(cluster.log_on(1).log_end_offset(), Offset(appended));
}

#[tokio::test]
async fn rule_05_a_follower_behind_the_leaders_log_start_begins_anew_there() {
    let mut cluster = Cluster::with_orders(1).await;
    cluster.produce(1, 3, -1).await.unwrap();
    cluster.until_same(&[1, 2, 3]).await;
    cluster.kill(3).await;
    cluster.fence(3);
    cluster.change(Some(1), &[1, 2]);
    cluster.publish();
    cluster.produce(1, 10, -1).await.unwrap();
    cluster.produce(1, 10, -1).await.unwrap();
    cluster.log_on(1).advance_log_start(Offset(13)).await.unwrap();
    cluster.run(3).await;
    cluster.until_same(&[1, 3]).await;
    let log = cluster.log_on(3);
    assert_eq!(log.log_start_offset(), Offset(13));
    assert_eq!(log.high_watermark(), Offset(23), "KAFKA-9491");
    eventually("node 2 to drop them too", || cluster.log_on(2).log_start_offset() == Offset(13))
        .await;
}
