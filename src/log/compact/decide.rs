//! What compaction may remove, one batch after another from the log's start on (KIP-58, KIP-354,
//! KIP-534). Pure.
//!
//! - Of records with the same key the last stays. A record without key goes.
//! - A tombstone stays for `delete.retention.ms` after the first compaction that found nothing
//!   older of its key; the batch's delete horizon says until when.
//! - The records of an aborted transaction go. The marker of a transaction goes like a tombstone,
//!   once no batch of the transaction is left.
//! - A batch without records stays where it bears a producer's last sequence: the last of all, and
//!   the last that is committed for certain, should those after it be cut off.
//! - Beyond what was looked at for repetitions, records stay whatever they are.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::log::compact::offset_map::OffsetMap;
use crate::log::producers::ProducerState;
use crate::log::transactions::AbortedTransaction;
use crate::record::{BatchHeader, ControlType};
use crate::types::{Offset, ProducerEpoch, ProducerId, TimestampMs};

/// The transactions that have been passed on the way through the log.
#[derive(Debug, Default)]
pub struct Passed {
    /// Those that begin further on, by their first offsets.
    aborted: VecDeque<AbortedTransaction>,
    /// Those whose marker is still to come, and whether a batch of them was there.
    ongoing_aborted: BTreeMap<ProducerId, (AbortedTransaction, bool)>,
    ongoing_committed: BTreeSet<ProducerId>,
    /// Those of which only the marker is left.
    gone: Vec<AbortedTransaction>,
}

impl Passed {
    /// Nothing was passed yet; these are the log's aborted transactions.
    pub fn new(mut aborted: Vec<AbortedTransaction>) -> Passed {
        aborted.sort_unstable_by_key(|aborted| aborted.first_offset);
        Passed { aborted: aborted.into(), ..Passed::default() }
    }

    /// Passes a batch of producers' records; whether it belongs to an aborted transaction.
    pub fn data(&mut self, header: &BatchHeader) -> bool {
        self.begin_up_to(header);
        if !header.is_transactional() {
            return false;
        }
        if let Some((_, seen)) = self.ongoing_aborted.get_mut(&header.producer_id) {
            *seen = true;
            return true;
        }
        self.ongoing_committed.insert(header.producer_id);
        false
    }

    /// Passes a control batch with its one record's type; `None`: the record is gone. Whether
    /// nothing is left of what it marks.
    pub fn control(&mut self, header: &BatchHeader, of: Option<ControlType>) -> bool {
        self.begin_up_to(header);
        let producer_id = header.producer_id;
        match of {
            None => true,
            Some(ControlType::Commit) => !self.ongoing_committed.remove(&producer_id),
            Some(ControlType::Abort) => match self.ongoing_aborted.remove(&producer_id) {
                Some((_, true)) => false,
                Some((aborted, false)) => {
                    self.gone.push(aborted);
                    true
                }
                None => true,
            },
            Some(ControlType::Other(_)) => false,
        }
    }

    /// The aborted transactions whose markers were passed since the last call without any batch of
    /// theirs before: the log can forget them.
    pub fn take_gone(&mut self) -> Vec<AbortedTransaction> {
        std::mem::take(&mut self.gone)
    }

    /// Begins the transactions that a batch has reached, but for those that ended before it.
    fn begin_up_to(&mut self, header: &BatchHeader) {
        let offset = header.last_offset();
        while let Some(next) = self.aborted.front().filter(|next| next.first_offset <= offset) {
            if next.last_offset >= header.base_offset {
                self.ongoing_aborted.insert(next.producer_id, (*next, false));
            }
            self.aborted.pop_front();
        }
    }
}

/// What of a producer must be found in the log again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LastOf {
    /// Its last batch.
    Data {
        /// Where that ends.
        last: Offset,
        /// Where its last batch ends among those that keys were looked for in: the last one may be
        /// cut off again, where it is not committed. `None`: it has none there, and then all that
        /// it has before stay, until it is forgotten.
        looked_at: Option<Offset>,
    },
    /// A marker of this epoch: it wrote nothing since.
    Marker(ProducerEpoch),
}

impl LastOf {
    /// What must be kept of a producer in this state.
    pub fn of(state: &ProducerState, looked_at: Option<Offset>) -> LastOf {
        state.batches.back().map_or(LastOf::Marker(state.epoch), |batch| LastOf::Data {
            last: batch.last_offset,
            looked_at,
        })
    }
}

/// What holds for one whole pass.
#[derive(Debug)]
pub struct Decision {
    /// The last offset of each key, up to where it was looked.
    pub map: OffsetMap,
    /// The time.
    pub now: TimestampMs,
    /// What a batch is given that has tombstones from now on.
    pub delete_horizon: TimestampMs,
    /// The known producers.
    pub producers: BTreeMap<ProducerId, LastOf>,
    /// The transactions so far.
    pub passed: Passed,
}

