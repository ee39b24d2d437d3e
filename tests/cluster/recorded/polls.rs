//! What one consumer is given, poll by poll: a poll here is as many of the client's as give something
//! at once.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use ottla::types::Offset;
use rdkafka::message::{BorrowedMessage, Message};

use crate::checker::history::{Action, Log, Outcome, Polled, Process, Value};
use crate::recorded::log_of;
use crate::recorded::recorder::Recorder;

/// The polls of one consumer.
pub struct Polls {
    recorder: Arc<Recorder>,
    process: Process,
    /// With `isolation.level=read_committed`.
    committed: bool,
    /// Where it stands in the logs that it is assigned; none: where a record will be found.
    positions: BTreeMap<Log, Option<Offset>>,
    begun: Duration,
    records: BTreeMap<Log, Vec<(Offset, Value)>>,
}

impl Polls {
    pub fn new(recorder: &Arc<Recorder>, process: Process, committed: bool) -> Polls {
        let (positions, records) = (BTreeMap::new(), BTreeMap::new());
        let recorder = Arc::clone(recorder);
        let begun = Duration::ZERO;
        Polls { recorder, process, committed, positions, begun, records }
    }

    /// The logs that it is assigned, and how far it has come.
    pub fn positions(&self) -> &BTreeMap<Log, Option<Offset>> {
        &self.positions
    }

    /// A poll begins.
    pub fn open(&mut self) {
        self.begun = self.recorder.now();
    }

    /// It gave this.
    pub fn take(&mut self, message: &BorrowedMessage<'_>) {
        let offset = Offset(message.offset());
        let found = log_of(message.topic(), message.partition());
        let value = message.payload().and_then(|payload| payload.try_into().ok());
        match (found, value.map(u64::from_be_bytes)) {
            (Some(log), Some(value)) => {
                self.records.entry(log).or_default().push((offset, Value(value)));
            }
            _ => {
                let place = format!("{}-{}", message.topic(), message.partition());
                self.recorder.wrong(format!("{place} holds at {offset} what nobody sent"));
            }
        }
    }

    /// It has given all that it gives.
    pub fn close(&mut self) {
        let mut given = Vec::new();
        for (log, records) in std::mem::take(&mut self.records) {
            let Some((&(first, _), &(last, _))) = records.first().zip(records.last()) else {
                continue;
            };
            // What is given of other logs is the checker's to judge, too.
            let from = self.positions.get(&log).copied().flatten().unwrap_or(first);
            self.positions.insert(log, Some(last.plus(1)));
            given.push(Polled { log, from, records });
        }
        if !given.is_empty() {
            let (committed, outcome) = (self.committed, Outcome::Acknowledged(given));
            let action = Action::Poll { committed, outcome };
            self.recorder.add(self.process, self.begun, action);
        }
    }

    /// From now on it reads these; `subscribed`: because its group says so.
    pub fn assign(&mut self, positions: BTreeMap<Log, Option<Offset>>, subscribed: bool) {
        self.close();
        let logs: BTreeSet<Log> = positions.keys().copied().collect();
        let now = self.recorder.now();
        self.recorder.add(self.process, now, Action::Assign { logs, subscribed });
        for (&log, to) in positions.iter().filter(|_| !subscribed) {
            if let Some(to) = *to {
                self.recorder.add(self.process, now, Action::Seek { log, to });
            }
        }
        self.positions = positions;
        self.begun = now;
    }

    /// It goes on there.
    pub fn seek(&mut self, log: Log, to: Offset) {
        self.recorder.add(self.process, self.recorder.now(), Action::Seek { log, to });
        self.positions.insert(log, Some(to));
    }
}
