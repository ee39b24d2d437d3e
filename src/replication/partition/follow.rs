//! Appending as follower: what the fetcher asks for and brings back.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{Partition, Role};
use crate::log::AppendError;
use crate::replication::follower::{Cut, FetchAnswer, FetchAsk, FollowerState, LogView, Step};
use crate::replication::waiters::Interest;
use crate::types::{ErrorCode, LeaderEpoch, NodeId, Offset};

/// Records that a leader sent, with what it said about them.
#[derive(Debug)]
pub(in crate::replication) struct FollowedRecords {
    pub(in crate::replication) answer: FetchAnswer,
    pub(in crate::replication) records: Bytes,
}

/// What the fetcher has to do after an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::replication) enum Followed {
    /// Nothing; true if there were records.
    Done { appended: bool },
    /// Truncate with [`Partition::cut`], off the async workers.
    Cut(Cut),
    /// Ask the leader for its bounds, then [`Partition::located`].
    Locate,
    /// Begin the empty log with [`Partition::begin_with`], off the async workers.
    BeginWith { records: Bytes, leader_epoch: LeaderEpoch },
    /// Move the log's start with [`Partition::follow_log_start`], off the async workers.
    AdvanceStart { appended: bool, log_start: Offset },
}

impl Partition {
    /// Whom this replica follows, if it does.
    pub(in crate::replication) fn followed_leader(&self) -> Option<NodeId> {
        match &self.role.read().role {
            Role::Follower(state) => state.lock().leader(),
            Role::Waiting | Role::Elected | Role::Leader(_) | Role::Offline | Role::Closed => None,
        }
    }

    /// What to fetch from `leader` now.
    pub(in crate::replication) fn ask(&self, leader: NodeId) -> Option<FetchAsk> {
        let now = self.node.clock.monotonic();
        self.with_follower(|state, log| {
            (state.leader() == Some(leader)).then(|| state.ask(log, now)).flatten()
        })
        .flatten()
    }

    /// Whether it could fetch now.
    pub(in crate::replication) fn may_ask(&self) -> bool {
        let now = self.node.clock.monotonic();
        self.with_follower(|state, _| state.may_ask(now)) == Some(true)
    }

    /// How long it still pauses after a failure.
    pub(in crate::replication) fn pause_left(&self) -> Option<Duration> {
        let now = self.node.clock.monotonic();
        let until = self.with_follower(|state, _| state.paused_until(now)).flatten();
        until.map(|until| until.since(now))
    }

    /// A fetch reports the log's end to the leader, who counts on it: where nothing may be
    /// acknowledged unsynced, nothing unsynced is reported.
    pub(in crate::replication) fn is_synced_to_report(&self) -> bool {
        !self.flushes_before_ack() || self.log().flushed_offset() >= self.log().log_end_offset()
    }

    /// Runs `run` on the follower's state, with its log as it is now. The role is held meanwhile.
    fn with_follower<T>(&self, run: impl FnOnce(&mut FollowerState, LogView) -> T) -> Option<T> {
        let standing = self.role.read();
        let Role::Follower(state) = &standing.role else { return None };
        Some(run(&mut state.lock(), self.log_view()))
    }

    fn log_view(&self) -> LogView {
        LogView {
            start: self.log().log_start_offset(),
            end: self.log().log_end_offset(),
            latest_epoch: self.log().latest_epoch().unwrap_or(LeaderEpoch::NONE),
        }
    }

    /// The fetch will not be answered. `pause` is false if that is nobody's fault.
    pub(in crate::replication) fn fetch_lost(&self, ask: &FetchAsk, pause: bool) {
        let now = self.node.clock.monotonic();
        let lost =
            self.with_follower(
                |state, _| {
                    if pause { state.lost(ask, now) } else { state.withdraw(ask) }
                },
            );
        lost.unwrap_or_default();
    }

    /// Takes the leader's answer in. The records are appended here, while the role is held: a
    /// replica that has become a leader appends nothing that another leader sent.
    pub(in crate::replication) fn followed(
        &self,
        ask: &FetchAsk,
        followed: FollowedRecords,
    ) -> Followed {
        let standing = self.role.read();
        let Role::Follower(state) = &standing.role else {
            return Followed::Done { appended: false };
        };
        let now = self.node.clock.monotonic();
        let our_end_of = |epoch| self.log().end_offset_for_epoch(epoch);
        let view = self.log_view();
        let step = state.lock().answered(ask, followed.answer, view, our_end_of, now);
        match step {
            Step::Append { high_watermark, log_start } => {
                self.append_followed(state, ask, followed.records, high_watermark, log_start)
            }
            Step::Truncate(cut) => Followed::Cut(cut),
            Step::Locate => Followed::Locate,
            Step::Pause => {
                let error = followed.answer.error;
                tracing::debug!(partition = %self.topic_partition, %error, "the leader refused");
                Followed::Done { appended: false }
            }
            Step::Stale => Followed::Done { appended: false },
        }
    }

