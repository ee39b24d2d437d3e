//! What a log knows about its idempotent producers: the last batches of each, by which a repeated
//! batch is recognised and a gap refused (KIP-98, rule 20). Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::types::{Offset, ProducerEpoch, ProducerId, TimestampMs};

/// How many batches of a producer are remembered; a client has at most this many in flight.
pub const BATCHES_KEPT: usize = 5;

/// The part of a batch that concerns its producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ProducerAppend {
    /// Whose batch it is.
    pub producer_id: ProducerId,
    /// Under which epoch it was sent.
    pub producer_epoch: ProducerEpoch,
    /// The sequence and offset range that it covers, and when it was appended.
    pub batch: ProducerBatch,
    /// Whether it belongs to a transaction.
    pub transactional: bool,
}

/// One remembered batch of a producer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ProducerBatch {
    /// The sequence number of its first record.
    pub base_sequence: i32,
    /// The sequence number of its last record; smaller than the first where the numbers wrapped.
    pub last_sequence: i32,
    /// The offset of its first record.
    pub base_offset: Offset,
    /// The offset of its last record.
    pub last_offset: Offset,
    /// The batch's largest timestamp, or its append time.
    pub timestamp: TimestampMs,
}

/// What is known about one producer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProducerState {
    /// The epoch of the remembered batches.
    pub epoch: ProducerEpoch,
    /// The last batches of that epoch, oldest first.
    pub batches: VecDeque<ProducerBatch>,
    /// When the producer last wrote, by this broker's clock.
    pub last_seen: TimestampMs,
    /// The epoch of the transaction coordinator that wrote the last marker; -1: none did.
    pub coordinator_epoch: i32,
    /// Where the transaction that is under way began.
    pub transaction_start: Option<Offset>,
    /// The first offset at which this log saw the producer.
    pub first_offset: Offset,
}

/// Why a producer's batch is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// A newer incarnation of the producer has written here already.
    #[error("producer {producer_id} wrote with epoch {got}, its last epoch here is {current}")]
    StaleEpoch {
        /// Whose batch it was.
        producer_id: ProducerId,
        /// The epoch that the batch bears.
        got: ProducerEpoch,
        /// The epoch that is current here.
        current: ProducerEpoch,
    },
    /// A batch before this one is missing.
    #[error("out of order sequence number for producer {producer_id}: {got}, expected {expected}")]
    OutOfOrder {
        /// Whose batch it was.
        producer_id: ProducerId,
        /// The sequence number that the batch begins with.
        got: i32,
        /// The sequence number that was due.
        expected: i32,
    },
}

/// What to do with a producer's batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sequence {
    /// It is next in order.
    Next,
    /// It is in the log already, there.
    Duplicate(ProducerBatch),
}

/// The sequence number `count` after `sequence`, wrapping from `i32::MAX` to 0.
pub fn sequence_after(sequence: i32, count: i32) -> i32 {
    let sum = i64::from(sequence) + i64::from(count);
    let wrapped = if sum > i64::from(i32::MAX) { sum - i64::from(i32::MAX) - 1 } else { sum };
    i32::try_from(wrapped).unwrap_or(0)
}

/// What a log no longer knows of its producers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// The largest id whose state was dropped: an unknown producer above it has never written here.
    pub highest: Option<ProducerId>,
    /// The log began elsewhere, or its beginning is gone, so that producers may be unknown here
    /// that have written before.
    pub incomplete: bool,
}

/// All producers of one log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Producers {
    states: BTreeMap<ProducerId, ProducerState>,
    forgotten: Forgotten,
    changed: BTreeSet<ProducerId>,
}

impl Producers {
    /// The producers as they were stored.
    pub fn from_parts(states: BTreeMap<ProducerId, ProducerState>, forgotten: Forgotten) -> Self {
        Self { states, forgotten, changed: BTreeSet::new() }
    }

    /// The state of every known producer.
    pub fn states(&self) -> &BTreeMap<ProducerId, ProducerState> {
        &self.states
    }

    /// What is known about one producer.
    pub fn get(&self, producer_id: ProducerId) -> Option<&ProducerState> {
        self.states.get(&producer_id)
    }

    /// What is no longer known.
    pub fn forgotten(&self) -> Forgotten {
        self.forgotten
    }

    /// Whether something changed since [`Self::take_changed`].
    pub fn has_changed(&self) -> bool {
        !self.changed.is_empty()
    }

    /// From now on producers may be unknown here that have written before.
    pub fn set_incomplete(&mut self) {
        self.forgotten.incomplete = true;
    }

    /// The producers that changed since the last call; one that is unknown now was forgotten.
    pub fn take_changed(&mut self) -> BTreeSet<ProducerId> {
        std::mem::take(&mut self.changed)
    }

    /// Puts back what [`Self::take_changed`] took and could not be stored.
    pub fn put_back_changed(&mut self, changed: BTreeSet<ProducerId>) {
        self.changed.extend(changed);
    }

