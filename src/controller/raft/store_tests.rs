//! openraft's own tests of a store, and what they do not test: crashes.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::io::IoSlice;
use std::sync::Arc;

use openraft::entry::RaftEntry;
use openraft::storage::{RaftLogStorage, RaftLogStorageExt, RaftStateMachine};
use openraft::testing::{StoreBuilder, Suite};
use openraft::{RaftLogReader, RaftSnapshotBuilder};

use crate::controller::raft::log_store::LogStore;
use crate::controller::raft::quorum_state;
use crate::controller::raft::state_machine::StateMachine;
use crate::controller::raft::types::{Entry, LogId, Vote, log_id};
use crate::controller::raft::types::{SnapshotMeta, StorageError, TypeConfig};
use crate::controller::start::{StartError, metadata_log, open_store};
use crate::controller::test_support::Node;
use crate::net::transport::TcpNetwork;
use crate::storage::{Disk, MemoryDisk, OpenMode, Operation};

struct Builder;

impl StoreBuilder<TypeConfig, LogStore, StateMachine, Node> for Builder {
    async fn build(&self) -> Result<(Node, LogStore, StateMachine), StorageError> {
        let node = Node::fresh();
        let (store, state_machine) = open(&node).await;
        // They purge what no snapshot covers.
        Ok((node, store.forgetting_at_will(), state_machine))
    }
}

pub(super) async fn open(node: &Node) -> (LogStore, StateMachine) {
    try_open(node).await.unwrap()
}

pub(super) async fn try_open(node: &Node) -> Result<(LogStore, StateMachine), StartError> {
    let environment = node.environment(Arc::new(TcpNetwork));
    let log = metadata_log(&node.directory, &*environment.offload).await?;
    open_store(log, &environment).await
}

#[test]
fn openrafts_own_tests_pass() {
    Suite::test_all(Builder).unwrap();
}

/// A snapshot that the leader sends is stored beside the purge that follows it: a crash between the
/// two would leave a voter with neither.
#[tokio::test]
async fn the_log_forgets_only_what_a_snapshot_on_the_disk_covers() {
    let node = Node::fresh();
    let (mut store, mut state_machine) = open(&node).await;
    append(&mut store, &mut Account::default(), 1, 0..6).await.unwrap();
    let mut other = store.clone();
    let mut purge = Box::pin(other.purge(log_id(1, 5)));
    assert!(futures::poll!(&mut purge).is_pending());
    assert_eq!(store.get_log_state().await.unwrap().last_purged_log_id, None);
    let entries = store.try_get_log_entries(0..6).await.unwrap();
    state_machine.apply(entries).await.unwrap();
    let snapshot = state_machine.build_snapshot().await.unwrap();
    purge.await.unwrap();

    let meta = SnapshotMeta { last_log_id: Some(log_id(1, 9)), ..snapshot.meta };
    state_machine.install_snapshot(&meta, Box::default()).await.unwrap_err();
    store.purge(log_id(1, 9)).await.unwrap_err();
    assert_eq!(store.get_log_state().await.unwrap().last_purged_log_id, Some(log_id(1, 5)));
}

/// What was acknowledged before a crash, and what was begun.
#[derive(Debug, Default)]
pub(super) struct Account {
    pub(super) vote: u64,
    pub(super) vote_begun: u64,
    /// Terms of acknowledged entries by index.
    pub(super) entries: Vec<u64>,
    pub(super) entries_begun: usize,
    /// Entries from here on may be gone.
    cut_begun: Option<usize>,
    pub(super) purged: u64,
    purge_begun: u64,
}

pub(super) fn entry(term: u64, index: u64) -> Entry {
    Entry::new_blank(log_id(term, index))
}

