//! Batches of a topic whose `compression.type` is not `producer` are packed anew if they came in
//! another codec. The one place, beside compaction, where records are decoded on the way in.

use bytes::Bytes;

use crate::log::config::LogConfig;
use crate::log::error::InvalidBatch;
use crate::log::unpacking::unpack;
use crate::log::validate::{ValidBatch, format_error};
use crate::record::{Batch, BatchBuilder, BatchHeader, Compression, Record, RecordError};
use crate::types::ErrorCode;

/// Packs those of `batches` anew that are not in `codec`.
pub(crate) fn recompress(
    batches: &mut [ValidBatch],
    codec: Compression,
    config: &LogConfig,
) -> Result<(), InvalidBatch> {
    for valid in batches {
        let came_in = valid.header.compression().map_err(|error| format_error(&error))?;
        if came_in == codec || valid.header.is_control() {
            continue;
        }
        let batch = Batch { header: valid.header.clone(), bytes: valid.bytes.clone() };
        let records = unpack(|limit_bytes| batch.records_within(limit_bytes))
            .map_err(|error| format_error(&error))?;
        let repacked = repack(&valid.header, &records.content, codec, config);
        let bytes = repacked.map_err(|error| format_error(&error))?;
        if bytes.len() > config.max_message_bytes {
            let message = format!(
                "The record batch is {} bytes after compression, the maximum is {}",
                bytes.len(),
                config.max_message_bytes
            );
            return Err(InvalidBatch::new(ErrorCode::MessageTooLarge, message));
        }
        valid.header = BatchHeader::parse(&bytes).map_err(|error| format_error(&error))?;
        valid.bytes = bytes;
    }
    Ok(())
}

fn repack(
    header: &BatchHeader,
    records: &[Record],
    codec: Compression,
    config: &LogConfig,
) -> Result<Bytes, RecordError> {
    let mut builder = BatchBuilder::new(header.base_offset)
        .compression(codec)
        .compression_level(config.compression_level)
        .producer(header.producer_id, header.producer_epoch, header.base_sequence);
    if header.is_transactional() {
        builder = builder.transactional();
    }
    for record in records {
        builder.push_record(record)?;
    }
    builder.build()
}
