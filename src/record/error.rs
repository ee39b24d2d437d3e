//! What can be wrong with records, and how the protocol says it.

use crate::types::ErrorCode;

/// Why bytes are not a batch, or its records cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RecordError {
    /// The bytes end before the batch does: the tail of a fetch, or of a file that a crash cut.
    #[error("the batch needs {needed_bytes} bytes, there are {available_bytes}")]
    Incomplete {
        /// What is needed to go on: the header, or the whole batch once its length is known.
        needed_bytes: usize,
        /// What there is.
        available_bytes: usize,
    },
    /// The length field cannot be true.
    #[error("a batch cannot be {0} bytes long behind its length field")]
    InvalidLength(i32),
    /// Format 0 or 1, from before Kafka 0.11.
    #[error("record format {0} is not supported: only version 2 is")]
    OldFormat(i8),
    /// A format that is not known.
    #[error("unknown record format {0}")]
    UnknownFormat(i8),
    /// The content is not what was written.
    #[error("the checksum is {computed:#010x}, the batch says {stored:#010x}")]
    Checksum {
        /// What the batch says.
        stored: u32,
        /// What its content gives.
        computed: u32,
    },
    /// A codec's number that is not known.
    #[error("unknown compression type {0}")]
    UnknownCompression(u8),
    /// The codec cannot unpack it.
    #[error("{codec} records cannot be unpacked: {reason}")]
    Decompression {
        /// The codec's name.
        codec: &'static str,
        /// What it says.
        reason: String,
    },
    /// The codec cannot pack it.
    #[error("records cannot be packed with {codec}: {reason}")]
    Compression {
        /// The codec's name.
        codec: &'static str,
        /// What it says.
        reason: String,
    },
    /// It unpacks to more than the caller allows.
    #[error("the records unpack to more than {limit_bytes} bytes")]
    TooLarge {
        /// What the caller allows.
        limit_bytes: usize,
    },
    /// The records inside do not follow the format.
    #[error("invalid record: {0}")]
    Invalid(&'static str),
}

impl RecordError {
    /// How the protocol says it.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            RecordError::Incomplete { .. }
            | RecordError::InvalidLength(_)
            | RecordError::UnknownFormat(_)
            | RecordError::Checksum { .. }
            | RecordError::Decompression { .. } => ErrorCode::CorruptMessage,
            RecordError::OldFormat(_) => ErrorCode::UnsupportedForMessageFormat,
            RecordError::UnknownCompression(_) => ErrorCode::UnsupportedCompressionType,
            RecordError::Compression { .. }
            | RecordError::TooLarge { .. }
            | RecordError::Invalid(_) => ErrorCode::InvalidRecord,
        }
    }
}
