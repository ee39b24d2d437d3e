//! The batches of a segment and the records in them, in the lines of Kafka's tool.

use std::io::{self, Write};
use std::path::Path;

use bytes::Bytes;

use crate::cli::dump_log::DumpLogArgs;
use crate::log::inspect::{DamagedBytes, InspectedBatch, Piece, SegmentReader};
use crate::record::{
    Batch, BatchHeader, ControlType, EndTransactionMarker, Record, RecordError, TimestampType,
};
use crate::storage::FileDisk;
use crate::types::Offset;

/// Jumps in a file's offsets that are listed; compacted logs have them everywhere.
const MOST_JUMPS: usize = 1_000;

/// Prints a segment file.
pub(super) fn dump(
    path: &Path,
    base_offset: Offset,
    args: &DumpLogArgs,
    out: &mut impl Write,
    complaints: &mut Vec<String>,
) -> anyhow::Result<()> {
    writeln!(out, "Log starting offset: {base_offset}")?;
    let mut reader = SegmentReader::open(&FileDisk, path)?.finding_at_most(args.max_message_size);
    if let Some(bytes) = args.max_bytes {
        reader = reader.within(bytes);
    }
    let mut jumps = Jumps::default();
    while let Some(piece) = reader.next_piece()? {
        match piece {
            Piece::Batch(found) => {
                print_batch(out, &found)?;
                if args.prints_records() {
                    print_records(out, &found.batch, args, &mut jumps)?;
                }
            }
            // Where only a part was asked for, its end cuts a batch.
            Piece::Damaged(damage) if args.max_bytes.is_some() && !damage.is_followed => {}
            Piece::Damaged(damage) => print_damage(out, path, &damage)?,
        }
    }
    complaints.extend(jumps.complaints(path));
    Ok(())
}

fn print_damage(out: &mut impl Write, path: &Path, damage: &DamagedBytes) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().display().to_string();
    let DamagedBytes { position, size_bytes, reason, .. } = damage;
    if damage.is_followed {
        let next = position + size_bytes;
        writeln!(
            out,
            "Found {size_bytes} invalid bytes at position {position} of {name}: {reason}; the next \
             batch begins at {next}"
        )
    } else {
        writeln!(out, "Found {size_bytes} invalid bytes at the end of {name}")?;
        writeln!(out, "| at position {position}: {reason}")
    }
}

fn print_batch(out: &mut impl Write, found: &InspectedBatch) -> io::Result<()> {
    let header = &found.batch.header;
    let codec = match header.compression() {
        Ok(codec) => codec.name().to_owned(),
        Err(_) => format!("unknown({})", header.attributes & 7),
    };
    let horizon = match header.delete_horizon() {
        Some(horizon) => format!("OptionalLong[{horizon}]"),
        None => "OptionalLong.empty".to_owned(),
    };
    writeln!(
        out,
        "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} \
         producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} isControl: {} \
         deleteHorizonMs: {horizon} position: {} {}: {} size: {} magic: {} compresscodec: {codec} \
         crc: {} isvalid: {}",
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
        found.position,
        timestamp_name(header),
        header.max_timestamp,
        header.size_bytes(),
        header.magic,
        header.crc,
        found.is_valid,
    )
}

fn print_records(
    out: &mut impl Write,
    batch: &Batch,
    args: &DumpLogArgs,
    jumps: &mut Jumps,
) -> io::Result<()> {
    let records = match batch.records() {
        Ok(records) => records,
        Err(error) => return writeln!(out, "| cannot be read: {error}"),
    };
    for record in &records {
        jumps.note(record.offset);
        write!(out, "|")?;
        if !args.skip_record_metadata {
            print_metadata(out, batch, record)?;
        }
        if args.prints_data() && !batch.header.is_control() {
            write!(out, "{}", args.contents().text(batch, record))?;
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

fn timestamp_name(header: &BatchHeader) -> &'static str {
    match header.timestamp_type() {
        TimestampType::CreateTime => "CreateTime",
        TimestampType::LogAppendTime => "LogAppendTime",
    }
}

/// Where the offsets of one file's records do not follow each other.
#[derive(Debug, Default)]
struct Jumps {
    last: Option<Offset>,
    found: Vec<(Offset, Offset)>,
    not_listed: u64,
}

impl Jumps {
    fn note(&mut self, offset: Offset) {
        match self.last.replace(offset) {
            Some(last) if last.plus(1) != offset => {
                if self.found.len() < MOST_JUMPS {
                    self.found.push((last, offset));
                } else {
                    self.not_listed += 1;
                }
            }
            Some(_) | None => {}
        }
    }

    fn complaints(self, path: &Path) -> Vec<String> {
        if self.found.is_empty() {
            return Vec::new();
        }
        let mut lines = vec![format!("Non-consecutive offsets in {}", path.display())];
        lines.extend(
            self.found.iter().map(|(last, next)| format!("  {last} is followed by {next}")),
        );
        if self.not_listed > 0 {
            lines.push(format!("  and {} more", self.not_listed));
        }
        lines
    }
}
