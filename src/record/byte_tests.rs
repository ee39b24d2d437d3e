//! Batches as bytes: written out by hand, round trips of whatever there is, and garbage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::{Bytes, BytesMut};
use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

/// A batch of two records, from Kafka's documentation of the format, field by field. The checksum
/// is left out.
const BY_HAND: &[&[u8]] = &[
    &[0, 0, 0, 0, 0, 0, 0, 100],             // base offset
    &[0, 0, 0, 72],                          // length of what follows
    &[0, 0, 0, 7],                           // partition leader epoch
    &[2],                                    // magic
    &[0, 0, 0, 0],                           // CRC-32C, filled in below
    &[0, 0],                                 // attributes: no codec, create time
    &[0, 0, 0, 1],                           // last offset delta
    &[0, 0, 0, 0, 0, 0, 3, 232],             // base timestamp 1000
    &[0, 0, 0, 0, 0, 0, 3, 242],             // max timestamp 1010
    &[0, 0, 0, 0, 0, 0, 0, 9],               // producer id
    &[0, 3],                                 // producer epoch
    &[0, 0, 0, 5],                           // base sequence
    &[0, 0, 0, 2],                           // number of records
    &[16, 0, 0, 0, 2, b'k', 2, b'v', 0],     // 8 bytes: no delta, key k, value v, no headers
    &[26, 0, 20, 2, 1, 1, 2, 4, b'h', b'1'], // 13 bytes: 10 ms and 1 offset later, both null
    &[6, b'a', b'b', b'c'],                  // header h1 = abc
];

fn by_hand() -> Bytes {
    let mut bytes = BY_HAND.concat();
    let crc = crc32c::crc32c(&bytes[21..]);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes.into()
}

fn two_records() -> [Record; 2] {
    let bytes = |text: &'static str| Some(Bytes::from_static(text.as_bytes()));
    [
        Record {
            offset: Offset(100),
            timestamp: TimestampMs(1000),
            key: bytes("k"),
            value: bytes("v"),
            headers: Vec::new(),
        },
        Record {
            offset: Offset(101),
            timestamp: TimestampMs(1010),
            key: None,
            value: None,
            headers: vec![Header { key: "h1".into(), value: bytes("abc") }],
        },
    ]
}

#[test]
fn a_batch_written_by_hand_is_read_as_it_was_meant() {
    let bytes = by_hand();
    let batch = batches(&bytes).next().unwrap().unwrap();
    batch.verify_crc().unwrap();
    let header = &batch.header;
    assert_eq!((header.base_offset, header.next_offset()), (Offset(100), Offset(102)));
    assert_eq!(header.partition_leader_epoch, LeaderEpoch(7));
    assert_eq!(
        (header.base_timestamp, header.max_timestamp),
        (TimestampMs(1000), TimestampMs(1010))
    );
    assert_eq!((header.producer_id, header.producer_epoch), (ProducerId(9), ProducerEpoch(3)));
    assert_eq!((header.base_sequence, header.last_sequence()), (5, 6));
    assert!(!header.is_transactional() && !header.is_control());
    assert_eq!(batch.records().unwrap(), two_records());
}

#[test]
fn the_builder_writes_what_was_written_by_hand() {
    let mut builder = BatchBuilder::new(Offset(100)).leader_epoch(LeaderEpoch(7)).producer(
        ProducerId(9),
        ProducerEpoch(3),
        5,
    );
    for record in two_records() {
        builder.push_record(&record).unwrap();
    }
    assert_eq!(builder.build().unwrap(), by_hand());
}

fn maybe_bytes() -> impl Strategy<Value = Option<Bytes>> {
    proptest::option::of(vec(any::<u8>(), 0..40).prop_map(Bytes::from))
}

fn headers() -> impl Strategy<Value = Vec<Header>> {
    vec((".{0,8}", maybe_bytes()).prop_map(|(key, value)| Header { key, value }), 0..3)
}

/// Records at rising offsets, with gaps as compaction leaves them.
fn records() -> impl Strategy<Value = Vec<Record>> {
    let one = (0..5_i64, 0..i64::from(u32::MAX), maybe_bytes(), maybe_bytes(), headers());
    vec(one, 1..20).prop_map(|parts| {
        let mut offset = -1;
        let record = |(gap, timestamp, key, value, headers)| {
            offset += 1 + gap;
            let (offset, timestamp) = (Offset(offset), TimestampMs(timestamp));
            Record { offset, timestamp, key, value, headers }
        };
        parts.into_iter().map(record).collect()
    })
}

proptest! {
    #[test]
    fn whatever_is_written_is_read_back(
        records in records(),
        codec in proptest::sample::select(&Compression::ALL[..]),
        moved in 0..1_000_000_i64,
    ) {
        let mut builder = BatchBuilder::new(Offset(0)).compression(codec);
        for record in &records {
            builder.push_record(record).unwrap();
        }
        let mut bytes = builder.build().unwrap().to_vec();
        assign(&mut bytes, Offset(moved), LeaderEpoch(4), None).unwrap();
        let batch = batches(&bytes.into()).next().unwrap().unwrap();
        batch.verify_crc().unwrap();
        let mut expected = records;
        for record in &mut expected {
            record.offset = Offset(record.offset.0 + moved);
        }
        prop_assert_eq!(batch.header.last_offset(), expected.last().unwrap().offset);
        let latest = expected.iter().map(|record| record.timestamp).max();
        prop_assert_eq!(Some(batch.header.max_timestamp), latest);
        prop_assert_eq!(batch.records().unwrap(), expected);
    }

    #[test]
    fn garbage_is_refused_and_the_walk_ends(garbage in vec(any::<u8>(), 0..400)) {
        let walked = batches(&garbage.into()).take(100).collect::<Vec<_>>();
        prop_assert!(walked.len() < 100, "it does not end");
        for batch in walked.into_iter().flatten() {
            batch.records_within(1 << 16).unwrap_err();
        }
    }

    /// Behind a header that is sound and a checksum that fits, so that everything below is reached.
    #[test]
    fn garbage_behind_a_good_header_never_panics(
        garbage in vec(any::<u8>(), 0..300),
        attributes in 0..8_u8,
        count in any::<u32>(),
    ) {
        let mut bytes = BytesMut::from(&by_hand()[..HEADER_BYTES]);
        bytes.extend_from_slice(&garbage);
        let length = u32::try_from(bytes.len() - 12).unwrap();
        bytes[8..12].copy_from_slice(&length.to_be_bytes());
        bytes[22] = attributes;
        bytes[57..61].copy_from_slice(&count.to_be_bytes());
        let crc = crc32c::crc32c(&bytes[21..]);
        bytes[17..21].copy_from_slice(&crc.to_be_bytes());
        if let Some(Ok(batch)) = batches(&bytes.freeze()).next()
            && let Ok(records) = batch.records_within(1 << 16)
        {
            prop_assert_eq!(records.len(), batch.header.record_count as usize);
        }
    }
}
