//! What a check found.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::history::{History, Process};

/// Found are kept with their words up to this many of each kind; the rest is counted.
const KEPT_OF_EACH: usize = 20;

/// So many of the operations that failures are about are shown.
const EXPLAINED: usize = 20;

/// What can be wrong with a history.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Anomaly {
    /// Acknowledged by all in-sync replicas, or read by a consumer, and not there in the end.
    LostWrite,
    /// Two values at one offset.
    InconsistentOffsets,
    /// One value at two offsets.
    Duplicate,
    /// A value that nobody sent to that log, or that was read before it was sent.
    Phantom,
    /// Acknowledged at an offset that is not behind one acknowledged before.
    NonmonotonicSend,
    /// The same within one transaction.
    IntNonmonotonicSend,
    /// Others' records between those of one transaction.
    IntSendSkip,
    /// A consumer was given records that it had been given before, or earlier ones.
    NonmonotonicPoll,
    /// The same within one poll.
    IntNonmonotonicPoll,
    /// A consumer was not given a record that is there.
    PollSkip,
    /// The same within one poll.
    IntPollSkip,
    /// Read although its transaction was aborted or its send failed (G1a).
    AbortedRead,
    /// Read as committed before its transaction asked for that.
    PrecommittedRead,
    /// A transaction of which one record is there and another is not.
    TornTransaction,
    /// No order of creations and deletions explains what was answered of a topic.
    TopicNotLinearizable,
}

/// Why an anomaly is none of the cluster's faults.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Allowed {
    /// Not all in-sync replicas had acknowledged it.
    Acks,
    /// Nothing tells a retry from another record.
    NotIdempotent,
    /// The log was allowed to lose what was acknowledged.
    MayLose,
    /// A group rebalanced in between.
    Rebalanced,
    /// Kafka promises nothing of the kind.
    NotPromised,
}

/// One thing that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    pub anomaly: Anomaly,
    /// None: a failure.
    pub allowed: Option<Allowed>,
    /// Places among the history's operations.
    pub operations: Vec<usize>,
    pub what: String,
}

/// Everything that was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// The first of each kind, in words.
    pub found: Vec<Found>,
    /// How many there are of each kind.
    pub counts: BTreeMap<(Anomaly, Option<Allowed>), usize>,
    /// Acknowledged values that nobody ever read.
    pub unseen: usize,
}

impl Report {
    /// Adds one; the words are made only if they are kept.
    pub(super) fn add(
        &mut self,
        anomaly: Anomaly,
        allowed: Option<Allowed>,
        operations: &[usize],
        what: impl FnOnce() -> String,
    ) {
        let count = self.counts.entry((anomaly, allowed)).or_default();
        *count += 1;
        if *count <= KEPT_OF_EACH {
            let operations = operations.to_vec();
            self.found.push(Found { anomaly, allowed, operations, what: what() });
        }
    }

    /// The kinds of failures.
    pub fn failures(&self) -> Vec<Anomaly> {
        self.kinds(|allowed| allowed.is_none())
    }

    /// The kinds of what is allowed.
    pub fn allowed(&self) -> Vec<Anomaly> {
        self.kinds(|allowed| allowed.is_some())
    }

    fn kinds(&self, wanted: impl Fn(Option<Allowed>) -> bool) -> Vec<Anomaly> {
        let wanted = self.counts.keys().filter(|(_, allowed)| wanted(*allowed));
        let mut kinds: Vec<_> = wanted.map(|(anomaly, _)| *anomaly).collect();
        kinds.dedup();
        kinds
    }
}

impl Report {
    /// The failures with the operations that they are about.
    pub fn explain(&self, history: &History, name: impl Fn(Process) -> String) -> String {
        let mut text = self.to_string();
        let failures = self.found.iter().filter(|found| found.allowed.is_none());
        let places: BTreeSet<usize> =
            failures.flat_map(|found| found.operations.iter().copied()).take(EXPLAINED).collect();
        for place in places {
            let operation = &history.operations[place];
            let (from, to) = (operation.invoked.as_secs_f64(), operation.completed.as_secs_f64());
            let (process, action) = (name(operation.process), &operation.action);
            text += &format!("[{place}] {from:.6}..{to:.6} by {process}: {action:?}\n");
        }
        text
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((anomaly, allowed), count) in &self.counts {
            match allowed {
                None => writeln!(f, "{anomaly:?}: {count}")?,
                Some(why) => writeln!(f, "{anomaly:?}: {count}, allowed ({why:?})")?,
            }
            let of_kind =
                self.found.iter().filter(|one| (one.anomaly, one.allowed) == (*anomaly, *allowed));
            for found in of_kind {
                writeln!(f, "  {} (operations {:?})", found.what, found.operations)?;
            }
        }
        writeln!(f, "acknowledged and never read: {}", self.unseen)
    }
}
