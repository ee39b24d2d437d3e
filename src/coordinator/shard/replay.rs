//! The partition's log to a machine.

use std::sync::Arc;

use super::ShardMachine;
use crate::log::{Log, ReadError};
use crate::protocol::DecodeError;
use crate::record::{Record, RecordError, batches};
use crate::storage::{Offload, OffloadError, offload};
use crate::types::Offset;

/// Why a partition cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub(super) enum ReplayError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A batch is damaged.
    #[error("the batch at or behind offset {offset} is damaged: {error}")]
    Batch { offset: Offset, error: RecordError },
    /// A record is none of the machine's.
    #[error("the record at offset {offset} cannot be understood: {error}")]
    Record { offset: Offset, error: DecodeError },
    /// The replay itself did not come to its end.
    #[error(transparent)]
    Job(#[from] OffloadError),
}

/// How far a replay is.
pub(super) struct Replay<M> {
    pub(super) machine: M,
    /// Where it goes on.
    next: Offset,
    /// Where it ends.
    pub(super) end: Offset,
    /// How many records were folded in.
    pub(super) record_count: u64,
}

impl<M: ShardMachine> Replay<M> {
    /// Of everything that `log` has now, onto `machine`.
    pub(super) fn of(log: &Log, machine: M) -> Self {
        let (next, end) = (log.log_start_offset(), log.log_end_offset());
        Self { machine, next, end, record_count: 0 }
    }

    /// Goes to the end, a piece at a time, away from the async workers. Dropped, it stops after
    /// the piece that is under way.
    pub(super) async fn run(
        mut self,
        log: &Arc<Log>,
        threads: &dyn Offload,
        buffer_bytes: usize,
    ) -> Result<Self, ReplayError> {
        while self.next < self.end {
            let log = Arc::clone(log);
            let piece = move || self.piece(&log, buffer_bytes);
            self = offload(threads, piece).await??;
        }
        Ok(self)
    }

    fn piece(mut self, log: &Log, buffer_bytes: usize) -> Result<Self, ReplayError> {
        // Records may have been deleted from the front meanwhile.
        let from = self.next.max(log.log_start_offset());
        if from >= self.end {
            self.next = self.end;
            return Ok(self);
        }
        let slice = log.read(from, self.end, buffer_bytes, true)?;
        for batch in batches(&slice.records) {
            let damaged = |error| ReplayError::Batch { offset: from, error };
            let batch = batch.map_err(damaged)?;
            batch.verify_crc().map_err(damaged)?;
            if batch.header.is_control() {
                continue;
            }
            let records = batch.records().map_err(damaged)?;
            records.into_iter().filter(|record| record.offset >= from).try_for_each(|record| {
                self.record_count += 1;
                self.fold(record)
            })?;
        }
        // Compaction may have left nothing up to the end.
        self.next = if slice.records.is_empty() { self.end } else { slice.next_offset };
        Ok(self)
    }

    fn fold(&mut self, record: Record) -> Result<(), ReplayError> {
        let offset = record.offset;
        let Some(key) = record.key else {
            tracing::warn!(%offset, "a record without key in an internal topic is left out");
            return Ok(());
        };
        let decoded = M::decode(key, record.value);
        if let Some(record) = decoded.map_err(|error| ReplayError::Record { offset, error })? {
            self.machine.apply(&record);
        }
        Ok(())
    }
}
