//! Appending batches of 1 KiB to 1 MiB to one log and to a hundred, beside a bare loop that does
//! CRC-32C and one write per batch, in interleaved rounds of one run:
//! `cargo bench --bench log_append`. Prints MB/s of both and their ratio; the goal is at least
//! 0.95. Then producers, as threads and as tasks, that append 1 KiB batches to one place; the goal is
//! three times as many as with a lock around one write each. What gathering could gain at most on
//! this machine is measured beside it, by loops that check and publish nothing.
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
use ottla::log::{AppendError, AppendInfo, AppendOrigin, Log, LogConfig, Prepared, Rounds};
use ottla::record::BatchBuilder;
use ottla::storage::InlineOffload;
use ottla::types::clock::SystemClock;
use ottla::types::{Clock, LeaderEpoch, Offset, TimestampMs, TopicId, TopicPartition};
use parking_lot::Mutex;
use tokio::sync::oneshot;

const ROUND_BYTES: usize = 16 << 20;
const ROUNDS: usize = 16;
const APPENDS_CONTENDED: usize = 16_000;
const ROUNDS_CONTENDED: usize = 7;
/// Producers whose batches one call writes, where nothing is waited for.
const GATHERED: usize = 64;
const WORKERS: usize = 2;

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

/// A batch, and whom to tell that it is written.
type Waiter = (Bytes, oneshot::Sender<()>);

/// Tasks that wait for the one who writes, as a broker's connections would.
#[derive(Default)]
struct WaitingTasks {
    queue: Mutex<(Vec<Waiter>, bool)>,
    written: Mutex<u64>,
}

impl WaitingTasks {
    /// The first to come lets the others have their turn, and writes what they brought.
    async fn append_gathered(&self, file: &File, batch: &Bytes) {
        let (sender, written) = oneshot::channel();
        let begins = {
            let mut queue = self.queue.lock();
            queue.0.push((batch.clone(), sender));
            !std::mem::replace(&mut queue.1, true)
        };
        if begins {
            tokio::task::yield_now().await;
            while let Some(waiting) = self.next_round() {
                self.write(file, waiting);
            }
        }
        written.await.unwrap();
    }

    fn next_round(&self) -> Option<Vec<Waiter>> {
        let mut queue = self.queue.lock();
        queue.1 = !queue.0.is_empty();
        queue.1.then(|| std::mem::take(&mut queue.0))
    }

    fn write(&self, file: &File, waiting: Vec<Waiter>) {
        let parts: Vec<IoSlice<'_>> =
            waiting.iter().map(|(batch, _)| IoSlice::new(batch)).collect();
        let mut position = self.written.lock();
        *position += rustix::io::pwritev(file, &parts, *position).unwrap() as u64;
        for (_, sender) in waiting {
            sender.send(()).unwrap();
        }
    }
}

/// Calls `append` from `tasks` tasks of two workers, each of which lets the others have their turn
/// between two calls; gives appends per second.
fn contended_tasks<F: Future<Output = ()> + Send>(
    tasks: usize,
    append: impl Fn() -> F + Clone + Send + 'static,
) -> f64 {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(WORKERS).build().unwrap();
    let start = Instant::now();
    runtime.block_on(async {
        let each = APPENDS_CONTENDED / tasks;
        let mut set = tokio::task::JoinSet::new();
        for _ in 0..tasks {
            let append = append.clone();
            set.spawn(async move {
                for _ in 0..each {
                    append().await;
                    tokio::task::yield_now().await;
                }
            });
        }
        set.join_all().await;
    });
    (APPENDS_CONTENDED / tasks * tasks) as f64 / start.elapsed().as_secs_f64()
}

/// One thread that writes many batches with one call and with a call each: nobody waits, so this is
/// the most that gathering them can gain.
fn written_alone(file: &File, batch: &Bytes, gathered: usize) -> f64 {
    let parts = vec![IoSlice::new(batch); gathered];
    let calls = APPENDS_CONTENDED / gathered;
    let start = Instant::now();
    let mut position = 0;
    for _ in 0..calls {
        position += match &parts[..] {
            [only] => {
                file.write_all_at(only, position).unwrap();
                only.len()
            }
            parts => rustix::io::pwritev(file, parts, position).unwrap(),
        } as u64;
    }
    assert_eq!(position as usize, calls * gathered * batch.len());
    (calls * gathered) as f64 / start.elapsed().as_secs_f64()
}

/// Prints what rates were measured in turns: medians, and of the first the ratio of each.
fn report_rates(what: &str, names: &[&str], rates: &[Vec<f64>]) {
    let median = |rates: &[f64]| {
        let mut rates = rates.to_vec();
        rates.sort_by(f64::total_cmp);
        rates[rates.len() / 2]
    };
    let ratio = |rates_of: &[f64]| {
        median(&rates[0].iter().zip(rates_of).map(|(base, rate)| rate / base).collect::<Vec<_>>())
    };
    let each: Vec<String> = names
        .iter()
        .zip(rates)
        .map(|(name, of)| format!("{name} {:.0} ({:.2})", median(of) / 1e3, ratio(of)))
        .collect();
    println!("{what}, thousand appends/s: {}", each.join(", "));
}

type Appends = Rounds<Prepared, Result<AppendInfo, AppendError>>;

