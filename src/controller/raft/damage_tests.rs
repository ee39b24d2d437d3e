//! What a damaged metadata directory does (rule 19): what × where × when, one line per cell. A voter
//! cuts off only an incomplete tail beyond its last synced position; anything else that is not as it
//! was written makes it refuse, and go on refusing: it comes back only as a new directory id.
//!
//! In every cell: what is read is what was appended, an acknowledged vote is known or the node
//! does not start, and nothing panics.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::single_range_in_vec_init)]

use std::io::IoSlice;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};

use openraft::RaftLogReader;
use openraft::storage::{RaftLogStorage, RaftStateMachine};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::controller::raft::entry::{self, encode};
use crate::controller::raft::log_store::LogStore;
use crate::controller::raft::state_machine::StateMachine;
use crate::controller::raft::store_tests::{Account, check, entry as blank, live, open, try_open};
use crate::controller::test_support::Node;
use crate::log::Log;
use crate::storage::{Disk, OpenMode};
use crate::types::TimestampMs;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    BitFlip,
    ZeroedPage,
    TruncatedTail,
    TornBatch,
    Missing,
    ExtraFile,
    Duplicate,
    Unreadable,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// Entries that were synced and answered.
    Synced,
    /// Entries that were written and not synced.
    Beyond,
    Snapshot,
    /// One slot of `quorum-state`.
    OneSlot,
    /// Both, or the file.
    QuorumState,
    /// The log's directory.
    Directory,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    /// The node starts, with all that was answered.
    Starts,
    /// It does not, and says this; however often it is tried.
    Refused(&'static str),
    /// While it runs: the next use is an error, which ends the node.
    Fails,
    /// While it runs: nothing is noticed, as it is in memory, or open.
    Unharmed,
    Senseless,
}

use Damage::*;
use Outcome::*;
use Place::*;

const REFUSED: Outcome = Refused("must not vote again");
const INCOMPLETE: Outcome = Refused("join anew");

/// What, where; while running, between runs. A directory that cannot be changed is refused as any
/// other: `log::tests::damage`. A full disk, a write and a sync that fails, at every call in turn: `rule_19_nothing_that_was_answered_is_lost_whichever_call_fails_and_however_the_power_goes`.
const TABLE: &[(Damage, Place, [Outcome; 2])] = &[
    (BitFlip, Synced, [Fails, REFUSED]),
    (ZeroedPage, Synced, [Fails, REFUSED]),
    (TruncatedTail, Synced, [Fails, REFUSED]),
    (TornBatch, Synced, [Fails, REFUSED]),
    (Missing, Synced, [Unharmed, REFUSED]),
    (ExtraFile, Synced, [Unharmed, Starts]), // set aside
    (Duplicate, Synced, [Unharmed, Starts]), // set aside
    (Unreadable, Synced, [Fails, Refused("os error 5")]),
    (BitFlip, Beyond, [Senseless, Starts]),
    (ZeroedPage, Beyond, [Senseless, Starts]),
    (TruncatedTail, Beyond, [Senseless, Starts]),
    (TornBatch, Beyond, [Senseless, Starts]),
    (Missing, Beyond, [Senseless, Senseless]), // one file with what is synced
    (ExtraFile, Beyond, [Unharmed, Starts]),
    (Duplicate, Beyond, [Senseless, Senseless]),
    (Unreadable, Beyond, [Senseless, Senseless]), // one file with what is synced
    (BitFlip, Snapshot, [Fails, INCOMPLETE]),
    (ZeroedPage, Snapshot, [Fails, INCOMPLETE]),
    (TruncatedTail, Snapshot, [Fails, INCOMPLETE]),
    (TornBatch, Snapshot, [Senseless, Senseless]), // written whole, under another name
    (Missing, Snapshot, [Fails, INCOMPLETE]),
    (ExtraFile, Snapshot, [Unharmed, Starts]),
    (Duplicate, Snapshot, [Unharmed, Starts]),
    (Unreadable, Snapshot, [Fails, INCOMPLETE]),
    (BitFlip, OneSlot, [Unharmed, Starts]), // the other has the same vote
    (ZeroedPage, OneSlot, [Unharmed, Starts]),
    (TruncatedTail, OneSlot, [Unharmed, Starts]),
    (TornBatch, OneSlot, [Unharmed, Starts]),
    (Missing, OneSlot, [Senseless, Senseless]),
    (ExtraFile, OneSlot, [Senseless, Senseless]),
    (Duplicate, OneSlot, [Senseless, Senseless]),
    (Unreadable, OneSlot, [Senseless, Senseless]),
    (BitFlip, QuorumState, [Unharmed, REFUSED]),
    (ZeroedPage, QuorumState, [Unharmed, REFUSED]),
    (TruncatedTail, QuorumState, [Unharmed, REFUSED]),
    (TornBatch, QuorumState, [Unharmed, REFUSED]),
    (Missing, QuorumState, [Unharmed, REFUSED]),
    (ExtraFile, QuorumState, [Unharmed, Starts]),
    (Duplicate, QuorumState, [Senseless, Senseless]),
    (Unreadable, QuorumState, [Unharmed, Refused("os error 5")]),
    (Missing, Directory, [Senseless, REFUSED]),
];

