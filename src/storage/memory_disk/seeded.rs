//! Choices that a seed makes, without a shared generator: one sequence per crash.

use crate::types::random::next_mixed;

/// The splitmix64 sequence of a seed.
#[derive(Debug, Clone)]
pub struct Seeded(u64);

impl Seeded {
    /// The sequence that belongs to `seed`.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A number in `0..bound`; 0 if `bound` is 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        next_mixed(&mut self.0).checked_rem(bound).unwrap_or(0)
    }
}
