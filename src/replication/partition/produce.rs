//! Appending as leader, and when that is acknowledged (rules 8, 9 and 20).

use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use parking_lot::RwLockReadGuard;
use smallvec::smallvec;

use super::{Partition, Standing};
use crate::log::{AppendError, AppendInfo, AppendOrigin, Prepared, Round, Rounds, Unserved};
use crate::replication::waiters::Interest;
use crate::types::{ErrorCode, LeaderEpoch, Offset, TimestampMs};

/// Up to which size records share a write with others': larger ones gain nothing by it.
const TOGETHER_BYTES: usize = 16 << 10;

/// Where records went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Produced {
    /// The offset of the first record.
    pub base_offset: Offset,
    /// One past the last record: what the high watermark must reach.
    pub next_offset: Offset,
    /// The timestamp that the broker gave the records, where the topic wants that.
    pub log_append_time: Option<TimestampMs>,
    /// The log's first offset.
    pub log_start_offset: Offset,
    /// The reign in which they were taken.
    pub leader_epoch: LeaderEpoch,
    /// The reign in which they were appended: an earlier one, perhaps, for a duplicate.
    pub record_epoch: LeaderEpoch,
    /// The acknowledgement that was asked for: 0, 1 or -1 (all).
    pub acks: i16,
    /// The batch was in the log already (an idempotent producer sent it again).
    pub duplicate: bool,
}

/// Why nothing was appended.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct ProduceError {
    /// Kafka's error.
    pub code: ErrorCode,
    /// What is wrong, for people.
    pub message: String,
    /// The records that are to blame, by their place in the batch.
    pub record_errors: Vec<(i32, String)>,
}

impl From<ErrorCode> for ProduceError {
    fn from(code: ErrorCode) -> Self {
        Self { code, message: code.message().to_owned(), record_errors: Vec::new() }
    }
}

impl From<AppendError> for ProduceError {
    fn from(error: AppendError) -> Self {
        let record_errors = match &error {
            AppendError::Invalid(invalid) => invalid
                .record_errors
                .iter()
                .map(|record| (record.batch_index, record.message.clone()))
                .collect(),
            AppendError::Producer(_)
            | AppendError::StaleEpoch { .. }
            | AppendError::OffsetGap { .. }
            | AppendError::AroundStart { .. }
            | AppendError::Storage(_) => Vec::new(),
        };
        Self { code: error.error_code(), message: error.to_string(), record_errors }
    }
}

/// Records that are fit for the log, and what was asked for.
#[derive(Debug)]
struct Asked {
    prepared: Prepared,
    acks: i16,
    /// The reign on which they are based, if it must still be this one.
    reign: Option<LeaderEpoch>,
}

/// Appends of many, made together.
#[derive(Debug, Default)]
pub(super) struct Appends(Rounds<Asked, Result<Produced, ProduceError>>);

impl Partition {
    /// Appends a client's records as leader. `acks` is 0, 1 or -1 (all); with -1 it is refused
    /// while the ISR is below its minimum (rule 9). Synchronous: the page cache has them on return.
    pub fn produce(self: &Arc<Self>, records: Bytes, acks: i16) -> Result<Produced, ProduceError> {
        self.produce_as(records, acks, AppendOrigin::Client)
    }

    /// As [`Partition::produce`], but small batches that come at the same time share one write.
    /// Dropped after it was polled, it appends all the same.
    pub async fn produce_together(
        self: &Arc<Self>,
        records: Bytes,
        acks: i16,
    ) -> Result<Produced, ProduceError> {
        if records.len() > TOGETHER_BYTES {
            return self.produce(records, acks);
        }
        let asked = self.prepare(records, acks, AppendOrigin::Client, None)?;
        let answer = self.appends.0.ask(asked, |round| self.append_round(round)).await;
        answer.unwrap_or_else(|Unserved| Err(ErrorCode::UnknownServerError.into()))
    }

    /// As [`Partition::produce`], in the name of `origin`.
    pub fn produce_as(
        self: &Arc<Self>,
        records: Bytes,
        acks: i16,
        origin: AppendOrigin,
    ) -> Result<Produced, ProduceError> {
        self.append(self.prepare(records, acks, origin, None)?)
    }

    /// Appends what a coordinator of this broker has decided, with acks=all, if the reign
    /// `leader_epoch`, on which the decision is based, is still this one.
    pub fn produce_in_reign(
        self: &Arc<Self>,
        records: Bytes,
        leader_epoch: LeaderEpoch,
    ) -> Result<Produced, ProduceError> {
        self.append(self.prepare(records, -1, AppendOrigin::Coordinator, Some(leader_epoch))?)
    }

    /// Validates records, which takes no lock; who does not lead does not get so far.
    fn prepare(
        &self,
        records: Bytes,
        acks: i16,
        origin: AppendOrigin,
        reign: Option<LeaderEpoch>,
    ) -> Result<Asked, ProduceError> {
        self.check_live()?;
        if !(-1..=1).contains(&acks) {
            return Err(ErrorCode::InvalidRequiredAcks.into());
        }
        Self::judge(&self.role.read(), acks, reign)?;
        Ok(Asked { prepared: self.log().prepare(records, origin)?, acks, reign })
    }

