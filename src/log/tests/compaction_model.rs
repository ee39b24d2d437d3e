//! Compaction against a model: two replicas take the same writes, with tombstones, idempotent
//! producers and transactions; they are compacted at different times, in steps, with little
//! memory; they are killed, and lose power. A reader of committed data must find the last value of
//! each key on both.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::compacting::{LIMITS, append, compacted, compacted_log};
use super::world::*;
use crate::log::{AppendOrigin, Cleaning, Log, LogDirectory, PassLimits, Step};
use crate::record::{BatchBuilder, EndTransactionMarker, batches};
use crate::types::{Clock, LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// One batch as it was written.
#[derive(Debug, Clone)]
struct Written {
    base: i64,
    next: i64,
    producer: Option<(i64, i32)>,
    kind: Kind,
    records: Vec<(String, Option<String>)>,
    /// Of its own.
    number: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Plain,
    Transactional,
    Marker { committed: bool },
}

type View = BTreeMap<String, String>;

#[derive(Default)]
struct Model {
    written: Vec<Written>,
}

impl Model {
    fn log_end(&self) -> i64 {
        self.written.last().map_or(0, |batch| batch.next)
    }

    fn truncate(&mut self, offset: i64) {
        self.written.retain(|batch| batch.next <= offset);
    }

    fn next_sequence(&self, producer: i64) -> i32 {
        let of = |batch: &&Written| {
            batch.producer.is_some_and(|(id, sequence)| id == producer && sequence >= 0)
        };
        self.written.iter().rev().find(of).map_or(0, |batch| {
            batch.producer.unwrap().1 + i32::try_from(batch.next - batch.base).unwrap()
        })
    }

    /// The number of the first batch of the transaction that a producer has open.
    fn open(&self, producer: i64) -> Option<u64> {
        let of = |batch: &&Written| {
            batch.producer.is_some_and(|(id, _)| id == producer) && batch.kind != Kind::Plain
        };
        let last = self.written.iter().rev().filter(of);
        last.take_while(|batch| batch.kind == Kind::Transactional).last().map(|first| first.number)
    }

    /// How the transaction of a batch ended.
    fn is_committed(&self, index: usize) -> bool {
        let batch = &self.written[index];
        let id = batch.producer.map(|(id, _)| id);
        match batch.kind {
            Kind::Plain => true,
            Kind::Marker { .. } => false,
            Kind::Transactional => self.written[index..]
                .iter()
                .filter(|later| later.producer.map(|(id, _)| id) == id)
                .find_map(|later| match later.kind {
                    Kind::Marker { committed } => Some(committed),
                    Kind::Plain | Kind::Transactional => None,
                })
                .unwrap_or(false),
        }
    }

    /// What a reader of committed data knows who has read all below `end`.
    fn view(&self, end: Offset) -> View {
        let mut view = View::new();
        for (index, batch) in self.written.iter().enumerate() {
            if batch.next > end.0 || !self.is_committed(index) {
                continue;
            }
            for (key, value) in &batch.records {
                fold(&mut view, key.clone(), value.clone());
            }
        }
        view
    }
}

fn fold(view: &mut View, key: String, value: Option<String>) {
    match value {
        Some(value) => view.insert(key, value),
        None => view.remove(&key),
    };
}

/// Reads as consumers of committed data do: each fetch with its aborted transactions.
fn read_committed(log: &Log, step: usize) -> (View, BTreeSet<i64>) {
    let (mut view, mut found) = (View::new(), BTreeSet::new());
    let mut next = log.log_start_offset();
    let end = log.last_stable_offset();
    while next < end {
        let slice = log.read(next, end, step, true).unwrap();
        if slice.records.is_empty() {
            break;
        }
        let mut aborted = log.aborted_transactions(next, slice.next_offset);
        aborted.sort_by_key(|aborted| aborted.first_offset);
        let mut aborted = aborted.into_iter().peekable();
        let mut skipped = BTreeSet::new();
        for batch in batches(&slice.records).map(Result::unwrap) {
            batch.verify_crc().unwrap();
            let header = &batch.header;
            let due =
                |entry: &crate::log::AbortedTransaction| entry.first_offset <= header.last_offset();
            while let Some(entry) = aborted.next_if(due) {
                skipped.insert(entry.producer_id);
            }
            let records = batch.records().unwrap();
            found.extend(records.iter().map(|record| record.offset.0));
            if header.is_control() {
                let marker = records.first().map(|r| EndTransactionMarker::of(r).unwrap().unwrap());
                if marker.is_some_and(|marker| !marker.committed) {
                    skipped.remove(&header.producer_id);
                }
                continue;
            }
            if header.is_transactional() && skipped.contains(&header.producer_id) {
                continue;
            }
            for record in records {
                let text = |bytes: bytes::Bytes| String::from_utf8(bytes.to_vec()).unwrap();
                fold(&mut view, text(record.key.unwrap()), record.value.map(text));
            }
        }
        next = slice.next_offset;
    }
    (view, found)
}

struct Replica {
    world: World,
    directory: Arc<LogDirectory>,
    log: Arc<Log>,
}

impl Replica {
    fn new() -> Replica {
        let world = World::new();
        let (directory, log) = compacted_log(&world);
        directory.checkpoint_blocking().unwrap();
        Replica { world, directory, log }
    }

    fn restart(&mut self, random: &mut StdRng) {
        let killed = random.random_range(0..2) == 0;
        self.world =
            if killed { self.world.kill() } else { self.world.crash(random.random_range(0..99)) };
        self.directory = self.world.open();
        self.log = self.directory.log(&orders()).unwrap();
        assert!(!self.log.recovery().lost_below_recovery_point);
        self.log.set_config(compacted());
    }

    /// A pass with little memory, in small steps, which may be dropped on the way.
    fn compact(&self, random: &mut StdRng) {
        let limits = PassLimits {
            map_bytes: 24 * random.random_range(2..40),
            read_bytes: random.random_range(100..3_000),
            ..LIMITS
        };
        let now = self.world.clock.wall();
        let Some(mut cleaning) = Cleaning::begin(&self.log, limits, now) else { return };
        let most_steps = if random.random_range(0..4) == 0 { 6 } else { 10_000 };
        for _ in 0..most_steps {
            match cleaning.step(random.random_range(1..2_000)) {
                Ok(Step::Done(_)) => break,
                Ok(Step::More(_)) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }
}

struct Run {
    random: StdRng,
    model: Model,
    leader: Replica,
    follower: Replica,
    counter: u64,
    /// What both had on their devices. A replica that restarts may know less of it.
    committed: Offset,
    /// How transactions end, by the numbers of their first batches.
    decided: BTreeMap<u64, bool>,
}

impl Run {
    fn step(&mut self) {
        match self.random.random_range(0..24) {
            0..=9 => self.append(),
            10..=11 => self.end_transaction(),
            12..=13 => self.replicate(),
            14 => self.leader.directory.checkpoint_blocking().unwrap(),
            15 => self.follower.directory.checkpoint_blocking().unwrap(),
            16..=17 => self.leader.compact(&mut self.random),
            18..=19 => self.follower.compact(&mut self.random),
            20 => {
                let step = Duration::from_secs(self.random.random_range(1..50));
                self.leader.world.clock.advance(step);
                self.follower.world.clock.advance(step);
            }
            21 if self.random.random_range(0..3) == 0 => self.restart_leader(),
            22 if self.random.random_range(0..3) == 0 => {
                self.follower.restart(&mut self.random);
            }
            _ => self.truncate(),
        }
    }

    fn append(&mut self) {
        let id = self.random.random_range(0..8);
        let transactional = id >= 5;
        let producer = (id >= 2).then(|| (id, self.model.next_sequence(id)));
        let mut builder = BatchBuilder::new(Offset::ZERO);
        if let Some((id, sequence)) = producer {
            builder = builder.producer(ProducerId(id), ProducerEpoch(0), sequence);
        }
        if transactional {
            builder = builder.transactional();
        }
        let mut records = Vec::new();
        for _ in 0..self.random.random_range(1..5) {
            self.counter += 1;
            let key = format!("key {}", self.random.random_range(0..12));
            let value = (self.random.random_range(0..5) > 0).then(|| format!("{}", self.counter));
            let now = self.leader.world.clock.wall();
            builder
                .push(now, Some(key.as_bytes()), value.as_deref().map(str::as_bytes), &[])
                .unwrap();
            records.push((key, value));
        }
        let origin = if transactional { AppendOrigin::Transaction } else { AppendOrigin::Client };
        let base = append(&self.leader.log, builder.build().unwrap(), origin).0;
        assert_eq!(base, self.model.log_end());
        let kind = if transactional { Kind::Transactional } else { Kind::Plain };
        let next = base + i64::try_from(records.len()).unwrap();
        let number = self.counter;
        self.model.written.push(Written { base, next, producer, kind, records, number });
    }

    fn end_transaction(&mut self) {
        let id = self.random.random_range(5..8);
        let Some(transaction) = self.model.open(id) else { return };
        // What a coordinator has decided it tells again, should the marker be cut off.
        let chance = self.random.random_range(0..2) == 0;
        let committed = *self.decided.entry(transaction).or_insert(chance);
        let marker = EndTransactionMarker { committed, coordinator_epoch: LeaderEpoch(0) };
        let now = self.leader.world.clock.wall();
        let batch = marker.batch(now, ProducerId(id), ProducerEpoch(0)).unwrap();
        let base = append(&self.leader.log, batch, AppendOrigin::Coordinator).0;
        let kind = Kind::Marker { committed };
        let producer = Some((id, -1));
        let (next, records) = (base + 1, Vec::new());
        self.model.written.push(Written { base, next, producer, kind, records, number: 0 });
    }

    /// The follower fetches to the end; what both have on their devices is committed.
    fn replicate(&mut self) {
        let (leader, follower) = (&self.leader.log, &self.follower.log);
        if follower.log_end_offset() > leader.log_end_offset() {
            follower.truncate_to_blocking(leader.log_end_offset()).unwrap();
        }
        while follower.log_end_offset() < leader.log_end_offset() {
            let from = follower.log_end_offset();
            let step = self.random.random_range(1..900);
            let slice = leader.read(from, leader.log_end_offset(), step, true).unwrap();
            follower.append_as_follower(slice.records, EPOCH).unwrap();
            assert!(follower.log_end_offset() > from, "fetching stands still at {from}");
        }
        leader.flush_blocking().unwrap();
        follower.flush_blocking().unwrap();
        self.committed = leader.log_end_offset();
        for log in [leader, follower] {
            log.set_high_watermark(self.committed);
        }
    }

    fn restart_leader(&mut self) {
        let committed = self.committed;
        self.leader.restart(&mut self.random);
        let end = self.leader.log.log_end_offset();
        assert!(end >= committed, "{committed} were committed, {end} are left");
        self.model.truncate(end.0);
        assert_eq!(self.model.log_end(), end.0, "compaction keeps the log's end");
        let follower = &self.follower.log;
        if follower.log_end_offset() > end {
            follower.truncate_to_blocking(end).unwrap();
        }
    }

    /// The last few batches go, as far as they are not committed.
    fn truncate(&mut self) {
        let kept = self.model.written.len().saturating_sub(self.random.random_range(1..4));
        let offset = self.model.written.get(kept).map_or(0, |batch| batch.base);
        if offset < self.committed.0 || self.model.written.is_empty() {
            return;
        }
        for log in [&self.leader.log, &self.follower.log] {
            if log.log_end_offset() > Offset(offset) {
                log.truncate_to_blocking(Offset(offset)).unwrap();
            }
        }
        self.model.truncate(offset);
    }

    fn check(&mut self) {
        for (name, replica) in [("leader", &self.leader), ("follower", &self.follower)] {
            let log = &replica.log;
            let stable = log.last_stable_offset();
            let (view, found) = read_committed(log, self.random.random_range(1..3_000));
            assert_eq!(view, self.model.view(stable), "{name} up to {stable}");
            let all: BTreeSet<i64> = offsets(&read_all(log, 700)).into_iter().collect();
            assert!(all.is_superset(&found));
            let active = log.active().base_offset().max(log.compacted_to()).0;
            let untouched: BTreeSet<i64> = (active..log.log_end_offset().0).collect();
            let fetched = replica.log.log_end_offset().0;
            if name == "leader" {
                assert!(all.is_superset(&untouched), "the active segment is not touched");
                assert_eq!(fetched, self.model.log_end());
            }
            assert!(log.compacted_to() <= log.log_end_offset());
        }
    }
}

#[test]
fn readers_find_the_last_value_of_each_key_whoever_compacted_when() {
    let wanted = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let seeds = match wanted("OTTLA_LOG_SEED") {
        Some(seed) => seed..=seed,
        None => 0..=wanted("OTTLA_LOG_SEEDS").unwrap_or(60),
    };
    for seed in seeds {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut run = Run {
                random: StdRng::seed_from_u64(seed),
                model: Model::default(),
                leader: Replica::new(),
                follower: Replica::new(),
                counter: 0,
                committed: Offset::ZERO,
                decided: BTreeMap::new(),
            };
            for _ in 0..220 {
                run.step();
                run.check();
            }
        }));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
