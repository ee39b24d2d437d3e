//! Appending batches of 1 KiB to 1 MiB to one log and to a hundred, beside a bare loop that does
//! CRC-32C and one write per batch, in interleaved rounds of one run:
//! `cargo bench --bench log_append`. Prints MB/s of both and their ratio; the goal is at least
//! 0.95. Then threads that append 1 KiB batches to one log; the goal is three times as many as with
//! a lock around one write each.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod data_directory;

use std::fs::File;
use std::io::IoSlice;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla::log::{AppendOrigin, Log, LogConfig};
use ottla::record::BatchBuilder;
use ottla::storage::InlineOffload;
use ottla::types::clock::SystemClock;
use ottla::types::{Clock, LeaderEpoch, Offset, TimestampMs, TopicId, TopicPartition};
use parking_lot::Mutex;

const ROUND_BYTES: usize = 16 << 20;
const ROUNDS: usize = 16;
const APPENDS_CONTENDED: usize = 16_000;
const ROUNDS_CONTENDED: usize = 7;

fn batch_of(record_bytes: usize, batch_bytes: usize, now: TimestampMs) -> Bytes {
    let mut builder = BatchBuilder::new(Offset::ZERO);
    let value = vec![b'v'; record_bytes];
    while builder.size_bytes() + record_bytes + 16 < batch_bytes {
        builder.push(now, None, Some(&value), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// The yardstick: the checksum and one write per batch.
struct Bare {
    files: Vec<File>,
    written: usize,
}

impl Bare {
    fn round(&mut self, batch: &Bytes, batches: usize) -> Duration {
        let start = Instant::now();
        for _ in 0..batches {
            assert_ne!(crc32c::crc32c(&batch[21..]), 0);
            let file = &self.files[self.written % self.files.len()];
            let position = self.written / self.files.len() * batch.len();
            file.write_all_at(batch, position as u64).unwrap();
            self.written += 1;
        }
        start.elapsed()
    }
}

fn log_round(logs: &[Arc<Log>], batch: &Bytes, batches: usize) -> Duration {
    let start = Instant::now();
    for index in 0..batches {
        let log = &logs[index % logs.len()];
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
    let logs = data_directory::open(&directory.path().join("logs"), Arc::new(InlineOffload), 1);
    let batch = batch_of(900, 1 << 10, SystemClock::new().wall());
    for threads in [1usize, 4, 16, 64] {
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

/// The same batch, round the partitions, by a bare loop and by logs, in interleaved rounds.
fn beside_a_bare_loop(partitions: usize, batch_bytes: usize, record_bytes: usize) {
    let directory = tempfile::tempdir().unwrap();
    let logs = data_directory::open(&directory.path().join("logs"), Arc::new(InlineOffload), 1);
    let batch = batch_of(record_bytes, batch_bytes, SystemClock::new().wall());
    let batches = (ROUND_BYTES / batch.len()).max(partitions);
    let mut bare = Bare {
        files: (0..partitions)
            .map(|index| File::create(directory.path().join(format!("bare-{index}"))).unwrap())
            .collect(),
        written: 0,
    };
    let ours: Vec<Arc<Log>> = (0..partitions)
        .map(|index| {
            let partition = TopicPartition::new("bench", i32::try_from(index).unwrap());
            let id = TopicId(uuid::Uuid::from_u128(1));
            logs.create(&partition, id, LogConfig::default()).unwrap()
        })
        .collect();
    // The first pages of a file cost more than the rest.
    bare.round(&batch, batches);
    log_round(&ours, &batch, batches);
    let mut samples = Vec::new();
    for round in 0..ROUNDS {
        // Whoever comes second finds the allocator warm: take turns.
        samples.push(if round % 2 == 0 {
            let bare_time = bare.round(&batch, batches);
            (bare_time, log_round(&ours, &batch, batches))
        } else {
            let log_time = log_round(&ours, &batch, batches);
            (bare.round(&batch, batches), log_time)
        });
    }
    let bare: Duration = samples.iter().map(|(bare, _)| *bare).sum();
    let ours: Duration = samples.iter().map(|(_, ours)| *ours).sum();
    let mut ratios: Vec<f64> =
        samples.iter().map(|(bare, ours)| bare.as_secs_f64() / ours.as_secs_f64()).collect();
    ratios.sort_by(f64::total_cmp);
    let megabytes = (batch.len() * batches * ROUNDS) as f64 / 1e6;
    println!(
        "{partitions:>3} partitions, {:>7} B batches of {record_bytes} B records: bare {:.0} MB/s, \
         log {:.0} MB/s, ratio {:.3} (median of {ROUNDS} rounds {:.3})",
        batch.len(),
        megabytes / bare.as_secs_f64(),
        megabytes / ours.as_secs_f64(),
        bare.as_secs_f64() / ours.as_secs_f64(),
        ratios[ROUNDS / 2],
    );
}

fn main() {
    for partitions in [1, 100] {
        for (batch_bytes, record_bytes) in [(1, 900), (16, 1024), (64, 1024), (1024, 1024)] {
            beside_a_bare_loop(partitions, batch_bytes << 10, record_bytes);
        }
    }
    beside_a_bare_loop(1, 64 << 10, 100);
    contention();
}
