//! The protocol room against an independent implementation, against bytes written out by hand, and
//! against hostile input.
//!
//! - `oracle`: every message and version, both ways, against `kafka-protocol`
//! - `by_hand`: what the oracle does not know
//! - `captured`: requests of real clients
//! - `fuzzed`: the targets of the fuzzer, on its corpus
//! - `hostile`: truncated, exaggerated and random bytes
//! - `no_copies`: records stay where they are
#![allow(missing_docs, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[macro_use]
mod every_api;

mod by_hand;
mod captured;
mod fuzzed;
mod hostile;
mod no_copies;
mod oracle;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// Random numbers below a bound, the same for the same seed.
pub fn draw(seed: u64) -> impl FnMut(u32) -> u32 {
    let mut random = StdRng::seed_from_u64(seed);
    move |bound| random.random_range(0..bound.max(1))
}
