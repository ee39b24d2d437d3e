//! Whole quorums in one process, on loopback.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;
use std::time::Duration;

use crate::controller::liveness::LivenessOptions;

use crate::controller::machine::{Command, Reply};
use crate::controller::membership::MembershipOptions;
use crate::controller::test_support::{Cluster, Node, create_topic, eventually};
use crate::controller::{BrokerLifecycle, BrokerState};
use crate::metadata::Image;
use crate::types::NodeId;

fn has_topic(name: &'static str) -> impl Fn(&Image) -> bool {
    move |image| image.topic(name).is_some()
}

fn is_fenced(id: i32) -> impl Fn(&Image) -> bool {
    move |image| image.broker(NodeId(id)).is_some_and(|broker| broker.fenced)
}

fn created(reply: &Reply) -> bool {
    matches!(reply, Reply::CreatedTopics(topics) if topics.iter().all(|topic| topic.result.is_ok()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_forms_a_cluster_by_itself() {
    let mut cluster = Cluster::new(1);
    cluster.start_all().await;
    cluster.all_images("the cluster id", |image| image.cluster_id.is_some()).await;
    cluster.bring_up(1).await;
    assert!(created(&cluster.submit(1, create_topic("orders")).await));
    cluster.all_images("the topic", has_topic("orders")).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_nodes_form_elect_and_change_through_a_follower() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    let follower = cluster.follower().await;
    cluster.bring_up(follower).await;
    assert!(created(&cluster.submit(follower, create_topic("orders")).await));
    cluster.all_images("the topic everywhere", has_topic("orders")).await;
    let id = cluster.controller(1).directory.cluster_id();
    for node in 1..=3 {
        let controller = cluster.controller(node);
        eventually("the same cluster id", || controller.directory.cluster_id() == id).await;
    }
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_leader_is_replaced_and_comes_back_from_its_disk() {
    let mut cluster = Cluster::new(3);
    let first = cluster.start_all().await;
    let other = cluster.follower().await;
    cluster.bring_up(other).await;
    assert!(created(&cluster.submit(other, create_topic("before")).await));
    cluster.kill(first).await;
    assert!(created(&cluster.submit(other, create_topic("after")).await));
    cluster.start(first).await;
    cluster
        .all_images("both topics everywhere", |image| {
            image.topic("before").is_some() && image.topic("after").is_some()
        })
        .await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_lags_far_behind_catches_up_from_a_snapshot() {
    let mut cluster = Cluster::new(3);
    cluster.timings.snapshot_every = 20;
    cluster.timings.keep_entries = 5;
    cluster.start_all().await;
    let lagging = cluster.follower().await;
    let broker = cluster.active().await;
    let broker_epoch = cluster.bring_up(broker).await;
    cluster.all_images("the registration", |image| image.brokers.len() == 1).await;
    cluster.kill(lagging).await;
    for _ in 0..100 {
        let command = Command::AllocateProducerIds { node_id: NodeId(broker), broker_epoch };
        let reply = cluster.submit(broker, command).await;
        assert!(matches!(reply, Reply::ProducerIds { .. }), "{reply:?}");
    }
    let leader = cluster.controller(broker);
    eventually("a purge behind a snapshot", || {
        leader.raft.metrics().borrow().purged.is_some_and(|id| id.index > 50)
    })
    .await;
    let next = leader.metadata().image().next_producer_id;
    cluster.start(lagging).await;
    cluster.all_images("all producer ids", |image| image.next_producer_id >= next).await;
    let follower = cluster.controller(lagging);
    assert!(follower.raft.metrics().borrow().snapshot.is_some());
    drop((leader, follower));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pure_broker_joins_as_a_learner() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    cluster.nodes.insert(4, Node::fresh());
    cluster.start(4).await;
    cluster.all_images("the cluster id everywhere", |image| image.cluster_id.is_some()).await;
    let learner = cluster.controller(4);
    eventually("the learner to know its cluster", || learner.directory.cluster_id().is_some())
        .await;
    let quorum = cluster.controller(cluster.active().await).quorum();
    let ids = |members: &[crate::controller::QuorumMember]| {
        members.iter().map(|member| member.node_id.0).collect::<Vec<_>>()
    };
    assert_eq!((ids(&quorum.voters), ids(&quorum.observers)), (vec![1, 2, 3], vec![4]));
    cluster.bring_up(4).await;
    drop(learner);
    cluster.stop().await;
}

/// Voters that replace themselves without long waits.
fn hasty() -> MembershipOptions {
    MembershipOptions {
        replace_after: Duration::from_millis(500),
        between_replacements: Duration::ZERO,
        healthy: Duration::from_secs(2),
        ..MembershipOptions::default()
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rule_19_a_voter_with_an_empty_disk_replaces_its_old_self() {
    let mut cluster = Cluster::new(3);
    cluster.membership = hasty();
    cluster.start_all().await;
    let voter = cluster.follower().await;
    cluster.kill(voter).await;
    cluster.nodes.insert(voter, Node::fresh());
    let fresh = cluster.nodes[&voter].directory.directory_id();
    cluster.start(voter).await;
    for id in 1..=3 {
        let controller = cluster.controller(id);
        eventually("the new directory to vote", || {
            let quorum = controller.quorum();
            quorum.voters.len() == 3
                && quorum.observers.is_empty()
                && quorum.voters.iter().any(|member| member.directory_id == fresh)
        })
        .await;
    }
    let other = (1..=3).find(|id| *id != voter).unwrap();
    cluster.kill(other).await;
    cluster.active().await;
    cluster.bring_up(voter).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_live_directory_of_a_node_id_is_refused_with_the_reason() {
    let mut cluster = Cluster::new(3);
    let active = cluster.start_all().await;
    // The other one claims the same node.id; only the test's book-keeping calls it by another.
    let twin = (1..=3).find(|id| *id != active).unwrap();
    cluster.start_twin(twin, 99).await;
    let failure = cluster.controller(99).failure();
    eventually("the refusal", || failure.borrow().is_some()).await;
    let reason = failure.borrow().clone().unwrap();
    assert!(reason.contains(&format!("node.id {twin}")) && reason.contains("alive"), "{reason}");
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_cut_off_steps_aside_and_follows_when_it_is_back() {
    let mut cluster = Cluster::new(3);
    let old = cluster.start_all().await;
    let others: Vec<i32> = (1..=3).filter(|id| *id != old).collect();
    let broker_epoch = cluster.bring_up(old).await;
    for other in &others {
        cluster.switch.cut(old, *other);
        cluster.switch.cut(*other, old);
    }
    let cut_off = cluster.controller(old);
    eventually("the old leader to step aside", || !cut_off.is_active()).await;
    assert!(!cluster.heartbeat(old, broker_epoch).await);
    eventually("another controller", || {
        others.iter().any(|id| cluster.controller(*id).is_active())
    })
    .await;
    cluster.bring_up(others[0]).await;
    assert!(created(&cluster.submit(others[0], create_topic("meanwhile")).await));
    cluster.switch.heal();
    cluster.all_images("the topic everywhere", has_topic("meanwhile")).await;
    assert!(!cut_off.is_active());
    drop(cut_off);
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_is_heard_but_does_not_hear_does_not_block_the_election() {
    let mut cluster = Cluster::new(3);
    let deaf = cluster.start_all().await;
    let others: Vec<i32> = (1..=3).filter(|id| *id != deaf).collect();
    for other in &others {
        cluster.switch.cut(*other, deaf);
    }
    eventually("another controller", || {
        others.iter().any(|id| cluster.controller(*id).is_active())
    })
    .await;
    assert!(!cluster.controller(deaf).is_active());
    cluster.switch.heal();
    cluster.stop().await;
}

/// Brokers whose sessions last so long that only a found death can end them.
fn patient() -> LivenessOptions {
    LivenessOptions { session: Duration::from_secs(3600), ..LivenessOptions::default() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dead_process_is_fenced_at_once() {
    let mut cluster = Cluster::new(3);
    cluster.liveness = patient();
    let active = cluster.start_all().await;
    let victim = cluster.follower().await;
    cluster.bring_up(active).await;
    cluster.bring_up(victim).await;
    cluster.kill(victim).await;
    cluster.all_images("the dead broker to be fenced", is_fenced(victim)).await;
    assert!(!is_fenced(active)(&cluster.controller(active).metadata().image()));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_controller_dials_the_brokers_and_fences_the_dead_one() {
    let mut cluster = Cluster::new(3);
    cluster.liveness = patient();
    let victim = cluster.start_all().await;
    let survivor = cluster.follower().await;
    cluster.bring_up(survivor).await;
    cluster.bring_up(victim).await;
    cluster.kill(victim).await;
    cluster.all_images("the dead controller to be fenced", is_fenced(victim)).await;
    assert!(!is_fenced(survivor)(&cluster.controller(survivor).metadata().image()));
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_silent_broker_is_fenced_when_its_session_ends() {
    let mut cluster = Cluster::new(1);
    cluster.liveness.session = Duration::from_millis(300);
    cluster.start_all().await;
    cluster.bring_up(1).await;
    cluster.all_images("the silent broker to be fenced", is_fenced(1)).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn brokers_come_into_service_survive_a_new_controller_and_leave_in_order() {
    let mut cluster = Cluster::new(3);
    let first = cluster.start_all().await;
    let mut brokers = BTreeMap::new();
    for id in 1..=3 {
        let lifecycle = cluster.broker(id);
        lifecycle.logs_loaded();
        brokers.insert(id, lifecycle);
    }
    let all_run = |brokers: &BTreeMap<i32, BrokerLifecycle>| {
        let mut states = brokers.values().map(|broker| *broker.state().borrow());
        states.all(|state| matches!(state, BrokerState::Running(_)))
    };
    eventually("all brokers in service", || all_run(&brokers)).await;
    let epochs: Vec<_> = brokers.values().map(BrokerLifecycle::broker_epoch).collect();
    brokers.remove(&first);
    cluster.kill(first).await;
    cluster.all_images("the dead broker to be fenced", is_fenced(first)).await;
    cluster.active().await;
    assert!(brokers.values().all(|broker| broker.is_live()), "nobody was doubted");
    assert!(brokers.values().all(|broker| epochs.contains(&broker.broker_epoch())));
    let leaving = cluster.follower().await;
    assert!(brokers[&leaving].shutdown(Duration::from_secs(60)).await);
    cluster.all_images("the leaving broker to be fenced", is_fenced(leaving)).await;
    drop(brokers);
    cluster.stop().await;
}
