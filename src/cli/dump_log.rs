//! `dump-log`: `kafka-dump-log.sh` by its flags and its output. It reads segment files as they
//! lie there, of a running broker too, and says what is wrong with them instead of stopping.

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, bail};
use bytes::Bytes;
use clap::Args;
use openraft::EntryPayload;

use crate::controller::raft::entry;
use crate::metadata::MetadataRecord;
use crate::record::{
    Batch, BatchHeader, ControlType, EndTransactionMarker, HEADER_BYTES, Record, RecordError,
    TimestampType,
};

/// Print the batches and records of segment files
#[derive(Debug, Clone, Args)]
pub struct DumpLogArgs {
    /// The files: 00000000000000000000.log,...
    #[arg(long, value_name = "FILES", value_delimiter = ',', required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// Print the records' keys and values too
    #[arg(long)]
    print_data_log: bool,
    /// Print the records of each batch
    #[arg(long)]
    deep_iteration: bool,
    /// The files are of the metadata log: print its entries and the changes in them
    #[arg(long)]
    cluster_metadata_decoder: bool,
    /// Leave the records' offsets, sizes and sequences out
    #[arg(long)]
    skip_record_metadata: bool,
    /// Read at most so many bytes of each file
    #[arg(long, value_name = "BYTES")]
    max_bytes: Option<u64>,
}

/// Prints the files, one after another.
pub(super) fn run(args: &DumpLogArgs) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::with_capacity(64 * 1024, io::stdout());
    for path in &args.files {
        writeln!(out, "Dumping {}", path.display())?;
        if path.extension().is_none_or(|extension| extension != "log") {
            eprintln!("Ignoring unknown file {}", path.display());
            continue;
        }
        dump(path, args, &mut out)?;
    }
    out.flush()?;
    Ok(ExitCode::SUCCESS)
}

fn dump(path: &Path, args: &DumpLogArgs, out: &mut impl Write) -> anyhow::Result<()> {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    let Ok(base) = stem.parse::<i64>() else {
        bail!("{} is not a segment: its name is not an offset", path.display());
    };
    let file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let file_size = file.metadata()?.len();
    writeln!(out, "Log starting offset: {base}")?;
    let limit = args.max_bytes.unwrap_or(file_size).min(file_size);
    let mut input = BufReader::with_capacity(1 << 20, file.take(limit));
    let mut position = 0;
    let mut last_offset = None;
    while let Some(batch) = next_batch(&mut input, limit - position)? {
        print_batch(out, &batch, position)?;
        if args.deep_iteration || args.print_data_log || args.cluster_metadata_decoder {
            print_records(out, &batch, args, &mut last_offset)?;
        }
        position += batch.header.size_bytes() as u64;
    }
    if position < limit && args.max_bytes.is_none() {
        let name = path.file_name().unwrap_or_default().display().to_string();
        writeln!(out, "Found {} invalid bytes at the end of {name}", limit - position)?;
    }
    Ok(())
}

/// The next whole batch; `None` at the end and before anything that is not one.
fn next_batch(input: &mut impl Read, left: u64) -> io::Result<Option<Batch>> {
    let mut bytes = vec![0; HEADER_BYTES];
    if left < bytes.len() as u64 || !read_all(input, &mut bytes)? {
        return Ok(None);
    }
    let Ok(header) = BatchHeader::parse(&bytes) else { return Ok(None) };
    // A length that exceeds the file is damage, not a reason to take memory.
    if header.size_bytes() as u64 > left {
        return Ok(None);
    }
    bytes.resize(header.size_bytes(), 0);
    if !read_all(input, &mut bytes[HEADER_BYTES..])? {
        return Ok(None);
    }
    Ok(Some(Batch { header, bytes: Bytes::from(bytes) }))
}

/// Fills the buffer; false if the file ends before.
fn read_all(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match input.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}

