//! Makes batches.

use bytes::{BufMut, Bytes, BytesMut};

use crate::record::header::{
    CONTROL_BIT, CRC_FROM, LOG_APPEND_TIME_BIT, LOG_OVERHEAD_BYTES, TRANSACTIONAL_BIT,
};
use crate::record::{Compression, HEADER_BYTES, Header, Record, RecordError, varint};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

/// Collects records and makes one batch of them.
#[derive(Debug, Clone)]
pub struct BatchBuilder {
    base_offset: Offset,
    leader_epoch: LeaderEpoch,
    producer_id: ProducerId,
    producer_epoch: ProducerEpoch,
    base_sequence: i32,
    attributes: i16,
    compression: Compression,
    level: Option<i32>,
    append_time: Option<TimestampMs>,
    base_timestamp: Option<TimestampMs>,
    max_timestamp: TimestampMs,
    last_offset_delta: i32,
    count: i32,
    /// Room for the header, then the records as they will be when unpacked.
    content: BytesMut,
}

impl BatchBuilder {
    /// A batch whose first record has `base_offset`; a producer says 0 and the leader assigns.
    pub fn new(base_offset: Offset) -> Self {
        Self {
            base_offset,
            leader_epoch: LeaderEpoch::NONE,
            producer_id: ProducerId::NONE,
            producer_epoch: ProducerEpoch::NONE,
            base_sequence: -1,
            attributes: 0,
            compression: Compression::None,
            level: None,
            append_time: None,
            base_timestamp: None,
            max_timestamp: TimestampMs::NONE,
            last_offset_delta: -1,
            count: 0,
            content: BytesMut::zeroed(HEADER_BYTES),
        }
    }

    /// The reign in which it is appended.
    #[must_use]
    pub fn leader_epoch(mut self, leader_epoch: LeaderEpoch) -> Self {
        self.leader_epoch = leader_epoch;
        self
    }