    /// Whether records may be appended under `standing` that ask for `acks`, and that are based on
    /// `reign`, if that matters (rule 9).
    fn judge(standing: &Standing, acks: i16, reign: Option<LeaderEpoch>) -> Result<(), ErrorCode> {
        let state = standing.leading()?;
        if reign.is_some_and(|reign| reign != standing.leader_epoch) {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        if acks == -1 { state.lock().check_acks_all() } else { Ok(()) }
    }

    fn append(&self, asked: Asked) -> Result<Produced, ProduceError> {
        let answer = self.append_round(smallvec![asked]).pop();
        answer.unwrap_or_else(|| Err(ErrorCode::UnknownServerError.into()))
    }

    /// Appends what many have asked for, each with an answer of its own.
    fn append_round(&self, round: Round<Asked>) -> Round<Result<Produced, ProduceError>> {
        let standing = self.role.read();
        let leader_epoch = standing.leader_epoch;
        let mut fit = Round::new();
        let mut judge = |asked: Asked| {
            self.check_live()?;
            Self::judge(&standing, asked.acks, asked.reign)?;
            fit.push(asked.prepared);
            Ok(asked.acks)
        };
        let judged: Round<Result<i16, ProduceError>> = round.into_iter().map(&mut judge).collect();
        let mut appended = self.append_led(standing, fit).into_iter();
        let mut answer = |acks: Result<i16, ProduceError>| {
            let acks = acks?;
            let info = appended.next().ok_or(ErrorCode::UnknownServerError)??;
            Ok(self.produced(info, leader_epoch, acks))
        };
        judged.into_iter().map(&mut answer).collect()
    }

    /// Appends what was found fit under `standing`, which is held until it is written: nobody can
    /// take the reign away in between.
    fn append_led(
        &self,
        standing: RwLockReadGuard<'_, Standing>,
        fit: Round<Prepared>,
    ) -> Round<Result<AppendInfo, AppendError>> {
        let Ok(state) = standing.leading() else { return Round::new() };
        let appended = self.log().append_prepared(fit, standing.leader_epoch);
        let (_, rose) = self.run_leader(state, |leader, around| leader.advance(around));
        drop(standing);
        if appended.iter().any(Result::is_ok) {
            self.waiters.wake(Interest::LogEnd);
        }
        if rose {
            self.waiters.wake(Interest::HighWatermark);
        }
        appended
    }

    fn produced(&self, info: AppendInfo, leader_epoch: LeaderEpoch, acks: i16) -> Produced {
        let record_epoch = if info.duplicate {
            self.log().epoch_at(info.last_offset).unwrap_or(leader_epoch)
        } else {
            leader_epoch
        };
        Produced {
            record_epoch,
            base_offset: info.base_offset,
            next_offset: info.next_offset,
            log_append_time: info.log_append_time,
            log_start_offset: self.log().log_start_offset(),
            leader_epoch,
            acks,
            duplicate: info.duplicate,
        }
    }

    /// Whether records are to be synced before they are acknowledged (`flush.messages` is 1).
    pub fn flushes_before_ack(&self) -> bool {
        self.flush_before_ack.load(Ordering::Acquire)
    }

    /// Syncs what is appended so far; syncs are shared by all who wait.
    pub async fn sync(&self) -> Result<(), ErrorCode> {
        match self.log().flush().await {
            Ok(_flushed) => Ok(()),
            Err(error) => {
                tracing::error!(partition = %self.topic_partition, %error, "cannot sync");
                Err(error.error_code())
            }
        }
    }

    /// Whether what was produced may be acknowledged; `None`: not yet.
    pub fn committed(&self, produced: &Produced) -> Option<Result<(), ErrorCode>> {
        if let Err(error) = self.check_live() {
            return Some(Err(error));
        }
        if self.flushes_before_ack() && self.log().flushed_offset() < produced.next_offset {
            return None;
        }
        if produced.acks != -1 {
            return Some(Ok(()));
        }
        match self.with_leader(|leader, _| leader.committed(produced.next_offset)) {
            Ok(committed) => {
                if self.still_holds(produced) {
                    committed
                } else {
                    Some(Err(ErrorCode::NotLeaderOrFollower))
                }
            }
            Err(error) => Some(Err(error)),
        }
    }

    /// Another reign may have begun since, perhaps with another leader in between who wrote
    /// something else there: an epoch has one leader, so the epoch at the offset tells.
    fn still_holds(&self, produced: &Produced) -> bool {
        let same_reign = self.role.read().leader_epoch == produced.leader_epoch;
        same_reign
            || (self.log().log_end_offset() >= produced.next_offset
                && self.log().epoch_at(produced.next_offset.plus(-1))
                    == Some(produced.record_epoch))
    }
}