fn print_batch(out: &mut impl Write, batch: &Batch, position: u64) -> io::Result<()> {
    let header = &batch.header;
    let horizon = match header.delete_horizon() {
        Some(horizon) => format!("OptionalLong[{horizon}]"),
        None => "OptionalLong.empty".to_owned(),
    };
    let codec = match header.compression() {
        Ok(codec) => codec.name().to_owned(),
        Err(error) => error.to_string(),
    };
    writeln!(
        out,
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} \
         producerId: {} producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} \
         isControl: {} deleteHorizonMs: {horizon} position: {position} {}: {} size: {} magic: {} \
         compresscodec: {codec} crc: {} isvalid: {}",
        header.base_offset,
        header.last_offset(),
        header.record_count,
        header.base_sequence,
        header.last_sequence(),
        header.producer_id,
        header.producer_epoch,
        header.partition_leader_epoch,
        header.is_transactional(),
        header.is_control(),
        timestamp_name(header),
        header.max_timestamp,
        header.size_bytes(),
        header.magic,
        header.crc,
        batch.verify_crc().is_ok(),
    )
}

fn print_records(
    out: &mut impl Write,
    batch: &Batch,
    args: &DumpLogArgs,
    last_offset: &mut Option<i64>,
) -> io::Result<()> {
    let records = match batch.records() {
        Ok(records) => records,
        Err(error) => return writeln!(out, "| cannot be read: {error}"),
    };
    for record in &records {
        if let Some(last) = last_offset.filter(|last| last + 1 != record.offset.0) {
            eprintln!("Non-consecutive offsets: {last} is followed by {}", record.offset);
        }
        *last_offset = Some(record.offset.0);
        write!(out, "|")?;
        if !args.skip_record_metadata {
            print_metadata(out, batch, record)?;
        }
        if args.cluster_metadata_decoder {
            for line in metadata(batch) {
                write!(out, " payload: {line}")?;
            }
        } else if args.print_data_log && !batch.header.is_control() {
            let text = |bytes: &Bytes| String::from_utf8_lossy(bytes).into_owned();
            if let Some(key) = &record.key {
                write!(out, " key: {}", text(key))?;
            }
            if let Some(value) = &record.value {
                write!(out, " payload: {}", text(value))?;
            }
        }
        writeln!(out)?;
    }
    Ok(())
}

fn print_metadata(out: &mut impl Write, batch: &Batch, record: &Record) -> io::Result<()> {
    let header = &batch.header;
    let length = |bytes: &Option<Bytes>| match bytes {
        Some(bytes) => bytes.len().to_string(),
        None => "-1".to_owned(),
    };
    let keys: Vec<&str> = record.headers.iter().map(|header| header.key.as_str()).collect();
    write!(
        out,
        " offset: {} {}: {} keySize: {} valueSize: {} sequence: {} headerKeys: [{}]",
        record.offset,
        timestamp_name(header),
        record.timestamp,
        length(&record.key),
        length(&record.value),
        sequence(header, record),
        keys.join(","),
    )?;
    if header.is_control() {
        write!(out, "{}", control(record).unwrap_or_else(|error| format!(" {error}")))?;
    }
    Ok(())
}

fn sequence(header: &BatchHeader, record: &Record) -> i64 {
    if header.base_sequence < 0 {
        return -1;
    }
    let at = i64::from(header.base_sequence) + record.offset.since(header.base_offset);
    at.rem_euclid(1 << 31)
}

/// What a control record marks.
fn control(record: &Record) -> Result<String, RecordError> {
    Ok(match EndTransactionMarker::of(record)? {
        Some(marker) => format!(
            " endTxnMarker: {} coordinatorEpoch: {}",
            if marker.committed { "COMMIT" } else { "ABORT" },
            marker.coordinator_epoch
        ),
        None => format!(" controlType: {:?}", ControlType::of(record)?),
    })
}

/// What an entry of the metadata log holds.
fn metadata(batch: &Batch) -> Vec<String> {
    let entry = match entry::decode(batch) {
        Ok(entry) => entry,
        Err(error) => return vec![format!("cannot be read: {error}")],
    };
    match entry.payload {
        EntryPayload::Blank => vec!["a new leader's first entry".to_owned()],
        EntryPayload::Membership(membership) => vec![format!("{membership:?}")],
        EntryPayload::Normal(data) => data
            .records
            .into_iter()
            .map(|record| match MetadataRecord::decode(record) {
                Ok(record) => format!("{record:?}"),
                Err(error) => format!("cannot be read: {error}"),
            })
            .collect(),
    }
}

