//! What a catalog says of the logs. Where some of it cannot be read, the rest is told all the same.

use std::collections::BTreeMap;

use crate::log::epochs::EpochStart;
use crate::log::incidents::Incident;
use crate::log::index::IndexEntry;
use crate::log::producers::ProducerState;
use crate::log::stored::{self, StoredLog};
use crate::log::transactions::AbortedTransaction;
use crate::storage::{Catalog, CatalogError};
use crate::types::{Offset, ProducerId, TimestampMs, TopicIdPartition, TopicPartition};

/// How far a log had come at its last checkpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KnownProgress {
    /// The first offset that can be read.
    pub log_start: Offset,
    /// The high watermark.
    pub high_watermark: Offset,
    /// Everything below was on the device.
    pub recovery_point: Offset,
}

/// A segment as the catalog knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KnownSegment {
    /// The offset that its name tells.
    pub base_offset: Offset,
    /// The bytes that were on the device.
    pub size_bytes: u64,
    /// The offset after its last record.
    pub next_offset: Offset,
    /// The largest timestamp in it; [`TimestampMs::NONE`]: it was empty.
    pub max_timestamp: TimestampMs,
    /// The marks of its index.
    pub marks: Vec<IndexEntry>,
}

/// All that the catalog knows of one log.
#[derive(Debug, Clone)]
pub struct KnownLog {
    /// The topic's id.
    pub id: TopicIdPartition,
    /// Which partition it is; `None` only in a damaged catalog.
    pub topic_partition: Option<TopicPartition>,
    /// `None` before its first checkpoint.
    pub progress: Option<KnownProgress>,
    /// The leader epochs, oldest first.
    pub epochs: Vec<EpochStart>,
    /// The segments, oldest first.
    pub segments: Vec<KnownSegment>,
    /// The producers.
    pub producers: BTreeMap<ProducerId, ProducerState>,
    /// The aborted transactions, by their markers.
    pub aborted: Vec<AbortedTransaction>,
    /// Why it was cut, rebuilt or found damaged, oldest first.
    pub incidents: Vec<Incident>,
}

/// Everything that a catalog knows, and what of it cannot be read.
///
/// # Errors
/// The catalog itself fails.
pub fn known_logs(catalog: &dyn Catalog) -> Result<(Vec<KnownLog>, Vec<String>), CatalogError> {
    let (logs, unreadable) = stored::load_readable(catalog)?;
    let logs = logs.into_iter().map(|(id, log)| known(id, log)).collect();
    Ok((logs, unreadable.iter().map(ToString::to_string).collect()))
}

fn known(id: TopicIdPartition, mut log: StoredLog) -> KnownLog {
    let segments = std::mem::take(&mut log.segments);
    let segments = segments
        .into_iter()
        .map(|(base_offset, entry)| KnownSegment {
            base_offset,
            size_bytes: u64::try_from(entry.size_bytes).unwrap_or(0),
            next_offset: Offset(entry.next_offset),
            max_timestamp: TimestampMs(entry.max_timestamp),
            marks: log.marks.remove(&base_offset).unwrap_or_default(),
        })
        .collect();
    let progress = log.progress.map(|progress| KnownProgress {
        log_start: Offset(progress.log_start),
        high_watermark: Offset(progress.high_watermark),
        recovery_point: Offset(progress.recovery_point),
    });
    KnownLog {
        id,
        topic_partition: log.topic_partition,
        progress,
        epochs: log.epochs,
        segments,
        producers: log.producers,
        aborted: log.aborted,
        incidents: log.incidents,
    }
}
