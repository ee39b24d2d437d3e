//! A partition's follower, as pure state: what it asks the leader for, what it makes of the
//! answer, where it truncates (rules 2, 4 and 5).

#[cfg(test)]
mod tests;

use std::time::Duration;

use super::epochs::{EpochEnd, FetchPosition, truncation_point};
use crate::types::{ErrorCode, LeaderEpoch, Monotonic, NodeId, Offset};

/// The pause after the first failure; doubled with each further one, up to [`PAUSE_MAX`]. Short,
/// since a follower often learns of a new leader before that leader does.
const PAUSE_MIN: Duration = Duration::from_millis(5);
const PAUSE_MAX: Duration = Duration::from_millis(1_000);

/// What a follower does at the moment.
///
/// | phase      | answer: records | answer: diverging | answer: out of range | done       | new reign |
/// |------------|-----------------|-------------------|----------------------|------------|-----------|
/// | Fetching   | Fetching        | Truncating        | Locating             |            | Fetching  |
/// | Truncating | (dropped)       | (dropped)         | (dropped)            | Fetching   | Fetching  |
/// | Locating   | (dropped)       | (dropped)         | (dropped)            | Truncating¹| Fetching  |
///
/// ¹ or Fetching, if the leader's log does contain our end after all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Its log is a prefix of the leader's as far as it knows: fetch at the end.
    Fetching,
    /// The logs part at this cut: the log is being truncated.
    Truncating(Cut),
    /// The leader does not have our end: it is asked where its log begins and ends.
    Locating,
}

/// How a log is shortened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Everything from this offset on goes.
    To(Offset),
    /// Everything goes; the log starts anew at this offset, and so does the high watermark
    /// (KAFKA-9491).
    FullyAndStartAt(Offset),
}

/// The follower's log at the moment it is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LogView {
    /// The first offset that is kept.
    pub start: Offset,
    /// One past the last record.
    pub end: Offset,
    /// The epoch of the last record, or [`LeaderEpoch::NONE`].
    pub latest_epoch: LeaderEpoch,
}

/// What to ask the leader for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchAsk {
    /// The reign that the leader is taken to be in.
    pub leader_epoch: LeaderEpoch,
    /// From where, and what comes before.
    pub position: FetchPosition,
    /// The first offset that is kept here.
    pub log_start: Offset,
}

/// The leader's answer, without the records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FetchAnswer {
    /// What went wrong, if anything.
    pub error: ErrorCode,
    /// The leader's high watermark.
    pub high_watermark: Offset,
    /// The first offset that the leader keeps.
    pub log_start: Offset,
    /// Where the logs part.
    pub diverging: Option<EpochEnd>,
}

/// What to do with an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Append the records, if there are any, then follow the leader's bounds.
    Append {
        /// The leader's high watermark.
        high_watermark: Offset,
        /// The leader's log start.
        log_start: Offset,
    },
    /// Truncate, and tell with [`FollowerState::truncated`]. The answer's high watermark is not
    /// to be applied (KAFKA-14704).
    Truncate(Cut),
    /// Ask the leader for its log's start and end, and tell with [`FollowerState::located`].
    Locate,
    /// Nothing; ask again after the pause that has been noted.
    Pause,
    /// It belongs to another state of ours: drop it (KAFKA-18991).
    Stale,
}

/// A follower during one reign of its leader.
#[derive(Debug, Clone)]
pub struct FollowerState {
    leader: Option<NodeId>,
    leader_epoch: LeaderEpoch,
    phase: Phase,
    in_flight: Option<FetchAsk>,
    failures: u32,
    not_before: Monotonic,
}

impl FollowerState {
    /// Follows `leader` in its reign; without a leader it only waits.
    pub fn new(leader: Option<NodeId>, leader_epoch: LeaderEpoch) -> Self {
        Self {
            leader,
            leader_epoch,
            phase: Phase::Fetching,
            in_flight: None,
            failures: 0,
            not_before: Monotonic::default(),
        }
    }

    /// Takes newer metadata in. A risen leader epoch starts everything anew: the next fetch
    /// compares the logs again, however many reigns were missed (KAFKA-7164). Nothing else does
    /// (rule 2). True if it started anew.
    pub fn follow(&mut self, leader: Option<NodeId>, leader_epoch: LeaderEpoch) -> bool {
        let newer = leader_epoch > self.leader_epoch
            || (leader_epoch == self.leader_epoch && leader != self.leader);
        if newer {
            *self = Self::new(leader, leader_epoch);
        }
        newer
    }

    /// What to fetch now; `None` while something else is under way or a pause lasts. At most one
    /// fetch is in flight.
    pub fn ask(&mut self, log: LogView, now: Monotonic) -> Option<FetchAsk> {
        if !self.may_ask(now) {
            return None;
        }
        let ask = FetchAsk {
            leader_epoch: self.leader_epoch,
            position: FetchPosition { fetch_offset: log.end, last_fetched_epoch: log.latest_epoch },
            log_start: log.start,
        };
        self.in_flight = Some(ask);
        Some(ask)
    }

