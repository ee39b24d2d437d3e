//! Histories of a correct cluster, drawn from a seed: none of them fails. Changed in one place that
//! matters, each fails as it should.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ottla::types::{Offset, ProducerId};
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use crate::checker::check;
use crate::checker::history::{
    Acks, Action, FinalRead, History, Log, Operation, Outcome, Polled, Process, Send, TopicAnswer,
    TransactionId, Value,
};
use crate::checker::report::Anomaly;

const LOGS: i32 = 3;
const PRODUCERS: u32 = 3;
const CONSUMERS: u32 = 3;
const TOPICS: [&str; 2] = ["orders", "payments"];

/// A cluster that does everything right, and writes down what its clients see. What a client asks
/// for happens at one moment between its invocation and its answer, which overlap with others'.
struct Model {
    random: StdRng,
    now_us: u64,
    history: History,
    logs: BTreeMap<Log, Vec<Option<Value>>>,
    /// Values by open transaction, with its number of each producer.
    open: BTreeMap<Process, TransactionId>,
    aborted: BTreeSet<Value>,
    uncommitted: BTreeMap<TransactionId, Vec<Value>>,
    /// When each process is free again.
    free: BTreeMap<Process, u64>,
    positions: BTreeMap<(Process, Log), Offset>,
    topics: BTreeSet<String>,
    next: u64,
}

impl Model {
    fn run(seed: u64, operations: usize) -> History {
        let logs = (0..LOGS).map(|partition| (Log { topic: 0, partition }, Vec::new())).collect();
        let mut model = Model {
            random: StdRng::seed_from_u64(seed),
            now_us: 0,
            history: History::default(),
            logs,
            open: BTreeMap::new(),
            aborted: BTreeSet::new(),
            uncommitted: BTreeMap::new(),
            free: BTreeMap::new(),
            positions: BTreeMap::new(),
            topics: BTreeSet::new(),
            next: 0,
        };
        for _ in 0..operations {
            match model.random.random_range(0..100) {
                0..50 => model.send(),
                50..54 => model.end_transaction(),
                54..94 => model.poll(),
                94..96 => model.seek(),
                96..98 => model.change_topic(),
                _ => model.list_topics(),
            }
        }
        model.finish()
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.random_range(0..bound)
    }

    fn process(&mut self, group: u32, count: u32) -> Process {
        Process(group * 100 + self.random.random_range(0..count))
    }

    fn log(&mut self) -> Log {
        Log { topic: 0, partition: self.random.random_range(0..LOGS) }
    }

    /// Notes an operation that took effect now: it was invoked before, after its process's last one
    /// was answered, and is answered later.
    fn note(&mut self, process: Process, action: Action) {
        self.now_us += 1 + self.below(50);
        let free = self.free.get(&process).copied().unwrap_or(0);
        let invoked = self.now_us.saturating_sub(self.random.random_range(0..200)).max(free);
        let completed = self.now_us + self.below(200);
        // The process is busy until then: what it does next takes effect later.
        self.now_us = self.now_us.max(invoked);
        self.free.insert(process, completed);
        let at = Duration::from_micros;
        let operation =
            Operation { process, invoked: at(invoked), completed: at(completed), action };
        self.history.operations.push(operation);
    }

    /// Lets time pass until the process is free, so that its effects come in order.
    fn wait_for(&mut self, process: Process) {
        self.now_us = self.now_us.max(self.free.get(&process).copied().unwrap_or(0));
    }

    fn send(&mut self) {
        let process = self.process(1, PRODUCERS);
        self.wait_for(process);
        let log = self.log();
        self.next += 1;
        let value = Value(u64::from(process.0) << 32 | self.next);
        let idempotent = process.0.is_multiple_of(2);
        if idempotent && !self.open.contains_key(&process) && self.below(10) == 0 {
            self.open.insert(process, TransactionId(self.next));
        }
        let transaction = self.open.get(&process).copied();
        let acks = match self.below(5) {
            _ if transaction.is_some() => Acks::All,
            0 => Acks::One,
            1 => Acks::Zero,
            _ => Acks::All,
        };
        let fate = self.below(20);
        let outcome = match fate {
            0 => Outcome::Failed,
            1 => Outcome::Unknown,
            _ => {
                let offset = self.logs[&log].len() as i64;
                Outcome::Acknowledged((acks != Acks::Zero).then_some(Offset(offset)))
            }
        };
        if fate > 1 || (fate == 1 && self.below(2) == 0) {
            self.logs.entry(log).or_default().push(Some(value));
            if let Some(id) = transaction {
                self.uncommitted.entry(id).or_default().push(value);
            }
        }
        let producer = idempotent.then_some(ProducerId(i64::from(process.0)));
        let send =
            Send { log, value, key: None, tombstone: false, acks, producer, transaction, outcome };
        self.note(process, Action::Send(send));
    }

