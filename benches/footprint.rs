//! How small and how quick to start: `ottla dev` from its start to `ready`, an idle broker's resident
//! memory, and the binary's size.
//!
//!     cargo bench --bench footprint [-- ROUNDS]
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic, dead_code)]

#[path = "../tests/cluster/harness.rs"]
mod harness;

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use harness::{Cluster, free_port};

/// How long a broker is left alone before its memory is read.
const IDLE: Duration = Duration::from_secs(5);

fn main() {
    let rounds = std::env::args().skip(1).find_map(|argument| argument.parse().ok()).unwrap_or(5);
    let mut starts: Vec<Duration> = (0..rounds).map(|_| dev_start()).collect();
    starts.sort();
    let (median, worst) = (starts[starts.len() / 2], starts[starts.len() - 1]);
    println!(
        "ottla dev, three brokers, start to ready: median {median:.2?}, worst {worst:.2?} of {rounds}"
    );

    let cluster = Cluster::start(3, "");
    std::thread::sleep(IDLE);
    let resident = cluster.resident_bytes().into_iter().map(|bytes| bytes as f64 / 1e6);
    let resident: Vec<String> = resident.map(|megabytes| format!("{megabytes:.1} MB")).collect();
    println!("resident memory of three idle brokers: {}", resident.join(", "));

    let binary = std::fs::metadata(env!("CARGO_BIN_EXE_ottla")).unwrap().len();
    println!("binary: {:.1} MB", binary as f64 / 1e6);
}

fn dev_start() -> Duration {
    let directory = tempfile::tempdir().unwrap();
    let port = free_port();
    let started = Instant::now();
    let mut dev = Command::new(env!("CARGO_BIN_EXE_ottla"))
        .args(["dev", "--port", &port.to_string(), "--data-dir"])
        .arg(directory.path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let lines = BufReader::new(dev.stdout.take().unwrap()).lines();
    let ready = lines.map_while(Result::ok).find(|line| line.starts_with("ready: "));
    let elapsed = started.elapsed();
    ready.expect("ottla dev becomes ready");
    Command::new("kill").args(["-TERM", &dev.id().to_string()]).status().unwrap();
    dev.wait().unwrap();
    elapsed
}
