//! What clients do in a run, drawn from its seed.

use ottla::types::Random;
use ottla::types::random::{SeededRandom, mix};

/// How a producer sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// Each record once, with acks 0, 1 or all as it comes.
    Once,
    /// Again and again until it is acknowledged, with sequence numbers.
    Idempotent,
}

/// See the module's documentation.
#[derive(Debug, Clone)]
pub struct Plan {
    pub partitions: i32,
    pub producers: Vec<Sending>,
    /// How many consumers read each partition.
    pub readers: u32,
}

impl Plan {
    /// That of a seed.
    pub fn of(seed: u64) -> Plan {
        let random: &dyn Random = &SeededRandom::new(mix(seed ^ 0x71a9));
        let partitions = 1 + i32::try_from(random.below(4)).unwrap_or(0);
        let producers = (0..1 + random.below(3)).map(|_| match random.below(3) {
            0 => Sending::Once,
            _ => Sending::Idempotent,
        });
        let producers = producers.collect();
        let readers = if partitions > 2 { 1 } else { 2 };
        Plan { partitions, producers, readers }
    }
}
