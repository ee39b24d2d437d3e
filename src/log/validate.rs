//! Whether records that a producer sends are fit for the log, judged as Kafka's LogValidator
//! does. Pure. The batch is not changed and its records are not decoded: their frames are walked
//! over in place (compressed ones are decompressed for that, and stay compressed).

use bytes::Bytes;
use smallvec::SmallVec;

use crate::log::config::LogConfig;
use crate::log::error::{InvalidBatch, RecordError};
use crate::log::frames::{Frame, walk};
use crate::log::unpacking::unpack;
use crate::record::{Batch, BatchHeader, Compression, RecordError as FormatError, TimestampType};
use crate::types::{ErrorCode, ProducerId, TimestampMs};

/// How many bad records are named in one answer.
const RECORD_ERRORS_NAMED: usize = 100;

/// One of each of the batches of an append: nearly always there is one.
pub type Few<T> = SmallVec<[T; 1]>;

/// In whose name records are appended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AppendOrigin {
    /// A producer: everything is checked.
    Client,
    /// A producer whose part in a transaction has been verified (KIP-890).
    Transaction,
    /// A coordinator of this broker: control records are allowed, as is more than one batch.
    Coordinator,
    /// The leader of the metadata quorum: as a coordinator; timestamps are its own.
    RaftLeader,
}

impl AppendOrigin {
    fn is_client(self) -> bool {
        match self {
            AppendOrigin::Client | AppendOrigin::Transaction => true,
            AppendOrigin::Coordinator | AppendOrigin::RaftLeader => false,
        }
    }
}

/// A batch that has passed.
#[derive(Debug, Clone)]
pub struct ValidBatch {
    /// Its header as it came.
    pub header: BatchHeader,
    /// All of it, header included.
    pub bytes: Bytes,
    /// Set where the topic's timestamps are the broker's: the timestamp to write.
    pub append_time: Option<TimestampMs>,
    /// Set where the header's largest timestamp was not that of its records: the right one.
    pub corrected_max_timestamp: Option<TimestampMs>,
}

/// Checks `records` against the format and the topic's configuration.
pub fn validate(
    records: Bytes,
    origin: AppendOrigin,
    config: &LogConfig,
    now: TimestampMs,
) -> Result<Few<ValidBatch>, InvalidBatch> {
    let total_bytes = records.len();
    let mut valid = Few::new();
    let mut rest = records;
    while !rest.is_empty() {
        if origin.is_client() && !valid.is_empty() {
            return Err(invalid_record(
                "Produce requests are only allowed to contain exactly one record batch per partition",
            ));
        }
        let header = BatchHeader::parse(&rest).map_err(|error| format_error(&error))?;
        let size = header.size_bytes();
        if size > rest.len() {
            let message =
                format!("Record batch of {size} bytes is cut off after {} bytes", rest.len());
            return Err(InvalidBatch::new(ErrorCode::CorruptMessage, message));
        }
        let batch = Batch { header, bytes: rest.split_to(size) };
        valid.push(validate_batch(batch, origin, config, now)?);
    }
    if valid.is_empty() {
        return Err(invalid_record(
            "Produce requests must have at least one record batch per partition",
        ));
    }
    if u64::try_from(total_bytes).unwrap_or(u64::MAX) > config.segment_bytes {
        let message = format!(
            "Record batch list of {total_bytes} bytes exceeds the maximum configured segment size of {}",
            config.segment_bytes
        );
        return Err(InvalidBatch::new(ErrorCode::RecordListTooLarge, message));
    }
    Ok(valid)
}

fn validate_batch(
    batch: Batch,
    origin: AppendOrigin,
    config: &LogConfig,
    now: TimestampMs,
) -> Result<ValidBatch, InvalidBatch> {
    if batch.bytes.len() > config.max_message_bytes {
        let message = format!(
            "The record batch size is {} bytes which exceeds the maximum configured value of {}",
            batch.bytes.len(),
            config.max_message_bytes
        );
        if origin.is_client() {
            return Err(InvalidBatch::new(ErrorCode::MessageTooLarge, message));
        }
    }
    batch.verify_crc().map_err(|error| format_error(&error))?;
    validate_header(&batch.header, origin, config)?;
    let seen = validate_records(&batch, origin, config, now)?;
    let Batch { header, bytes } = batch;
    let append_time = match config.timestamp_type {
        TimestampType::LogAppendTime if origin != AppendOrigin::RaftLeader => Some(now),
        TimestampType::LogAppendTime | TimestampType::CreateTime => None,
    };
    let corrected_max_timestamp =
        (append_time.is_none() && seen != header.max_timestamp).then_some(seen);
    Ok(ValidBatch { header, bytes, append_time, corrected_max_timestamp })
}

