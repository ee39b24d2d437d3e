#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::io::IoSlice;

use openraft::EntryPayload;
use openraft::entry::RaftEntry;
use openraft::storage::RaftLogStorageExt;

use super::*;
use crate::controller::machine::Reply;
use crate::controller::peer::frame::{Greeting, Hello};
use crate::controller::peer::{Kind, PeerService};
use crate::controller::raft::quorum_state;
use crate::controller::raft::types::{Entry, Membership, Vote, log_id};
use crate::controller::service::ControllerService;
use crate::controller::start::metadata_log;
use crate::controller::test_support::{Cluster, Node, create_topic, eventually, member};
use crate::net::transport::TcpNetwork;
use crate::storage::{Disk, OpenMode, Operation};
use crate::types::{DirectoryId, NodeId};

fn environment(node: &Node) -> Environment {
    node.environment(Arc::new(TcpNetwork))
}

async fn survivor(node: &Node) -> Result<Survivor, RecoveryError> {
    Survivor::open(&node.directory, &member(1), &environment(node)).await
}

/// A stopped voter of three with five entries of term 2.
async fn stopped_voter() -> Node {
    let node = Node::fresh();
    let environment = environment(&node);
    let log = metadata_log(&node.directory, &*environment.offload).await.unwrap();
    let (mut store, _) = open_store(log, &environment).await.unwrap();
    let itself = node.directory.directory_id();
    let voters = [(itself, member(1)), (2.into(), member(2)), (3.into(), member(3))];
    let ids = voters.iter().map(|(directory_id, _)| *directory_id).collect::<BTreeSet<_>>();
    let membership = Membership::new(vec![ids], BTreeMap::from(voters));
    let first = Entry { log_id: log_id(2, 0), payload: EntryPayload::Membership(membership) };
    store.save_vote(&Vote::new(3, DirectoryId::from(2))).await.unwrap();
    store.blocking_append([first]).await.unwrap();
    for index in 1..5 {
        store.blocking_append([Entry::new_blank(log_id(2, index))]).await.unwrap();
    }
    node.killed()
}

#[tokio::test]
async fn the_recovery_is_durable_and_leaves_nothing_to_do() {
    let node = stopped_voter().await;
    let found = survivor(&node).await.unwrap();
    assert_eq!((found.last_offset(), found.last_term()), (Offset(4), 2));
    assert_eq!(found.new_term(), 1003);
    let lost: Vec<NodeId> = found.lost_voters().iter().map(|voter| voter.node_id).collect();
    assert_eq!(lost, [NodeId(2), NodeId(3)]);
    drop(found);

    // Looking changes nothing.
    let node = node.crashed(1);
    survivor(&node).await.unwrap().recover().await.unwrap();
    let node = node.crashed(2);
    let error = survivor(&node).await.unwrap_err();
    assert!(matches!(error, RecoveryError::Plan(PlanError::Alone)), "{error}");
    let (mut store, _) = open_store(node.metadata_log().await, &environment(&node)).await.unwrap();
    let last = store.get_log_state().await.unwrap().last_log_id;
    assert_eq!(last, Some(log_id(1003, 5)));
    assert_eq!(store.committed(), last);
    let vote = store.read_vote().await.unwrap();
    assert_eq!(vote, Some(Vote::new(1003, node.directory.directory_id())));
}

#[tokio::test]
async fn whichever_call_fails_the_node_is_recovered_or_can_be_recovered_again() {
    let operations = {
        let node = stopped_voter().await;
        let found = survivor(&node).await.unwrap();
        let before = node.disk.operations();
        found.recover().await.unwrap();
        node.disk.operations() - before
    };
    assert!(operations > 3);
    for nth in 1..=operations {
        for seed in 0..4 {
            let node = stopped_voter().await;
            let found = survivor(&node).await.unwrap();
            node.disk.fail(Operation::Any, nth);
            let result = found.recover().await;
            let context = format!("call {nth} of {operations}, seed {seed}: {result:?}");
            println!("{context}");
            match survivor(&node.crashed(seed)).await {
                Ok(again) => {
                    assert!(result.is_err(), "{context}: it was undone");
                    again.recover().await.unwrap();
                }
                Err(RecoveryError::Plan(PlanError::Alone)) => {}
                Err(error) => panic!("{context}: {error}"),
            }
        }
    }
}