/// What holds for one batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// None of its records stay.
    pub drops_records: bool,
    /// It stays without records.
    pub stays_empty: bool,
    /// It needs a delete horizon if it has none: it marks what is gone.
    pub marks_nothing: bool,
}

impl Decision {
    /// Passes the next batch. `control` is the type of a control batch's record, if it has one.
    pub fn pass(&mut self, header: &BatchHeader, control: Option<ControlType>) -> Rule {
        let stays_empty = self.is_last_of_producer(header);
        if !header.is_control() {
            let drops_records = self.passed.data(header);
            return Rule { drops_records, stays_empty, marks_nothing: false };
        }
        let marks_nothing = self.passed.control(header, control);
        let due = header.delete_horizon().is_some_and(|horizon| horizon <= self.now);
        Rule { drops_records: marks_nothing && due, stays_empty, marks_nothing }
    }

    fn is_last_of_producer(&self, header: &BatchHeader) -> bool {
        match self.producers.get(&header.producer_id) {
            Some(LastOf::Data { last, looked_at }) => {
                let end = header.last_offset();
                let is_kept = looked_at.map_or(!header.is_control(), |kept| end == kept);
                end == *last || is_kept
            }
            Some(LastOf::Marker(epoch)) => header.is_control() && header.producer_epoch == *epoch,
            None => false,
        }
    }

    /// Whether a record stays.
    pub fn stays(
        &self,
        rule: Rule,
        header: &BatchHeader,
        offset: Offset,
        key: Option<&[u8]>,
        has_value: bool,
    ) -> bool {
        if header.is_control() {
            return !rule.drops_records;
        }
        if self.is_beyond(offset) {
            return true;
        }
        if rule.drops_records {
            return false;
        }
        let Some(key) = key else { return false };
        let is_last = self.map.get(key).is_none_or(|last| offset >= last);
        let is_needed = has_value || header.delete_horizon().is_none_or(|until| self.now < until);
        is_last && is_needed
    }