    fn end_transaction(&mut self) {
        let process = self.process(1, PRODUCERS);
        self.wait_for(process);
        let Some(transaction) = self.open.remove(&process) else { return };
        let commit = self.below(3) > 0;
        let outcome = match self.below(5) {
            0 => Outcome::Unknown,
            _ => Outcome::Acknowledged(()),
        };
        let values = self.uncommitted.remove(&transaction).unwrap_or_default();
        if !commit || (outcome == Outcome::Unknown && self.below(2) == 0) {
            self.aborted.extend(values);
        }
        // The end of a transaction takes an offset of each log.
        self.logs.values_mut().for_each(|log| log.push(None));
        self.note(process, Action::EndTransaction { transaction, commit, outcome });
    }

    /// Committed records of a log up to the first of an open transaction.
    fn visible(&self, log: Log) -> Vec<(Offset, Value)> {
        let open = |value: &Value| self.uncommitted.values().flatten().any(|open| open == value);
        let records = self.logs[&log].iter().enumerate();
        let records = records.filter_map(|(place, value)| Some((Offset(place as i64), (*value)?)));
        let stable = records.take_while(|(_, value)| !open(value));
        stable.filter(|(_, value)| !self.aborted.contains(value)).collect()
    }

    fn poll(&mut self) {
        let process = self.process(2, CONSUMERS);
        self.wait_for(process);
        let mut all = Vec::new();
        let (first, count) = (self.below(3) as i32, 1 + self.below(2) as i32);
        for partition in (first..LOGS).take(count as usize) {
            let log = Log { topic: 0, partition };
            let from = self.positions.get(&(process, log)).copied().unwrap_or(Offset::ZERO);
            let mut records = self.visible(log);
            records.retain(|(offset, _)| *offset >= from);
            records.truncate(1 + self.random.random_range(0..8));
            let next = records.last().map_or(from, |(offset, _)| offset.plus(1));
            self.positions.insert((process, log), next);
            all.push(Polled { log, from, records });
        }
        self.note(process, Action::Poll { committed: true, outcome: Outcome::Acknowledged(all) });
    }

    fn seek(&mut self) {
        let process = self.process(2, CONSUMERS);
        self.wait_for(process);
        let log = self.log();
        let to = Offset(self.random.random_range(0..=self.logs[&log].len() as i64));
        self.positions.insert((process, log), to);
        self.note(process, Action::Seek { log, to });
    }

    fn change_topic(&mut self) {
        let process = self.process(3, 3);
        self.wait_for(process);
        let name = TOPICS[self.below(2) as usize].to_owned();
        let create = self.below(2) == 0;
        let there = self.topics.contains(&name);
        let unknown = self.below(6);
        let outcome = match unknown {
            0 | 1 => Outcome::Unknown,
            _ if create == there => Outcome::Acknowledged(TopicAnswer::NothingToDo),
            _ => Outcome::Acknowledged(TopicAnswer::Done),
        };
        if unknown != 0 && create {
            self.topics.insert(name.clone());
        } else if unknown != 0 {
            self.topics.remove(&name);
        }
        self.note(
            process,
            match create {
                true => Action::CreateTopic { name, outcome },
                false => Action::DeleteTopic { name, outcome },
            },
        );
    }

    fn list_topics(&mut self) {
        let process = self.process(3, 3);
        self.wait_for(process);
        let outcome = Outcome::Acknowledged(self.topics.clone());
        self.note(process, Action::ListTopics { current: true, outcome });
    }

    fn finish(mut self) -> History {
        let open: Vec<Value> =
            std::mem::take(&mut self.uncommitted).into_values().flatten().collect();
        self.aborted.extend(open);
        for log in self.logs.keys().copied().collect::<Vec<_>>() {
            let read = FinalRead { start: Offset::ZERO, records: self.visible(log) };
            self.history.final_reads.insert(log, read);
        }
        self.history.operations.sort_by_key(|operation| operation.invoked);
        self.history
    }
}