    /// Whether it could fetch now.
    pub fn may_ask(&self, now: Monotonic) -> bool {
        self.leader.is_some()
            && self.phase == Phase::Fetching
            && self.in_flight.is_none()
            && now >= self.not_before
    }

    /// The fetch will not be answered (its connection broke).
    pub fn lost(&mut self, ask: &FetchAsk, now: Monotonic) {
        if self.in_flight.as_ref() == Some(ask) {
            self.in_flight = None;
            self.pause(now);
        }
    }

    /// The fetch was taken back before it was answered: ask again at once.
    pub fn withdraw(&mut self, ask: &FetchAsk) {
        if self.in_flight.as_ref() == Some(ask) {
            self.in_flight = None;
        }
    }

    /// Gives up whatever fetch is in flight: it ran into its timeout.
    pub fn time_out(&mut self, now: Monotonic) {
        if let Some(ask) = self.in_flight {
            self.lost(&ask, now);
        }
    }

    /// Takes an answer in. `our_end_of` tells where an epoch ends in our own log.
    pub fn answered(
        &mut self,
        ask: &FetchAsk,
        answer: FetchAnswer,
        log: LogView,
        our_end_of: impl FnOnce(LeaderEpoch) -> EpochEnd,
        now: Monotonic,
    ) -> Step {
        if self.in_flight.as_ref() != Some(ask) {
            return Step::Stale;
        }
        self.in_flight = None;
        if !self.describes(ask, log) {
            return Step::Stale;
        }
        match (answer.error, answer.diverging) {
            (ErrorCode::None, Some(leader_end)) => {
                let ours = our_end_of(leader_end.epoch);
                self.cut(truncation_point(leader_end, ours, log.end), log)
            }
            (ErrorCode::None, None) => {
                self.failures = 0;
                Step::Append { high_watermark: answer.high_watermark, log_start: answer.log_start }
            }
            (ErrorCode::OffsetOutOfRange, _) => {
                self.phase = Phase::Locating;
                Step::Locate
            }
            (_error, _) => {
                self.pause(now);
                Step::Pause
            }
        }
    }

    /// Whether a fetch still describes this reign and this log (KAFKA-18991).
    fn describes(&self, ask: &FetchAsk, log: LogView) -> bool {
        ask.leader_epoch == self.leader_epoch
            && self.phase == Phase::Fetching
            && ask.position.fetch_offset == log.end
            && ask.position.last_fetched_epoch == log.latest_epoch
    }

    /// A cut below the log's start leaves nothing.
    fn cut(&mut self, to: Offset, log: LogView) -> Step {
        let cut = if to < log.start { Cut::FullyAndStartAt(to) } else { Cut::To(to) };
        self.cut_at(cut)
    }

    fn cut_at(&mut self, cut: Cut) -> Step {
        self.phase = Phase::Truncating(cut);
        Step::Truncate(cut)
    }

    /// The records of an answer could not be appended, or the log could not be truncated.
    pub fn failed(&mut self, now: Monotonic) {
        self.phase = Phase::Fetching;
        self.pause(now);
    }

    /// Whether that cut is still wanted.
    pub fn is_to_make(&self, cut: Cut) -> bool {
        self.phase == Phase::Truncating(cut)
    }

    /// The cut was made (or was overtaken by a new reign): fetch on, and so compare again.
    pub fn truncated(&mut self, cut: Cut) {
        if self.phase == Phase::Truncating(cut) {
            self.phase = Phase::Fetching;
        }
    }

    /// The leader's log spans `start..end` (or it would not say).
    pub fn located(
        &mut self,
        leader_epoch: LeaderEpoch,
        bounds: Result<(Offset, Offset), ErrorCode>,
        log: LogView,
        now: Monotonic,
    ) -> Step {
        if leader_epoch != self.leader_epoch || self.phase != Phase::Locating {
            return Step::Stale;
        }
        match bounds {
            Ok((_, end)) if end < log.end => self.cut(end, log),
            Ok((start, _)) if start > log.end => self.cut_at(Cut::FullyAndStartAt(start)),
            Ok(_) | Err(_) => {
                self.phase = Phase::Fetching;
                self.pause(now);
                Step::Pause
            }
        }
    }

    fn pause(&mut self, now: Monotonic) {
        let doublings = self.failures.min(10);
        self.failures += 1;
        self.not_before = now.plus(PAUSE_MIN.saturating_mul(1 << doublings).min(PAUSE_MAX));
    }

    /// The high watermark to take: the leader's, as far as our log goes, and never back, since
    /// what once was committed stays so.
    pub fn next_high_watermark(current: Offset, leaders: Offset, log_end: Offset) -> Offset {
        current.max(leaders.min(log_end))
    }

    /// Whom it follows.
    pub fn leader(&self) -> Option<NodeId> {
        self.leader
    }

    /// In which reign.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// What it does.
    pub fn phase(&self) -> Phase {
        self.phase
    }

    /// When it may fetch again after a failure, if that lies ahead.
    pub fn paused_until(&self, now: Monotonic) -> Option<Monotonic> {
        (self.not_before > now).then_some(self.not_before)
    }

    /// Whether a fetch is under way.
    pub fn is_in_flight(&self) -> bool {
        self.in_flight.is_some()
    }
}