    /// Whether a client's batch is next, a repetition, or to be refused.
    pub fn check(&self, append: &ProducerAppend) -> Result<Sequence, ProducerError> {
        let ProducerAppend { producer_id, producer_epoch, batch, .. } = *append;
        let out_of_order = |expected| {
            Err(ProducerError::OutOfOrder { producer_id, got: batch.base_sequence, expected })
        };
        let Some(state) = self.states.get(&producer_id) else {
            let forgotten =
                self.forgotten.incomplete || self.forgotten.highest >= Some(producer_id);
            return if batch.base_sequence == 0 || forgotten {
                Ok(Sequence::Next)
            } else {
                out_of_order(0)
            };
        };
        if producer_epoch < state.epoch {
            let current = state.epoch;
            return Err(ProducerError::StaleEpoch { producer_id, got: producer_epoch, current });
        }
        if producer_epoch > state.epoch {
            return if batch.base_sequence == 0 { Ok(Sequence::Next) } else { out_of_order(0) };
        }
        let repeated = state.batches.iter().find(|known| {
            known.base_sequence == batch.base_sequence && known.last_sequence == batch.last_sequence
        });
        if let Some(&original) = repeated {
            return Ok(Sequence::Duplicate(original));
        }
        let Some(last) = state.batches.back() else {
            // Only a marker was seen under this epoch.
            return if batch.base_sequence == 0 { Ok(Sequence::Next) } else { out_of_order(0) };
        };
        let expected = sequence_after(last.last_sequence, 1);
        if batch.base_sequence == expected { Ok(Sequence::Next) } else { out_of_order(expected) }
    }

    /// Notes a batch that is in the log. Followers and recovery come here without a check, for
    /// the leader has made it.
    pub fn apply(&mut self, append: &ProducerAppend, now: TimestampMs) {
        let ProducerAppend { producer_id, producer_epoch, batch, transactional } = *append;
        let state = self.entry(producer_id, producer_epoch, batch.base_offset, now);
        if state.epoch != producer_epoch {
            state.epoch = producer_epoch;
            state.batches.clear();
        }
        if state.batches.len() == BATCHES_KEPT {
            state.batches.pop_front();
        }
        state.batches.push_back(batch);
        state.last_seen = now;
        if transactional {
            state.transaction_start.get_or_insert(batch.base_offset);
        }
    }

    /// Notes the marker that ends a producer's transaction, and says where that began.
    pub fn apply_marker(
        &mut self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        coordinator_epoch: i32,
        offset: Offset,
        now: TimestampMs,
    ) -> Option<Offset> {
        let state = self.entry(producer_id, epoch, offset, now);
        if state.epoch != epoch {
            state.epoch = epoch;
            state.batches.clear();
        }
        state.coordinator_epoch = coordinator_epoch;
        state.last_seen = now;
        state.transaction_start.take()
    }

    fn entry(
        &mut self,
        producer_id: ProducerId,
        epoch: ProducerEpoch,
        first_offset: Offset,
        now: TimestampMs,
    ) -> &mut ProducerState {
        self.changed.insert(producer_id);
        self.states.entry(producer_id).or_insert_with(|| ProducerState {
            epoch,
            batches: VecDeque::with_capacity(BATCHES_KEPT),
            last_seen: now,
            coordinator_epoch: -1,
            transaction_start: None,
            first_offset,
        })
    }

    /// Takes back what was noted for a producer, to the state that [`Self::get`] gave before.
    pub fn restore(&mut self, producer_id: ProducerId, before: Option<ProducerState>) {
        self.changed.insert(producer_id);
        match before {
            Some(state) => self.states.insert(producer_id, state),
            None => self.states.remove(&producer_id),
        };
    }

    /// Forgets producers that have been silent for `expiration` and have no transaction open.
    pub fn expire(&mut self, now: TimestampMs, expiration: Duration) {
        let expiration_ms = i64::try_from(expiration.as_millis()).unwrap_or(i64::MAX);
        let expired: Vec<ProducerId> = self
            .states
            .iter()
            .filter(|(_, state)| state.transaction_start.is_none())
            .filter(|(_, state)| now.0.saturating_sub(state.last_seen.0) >= expiration_ms)
            .map(|(&id, _)| id)
            .collect();
        for id in expired {
            self.states.remove(&id);
            self.changed.insert(id);
            self.forgotten.highest = self.forgotten.highest.max(Some(id));
        }
    }

    /// The log now ends at `log_end`. Says whether the remembered batches were enough to know the
    /// producers' state there; if not, it must be read from the log again.
    #[must_use]
    pub fn truncate_end(&mut self, log_end: Offset) -> bool {
        let mut enough = true;
        let mut gone = Vec::new();
        for (&id, state) in &mut self.states {
            let last = state.batches.back().map(|batch| batch.last_offset);
            let untouched = last.is_some_and(|last| last < log_end)
                && state.coordinator_epoch < 0
                && state.transaction_start.is_none();
            if untouched {
                continue;
            }
            self.changed.insert(id);
            if state.first_offset >= log_end {
                gone.push(id);
                continue;
            }
            state.batches.retain(|batch| batch.last_offset < log_end);
            let transactional = state.coordinator_epoch >= 0 || state.transaction_start.is_some();
            enough &= !state.batches.is_empty() && !transactional;
        }
        for id in gone {
            self.states.remove(&id);
        }
        enough
    }