/// One change to a history, and what must be found then. None where nothing in it can be changed so.
type Mutation = fn(&mut History, &mut StdRng) -> Option<Anomaly>;

const MUTATIONS: &[(&str, Mutation)] = &[
    ("a promised record is not there in the end", |history, random| {
        let (log, offset) = pick(random, promised(history))?;
        let read = history.final_reads.get_mut(&log)?;
        read.records.retain(|(at, _)| *at != offset);
        for operation in &mut history.operations {
            forget(operation, log, offset);
        }
        Some(Anomaly::LostWrite)
    }),
    ("two records have changed places in the end", |history, random| {
        let (log, offset) = pick(random, promised(history))?;
        let records = &mut history.final_reads.get_mut(&log)?.records;
        let place = records.iter().position(|(at, _)| *at == offset)?;
        let other = records.len().checked_sub(1).filter(|last| *last > place)?;
        let value = records[place].1;
        records[place].1 = records[other].1;
        records[other].1 = value;
        Some(Anomaly::InconsistentOffsets)
    }),
    ("an idempotent record lies once more at the end", |history, random| {
        let idempotent = history
            .sends()
            .filter(|(_, _, send)| send.producer.is_some() && there(history, send.log, send.value));
        let (log, value) = pick(random, idempotent.map(|(_, _, s)| (s.log, s.value)).collect())?;
        let records = &mut history.final_reads.get_mut(&log)?.records;
        let end = records.last()?.0.plus(7);
        records.push((end, value));
        Some(Anomaly::Duplicate)
    }),
    ("a poll leaves a record out", |history, random| {
        let polled = pick_polled(history, random, |polled| polled.records.len() > 2)?;
        let place = random.random_range(1..polled.records.len() - 1);
        polled.records.remove(place);
        Some(Anomaly::IntPollSkip)
    }),
    ("a poll begins too late", |history, random| {
        let polled = pick_polled(history, random, |polled| polled.records.len() > 1)?;
        polled.records.remove(0);
        Some(Anomaly::PollSkip)
    }),
    ("a poll begins too early", |history, random| {
        let polled = pick_polled(history, random, |p| !p.records.is_empty() && p.from.0 > 0)?;
        let (_, value) = polled.records[0];
        polled.records.insert(0, (polled.from.plus(-1), value));
        Some(Anomaly::NonmonotonicPoll)
    }),
    ("a poll has two records in the wrong order", |history, random| {
        let polled = pick_polled(history, random, |polled| polled.records.len() > 1)?;
        let place = random.random_range(1..polled.records.len());
        polled.records.swap(place - 1, place);
        Some(Anomaly::IntNonmonotonicPoll)
    }),
    ("a record that nobody sent", |history, random| {
        let polled = pick_polled(history, random, |polled| !polled.records.is_empty())?;
        polled.records.last_mut()?.1 = Value(u64::MAX);
        Some(Anomaly::Phantom)
    }),
    ("a failed record is there in the end", |history, random| {
        let failed = history.sends().filter(|(_, _, send)| send.outcome == Outcome::Failed);
        let (log, value) = pick(random, failed.map(|(_, _, s)| (s.log, s.value)).collect())?;
        let records = &mut history.final_reads.get_mut(&log)?.records;
        let end = records.last().map_or(Offset::ZERO, |last| last.0.plus(7));
        records.push((end, value));
        Some(Anomaly::AbortedRead)
    }),
    ("a later record was acknowledged before an earlier one", |history, random| {
        let sends = history.sends().filter(|(_, _, s)| promise(s) && s.producer.is_none());
        let last: BTreeMap<Log, usize> = sends.map(|(place, _, s)| (s.log, place)).collect();
        let place = pick(random, last.into_values().filter(|place| *place > 100).collect())?;
        let Action::Send(send) = &mut history.operations[place].action else { return None };
        send.outcome = Outcome::Acknowledged(Some(Offset::ZERO));
        Some(Anomaly::NonmonotonicSend)
    }),
    ("a topic is listed that was not there, or the reverse", |history, random| {
        // Alone, so that nothing else explains it: right after itself.
        let lists = history
            .operations
            .iter()
            .enumerate()
            .filter(|(_, operation)| matches!(operation.action, Action::ListTopics { .. }));
        let place = pick(random, lists.map(|(place, _)| place).collect())?;
        let mut list = history.operations[place].clone();
        let Action::ListTopics { outcome: Outcome::Acknowledged(names), .. } = &mut list.action
        else {
            return None;
        };
        names.insert("never-made".to_owned());
        history.operations.insert(place + 1, list);
        Some(Anomaly::TopicNotLinearizable)
    }),
];