    /// Whether nobody looked there for repetitions.
    pub fn is_beyond(&self, offset: Offset) -> bool {
        self.map.latest().is_none_or(|latest| offset > latest)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::record::{BatchBuilder, EndTransactionMarker, batches};
    use crate::types::LeaderEpoch;

    const NOW: TimestampMs = TimestampMs(10_000);

    /// A decision over a log in which `keys` stand last at these offsets, looked at up to 100.
    fn decision(keys: &[(&str, i64)]) -> Decision {
        let mut map = OffsetMap::new(1 << 12, 0.5, 100, [1, 2]);
        for (key, offset) in keys {
            assert!(map.put(key.as_bytes(), Offset(*offset)));
        }
        map.note_latest(Offset(100));
        Decision {
            map,
            now: NOW,
            delete_horizon: TimestampMs(20_000),
            producers: BTreeMap::new(),
            passed: Passed::default(),
        }
    }

    fn header(base: i64, producer: i64, transactional: bool) -> BatchHeader {
        let mut builder = BatchBuilder::new(Offset(base));
        if producer >= 0 {
            builder = builder.producer(ProducerId(producer), ProducerEpoch(0), 0);
        }
        if transactional {
            builder = builder.transactional();
        }
        builder.push(NOW, Some(b"k"), None, &[]).unwrap();
        batches(&builder.build().unwrap()).next().unwrap().unwrap().header
    }

    fn marker(offset: i64, producer: i64, committed: bool) -> (BatchHeader, Option<ControlType>) {
        let marker = EndTransactionMarker { committed, coordinator_epoch: LeaderEpoch(0) };
        let bytes = marker.batch(NOW, ProducerId(producer), ProducerEpoch(0)).unwrap();
        let mut header = batches(&bytes).next().unwrap().unwrap().header;
        header.base_offset = Offset(offset);
        (header, Some(if committed { ControlType::Commit } else { ControlType::Abort }))
    }

    fn with_horizon(mut header: BatchHeader, horizon: i64) -> BatchHeader {
        header.attributes |= 0x40;
        header.base_timestamp = TimestampMs(horizon);
        header
    }

    #[test]
    fn which_records_stay() {
        let decision = decision(&[("a", 50), ("b", 7)]);
        let plain = header(0, -1, false);
        let kept = with_horizon(plain.clone(), NOW.0 + 1);
        let due = with_horizon(plain.clone(), NOW.0);
        let none = Rule { drops_records: false, stays_empty: false, marks_nothing: false };
        let all = Rule { drops_records: true, ..none };
        // (rule, header, offset, key, value) → stays
        for (rule, header, offset, key, has_value, expected) in [
            (none, &plain, 49, Some("a"), true, false),
            (none, &plain, 50, Some("a"), true, true),
            (none, &plain, 51, Some("a"), true, true),
            (none, &plain, 7, Some("b"), false, true),
            (none, &kept, 7, Some("b"), false, true),
            (none, &due, 7, Some("b"), false, false),
            (none, &due, 7, Some("b"), true, true),
            (none, &due, 6, Some("b"), true, false),
            (none, &plain, 3, Some("clean before"), true, true),
            (none, &plain, 3, None, true, false),
            (none, &plain, 101, None, true, true),
            (none, &due, 101, Some("b"), false, true),
            (all, &plain, 50, Some("a"), true, false),
        ] {
            let key = key.map(str::as_bytes);
            let stays = decision.stays(rule, header, Offset(offset), key, has_value);
            assert_eq!(stays, expected, "{offset} {key:?} {has_value} {rule:?}");
        }
    }

    #[test]
    fn a_transactions_marker_outlives_its_last_batch() {
        let mut decision = decision(&[]);
        let aborted = |producer, first, last| AbortedTransaction {
            producer_id: ProducerId(producer),
            first_offset: Offset(first),
            last_offset: Offset(last),
            last_stable_offset: Offset(first),
        };
        let gone = aborted(3, 20, 24);
        decision.passed = Passed::new(vec![gone, aborted(1, 2, 6)]);
        // Producer 1 aborts, 2 commits, 3 has aborted and 4 committed with nothing left.
        let mut data = |base, producer| decision.pass(&header(base, producer, true), None);
        assert!(data(2, 1).drops_records, "its transaction was aborted");
        assert!(!data(3, 2).drops_records);
        let none = Rule { drops_records: false, stays_empty: false, marks_nothing: false };
        let mut mark = |offset, producer, committed| {
            let (header, control) = marker(offset, producer, committed);
            decision.pass(&header, control)
        };
        assert_eq!(mark(6, 1, false), none);
        assert_eq!(mark(7, 2, true), none);
        assert!(mark(24, 3, false).marks_nothing);
        assert!(mark(25, 4, true).marks_nothing);
        assert_eq!(decision.passed.take_gone(), [gone]);

        let (marked, control) = marker(30, 4, true);
        for (horizon, drops) in [(NOW.0 + 1, false), (NOW.0, true)] {
            let header = with_horizon(marked.clone(), horizon);
            assert_eq!(decision.pass(&header, control).drops_records, drops, "at {horizon}");
        }
        assert!(decision.pass(&marked, None).marks_nothing, "its record is gone");
        let (other, _) = marker(31, 4, true);
        assert_eq!(decision.pass(&other, Some(ControlType::Other(9))), none, "not known here");
    }

    #[test]
    fn a_batch_that_begins_before_its_producers_next_abort_is_not_dropped() {
        let mut decision = decision(&[]);
        decision.passed = Passed::new(vec![AbortedTransaction {
            producer_id: ProducerId(1),
            first_offset: Offset(10),
            last_offset: Offset(12),
            last_stable_offset: Offset(10),
        }]);
        assert!(!decision.pass(&header(5, 1, true), None).drops_records, "an earlier transaction");
        let (commit, control) = marker(6, 1, true);
        assert!(!decision.pass(&commit, control).marks_nothing);
        assert!(decision.pass(&header(10, 1, true), None).drops_records);
        assert!(!decision.pass(&header(11, 1, false), None).drops_records, "not transactional");
    }

    #[test]
    fn the_last_batch_of_a_producer_stays() {
        let mut decision = decision(&[]);
        decision.producers = BTreeMap::from([
            (ProducerId(1), LastOf::Data { last: Offset(8), looked_at: Some(Offset(4)) }),
            (ProducerId(4), LastOf::Data { last: Offset(8), looked_at: None }),
            (ProducerId(2), LastOf::Marker(ProducerEpoch(0))),
        ]);
        let stays = |decision: &mut Decision, base, producer| {
            decision.pass(&header(base, producer, false), None).stays_empty
        };
        assert!(!stays(&mut decision, 7, 1));
        assert!(stays(&mut decision, 8, 1));
        assert!(stays(&mut decision, 4, 1), "the last one may be cut off again");
        assert!(stays(&mut decision, 3, 4), "which is the last one is not known");
        assert!(!stays(&mut decision, 8, 2), "no data batch is its last");
        assert!(!stays(&mut decision, 8, 3), "nobody knows it");
        let (last, control) = marker(9, 2, true);
        assert!(decision.pass(&last, control).stays_empty);
    }
}
