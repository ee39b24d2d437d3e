//! Compacting a log on one core: `cargo bench --bench compaction [-- speed|keys ...] [mb=N] [keys=N]`.
//!
//! - `speed`: uncompressed records of 1 KiB, 16 to a batch, each key ten times; MB/s of the log that
//!   was there before, from the first byte looked at to the last segment replaced, synced, beside
//!   reading and writing the same files without looking into them
//! - `keys`: small records of ten million different keys, each twice, with the default
//!   `log.cleaner.dedupe.buffer.size`; how many passes that takes, and the resident memory
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

mod data_directory;

use std::fs;
use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use ottla::log::{AppendOrigin, Cleaned, Cleaning, Log, LogConfig, LogDirectory, PassLimits, Step};
use ottla::record::BatchBuilder;
use ottla::storage::InlineOffload;
use ottla::types::clock::SystemClock;
use ottla::types::{Clock, LeaderEpoch, Offset, TimestampMs, TopicId, TopicPartition};

const ROUNDS: usize = 3;
const LIMITS: PassLimits = PassLimits {
    map_bytes: 128 << 20,
    load_factor: 0.9,
    read_bytes: 512 << 10,
    hash_key: [0x0123_4567_89ab_cdef, 0xfedc_ba98_7654_3210],
};

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, default: u64| {
        let found =
            arguments.iter().find_map(|argument| argument.strip_prefix(name)?.strip_prefix('='));
        found.and_then(|text| text.parse().ok()).unwrap_or(default)
    };
    let wanted = |name: &str| {
        let all = !arguments.iter().any(|argument| argument == "speed" || argument == "keys");
        all || arguments.iter().any(|argument| argument == name)
    };
    if wanted("speed") {
        for round in 1..=ROUNDS {
            speed(round, number("mb", 512) << 20);
        }
    }
    if wanted("keys") {
        keys(number("keys", 10_000_000));
    }
}

fn topic(directory: &LogDirectory) -> Arc<Log> {
    let config = LogConfig {
        segment_bytes: 64 << 20,
        cleanup_compact: true,
        cleanup_delete: false,
        file_delete_delay: Duration::ZERO,
        ..LogConfig::default()
    };
    let partition = TopicPartition::new("compacted", 0);
    directory.create(&partition, TopicId(uuid::Uuid::from_u128(1)), config).unwrap()
}

/// Appends records `0..count` with the keys that `key` says, `per_batch` at a time.
fn fill(log: &Log, count: u64, per_batch: u64, value_bytes: usize, key: impl Fn(u64) -> u64) {
    let now = SystemClock::new().wall();
    let value = vec![b'v'; value_bytes];
    let mut next = 0;
    while next < count {
        let mut builder = BatchBuilder::new(Offset::ZERO);
        for index in next..(next + per_batch).min(count) {
            let name = format!("key-{:012}", key(index));
            builder.push(now, Some(name.as_bytes()), Some(&value), &[]).unwrap();
        }
        next += per_batch;
        let batch = builder.build().unwrap();
        log.append_as_leader(batch, LeaderEpoch(0), AppendOrigin::Client).unwrap();
    }
}

fn settle(directory: &LogDirectory, log: &Log) {
    directory.checkpoint_blocking().unwrap();
    log.set_high_watermark(log.log_end_offset());
}

fn pass(log: &Arc<Log>, now: TimestampMs) -> Option<(Cleaned, Duration)> {
    let start = Instant::now();
    let mut cleaning = Cleaning::begin(log, LIMITS, now)?;
    while !matches!(cleaning.step(8 << 20).unwrap(), Step::Done(_)) {}
    Some((cleaning.cleaned(), start.elapsed()))
}

fn speed(round: usize, total_bytes: u64) {
    let folder = tempfile::tempdir().unwrap();
    let directory = data_directory::open(folder.path(), Arc::new(InlineOffload), 1);
    let log = topic(&directory);
    let records = total_bytes / 1024;
    let keys = (records / 10).max(1);
    fill(&log, records, 16, 1024 - 24, |index| index * 7919 % keys);
    settle(&directory, &log);
    let files: Vec<_> = log.sealed_segments().iter().map(|s| s.path().to_owned()).collect();
    let bare = copy(folder.path(), &files);
    let cpu_before = cpu();
    let (cleaned, took) = pass(&log, SystemClock::new().wall()).unwrap();
    let cpu_used = cpu() - cpu_before;
    let mb = |bytes: u64, took: f64| bytes as f64 / 1e6 / took;
    println!(
        "round {round}: compacted {:.0} MB to {:.0} MB in {:.2} s: {:.0} MB/s ({:.2} s of one core: {:.0} MB/s); \
         reading twice and writing what is left, bare: {:.2} s",
        cleaned.old_bytes as f64 / 1e6,
        cleaned.new_bytes as f64 / 1e6,
        took.as_secs_f64(),
        mb(cleaned.old_bytes, took.as_secs_f64()),
        cpu_used,
        mb(cleaned.old_bytes, cpu_used),
        bare.as_secs_f64(),
    );
}

/// Reads the files twice, and writes a tenth of them into one that is synced.
fn copy(folder: &Path, files: &[std::path::PathBuf]) -> Duration {
    let start = Instant::now();
    let mut buffer = vec![0; 512 << 10];
    let target = folder.join("bare");
    let mut out = fs::File::create(&target).unwrap();
    for write in [false, true] {
        for path in files {
            let mut file = fs::File::open(path).unwrap();
            while let Ok(count @ 1..) = file.read(&mut buffer) {
                if write {
                    out.write_all(&buffer[..count / 10]).unwrap();
                }
            }
        }
    }
    out.sync_data().unwrap();
    let took = start.elapsed();
    fs::remove_file(target).unwrap();
    took
}

/// CPU seconds of this process, of all threads.
fn cpu() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    let ticks: f64 = fields[11].parse::<f64>().unwrap() + fields[12].parse::<f64>().unwrap();
    ticks / rustix::param::clock_ticks_per_second() as f64
}

/// Resident memory now, and the most that it has been, in MB.
fn resident() -> (f64, f64) {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let of = |name: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
        line.split_whitespace().next().unwrap().parse::<f64>().unwrap() * 1024.0 / 1e6
    };
    (of("VmRSS:"), of("VmHWM:"))
}

fn keys(keys: u64) {
    let folder = tempfile::tempdir().unwrap();
    let directory = data_directory::open(folder.path(), Arc::new(InlineOffload), 1);
    let log = topic(&directory);
    fill(&log, keys * 2, 500, 8, |index| index * 7919 % keys);
    fill(&log, 1, 1, 70 << 20 >> 10, |_| 0);
    settle(&directory, &log);
    let (before, _) = resident();
    println!(
        "{keys} keys, {:.0} MB, {} segments; {before:.0} MB resident before; a map of at most {} MB",
        log.size_bytes() as f64 / 1e6,
        log.segment_count(),
        LIMITS.map_bytes >> 20,
    );
    let mut number = 0;
    while let Some((cleaned, took)) = pass(&log, SystemClock::new().wall()) {
        number += 1;
        let (now, most) = resident();
        println!(
            "pass {number}: {} keys, {:.0} MB to {:.0} MB in {:.1} s, through {}; map {:.0} MB, {now:.0} MB resident, {most:.0} MB at most",
            cleaned.keys,
            cleaned.old_bytes as f64 / 1e6,
            cleaned.new_bytes as f64 / 1e6,
            took.as_secs_f64(),
            log.compacted_to(),
            cleaned.map_memory_bytes as f64 / 1e6,
        );
        directory.checkpoint_blocking().unwrap();
    }
}