fn promise(send: &Send) -> bool {
    let acknowledged = matches!(send.outcome, Outcome::Acknowledged(Some(_)));
    acknowledged && send.acks == Acks::All && send.transaction.is_none()
}

/// Where records are that certainly must be there in the end.
fn promised(history: &History) -> Vec<(Log, Offset)> {
    let sends = history.sends().filter(|(_, _, send)| promise(send));
    sends.filter_map(|(_, _, s)| Some((s.log, (*s.outcome.acknowledged()?)?))).collect()
}

fn there(history: &History, log: Log, value: Value) -> bool {
    history.final_reads[&log].records.iter().any(|(_, found)| *found == value)
}

fn pick<T: Copy>(random: &mut StdRng, all: Vec<T>) -> Option<T> {
    (!all.is_empty()).then(|| all[random.random_range(0..all.len())])
}

/// One of the polls' parts that are `good`.
fn pick_polled<'h>(
    history: &'h mut History,
    random: &mut StdRng,
    good: fn(&Polled) -> bool,
) -> Option<&'h mut Polled> {
    let mut all: Vec<&mut Polled> = Vec::new();
    for operation in &mut history.operations {
        if let Action::Poll { outcome: Outcome::Acknowledged(found), .. } = &mut operation.action {
            all.extend(found.iter_mut().filter(|polled| good(polled)));
        }
    }
    let count = all.len();
    (count > 0).then(|| all.swap_remove(random.random_range(0..count)))
}

/// Takes a record out of a poll.
fn forget(operation: &mut Operation, of_log: Log, offset: Offset) {
    if let Action::Poll { outcome: Outcome::Acknowledged(found), .. } = &mut operation.action {
        let of_log = found.iter_mut().filter(|polled| polled.log == of_log);
        of_log.for_each(|polled| polled.records.retain(|(at, _)| *at != offset));
    }
}

#[test]
fn a_correct_cluster_never_fails() {
    for seed in 0..300 {
        let report = check(&Model::run(seed, 300));
        assert_eq!(report.failures(), [], "seed {seed}:\n{report}");
    }
}

#[test]
fn one_change_is_found() {
    let mut applied: BTreeMap<&str, usize> = BTreeMap::new();
    for seed in 0..400 {
        let mut history = Model::run(seed, 300);
        let mut random = StdRng::seed_from_u64(seed);
        let (name, mutate) = MUTATIONS[seed as usize % MUTATIONS.len()];
        if let Some(anomaly) = mutate(&mut history, &mut random) {
            let report = check(&history);
            let found = report.failures().contains(&anomaly);
            assert!(found, "seed {seed}: {name}, and no {anomaly:?}:\n{report}");
            *applied.entry(name).or_default() += 1;
        }
    }
    for (name, _) in MUTATIONS {
        assert!(applied.get(name).is_some_and(|times| *times > 20), "{name}: {applied:?}");
    }
}

/// A simulation checks thousands of histories: this one would take minutes if any check compared
/// each operation with each.
#[test]
fn a_long_history_is_checked_soon() {
    let mut history = History::default();
    let log = Log { topic: 0, partition: 0 };
    for number in 0..100_000_u64 {
        let offset = Offset(number as i64);
        let send = Send {
            log,
            value: Value(number),
            key: None,
            tombstone: false,
            acks: Acks::All,
            producer: Some(ProducerId(1)),
            transaction: None,
            outcome: Outcome::Acknowledged(Some(offset)),
        };
        let polled = Polled { log, from: offset, records: vec![(offset, Value(number))] };
        let outcome = Outcome::Acknowledged(vec![polled]);
        let at = |micros| Duration::from_micros(number * 10 + micros);
        for (process, action) in
            [(1, Action::Send(send)), (2, Action::Poll { committed: true, outcome })]
        {
            let (invoked, completed) = (at(u64::from(process)), at(u64::from(process) + 3));
            let process = Process(process);
            history.operations.push(Operation { process, invoked, completed, action });
        }
    }
    let started = Instant::now();
    let report = check(&history);
    assert_eq!((report.failures(), report.unseen), (vec![], 0));
    assert!(started.elapsed() < Duration::from_secs(60), "took {:?}", started.elapsed());
    println!("200,000 operations in {:?}", started.elapsed());
}
