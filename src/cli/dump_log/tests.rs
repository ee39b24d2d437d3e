#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
use std::sync::Arc;

use clap::Parser;

use super::*;
use crate::log::{AppendOrigin, LogConfig, LogDirectory, LogDirectoryOptions, LogEnvironment};
use crate::record::{BatchBuilder, BatchHeader, EndTransactionMarker, Header};
use crate::storage::{Catalog, FileDisk, InlineOffload, SledCatalog};
use crate::types::clock::SystemClock;
use crate::types::random::SystemRandom;
use crate::types::{
    LeaderEpoch, NodeId, Offset, ProducerEpoch, ProducerId, TimestampMs, TopicId, TopicPartition,
};

/// A command line of which only the tool's own part matters.
#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    args: DumpLogArgs,
}

fn args(flags: &str) -> DumpLogArgs {
    let words = ["dump-log", "--files", "unused"].into_iter().chain(flags.split_whitespace());
    Line::try_parse_from(words).unwrap_or_else(|error| panic!("{flags}: {error}")).args
}

/// What is printed for a path, and what is complained of.
fn dumped(path: &Path, flags: &str) -> (Vec<String>, Vec<String>) {
    let (mut out, mut complaints) = (Vec::new(), Vec::new());
    dump(path, &args(flags), &mut out, &mut complaints).unwrap();
    let lines = String::from_utf8(out).unwrap().lines().map(str::to_owned).collect();
    (lines, complaints)
}

/// What is printed for a segment with that content, without the first line.
fn dumped_segment(content: &[u8], flags: &str) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("00000000000000000005.log");
    std::fs::write(&path, content).unwrap();
    let (lines, _) = dumped(&path, flags);
    lines.into_iter().skip(1).collect()
}

fn batch_at(base_offset: i64) -> Vec<u8> {
    let mut builder = BatchBuilder::new(Offset(base_offset)).leader_epoch(LeaderEpoch(2)).producer(
        ProducerId(7),
        ProducerEpoch(1),
        3,
    );
    let headers = [Header { key: "h".to_owned(), value: None }];
    builder.push(TimestampMs(1000), Some(b"k"), Some(b"hello"), &headers).unwrap();
    builder.push(TimestampMs(1001), None, Some(b"world"), &[]).unwrap();
    builder.build().unwrap().to_vec()
}

#[test]
fn the_lines_are_those_of_kafka_dump_log() {
    let bytes = batch_at(5);
    let crc = BatchHeader::parse(&bytes).unwrap().crc;
    let size = bytes.len();
    assert_eq!(
        dumped_segment(&bytes, "--print-data-log"),
        [
            "Log starting offset: 5".to_owned(),
            format!(
                "baseOffset: 5 lastOffset: 6 count: 2 baseSequence: 3 lastSequence: 4 producerId: 7 \
                 producerEpoch: 1 partitionLeaderEpoch: 2 isTransactional: false isControl: false \
                 deleteHorizonMs: OptionalLong.empty position: 0 CreateTime: 1001 size: {size} \
                 magic: 2 compresscodec: none crc: {crc} isvalid: true"
            ),
            "| offset: 5 CreateTime: 1000 keySize: 1 valueSize: 5 sequence: 3 headerKeys: [h] key: k \
             payload: hello"
                .to_owned(),
            "| offset: 6 CreateTime: 1001 keySize: -1 valueSize: 5 sequence: 4 headerKeys: [] \
             payload: world"
                .to_owned(),
        ]
    );
    assert_eq!(dumped_segment(&bytes, "").len(), 2);
    assert_eq!(dumped_segment(&bytes, "--deep-iteration").len(), 4);
    let bare = dumped_segment(&bytes, "--print-data-log --skip-record-metadata");
    assert_eq!(bare[2], "| key: k payload: hello");
    let raw = dumped_segment(&bytes, "--value-decoder-class DefaultDecoder --skip-record-metadata");
    assert_eq!(raw[3], "| payload: 776f726c64");
}

#[test]
fn control_records_are_told() {
    let marker = EndTransactionMarker { committed: false, coordinator_epoch: LeaderEpoch(4) };
    let bytes = marker.batch(TimestampMs(1), ProducerId(7), ProducerEpoch(1)).unwrap();
    let lines = dumped_segment(&bytes, "--print-data-log");
    assert!(lines[2].ends_with("endTxnMarker: ABORT coordinatorEpoch: 4"), "{}", lines[2]);
}

#[test]
fn entries_of_the_metadata_log_are_told() {
    let mut builder = BatchBuilder::new(Offset(5)).leader_epoch(LeaderEpoch(1));
    builder.push(TimestampMs(1), Some(b"blank"), None, &[]).unwrap();
    let flags = "--cluster-metadata-decoder --skip-record-metadata";
    let blank = dumped_segment(&builder.build().unwrap(), flags);
    assert_eq!(blank[2], "| payload: a new leader's first entry");
    let other = dumped_segment(&batch_at(5), flags);
    assert!(other[2].starts_with("| payload: cannot be read: "), "{}", other[2]);
}

