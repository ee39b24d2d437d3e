//! The entries of the metadata log and the snapshots beside it, as text.

use std::io::Write;
use std::path::Path;

use bytes::Bytes;
use openraft::EntryPayload;

use crate::controller::raft::{entry, snapshot};
use crate::metadata::MetadataRecord;
use crate::record::Batch;

/// What an entry of the metadata log holds.
pub(super) fn lines(batch: &Batch) -> Vec<String> {
    let entry = match entry::decode(batch) {
        Ok(entry) => entry,
        Err(error) => return vec![format!("cannot be read: {error}")],
    };
    match entry.payload {
        EntryPayload::Blank => vec!["a new leader's first entry".to_owned()],
        EntryPayload::Membership(membership) => vec![format!("{membership:?}")],
        EntryPayload::Normal(data) => data.records.into_iter().map(record).collect(),
    }
}

fn record(bytes: Bytes) -> String {
    match MetadataRecord::decode(bytes) {
        Ok(record) => format!("{record:?}"),
        Err(error) => format!("cannot be read: {error}"),
    }
}

/// Prints a snapshot of the metadata: how far it goes, and its records.
pub(super) fn dump_snapshot(path: &Path, out: &mut impl Write) -> anyhow::Result<()> {
    let bytes = Bytes::from(std::fs::read(path)?);
    match snapshot::inspect(&bytes) {
        Ok((meta, records)) => {
            let end = meta.last_log_id.map_or(0, |id| id.index + 1);
            let term = meta.last_log_id.map_or(0, |id| id.leader_id.term);
            writeln!(out, "Snapshot end offset: {end}, epoch: {term}")?;
            for bytes in records {
                writeln!(out, "| payload: {}", record(bytes))?;
            }
        }
        Err(error) => writeln!(out, "| cannot be read: {error}")?,
    }
    Ok(())
}
