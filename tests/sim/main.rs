//! Whole clusters in one process, on a simulated network, with simulated disks, clocks and chance:
//! one seed is one history.
//!
//! - [`world`]: machines, network, clocks, and the nodes on them
//! - [`workload`]: what clients do, and whether the cluster kept its word
//! - [`checker`]: histories of clients, held against the anomalies that Jepsen names
//! - [`faults`]: what fails
//! - [`invariants`]: what must hold at every moment
//! - [`run`]: one seed from beginning to end; [`ending`]: all is as it was, and what lies in the logs
//! - [`seeds`]: many seeds, and what a failure says
//! - [`trace`]: the timeline; [`panics`]: tasks that panic
//! - [`planted`]: bugs that all this has to find
//!
//! Where a member cannot be reached, openraft waits for the end of a pause or for news, and if both
//! come at once it takes one at random. tokio draws that from the seed only with
//! `--cfg tokio_unstable`, which `.cargo/config.toml` sets. Something is left that no seed reaches:
//! with faults, a run beside others in one process now and then parts from the same run alone, by
//! when a dead process is noticed. So the test that holds two histories against each other lets
//! nothing fail.
//!
//! `OTTLA_SIM_SEED=n cargo test --locked --test sim` plays one seed again; `OTTLA_SIM_TIMELINE=path`
//! writes its timeline there, `OTTLA_SIM_LOG=ottla=debug` makes it say more. `OTTLA_SIM_SEEDS=n` runs
//! so many, from `OTTLA_SIM_FROM` on, and with `OTTLA_SIM_STOP=1` no more after a failure; see
//! `scripts/sim.sh`.
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod checker;
// Here, since the checker also judges the real processes of `tests/cluster`.
#[path = "checker/tests/mod.rs"]
mod checker_tests;
mod client;
mod ending;
mod faults;
mod invariants;
mod panics;
mod planted;
mod run;
mod seeds;
mod trace;
mod workload;
mod world;

use run::Options;

#[test]
fn a_seed_is_one_history() {
    panics::watch();
    let options = Options { faults: false, ..Options::of(seeds::first()) };
    let (once, again) = (run::run(&options), run::run(&options));
    let differs = once.lines.iter().zip(&again.lines).position(|(a, b)| a != b);
    if let Some(at) = differs {
        let before = once.lines[at.saturating_sub(20)..at].join("\n");
        let (first, second) = (&once.lines[at], &again.lines[at]);
        panic!("the second run parts from the first:\n{before}\nfirst:  {first}\nsecond: {second}");
    }
    assert_eq!(once.lines.len(), again.lines.len());
    assert!(once.operations > 100, "only {} operations", once.operations);
}

#[test]
fn what_was_acknowledged_is_kept() {
    seeds::run_all();
}