#[test]
fn commits_and_groups_are_told_as_kafka_does() {
    // Written down from the fields of OffsetCommitKey 1 and OffsetCommitValue 3.
    let key = b"\0\x01\0\x01g\0\x01t\0\0\0\x02";
    let value = b"\0\x03\0\0\0\0\0\0\0\x2a\0\0\0\x05\0\x01m\0\0\0\0\0\0\0\x09";
    let mut builder = BatchBuilder::new(Offset(5));
    builder.push(TimestampMs(1), Some(key), Some(value), &[]).unwrap();
    builder.push(TimestampMs(1), Some(key), None, &[]).unwrap();
    builder.push(TimestampMs(1), Some(b"\0\x63\0\x01g"), Some(b"?"), &[]).unwrap();
    builder.push(TimestampMs(1), Some(b"\0\x01\0\x09g"), Some(b"?"), &[]).unwrap();
    builder.push(TimestampMs(1), None, Some(b"?"), &[]).unwrap();
    let lines =
        dumped_segment(&builder.build().unwrap(), "--offsets-decoder --skip-record-metadata");
    let key = r#"{"data":{"group":"g","partition":2,"topic":"t"},"type":"1"}"#;
    assert_eq!(
        lines[2],
        format!(
            r#"| key: {key} payload: {{"data":{{"commitTimestamp":9,"leaderEpoch":5,"metadata":"m","offset":42}},"version":"3"}}"#
        )
    );
    assert_eq!(lines[3], format!("| key: {key} payload: <DELETE>"));
    assert_eq!(lines[4], "| key: Unknown record type 99 at offset 7, skipping.");
    assert!(lines[5].starts_with("| key: Error at offset 8, skipping. "), "{}", lines[5]);
    assert!(lines[6].starts_with("| key: Error at offset 9, skipping. "), "{}", lines[6]);
}

#[test]
fn damage_is_told_and_what_lies_behind_it_too() {
    let (first, second) = (batch_at(5), batch_at(7));
    let size = first.len();
    let both = |first: &[u8]| [first, &second[..]].concat();

    let mut flipped = first.clone();
    *flipped.last_mut().unwrap() ^= 1;
    let lines = dumped_segment(&both(&flipped), "");
    assert!(lines[1].ends_with("isvalid: false"), "{lines:?}");
    assert!(lines[2].ends_with("isvalid: true"), "{lines:?}");

    let mut wrong_length = first.clone();
    wrong_length[11] ^= 4;
    let mut huge = first.clone();
    huge[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
    let zeros = vec![0; size];
    let cut_off = &first[10..];
    for damaged in [&wrong_length[..], &huge, &zeros, cut_off] {
        let lines = dumped_segment(&both(damaged), "");
        let length = damaged.len();
        assert!(
            lines[1].starts_with(&format!("Found {length} invalid bytes at position 0 of")),
            "{lines:?}"
        );
        assert!(lines[1].ends_with(&format!("the next batch begins at {length}")), "{lines:?}");
        assert!(lines[2].starts_with("baseOffset: 7 "), "{lines:?}");
    }
    let lines = dumped_segment(&[&first[..], &second[..40]].concat(), "");
    assert_eq!(lines[2], "Found 40 invalid bytes at the end of 00000000000000000005.log");
    // An end that was asked for is no damage.
    assert_eq!(dumped_segment(&both(&first), &format!("--max-bytes {}", size + 10)).len(), 2);
    // Of what lies behind damage nothing is believed that is larger than it may be.
    let lines = dumped_segment(&both(&zeros), "--max-message-size 50");
    assert!(lines[1].contains("at the end of"), "{lines:?}");
}

#[test]
fn jumps_between_offsets_are_complained_of() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("00000000000000000005.log");
    std::fs::write(&path, [batch_at(5), batch_at(9)].concat()).unwrap();
    let (_, complaints) = dumped(&path, "--deep-iteration");
    let file = format!("Non-consecutive offsets in {}", path.display());
    assert_eq!(complaints, [file, "  6 is followed by 9".to_owned()]);
    assert_eq!(dumped(&path, "").1, [""; 0]);
}

