//! A log against a model of it, under random calls, failures, crashes and kills.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::world::*;
use crate::log::{AppendOrigin, Log, LogConfig, LogDirectory};
use crate::record::{BatchBuilder, batches};
use crate::storage::Operation;
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

/// One batch as the log must give it back.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    base: i64,
    next: i64,
    epoch: i32,
    value: u64,
    producer: Option<(i64, i32)>,
}

/// What the log must look like.
#[derive(Debug, Clone, Default)]
struct Model {
    entries: Vec<Entry>,
    log_start: i64,
    epoch: i32,
    /// An epoch that was assigned durably, and where.
    assigned: Option<(i32, i64)>,
}

impl Model {
    fn log_end(&self) -> i64 {
        self.entries.last().map_or(self.log_start, |entry| entry.next.max(self.log_start))
    }

    fn next_sequence(&self, producer: i64) -> i32 {
        let of_producer = |entry: &&Entry| entry.producer.is_some_and(|(id, _)| id == producer);
        self.entries.iter().rev().find(of_producer).map_or(0, |entry| {
            entry.producer.unwrap().1 + i32::try_from(entry.next - entry.base).unwrap()
        })
    }

    fn truncate(&mut self, offset: i64) {
        self.entries.retain(|entry| entry.next <= offset);
        let end = self.log_end();
        self.assigned = self.assigned.filter(|&(_, start)| start < end);
    }
}

struct Run {
    random: StdRng,
    world: World,
    directory: Arc<LogDirectory>,
    log: Arc<Log>,
    model: Model,
    /// What the model was before a call that failed.
    before: Option<Model>,
    counter: u64,
}

impl Run {
    fn new(seed: u64) -> Run {
        let world = World::new();
        let (directory, log) = one_log(&world);
        log.set_config(LogConfig { segment_bytes: 1_500, ..LogConfig::default() });
        directory.checkpoint_blocking().unwrap();
        let random = StdRng::seed_from_u64(seed);
        Run { random, world, directory, log, model: Model::default(), before: None, counter: 0 }
    }

    fn chance(&mut self, one_in: u32) -> bool {
        self.random.random_range(0..one_in) == 0
    }

    fn step(&mut self) {
        let armed = self.chance(12);
        if armed {
            let nth = self.random.random_range(1..12);
            match self.random.random_range(0..4) {
                0 => self.world.catalog.fail_flush(1),
                1 => self.world.catalog.fail_apply(1),
                2 => self.world.disk.fail(Operation::Sync, self.random.random_range(1..4)),
                _ => self.world.disk.fail(Operation::Any, nth),
            }
        }
        let before = self.model.clone();
        let floor = self.log.flushed_offset().0;
        let which = self.random.random_range(0..20);
        let (done, lowered_to) = self.call(which);
        self.trace(which, armed, done);
        if !done {
            assert!(armed, "a call failed although nothing was made to fail");
            self.before = Some(before);
            self.restart(floor.min(lowered_to.unwrap_or(i64::MAX)));
        } else if armed || self.chance(15) {
            let floor = self.log.flushed_offset().0;
            self.restart(floor);
        }
    }

    fn trace(&self, which: u32, armed: bool, done: bool) {
        if std::env::var_os("OTTLA_LOG_TRACE").is_some() {
            let log = &self.log;
            println!(
                "call {which} armed {armed} done {done} start {} end {} hw {} rp {} epochs {:?} assigned {:?}",
                log.log_start_offset(),
                log.log_end_offset(),
                log.high_watermark(),
                log.recovery_point(),
                log.epochs().iter().map(|e| (e.epoch.0, e.start_offset.0)).collect::<Vec<_>>(),
                self.model.assigned,
            );
        }
    }

    /// One random call. Whether it succeeded, and to where it may have lowered the log's end.
    fn call(&mut self, which: u32) -> (bool, Option<i64>) {
        match which {
            0..=6 => (self.append(), None),
            7..=8 => (self.append_as_follower(), None),
            9 => {
                self.model.epoch += 1;
                let epoch = self.model.epoch;
                let done = self.log.assign_epoch_blocking(LeaderEpoch(epoch)).is_ok();
                if done {
                    self.model.assigned = Some((epoch, self.model.log_end()));
                }
                (done, None)
            }
            10..=11 => {
                let (low, high) = (self.model.log_start, self.model.log_end());
                let target = self.random.random_range(low.max(high - 30)..=high);
                let done = self.log.truncate_to_blocking(Offset(target)).is_ok();
                self.model.truncate(target);
                (done, Some(self.model.log_end()))
            }
            12 => {
                let (low, high) = (self.model.log_start, self.model.log_end());
                let target = self.random.random_range(low..=high);
                self.model.log_start = target;
                self.model.assigned = self.model.assigned.map(|(e, at)| (e, at.max(target)));
                (self.log.advance_log_start_blocking(Offset(target)).is_ok(), None)
            }
            13..=14 => (self.directory.checkpoint_blocking().is_ok(), None),
            15 => (self.log.flush_blocking().is_ok(), None),
            16 => {
                let end = self.model.log_end();
                let low = self.model.log_start;
                self.log.set_high_watermark(Offset(self.random.random_range(low..=end)));
                (true, None)
            }
            17 if self.chance(6) => {
                let target = self.model.log_end() + self.random.random_range(0..5);
                self.model.entries.clear();
                self.model.log_start = target;
                self.model.assigned = None;
                let log = Arc::clone(&self.log);
                let done = log.truncate_fully_and_start_at_blocking(Offset(target)).is_ok();
                (done, Some(i64::MIN))
            }
            _ => (self.read(), None),
        }
    }