/// A voter that has lived, and what it has answered.
struct Voter {
    node: Node,
    store: LogStore,
    state_machine: StateMachine,
    account: Account,
    log: std::sync::Arc<Log>,
    /// Where the entries are that were answered and not purged, where those are that were not
    /// synced, and where the last batch of both begins.
    synced: std::ops::Range<u64>,
    beyond: std::ops::Range<u64>,
    last_synced: u64,
    last_beyond: u64,
    random: StdRng,
}

impl Voter {
    async fn play(seed: u64, damage: Damage, place: Place) -> Voter {
        let mut random = StdRng::seed_from_u64(seed);
        let node = Node::fresh();
        let (mut store, mut state_machine) = open(&node).await;
        let mut account = Account::default();
        live(&mut store, &mut state_machine, &mut account).await.unwrap();
        let log = node.metadata_log().await;
        if random.random() {
            node.directory.checkpoint_blocking().unwrap();
        }
        let (ends, purged) = (batch_ends(&node, &log), account.purged as usize);
        let synced = ends[purged - 1]..*ends.last().unwrap();
        let last_synced = ends[ends.len() - 2];
        let unsynced = place == Place::Beyond && damage != Damage::ExtraFile;
        if unsynced {
            for index in 12..15 {
                let entry = blank(4, index);
                let bytes = encode(&entry, TimestampMs(1)).unwrap();
                log.append_as_follower(bytes, entry::epoch(&entry)).unwrap();
                account.entries_begun += 1;
            }
        }
        let ends = batch_ends(&node, &log);
        let beyond = synced.end..*ends.last().unwrap();
        let last_beyond = ends[ends.len() - 2];
        let (synced, account) = (synced, account);
        Voter {
            node,
            store,
            state_machine,
            account,
            log,
            synced,
            beyond,
            last_synced,
            last_beyond,
            random,
        }
    }

    fn path(&self, place: Place) -> PathBuf {
        let directory = self.log.path();
        match place {
            Synced | Beyond => directory.join("00000000000000000000.log"),
            OneSlot | QuorumState => directory.join("quorum-state"),
            Directory => directory.to_owned(),
            Snapshot => {
                let names = self.node.disk.list(directory).unwrap();
                let snapshot = names.iter().find(|entry| entry.name.ends_with(".checkpoint"));
                directory.join(&snapshot.expect("a snapshot").name)
            }
        }
    }

    fn change(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
        let before = self.node.disk.read(path).unwrap();
        let mut content = before.clone();
        change(&mut content);
        assert_ne!(before, content, "nothing was damaged");
        write(&self.node, path, &content);
    }

    fn inflict(&mut self, damage: Damage, place: Place) {
        let path = self.path(place);
        match damage {
            Missing if place == Directory => self.node.disk.remove_dir_all(&path).unwrap(),
            Missing => self.node.disk.remove_file(&path).unwrap(),
            Unreadable => self.node.disk.set_unreadable(&path, true),
            ExtraFile | Duplicate => self.add_file(damage, place, &path),
            BitFlip | ZeroedPage | TruncatedTail | TornBatch => {
                for range in self.ranges(damage, place, &path) {
                    let at = self.random.random_range(range.clone()) as usize;
                    let bit = self.random.random_range(0..8);
                    self.change(&path, |content| match damage {
                        BitFlip => content[at] ^= 1 << bit,
                        TruncatedTail => content.truncate(at),
                        _ => {
                            let half = (range.start + range.end) / 2;
                            let from = if damage == TornBatch { half } else { range.start };
                            content[from as usize..range.end as usize].fill(0);
                        }
                    });
                }
            }
        }
    }

    /// Which bytes of the file are to be damaged.
    fn ranges(&mut self, damage: Damage, place: Place, path: &Path) -> Vec<std::ops::Range<u64>> {
        // The beginning of what each slot holds of its 4 KiB.
        let slots = [0..60, 4096..4156];
        let torn = damage == TornBatch;
        match place {
            Synced if torn => vec![self.last_synced..self.synced.end],
            Synced => vec![self.synced.clone()],
            Beyond if torn => vec![self.last_beyond..self.beyond.end],
            Beyond => vec![self.beyond.clone()],
            OneSlot if damage == TruncatedTail => vec![100..4196],
            OneSlot => vec![slots[self.random.random_range(0..2)].clone()],
            QuorumState if damage == TruncatedTail => vec![0..60],
            QuorumState => slots.to_vec(),
            Snapshot | Directory => {
                vec![0..self.node.disk.read(path).unwrap().len() as u64]
            }
        }
    }