/// A data directory with one log, `t-0`, of some segments, as a broker leaves it.
fn with_log(run: impl FnOnce(&Path, Arc<LogDirectory>)) {
    let root = tempfile::tempdir().unwrap();
    let options =
        LogDirectoryOptions { path: root.path().to_owned(), cluster_id: None, node_id: NodeId(1) };
    let environment = LogEnvironment {
        disk: Arc::new(FileDisk),
        catalog_opener: Arc::new(|path| Ok(Arc::new(SledCatalog::open(path)?) as Arc<dyn Catalog>)),
        clock: Arc::new(SystemClock::new()),
        offload: Arc::new(InlineOffload),
        recovery_threads: 1,
        random: Arc::new(SystemRandom),
        boot_id: "boot".to_owned(),
    };
    let directory = LogDirectory::open(options, environment).unwrap();
    let config = LogConfig { segment_bytes: 3 << 20, ..LogConfig::default() };
    let partition = TopicPartition::new("t", 0);
    let id = TopicId(uuid::Uuid::from_u128(7));
    let log = directory.create(&partition, id, config).unwrap();
    log.assign_epoch_blocking(LeaderEpoch(2)).unwrap();
    for number in 0..40 {
        let mut builder =
            BatchBuilder::new(Offset(0)).producer(ProducerId(7), ProducerEpoch(1), number);
        let value = vec![b'x'; 250_000];
        builder.push(TimestampMs(1000 + i64::from(number)), None, Some(&value), &[]).unwrap();
        let batch = builder.build().unwrap();
        log.append_as_leader(batch, LeaderEpoch(2), AppendOrigin::Client).unwrap();
    }
    drop(log);
    run(root.path(), directory);
}

#[test]
fn of_a_stopped_broker_the_catalog_is_told() {
    with_log(|path, directory| {
        directory.close_blocking().unwrap();
        drop(directory);
        let before = tree(path);
        let (lines, complaints) = dumped(&path.join("t-0"), "");
        assert_eq!(complaints, [""; 0]);
        assert!(lines[1].starts_with("Log: t-0 topicId: "), "{lines:?}");
        assert_eq!(lines[2], "logStartOffset: 0 highWatermark: 0 recoveryPoint: 40");
        assert_eq!(lines[3], "leaderEpoch: 2 startOffset: 0");
        assert!(
            lines[4].starts_with("producerId: 7 producerEpoch: 1 coordinatorEpoch: -1")
                && lines[4]
                    .ends_with("lastSequence: 39 lastOffset: 39 offsetDelta: 0 timestamp: 1039"),
            "{lines:?}"
        );
        assert!(lines[5].starts_with("segment: 0 nextOffset: 12 size: 3"), "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line.ends_with("isvalid: true")).count(), 40);

        let file = |name: &str| path.join("t-0").join(name);
        let index = dumped(&file("00000000000000000000.index"), "").0;
        assert_eq!(index[1], "offset: 5 position: 1250360", "{index:?}");
        let times = dumped(&file("00000000000000000012.timeindex"), "").0;
        assert_eq!(times.last().unwrap(), "timestamp: 1023 offset: 23", "{times:?}");
        let epochs = dumped(&file("leader-epoch-checkpoint"), "").0;
        assert_eq!(epochs[1], "leaderEpoch: 2 startOffset: 0");
        assert_eq!(dumped(&file("00000000000000000040.snapshot"), "").0[1], lines[4]);
        assert_eq!(dumped(path, "").0[1..6], lines[1..6]);
        assert_eq!(tree(path), before, "something was changed");
    });
}

#[test]
fn indexes_are_compared_with_their_segments() {
    with_log(|path, directory| {
        directory.close_blocking().unwrap();
        drop(directory);
        let log = path.join("t-0");
        let sane = dumped(&log, "--index-sanity-check");
        assert!(sane.0[1].ends_with("00000000000000000000.index passed sanity check."), "{sane:?}");
        assert_eq!(sane.1, [""; 0]);
        assert_eq!(dumped(&log, "--verify-index-only").1, [""; 0]);
        // The sixth batch is where the index says, but another one now.
        let segment = log.join("00000000000000000000.log");
        let mut bytes = std::fs::read(&segment).unwrap();
        bytes[1_250_360 + 7] = 6;
        std::fs::write(&segment, &bytes).unwrap();
        let (_, complaints) = dumped(&log, "--verify-index-only");
        assert!(complaints[0].starts_with("Mismatches in :"), "{complaints:?}");
        assert_eq!(complaints[1], "  Index offset: 5, log offset: 6");
    });
}

#[test]
fn of_a_running_broker_the_segments_are_told() {
    with_log(|path, directory| {
        directory.checkpoint_blocking().unwrap();
        let (lines, complaints) = dumped(&path.join("t-0"), "");
        assert_eq!(complaints.len(), 1);
        assert!(complaints[0].contains("is in use by a broker: told from its segments"));
        assert_eq!(lines[1], "leaderEpoch: 2 startOffset: 0");
        assert!(lines[2].starts_with("producerId: 7 producerEpoch: 1"), "{lines:?}");
        assert_eq!(lines.iter().filter(|line| line.ends_with("isvalid: true")).count(), 40);
        assert!(dumped(path, "").0[1].contains("is in use by a broker"));
    });
}

/// Names and lengths of all files below a directory.
fn tree(path: &Path) -> Vec<(PathBuf, u64)> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(path).unwrap() {
        let entry = entry.unwrap();
        let metadata = entry.metadata().unwrap();
        if metadata.is_dir() {
            found.extend(tree(&entry.path()));
        } else {
            found.push((entry.path(), metadata.len()));
        }
    }
    found.sort();
    found
}
