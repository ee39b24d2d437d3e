//! `dump-log`: `kafka-dump-log.sh` by its flags and its output. It changes nothing, reads segment
//! files of a running broker too, and says what is wrong with them instead of stopping.
//!
//! What Kafka keeps in files beside a segment, Ottla keeps in its catalog: `--files` takes Kafka's
//! names for that, and directories.
//!
//! | `--files`                              | shows                                                    |
//! |----------------------------------------|----------------------------------------------------------|
//! | `N.log`                                | the segment's batches; their records with further flags  |
//! | `N.index`, `N.timeindex`               | the segment's index                                      |
//! | `N.snapshot`, `N.txnindex`             | the log's producers, its aborted transactions            |
//! | `leader-epoch-checkpoint`              | its leader epochs                                        |
//! | `N-E.checkpoint`                       | a snapshot of the metadata                               |
//! | a partition's directory                | all that, segment by segment                             |
//! | a data directory                       | what the catalog knows of each log in it                 |
//!
//! - `target`: what a path is; `segment`: batches and records; `decoder`: keys and values as text
//! - `offsets`, `metadata`: the records of `__consumer_offsets`, of the metadata log
//! - `catalog`: asking the catalog of a broker that does not run; `facts`: what it says, as lines

mod catalog;
mod decoder;
mod facts;
mod metadata;
mod offsets;
mod segment;
mod target;
#[cfg(test)]
mod tests;

use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;

use crate::cli::dump_log::decoder::{Contents, PlainDecoder};
use crate::cli::dump_log::target::Target;

/// Print batches, records, indexes and what else is known of logs
#[derive(Debug, Clone, Args)]
pub struct DumpLogArgs {
    /// Segments (N.log), Kafka's names of what belongs to them (N.index, N.timeindex, N.snapshot,
    /// N.txnindex, leader-epoch-checkpoint), or directories of partitions or of a broker
    #[arg(long, value_name = "FILES", value_delimiter = ',', required = true, num_args = 1..)]
    files: Vec<PathBuf>,
    /// Print the records' keys and values too
    #[arg(long)]
    print_data_log: bool,
    /// Print the records of each batch
    #[arg(long)]
    deep_iteration: bool,
    /// Compare indexes with their segments, and print only what does not fit
    #[arg(long)]
    verify_index_only: bool,
    /// Check only that indexes can be used
    #[arg(long)]
    index_sanity_check: bool,
    /// Behind damage, take nothing larger for a batch
    #[arg(long, value_name = "BYTES", default_value_t = 5 << 20)]
    max_message_size: u64,
    /// Read at most so many bytes of each file
    #[arg(long, value_name = "BYTES")]
    max_bytes: Option<u64>,
    /// How to print values: StringDecoder, IntegerDecoder, LongDecoder or DefaultDecoder
    #[arg(long, value_name = "DECODER", num_args = 0..=1, default_missing_value = "StringDecoder")]
    value_decoder_class: Option<PlainDecoder>,
    /// How to print keys
    #[arg(long, value_name = "DECODER", num_args = 0..=1, default_missing_value = "StringDecoder")]
    key_decoder_class: Option<PlainDecoder>,
    /// The files are of __consumer_offsets: print commits and groups
    #[arg(long, conflicts_with = "cluster_metadata_decoder")]
    offsets_decoder: bool,
    /// The files are of the metadata log: print its entries and the changes in them
    #[arg(long)]
    cluster_metadata_decoder: bool,
    /// Leave the records' offsets, sizes and sequences out
    #[arg(long)]
    skip_record_metadata: bool,
}

impl DumpLogArgs {
    fn contents(&self) -> Contents {
        if self.offsets_decoder {
            Contents::Offsets
        } else if self.cluster_metadata_decoder {
            Contents::Metadata
        } else {
            let key = self.key_decoder_class.unwrap_or_default();
            Contents::Plain { key, value: self.value_decoder_class.unwrap_or_default() }
        }
    }

    fn prints_data(&self) -> bool {
        self.print_data_log
            || self.value_decoder_class.is_some()
            || self.key_decoder_class.is_some()
            || self.offsets_decoder
            || self.cluster_metadata_decoder
    }

    fn prints_records(&self) -> bool {
        self.deep_iteration || self.prints_data()
    }
}

/// Prints the files, one after another.
pub(super) fn run(args: &DumpLogArgs) -> anyhow::Result<ExitCode> {
    let mut out = BufWriter::with_capacity(64 * 1024, io::stdout());
    let mut complaints = Vec::new();
    for path in &args.files {
        dump(path, args, &mut out, &mut complaints)?;
    }
    out.flush()?;
    // As Kafka's tool does: after all that was asked for, what does not fit in it.
    for line in complaints {
        eprintln!("{line}");
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints what one path stands for; what does not fit goes to `complaints`.
fn dump(
    path: &Path,
    args: &DumpLogArgs,
    out: &mut impl Write,
    complaints: &mut Vec<String>,
) -> anyhow::Result<()> {
    writeln!(out, "Dumping {}", path.display())?;
    match target::of(path)? {
        Target::Segment { base_offset } => {
            segment::dump(path, base_offset, args, out, complaints)?;
        }
        Target::Fact { directory, fact } => {
            facts::dump(path, &directory, fact, args, out, complaints)?;
        }
        Target::Snapshot => metadata::dump_snapshot(path, out)?,
        Target::Log => dump_log(path, args, out, complaints)?,
        Target::DataDirectory => facts::dump_all(path, out)?,
        Target::Unknown => complaints.push(format!("Ignoring unknown file {}", path.display())),
    }
    Ok(())
}

/// All of one partition: what the catalog knows, then the segments.
fn dump_log(
    directory: &Path,
    args: &DumpLogArgs,
    out: &mut impl Write,
    complaints: &mut Vec<String>,
) -> anyhow::Result<()> {
    facts::dump_log(directory, args, out, complaints)?;
    if args.verify_index_only || args.index_sanity_check {
        return Ok(());
    }
    for path in crate::log::inspect::segment_files(&crate::storage::FileDisk, directory)? {
        writeln!(out, "Dumping {}", path.display())?;
        if let Target::Segment { base_offset } = target::of(&path)? {
            segment::dump(&path, base_offset, args, out, complaints)?;
        }
    }
    Ok(())
}
