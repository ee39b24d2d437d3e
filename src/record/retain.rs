//! A batch after compaction: some of its records, or none, at their old offsets, in its old codec.

use bytes::BufMut;

use crate::record::header::{
    COMPRESSION_BITS, CONTROL_BIT, CRC_FROM, DELETE_HORIZON_BIT, LOG_APPEND_TIME_BIT,
    LOG_OVERHEAD_BYTES, TRANSACTIONAL_BIT,
};
use crate::record::raw::RawRecord;
use crate::record::{BatchHeader, Compression, HEADER_BYTES, RecordError, TimestampType};
use crate::types::TimestampMs;

/// Takes the records of a batch that stay.
#[derive(Debug)]
pub struct Retained {
    header: BatchHeader,
    delete_horizon: Option<TimestampMs>,
    /// Room for the header, then the records.
    content: Vec<u8>,
    max_timestamp: TimestampMs,
    count: i32,
}

impl Retained {
    /// Begins with none of the records of the batch with `header`. With a `delete_horizon` the
    /// batch bears that from now on (KIP-534).
    pub fn of(header: &BatchHeader, delete_horizon: Option<TimestampMs>) -> Self {
        Self {
            header: header.clone(),
            delete_horizon,
            content: vec![0; HEADER_BYTES],
            max_timestamp: TimestampMs::NONE,
            count: 0,
        }
    }

    /// Takes the next record that stays.
    pub fn push(&mut self, record: &RawRecord<'_>) {
        let timestamp = self.header.base_timestamp.0.wrapping_add(record.timestamp_delta);
        self.max_timestamp = self.max_timestamp.max(TimestampMs(timestamp));
        self.count += 1;
        match self.delete_horizon {
            None => self.content.extend_from_slice(record.bytes),
            Some(horizon) => {
                record.write_with(timestamp.wrapping_sub(horizon.0), &mut self.content);
            }
        }
    }

    /// The batch, with the offsets, the epoch and the producer that it had.
    pub fn build(self) -> Result<(BatchHeader, Vec<u8>), RecordError> {
        let mut header = self.header;
        if header.timestamp_type() == TimestampType::CreateTime {
            header.max_timestamp = self.max_timestamp;
        }
        if let Some(horizon) = self.delete_horizon {
            header.attributes |= DELETE_HORIZON_BIT;
            header.base_timestamp = horizon;
        }
        header.record_count = self.count;
        match header.compression()? {
            Compression::None => seal(header, self.content),
            codec => {
                let mut content = vec![0; HEADER_BYTES];
                content.extend_from_slice(&codec.compress(&self.content[HEADER_BYTES..])?);
                seal(header, content)
            }
        }
    }
}

/// The batch with `header` after all its records are gone: it tells its offsets and its producer's
/// sequences still.
pub fn emptied(header: &BatchHeader) -> Result<(BatchHeader, Vec<u8>), RecordError> {
    let kept = LOG_APPEND_TIME_BIT | TRANSACTIONAL_BIT | CONTROL_BIT;
    debug_assert_eq!(kept & (COMPRESSION_BITS | DELETE_HORIZON_BIT), 0);
    let header = BatchHeader {
        attributes: header.attributes & kept,
        base_timestamp: TimestampMs::NONE,
        record_count: 0,
        ..header.clone()
    };
    seal(header, vec![0; HEADER_BYTES])
}