    fn add_file(&mut self, damage: Damage, place: Place, path: &Path) {
        let content = self.node.disk.read(path).unwrap();
        let beside = |name: &str| path.with_file_name(name);
        match (place, damage) {
            (Synced, ExtraFile) => write(&self.node, &beside("00000000000000000009.log"), b"?"),
            (Synced, _) => write(&self.node, &beside("00000000000000000007.log"), &content),
            (Beyond, _) => write(&self.node, &beside("00000000000000000077.log"), b"?"),
            (Snapshot, ExtraFile) => {
                let unfinished = format!("{}.tmp", path.display());
                write(&self.node, Path::new(&unfinished), &content[..20]);
            }
            (Snapshot, _) => {
                let later = beside("00000000000000000099-0000000009.checkpoint");
                write(&self.node, &later, &content);
            }
            (OneSlot | QuorumState | Directory, _) => {
                write(&self.node, &beside("quorum-state.tmp"), &content[..20]);
            }
        }
    }
}

fn write(node: &Node, path: &Path, content: &[u8]) {
    let file = node.disk.open(path, OpenMode::Create).unwrap();
    file.set_len(0).unwrap();
    file.write_at(&[IoSlice::new(content)], 0).unwrap();
    file.sync_data().unwrap();
}

/// Where each batch of the log's only file ends.
fn batch_ends(node: &Node, log: &Log) -> Vec<u64> {
    let path = log.path().join("00000000000000000000.log");
    let bytes = bytes::Bytes::from(node.disk.read(&path).unwrap());
    let sizes = crate::record::batches(&bytes).map(|batch| batch.unwrap().bytes.len() as u64);
    sizes
        .scan(0, |end, size| {
            *end += size;
            Some(*end)
        })
        .collect()
}

async fn running(mut voter: Voter, damage: Damage, place: Place, outcome: Outcome) {
    voter.inflict(damage, place);
    let from = voter.account.purged;
    let entries = voter.store.try_get_log_entries(from..).await;
    let snapshot = voter.state_machine.get_current_snapshot().await;
    let failed = entries.is_err() || snapshot.is_err();
    assert_eq!(failed, outcome == Fails, "{:?} {:?}", entries.err(), snapshot.err());
    if !failed {
        check(&mut voter.store, &voter.account).await;
        voter.store.save_vote(&openraft::Vote::new(9, 1.into())).await.unwrap();
    }
}

async fn between(mut voter: Voter, damage: Damage, place: Place, outcome: Outcome) {
    voter.inflict(damage, place);
    let Voter { mut node, store, state_machine, log, account, .. } = voter;
    drop((store, state_machine, log));
    for attempt in 0..3 {
        let opened = match node.try_killed() {
            Err(error) => Err(error.to_string()),
            Ok(again) => {
                node = again;
                try_open(&node).await.map_err(|error| error.to_string())
            }
        };
        match (opened, outcome) {
            (Ok((mut store, _)), Starts) => {
                check(&mut store, &account).await;
                let vote = store.read_vote().await.unwrap().unwrap();
                assert_eq!(vote.leader_id.term, account.vote, "attempt {attempt}");
            }
            (Err(error), Refused(text)) => assert!(error.contains(text), "{attempt}: {error}"),
            (Ok(_), _) => panic!("attempt {attempt}: it started"),
            (Err(error), _) => panic!("attempt {attempt}: {error}"),
        }
    }
}

#[test]
fn rule_19_every_cell_ends_as_the_table_says() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let mut wrong = Vec::new();
    for (damage, place, outcomes) in TABLE {
        for (is_running, outcome) in [true, false].iter().zip(outcomes) {
            for seed in 0..8 {
                if *outcome == Senseless {
                    continue;
                }
                let cell = AssertUnwindSafe(|| {
                    runtime.block_on(async {
                        let voter = Voter::play(seed, *damage, *place).await;
                        match is_running {
                            true => running(voter, *damage, *place, *outcome).await,
                            false => between(voter, *damage, *place, *outcome).await,
                        }
                    });
                });
                if catch_unwind(cell).is_err() {
                    let when = if *is_running { "running" } else { "between runs" };
                    wrong
                        .push(format!("{damage:?} × {place:?} × {when}: {outcome:?}, seed {seed}"));
                    break;
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{} cells ended otherwise:\n{}", wrong.len(), wrong.join("\n"));
}
