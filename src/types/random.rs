//! Randomness comes in through here, so that a simulated cluster draws it from its seed.

use std::fmt;

use parking_lot::Mutex;
use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};
use uuid::Uuid;

/// A source of random numbers.
pub trait Random: Send + Sync + fmt::Debug + 'static {
    /// 64 random bits.
    fn bits(&self) -> u64;
}

impl dyn Random {
    /// A random (version 4) uuid whose base64 form does not begin with `-`, so that it is never
    /// taken for a flag on a command line; Kafka avoids those too.
    pub fn uuid(&self) -> Uuid {
        loop {
            let wide = (u128::from(self.bits()) << 64) | u128::from(self.bits());
            let uuid = uuid::Builder::from_random_bytes(wide.to_be_bytes()).into_uuid();
            if uuid.as_bytes()[0] >> 2 != 62 {
                return uuid;
            }
        }
    }

    /// A number in `0..bound`; 0 if `bound` is 0.
    pub fn below(&self, bound: u64) -> u64 {
        if bound == 0 { 0 } else { self.bits() % bound }
    }
}

/// One step of splitmix64: what looks random and follows from `state` alone.
pub fn mix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// The next of the splitmix64 sequence that `state` stands in.
pub fn next_mixed(state: &mut u64) -> u64 {
    let next = mix(*state);
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    next
}

/// The operating system's randomness.
#[derive(Debug, Default)]
pub struct SystemRandom;

impl Random for SystemRandom {
    fn bits(&self) -> u64 {
        rand::rng().next_u64()
    }
}

/// The same numbers for the same seed: for tests and simulation.
#[derive(Debug)]
pub struct SeededRandom(Mutex<StdRng>);

impl SeededRandom {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }
}

impl Random for SeededRandom {
    fn bits(&self) -> u64 {
        self.0.lock().next_u64()
    }
}