/// Writes the header into the room before the records, with length and checksum.
fn seal(
    mut header: BatchHeader,
    mut batch: Vec<u8>,
) -> Result<(BatchHeader, Vec<u8>), RecordError> {
    header.batch_length = i32::try_from(batch.len() - LOG_OVERHEAD_BYTES)
        .map_err(|_| RecordError::Invalid("the batch is too long"))?;
    let mut rest = &mut batch[..HEADER_BYTES];
    rest.put_i64(header.base_offset.0);
    rest.put_i32(header.batch_length);
    rest.put_i32(header.partition_leader_epoch.0);
    rest.put_i8(header.magic);
    rest.put_u32(0);
    rest.put_i16(header.attributes);
    rest.put_i32(header.last_offset_delta);
    rest.put_i64(header.base_timestamp.0);
    rest.put_i64(header.max_timestamp.0);
    rest.put_i64(header.producer_id.0);
    rest.put_i16(header.producer_epoch.0);
    rest.put_i32(header.base_sequence);
    rest.put_i32(header.record_count);
    header.crc = crc32c::crc32c(&batch[CRC_FROM..]);
    batch[17..CRC_FROM].copy_from_slice(&header.crc.to_be_bytes());
    Ok((header, batch))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::record::raw::raw_records;
    use crate::record::{Batch, BatchBuilder, Header, batches};
    use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId};

    const BASE: i64 = 1_700_000_000_000;

    fn batch(compression: Compression, append_time: Option<i64>) -> Batch {
        let mut builder = BatchBuilder::new(Offset(40))
            .leader_epoch(LeaderEpoch(3))
            .producer(ProducerId(7), ProducerEpoch(2), 11)
            .compression(compression)
            .transactional();
        if let Some(at) = append_time {
            builder = builder.append_time(TimestampMs(at));
        }
        let headers = [Header { key: "h".to_owned(), value: Some("v".into()) }];
        for index in 0..6 {
            let key = format!("key {index}");
            let value = "x".repeat(200 * usize::try_from(index).unwrap());
            let value = (index != 3).then_some(value.as_bytes());
            let timestamp =
                TimestampMs(BASE + [0, 500, -70, 3, 2, 1][usize::try_from(index).unwrap()]);
            builder.push(timestamp, Some(key.as_bytes()), value, &headers).unwrap();
        }
        let bytes = builder.build().unwrap();
        batches(&bytes).next().unwrap().unwrap()
    }

    fn content(batch: &Batch) -> Vec<u8> {
        let packed = &batch.bytes[HEADER_BYTES..];
        match batch.header.compression().unwrap() {
            Compression::None => packed.to_vec(),
            codec => codec.decompress(packed, 1 << 20).unwrap().to_vec(),
        }
    }

    fn whole(built: (BatchHeader, Vec<u8>)) -> Batch {
        let (header, bytes) = built;
        let bytes = bytes::Bytes::from(bytes);
        let batch = batches(&bytes).next().unwrap().unwrap();
        batch.verify_crc().unwrap();
        assert_eq!(batch.header, header);
        batch
    }

    #[test]
    fn what_stays_of_a_batch_is_what_it_was() {
        for codec in Compression::ALL {
            for append_time in [None, Some(BASE + 9)] {
                for horizon in [None, Some(TimestampMs(BASE + 86_400_000))] {
                    let before = batch(codec, append_time);
                    let content = content(&before);
                    let mut retained = Retained::of(&before.header, horizon);
                    for record in raw_records(&content).map(Result::unwrap) {
                        if record.offset_delta >= 2 {
                            retained.push(&record);
                        }
                    }
                    let after = whole(retained.build().unwrap());
                    assert_eq!(after.records().unwrap(), before.records().unwrap()[2..]);
                    let (is, was) = (&after.header, &before.header);
                    assert_eq!(is.delete_horizon(), horizon);
                    assert_eq!(
                        (is.base_offset, is.last_offset()),
                        (was.base_offset, was.last_offset())
                    );
                    assert_eq!(
                        (is.producer_id, is.base_sequence),
                        (was.producer_id, was.base_sequence)
                    );
                    assert_eq!(is.compression().unwrap(), codec);
                    let latest = append_time.unwrap_or(BASE + 3);
                    assert_eq!(is.max_timestamp, TimestampMs(latest));
                }
            }
        }
    }

    #[test]
    fn a_batch_without_records_tells_its_producer_still() {
        let before = batch(Compression::Zstd, None);
        let after = whole(emptied(&before.header).unwrap());
        assert_eq!(after.records().unwrap(), []);
        assert_eq!(after.header.last_offset(), before.header.last_offset());
        assert_eq!(after.header.last_sequence(), before.header.last_sequence());
        assert!(after.header.is_transactional() && !after.header.is_control());
    }

    #[test]
    fn bytes_that_are_no_records_are_an_error() {
        let before = batch(Compression::None, None);
        let content = content(&before);
        for length in 0..content.len() {
            let read: Result<Vec<_>, _> = raw_records(&content[..length]).collect();
            assert!(read.is_err() || read.unwrap().len() < 6, "cut at {length}");
        }
        for first in 0..=255 {
            let mut damaged = content.clone();
            damaged[0] = first;
            let _ = raw_records(&damaged).collect::<Result<Vec<_>, _>>();
        }
    }
}