/// A member's life in short: votes, appends, a conflict, a snapshot, a purge. Ends at the first
/// failure.
pub(super) async fn live(
    store: &mut LogStore,
    state_machine: &mut StateMachine,
    account: &mut Account,
) -> Result<(), StorageError> {
    vote(store, account, 1).await?;
    append(store, account, 1, 0..5).await?;
    vote(store, account, 2).await?;
    append(store, account, 2, 5..9).await?;
    account.cut_begun = Some(6);
    store.truncate(log_id(2, 6)).await?;
    account.entries.truncate(6);
    account.entries_begun = 6;
    account.cut_begun = None;
    vote(store, account, 3).await?;
    append(store, account, 3, 6..10).await?;
    store.save_committed(Some(log_id(3, 8))).await?;
    let entries = store.try_get_log_entries(0..8).await?;
    state_machine.apply(entries).await?;
    state_machine.build_snapshot().await?;
    account.purge_begun = 6;
    store.purge(log_id(2, 5)).await?;
    account.purged = 6;
    append(store, account, 3, 10..12).await?;
    vote(store, account, 4).await
}

async fn vote(store: &mut LogStore, account: &mut Account, term: u64) -> Result<(), StorageError> {
    account.vote_begun = term;
    store.save_vote(&Vote::new(term, 1.into())).await?;
    account.vote = term;
    Ok(())
}

async fn append(
    store: &mut LogStore,
    account: &mut Account,
    term: u64,
    range: std::ops::Range<u64>,
) -> Result<(), StorageError> {
    for index in range {
        account.entries_begun += 1;
        store.blocking_append([entry(term, index)]).await?;
        account.entries.push(term);
    }
    Ok(())
}

pub(super) async fn check(store: &mut LogStore, account: &Account) {
    let vote = store.read_vote().await.unwrap().map_or(0, |vote| vote.leader_id.term);
    assert!((account.vote..=account.vote_begun).contains(&vote), "vote {vote}");
    let state = store.get_log_state().await.unwrap();
    let purged = state.last_purged_log_id.map_or(0, |id| id.index + 1);
    assert!((account.purged..=account.purge_begun).contains(&purged), "purged {purged}");
    let ids = ids(store).await;
    let end = purged as usize + ids.len();
    let kept = account.cut_begun.unwrap_or(usize::MAX).min(account.entries.len());
    assert!((kept..=account.entries_begun).contains(&end), "{kept} entries became {end}");
    for (place, id) in ids.iter().enumerate() {
        assert_eq!(id.index, purged + place as u64, "a hole");
        if let Some(term) = account.entries.get(id.index as usize) {
            assert_eq!(id.leader_id.term, *term, "entry {}", id.index);
        }
    }
    assert_eq!(state.last_log_id.map_or(0, |id| id.index + 1), end as u64);
}

#[tokio::test]
async fn rule_19_nothing_that_was_answered_is_lost_whichever_call_fails_and_however_the_power_goes()
{
    for operation in [Operation::Any, Operation::Write, Operation::Sync, Operation::Grow] {
        let count = {
            let node = Node::fresh();
            let (mut store, mut state_machine) = open(&node).await;
            let before = node.disk.count(operation);
            live(&mut store, &mut state_machine, &mut Account::default()).await.unwrap();
            node.disk.count(operation) - before
        };
        assert!(count > 10, "{operation:?}: {count}");
        for nth in 1..=count + 1 {
            for seed in 0..4 {
                let node = Node::fresh();
                let (mut store, mut state_machine) = open(&node).await;
                node.disk.fail(operation, nth);
                let mut account = Account::default();
                let result = live(&mut store, &mut state_machine, &mut account).await;
                let context = format!("{operation:?} {nth} of {count}, seed {seed}: {result:?}");
                let again = node.crashed(seed);
                let (mut store, _) =
                    try_open(&again).await.unwrap_or_else(|error| panic!("{context}: {error}"));
                println!("{context}");
                check(&mut store, &account).await;
            }
        }
    }
}

async fn ids(store: &mut LogStore) -> Vec<LogId> {
    let entries = store.try_get_log_entries(..).await.unwrap();
    entries.iter().map(|entry| entry.log_id).collect()
}