fn validate_header(
    header: &BatchHeader,
    origin: AppendOrigin,
    config: &LogConfig,
) -> Result<(), InvalidBatch> {
    let in_offsets = i64::from(header.last_offset_delta) + 1;
    if in_offsets <= 0 {
        let last = header.last_offset_delta;
        return Err(invalid_record(format!("Batch has an invalid offset range: [0, {last}]")));
    }
    if header.record_count <= 0 {
        let count = header.record_count;
        return Err(invalid_record(format!("Invalid reported count for record batch: {count}")));
    }
    if in_offsets != i64::from(header.record_count) {
        return Err(invalid_record(format!(
            "Inconsistent batch offset range [0, {}] and count of records {}",
            header.last_offset_delta, header.record_count
        )));
    }
    if !origin.is_client() {
        return Ok(());
    }
    if header.base_offset.0 != 0 {
        return Err(invalid_record(format!(
            "The baseOffset of the record batch in the append should be 0, but it is {}",
            header.base_offset
        )));
    }
    if header.is_control() {
        return Err(invalid_record("Clients are not allowed to write control records"));
    }
    if header.producer_id != ProducerId::NONE && header.base_sequence < 0 {
        return Err(invalid_record(format!(
            "Invalid sequence number {} in record batch with producerId {}",
            header.base_sequence, header.producer_id
        )));
    }
    if header.is_transactional() && origin != AppendOrigin::Transaction {
        let message = "Transactional records need a transaction that includes the partition";
        return Err(InvalidBatch::new(ErrorCode::InvalidTxnState, message));
    }
    if config.timestamp_type == TimestampType::CreateTime
        && header.timestamp_type() == TimestampType::LogAppendTime
    {
        let message = "Producer should not set timestamp type to LogAppendTime";
        return Err(InvalidBatch::new(ErrorCode::InvalidTimestamp, message));
    }
    Ok(())
}

/// Walks over the records; gives the largest timestamp among them.
fn validate_records(
    batch: &Batch,
    origin: AppendOrigin,
    config: &LogConfig,
    now: TimestampMs,
) -> Result<TimestampMs, InvalidBatch> {
    let header = &batch.header;
    let decompressed;
    let payload = match header.compression().map_err(|error| format_error(&error))? {
        Compression::None => &batch.bytes[crate::record::HEADER_BYTES..],
        codec => {
            let packed = &batch.bytes[crate::record::HEADER_BYTES..];
            decompressed = unpack(|limit_bytes| codec.decompress(packed, limit_bytes))
                .map_err(|error| format_error(&error))?;
            &decompressed.content[..]
        }
    };
    let mut check = RecordCheck::new(header, origin, config, now);
    walk(payload, header.record_count, |frame| check.record(frame)).map_err(invalid_record)?;
    check.verdict()
}

/// What is remembered while the records of one batch are walked over.
struct RecordCheck<'a> {
    header: &'a BatchHeader,
    key_required: bool,
    earliest: i64,
    latest: i64,
    max_timestamp: TimestampMs,
    index: i32,
    code: ErrorCode,
    errors: Vec<RecordError>,
}

impl<'a> RecordCheck<'a> {
    fn new(
        header: &'a BatchHeader,
        origin: AppendOrigin,
        config: &LogConfig,
        now: TimestampMs,
    ) -> Self {
        let bounded = origin.is_client() && config.timestamp_type == TimestampType::CreateTime;
        let bound = |limit: Option<std::time::Duration>| {
            limit.filter(|_| bounded).and_then(|limit| i64::try_from(limit.as_millis()).ok())
        };
        Self {
            header,
            key_required: origin.is_client() && config.cleanup_compact,
            earliest: bound(config.timestamp_before_max)
                .map_or(i64::MIN, |before| now.0.saturating_sub(before)),
            latest: bound(config.timestamp_after_max)
                .map_or(i64::MAX, |after| now.0.saturating_add(after)),
            max_timestamp: TimestampMs::NONE,
            index: 0,
            code: ErrorCode::None,
            errors: Vec::new(),
        }
    }

    fn record(&mut self, frame: Frame) -> Result<(), String> {
        let index = self.index;
        self.index += 1;
        if frame.offset_delta != index {
            return Err(format!(
                "Inner record {index} has offset delta {}: offsets must be contiguous",
                frame.offset_delta
            ));
        }
        let timestamp = match self.header.timestamp_type() {
            TimestampType::LogAppendTime => self.header.max_timestamp,
            TimestampType::CreateTime => {
                TimestampMs(self.header.base_timestamp.0.wrapping_add(frame.timestamp_delta))
            }
        };
        self.max_timestamp = self.max_timestamp.max(timestamp);
        if self.key_required && !frame.has_key {
            let message = "Compacted topic cannot accept message without key".to_owned();
            self.refuse(ErrorCode::InvalidRecord, index, message);
        } else if timestamp != TimestampMs::NONE
            && !(self.earliest..=self.latest).contains(&timestamp.0)
        {
            let message = format!(
                "Timestamp {timestamp} of message with offset {index} is out of range. \
                 The timestamp should be within [{}, {}]",
                self.earliest, self.latest
            );
            self.refuse(ErrorCode::InvalidTimestamp, index, message);
        }
        Ok(())
    }

    fn refuse(&mut self, code: ErrorCode, batch_index: i32, message: String) {
        if self.code.is_none() {
            self.code = code;
        }
        if self.errors.len() < RECORD_ERRORS_NAMED {
            self.errors.push(RecordError { batch_index, message });
        }
    }

    fn verdict(self) -> Result<TimestampMs, InvalidBatch> {
        if self.code.is_none() {
            return Ok(self.max_timestamp);
        }
        let first: Vec<&str> = self.errors.iter().take(3).map(|e| e.message.as_str()).collect();
        let message = format!(
            "One or more records have been rejected due to {} record errors in total, and only \
             showing the first three errors at most: {}",
            self.errors.len(),
            first.join("; ")
        );
        Err(InvalidBatch { code: self.code, message, record_errors: self.errors })
    }
}

fn invalid_record(message: impl Into<String>) -> InvalidBatch {
    InvalidBatch::new(ErrorCode::InvalidRecord, message)
}

pub(crate) fn format_error(error: &FormatError) -> InvalidBatch {
    InvalidBatch::new(error.error_code(), error.to_string())
}
