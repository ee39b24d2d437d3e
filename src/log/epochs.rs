//! The leader-epoch history of one log: which reign began at which offset (KIP-101, rule 3).
//! Pure. Both columns rise strictly, whatever is asked of it (KAFKA-7415).

use std::cmp::Ordering;

use crate::types::{LeaderEpoch, Offset};

/// One reign and the first offset that it wrote, or would have written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochStart {
    /// The leader epoch.
    pub epoch: LeaderEpoch,
    /// The log's end when that leader took office.
    pub start_offset: Offset,
}

/// Where an epoch ended, as OffsetForLeaderEpoch answers it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest epoch known here that is not above the requested one; [`LeaderEpoch::NONE`]
    /// where nothing can be said.
    pub epoch: LeaderEpoch,
    /// The first offset that does not belong to it; [`Offset::UNKNOWN`] where nothing can be said.
    pub end_offset: Offset,
}

impl EpochEnd {
    /// "Nothing can be said": the requested epoch is above all that are known.
    pub const UNDEFINED: EpochEnd =
        EpochEnd { epoch: LeaderEpoch::NONE, end_offset: Offset::UNKNOWN };
}

/// The history, oldest reign first.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EpochHistory {
    starts: Vec<EpochStart>,
}

impl EpochHistory {
    /// Takes entries as they were stored; those that would make either column go back are
    /// dropped in favour of the later ones.
    pub fn from_entries(entries: impl IntoIterator<Item = EpochStart>) -> Self {
        let mut history = Self::default();
        for entry in entries {
            history.assign(entry.epoch, entry.start_offset);
        }
        history
    }

    /// Notes that `epoch` begins at `start_offset`. An epoch that is already known, or older than
    /// the latest, changes nothing. Earlier reigns that begin at or after `start_offset` wrote
    /// nothing that is still here and are forgotten. Says whether the history changed.
    pub fn assign(&mut self, epoch: LeaderEpoch, start_offset: Offset) -> bool {
        if epoch.0 < 0 || start_offset.0 < 0 || self.latest().is_some_and(|l| l.epoch >= epoch) {
            return false;
        }
        while self.starts.last().is_some_and(|last| last.start_offset >= start_offset) {
            self.starts.pop();
        }
        self.starts.push(EpochStart { epoch, start_offset });
        true
    }

    /// The log holds a batch that `epoch` wrote at `offset`. What the history says otherwise, from
    /// an assignment whose records did not survive, is wrong.
    pub fn witness(&mut self, epoch: LeaderEpoch, offset: Offset) {
        if epoch.0 < 0 || self.epoch_at(offset) == Some(epoch) {
            return;
        }
        self.starts.retain(|entry| match entry.epoch.cmp(&epoch) {
            Ordering::Less => entry.start_offset < offset,
            Ordering::Equal => entry.start_offset <= offset,
            Ordering::Greater => entry.start_offset > offset,
        });
        let place = self.starts.partition_point(|entry| entry.epoch < epoch);
        if self.starts.get(place).is_none_or(|entry| entry.epoch != epoch) {
            self.starts.insert(place, EpochStart { epoch, start_offset: offset });
        }
    }

    /// The latest reign.
    pub fn latest(&self) -> Option<EpochStart> {
        self.starts.last().copied()
    }

    /// All reigns, oldest first.
    pub fn entries(&self) -> &[EpochStart] {
        &self.starts
    }

