//! A batch, and the walk over many.

use bytes::Bytes;

use crate::record::header::CRC_FROM;
use crate::record::{BatchHeader, Compression, HEADER_BYTES, Record, RecordError, decode};

/// What [`Batch::records`] lets a batch unpack to.
pub const MAX_DECOMPRESSED_BYTES: usize = 256 << 20;

/// One batch, complete.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// What it says of itself.
    pub header: BatchHeader,
    /// All of it, header included.
    pub bytes: Bytes,
}

impl Batch {
    /// Takes the first batch off `bytes`, which are left as they were if there is an error.
    pub fn split_from(bytes: &mut Bytes) -> Result<Batch, RecordError> {
        let header = BatchHeader::parse(bytes)?;
        let needed_bytes = header.size_bytes();
        if bytes.len() < needed_bytes {
            return Err(RecordError::Incomplete { needed_bytes, available_bytes: bytes.len() });
        }
        Ok(Batch { header, bytes: bytes.split_to(needed_bytes) })
    }

    /// Fails if the content is not what was written.
    pub fn verify_crc(&self) -> Result<(), RecordError> {
        verify_crc(&self.header, &self.bytes)
    }

    /// The records, unpacked to at most [`MAX_DECOMPRESSED_BYTES`].
    pub fn records(&self) -> Result<Vec<Record>, RecordError> {
        self.records_within(MAX_DECOMPRESSED_BYTES)
    }

    /// The records, unpacked to at most `limit_bytes`.
    pub fn records_within(&self, limit_bytes: usize) -> Result<Vec<Record>, RecordError> {
        let packed = self.bytes.slice(HEADER_BYTES.min(self.bytes.len())..);
        let content = match self.header.compression()? {
            Compression::None => packed,
            codec => codec.decompress(&packed, limit_bytes)?,
        };
        decode::records(&self.header, content)
    }
}

/// Fails if the content of the whole batch `bytes` is not what `header`, its own, says.
pub fn verify_crc(header: &BatchHeader, bytes: &[u8]) -> Result<(), RecordError> {
    let computed = crc32c::crc32c(bytes.get(CRC_FROM..).unwrap_or_default());
    if computed != header.crc {
        return Err(RecordError::Checksum { stored: header.crc, computed });
    }
    Ok(())
}

/// The batches in `bytes`, one behind the other. Ends after the first error; an incomplete tail
/// is [`RecordError::Incomplete`].
pub fn batches(bytes: &Bytes) -> Batches {
    Batches { rest: bytes.clone() }
}

/// See [`batches`].
#[derive(Debug, Clone)]
pub struct Batches {
    rest: Bytes,
}

impl Iterator for Batches {
    type Item = Result<Batch, RecordError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let batch = Batch::split_from(&mut self.rest);
        if batch.is_err() {
            self.rest = Bytes::new();
        }
        Some(batch)
    }
}
