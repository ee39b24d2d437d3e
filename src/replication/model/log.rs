//! A log in memory: entries with their epochs, the epoch history, what was synced.

use super::super::epochs::EpochEnd;
use super::super::follower::LogView;
use crate::types::{LeaderEpoch, Offset};

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Entry {
    pub(super) epoch: LeaderEpoch,
    pub(super) value: u64,
}

#[derive(Debug, Default)]
pub(super) struct ModelLog {
    pub(super) entries: Vec<Entry>,
    pub(super) high_watermark: Offset,
    epochs: Vec<(LeaderEpoch, Offset)>,
    flushed: usize,
    flushed_high_watermark: Offset,
}

impl ModelLog {
    pub(super) fn end(&self) -> Offset {
        Offset(self.entries.len() as i64)
    }

    pub(super) fn view(&self) -> LogView {
        let latest_epoch = self.epochs.last().map_or(LeaderEpoch::NONE, |(epoch, _)| *epoch);
        LogView { start: Offset(0), end: self.end(), latest_epoch }
    }

    /// Rule 1: the reign is known even if nothing is ever written in it.
    pub(super) fn assign_epoch(&mut self, epoch: LeaderEpoch) {
        if self.epochs.last().is_none_or(|(latest, _)| *latest < epoch) {
            self.epochs.push((epoch, self.end()));
        }
    }

    pub(super) fn append(&mut self, entry: Entry) {
        self.assign_epoch(entry.epoch);
        self.entries.push(entry);
    }

    /// Rule 3.
    pub(super) fn end_of(&self, requested: LeaderEpoch) -> EpochEnd {
        let Some(next) = self.epochs.iter().position(|(epoch, _)| *epoch > requested) else {
            return match self.epochs.last() {
                Some((epoch, _)) if *epoch == requested => {
                    EpochEnd { epoch: *epoch, end_offset: self.end() }
                }
                _ => EpochEnd::UNDEFINED,
            };
        };
        let epoch = if next == 0 { requested } else { self.epochs[next - 1].0 };
        EpochEnd { epoch, end_offset: self.epochs[next].1 }
    }

    /// Reigns that began at the cut or beyond are forgotten, even if nothing was written in them.
    pub(super) fn truncate_to(&mut self, offset: Offset) {
        self.entries.truncate(offset.0 as usize);
        self.epochs.retain(|(_, start)| *start < offset);
        self.flushed = self.flushed.min(self.entries.len());
        self.high_watermark = self.high_watermark.min(offset);
        self.flushed_high_watermark = self.flushed_high_watermark.min(offset);
    }

    pub(super) fn flush(&mut self) {
        self.flushed = self.entries.len();
        self.flushed_high_watermark = self.high_watermark;
    }

    /// The process dies; with `Some(kept)` so does the machine, and of what was not synced only
    /// that share is kept.
    pub(super) fn crash(&mut self, kept: Option<f64>) {
        if let Some(kept) = kept {
            let unsynced = (self.entries.len() - self.flushed) as f64;
            self.entries.truncate(self.flushed + (unsynced * kept) as usize);
            let end = self.end();
            self.epochs.retain(|(_, start)| *start <= end);
        }
        self.high_watermark = self.flushed_high_watermark.min(self.end());
    }
}
