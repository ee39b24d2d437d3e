//! Drives a group machine as its shell does, with a log that is never refused and clocks that stand
//! still until they are moved.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod admin;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use crate::coordinator::group::GroupConfig;
use crate::coordinator::group::command::{Answer, Asked, Client, Command, Effect};
use crate::coordinator::group::machine::GroupMachine;
use crate::coordinator::group::rebalance::Rebalance;
use crate::coordinator::group::record::GroupRecord;
use crate::coordinator::shard::RequestId;
use crate::types::TimestampMs;
use crate::types::clock::Monotonic;
use crate::types::machine::{Machine, Now};

/// A machine with what a shell has around it.
pub(in crate::coordinator::group) struct Bench {
    /// The machine.
    pub machine: GroupMachine,
    /// Both clocks.
    pub now: Now,
    /// All records so far, in order.
    pub log: Vec<GroupRecord>,
    /// All effects so far, in order.
    pub effects: Vec<Effect>,
    /// Requests that have not been answered.
    pub parked: BTreeSet<RequestId>,
    answers: BTreeMap<RequestId, Answer>,
    asked: u64,
}

impl Bench {
    /// A machine that has loaded an empty log, with Kafka's default settings.
    pub fn new() -> Self {
        Self::with(GroupConfig::default())
    }

    /// A machine that has loaded an empty log.
    pub fn with(config: GroupConfig) -> Self {
        Self::replaying(config, &[])
    }

    /// A machine that has loaded `log`.
    pub fn replaying(config: GroupConfig, log: &[GroupRecord]) -> Self {
        let mut machine = GroupMachine::new(Arc::new(config));
        for record in log {
            machine.apply(record);
        }
        let now = Now {
            monotonic: Monotonic(Duration::from_secs(1000)),
            wall: TimestampMs(1_700_000_000_000),
        };
        let mut bench = Self {
            machine,
            now,
            log: log.to_vec(),
            effects: Vec::new(),
            parked: BTreeSet::new(),
            answers: BTreeMap::new(),
            asked: 0,
        };
        bench.run(Command::Loaded);
        bench
    }

    /// What a machine would know that reads the log now, all deadlines as they come out of that.
    pub fn replayed(&self) -> GroupMachine {
        let mut machine = GroupMachine::new(self.machine.config.clone());
        for record in &self.log {
            machine.apply(record);
        }
        machine
    }

    /// The coordinator moves: what was not in the log is gone, with all who waited.
    pub fn fail_over(&mut self) {
        self.machine = self.replayed();
        self.parked.clear();
        self.run(Command::Loaded);
    }

    /// Decides a command and does what follows.
    pub fn run(&mut self, command: Command) {
        let decision = self.machine.decide(self.now, command);
        for record in &decision.records {
            self.machine.apply(record);
        }
        for note in decision.notes {
            self.machine.note(note);
        }
        for (request, answer) in decision.replies {
            assert!(self.parked.remove(&request), "{request:?} was answered twice: {answer:?}");
            self.answers.insert(request, answer);
        }
        self.log.extend(decision.records);
        self.effects.extend(decision.effects);
    }

    /// Asks as `client` in `version`; the member id that may be made ends in the request's number.
    pub fn ask<R>(
        &mut self,
        client: &str,
        version: i16,
        body: R,
        command: impl FnOnce(Asked<R>) -> Command,
    ) -> RequestId {
        self.asked += 1;
        let request = RequestId(self.asked);
        self.parked.insert(request);
        self.run(command(Asked {
            request,
            client: Client { id: Arc::from(client), host: Arc::from("/127.0.0.1") },
            version,
            fresh: Uuid::from_u128(u128::from(self.asked)),
            body,
        }));
        request
    }

    /// The answer to a request, once.
    pub fn answer(&mut self, request: RequestId) -> Option<Answer> {
        self.answers.remove(&request)
    }

    /// Time passes, with a tick whenever one is due.
    pub fn pass(&mut self, time: Duration) {
        let end = self.now.monotonic.plus(time);
        let mut ticks = 0;
        while let Some(due) = self.machine.next_deadline().filter(|due| *due <= end) {
            self.move_to(due.max(self.now.monotonic));
            self.run(Command::Tick);
            ticks += 1;
            assert!(ticks < 1_000_000, "ticks do not help: still due at {due:?}");
        }
        self.move_to(end);
    }

    fn move_to(&mut self, monotonic: Monotonic) {
        let step = monotonic.since(self.now.monotonic);
        self.now.monotonic = monotonic;
        self.now.wall.0 += i64::try_from(step.as_millis()).unwrap();
    }

    /// All rebalances so far.
    pub fn rebalances(&self) -> Vec<Rebalance> {
        let Self { effects, .. } = self;
        effects.iter().map(|Effect::Rebalanced(rebalance)| rebalance.clone()).collect()
    }
}
