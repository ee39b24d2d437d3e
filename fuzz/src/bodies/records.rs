//! Record batches and their codecs.

use bytes::Bytes;
use ottla::record::{
    Batch, BatchBuilder, Compression, ControlType, EndTransactionMarker, HEADER_BYTES, Record,
    RecordError, Retained, batches as split, emptied, raw_records,
};
use ottla::types::{Offset, ProducerEpoch, ProducerId, TimestampMs};

/// What a batch may unpack to, here.
const LIMIT: usize = 1 << 20;

/// Batches, one behind the other. Their checksums are not asked for: whoever sends bad bytes can
/// add a good checksum.
pub fn batches(data: &Bytes) {
    for batch in split(data) {
        let Ok(batch) = batch else { return };
        assert_eq!(batch.header.size_bytes(), batch.bytes.len());
        let _ = batch.verify_crc();
        let header = &batch.header;
        let _ = (header.last_offset(), header.next_offset(), header.last_sequence());
        let _ = (header.timestamp_type(), header.delete_horizon(), emptied(header));
        if let Ok(records) = batch.records_within(LIMIT) {
            look_at(&batch, &records);
        }
    }
}

fn look_at(batch: &Batch, records: &[Record]) {
    assert_eq!(Ok(records.len()), usize::try_from(batch.header.record_count));
    for record in records {
        let _ = (ControlType::of(record), EndTransactionMarker::of(record));
    }
    let Ok(codec) = batch.header.compression() else { return };
    let packed = batch.bytes.slice(HEADER_BYTES..);
    let content = codec.decompress(&packed, LIMIT).expect("the records were in it");
    let raw: Result<Vec<_>, RecordError> = raw_records(&content).collect();
    let raw = raw.expect("records that can be read can be walked over");
    assert_eq!(raw.len(), records.len());
    let mut kept = Retained::of(&batch.header, None);
    raw.iter().for_each(|record| kept.push(record));
    let Ok((_, bytes)) = kept.build() else { return };
    let mut bytes = Bytes::from(bytes);
    let again = Batch::split_from(&mut bytes).expect("a batch that compaction wrote");
    again.verify_crc().expect("its checksum");
    let again = again.records().expect("its records");
    let values = |records: &[Record]| {
        let fields =
            records.iter().map(|record| (record.offset, record.key.clone(), record.value.clone()));
        fields.collect::<Vec<_>>()
    };
    assert_eq!(values(&again), values(records));
}

/// The first byte tells the codec, the second the limit; the rest is unpacked, and packed again.
pub fn codecs(data: &Bytes) {
    let [codec, limit, ..] = data[..] else { return };
    let codec = Compression::ALL[usize::from(codec) % Compression::ALL.len()];
    let limit = usize::from(limit) << 8;
    let Ok(content) = codec.decompress(&data[2..], limit) else { return };
    assert!(content.len() <= limit, "{} bytes came out, and {limit} were allowed", content.len());
    let packed = codec.compress(&content).expect("packing in memory");
    assert_eq!(codec.decompress(&packed, content.len()), Ok(content));
}

pub fn batch_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for codec in Compression::ALL {
        for producer in [false, true] {
            let mut builder = BatchBuilder::new(Offset(5)).compression(codec);
            if producer {
                builder = builder.producer(ProducerId(9), ProducerEpoch(1), 3).transactional();
            }
            for number in 0..3_u8 {
                let value = [number; 20];
                let value = (number != 1).then_some(&value[..]);
                builder.push(TimestampMs(1_000), Some(b"key"), value, &[]).expect("a small record");
            }
            seeds.push(builder.build().expect("a small batch").to_vec());
        }
    }
    seeds.push(seeds.concat());
    seeds
}

pub fn codec_seeds() -> Vec<Vec<u8>> {
    let mut seeds = Vec::new();
    for (number, codec) in Compression::ALL.into_iter().enumerate() {
        for content in [&b""[..], b"abcabcabcabcabcabc", &[7; 9_000]] {
            let mut seed = vec![number as u8, 255];
            seed.extend_from_slice(&codec.compress(content).expect("packing in memory"));
            seeds.push(seed);
        }
    }
    seeds
}
