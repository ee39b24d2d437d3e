//! Record batches as the client writes and reads them.

use bytes::Bytes;

use crate::cli::client::error::ClientFailure;
use crate::cli::client::producer::ProducerRecord;
use crate::record::{self, BatchBuilder, Compression, RecordError};
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

/// One batch of these records. The broker gives it its offsets.
pub(super) fn encode(
    records: &[ProducerRecord],
    id: ProducerId,
    epoch: ProducerEpoch,
    base_sequence: i32,
    compression: Compression,
) -> Result<Bytes, RecordError> {
    let mut builder =
        BatchBuilder::new(Offset::ZERO).compression(compression).producer(id, epoch, base_sequence);
    for record in records {
        builder.push(
            record.timestamp.unwrap_or(TimestampMs::NONE),
            record.key.as_deref(),
            record.value.as_deref(),
            &record.headers,
        )?;
    }
    builder.build()
}

/// The offset after the last whole batch, and that batch's epoch; `None` if there is no whole one.
pub(super) fn end_of(records: &Bytes) -> Result<Option<(Offset, LeaderEpoch)>, RecordError> {
    let mut end = None;
    for batch in record::batches(records) {
        match batch {
            Ok(batch) => {
                end = Some((batch.header.next_offset(), batch.header.partition_leader_epoch));
            }
            // The answer's size limit cuts the last batch off; it comes whole next time.
            Err(RecordError::Incomplete { .. }) => break,
            Err(error) => return Err(error),
        }
    }
    Ok(end)
}

impl From<RecordError> for ClientFailure {
    fn from(error: RecordError) -> Self {
        ClientFailure::Batch(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::record::Header;

    #[test]
    fn records_come_back_as_they_went_in() {
        let record = ProducerRecord {
            timestamp: Some(TimestampMs(1_700_000_000_000)),
            key: Some(Bytes::from_static(b"key")),
            headers: vec![Header { key: "h".to_owned(), value: None }],
            ..ProducerRecord::default()
        };
        for compression in Compression::ALL {
            let records = vec![record.clone(); 3];
            let bytes = encode(&records, ProducerId(7), ProducerEpoch(1), 10, compression).unwrap();
            assert_eq!(end_of(&bytes).unwrap(), Some((Offset(3), LeaderEpoch::NONE)));
            let batch = record::batches(&bytes).next().unwrap().unwrap();
            batch.verify_crc().unwrap();
            assert_eq!((batch.header.base_sequence, batch.header.last_sequence()), (10, 12));
            let back = batch.records().unwrap();
            assert_eq!(back.len(), 3);
            assert_eq!(back[2].offset, Offset(2));
            assert_eq!(back[2].key.as_deref(), Some(&b"key"[..]));
            assert_eq!(back[2].value, None);
            assert_eq!(back[2].headers, record.headers);
        }
    }

    #[test]
    fn a_batch_that_is_cut_off_does_not_count() {
        let record = ProducerRecord::default();
        let whole = encode(&[record], ProducerId::NONE, ProducerEpoch::NONE, -1, Compression::None)
            .unwrap();
        assert_eq!(end_of(&whole.slice(..whole.len() - 1)).unwrap(), None);
        assert_eq!(end_of(&Bytes::new()).unwrap(), None);
        let mut two = whole.to_vec();
        two.extend_from_slice(&whole[..30]);
        assert_eq!(end_of(&Bytes::from(two)).unwrap(), Some((Offset(1), LeaderEpoch::NONE)));
    }
}
