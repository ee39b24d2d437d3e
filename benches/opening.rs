//! How soon a data directory of many partitions is open after `kill -9`, and after a clean stop.
//!
//!     cargo bench --bench opening [-- partitions=N] [gigabytes=N] [rounds=N] [threads=N] [cold] [dir=PATH]
//!
//! A process of its own writes 10 GB of real batches into 1,000 partitions, checkpoints them, then
//! writes some more, and is killed while it does nothing. The directory is opened again and again,
//! each time beside the yardstick: the same bytes beyond the recovery points, read and summed with
//! CRC-32C, batch by batch, by nothing else. Then it is closed in order and opened, as often. With
//! `cold` the page cache is emptied before each opening (this takes root).
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod data_directory;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla::log::{AppendOrigin, Log, LogConfig, LogDirectory};
use ottla::record::BatchBuilder;
use ottla::storage::{ThreadOffload, cores};
use ottla::types::clock::SystemClock;
use ottla::types::{BrokerEpoch, Clock, LeaderEpoch, Offset, TimestampMs, TopicId, TopicPartition};

const BATCH_BYTES: usize = 64 << 10;
const PARTITIONS_OF_A_TOPIC: usize = 10;
/// A log has a segment for each so many bytes.
const SEGMENT_BYTES: u64 = 4 << 20;

/// What the command line asks for.
struct Plan {
    partitions: usize,
    bytes: u64,
    rounds: usize,
    threads: usize,
    cold: bool,
    directory: PathBuf,
    builds: bool,
}

impl Plan {
    fn read() -> Plan {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        let text = |name: &str| {
            let of = |text: &String| Some(text.strip_prefix(name)?.strip_prefix('=')?.to_owned());
            arguments.iter().find_map(of)
        };
        let number = |name: &str| text(name).and_then(|text| text.parse::<f64>().ok());
        let is_given = |word: &str| arguments.iter().any(|argument| argument == word);
        Plan {
            partitions: number("partitions").unwrap_or(1_000.0) as usize,
            bytes: (number("gigabytes").unwrap_or(10.0) * 1e9) as u64,
            rounds: number("rounds").unwrap_or(5.0) as usize,
            threads: number("threads").map_or_else(cores, |threads| threads as usize),
            cold: is_given("cold"),
            directory: text("dir").map_or_else(std::env::temp_dir, PathBuf::from),
            builds: is_given("build"),
        }
    }
}

fn main() {
    let plan = Plan::read();
    if plan.builds {
        return build(&plan);
    }
    let directory = tempfile::tempdir_in(&plan.directory).unwrap();
    for beyond in [0, 1, 4] {
        measure(&plan, &directory.path().join(format!("beyond-{beyond}")), beyond);
    }
}

fn measure(plan: &Plan, path: &Path, beyond: usize) {
    build_and_kill(plan, path, beyond);
    let names: Vec<PathBuf> = files(path);
    let total: u64 = names.iter().map(|name| fs::metadata(name).unwrap().len()).sum();
    println!(
        "{} partitions, {} files, {:.1} GB, {beyond} batches of 64 KiB of each beyond its recovery point",
        plan.partitions,
        names.len(),
        total as f64 / 1e9,
    );
    let (mut after_kill, mut plain, mut after_stop) = (Vec::new(), Vec::new(), Vec::new());
    let mut scanned = 0;
    for _ in 0..plan.rounds {
        empty_cache(plan);
        let started = Instant::now();
        let opened = open(path, plan.threads);
        after_kill.push(started.elapsed());
        let logs = opened.logs();
        assert_eq!(logs.len(), plan.partitions);
        scanned = logs.iter().map(|log| log.recovery().scanned_bytes).sum();
        let tails: Vec<Tail> = logs.iter().map(|log| Tail::of(log)).collect();
        drop((logs, opened));
        empty_cache(plan);
        let started = Instant::now();
        let read: u64 = tails.iter().map(Tail::scan).sum();
        plain.push(started.elapsed());
        assert_eq!(read, scanned, "the yardstick reads what the opening reads");
    }
    for _ in 0..plan.rounds {
        open(path, plan.threads).close_blocking().unwrap();
        empty_cache(plan);
        let started = Instant::now();
        let opened = open(path, plan.threads);
        after_stop.push(started.elapsed());
        assert!(opened.logs().iter().all(|log| log.recovery().scanned_bytes == 0));
    }
    let [kill, plain, stop] = [after_kill, plain, after_stop].map(median);
    println!(
        "  after kill -9: {kill:.3?}, {:.1} MB scanned, plain scan of them {plain:.3?}, more than it {:.3?}; after a clean stop: {stop:.3?}",
        scanned as f64 / 1e6,
        kill.saturating_sub(plain),
    );
    fs::remove_dir_all(path).unwrap();
}

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

fn empty_cache(plan: &Plan) {
    if plan.cold {
        fs::write("/proc/sys/vm/drop_caches", "3").expect("emptying the page cache takes root");
    }
}

