//! Many seeds, on all cores, and what a failure says.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::checker::report::{Allowed, Anomaly, Report};
use crate::panics;
use crate::run::{self, Options, Outcome};

/// How many seeds a test run tries unless it is told otherwise.
const DEFAULT_SEEDS: u64 = 150;

/// How much of the timeline a failure shows; the rest is written on demand.
const SHOWN_LINES: usize = 120;

/// The first seed.
pub fn first() -> u64 {
    number("OTTLA_SIM_SEED").or(number("OTTLA_SIM_FROM")).unwrap_or(1)
}

fn number(variable: &str) -> Option<u64> {
    let text = std::env::var(variable).ok()?;
    Some(text.parse().unwrap_or_else(|_| panic!("{variable}={text} is not a number")))
}

/// Runs every seed that was asked for, and fails with the first that does. With `OTTLA_SIM_STOP` no
/// other is begun after that.
pub fn run_all() {
    panics::watch();
    let count = match number("OTTLA_SIM_SEED") {
        Some(_) => 1,
        None => number("OTTLA_SIM_SEEDS").unwrap_or(DEFAULT_SEEDS),
    };
    let (from, next) = (first(), AtomicU64::new(0));
    let (failures, operations) = (Mutex::new(BTreeMap::new()), AtomicU64::new(0));
    let stops = std::env::var_os("OTTLA_SIM_STOP").is_some();
    let allowed = Mutex::new(Totals::new());
    let (began, cpu) = (Instant::now(), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let threads = std::thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..threads.min(usize::try_from(count).unwrap_or(1)) {
            scope.spawn(|| {
                loop {
                    let seed = from + next.fetch_add(1, Ordering::Relaxed);
                    if seed >= from + count || (stops && !failures.lock().is_empty()) {
                        break;
                    }
                    let before = cpu_ns();
                    let outcome = run::run(&Options::of(seed));
                    cpu.fetch_add(cpu_ns() - before, Ordering::Relaxed);
                    operations.fetch_add(outcome.operations, Ordering::Relaxed);
                    println!("{}", summary(seed, &outcome));
                    add(&mut allowed.lock(), &outcome.report);
                    if count == 1
                        && let Ok(path) = std::env::var("OTTLA_SIM_TIMELINE")
                    {
                        std::fs::write(&path, outcome.lines.join("\n")).unwrap();
                    }
                    if outcome.complaint.is_some() {
                        failures.lock().insert(seed, report(seed, &outcome));
                    }
                }
            });
        }
    });
    let seconds = began.elapsed().as_secs_f64();
    for ((anomaly, why), count) in allowed.into_inner() {
        println!("{anomaly:?}: {count}, allowed ({why:?})");
    }
    let (operations, cpu) = (operations.into_inner(), cpu.into_inner() as f64 / 1e9);
    println!(
        "{count} seeds, {operations} operations in {seconds:.1} s, {:.0} per second of {cpu:.1} s of CPU time",
        operations as f64 / cpu
    );
    let failures = failures.into_inner();
    if let Some(first) = failures.values().next() {
        panic!("{} of {count} seeds failed; the first:\n{first}", failures.len());
    }
}

/// What was found and is allowed, with how often.
type Totals = BTreeMap<(Anomaly, Allowed), usize>;

fn add(totals: &mut Totals, report: &Report) {
    for ((anomaly, allowed), count) in &report.counts {
        if let Some(why) = allowed {
            *totals.entry((*anomaly, *why)).or_default() += count;
        }
    }
}

/// The CPU time that this thread has taken so far, in nanoseconds.
fn cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0)
}

fn summary(seed: u64, outcome: &Outcome) -> String {
    let verdict = outcome.complaint.as_deref().unwrap_or("ok");
    let verdict = verdict.lines().next().unwrap_or_default();
    let simulated = outcome.simulated.as_secs_f64();
    format!("seed {seed}: {simulated:.1} s simulated, {} operations: {verdict}", outcome.operations)
}

fn report(seed: u64, outcome: &Outcome) -> String {
    let lines = &outcome.lines;
    let from = lines.len().saturating_sub(SHOWN_LINES);
    format!(
        "seed {seed}: {}\n\nplay it again:\n  OTTLA_SIM_SEED={seed} OTTLA_SIM_TIMELINE=timeline.txt \
         cargo test --locked --test sim what_was\n\nthe end of its timeline, after {from} lines:\n{}\n",
        outcome.complaint.as_deref().unwrap_or("ok"),
        lines[from..].join("\n")
    )
}