    fn append_followed(
        &self,
        state: &Mutex<FollowerState>,
        ask: &FetchAsk,
        records: Bytes,
        high_watermark: Offset,
        leader_log_start: Offset,
    ) -> Followed {
        let appended = !records.is_empty();
        if appended {
            match self.log().append_as_follower(records.clone(), ask.leader_epoch) {
                Ok(_) => {}
                Err(AppendError::AroundStart { .. }) => {
                    return Followed::BeginWith { records, leader_epoch: ask.leader_epoch };
                }
                Err(error) => {
                    self.cannot_append(&error);
                    state.lock().failed(self.node.clock.monotonic());
                    return Followed::Done { appended: false };
                }
            }
        }
        let before = self.log().high_watermark();
        let log_end = self.log().log_end_offset();
        let next = FollowerState::next_high_watermark(before, high_watermark, log_end);
        if next > before {
            self.log().set_high_watermark(next);
            self.waiters.wake(Interest::HighWatermark);
        }
        if leader_log_start > self.log().log_start_offset() && leader_log_start <= next {
            return Followed::AdvanceStart { appended, log_start: leader_log_start };
        }
        Followed::Done { appended }
    }

    fn cannot_append(&self, error: &AppendError) {
        tracing::warn!(partition = %self.topic_partition, %error, "cannot append as follower");
    }

    /// Begins an empty log with a batch around its start.
    pub(in crate::replication) async fn begin_with(
        self: &Arc<Self>,
        records: Bytes,
        leader_epoch: LeaderEpoch,
    ) -> Followed {
        let _changing = self.changing.lock().await;
        let follows = |state: &mut FollowerState, _| state.leader_epoch() == leader_epoch;
        if self.with_follower(follows) != Some(true) {
            return Followed::Done { appended: false };
        }
        let begun = self.log().append_around_start(records, leader_epoch).await;
        if let Err(error) = &begun {
            self.cannot_append(error);
            let now = self.node.clock.monotonic();
            self.with_follower(|state, _| state.failed(now)).unwrap_or_default();
        }
        Followed::Done { appended: begun.is_ok() }
    }

    /// Makes a cut that was asked for.
    pub(in crate::replication) async fn cut(self: &Arc<Self>, cut: Cut) {
        let _changing = self.changing.lock().await;
        if self.with_follower(|state, _| state.is_to_make(cut)) != Some(true) {
            return;
        }
        tracing::info!(partition = %self.topic_partition, ?cut, "truncates as follower");
        let made = match cut {
            Cut::To(offset) => self.log().truncate_to(offset).await,
            Cut::FullyAndStartAt(offset) => self.log().truncate_fully_and_start_at(offset).await,
        };
        let now = self.node.clock.monotonic();
        let done = self.with_follower(|state, _| match &made {
            Ok(()) => state.truncated(cut),
            Err(_) => state.failed(now),
        });
        if let (Err(error), Some(())) = (made, done) {
            tracing::error!(partition = %self.topic_partition, %error, "cannot truncate");
        }
    }

    /// Takes the leader's bounds in.
    pub(in crate::replication) fn located(
        &self,
        leader_epoch: LeaderEpoch,
        bounds: Result<(Offset, Offset), ErrorCode>,
    ) -> Followed {
        let now = self.node.clock.monotonic();
        let step = self.with_follower(|state, log| state.located(leader_epoch, bounds, log, now));
        match step {
            Some(Step::Truncate(cut)) => Followed::Cut(cut),
            Some(Step::Append { .. } | Step::Locate | Step::Pause | Step::Stale) | None => {
                Followed::Done { appended: false }
            }
        }
    }

    /// The leader has dropped its oldest records: so does the follower. False if it cannot.
    pub(in crate::replication) async fn follow_log_start(
        self: &Arc<Self>,
        log_start: Offset,
    ) -> bool {
        let moved = self.log().advance_log_start(log_start).await;
        if let Err(error) = &moved {
            tracing::warn!(partition = %self.topic_partition, %error, "cannot move the log start");
            // The leader answers at once as long as our log start lies behind.
            let now = self.node.clock.monotonic();
            self.with_follower(|state, _| state.failed(now)).unwrap_or_default();
        }
        moved.is_ok()
    }
}
