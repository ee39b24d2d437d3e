//! Retention and deleted records against a plain model: what must be there, what may be gone.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::world::*;
use crate::log::{AppendOrigin, Log, LogConfig, LogDirectory};
use crate::record::BatchBuilder;
use crate::types::{Clock, Offset, TimestampMs};

/// What is known of a record that was appended: the record at that place of a list.
#[derive(Debug, Clone, Copy)]
struct Known {
    timestamp: i64,
    size_bytes: u64,
}

struct Run {
    random: StdRng,
    world: World,
    directory: Arc<LogDirectory>,
    log: Arc<Log>,
    /// By offset: every batch has one record.
    known: Vec<Known>,
    log_start: i64,
    config: LogConfig,
}

impl Run {
    fn new(seed: u64) -> Run {
        let mut random = StdRng::seed_from_u64(seed);
        let world = World::new();
        let (directory, log) = one_log(&world);
        let config = LogConfig {
            segment_bytes: 1_000,
            segment_ms: Duration::from_millis(random.random_range(1..20_000)),
            segment_jitter: Duration::from_millis(random.random_range(0..20_000)),
            retention_ms: random.random_bool(0.7).then(|| Duration::from_secs(30)),
            retention_bytes: random.random_bool(0.5).then(|| random.random_range(0..6_000)),
            timestamp_after_max: None,
            file_delete_delay: Duration::from_secs(random.random_range(0..20)),
            preallocate: random.random_bool(0.5),
            flush_messages: random.random_bool(0.3).then(|| random.random_range(1..6)),
            ..LogConfig::default()
        };
        log.set_config(config.clone());
        Run { random, world, directory, log, known: Vec::new(), log_start: 0, config }
    }

    fn now(&self) -> TimestampMs {
        self.world.clock.wall()
    }

    fn step(&mut self) {
        match self.random.random_range(0..12) {
            0..=4 => self.append(),
            5 => {
                self.world.clock.advance(Duration::from_millis(self.random.random_range(0..9_000)))
            }
            6 => self.delete_records(),
            7..=8 => self.apply_retention(),
            9 => self.directory.checkpoint_blocking().unwrap(),
            10 => {
                let (low, high) = (self.log.high_watermark().0, self.known.len() as i64);
                let high_watermark = self.random.random_range(low..=high);
                self.log.set_high_watermark(Offset(high_watermark));
            }
            _ if self.random.random_bool(0.4) => self.restart(),
            _ => {}
        }
        self.check();
    }

    fn append(&mut self) {
        // Most come late, a few are ahead of the clock.
        let timestamp = self.now().0 + self.random.random_range(-8_000..1_000);
        let value = vec![b'v'; self.random.random_range(1..300)];
        let mut builder = BatchBuilder::new(Offset::ZERO);
        builder.push(TimestampMs(timestamp), Some(b"key"), Some(&value), &[]).unwrap();
        let batch = builder.build().unwrap();
        self.known.push(Known { timestamp, size_bytes: batch.len() as u64 });
        self.log.append_as_leader(batch, EPOCH, AppendOrigin::Client).unwrap();
    }

    fn delete_records(&mut self) {
        let high = self.log.high_watermark().0;
        let offset = self.random.random_range(0..=high);
        self.log.advance_log_start_blocking(Offset(offset)).unwrap();
        self.log_start = self.log_start.max(offset);
        assert_eq!(self.log.log_start_offset(), Offset(self.log_start));
    }

    fn apply_retention(&mut self) {
        let (now, high_watermark) = (self.now(), self.log.high_watermark().0);
        let (before, size_before) = (self.log_start, self.log.size_bytes());
        self.log.delete_old_segments_blocking(now).unwrap();
        let after = self.log.log_start_offset().0;
        assert!((before..=high_watermark.max(before)).contains(&after), "{before} {after}");
        self.log_start = after;
        let removed = &self.known[before as usize..after as usize];
        let is_old = |known: &Known| {
            self.config
                .retention_ms
                .is_some_and(|limit| now.0 - known.timestamp > limit.as_millis() as i64)
        };
        let kept = self.log.size_bytes();
        let bytes_of = |known: &Known| known.size_bytes;
        let old_bytes: u64 = removed.iter().filter(|it| is_old(it)).map(bytes_of).sum();
        let by_size = self.config.retention_bytes.is_some_and(|limit| kept + old_bytes >= limit);
        assert!(by_size || removed.iter().all(is_old), "young records are gone: {removed:?}");

        // Nothing stays that nothing keeps.
        let all_old = self.known[after as usize..].iter().all(is_old);
        let end = self.known.len() as i64;
        if all_old && high_watermark == end {
            assert_eq!(after, end, "old records stay");
        }
        if let Some(limit) = self.config.retention_bytes
            && high_watermark == end
        {
            assert!(kept < limit.max(1) + 1_000, "{kept} of {size_before} stay, {limit} may");
        }
    }

    /// The process is killed or the power fails.
    fn restart(&mut self) {
        let floor = self.log.flushed_offset().0;
        let seed = self.random.random();
        let lossless = self.random.random_bool(0.5);
        self.world = if lossless { self.world.kill() } else { self.world.crash(seed) };
        self.directory = self.world.open();
        self.log = self.directory.log(&orders()).unwrap_or_else(|| {
            assert_eq!(floor, 0, "the log is gone");
            self.directory.create(&orders(), TOPIC_ID, LogConfig::default()).unwrap()
        });
        self.log.set_config(self.config.clone());
        let end = self.log.log_end_offset().0;
        assert!(end >= floor.max(self.log_start), "{end} after {floor} was on the device");
        assert!(!lossless || end == self.known.len() as i64, "the page cache survived");
        self.known.truncate(end as usize);
    }

    fn check(&self) {
        let log = &self.log;
        assert_eq!(log.log_start_offset().0, self.log_start, "moved by nobody, or back");
        assert_eq!(log.log_end_offset().0, self.known.len() as i64);
        let read = read_all(log, 1);
        let expected: Vec<i64> = (self.log_start..self.known.len() as i64).collect();
        let found: Vec<i64> =
            offsets(&read).into_iter().filter(|&offset| offset >= self.log_start).collect();
        assert_eq!(found, expected);
        for record in &read {
            assert_eq!(record.timestamp.0, self.known[record.offset.0 as usize].timestamp);
        }
        let bytes: u64 =
            self.known[self.log_start as usize..].iter().map(|known| known.size_bytes).sum();
        assert!(log.size_bytes() >= bytes);
    }
}

#[test]
fn whatever_happens_only_what_may_be_forgotten_is() {
    let wanted = std::env::var("OTTLA_LOG_SEED").ok().and_then(|seed| seed.parse::<u64>().ok());
    for seed in wanted.map_or(0..=60, |seed| seed..=seed) {
        let outcome = catch_unwind(AssertUnwindSafe(|| {
            let mut run = Run::new(seed);
            (0..120).for_each(|_| run.step());
        }));
        assert!(outcome.is_ok(), "seed {seed}");
    }
}
