//! One partition of an internal topic, led by this broker, around a pure machine.

/// One request that waits for an answer. A shard never gives a number twice; other shards, and
/// the same partition in a later reign, give their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RequestId(pub u64);
