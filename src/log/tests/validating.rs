//! What producers may not send.

use std::time::Duration;

use bytes::{Bytes, BytesMut};

use super::world::*;
use crate::log::validate::validate;
use crate::log::{AppendOrigin, InvalidBatch, LogConfig};
use crate::record::{BatchBuilder, Compression, TimestampType};
use crate::types::{ErrorCode, Offset, ProducerEpoch, ProducerId, TimestampMs};

fn check(records: &Bytes, config: &LogConfig) -> Result<(), InvalidBatch> {
    validate(records.clone(), AppendOrigin::Client, config, START).map(|_| ())
}

/// The batch with some header bytes changed and the checksum made right again.
fn changed(batch: &Bytes, at: usize, bytes: &[u8]) -> Bytes {
    let mut batch = BytesMut::from(&batch[..]);
    batch[at..at + bytes.len()].copy_from_slice(bytes);
    let crc = crc32c::crc32c(&batch[21..]);
    batch[17..21].copy_from_slice(&crc.to_be_bytes());
    batch.freeze()
}

fn at_time(timestamps: &[i64]) -> Bytes {
    let mut builder = BatchBuilder::new(Offset::ZERO);
    for &timestamp in timestamps {
        builder.push(TimestampMs(START.0 + timestamp), None, Some(b"v"), &[]).unwrap();
    }
    builder.build().unwrap()
}

#[test]
fn every_codec_passes_and_damage_does_not() {
    let config = LogConfig::default();
    for codec in Compression::ALL {
        let batch = fill(BatchBuilder::new(Offset::ZERO).compression(codec), 20);
        check(&batch, &config).unwrap_or_else(|error| panic!("{codec:?}: {error}"));
        let cut = changed(&batch, 57, &19i32.to_be_bytes());
        let cut = changed(&cut, 23, &18i32.to_be_bytes());
        assert_eq!(check(&cut, &config).unwrap_err().code, ErrorCode::InvalidRecord, "{codec:?}");
    }
}

#[test]
fn a_header_that_lies_is_refused() {
    let config = LogConfig::default();
    let good = batch(3);
    let mut flipped = BytesMut::from(&good[..]);
    let last = flipped.len() - 1;
    flipped[last] ^= 1;
    let mut old = BytesMut::from(&good[..]);
    old[16] = 1;
    let two = Bytes::from([&good[..], &good].concat());
    let control = fill(BatchBuilder::new(Offset::ZERO).control(), 1);
    let producer = (ProducerId(1), ProducerEpoch(0));
    let transactional = BatchBuilder::new(Offset::ZERO).producer(producer.0, producer.1, 0);
    let transactional = fill(transactional.transactional(), 1);
    for (what, records, code) in [
        ("nothing", Bytes::new(), ErrorCode::InvalidRecord),
        ("checksum", flipped.freeze(), ErrorCode::CorruptMessage),
        ("cut off", good.slice(..good.len() - 1), ErrorCode::CorruptMessage),
        ("old format", old.freeze(), ErrorCode::UnsupportedForMessageFormat),
        ("two batches", two, ErrorCode::InvalidRecord),
        ("count", changed(&good, 57, &4i32.to_be_bytes()), ErrorCode::InvalidRecord),
        ("no records", changed(&good, 57, &0i32.to_be_bytes()), ErrorCode::InvalidRecord),
        ("last offset", changed(&good, 23, &(-1i32).to_be_bytes()), ErrorCode::InvalidRecord),
        ("base offset", changed(&good, 0, &7i64.to_be_bytes()), ErrorCode::InvalidRecord),
        ("sequence", changed(&good, 43, &5i64.to_be_bytes()), ErrorCode::InvalidRecord),
        ("codec", changed(&good, 21, &7i16.to_be_bytes()), ErrorCode::UnsupportedCompressionType),
        ("append time", changed(&good, 21, &8i16.to_be_bytes()), ErrorCode::InvalidTimestamp),
        ("control", control, ErrorCode::InvalidRecord),
        ("transactional", transactional, ErrorCode::InvalidTxnState),
    ] {
        let error = check(&records, &config).expect_err(what);
        assert_eq!(error.code, code, "{what}: {error}");
    }
}

#[test]
fn a_topics_limits_are_kept() {
    let small = LogConfig { max_message_bytes: 100, ..LogConfig::default() };
    assert_eq!(check(&batch(3), &small).unwrap_err().code, ErrorCode::MessageTooLarge);
    let segment = LogConfig { segment_bytes: 100, ..LogConfig::default() };
    assert_eq!(check(&batch(3), &segment).unwrap_err().code, ErrorCode::RecordListTooLarge);

    let timed = LogConfig {
        timestamp_before_max: Some(Duration::from_millis(50)),
        timestamp_after_max: Some(Duration::from_millis(10)),
        ..LogConfig::default()
    };
    check(&at_time(&[-50, 10]), &timed).unwrap();
    let error = check(&at_time(&[0, -51, 11, 0]), &timed).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidTimestamp);
    let blamed: Vec<i32> = error.record_errors.iter().map(|record| record.batch_index).collect();
    assert_eq!(blamed, [1, 2]);

    let compacted = LogConfig { cleanup_compact: true, ..LogConfig::default() };
    check(&batch(2), &compacted).unwrap();
    let error = check(&at_time(&[0]), &compacted).unwrap_err();
    assert_eq!((error.code, error.record_errors.len()), (ErrorCode::InvalidRecord, 1));
}