    /// The idempotent producer and its first record's sequence number.
    #[must_use]
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, base_sequence: i32) -> Self {
        (self.producer_id, self.producer_epoch, self.base_sequence) = (id, epoch, base_sequence);
        self
    }

    /// How the records are packed.
    #[must_use]
    pub fn compression(mut self, compression: Compression) -> Self {
        self.compression = compression;
        self
    }

    /// How hard the codec tries, as `compression.<codec>.level` numbers it; `None`: its default.
    #[must_use]
    pub fn compression_level(mut self, level: Option<i32>) -> Self {
        self.level = level;
        self
    }

    /// The timestamps are the broker's: this one for all records.
    #[must_use]
    pub fn append_time(mut self, append_time: TimestampMs) -> Self {
        self.append_time = Some(append_time);
        self
    }

    /// It belongs to a transaction.
    #[must_use]
    pub fn transactional(mut self) -> Self {
        self.attributes |= TRANSACTIONAL_BIT;
        self
    }

    /// Its records are marks of the brokers.
    #[must_use]
    pub fn control(mut self) -> Self {
        self.attributes |= CONTROL_BIT;
        self
    }

    /// Adds a record at the next offset.
    pub fn push(
        &mut self,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<(), RecordError> {
        let delta = self.last_offset_delta.checked_add(1);
        let delta = delta.ok_or(RecordError::Invalid("the batch has too many offsets"))?;
        self.push_at(delta, timestamp, key, value, headers)
    }

    /// Adds a record at its own offset, which must lie behind all before: compaction leaves gaps.
    pub fn push_record(&mut self, record: &Record) -> Result<(), RecordError> {
        let delta = record.offset.0.checked_sub(self.base_offset.0);
        let delta = delta.and_then(|delta| i32::try_from(delta).ok());
        match delta {
            Some(delta) if delta > self.last_offset_delta => self.push_at(
                delta,
                record.timestamp,
                record.key.as_deref(),
                record.value.as_deref(),
                &record.headers,
            ),
            Some(_) | None => Err(RecordError::Invalid("the offset does not fit into the batch")),
        }
    }

    /// The batch reaches to this offset though its last records are gone.
    pub fn reach_to(&mut self, last_offset: Offset) -> Result<(), RecordError> {
        let delta = last_offset.0.checked_sub(self.base_offset.0);
        match delta.and_then(|delta| i32::try_from(delta).ok()) {
            Some(delta) if delta >= self.last_offset_delta => {
                self.last_offset_delta = delta;
                Ok(())
            }
            Some(_) | None => Err(RecordError::Invalid("the batch cannot end there")),
        }
    }

    /// How many records it has.
    pub fn len(&self) -> usize {
        usize::try_from(self.count).unwrap_or(0)
    }

    /// Whether it has no record.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// How long it would be without compression.
    pub fn size_bytes(&self) -> usize {
        self.content.len()
    }

    /// The batch.
    pub fn build(mut self) -> Result<Bytes, RecordError> {
        let mut batch = match self.compression {
            Compression::None => std::mem::take(&mut self.content),
            codec => {
                let packed = codec.compress_at(&self.content[HEADER_BYTES..], self.level)?;
                let mut batch = BytesMut::zeroed(HEADER_BYTES);
                batch.extend_from_slice(&packed);
                batch
            }
        };
        let length = i32::try_from(batch.len() - LOG_OVERHEAD_BYTES)
            .map_err(|_| RecordError::Invalid("the batch is too long"))?;
        let head = self.head(length);
        batch[..HEADER_BYTES].copy_from_slice(&head);
        let crc = crc32c::crc32c(&batch[CRC_FROM..]);
        batch[17..CRC_FROM].copy_from_slice(&crc.to_be_bytes());
        Ok(batch.freeze())
    }

    /// The header, its checksum still 0.
    fn head(&self, length: i32) -> [u8; HEADER_BYTES] {
        let mut attributes = self.attributes | self.compression.number();
        if self.append_time.is_some() {
            attributes |= LOG_APPEND_TIME_BIT;
        }
        let base_timestamp = self.base_timestamp.unwrap_or(TimestampMs::NONE);
        let mut head = [0; HEADER_BYTES];
        let mut rest = &mut head[..];
        rest.put_i64(self.base_offset.0);
        rest.put_i32(length);
        rest.put_i32(self.leader_epoch.0);
        rest.put_i8(2);
        rest.put_u32(0);
        rest.put_i16(attributes);
        rest.put_i32(self.last_offset_delta);
        rest.put_i64(base_timestamp.0);
        rest.put_i64(self.append_time.unwrap_or(self.max_timestamp).0);
        rest.put_i64(self.producer_id.0);
        rest.put_i16(self.producer_epoch.0);
        rest.put_i32(self.base_sequence);
        rest.put_i32(self.count);
        head
    }

    fn push_at(
        &mut self,
        offset_delta: i32,
        timestamp: TimestampMs,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[Header],
    ) -> Result<(), RecordError> {
        let base = *self.base_timestamp.get_or_insert(timestamp);
        let timestamp_delta = timestamp.0.wrapping_sub(base.0);
        let mut length = 1 + varint::size_bytes(timestamp_delta);
        length += varint::size_bytes(offset_delta.into()) + nullable_bytes(key);
        length += nullable_bytes(value) + varint::size_bytes(headers.len() as i64);
        for header in headers {
            length += nullable_bytes(Some(header.key.as_bytes()));
            length += nullable_bytes(header.value.as_deref());
        }
        if i32::try_from(self.content.len() + length).is_err() {
            return Err(RecordError::Invalid("the batch is too long"));
        }
        let content = &mut self.content;
        content.reserve(length + 5);
        varint::write(content, length as i64);
        content.put_u8(0);
        varint::write(content, timestamp_delta);
        varint::write(content, offset_delta.into());
        put_nullable(content, key);
        put_nullable(content, value);
        varint::write(content, headers.len() as i64);
        for header in headers {
            put_nullable(content, Some(header.key.as_bytes()));
            put_nullable(content, header.value.as_deref());
        }
        self.max_timestamp = self.max_timestamp.max(timestamp);
        self.last_offset_delta = offset_delta;
        self.count += 1;
        Ok(())
    }
}

fn nullable_bytes(bytes: Option<&[u8]>) -> usize {
    bytes.map_or(1, |bytes| varint::size_bytes(bytes.len() as i64) + bytes.len())
}

fn put_nullable(buffer: &mut BytesMut, bytes: Option<&[u8]>) {
    match bytes {
        None => varint::write(buffer, -1),
        Some(bytes) => {
            varint::write(buffer, bytes.len() as i64);
            buffer.put_slice(bytes);
        }
    }
}
