//! Writes down what clients do and see, as the checker reads it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla::types::Offset;
use parking_lot::Mutex;
use uuid::Uuid;

use crate::checker::history::{
    Action, FinalRead, History, Log, Operation, Outcome, Process, Send, Value,
};
use crate::trace::Trace;

/// Where an operation stands in the history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Place(usize);

/// The history of one run.
#[derive(Debug)]
pub struct Recorder {
    trace: Arc<Trace>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    history: History,
    /// When the last thing was written down.
    last: Duration,
    processes: BTreeMap<String, Process>,
    /// Topics by their ids: each incarnation has its own number.
    topics: BTreeMap<Uuid, u32>,
    answered: u64,
}

impl State {
    /// What comes later is later: within one step of the simulation by a nanosecond.
    fn now(&mut self, trace: &Trace) -> Duration {
        self.last = trace.now().max(self.last + Duration::from_nanos(1));
        self.last
    }
}

impl Recorder {
    /// An empty history.
    pub fn new(trace: &Arc<Trace>) -> Recorder {
        Recorder { trace: Arc::clone(trace), state: Mutex::default() }
    }

    /// The client of that name.
    pub fn process(&self, name: &str) -> Process {
        let mut state = self.state.lock();
        let next = Process(u32::try_from(state.processes.len()).unwrap_or(u32::MAX));
        *state.processes.entry(name.to_owned()).or_insert(next)
    }

    /// That partition of the topic with that id.
    pub fn log(&self, topic_id: Uuid, partition: i32) -> Log {
        let mut state = self.state.lock();
        let next = u32::try_from(state.topics.len()).unwrap_or(u32::MAX);
        let topic = *state.topics.entry(topic_id).or_insert(next);
        Log { topic, partition }
    }

    /// Somebody begins to do something. Its outcome is unknown until it is told.
    pub fn begin(&self, process: Process, action: Action) -> Place {
        let mut state = self.state.lock();
        let invoked = state.now(&self.trace);
        let completed = Duration::MAX;
        state.history.operations.push(Operation { process, invoked, completed, action });
        Place(state.history.operations.len() - 1)
    }

    /// It has ended: `outcome` writes down how.
    pub fn end(&self, place: Place, outcome: impl FnOnce(&mut Action)) {
        let mut state = self.state.lock();
        let now = state.now(&self.trace);
        let operation = &mut state.history.operations[place.0];
        operation.completed = now;
        outcome(&mut operation.action);
    }

    /// What became of a record.
    pub fn sent(&self, place: Place, outcome: Outcome<Option<Offset>>) {
        self.end(place, |action| {
            if let Action::Send(Send { outcome: unknown, .. }) = action {
                *unknown = outcome;
            }
        });
    }

    /// A request was answered, and something came of it.
    pub fn answered(&self) {
        self.state.lock().answered += 1;
    }

    /// How many requests were.
    pub fn operations(&self) -> u64 {
        self.state.lock().answered
    }

    /// The name of a client.
    pub fn name(&self, process: Process) -> String {
        let state = self.state.lock();
        let found = state.processes.iter().find(|(_, one)| **one == process);
        found.map(|(name, _)| name.clone()).unwrap_or_default()
    }

    /// The whole history, with what lies in the logs in the end. Polls that gave nothing are left out.
    pub fn history(&self, final_reads: BTreeMap<Log, FinalRead>) -> History {
        let mut history = std::mem::take(&mut self.state.lock().history);
        history.operations.retain(|operation| match &operation.action {
            Action::Poll { outcome, .. } => outcome.acknowledged().is_some(),
            _ => true,
        });
        history.final_reads = final_reads;
        history
    }
}

/// A record's value as it lies in a log.
pub fn written(value: Value) -> [u8; 8] {
    value.0.to_be_bytes()
}

/// Read from a log.
pub fn read(bytes: &[u8]) -> Option<Value> {
    Some(Value(u64::from_be_bytes(bytes.try_into().ok()?)))
}
