//! Operations of real clients, as they are invoked and answered.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use ottla::types::Offset;
use parking_lot::Mutex;

use crate::checker::history::{Action, Log, Operation, Process};

/// Notes what several clients do and see at once.
pub struct Recorder {
    started: Instant,
    notes: Mutex<Notes>,
}

#[derive(Default)]
struct Notes {
    processes: u32,
    operations: Vec<Operation>,
    /// How far each consumer has come at most.
    reached: BTreeMap<(Process, Log), Offset>,
    acknowledged: usize,
    wrong: Vec<String>,
}

impl Recorder {
    pub fn new() -> Recorder {
        Recorder { started: Instant::now(), notes: Mutex::default() }
    }

    /// The next client.
    pub fn process(&self) -> Process {
        let mut notes = self.notes.lock();
        notes.processes += 1;
        Process(notes.processes)
    }

    /// How much time has passed.
    pub fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// An operation that is to be answered, if ever, by [`Recorder::end`] with its number.
    pub fn begin(&self, process: Process, action: Action) -> usize {
        let mut notes = self.notes.lock();
        let invoked = self.now();
        notes.operations.push(Operation { process, invoked, completed: Duration::MAX, action });
        notes.operations.len() - 1
    }

    /// What came of an operation.
    pub fn end(&self, operation: usize, answer: impl FnOnce(&mut Action)) {
        let mut notes = self.notes.lock();
        let operation = &mut notes.operations[operation];
        operation.completed = self.now();
        answer(&mut operation.action);
        if let Action::Send(send) = &operation.action {
            notes.acknowledged += usize::from(send.outcome.acknowledged().is_some());
        }
    }

    /// An operation that is answered already.
    pub fn add(&self, process: Process, invoked: Duration, action: Action) {
        let mut notes = self.notes.lock();
        if let Action::Poll { outcome, .. } = &action {
            for polled in outcome.acknowledged().into_iter().flatten() {
                let next = polled.records.last().map_or(polled.from, |(last, _)| last.plus(1));
                let reached = notes.reached.entry((process, polled.log)).or_insert(next);
                *reached = next.max(*reached);
            }
        }
        notes.operations.push(Operation { process, invoked, completed: self.now(), action });
    }

    /// Something that no history can say, and that must not be.
    pub fn wrong(&self, what: String) {
        self.notes.lock().wrong.push(what);
    }

    /// How many records have been acknowledged.
    pub fn acknowledged(&self) -> usize {
        self.notes.lock().acknowledged
    }

    /// How far one of these consumers has come at most.
    pub fn reached(&self, processes: &[Process], log: Log) -> Option<Offset> {
        let notes = self.notes.lock();
        processes.iter().filter_map(|process| notes.reached.get(&(*process, log))).max().copied()
    }

    /// All operations in the order of their invocation, and what was wrong. Nothing may be under way.
    pub fn finish(&self) -> (Vec<Operation>, Vec<String>) {
        let mut notes = std::mem::take(&mut *self.notes.lock());
        notes.operations.sort_by_key(|operation| operation.invoked);
        (notes.operations, notes.wrong)
    }
}
