//! Long polls, offsets, epochs and topic ids, reads from followers.

use std::sync::Arc;
use std::time::Duration;

use super::cluster::{Cluster, FUTURE, batch, eventually, orders, settings};
use crate::record::{BatchHeader, HEADER_BYTES, emptied};
use crate::replication::{
    FetchPartition, FetchSpec, FetchedPartition, Isolation, ListOffset, ReplicaOptions,
};
use crate::types::{BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, Offset, TimestampMs, TopicId};

fn wanted(offset: i64) -> FetchPartition {
    FetchPartition {
        topic_partition: orders(),
        topic_id: TopicId::ZERO,
        fetch_offset: Offset(offset),
        log_start_offset: Offset(-1),
        last_fetched_epoch: LeaderEpoch::NONE,
        current_leader_epoch: LeaderEpoch::NONE,
        max_bytes: 1 << 20,
    }
}

fn consumer(partition: FetchPartition, max_wait: Duration) -> FetchSpec {
    FetchSpec {
        replica: None,
        max_wait,
        min_bytes: 1,
        max_bytes: 1 << 20,
        isolation: Isolation::ReadUncommitted,
        client_rack: None,
        every_batch: false,
        partitions: vec![partition],
    }
}

async fn fetch_now(cluster: &Cluster, node: i32, partition: FetchPartition) -> FetchedPartition {
    let spec = consumer(partition, Duration::ZERO);
    cluster.node(node).replicas.fetch(spec).await.remove(0)
}

#[tokio::test]
async fn a_long_poll_ends_with_the_first_committed_record() {
    let cluster = Cluster::with_orders(1).await;
    let replicas = Arc::clone(&cluster.node(1).replicas);
    let spec = consumer(wanted(0), Duration::from_secs(60));
    let poll = tokio::spawn(async move { replicas.fetch(spec).await });
    let partition = cluster.orders_on(1);
    // Two followers wait there as well.
    eventually("the poll to wait", || partition.waiters().count() >= 3).await;
    cluster.produce(1, 2, -1).await.unwrap();
    let fetched = tokio::time::timeout(Duration::from_secs(10), poll).await.unwrap().unwrap();
    assert_eq!(fetched[0].error, ErrorCode::None);
    assert!(!fetched[0].records.is_empty());
    assert_eq!(fetched[0].high_watermark, Offset(2));
}

#[tokio::test]
async fn a_long_poll_ends_in_time_and_leaves_nobody_behind() {
    let cluster = Cluster::start(1, settings(1)).await;
    let mut cluster = cluster;
    cluster.create("orders", &[1]);
    cluster.until_leading(1).await;
    let replicas = &cluster.node(1).replicas;
    let fetched = replicas.fetch(consumer(wanted(0), Duration::from_millis(30))).await;
    assert!(fetched[0].records.is_empty());
    let dropped = replicas.fetch(consumer(wanted(0), Duration::from_secs(60)));
    assert!(tokio::time::timeout(Duration::from_millis(30), dropped).await.is_err());
    assert_eq!(cluster.orders_on(1).waiters().count(), 0);
}

#[tokio::test]
async fn a_long_poll_ends_when_the_leader_changes() {
    let cluster = Cluster::with_orders(1).await;
    let replicas = Arc::clone(&cluster.node(1).replicas);
    let spec = consumer(wanted(0), Duration::from_secs(60));
    let poll = tokio::spawn(async move { replicas.fetch(spec).await });
    let partition = cluster.orders_on(1);
    eventually("the poll to wait", || partition.waiters().count() >= 3).await;
    cluster.change(Some(2), &[1, 2, 3]);
    cluster.publish();
    let fetched = tokio::time::timeout(Duration::from_secs(10), poll).await.unwrap().unwrap();
    assert_eq!(fetched[0].error, ErrorCode::NotLeaderOrFollower);
    let leader = fetched[0].current_leader.unwrap();
    assert_eq!((leader.leader, leader.leader_epoch), (Some(NodeId(2)), LeaderEpoch(1)));
}

#[tokio::test]
async fn consumers_see_what_is_committed_and_followers_everything() {
    let mut cluster = Cluster::with_orders(1).await;
    cluster.produce(1, 2, -1).await.unwrap();
    cluster.kill(3).await;
    cluster.orders_on(1).produce(batch(5), 1).unwrap();
    let seen = fetch_now(&cluster, 1, wanted(2)).await;
    assert_eq!((seen.error, seen.records.len()), (ErrorCode::None, 0));
    assert_eq!(seen.high_watermark, Offset(2));
    let follower = FetchSpec {
        replica: Some((NodeId(2), cluster.broker_epoch(2))),
        ..consumer(
            FetchPartition { current_leader_epoch: LeaderEpoch(0), ..wanted(2) },
            Duration::ZERO,
        )
    };
    let seen = cluster.node(1).replicas.fetch(follower).await.remove(0);
    assert!(!seen.records.is_empty());
}

