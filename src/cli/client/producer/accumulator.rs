//! The batches of one partition that wait to be sent.

use std::collections::VecDeque;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::cli::client::producer::ProducerRecord;
use crate::types::{Clock, Monotonic, TimestampMs};

/// What the producer puts in and the lane takes out.
#[derive(Debug)]
pub(super) struct Accumulator {
    batch_size_bytes: usize,
    linger: Duration,
    state: Mutex<State>,
    /// Rings when the lane may have something to do.
    pub(super) bell: Notify,
}

#[derive(Debug, Default)]
struct State {
    /// Only the last one takes more records.
    batches: VecDeque<OpenBatch>,
    is_flushing: bool,
    is_closed: bool,
}

/// Records that will be sent together.
#[derive(Debug)]
pub(super) struct OpenBatch {
    pub(super) records: Vec<ProducerRecord>,
    pub(super) size_bytes: usize,
    pub(super) created: Monotonic,
}

/// What there is for the lane.
#[derive(Debug)]
pub(super) enum Next {
    /// A batch to be sent.
    Batch(OpenBatch),
    /// A batch that waits for more records, at most so long.
    Wait(Duration),
    /// Nothing.
    Nothing,
    /// Nothing, and nothing will come.
    Closed,
}

impl Accumulator {
    pub(super) fn new(batch_size_bytes: usize, linger: Duration) -> Self {
        Self { batch_size_bytes, linger, state: Mutex::default(), bell: Notify::new() }
    }

    /// Adds a record to the last batch, or to a new one if that is full.
    pub(super) fn add(&self, mut record: ProducerRecord, size_bytes: usize, clock: &dyn Clock) {
        if record.timestamp.is_none_or(|timestamp| timestamp == TimestampMs::NONE) {
            record.timestamp = Some(clock.wall());
        }
        let mut state = self.state.lock();
        state.is_flushing = false;
        let has_room = state
            .batches
            .back()
            .is_some_and(|batch| batch.size_bytes + size_bytes <= self.batch_size_bytes);
        if !has_room {
            state.batches.push_back(OpenBatch {
                records: Vec::new(),
                size_bytes: 0,
                created: clock.monotonic(),
            });
        }
        let mut is_full = false;
        if let Some(batch) = state.batches.back_mut() {
            batch.records.push(record);
            batch.size_bytes += size_bytes;
            is_full = batch.size_bytes >= self.batch_size_bytes;
        }
        drop(state);
        // In between the lane has set its clock by the batch's first record.
        if !has_room || is_full {
            self.bell.notify_one();
        }
    }

    /// What there is now.
    pub(super) fn next(&self, now: Monotonic) -> Next {
        let mut state = self.state.lock();
        let Some(first) = state.batches.front() else {
            return if state.is_closed { Next::Closed } else { Next::Nothing };
        };
        let age = now.since(first.created);
        let is_due = state.batches.len() > 1
            || first.size_bytes >= self.batch_size_bytes
            || age >= self.linger
            || state.is_flushing
            || state.is_closed;
        if !is_due {
            return Next::Wait(self.linger - age);
        }
        state.batches.pop_front().map_or(Next::Nothing, Next::Batch)
    }

    /// Lets no batch wait for more records, until there are more.
    pub(super) fn flush(&self) {
        self.state.lock().is_flushing = true;
        self.bell.notify_one();
    }

    /// Lets the lane end when all is sent.
    pub(super) fn close(&self) {
        self.state.lock().is_closed = true;
        self.bell.notify_one();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::types::clock::ManualClock;

    fn filled(count: u64) -> (Accumulator, ManualClock) {
        let clock = ManualClock::at(TimestampMs(1000));
        let accumulator = Accumulator::new(100, Duration::from_millis(5));
        for token in 0..count {
            let record = ProducerRecord { token, ..ProducerRecord::default() };
            accumulator.add(record, 40, &clock);
        }
        (accumulator, clock)
    }

    fn tokens(next: Next) -> Vec<u64> {
        match next {
            Next::Batch(batch) => batch.records.iter().map(|record| record.token).collect(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_batch_waits_for_more_until_it_has_lingered() {
        let (accumulator, clock) = filled(2);
        assert!(matches!(accumulator.next(clock.monotonic()),
            Next::Wait(wait) if wait == Duration::from_millis(5)));
        clock.advance(Duration::from_millis(5));
        assert_eq!(tokens(accumulator.next(clock.monotonic())), [0, 1]);
        assert!(matches!(accumulator.next(clock.monotonic()), Next::Nothing));
    }

    #[test]
    fn a_full_batch_does_not_wait() {
        let (accumulator, clock) = filled(3);
        assert_eq!(tokens(accumulator.next(clock.monotonic())), [0, 1]);
        assert!(matches!(accumulator.next(clock.monotonic()), Next::Wait(_)));
    }

    #[test]
    fn flushing_and_closing_send_what_there_is() {
        let (accumulator, clock) = filled(1);
        accumulator.flush();
        assert_eq!(tokens(accumulator.next(clock.monotonic())), [0]);
        let (accumulator, clock) = filled(1);
        accumulator.close();
        assert_eq!(tokens(accumulator.next(clock.monotonic())), [0]);
        assert!(matches!(accumulator.next(clock.monotonic()), Next::Closed));
    }
}
