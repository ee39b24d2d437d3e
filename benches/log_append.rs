//! Appending 64 KiB batches to a log, beside a bare loop that does CRC-32C and one write per
//! batch, in interleaved rounds of one run: `cargo bench --bench log_append`. Prints MB/s of both
//! and their ratio; the goal is at least 0.95. Then threads that append 1 KiB batches to one log.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::fs::File;
use std::io::IoSlice;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla::log::{AppendOrigin, Log, LogConfig, LogDirectory, LogDirectoryOptions, LogEnvironment};
use ottla::record::BatchBuilder;
use ottla::storage::{Catalog, FileDisk, InlineOffload, SledCatalog};
use ottla::types::clock::SystemClock;
use ottla::types::random::SystemRandom;
use ottla::types::{Clock, LeaderEpoch, NodeId, Offset, TimestampMs, TopicId, TopicPartition};
use parking_lot::Mutex;

const BATCHES_PER_ROUND: usize = 256;
const ROUNDS: usize = 24;
const APPENDS_CONTENDED: usize = 16_000;
const ROUNDS_CONTENDED: usize = 7;

fn batch(record_bytes: usize, now: TimestampMs) -> Bytes {
    batch_of(record_bytes, 64 << 10, now)
}

fn batch_of(record_bytes: usize, batch_bytes: usize, now: TimestampMs) -> Bytes {
    let mut builder = BatchBuilder::new(Offset::ZERO);
    let value = vec![b'v'; record_bytes];
    while builder.size_bytes() + record_bytes + 16 < batch_bytes {
        builder.push(now, None, Some(&value), &[]).unwrap();
    }
    builder.build().unwrap()
}

fn open(path: &Path) -> Arc<LogDirectory> {
    let environment = LogEnvironment {
        disk: Arc::new(FileDisk),
        catalog_opener: Arc::new(|path| {
            SledCatalog::open(path).map(|catalog| Arc::new(catalog) as Arc<dyn Catalog>)
        }),
        clock: Arc::new(SystemClock::new()),
        offload: Arc::new(InlineOffload),
        random: Arc::new(SystemRandom),
        boot_id: String::new(),
    };
    let options =
        LogDirectoryOptions { path: path.to_owned(), cluster_id: None, node_id: NodeId(1) };
    LogDirectory::open(options, environment).unwrap()
}

fn bare_round(file: &File, batch: &Bytes, position: &mut u64) -> Duration {
    let start = Instant::now();
    for _ in 0..BATCHES_PER_ROUND {
        assert_ne!(crc32c::crc32c(&batch[21..]), 0);
        file.write_all_at(batch, *position).unwrap();
        *position += batch.len() as u64;
    }
    start.elapsed()
}

fn log_round(log: &Log, batch: &Bytes) -> Duration {
    let start = Instant::now();
    for _ in 0..BATCHES_PER_ROUND {
        log.append_as_leader(batch.clone(), LeaderEpoch(0), AppendOrigin::Client).unwrap();
    }
    start.elapsed()
}

/// Appends waiting for the one who writes.
#[derive(Default)]
struct Waiting {
    queue: Mutex<Vec<(Bytes, Arc<AtomicBool>)>>,
    position: Mutex<u64>,
}

impl Waiting {
    /// Whoever gets the lock writes all that wait, in one call: what gathering could gain at most,
    /// since nothing is checked or published.
    fn append_gathered(&self, file: &File, batch: &Bytes) {
        let done = Arc::new(AtomicBool::new(false));
        self.queue.lock().push((batch.clone(), Arc::clone(&done)));
        let mut position = self.position.lock();
        if done.load(Ordering::Acquire) {
            return;
        }
        let taken = std::mem::take(&mut *self.queue.lock());
        let parts: Vec<IoSlice<'_>> = taken.iter().map(|(batch, _)| IoSlice::new(batch)).collect();
        let length: usize = parts.iter().map(|part| part.len()).sum();
        assert_eq!(rustix::io::pwritev(file, &parts, *position).unwrap(), length);
        *position += length as u64;
        for (_, done) in &taken {
            done.store(true, Ordering::Release);
        }
    }

