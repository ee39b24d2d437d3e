//! openraft's log, kept by the same room as every partition's: one batch per entry, synced before
//! it is answered. Vote, committed and purged ids are in `quorum-state` beside it.

use std::fmt::Debug;
use std::ops::{Bound, RangeBounds};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use openraft::storage::{LogFlushed, RaftLogStorage};
use openraft::{AnyError, LogState, OptionalSend, RaftLogId, RaftLogReader};
use parking_lot::Mutex;

use crate::controller::raft::entry::{self, EntryError};
use crate::controller::raft::quorum_state::{QuorumState, QuorumStateError, QuorumStateFile};
use crate::controller::raft::state_machine::Covered;
use crate::controller::raft::types::{
    Entry, LogId, StorageError, StorageIoError, TypeConfig, Vote,
};
use crate::log::{AppendError, IncidentKind, Log, ReadError, TruncateError};
use crate::record::batches;
use crate::storage::{Disk, Offload, OffloadError, offload};
use crate::types::{Clock, Offset, watch};

/// How many bytes one read of the log asks for.
const READ_BYTES: usize = 1 << 20;

/// What replication sends at a time: an entry of the largest kind, or many small ones.
const REPLICATE_BYTES: usize = 2 << 20;

/// Why the metadata log cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum LogStoreError {
    /// `quorum-state` cannot be used.
    #[error(transparent)]
    QuorumState(#[from] QuorumStateError),
    /// The log lost entries that had been synced.
    #[error(
        "the metadata log ends at {log_end}, but had been synced up to {synced_end}: it is damaged, \
         and this node must not vote again under its directory id: move the metadata directory \
         away and let the node join anew"
    )]
    LostEntries {
        /// Where the log ends.
        log_end: u64,
        /// Where it had been synced to.
        synced_end: u64,
    },
    /// What the log holds is not what was written to it.
    #[error(
        "the metadata log is damaged: {0}: this node must not vote again under its directory id: \
         move the metadata directory away and let the node join anew"
    )]
    Damaged(String),
    /// Committed entries were to be removed.
    #[error("entries from {from} on were to be removed, but {committed} is committed")]
    BelowCommit {
        /// The first to be removed.
        from: u64,
        /// The last that is committed.
        committed: LogId,
    },
    /// The log has entries but its vote is gone.
    #[error(
        "the metadata log has entries, but its quorum-state is missing: this node must not vote \
         again under its directory id: move the metadata directory away and let the node join anew"
    )]
    LostVote,
    /// The log begins behind the end of the newest snapshot.
    #[error(
        "the metadata log begins at {log_start}, and no snapshot covers what came before: move the \
         metadata directory away and let the node join anew"
    )]
    LostSnapshot {
        /// Where the log begins.
        log_start: u64,
    },
    /// The snapshot that is to take the place of entries was not stored.
    #[error("entries up to {upto} are not forgotten: the snapshot of them was not stored")]
    Uncovered {
        /// The last of them.
        upto: u64,
    },
    /// The log could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The log could not be appended to.
    #[error(transparent)]
    Append(#[from] AppendError),
    /// The log could not be cut.
    #[error(transparent)]
    Truncate(#[from] TruncateError),
    /// The log could not be synced.
    #[error(transparent)]
    Flush(#[from] crate::log::StorageError),
    /// A batch is no entry.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// The job was lost.
    #[error(transparent)]
    Offload(#[from] OffloadError),
}

/// The log store. Its blocking work runs on an offload of the controller's own, so that it never
/// waits behind the partitions'. Clones read the same log.
#[derive(Debug, Clone)]
pub struct LogStore {
    log: Arc<Log>,
    offload: Arc<dyn Offload>,
    clock: Arc<dyn Clock>,
    quorum_state: Arc<Mutex<QuorumStateFile>>,
    last: Arc<Mutex<Option<LogId>>>,
    /// What snapshots cover.
    covered: watch::Receiver<Covered>,
}

impl LogStore {
    /// Opens the store over a log that has been recovered, and refuses it if it has lost anything
    /// that was synced. `covered` tells what snapshots cover.
    pub async fn open(
        log: Arc<Log>,
        disk: Arc<dyn Disk>,
        offload_to: Arc<dyn Offload>,
        clock: Arc<dyn Clock>,
        covered: watch::Receiver<Covered>,
    ) -> Result<LogStore, LogStoreError> {
        let snapshot_end = covered.borrow().end;
        let has_entries = log.log_end_offset() > Offset::ZERO || snapshot_end.is_some();
        let directory = log.path().to_owned();
        let file = offload(&*offload_to, move || {
            if has_entries && !disk.exists(&directory.join(super::quorum_state::FILE_NAME)) {
                return Err(LogStoreError::LostVote);
            }
            Ok(QuorumStateFile::open(&*disk, &directory)?)
        })
        .await??;
        let state = file.state().clone();
        let purged_end = state.purged.map_or(0, |id| id.index + 1);
        let log_end = index(log.log_end_offset());
        refuse_lost(&log, purged_end)?;
        if log_end < state.synced_end && state.synced_end > purged_end {
            return Err(LogStoreError::LostEntries { log_end, synced_end: state.synced_end });
        }
        if state.purged > snapshot_end {
            return Err(LogStoreError::LostSnapshot { log_start: purged_end });
        }
        let store = LogStore {
            log,
            offload: offload_to,
            clock,
            quorum_state: Arc::new(Mutex::new(file)),
            last: Arc::default(),
            covered,
        };
        // A process that was killed, or stopped by a sync that failed, left what was not on the
        // device; opening has written it once more. From here on it counts as this voter's (rule 19).
        let log = Arc::clone(&store.log);
        offload(&*store.offload, move || log.flush_blocking()).await??;
        // A purge was written down and not carried out.
        store.forget_below(purged_end).await?;
        store.verify()?;
        let last = store.last_in_log(state.purged)?;
        *store.last.lock() = last;
        Ok(store)
    }

    /// One that forgets whatever it is told to.
    #[cfg(test)]
    pub(super) fn forgetting_at_will(mut self) -> LogStore {
        let end = Some(super::types::log_id(u64::MAX, u64::MAX));
        self.covered = watch::Sender::new(Covered { end, failed: false }).subscribe();
        self
    }

    /// The last entry that is known to be committed.
    pub fn committed(&self) -> Option<LogId> {
        self.quorum_state.lock().state().committed
    }

    async fn forget_below(&self, end: u64) -> Result<(), LogStoreError> {
        let end = offset(end);
        if self.log.log_end_offset() < end {
            self.start_at(end).await?;
        } else if self.log.log_start_offset() < end {
            let log = Arc::clone(&self.log);
            offload(&*self.offload, move || log.advance_log_start_blocking(end)).await??;
        }
        Ok(())
    }

    /// Throws everything away; the next entry is the one at `offset`.
    async fn start_at(&self, offset: Offset) -> Result<(), LogStoreError> {
        let log = Arc::clone(&self.log);
        offload(&*self.offload, move || log.truncate_fully_and_start_at_blocking(offset)).await??;
        Ok(())
    }

    /// Reads the whole log once, so that no vote is given and nothing folded on damaged entries.
    fn verify(&self) -> Result<(), LogStoreError> {
        let mut next = index(self.log.log_start_offset());
        let end = index(self.log.log_end_offset());
        let mut term = 0;
        while next < end {
            let entries = self.read(next, end, 1).map_err(|error| match error {
                LogStoreError::Read(ReadError::Corrupt { .. }) | LogStoreError::Entry(_) => {
                    LogStoreError::Damaged(error.to_string())
                }
                other => other,
            })?;
            if entries.is_empty() {
                return Err(LogStoreError::Damaged(format!("entry {next} is missing")));
            }
            for entry in entries {
                let LogId { index, leader_id } = entry.log_id;
                if index != next || leader_id.term < term {
                    let reason = format!("entry {index} of term {} is at {next}", leader_id.term);
                    return Err(LogStoreError::Damaged(reason));
                }
                (next, term) = (index + 1, leader_id.term);
            }
        }
        Ok(())
    }

    fn last_in_log(&self, purged: Option<LogId>) -> Result<Option<LogId>, LogStoreError> {
        let end = index(self.log.log_end_offset());
        if end <= index(self.log.log_start_offset()) {
            return Ok(purged);
        }
        let entries = self.read(end - 1, end, 1)?;
        Ok(entries.last().map(|entry| *entry.get_log_id()).or(purged))
    }

    /// Entries of `from..to`, at least one if there is any, and not many more than `max_bytes`.
    fn read(&self, from: u64, to: u64, max_bytes: usize) -> Result<Vec<Entry>, LogStoreError> {
        let from = from.max(index(self.log.log_start_offset()));
        let to = to.min(index(self.log.log_end_offset()));
        let (mut entries, mut next, mut read_bytes) = (Vec::new(), from, 0);
        while next < to && (entries.is_empty() || read_bytes < max_bytes) {
            let slice = self.log.read(offset(next), offset(to), READ_BYTES, true)?;
            if slice.records.is_empty() {
                break;
            }
            read_bytes += slice.records.len();
            for batch in batches(&slice.records) {
                let batch = batch.map_err(|error| EntryError::Batch {
                    index: next as i64,
                    reason: error.to_string(),
                })?;
                batch.verify_crc().map_err(|error| EntryError::Batch {
                    index: batch.header.base_offset.0,
                    reason: error.to_string(),
                })?;
                let entry = entry::decode(&batch)?;
                if (from..to).contains(&entry.log_id.index) {
                    entries.push(entry);
                }
            }
            next = index(slice.next_offset);
        }
        Ok(entries)
    }

    async fn append_synced(&self, entries: Vec<Entry>) -> Result<(), LogStoreError> {
        let now = self.clock.wall();
        let Some((first, last)) = entries.first().zip(entries.last()) else { return Ok(()) };
        let (begin, last_id) = (first.log_id.index, last.log_id);
        if self.log.log_start_offset() == self.log.log_end_offset()
            && index(self.log.log_end_offset()) != begin
        {
            // An empty log takes up wherever the leader says, as behind a snapshot.
            self.start_at(offset(begin)).await?;
        }
        let mut rest = &entries[..];
        while let Some(first) = rest.first() {
            let epoch = entry::epoch(first);
            let same = rest.iter().take_while(|entry| entry::epoch(entry) == epoch).count();
            let mut bytes = BytesMut::new();
            for entry in &rest[..same] {
                bytes.extend_from_slice(&entry::encode(entry, now)?);
            }
            self.log.append_as_follower(Bytes::from(bytes), epoch)?;
            rest = &rest[same..];
        }
        // From here on they can be read.
        *self.last.lock() = Some(last_id);
        let log = Arc::clone(&self.log);
        offload(&*self.offload, move || log.flush_blocking()).await??;
        let mut file = self.quorum_state.lock();
        let state = QuorumState { synced_end: last_id.index + 1, ..file.state().clone() };
        // Only a hint for the check at the next start: no sync, and quick.
        file.write_unsynced(state)?;
        Ok(())
    }

    /// Votes, appends and takes for committed what no majority has agreed on. Only for a node that
    /// does not run and becomes the only voter with this entry.
    pub async fn force(&self, vote: Vote, entry: Entry) -> Result<(), LogStoreError> {
        let committed = Some(entry.log_id);
        // The vote first: its term is taken, whatever becomes of the entry.
        self.change(move |state| state.vote = Some(vote)).await?;
        self.append_synced(vec![entry]).await?;
        self.change(move |state| state.committed = committed).await
    }

    async fn cut(&self, end: u64) -> Result<(), LogStoreError> {
        self.change(move |state| state.synced_end = state.synced_end.min(end)).await?;
        let log = Arc::clone(&self.log);
        offload(&*self.offload, move || log.truncate_to_blocking(offset(end))).await??;
        let purged = self.quorum_state.lock().state().purged;
        let last = self.last_in_log(purged)?;
        *self.last.lock() = last;
        Ok(())
    }

    /// Forgets what a snapshot covers. openraft has a snapshot of the leader's installed beside this
    /// and does not wait for it: it must be on the disk before the log has nothing of it any more.
    async fn forget(&self, upto: LogId) -> Result<(), LogStoreError> {
        let end = upto.index + 1;
        let mut covered = self.covered.clone();
        let is_there = |covered: &Covered| covered.end >= Some(upto) || covered.failed;
        let is_covered = covered.wait_for(is_there).await.is_ok_and(|it| it.end >= Some(upto));
        if !is_covered {
            return Err(LogStoreError::Uncovered { upto: upto.index });
        }
        let log_end = index(self.log.log_end_offset());
        self.change(move |state| {
            state.purged = state.purged.max(Some(upto));
            if log_end <= end {
                // Nothing is left: what was synced counts up to here and no further.
                state.synced_end = end;
            }
        })
        .await?;
        self.forget_below(end).await?;
        let mut last = self.last.lock();
        *last = (*last).max(Some(upto));
        Ok(())
    }

    /// Changes `quorum-state` and syncs it.
    async fn change(
        &self,
        change: impl FnOnce(&mut QuorumState) + Send + 'static,
    ) -> Result<(), LogStoreError> {
        let file = Arc::clone(&self.quorum_state);
        offload(&*self.offload, move || {
            let mut file = file.lock();
            let mut state = file.state().clone();
            change(&mut state);
            file.write_synced(state)
        })
        .await??;
        Ok(())
    }
}

/// Refuses a log of which anything is gone that had been on the device; and one that begins where
/// neither a purge nor its first entry is. That it was so is kept with the log: it is refused again,
/// however often it is tried.
fn refuse_lost(log: &Log, purged_end: u64) -> Result<(), LogStoreError> {
    if let Some(lost) = log.incidents().into_iter().find(|it| it.kind == IncidentKind::Lost) {
        return Err(LogStoreError::Damaged(lost.reason));
    }
    let (log_start, log_end) = (index(log.log_start_offset()), index(log.log_end_offset()));
    if log_start > purged_end && log_start < log_end {
        let reason = format!("it begins at {log_start}, and only {purged_end} entries were purged");
        return Err(LogStoreError::Damaged(reason));
    }
    Ok(())
}

fn index(offset: Offset) -> u64 {
    u64::try_from(offset.0).unwrap_or(0)
}

fn offset(index: u64) -> Offset {
    Offset(i64::try_from(index).unwrap_or(i64::MAX))
}

fn any(error: &LogStoreError) -> AnyError {
    tracing::error!("the metadata log: {error}");
    AnyError::new(error)
}

impl RaftLogReader<TypeConfig> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> Result<Vec<Entry>, StorageError> {
        let from = match range.start_bound() {
            Bound::Included(from) => *from,
            Bound::Excluded(before) => before + 1,
            Bound::Unbounded => 0,
        };
        let to = match range.end_bound() {
            Bound::Included(last) => last + 1,
            Bound::Excluded(to) => *to,
            Bound::Unbounded => u64::MAX,
        };
        self.read(from, to, usize::MAX)
            .map_err(|error| StorageIoError::read_logs(any(&error)).into())
    }

    async fn limited_get_log_entries(
        &mut self,
        start: u64,
        end: u64,
    ) -> Result<Vec<Entry>, StorageError> {
        self.read(start, end, REPLICATE_BYTES)
            .map_err(|error| StorageIoError::read_logs(any(&error)).into())
    }
}

impl RaftLogStorage<TypeConfig> for LogStore {
    type LogReader = LogStore;

    async fn get_log_state(&mut self) -> Result<LogState<TypeConfig>, StorageError> {
        let last_purged_log_id = self.quorum_state.lock().state().purged;
        let last_log_id = *self.last.lock();
        Ok(LogState { last_purged_log_id, last_log_id })
    }

    async fn get_log_reader(&mut self) -> LogStore {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &Vote) -> Result<(), StorageError> {
        let vote = *vote;
        self.change(move |state| state.vote = Some(vote))
            .await
            .map_err(|error| StorageIoError::write_vote(any(&error)).into())
    }

    async fn read_vote(&mut self) -> Result<Option<Vote>, StorageError> {
        Ok(self.quorum_state.lock().state().vote)
    }

    async fn save_committed(&mut self, committed: Option<LogId>) -> Result<(), StorageError> {
        let mut file = self.quorum_state.lock();
        let state = QuorumState { committed, ..file.state().clone() };
        // A restart that has forgotten it learns it again from the leader.
        file.write_unsynced(state).map_err(|error| StorageIoError::write(any(&error.into())).into())
    }

    async fn read_committed(&mut self) -> Result<Option<LogId>, StorageError> {
        // Nothing beyond the log's end can be applied again: after a power loss the unsynced hint
        // may survive although a later write did not.
        let last = *self.last.lock();
        Ok(self.committed().min(last))
    }

    async fn append<I>(
        &mut self,
        entries: I,
        callback: LogFlushed<TypeConfig>,
    ) -> Result<(), StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let entries = entries.into_iter().collect();
        match self.append_synced(entries).await {
            Ok(()) => {
                callback.log_io_completed(Ok(()));
                Ok(())
            }
            Err(error) => {
                let failure = any(&error);
                callback.log_io_completed(Err(std::io::Error::other(error)));
                Err(StorageIoError::write_logs(failure).into())
            }
        }
    }

    async fn truncate(&mut self, log_id: LogId) -> Result<(), StorageError> {
        // Rule 19: what is committed stays, whoever asks.
        if let Some(committed) = self.read_committed().await?
            && log_id.index <= committed.index
        {
            let error = LogStoreError::BelowCommit { from: log_id.index, committed };
            return Err(StorageIoError::write_logs(any(&error)).into());
        }
        self.cut(log_id.index).await.map_err(|error| StorageIoError::write_logs(any(&error)).into())
    }

    async fn purge(&mut self, log_id: LogId) -> Result<(), StorageError> {
        self.forget(log_id).await.map_err(|error| StorageIoError::write_logs(any(&error)).into())
    }
}