    fn builder(
        &mut self,
        count: usize,
        base: i64,
        epoch: i32,
        producer: Option<(i64, i32)>,
    ) -> BatchBuilder {
        self.counter += 1;
        let mut builder = BatchBuilder::new(Offset(base)).leader_epoch(LeaderEpoch(epoch));
        if let Some((id, sequence)) = producer {
            builder = builder.producer(ProducerId(id), ProducerEpoch(0), sequence);
        }
        for _ in 0..count {
            let padding = "p".repeat(self.random.random_range(0..60));
            let value = format!("{}:{padding}", self.counter);
            builder.push(START, None, Some(value.as_bytes()), &[]).unwrap();
        }
        builder
    }

    fn producer(&mut self) -> Option<(i64, i32)> {
        let id = self.random.random_range(0..6);
        // A producer whose records were all cut away by a new start is new here again.
        (id < 3).then(|| (id, self.model.next_sequence(id)))
    }

    fn remember(&mut self, count: usize, epoch: i32, producer: Option<(i64, i32)>) {
        let base = self.model.log_end();
        let next = base + i64::try_from(count).unwrap();
        let value = self.counter;
        self.model.entries.push(Entry { base, next, epoch, value, producer });
    }

    fn append(&mut self) -> bool {
        let count = self.random.random_range(1..5);
        let producer = self.producer();
        let batch = self.builder(count, 0, -1, producer).build().unwrap();
        let epoch = self.model.epoch;
        let result = self.log.append_as_leader(batch, LeaderEpoch(epoch), AppendOrigin::Client);
        if let Ok(info) = &result {
            assert_eq!(info.base_offset.0, self.model.log_end());
            assert!(!info.duplicate);
        }
        if let Err(error) = &result {
            println!("appending: {error}");
        }
        self.remember(count, epoch, producer);
        result.is_ok()
    }

    fn append_as_follower(&mut self) -> bool {
        let mut all = Vec::new();
        for _ in 0..self.random.random_range(1..4) {
            if self.chance(5) {
                self.model.epoch += 1;
            }
            let count = self.random.random_range(1..5);
            let producer = self.producer();
            let (base, epoch) = (self.model.log_end(), self.model.epoch);
            all.extend_from_slice(&self.builder(count, base, epoch, producer).build().unwrap());
            self.remember(count, epoch, producer);
        }
        self.log.append_as_follower(all.into(), LeaderEpoch(self.model.epoch)).is_ok()
    }

    fn read(&mut self) -> bool {
        let (low, high) = (self.model.log_start, self.model.log_end());
        let from = self.random.random_range(low..=high);
        let limit = self.random.random_range(from..=high);
        let max_bytes = self.random.random_range(0..2_000);
        let slice = match self.log.read(Offset(from), Offset(limit), max_bytes, true) {
            Ok(slice) => slice,
            Err(error) => {
                println!("reading {from}..{limit}: {error}");
                return false;
            }
        };
        let read = entries(&slice.records);
        let expected: Vec<Entry> = self
            .model
            .entries
            .iter()
            .filter(|entry| entry.next > from && entry.next <= limit)
            .take(read.len())
            .cloned()
            .collect();
        assert_eq!(read, expected, "reading {from}..{limit}");
        true
    }

    /// The process is killed or the power fails; everything below `floor` must be there after.
    fn restart(&mut self, floor: i64) {
        let killed = self.before.is_none() && self.chance(3);
        let floor = if killed { self.model.log_end() } else { floor };
        let seed = self.random.random();
        self.world = if killed { self.world.kill() } else { self.world.crash(seed) };
        self.directory = self.world.open();
        self.log = self.directory.log(&orders()).expect("the log is there");
        self.log.set_config(LogConfig { segment_bytes: 1_500, ..LogConfig::default() });
        self.check(floor);
    }

