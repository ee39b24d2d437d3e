//! Record batches, version 2, byte for byte as Kafka lays them out. Pure: bytes in, values out.
//! Nothing that a length or a count claims is believed before it is checked.
//!
//! - `header`: the 61 bytes that open every batch
//! - `batch`: a batch and the walk over many
//! - `compression`: the four codecs in Kafka's framings, with a bound on what comes out
//! - `decode`, `varint`: the records inside
//! - `builder`: makes batches
//! - `assign`: what a leader writes into a finished batch
//! - `control`: the records that mark the ends of transactions
//! - `raw`, `retain`: records as they lie in a batch; what compaction leaves of one
//! - `error`: what can be wrong

mod assign;
mod batch;
mod builder;
#[cfg(test)]
mod byte_tests;
mod compression;
mod control;
mod decode;
mod error;
mod header;
#[cfg(test)]
mod oracle_tests;
mod raw;
mod retain;
mod varint;

pub use assign::assign;
pub use batch::{Batch, Batches, MAX_DECOMPRESSED_BYTES, batches, verify_crc};
pub use builder::BatchBuilder;
pub use compression::Compression;
pub use control::{ControlType, EndTransactionMarker};
pub use decode::{Header, Record};
pub use error::RecordError;
pub use header::{BatchHeader, BatchSpan, CRC_FROM, HEADER_BYTES, TimestampType};
pub use raw::{RawRecord, RawRecords, raw_records};
pub use retain::{Retained, emptied};