#[tokio::test]
async fn what_the_node_would_refuse_is_refused() {
    let fresh = Node::fresh();
    assert!(matches!(survivor(&fresh).await, Err(RecoveryError::NoLog)));
    fresh.metadata_log().await;
    let error = survivor(&fresh).await.unwrap_err();
    assert!(matches!(error, RecoveryError::Plan(PlanError::NoMember)), "{error}");

    let node = stopped_voter().await;
    let state = node.metadata_log().await.path().join(quorum_state::FILE_NAME);
    let file = node.disk.open(&state, OpenMode::Write).unwrap();
    for slot in [0, 4096] {
        file.write_at(&[IoSlice::new(b"torn")], slot + 20).unwrap();
    }
    let error = survivor(&node.killed()).await.unwrap_err().to_string();
    assert!(error.contains("must not vote again"), "{error}");

    let node = stopped_voter().await;
    let segment = node.metadata_log().await.path().join("00000000000000000000.log");
    let file = node.disk.open(&segment, OpenMode::Write).unwrap();
    file.set_len(file.size_bytes().unwrap() - 3).unwrap();
    let error = survivor(&node.killed()).await.unwrap_err().to_string();
    assert!(error.contains("had been synced up to 5"), "{error}");
}

/// What node `id` says to a peer in `directory_id`.
fn greeting(cluster: &Cluster, id: i32, peer: i32, directory_id: DirectoryId) -> Greeting {
    let controller = cluster.controller(id);
    let hello = Hello {
        node_id: NodeId(peer),
        directory_id,
        cluster_id: controller.directory.cluster_id(),
        expected_directory: Some(controller.directory_id()),
        kind: Kind::Raft,
    };
    ControllerService::new(controller).greet(&hello)
}

fn voters(cluster: &Cluster, id: i32) -> Vec<NodeId> {
    cluster.controller(id).quorum().voters.iter().map(|voter| voter.node_id).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_survivor_leads_alone_and_others_join_it_with_empty_disks() {
    let mut cluster = Cluster::new(3);
    cluster.start_all().await;
    let broker = cluster.follower().await;
    cluster.bring_up(broker).await;
    let reply = cluster.submit(broker, create_topic("orders")).await;
    assert!(matches!(reply, Reply::CreatedTopics(_)), "{reply:?}");
    cluster.all_images("the topic everywhere", |image| image.topic("orders").is_some()).await;
    for id in 1..=3 {
        cluster.kill(id).await;
    }
    let old: Vec<DirectoryId> =
        [2, 3].iter().map(|id| cluster.nodes[id].directory.directory_id()).collect();

    survivor(&cluster.nodes[&1]).await.unwrap().recover().await.unwrap();
    let recovered = cluster.nodes[&1].killed();
    cluster.nodes.insert(1, recovered);
    cluster.start(1).await;
    assert_eq!(cluster.active().await, 1);
    assert_eq!(voters(&cluster, 1), [NodeId(1)]);
    cluster.all_images("the topic", |image| image.topic("orders").is_some()).await;
    for (peer, directory_id) in [(2, old[0]), (3, old[1])] {
        let refused = greeting(&cluster, 1, peer, directory_id);
        assert!(matches!(refused, Greeting::Refused { .. }), "{refused:?}");
        let welcome = greeting(&cluster, 1, peer, DirectoryId::from(99));
        assert!(matches!(welcome, Greeting::Welcome { .. }), "{welcome:?}");
    }

    let lost = cluster.nodes.remove(&2).unwrap();
    cluster.start_twin(2, 2).await;
    cluster.start_twin(3, 3).await;
    let all = [1, 2, 3].map(NodeId);
    eventually("three voters", || voters(&cluster, 1) == all).await;
    for id in 1..=3 {
        eventually("the others to know", || voters(&cluster, id) == all).await;
        let refused = greeting(&cluster, id, 2, old[0]);
        assert!(matches!(refused, Greeting::Refused { .. }), "{refused:?}");
    }
    assert!(cluster.controller(1).quorum().observers.is_empty(), "nobody is shown who is gone");

    // The old disk comes back for good measure: it is left alone, and nobody else is disturbed.
    let term = cluster.controller(1).quorum().epoch;
    cluster.nodes.insert(20, lost);
    cluster.start_as(20, 2).await;
    let stray = cluster.controller(20);
    let before = stray.quorum().epoch;
    eventually("the old disk to try elections", || stray.quorum().epoch > before + 3).await;
    assert_eq!(cluster.controller(1).quorum().epoch, term);
    assert!(!stray.is_active());
    cluster.stop().await;
}
