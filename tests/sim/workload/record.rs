//! The operations of one run, as they were invoked and answered.

use std::collections::BTreeMap;
use std::time::Duration;

/// One record's value: which producer, and its how manieth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value {
    pub producer: u32,
    pub number: u32,
}

impl Value {
    /// As it stands in a record.
    pub fn bytes(self) -> [u8; 8] {
        ((u64::from(self.producer) << 32) | u64::from(self.number)).to_be_bytes()
    }

    /// Read from a record.
    pub fn read(bytes: &[u8]) -> Option<Value> {
        let wide = u64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
        let number = u32::try_from(wide & u64::from(u32::MAX)).ok()?;
        Some(Value { producer: u32::try_from(wide >> 32).ok()?, number })
    }
}

impl std::fmt::Display for Value {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{}", self.producer, self.number)
    }
}

/// How a write ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// No answer came, or one that does not tell.
    Unknown,
    /// The broker said that it did not do it.
    Failed,
    /// At this offset.
    Acknowledged(i64),
}

/// A write.
#[derive(Debug, Clone)]
pub struct Write {
    pub partition: i32,
    pub acks: i16,
    pub answered: Duration,
    pub outcome: Outcome,
}

/// Everything that clients did and saw.
#[derive(Debug, Default)]
pub struct Record {
    pub writes: BTreeMap<Value, Write>,
    /// By consumer and partition: offsets and values in the order in which they were handed out.
    pub reads: BTreeMap<(u32, i32), Vec<(i64, Value)>>,
    /// Requests that were answered, of every kind.
    pub operations: u64,
}
