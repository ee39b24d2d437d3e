//! Reading a log from its start to its end, cached and cold, beside reading the same bytes from a
//! plain file, in interleaved rounds of one run: `cargo bench --bench log_read`. Prints MB/s of both
//! and their ratio; the goal is at least 0.9, and cold the disk's speed.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod data_directory;

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use ottla::log::{AppendOrigin, Log, LogConfig};
use ottla::record::BatchBuilder;
use ottla::storage::InlineOffload;
use ottla::types::clock::SystemClock;
use ottla::types::{Clock, LeaderEpoch, Offset, TopicId, TopicPartition};

const TOTAL_BYTES: usize = 256 << 20;
const ROUNDS: usize = 11;
const ROUNDS_COLD: usize = 5;

fn batch_of(batch_bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Offset::ZERO);
    let record = vec![b'v'; (batch_bytes - 100).min(1024)];
    let now = SystemClock::new().wall();
    while builder.size_bytes() + record.len() + 16 < batch_bytes {
        builder.push(now, None, Some(&record), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// A plain file of the same bytes, read into one buffer over and over.
fn plain_round(file: &File, length: usize, read_bytes: usize) -> Duration {
    let start = Instant::now();
    let mut buffer = vec![0; read_bytes];
    let mut position = 0;
    while position < length {
        let wanted = read_bytes.min(length - position);
        file.read_exact_at(&mut buffer[..wanted], position as u64).unwrap();
        std::hint::black_box(&buffer);
        position += wanted;
    }
    start.elapsed()
}

fn log_round(log: &Log, read_bytes: usize) -> Duration {
    let start = Instant::now();
    let end = log.log_end_offset();
    let mut next = Offset::ZERO;
    while next < end {
        let slice = log.read(next, end, read_bytes, true).unwrap();
        std::hint::black_box(&slice.records);
        next = slice.next_offset;
    }
    start.elapsed()
}

/// Writes the file to the device and has the system forget it: the next reads are the device's.
fn chill(file: &File) {
    file.sync_all().unwrap();
    rustix::fs::fadvise(file, 0, None, rustix::fs::Advice::DontNeed).unwrap();
}

fn chill_log(log: &Log) {
    for entry in std::fs::read_dir(log.path()).unwrap() {
        chill(&File::open(entry.unwrap().path()).unwrap());
    }
}

/// Rounds of the plain file and the log, in turns; the seconds of each.
fn rounds(
    count: usize,
    mut plain: impl FnMut() -> Duration,
    mut ours: impl FnMut() -> Duration,
) -> (Vec<f64>, Vec<f64>) {
    (0..count).map(|_| (plain().as_secs_f64(), ours().as_secs_f64())).unzip()
}

fn report(what: &str, length: usize, (plain, ours): &(Vec<f64>, Vec<f64>)) {
    let mut ratios: Vec<f64> = plain.iter().zip(ours).map(|(plain, ours)| plain / ours).collect();
    ratios.sort_by(f64::total_cmp);
    let rate = |times: &[f64]| (length * times.len()) as f64 / 1e6 / times.iter().sum::<f64>();
    println!(
        "{what}: plain file {:.0} MB/s, log {:.0} MB/s, ratio {:.3} (median of {} rounds {:.3})",
        rate(plain),
        rate(ours),
        rate(ours) / rate(plain),
        ratios.len(),
        ratios[ratios.len() / 2],
    );
}

fn compare(batch_bytes: usize, read_bytes: usize, with_cold: bool) {
    let directory = tempfile::tempdir().unwrap();
    let logs = data_directory::open(&directory.path().join("logs"), Arc::new(InlineOffload), 1);
    let partition = TopicPartition::new("bench", 0);
    let id = TopicId(uuid::Uuid::from_u128(1));
    // Several segments, all but the last of them sealed.
    let config = LogConfig { segment_bytes: 64 << 20, ..LogConfig::default() };
    let log = logs.create(&partition, id, config).unwrap();
    let batch = batch_of(batch_bytes);
    let file = File::options()
        .read(true)
        .write(true)
        .create_new(true)
        .open(directory.path().join("plain"))
        .unwrap();
    let count = TOTAL_BYTES / batch.len();
    for index in 0..count {
        log.append_as_leader(batch.clone(), LeaderEpoch(0), AppendOrigin::Client).unwrap();
        file.write_all_at(&batch, (index * batch.len()) as u64).unwrap();
    }
    let length = count * batch.len();
    plain_round(&file, length, read_bytes);
    log_round(&log, read_bytes);
    let plain = || plain_round(&file, length, read_bytes);
    let what = format!("{:>7} B batches, {read_bytes:>7} B a read", batch.len());
    let cached = rounds(ROUNDS, plain, || log_round(&log, read_bytes));
    report(&format!("{what}, cached"), length, &cached);
    if with_cold {
        let plain = || {
            chill(&file);
            plain()
        };
        let ours = || {
            chill_log(&log);
            log_round(&log, read_bytes)
        };
        report(&format!("{what}, cold"), length, &rounds(ROUNDS_COLD, plain, ours));
    }
}

fn main() {
    for (batch_kib, read_kib) in [(1, 1024), (16, 1024), (64, 1024), (1023, 1024), (16, 64)] {
        compare(batch_kib << 10, read_kib << 10, batch_kib == 64);
    }
}