fn timestamp_name(header: &BatchHeader) -> &'static str {
    match header.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::record::{BatchBuilder, Header};
    use crate::types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, TimestampMs};

    fn batch() -> Vec<u8> {
        let mut builder = BatchBuilder::new(Offset(5)).leader_epoch(LeaderEpoch(2)).producer(
            ProducerId(7),
            ProducerEpoch(1),
            3,
        );
        let headers = [Header { key: "h".to_owned(), value: None }];
        builder.push(TimestampMs(1000), Some(b"k"), Some(b"hello"), &headers).unwrap();
        builder.push(TimestampMs(1001), None, Some(b"world"), &[]).unwrap();
        builder.build().unwrap().to_vec()
    }

    fn dumped(content: &[u8], args: &DumpLogArgs) -> Vec<String> {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("00000000000000000005.log");
        std::fs::write(&path, content).unwrap();
        let mut out = Vec::new();
        dump(&path, args, &mut out).unwrap();
        String::from_utf8(out).unwrap().lines().map(str::to_owned).collect()
    }

    fn args(print_data_log: bool, skip_record_metadata: bool) -> DumpLogArgs {
        DumpLogArgs {
            files: Vec::new(),
            print_data_log,
            deep_iteration: false,
            cluster_metadata_decoder: false,
            skip_record_metadata,
            max_bytes: None,
        }
    }

    #[test]
    fn the_lines_are_those_of_kafka_dump_log() {
        let bytes = batch();
        let crc = BatchHeader::parse(&bytes).unwrap().crc;
        let size = bytes.len();
        assert_eq!(
            dumped(&bytes, &args(true, false)),
            [
                "Log starting offset: 5".to_owned(),
                format!(
                    "baseOffset: 5 lastOffset: 6 count: 2 baseSequence: 3 lastSequence: 4 \
                     producerId: 7 producerEpoch: 1 partitionLeaderEpoch: 2 isTransactional: false \
                     isControl: false deleteHorizonMs: OptionalLong.empty position: 0 \
                     CreateTime: 1001 size: {size} magic: 2 compresscodec: none crc: {crc} \
                     isvalid: true"
                ),
                "| offset: 5 CreateTime: 1000 keySize: 1 valueSize: 5 sequence: 3 headerKeys: [h] \
                 key: k payload: hello"
                    .to_owned(),
                "| offset: 6 CreateTime: 1001 keySize: -1 valueSize: 5 sequence: 4 headerKeys: [] \
                 payload: world"
                    .to_owned(),
            ]
        );
        assert_eq!(dumped(&bytes, &args(false, false)).len(), 2);
        assert_eq!(dumped(&bytes, &args(true, true))[2], "| key: k payload: hello");
    }

    #[test]
    fn entries_of_the_metadata_log_are_told() {
        let blank = || {
            let mut builder = BatchBuilder::new(Offset(5)).leader_epoch(LeaderEpoch(1));
            builder.push(TimestampMs(1), Some(b"blank"), None, &[]).unwrap();
            builder.build().unwrap()
        };
        let args = DumpLogArgs { cluster_metadata_decoder: true, ..args(false, true) };
        assert_eq!(dumped(&blank(), &args)[2], "| payload: a new leader's first entry");
        let other = dumped(&batch(), &args);
        assert!(other[2].starts_with("| payload: cannot be read: "), "{}", other[2]);
    }

    #[test]
    fn damage_is_told_and_memory_is_not_taken_for_it() {
        let whole = batch();
        let mut flipped = whole.clone();
        *flipped.last_mut().unwrap() ^= 1;
        assert!(dumped(&flipped, &args(false, false))[1].ends_with("isvalid: false"));
        let mut cut = whole.clone();
        cut.extend_from_slice(&whole[..40]);
        assert_eq!(
            dumped(&cut, &args(false, false)).last().unwrap(),
            "Found 40 invalid bytes at the end of 00000000000000000005.log"
        );
        let mut huge = whole.clone();
        huge[8..12].copy_from_slice(&i32::MAX.to_be_bytes());
        assert!(dumped(&huge, &args(false, false))[1].contains("invalid bytes"));
    }
}
