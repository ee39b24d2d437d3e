//! What the catalog knows of logs, as lines. Where the catalog cannot be asked, what the segments
//! tell takes its place.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::cli::dump_log::DumpLogArgs;
use crate::cli::dump_log::catalog::{Asked, ask};
use crate::cli::dump_log::target::Fact;
use crate::log::inspect::{
    Derived, KnownLog, KnownSegment, Mismatch, derive, mismatches, segment_files,
};
use crate::log::producers::ProducerState;
use crate::log::{AbortedTransaction, EpochStart, Incident};
use crate::storage::FileDisk;
use crate::types::{Offset, ProducerId, TimestampMs};

/// What is known of the log in a directory, and from where.
enum Found {
    /// From the catalog.
    Known(Box<KnownLog>),
    /// From its batches.
    Derived(Derived),
}

/// Finds what is known of the log in `directory`; why the catalog does not tell it goes to
/// `complaints`.
fn find(directory: &Path, complaints: &mut Vec<String>) -> anyhow::Result<Found> {
    let absolute = std::path::absolute(directory)?;
    let name = absolute.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let above = absolute.parent().unwrap_or(Path::new("/"));
    match ask(above) {
        Asked::Known(logs, unreadable) => {
            complaints.extend(unreadable.into_iter().map(|line| format!("in the catalog: {line}")));
            let is_it = |log: &KnownLog| {
                log.topic_partition.as_ref().is_some_and(|found| found.to_string() == name)
            };
            if let Some(log) = logs.into_iter().find(is_it) {
                return Ok(Found::Known(Box::new(log)));
            }
            complaints.push(format!("the catalog does not know {name}: told from its segments"));
        }
        Asked::Not(reason) => complaints.push(format!("{reason}: told from its segments")),
    }
    Ok(Found::Derived(derive(&FileDisk, directory)?))
}

/// Prints one fact of the log in `directory`, as Kafka's tool prints the file `path`.
pub(super) fn dump(
    path: &Path,
    directory: &Path,
    fact: Fact,
    args: &DumpLogArgs,
    out: &mut impl Write,
    complaints: &mut Vec<String>,
) -> anyhow::Result<()> {
    let found = find(directory, complaints)?;
    let (epochs, producers, aborted) = match &found {
        Found::Known(log) => (&log.epochs, &log.producers, &log.aborted),
        Found::Derived(derived) => (&derived.epochs, &derived.producers, &derived.aborted),
    };
    match fact {
        Fact::Epochs => print_epochs(out, epochs)?,
        Fact::Producers => print_producers(out, producers)?,
        Fact::Aborted => print_aborted(out, aborted)?,
        Fact::Index(base) | Fact::TimeIndex(base) => {
            let Found::Known(log) = &found else { return Ok(()) };
            match log.segments.iter().find(|segment| segment.base_offset == base) {
                Some(segment) => {
                    dump_index(path, directory, (fact, segment), args, out, complaints)?
                }
                None => complaints.push(format!("the catalog knows no segment {base}")),
            }
        }
    }
    Ok(())
}

/// Prints what is known of the log in `directory`.
pub(super) fn dump_log(
    directory: &Path,
    args: &DumpLogArgs,
    out: &mut impl Write,
    complaints: &mut Vec<String>,
) -> anyhow::Result<()> {
    match find(directory, complaints)? {
        Found::Known(log) => {
            if !args.verify_index_only && !args.index_sanity_check {
                print_log(out, &log)?;
            }
            for segment in &log.segments {
                let path = index_path(directory, segment.base_offset);
                dump_index(
                    &path,
                    directory,
                    (Fact::Index(segment.base_offset), segment),
                    args,
                    out,
                    complaints,
                )?;
            }
        }
        Found::Derived(derived) => {
            print_epochs(out, &derived.epochs)?;
            print_producers(out, &derived.producers)?;
            print_aborted(out, &derived.aborted)?;
        }
    }
    Ok(())
}

/// Prints what the catalog of a data directory knows, log by log.
pub(super) fn dump_all(directory: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    match ask(directory) {
        Asked::Known(logs, unreadable) => {
            for log in &logs {
                print_log(out, log)?;
            }
            for line in unreadable {
                writeln!(out, "in the catalog: {line}")?;
            }
        }
        Asked::Not(reason) => writeln!(out, "{reason}")?,
    }
    Ok(())
}

fn print_log(out: &mut impl Write, log: &KnownLog) -> io::Result<()> {
    match &log.topic_partition {
        Some(name) => writeln!(out, "Log: {name} topicId: {}", log.id.topic_id)?,
        None => {
            writeln!(out, "Log: partition {} of topicId: {}", log.id.partition, log.id.topic_id)?
        }
    }
    match log.progress {
        Some(progress) => writeln!(
            out,
            "logStartOffset: {} highWatermark: {} recoveryPoint: {}",
            progress.log_start, progress.high_watermark, progress.recovery_point
        )?,
        None => writeln!(out, "no checkpoint yet")?,
    }
    print_epochs(out, &log.epochs)?;
    print_producers(out, &log.producers)?;
    print_aborted(out, &log.aborted)?;
    for incident in &log.incidents {
        let Incident { at, kind, from, to, bytes, reason } = incident;
        let kind = kind.name();
        writeln!(
            out,
            "incident: {kind} at: {at} offsets: {from}-{to} bytes: {bytes} reason: {reason}"
        )?;
    }
    for segment in &log.segments {
        writeln!(
            out,
            "segment: {} nextOffset: {} size: {} maxTimestamp: {} indexEntries: {}",
            segment.base_offset,
            segment.next_offset,
            segment.size_bytes,
            segment.max_timestamp,
            segment.marks.len()
        )?;
    }
    Ok(())
}