#[test]
fn the_broker_writes_what_is_its_own() {
    let world = World::new();
    let (_directory, log) = one_log(&world);
    let lying = changed(&at_time(&[5, 9]), 35, &START.0.to_be_bytes());
    log.append_as_leader(lying, EPOCH, AppendOrigin::Client).unwrap();
    log.set_config(LogConfig {
        timestamp_type: TimestampType::LogAppendTime,
        compression: Some(Compression::Zstd),
        ..LogConfig::default()
    });
    let info = log.append_as_leader(at_time(&[-77]), EPOCH, AppendOrigin::Client).unwrap();
    assert_eq!(info.log_append_time, Some(START));
    let records = read_all(&log, 1);
    let times: Vec<i64> = records.iter().map(|record| record.timestamp.0 - START.0).collect();
    assert_eq!(times, [5, 9, 0]);
    let max = log.max_timestamp_offset().unwrap().unwrap();
    assert_eq!((max.0.0 - START.0, max.1), (9, Offset(1)));
}

#[test]
fn a_topics_codec_is_what_is_stored_at_its_level_and_nothing_else_changes() {
    let sent = |codec: Compression| {
        let builder = BatchBuilder::new(Offset::ZERO).compression(codec);
        fill(builder.producer(ProducerId(3), ProducerEpoch(0), 0), 20)
    };
    for (target, levels) in [
        (None, [None, None]),
        (Some(Compression::None), [None, None]),
        (Some(Compression::Gzip), [Some(1), Some(9)]),
        (Some(Compression::Snappy), [None, None]),
        (Some(Compression::Lz4), [Some(9), Some(17)]),
        (Some(Compression::Zstd), [Some(-50), Some(19)]),
    ] {
        for (source, level) in Compression::ALL.into_iter().flat_map(|it| levels.map(|l| (it, l))) {
            let case = format!("{source:?} into {target:?} at {level:?}");
            let world = World::new();
            let (_directory, log) = one_log(&world);
            log.set_config(LogConfig {
                compression: target,
                compression_level: level,
                ..LogConfig::default()
            });
            log.append_as_leader(sent(source), EPOCH, AppendOrigin::Client).unwrap();
            let again = log.append_as_leader(sent(source), EPOCH, AppendOrigin::Client).unwrap();
            assert!(again.duplicate, "{case}");
            let stored = log.read(Offset(0), Offset(20), 1 << 20, true).unwrap().records;
            let stored = crate::record::batches(&stored).next().unwrap().unwrap();
            assert_eq!(stored.header.compression().unwrap(), target.unwrap_or(source), "{case}");
            assert_eq!(stored.header.base_sequence, 0, "{case}");
            let plain = crate::record::batches(&sent(Compression::None)).next().unwrap().unwrap();
            assert_eq!(stored.records().unwrap(), plain.records().unwrap(), "{case}");
        }
    }
}

#[test]
fn a_level_is_a_bargain_of_size_for_time() {
    let text: String = (0..4_000).map(|i| format!("{} ", i * i % 977)).collect();
    for (codec, low, high) in
        [(Compression::Gzip, 1, 9), (Compression::Lz4, 9, 12), (Compression::Zstd, -100, 19)]
    {
        let size = |level| codec.compress_at(text.as_bytes(), Some(level)).unwrap().len();
        assert!(size(low) > size(high), "{codec:?}: {} and {}", size(low), size(high));
    }
    let default = Compression::Gzip.compress(text.as_bytes()).unwrap();
    assert_eq!(Compression::Gzip.compress_at(text.as_bytes(), Some(-1)).unwrap(), default);
}

#[test]
fn a_batch_that_grows_too_large_when_it_is_stored_is_refused() {
    let mut builder = BatchBuilder::new(Offset::ZERO).compression(Compression::Zstd);
    builder.push(START, Some(b"key"), Some(&[b'v'; 5_000]), &[]).unwrap();
    let small = builder.build().unwrap();
    let world = World::new();
    let (_directory, log) = one_log(&world);
    log.set_config(LogConfig {
        compression: Some(Compression::None),
        max_message_bytes: 1_000,
        ..LogConfig::default()
    });
    let refused = log.append_as_leader(small, EPOCH, AppendOrigin::Client).unwrap_err();
    assert_eq!(refused.error_code(), ErrorCode::MessageTooLarge);
    assert_eq!(log.log_end_offset(), Offset(0));
}