    fn append_alone(&self, file: &File, batch: &Bytes) {
        let mut position = self.position.lock();
        file.write_all_at(batch, *position).unwrap();
        *position += batch.len() as u64;
    }
}

/// Calls `append` from `threads` threads; gives appends per second.
fn contended(threads: usize, append: impl Fn() + Sync) -> f64 {
    let start = Instant::now();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| (0..APPENDS_CONTENDED / threads).for_each(|_| append()));
        }
    });
    (APPENDS_CONTENDED / threads * threads) as f64 / start.elapsed().as_secs_f64()
}

/// Threads that append 1 KiB batches to one place: with a plain lock around each write, with all
/// that wait gathered into one write, and to a log. Medians of interleaved rounds.
fn contention() {
    let directory = tempfile::tempdir().unwrap();
    let logs = open(&directory.path().join("logs"));
    let batch = batch_of(900, 1 << 10, SystemClock::new().wall());
    for threads in [1usize, 2, 4, 8, 16] {
        let topic = format!("bench-{threads}");
        let partition = TopicPartition::new(topic.as_str(), 0);
        let id = TopicId(uuid::Uuid::from_u128(threads as u128 + 1));
        let log = logs.create(&partition, id, LogConfig::default()).unwrap();
        let [mut alone, mut gathered, mut ours] = [(); 3].map(|()| Vec::new());
        for _ in 0..ROUNDS_CONTENDED {
            let file = tempfile::tempfile_in(directory.path()).unwrap();
            let waiting = Waiting::default();
            alone.push(contended(threads, || waiting.append_alone(&file, &batch)));
            let file = tempfile::tempfile_in(directory.path()).unwrap();
            let waiting = Waiting::default();
            gathered.push(contended(threads, || waiting.append_gathered(&file, &batch)));
            ours.push(contended(threads, || {
                log.append_as_leader(batch.clone(), LeaderEpoch(0), AppendOrigin::Client).unwrap();
            }));
        }
        let [alone, gathered, ours] = [alone, gathered, ours].map(|mut rates| {
            rates.sort_by(f64::total_cmp);
            rates[rates.len() / 2] / 1e3
        });
        println!(
            "{threads} threads, {} B batches, thousand appends/s: bare lock {alone:.0}, bare gathered {gathered:.0}, log {ours:.0}",
            batch.len(),
        );
    }
}

fn main() {
    for record_bytes in [1024, 100] {
        let directory = tempfile::tempdir().unwrap();
        let logs = open(&directory.path().join("logs"));
        let batch = batch(record_bytes, SystemClock::new().wall());
        let partition = TopicPartition::new("bench", 0);
        let log = logs.create(&partition, TopicId(uuid::Uuid::from_u128(1)), LogConfig::default());
        let log = log.unwrap();
        let file = File::create(directory.path().join("bare")).unwrap();
        let mut position = 0;
        let mut ratios = Vec::new();
        let (mut bare, mut ours) = (Duration::ZERO, Duration::ZERO);
        for round in 0..ROUNDS {
            // Whoever comes second finds the allocator warm: take turns.
            let (bare_time, log_time) = if round % 2 == 0 {
                let bare_time = bare_round(&file, &batch, &mut position);
                (bare_time, log_round(&log, &batch))
            } else {
                let log_time = log_round(&log, &batch);
                (bare_round(&file, &batch, &mut position), log_time)
            };
            bare += bare_time;
            ours += log_time;
            ratios.push(bare_time.as_secs_f64() / log_time.as_secs_f64());
        }
        ratios.sort_by(f64::total_cmp);
        let megabytes = (batch.len() * BATCHES_PER_ROUND * ROUNDS) as f64 / 1e6;
        println!(
            "{record_bytes} B records, {} B batches: bare {:.0} MB/s, log {:.0} MB/s, ratio {:.3} (median of {ROUNDS} rounds {:.3})",
            batch.len(),
            megabytes / bare.as_secs_f64(),
            megabytes / ours.as_secs_f64(),
            bare.as_secs_f64() / ours.as_secs_f64(),
            ratios[ROUNDS / 2],
        );
    }
    contention();
}