#[tokio::test]
async fn what_is_wrong_with_a_fetch() {
    let cluster = Cluster::with_orders(1).await;
    cluster.produce(1, 2, -1).await.unwrap();
    cluster.change(Some(2), &[1, 2, 3]);
    cluster.change(Some(1), &[1, 2, 3]);
    cluster.publish();
    let settled = || cluster.orders_on(1).leading_epoch() == Ok(LeaderEpoch(2));
    eventually("node 1 to lead again", settled).await;
    use ErrorCode as E;
    let believing =
        |epoch| FetchPartition { current_leader_epoch: LeaderEpoch(epoch), ..wanted(0) };
    let other_topic = TopicId(uuid::Uuid::from_u128(77));
    let other_partition = FetchPartition {
        topic_partition: crate::types::TopicPartition::new("orders", 9),
        ..wanted(0)
    };
    let table = [
        (1, believing(2), E::None),
        (1, believing(1), E::FencedLeaderEpoch),
        (1, believing(3), E::UnknownLeaderEpoch),
        (1, wanted(3), E::OffsetOutOfRange),
        (1, FetchPartition { topic_id: other_topic, ..wanted(0) }, E::InconsistentTopicId),
        (1, other_partition, E::UnknownTopicOrPartition),
        (2, wanted(0), E::NotLeaderOrFollower),
    ];
    for (node, partition, error) in table {
        let fetched = fetch_now(&cluster, node, partition.clone()).await;
        assert_eq!(fetched.error, error, "node {node}: {partition:?}");
    }
}

#[tokio::test]
async fn rule_05_divergence_is_told_and_is_no_progress() {
    let cluster = Cluster::with_orders(1).await;
    cluster.produce(1, 2, -1).await.unwrap();
    cluster.until_same(&[1, 2, 3]).await;
    let diverged = FetchPartition {
        current_leader_epoch: LeaderEpoch(0),
        last_fetched_epoch: LeaderEpoch(0),
        ..wanted(9)
    };
    let spec = FetchSpec {
        replica: Some((NodeId(2), cluster.broker_epoch(2))),
        ..consumer(diverged, Duration::from_secs(60))
    };
    let fetched = cluster.node(1).replicas.fetch(spec).await.remove(0);
    let told = fetched.diverging_epoch.unwrap();
    assert_eq!((told.epoch, told.end_offset), (LeaderEpoch(0), Offset(2)));
    let known = &cluster.orders_on(1).describe().followers[0];
    assert_eq!(known.log_end_offset, Offset(2), "KAFKA-13141");
}

#[tokio::test]
async fn rule_10_a_fetch_of_an_ended_incarnation_is_rejected() {
    let cluster = Cluster::with_orders(1).await;
    let partition = FetchPartition { current_leader_epoch: LeaderEpoch(0), ..wanted(0) };
    let stale = BrokerEpoch(cluster.broker_epoch(2).0 - 1);
    let spec =
        FetchSpec { replica: Some((NodeId(2), stale)), ..consumer(partition, Duration::ZERO) };
    let fetched = cluster.node(1).replicas.fetch(spec).await.remove(0);
    assert_eq!(fetched.error, ErrorCode::NotLeaderOrFollower);
}

#[tokio::test]
async fn offsets_by_time_and_by_name() {
    let cluster = Cluster::with_orders(1).await;
    cluster.produce(1, 2, -1).await.unwrap();
    cluster.produce(1, 3, -1).await.unwrap();
    let partition = cluster.orders_on(1);
    let ask = |timestamp, current, is_replica| {
        let listed = partition.list_offset(ListOffset {
            timestamp,
            isolation: Isolation::ReadUncommitted,
            current_leader_epoch: LeaderEpoch(current),
            is_replica,
        });
        listed.map(|listed| listed.offset.0)
    };
    let table = [
        (ListOffset::LATEST, 0, Ok(5)),
        (ListOffset::EARLIEST, 0, Ok(0)),
        (ListOffset::EARLIEST_LOCAL, -1, Ok(0)),
        (ListOffset::LATEST_TIERED, -1, Ok(-1)),
        (TimestampMs(0), -1, Ok(0)),
        (FUTURE, -1, Ok(-1)),
        (ListOffset::LATEST, 1, Err(ErrorCode::UnknownLeaderEpoch)),
    ];
    for (timestamp, current, answer) in table {
        assert_eq!(ask(timestamp, current, false), answer, "{timestamp:?} {current}");
    }
    assert!(ask(ListOffset::MAX_TIMESTAMP, -1, false).unwrap() >= 0);
}

#[tokio::test]
async fn rule_18_the_end_is_not_told_before_it_is_known() {
    let mut cluster = Cluster::with_orders(1).await;
    cluster.produce(1, 2, -1).await.unwrap();
    cluster.until_same(&[1, 2, 3]).await;
    cluster.kill(3).await;
    // Node 2 has it, node 3 does not: it is not committed, and node 2 cannot know.
    cluster.orders_on(1).produce(batch(1), 1).unwrap();
    eventually("node 2 to have it", || cluster.log_on(2).log_end_offset() == Offset(3)).await;
    cluster.kill(1).await;
    cluster.change(Some(2), &[2, 3]);
    cluster.publish();
    cluster.until_leading(2).await;
    let latest = |cluster: &Cluster, is_replica| {
        let asked = ListOffset {
            timestamp: ListOffset::LATEST,
            isolation: Isolation::ReadUncommitted,
            current_leader_epoch: LeaderEpoch(1),
            is_replica,
        };
        cluster.orders_on(2).list_offset(asked).map(|listed| listed.offset.0)
    };
    assert_eq!(latest(&cluster, false), Err(ErrorCode::OffsetNotAvailable));
    assert_eq!(latest(&cluster, true), Ok(3), "replicas see the log's end");
    cluster.run(3).await;
    eventually("the end to be known", || latest(&cluster, false) == Ok(3)).await;
}

