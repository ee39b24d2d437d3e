//! What the batches of a log add up to, as recovery would have it.

use std::collections::BTreeMap;
use std::path::Path;

use crate::log::epochs::EpochStart;
use crate::log::error::StorageError;
use crate::log::inspect::{Piece, SegmentReader, segment_files};
use crate::log::producers::ProducerState;
use crate::log::tail::Tail;
use crate::log::transactions::AbortedTransaction;
use crate::storage::Disk;
use crate::types::{ProducerId, TimestampMs};

/// What the batches of a log's directory add up to.
#[derive(Debug, Clone, Default)]
pub struct Derived {
    /// The leader epochs that wrote something, oldest first.
    pub epochs: Vec<EpochStart>,
    /// The producers.
    pub producers: BTreeMap<ProducerId, ProducerState>,
    /// The aborted transactions, by their markers.
    pub aborted: Vec<AbortedTransaction>,
}

/// Derives epochs, producers and aborted transactions from the whole batches in a log's directory.
///
/// # Errors
/// A file cannot be read.
pub fn derive(disk: &dyn Disk, directory: &Path) -> Result<Derived, StorageError> {
    let mut tail = Tail::default();
    for path in segment_files(disk, directory)? {
        let mut reader = SegmentReader::open(disk, &path)?;
        while let Some(piece) = reader.next_piece()? {
            if let Piece::Batch(found) = piece
                && found.is_valid
            {
                tail.fold(&found.batch, true, TimestampMs(i64::MAX));
            }
        }
    }
    Ok(Derived {
        epochs: tail.epochs.entries().to_vec(),
        producers: tail.producers.states().clone(),
        aborted: tail.transactions.aborted().copied().collect(),
    })
}