fn print_epochs(out: &mut impl Write, epochs: &[EpochStart]) -> io::Result<()> {
    for EpochStart { epoch, start_offset } in epochs {
        writeln!(out, "leaderEpoch: {epoch} startOffset: {start_offset}")?;
    }
    Ok(())
}

fn print_producers(
    out: &mut impl Write,
    producers: &BTreeMap<ProducerId, ProducerState>,
) -> io::Result<()> {
    for (id, state) in producers {
        let transaction = match state.transaction_start {
            Some(offset) => format!("OptionalLong[{offset}]"),
            None => "OptionalLong.empty".to_owned(),
        };
        write!(
            out,
            "producerId: {id} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: \
             {transaction} lastTimestamp: {}",
            state.epoch, state.coordinator_epoch, state.last_seen
        )?;
        if let Some(batch) = state.batches.back() {
            write!(
                out,
                " firstSequence: {} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {}",
                batch.base_sequence,
                batch.last_sequence,
                batch.last_offset,
                batch.last_offset.since(batch.base_offset),
                batch.timestamp
            )?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn print_aborted(out: &mut impl Write, aborted: &[AbortedTransaction]) -> io::Result<()> {
    for transaction in aborted {
        writeln!(
            out,
            "version: 0 producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            transaction.producer_id,
            transaction.first_offset,
            transaction.last_offset,
            transaction.last_stable_offset
        )?;
    }
    Ok(())
}

fn index_path(directory: &Path, base_offset: Offset) -> PathBuf {
    directory.join(format!("{:020}.index", base_offset.0))
}

/// Prints a segment's index, or whether it is right.
fn dump_index(
    path: &Path,
    directory: &Path,
    (fact, segment): (Fact, &KnownSegment),
    args: &DumpLogArgs,
    out: &mut impl Write,
    complaints: &mut Vec<String>,
) -> anyhow::Result<()> {
    if args.index_sanity_check {
        if is_sane(segment) {
            writeln!(out, "{} passed sanity check.", path.display())?;
        } else {
            complaints.push(format!("{} cannot be used: its entries do not rise", path.display()));
        }
        return Ok(());
    }
    if !args.verify_index_only {
        return Ok(print_index(out, path, fact, segment)?);
    }
    let file = segment_files(&FileDisk, directory)?
        .into_iter()
        .find(|file| file.file_stem() == path.file_stem());
    let Some(file) = file else {
        complaints.push(format!("{} has no segment", path.display()));
        return Ok(());
    };
    let wrong = mismatches(&FileDisk, &file, &segment.marks)?;
    if !wrong.is_empty() {
        complaints.push(format!("Mismatches in :{}", path.display()));
        complaints.extend(wrong.iter().map(mismatch_line));
    }
    Ok(())
}

fn mismatch_line(wrong: &Mismatch) -> String {
    let Mismatch { mark, offset, timestamp_before } = wrong;
    match offset {
        None => format!(
            "  Index offset: {}, no batch begins at position {}",
            mark.offset, mark.position
        ),
        Some(offset) if *offset != mark.offset => {
            format!("  Index offset: {}, log offset: {offset}", mark.offset)
        }
        Some(_) => format!(
            "  Index timestamp: {}, log timestamp: {timestamp_before}",
            mark.timestamp_before
        ),
    }
}

fn is_sane(segment: &KnownSegment) -> bool {
    let rise = segment.marks.windows(2).all(|pair| {
        pair[0].offset < pair[1].offset
            && pair[0].position < pair[1].position
            && pair[0].timestamp_before <= pair[1].timestamp_before
    });
    let within = segment.marks.iter().all(|mark| {
        mark.offset >= segment.base_offset
            && mark.offset < segment.next_offset
            && mark.position < segment.size_bytes
    });
    rise && within
}

fn print_index(
    out: &mut impl Write,
    path: &Path,
    fact: Fact,
    segment: &KnownSegment,
) -> io::Result<()> {
    match fact {
        Fact::TimeIndex(_) => {
            let before = segment.marks.iter().map(|mark| (mark.timestamp_before, mark.offset));
            let last = (segment.max_timestamp, segment.next_offset);
            for (timestamp, next) in before.chain([last]).filter(|(at, _)| *at > TimestampMs::NONE)
            {
                writeln!(out, "timestamp: {timestamp} offset: {}", next.plus(-1))?;
            }
        }
        _ if segment.marks.is_empty() => writeln!(out, "{} is empty.", path.display())?,
        _ => {
            for mark in &segment.marks {
                writeln!(out, "offset: {} position: {}", mark.offset, mark.position)?;
            }
        }
    }
    Ok(())
}