#[tokio::test]
async fn rule_18_a_follower_serves_consumers_that_name_their_rack() {
    let cluster = Cluster::with_orders(1).await;
    cluster.produce(1, 2, -1).await.unwrap();
    cluster.until_same(&[1, 2, 3]).await;
    let from_follower =
        FetchSpec { client_rack: Some("".into()), ..consumer(wanted(0), Duration::ZERO) };
    let fetched = cluster.node(2).replicas.fetch(from_follower).await.remove(0);
    assert_eq!((fetched.error, fetched.high_watermark), (ErrorCode::None, Offset(2)));
    assert!(!fetched.records.is_empty());
}

#[tokio::test]
async fn rule_18_the_leader_names_a_nearer_replica_only_if_it_is_configured_to() {
    for rack_aware_reads in [false, true] {
        let options = ReplicaOptions { rack_aware_reads, ..ReplicaOptions::default() };
        let mut cluster = Cluster::start_with(3, settings(1), options).await;
        cluster.create("orders", &[1, 2, 3]);
        cluster.until_leading(1).await;
        cluster.produce(1, 2, -1).await.unwrap();
        for (rack, preferred) in [("rack-1", None), ("rack-3", Some(NodeId(3))), ("rack-9", None)] {
            let spec =
                FetchSpec { client_rack: Some(rack.into()), ..consumer(wanted(0), Duration::ZERO) };
            let fetched = cluster.node(1).replicas.fetch(spec).await.remove(0);
            let expected = preferred.filter(|_| rack_aware_reads);
            assert_eq!(fetched.preferred_read_replica, expected, "{rack} {rack_aware_reads}");
            assert_eq!(fetched.records.is_empty(), expected.is_some());
        }
    }
}

#[tokio::test]
async fn rule_03_where_an_epoch_ends_is_told_by_the_leader() {
    let cluster = Cluster::with_orders(1).await;
    cluster.produce(1, 2, -1).await.unwrap();
    cluster.until_same(&[1, 2, 3]).await;
    cluster.change(Some(2), &[1, 2, 3]);
    cluster.publish();
    cluster.until_leading(2).await;
    cluster.produce(2, 3, -1).await.unwrap();
    let ask = |current, requested| {
        let partition = cluster.orders_on(2);
        let end = partition.offset_for_leader_epoch(LeaderEpoch(current), LeaderEpoch(requested));
        end.map(|end| (end.epoch.0, end.end_offset.0))
    };
    assert_eq!(ask(1, 0), Ok((0, 2)));
    assert_eq!(ask(-1, 1), Ok((1, 5)));
    assert_eq!(ask(1, 2), Ok((-1, -1)), "above all known");
    assert_eq!(ask(0, 0), Err(ErrorCode::FencedLeaderEpoch));
    assert_eq!(ask(2, 0), Err(ErrorCode::UnknownLeaderEpoch));
}

/// What compaction leaves of a batch whose records are all gone: nothing that a consumer could use,
/// and librdkafka gives up on a partition after eleven answers with nothing else.
#[tokio::test]
async fn a_consumer_goes_past_batches_without_records_where_others_follow() {
    let cluster = Cluster::with_orders(1).await;
    cluster.produce(1, 5, -1).await.unwrap();
    let log = cluster.log_on(1);
    let last = log.read(Offset(0), Offset(5), 1 << 20, true).unwrap().records;
    let mut header = BatchHeader::parse(&last).unwrap();
    for base_offset in [5, 10] {
        header.base_offset = Offset(base_offset);
        let (_, emptied) = emptied(&header).unwrap();
        log.append_as_follower(emptied.into(), header.partition_leader_epoch).unwrap();
    }
    cluster.produce(1, 5, -1).await.unwrap();
    cluster.until_same(&[1, 2, 3]).await;
    for (every_batch, from, expected) in
        [(false, 5, 15), (true, 5, 5), (false, 12, 15), (true, 12, 10), (false, 15, 15)]
    {
        // Room for one batch without records, or for the first of any size.
        let partition = FetchPartition { max_bytes: HEADER_BYTES, ..wanted(from) };
        let spec = FetchSpec { every_batch, ..consumer(partition, Duration::ZERO) };
        let fetched = cluster.node(1).replicas.fetch(spec).await.remove(0);
        let first = BatchHeader::parse(&fetched.records).unwrap().base_offset;
        assert_eq!(first, Offset(expected), "from {from}, every batch: {every_batch}");
    }
}