/// What a voter finds when it starts, it counts to the leader as its own: a power failure must not
/// take what the process before it had written when it was killed, or when a sync failed.
#[tokio::test]
async fn rule_19_what_another_process_left_is_on_the_device_before_it_counts() {
    type Stop = fn(&MemoryDisk, u64);
    let stops: [(&str, Operation, Stop); 2] = [
        ("killed", Operation::Any, |disk, nth| disk.fail_from(nth)),
        ("a sync failed", Operation::Sync, |disk, nth| disk.fail(Operation::Sync, nth)),
    ];
    for (how, operation, stop) in stops {
        let node = Node::fresh();
        let (mut store, mut state_machine) = open(&node).await;
        let before = node.disk.count(operation);
        live(&mut store, &mut state_machine, &mut Account::default()).await.unwrap();
        let count = node.disk.count(operation) - before;
        assert!(count > 10, "{how}: {count}");
        for nth in 1..=count {
            for seed in 0..4 {
                let node = Node::fresh();
                let (mut store, mut state_machine) = open(&node).await;
                stop(&node.disk, nth);
                let _ = live(&mut store, &mut state_machine, &mut Account::default()).await;
                let killed = node.killed();
                let (mut store, _) = open(&killed).await;
                let found = ids(&mut store).await;
                let vote = store.read_vote().await.unwrap();
                let (mut store, _) = open(&killed.crashed(seed)).await;
                let context = format!("{how}, call {nth} of {count}, seed {seed}");
                // Entries that were cut off may be back: nobody was told that they are gone.
                let now = ids(&mut store).await;
                assert!(now.starts_with(&found), "{context}: {found:?} became {now:?}");
                assert_eq!(store.read_vote().await.unwrap(), vote, "{context}");
            }
        }
    }
}

#[tokio::test]
async fn a_torn_slot_leaves_the_other_and_two_torn_slots_are_refused() {
    for (damaged, expected) in [(vec![0], true), (vec![1], true), (vec![0, 1], false)] {
        let node = Node::fresh();
        let (mut store, mut state_machine) = open(&node).await;
        live(&mut store, &mut state_machine, &mut Account::default()).await.unwrap();
        let path = node.metadata_log().await.path().join(quorum_state::FILE_NAME);
        drop(store);
        let again = node.killed();
        let file = again.disk.open(&path, OpenMode::Write).unwrap();
        for slot in &damaged {
            file.write_at(&[IoSlice::new(b"torn")], slot * 4096 + 20).unwrap();
        }
        match try_open(&again).await {
            Ok((mut store, _)) => {
                assert!(expected);
                assert!(store.read_vote().await.unwrap().unwrap().leader_id.term >= 3);
            }
            Err(error) => {
                assert!(!expected && error.to_string().contains("must not vote again"), "{error}");
            }
        }
    }
}

#[tokio::test]
async fn rule_19_a_log_that_lost_synced_entries_or_its_vote_is_refused() {
    let node = Node::fresh();
    let (mut store, _) = open(&node).await;
    let mut account = Account::default();
    vote(&mut store, &mut account, 1).await.unwrap();
    append(&mut store, &mut account, 1, 0..5).await.unwrap();
    let log = node.metadata_log().await;
    let segment = log.path().join("00000000000000000000.log");
    let state = log.path().join(quorum_state::FILE_NAME);

    let cut = node.killed();
    let file = cut.disk.open(&segment, OpenMode::Write).unwrap();
    file.set_len(file.size_bytes().unwrap() - 3).unwrap();
    let cut = cut.killed();
    let error = try_open(&cut).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("ends at 4") && error.contains("synced up to 5"), "{error}");

    cut.disk.remove_file(&state).unwrap();
    let error = try_open(&cut).await.err().map(|error| error.to_string()).unwrap_or_default();
    assert!(error.contains("quorum-state is missing"), "{error}");
}

#[tokio::test]
async fn rule_19_what_is_committed_is_not_truncated() {
    let node = Node::fresh();
    let (mut store, _) = open(&node).await;
    let mut account = Account::default();
    append(&mut store, &mut account, 1, 0..5).await.unwrap();
    store.save_committed(Some(log_id(1, 2))).await.unwrap();
    for index in 0..=2 {
        assert!(store.truncate(log_id(1, index)).await.is_err(), "{index}");
    }
    store.truncate(log_id(1, 3)).await.unwrap();
    assert_eq!(store.get_log_state().await.unwrap().last_log_id, Some(log_id(1, 2)));
}