    fn check(&mut self, floor: i64) {
        let log = &self.log;
        assert!(!log.recovery().rebuilt, "the catalog knew the log");
        assert!(!log.recovery().lost_below_recovery_point, "{:?}", log.recovery());
        let (start, end) = (log.log_start_offset().0, log.log_end_offset().0);
        assert!(end >= floor, "the log ends at {end}, {floor} was durable");
        assert!(start <= log.high_watermark().0 && log.high_watermark().0 <= end);
        assert!(log.recovery_point().0 <= end);
        let found = read_entries(log);

        // A truncation that failed may have taken the epoch and left the records.
        let assigned = self.model.assigned;
        let candidates = [Some(self.model.clone()), self.before.take()];
        let is_prefix = |model: &Model| {
            model.log_start == start
                && found.len() <= visible(model).len()
                && found[..] == visible(model)[..found.len()]
        };
        let mut fitting: Vec<Model> = candidates.into_iter().flatten().filter(is_prefix).collect();
        // Both may fit as far as records go; the producers then tell which it is.
        fitting.sort_by_key(|model| self.known_producers() != expected_producers(model, end));
        let model = fitting.into_iter().next();
        let Some(mut model) = model else {
            panic!("start {start} end {end} {found:?}\nis no prefix of {:?}", self.model);
        };
        if model.assigned != assigned {
            model.assigned = None;
        }
        if let Some((epoch, at)) = model.assigned
            && at <= end
        {
            let epochs = log.epochs();
            let is_kept = log.latest_epoch() >= Some(LeaderEpoch(epoch));
            assert!(is_kept, "rule 1: {epoch} at {at} of {start}..{end} is not in {epochs:?}");
        }
        for entry in &found {
            let epoch = log.epoch_at(Offset(entry.base.max(start)));
            assert_eq!(epoch, Some(LeaderEpoch(entry.epoch)), "at {}", entry.base);
        }
        model.entries.retain(|entry| entry.next <= end);
        model.assigned = model.assigned.filter(|&(_, at)| at <= end);
        model.epoch = model.epoch.max(self.model.epoch);
        let known = self.known_producers();
        // Those whose records are all below the start may have been forgotten.
        let mut expected = expected_producers(&model, end);
        expected.retain(|id, last| *last >= start || known.contains_key(id));
        assert_eq!(known, expected, "producers");
        self.model = model;
    }

    fn known_producers(&self) -> BTreeMap<i64, i64> {
        let states = self.log.producer_states().into_iter();
        states.map(|(id, state)| (id.0, state.batches.back().unwrap().last_offset.0)).collect()
    }
}

/// The last offset of each producer in a log that ends at `end`.
fn expected_producers(model: &Model, end: i64) -> BTreeMap<i64, i64> {
    let there = model.entries.iter().filter(|entry| entry.next <= end);
    there.filter_map(|entry| entry.producer.map(|(id, _)| (id, entry.next - 1))).collect()
}

fn visible(model: &Model) -> Vec<Entry> {
    model.entries.iter().filter(|entry| entry.next > model.log_start).cloned().collect()
}

fn entries(bytes: &bytes::Bytes) -> Vec<Entry> {
    batches(bytes)
        .map(|batch| {
            let batch = batch.expect("a whole batch");
            batch.verify_crc().expect("not torn");
            let header = &batch.header;
            let records = batch.records().unwrap();
            let text = String::from_utf8(records[0].value.clone().unwrap().to_vec()).unwrap();
            Entry {
                base: header.base_offset.0,
                next: header.next_offset().0,
                epoch: header.partition_leader_epoch.0,
                value: text.split(':').next().unwrap().parse().unwrap(),
                producer: (header.producer_id.0 >= 0)
                    .then_some((header.producer_id.0, header.base_sequence)),
            }
        })
        .collect()
}

fn read_entries(log: &Log) -> Vec<Entry> {
    let mut found = Vec::new();
    let mut next = log.log_start_offset();
    while next < log.log_end_offset() {
        let slice = log.read(next, log.log_end_offset(), 900, true).unwrap();
        assert!(slice.next_offset > next, "reading stands still at {next}");
        found.extend(entries(&slice.records));
        next = slice.next_offset;
    }
    found
}

#[test]
fn whatever_happens_the_log_is_what_it_must_be() {
    let wanted = |name| std::env::var(name).ok().and_then(|number| number.parse::<u64>().ok());
    let seeds = match wanted("OTTLA_LOG_SEED") {
        Some(seed) => seed..=seed,
        None => 0..=wanted("OTTLA_LOG_SEEDS").unwrap_or(300),
    };
    for seed in seeds {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut run = Run::new(seed);
            for _ in 0..80 {
                run.step();
            }
        }));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