/// Every segment's file.
fn files(path: &Path) -> Vec<PathBuf> {
    let logs = fs::read_dir(path).unwrap().map(|entry| entry.unwrap().path());
    let logs = logs.filter(|log| log.join("partition.metadata").exists());
    let files = logs.flat_map(|log| fs::read_dir(log).unwrap().map(|file| file.unwrap().path()));
    files.filter(|file| file.extension().is_some_and(|it| it == "log")).collect()
}

/// What opening a log reads: the end of its last file.
struct Tail {
    file: PathBuf,
    from: u64,
}

impl Tail {
    fn of(log: &Log) -> Tail {
        let file = files_of(log.path()).pop().unwrap();
        let size = fs::metadata(&file).unwrap().len();
        Tail { file, from: size - log.recovery().scanned_bytes }
    }

    /// Reads and sums batch by batch.
    fn scan(&self) -> u64 {
        let file = File::open(&self.file).unwrap();
        let size = file.metadata().unwrap().len();
        let mut position = self.from;
        let mut head = [0; 61];
        let mut batch = Vec::new();
        while position < size {
            file.read_exact_at(&mut head, position).unwrap();
            let length = u32::from_be_bytes(head[8..12].try_into().unwrap()) as usize + 12;
            batch.resize(length, 0);
            file.read_exact_at(&mut batch, position).unwrap();
            let sum = u32::from_be_bytes(batch[17..21].try_into().unwrap());
            assert_eq!(crc32c::crc32c(&batch[21..]), sum);
            position += length as u64;
        }
        size - self.from
    }
}

fn files_of(log: &Path) -> Vec<PathBuf> {
    let files = fs::read_dir(log).unwrap().map(|file| file.unwrap().path());
    let mut files: Vec<PathBuf> =
        files.filter(|file| file.extension().is_some_and(|it| it == "log")).collect();
    files.sort();
    files
}

/// Has another process write the directory, and kills it.
fn build_and_kill(plan: &Plan, path: &Path, beyond: usize) {
    let started = Instant::now();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["build", &format!("partitions={}", plan.partitions)])
        .arg(format!("gigabytes={}", plan.bytes as f64 / 1e9))
        .arg(format!("rounds={beyond}"))
        .arg(format!("dir={}", path.display()))
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let ready = lines.map_while(Result::ok).find(|line| line == "ready");
    ready.expect("the directory is written");
    child.kill().unwrap();
    child.wait().unwrap();
    println!("(written in {:.0?})", started.elapsed());
}

/// The other process: writes, checkpoints, writes `rounds` batches more, and waits for its end.
fn build(plan: &Plan) {
    let directory = open(&plan.directory, plan.threads);
    directory.set_broker_epoch(BrokerEpoch(1)).unwrap();
    let config = LogConfig { segment_bytes: SEGMENT_BYTES, ..LogConfig::default() };
    let logs: Vec<Arc<Log>> = (0..plan.partitions)
        .map(|index| {
            let topic = index / PARTITIONS_OF_A_TOPIC;
            let partition = (index % PARTITIONS_OF_A_TOPIC) as i32;
            let name = TopicPartition::new(format!("topic-{topic}").as_str(), partition);
            let id = TopicId(uuid::Uuid::from_u128(topic as u128 + 1));
            directory.create(&name, id, config.clone()).unwrap()
        })
        .collect();
    let batch = batch(SystemClock::new().wall());
    let rounds = plan.bytes / batch.len() as u64 / plan.partitions as u64;
    for round in 0..rounds {
        append_to_all(&logs, &batch);
        if round % 8 == 7 {
            directory.checkpoint_blocking().unwrap();
        }
    }
    directory.checkpoint_blocking().unwrap();
    for _ in 0..plan.rounds {
        append_to_all(&logs, &batch);
    }
    println!("ready");
    std::io::stdout().flush().unwrap();
    std::thread::sleep(Duration::MAX);
}

fn append_to_all(logs: &[Arc<Log>], batch: &Bytes) {
    for log in logs {
        log.append_as_leader(batch.clone(), LeaderEpoch(0), AppendOrigin::Client).unwrap();
    }
}

/// A batch of records of 1 KiB that differ.
fn batch(now: TimestampMs) -> Bytes {
    let mut builder = BatchBuilder::new(Offset::ZERO);
    let mut value = vec![0; 1 << 10];
    let mut state = 1_u64;
    while builder.size_bytes() + value.len() + 16 < BATCH_BYTES {
        for byte in &mut value {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            *byte = (state >> 56) as u8;
        }
        builder.push(now, None, Some(&value), &[]).unwrap();
    }
    builder.build().unwrap()
}

fn open(path: &Path, threads: usize) -> Arc<LogDirectory> {
    data_directory::open(path, Arc::new(ThreadOffload::start("opening", 8).unwrap()), threads)
}