    /// The reign that wrote `offset`, or that would write it if it is the log's end.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.reign_at(offset).map(|(epoch, _)| epoch)
    }

    /// As [`Self::epoch_at`], and the first offset that belongs to the next reign.
    pub fn reign_at(&self, offset: Offset) -> Option<(LeaderEpoch, Offset)> {
        let after = self.starts.partition_point(|entry| entry.start_offset <= offset);
        let reign = self.starts.get(after.checked_sub(1)?)?;
        let end = self.starts.get(after).map_or(Offset(i64::MAX), |next| next.start_offset);
        Some((reign.epoch, end))
    }

    /// Rule 3: (largest epoch ≤ requested, start of the next epoch); the latest epoch ends at the
    /// log's end; above all known: undefined; below the earliest: (requested, earliest start).
    pub fn end_offset_for(&self, requested: LeaderEpoch, log_end: Offset) -> EpochEnd {
        let Some(latest) = self.latest() else { return EpochEnd::UNDEFINED };
        if requested == LeaderEpoch::NONE || requested > latest.epoch {
            return EpochEnd::UNDEFINED;
        }
        if requested == latest.epoch {
            return EpochEnd { epoch: requested, end_offset: log_end };
        }
        let higher = self.starts.partition_point(|entry| entry.epoch <= requested);
        let end_offset = self.starts[higher].start_offset;
        let epoch = higher.checked_sub(1).map_or(requested, |floor| self.starts[floor].epoch);
        EpochEnd { epoch, end_offset }
    }

    /// The log now ends at `log_end`: reigns that begin there or later are forgotten. Says whether
    /// the history changed.
    pub fn truncate_end(&mut self, log_end: Offset) -> bool {
        let keep = self.starts.partition_point(|entry| entry.start_offset < log_end);
        let changed = keep < self.starts.len();
        self.starts.truncate(keep);
        changed
    }

    /// Recovery found that the log ends at `log_end`: reigns that begin beyond it are forgotten,
    /// but one that begins just there stays, for its leader may have written nothing (rule 1).
    pub fn drop_beyond(&mut self, log_end: Offset) {
        self.starts.retain(|entry| entry.start_offset <= log_end);
    }

    /// The log now begins at `log_start`: the reign that covers it begins there, older ones are
    /// forgotten. Says whether the history changed.
    pub fn truncate_start(&mut self, log_start: Offset) -> bool {
        let after = self.starts.partition_point(|entry| entry.start_offset <= log_start);
        let Some(covering) = after.checked_sub(1) else { return false };
        let changed = covering > 0 || self.starts[covering].start_offset != log_start;
        self.starts.drain(..covering);
        self.starts[0].start_offset = log_start;
        changed
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        self.starts.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    fn history(entries: &[(i32, i64)]) -> EpochHistory {
        EpochHistory::from_entries(entries.iter().map(|&(epoch, start)| EpochStart {
            epoch: LeaderEpoch(epoch),
            start_offset: Offset(start),
        }))
    }

    #[test]
    fn rule_03_the_end_of_an_epoch_is_the_start_of_the_next() {
        let history = history(&[(2, 10), (4, 20), (7, 35)]);
        for (requested, epoch, end) in [
            (-1, -1, -1),
            (0, 0, 10),
            (1, 1, 10),
            (2, 2, 20),
            (3, 2, 20),
            (4, 4, 35),
            (6, 4, 35),
            (7, 7, 50),
            (8, -1, -1),
        ] {
            let answer = history.end_offset_for(LeaderEpoch(requested), Offset(50));
            let expected = EpochEnd { epoch: LeaderEpoch(epoch), end_offset: Offset(end) };
            assert_eq!(answer, expected, "requested {requested}");
        }
        let empty = EpochHistory::default();
        assert_eq!(empty.end_offset_for(LeaderEpoch(0), Offset(0)), EpochEnd::UNDEFINED);
    }

    #[test]
    fn rule_01_epochs_and_their_starts_only_rise() {
        let mut history = history(&[(2, 10), (4, 20)]);
        assert!(!history.assign(LeaderEpoch(3), Offset(30)), "an older epoch changes nothing");
        assert!(!history.assign(LeaderEpoch(4), Offset(30)), "a known epoch keeps its start");
        assert!(history.assign(LeaderEpoch(5), Offset(20)), "a reign without writes is replaced");
        assert_eq!(history, super::tests::history(&[(2, 10), (5, 20)]));
    }

    #[test]
    fn truncation_forgets_what_lies_beyond_either_end() {
        let mut at_end = history(&[(2, 10), (4, 20), (7, 35)]);
        assert!(!at_end.truncate_end(Offset(36)));
        assert!(at_end.truncate_end(Offset(35)), "a reign that begins at the end is forgotten");
        assert_eq!(at_end, history(&[(2, 10), (4, 20)]));

        let mut at_start = history(&[(2, 10), (4, 20), (7, 35)]);
        assert!(!at_start.truncate_start(Offset(5)));
        assert!(at_start.truncate_start(Offset(25)));
        assert_eq!(at_start, history(&[(4, 25), (7, 35)]));

        let mut recovered = history(&[(2, 10), (4, 20), (7, 35)]);
        recovered.drop_beyond(Offset(20));
        assert_eq!(recovered, history(&[(2, 10), (4, 20)]), "an empty last reign stays");
    }

    #[test]
    fn what_the_log_holds_outweighs_the_history() {
        let mut history = history(&[(2, 5), (3, 10), (4, 17)]);
        history.witness(LeaderEpoch(3), Offset(12));
        assert_eq!(history, super::tests::history(&[(2, 5), (3, 10), (4, 17)]));
        history.witness(LeaderEpoch(4), Offset(10));
        assert_eq!(history, super::tests::history(&[(2, 5), (4, 10)]));
        history.witness(LeaderEpoch(3), Offset(8));
        assert_eq!(history, super::tests::history(&[(2, 5), (3, 8), (4, 10)]));
        history.witness(LeaderEpoch(3), Offset(20));
        assert_eq!(history, super::tests::history(&[(2, 5), (3, 8)]));
    }

    #[test]
    fn an_offset_belongs_to_the_reign_that_covers_it() {
        let history = history(&[(2, 10), (4, 20)]);
        for (offset, epoch) in [(9, None), (10, Some(2)), (19, Some(2)), (20, Some(4))] {
            assert_eq!(history.epoch_at(Offset(offset)), epoch.map(LeaderEpoch), "at {offset}");
        }
    }

    proptest! {
        #[test]
        fn rule_01_no_sequence_of_calls_makes_a_column_go_back(
            calls in prop::collection::vec((0..4u8, 0..20i32, 0..50i64), 0..60)
        ) {
            let mut history = EpochHistory::default();
            for (call, epoch, offset) in calls {
                match call {
                    0 | 1 => { history.assign(LeaderEpoch(epoch), Offset(offset)); }
                    2 => { history.truncate_end(Offset(offset)); }
                    _ => { history.truncate_start(Offset(offset)); }
                }
                for pair in history.entries().windows(2) {
                    prop_assert!(pair[0].epoch < pair[1].epoch);
                    prop_assert!(pair[0].start_offset < pair[1].start_offset);
                }
            }
        }
    }
}