    /// Forgets everything, as when the log starts anew elsewhere.
    pub fn clear(&mut self) {
        self.changed.extend(self.states.keys());
        self.states.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const NOW: TimestampMs = TimestampMs(1_000);

    fn batch(id: i64, epoch: i16, base_sequence: i32, count: i32, offset: i64) -> ProducerAppend {
        ProducerAppend {
            producer_id: ProducerId(id),
            producer_epoch: ProducerEpoch(epoch),
            batch: ProducerBatch {
                base_sequence,
                last_sequence: sequence_after(base_sequence, count - 1),
                base_offset: Offset(offset),
                last_offset: Offset(offset + i64::from(count) - 1),
                timestamp: NOW,
            },
            transactional: false,
        }
    }

    fn with(batches: &[ProducerAppend]) -> Producers {
        let mut producers = Producers::default();
        for batch in batches {
            assert_eq!(producers.check(batch), Ok(Sequence::Next));
            producers.apply(batch, NOW);
        }
        producers
    }

    #[test]
    fn rule_20_an_unknown_producer_starts_at_sequence_0() {
        let mut producers = Producers::default();
        let late = batch(7, 0, 3, 2, 0);
        let expected =
            ProducerError::OutOfOrder { producer_id: ProducerId(7), got: 3, expected: 0 };
        assert_eq!(producers.check(&late), Err(expected));
        assert_eq!(producers.check(&batch(7, 0, 0, 2, 0)), Ok(Sequence::Next));

        producers.apply(&batch(7, 0, 0, 3, 0), NOW);
        producers.expire(TimestampMs(5_000), Duration::from_secs(4));
        assert_eq!(producers.check(&late), Ok(Sequence::Next), "its state was dropped");
        assert_eq!(producers.check(&batch(6, 0, 3, 1, 0)), Ok(Sequence::Next), "as old an id");
        assert!(producers.check(&batch(8, 0, 3, 1, 0)).is_err(), "a younger id never wrote here");

        producers.set_incomplete();
        assert_eq!(producers.check(&batch(8, 0, 3, 1, 0)), Ok(Sequence::Next));
    }

    #[test]
    fn the_last_five_batches_are_recognised_when_they_come_again() {
        let batches: Vec<_> = (0..7).map(|i| batch(1, 0, i * 2, 2, i64::from(i) * 10)).collect();
        let producers = with(&batches);
        for (index, again) in batches.iter().enumerate() {
            let verdict = producers.check(again);
            if index < 2 {
                assert!(verdict.is_err(), "batch {index} is no longer remembered");
            } else {
                assert_eq!(verdict, Ok(Sequence::Duplicate(again.batch)), "batch {index}");
            }
        }
        assert!(producers.check(&batch(1, 0, 16, 1, 70)).is_err(), "a gap");
        assert_eq!(producers.check(&batch(1, 0, 14, 1, 70)), Ok(Sequence::Next));
    }

    #[test]
    fn sequences_wrap_to_zero() {
        let mut producers = Producers::default();
        let before_end = batch(1, 0, i32::MAX - 1, 4, 10);
        assert_eq!(before_end.batch.last_sequence, 1);
        producers.apply(&before_end, NOW);
        assert_eq!(producers.check(&before_end), Ok(Sequence::Duplicate(before_end.batch)));
        assert_eq!(producers.check(&batch(1, 0, 2, 1, 14)), Ok(Sequence::Next));
        producers.apply(&batch(1, 0, i32::MAX, 1, 20), NOW);
        assert_eq!(producers.check(&batch(1, 0, 0, 1, 21)), Ok(Sequence::Next));
    }

    #[test]
    fn an_older_epoch_is_fenced_and_a_newer_one_starts_at_0() {
        let producers = with(&[batch(1, 3, 0, 5, 0)]);
        let fenced = ProducerError::StaleEpoch {
            producer_id: ProducerId(1),
            got: ProducerEpoch(2),
            current: ProducerEpoch(3),
        };
        assert_eq!(producers.check(&batch(1, 2, 5, 1, 5)), Err(fenced));
        assert!(producers.check(&batch(1, 4, 5, 1, 5)).is_err());
        assert_eq!(producers.check(&batch(1, 4, 0, 1, 5)), Ok(Sequence::Next));
    }

    #[test]
    fn truncation_says_when_the_log_must_be_read_again() {
        let batches: Vec<_> = (0..7).map(|i| batch(1, 0, i, 1, i64::from(i))).collect();
        let mut producers = with(&batches);
        assert!(producers.truncate_end(Offset(4)));
        assert_eq!(producers.check(&batch(1, 0, 4, 1, 4)), Ok(Sequence::Next));
        assert!(!producers.truncate_end(Offset(2)), "batches 2 to 6 were remembered, not 0 and 1");
        let mut producers = with(&batches);
        assert!(producers.truncate_end(Offset(0)), "nothing of it is left");
        assert!(producers.states().is_empty());
    }
}
