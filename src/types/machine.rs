//! The pattern of all replicated state: a pure machine that decides and folds, and a shell around
//! it that owns the log, the clock and the timers.

use crate::types::clock::{Monotonic, TimestampMs};

/// Both clocks as a shell read them before it asked a machine to decide.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For intervals.
    pub monotonic: Monotonic,
    /// For timestamps that go into records.
    pub wall: TimestampMs,
}

/// What a machine answers to one command. Nothing has happened yet: the shell appends the records,
/// and only once they are durable applies them, takes the notes, gives the replies and performs
/// the effects. If the append is refused nothing has changed.
#[derive(Debug)]
pub struct Decision<Record, Note, Reply, Effect> {
    /// Durable facts, in order.
    pub records: Vec<Record>,
    /// Soft facts that a failover loses by design.
    pub notes: Vec<Note>,
    /// Answers, by the request they answer.
    pub replies: Vec<Reply>,
    /// What the shell shall do: start a timer, close a connection, wake someone.
    pub effects: Vec<Effect>,
}

impl<Record, Note, Reply, Effect> Default for Decision<Record, Note, Reply, Effect> {
    fn default() -> Self {
        Self { records: Vec::new(), notes: Vec::new(), replies: Vec::new(), effects: Vec::new() }
    }
}

/// Replicated state. `decide` is pure and changes nothing; recovery is nothing but `apply`, so
/// replaying the records alone gives the same durable state on every node.
pub trait Machine {
    /// What is asked of the machine.
    type Command;
    /// A durable fact, never a command.
    type Record;
    /// A soft fact.
    type Note;
    /// An answer.
    type Reply;
    /// Something for the shell to do.
    type Effect;

    /// What would follow from `command` now.
    fn decide(
        &self,
        now: Now,
        command: Self::Command,
    ) -> Decision<Self::Record, Self::Note, Self::Reply, Self::Effect>;

    /// Folds a durable fact in.
    fn apply(&mut self, record: &Self::Record);

    /// Takes a soft fact in.
    fn note(&mut self, note: Self::Note);
}