/// As a partition's leader does it.
async fn append_together(log: Arc<Log>, rounds: Arc<Appends>, batch: Bytes) {
    let prepared = log.prepare(batch, AppendOrigin::Client).unwrap();
    let appended = rounds.ask(prepared, |round| log.append_prepared(round, LeaderEpoch(0))).await;
    appended.unwrap().unwrap();
}

/// One task, which nobody joins.
fn alone() {
    let directory = tempfile::tempdir().unwrap();
    let logs = data_directory::open(&directory.path().join("logs"), Arc::new(InlineOffload), 1);
    let batch = batch_of(900, 1 << 10, SystemClock::new().wall());
    let partition = TopicPartition::new("bench-alone", 0);
    let id = TopicId(uuid::Uuid::from_u128(1));
    let log = logs.create(&partition, id, LogConfig::default()).unwrap();
    let mut rates = [(); 2].map(|()| Vec::new());
    for _ in 0..ROUNDS_CONTENDED {
        let (at_once, batch_of_it) = (Arc::clone(&log), batch.clone());
        rates[0].push(contended_tasks(1, move || {
            let (log, batch) = (Arc::clone(&at_once), batch_of_it.clone());
            async move {
                log.append_as_leader(batch, LeaderEpoch(0), AppendOrigin::Client).unwrap();
            }
        }));
        let rounds: Arc<Appends> = Arc::default();
        let (log, batch_of_it) = (Arc::clone(&log), batch.clone());
        rates[1].push(contended_tasks(1, move || {
            append_together(Arc::clone(&log), Arc::clone(&rounds), batch_of_it.clone())
        }));
    }
    let what = format!("1 task, {} B batches", batch.len());
    report_rates(&what, &["log", "log gathered"], &rates);
}

/// What gathering could gain where nobody waits, and where tasks do.
fn gathering() {
    let directory = tempfile::tempdir().unwrap();
    let batch = batch_of(900, 1 << 10, SystemClock::new().wall());
    let file = || tempfile::tempfile_in(directory.path()).unwrap();
    let mut rates = [(); 2].map(|()| Vec::new());
    for _ in 0..ROUNDS_CONTENDED {
        rates[0].push(written_alone(&file(), &batch, 1));
        rates[1].push(written_alone(&file(), &batch, GATHERED));
    }
    let what = format!("nobody waits, {} B batches", batch.len());
    report_rates(&what, &["one write each", "64 a write"], &rates);

    let logs = data_directory::open(&directory.path().join("logs"), Arc::new(InlineOffload), 1);
    let partition = TopicPartition::new("bench-tasks", 0);
    let id = TopicId(uuid::Uuid::from_u128(1));
    let log = logs.create(&partition, id, LogConfig::default()).unwrap();
    let mut rates = [(); 4].map(|()| Vec::new());
    for _ in 0..ROUNDS_CONTENDED {
        let (alone, batch_of_it) = (Arc::new((Waiting::default(), file())), batch.clone());
        rates[0].push(contended_tasks(GATHERED, move || {
            let (alone, batch) = (Arc::clone(&alone), batch_of_it.clone());
            async move { alone.0.append_alone(&alone.1, &batch) }
        }));
        let (waiting, batch_of_it) = (Arc::new((WaitingTasks::default(), file())), batch.clone());
        rates[1].push(contended_tasks(GATHERED, move || {
            let (waiting, batch) = (Arc::clone(&waiting), batch_of_it.clone());
            async move { waiting.0.append_gathered(&waiting.1, &batch).await }
        }));
        let (each, batch_of_it) = (Arc::clone(&log), batch.clone());
        rates[2].push(contended_tasks(GATHERED, move || {
            let (log, batch) = (Arc::clone(&each), batch_of_it.clone());
            async move {
                log.append_as_leader(batch, LeaderEpoch(0), AppendOrigin::Client).unwrap();
            }
        }));
        let rounds: Arc<Appends> = Arc::default();
        let (log, batch_of_it) = (Arc::clone(&log), batch.clone());
        rates[3].push(contended_tasks(GATHERED, move || {
            append_together(Arc::clone(&log), Arc::clone(&rounds), batch_of_it.clone())
        }));
    }
    let what = format!("{GATHERED} tasks, {} B batches", batch.len());
    report_rates(&what, &["bare lock", "bare gathered", "log", "log gathered"], &rates);
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
        let mut rates = [(); 3].map(|()| Vec::new());
        for _ in 0..ROUNDS_CONTENDED {
            let file = tempfile::tempfile_in(directory.path()).unwrap();
            let waiting = Waiting::default();
            rates[0].push(contended(threads, || waiting.append_alone(&file, &batch)));
            let file = tempfile::tempfile_in(directory.path()).unwrap();
            let waiting = Waiting::default();
            rates[1].push(contended(threads, || waiting.append_gathered(&file, &batch)));
            rates[2].push(contended(threads, || {
                log.append_as_leader(batch.clone(), LeaderEpoch(0), AppendOrigin::Client).unwrap();
            }));
        }
        let what = format!("{threads} threads, {} B batches", batch.len());
        report_rates(&what, &["bare lock", "bare gathered", "log"], &rates);
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
    alone();
    gathering();
    contention();
}
