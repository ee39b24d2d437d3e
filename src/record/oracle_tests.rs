//! Batches against the published crate's encoder and decoder, and against damage.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use bytes::{Bytes, BytesMut};
use kafka_protocol::records as oracle;

use super::*;
use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

fn builder(codec: Compression, count: usize) -> BatchBuilder {
    let mut builder = BatchBuilder::new(Offset(40))
        .leader_epoch(LeaderEpoch(3))
        .producer(ProducerId(9), ProducerEpoch(1), 5)
        .compression(codec);
    let header = Header { key: "h".into(), value: Some(Bytes::from_static(b"v")) };
    for index in 0..count {
        let value = format!("value {index} ").repeat(50);
        let key = (index % 2 == 0).then_some(&b"key"[..]);
        let time = TimestampMs(1_700_000_000_000 + index as i64);
        builder.push(time, key, Some(value.as_bytes()), std::slice::from_ref(&header)).unwrap();
    }
    builder
}

fn parse(bytes: &Bytes) -> Batch {
    let batch = batches(bytes).next().unwrap().unwrap();
    batch.verify_crc().unwrap();
    batch
}

#[test]
fn the_oracle_reads_what_we_write_and_we_read_what_it_writes() {
    for codec in Compression::ALL {
        let ours = builder(codec, 300).build().unwrap();
        let records = parse(&ours).records().unwrap();
        let theirs = oracle::RecordBatchDecoder::decode(&mut ours.clone()).unwrap();
        assert_eq!(theirs.records.len(), 300, "{codec:?}");
        for (ours, theirs) in records.iter().zip(&theirs.records) {
            assert_eq!((ours.offset.0, ours.timestamp.0), (theirs.offset, theirs.timestamp));
            assert_eq!((&ours.key, &ours.value), (&theirs.key, &theirs.value));
            assert_eq!(ours.headers.len(), theirs.headers.len());
        }
        let options = oracle::RecordEncodeOptions {
            version: 2,
            compression: match codec {
                Compression::None => oracle::Compression::None,
                Compression::Gzip => oracle::Compression::Gzip,
                Compression::Snappy => oracle::Compression::Snappy,
                Compression::Lz4 => oracle::Compression::Lz4,
                Compression::Zstd => oracle::Compression::Zstd,
            },
        };
        let mut encoded = BytesMut::new();
        oracle::RecordBatchEncoder::encode(&mut encoded, &theirs.records, &options).unwrap();
        assert_eq!(parse(&encoded.freeze()).records().unwrap(), records, "{codec:?}");
    }
}

#[test]
fn cut_and_damaged_batches_are_errors_and_never_panics() {
    for codec in Compression::ALL {
        let whole = builder(codec, 5).build().unwrap();
        for end in 1..whole.len() {
            let error = batches(&whole.slice(..end)).next().unwrap().unwrap_err();
            assert!(matches!(error, RecordError::Incomplete { .. }), "{end}: {error}");
        }
        for at in 0..whole.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut bytes = BytesMut::from(&whole[..]);
                bytes[at] ^= flip;
                if let Some(Ok(batch)) = batches(&bytes.freeze()).next() {
                    // Where and in which reign it stands is the broker's, outside the checksum.
                    let outside = at < 8 || (12..16).contains(&at);
                    assert_eq!(batch.verify_crc().is_ok(), outside, "{codec:?} {at} {flip:#x}");
                    let _ = batch.records_within(1 << 20);
                }
            }
        }
    }
}

#[test]
fn a_bomb_is_an_error() {
    let content = vec![0; 1 << 20];
    for codec in Compression::ALL {
        let packed = codec.compress(&content).unwrap();
        let error = codec.decompress(&packed, (1 << 20) - 1).unwrap_err();
        assert_eq!(error, RecordError::TooLarge { limit_bytes: (1 << 20) - 1 });
        assert_eq!(codec.decompress(&packed, 1 << 20).unwrap(), content, "{codec:?}");
    }
    let claims = [0xff, 0xff, 0xff, 0xff, 0x0f, 0];
    assert!(Compression::Snappy.decompress(&claims, usize::MAX).is_err());
}

#[test]
fn plain_snappy_is_read_too() {
    let packed = snap::raw::Encoder::new().compress_vec(b"hello hello hello").unwrap();
    let content = Compression::Snappy.decompress(&packed, 100).unwrap();
    assert_eq!(content, &b"hello hello hello"[..]);
}

#[test]
fn a_leader_assigns_in_place() {
    let mut batch = builder(Compression::Zstd, 3).build().unwrap().to_vec();
    assign(&mut batch, Offset(1000), LeaderEpoch(7), None).unwrap();
    let header = parse(&batch.clone().into()).header;
    assert_eq!((header.base_offset, header.next_offset()), (Offset(1000), Offset(1003)));
    assert_eq!((header.partition_leader_epoch, header.last_sequence()), (LeaderEpoch(7), 7));
    assign(&mut batch, Offset(1000), LeaderEpoch(7), Some(TimestampMs(5))).unwrap();
    let batch = parse(&batch.into());
    assert_eq!(batch.header.timestamp_type(), TimestampType::LogAppendTime);
    assert!(batch.records().unwrap().iter().all(|r| r.timestamp == TimestampMs(5)));
}

#[test]
fn old_formats_are_refused_by_name() {
    for magic in [0, 1] {
        let mut bytes = [0; 26];
        bytes[16] = magic as u8;
        assert_eq!(BatchHeader::parse(&bytes), Err(RecordError::OldFormat(magic)));
    }
}

#[test]
fn markers_say_how_a_transaction_ended() {
    for committed in [true, false] {
        let marker = EndTransactionMarker { committed, coordinator_epoch: LeaderEpoch(4) };
        let batch = marker.batch(TimestampMs(1), ProducerId(2), ProducerEpoch(3)).unwrap();
        let batch = parse(&batch);
        assert!(batch.header.is_control() && batch.header.is_transactional());
        let records = batch.records().unwrap();
        assert_eq!(EndTransactionMarker::of(&records[0]).unwrap(), Some(marker));
    }
}

#[test]
fn numbers_are_zigzag_and_bounded() {
    let table: &[(i64, &[u8])] = &[
        (0, &[0]),
        (-1, &[1]),
        (1, &[2]),
        (63, &[0x7e]),
        (-64, &[0x7f]),
        (64, &[0x80, 0x01]),
        (i64::MIN, &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01]),
    ];
    for (value, bytes) in table {
        let mut written = Vec::new();
        varint::write(&mut written, *value);
        assert_eq!((&written[..], varint::size_bytes(*value)), (*bytes, bytes.len()), "{value}");
        assert_eq!(varint::read_long(&mut &written[..]), Ok(*value));
        assert!(varint::read_long(&mut &written[..written.len() - 1]).is_err());
    }
    assert!(varint::read_long(&mut &[0xff; 11][..]).is_err());
    assert!(varint::read_int(&mut &[0x80, 0x80, 0x80, 0x80, 0x10][..]).is_err());
}
