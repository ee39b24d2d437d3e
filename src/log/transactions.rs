//! The transactions of one log: those under way, which hold the last stable offset back, and the
//! aborted ones, which readers of committed data must skip. Pure.

use std::collections::BTreeMap;

use crate::types::{Offset, ProducerId};

/// A transaction whose records readers of committed data skip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AbortedTransaction {
    /// Whose transaction it was.
    pub producer_id: ProducerId,
    /// Its first record's offset.
    pub first_offset: Offset,
    /// The offset of the marker that aborted it.
    pub last_offset: Offset,
    /// The last stable offset when it was aborted: a reader from there on need not look further
    /// back than this transaction's predecessors in the list.
    pub last_stable_offset: Offset,
}

/// All transactions of one log that matter still.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transactions {
    ongoing: BTreeMap<Offset, ProducerId>,
    /// Ended, but the marker lies at or above the high watermark: first offset to marker.
    unreplicated: BTreeMap<Offset, Offset>,
    /// By the offset of the marker.
    aborted: BTreeMap<Offset, AbortedTransaction>,
}

impl Transactions {
    /// Takes what was stored.
    pub fn from_parts(
        ongoing: impl IntoIterator<Item = (Offset, ProducerId)>,
        aborted: impl IntoIterator<Item = AbortedTransaction>,
    ) -> Self {
        Self {
            ongoing: ongoing.into_iter().collect(),
            unreplicated: BTreeMap::new(),
            aborted: aborted.into_iter().map(|entry| (entry.last_offset, entry)).collect(),
        }
    }

    /// A transaction of `producer_id` has its first record at `first_offset`.
    pub fn begin(&mut self, producer_id: ProducerId, first_offset: Offset) {
        self.ongoing.insert(first_offset, producer_id);
    }

    /// The marker at `marker` ended the transaction that began at `first_offset`.
    pub fn end(
        &mut self,
        producer_id: ProducerId,
        first_offset: Offset,
        marker: Offset,
        abort: bool,
    ) {
        self.ongoing.remove(&first_offset);
        self.unreplicated.insert(first_offset, marker);
        if abort {
            let last_stable_offset =
                self.ongoing.keys().next().map_or(marker.plus(1), |&first| first);
            let entry = AbortedTransaction {
                producer_id,
                first_offset,
                last_offset: marker,
                last_stable_offset,
            };
            self.aborted.insert(marker, entry);
        }
    }

    /// Of the aborted transactions, those whose markers are not committed at `high_watermark` hold
    /// readers back again: the markers may be cut off still.
    pub fn hold_uncommitted(&mut self, high_watermark: Offset) {
        for (&marker, aborted) in self.aborted.range(high_watermark..) {
            self.unreplicated.insert(aborted.first_offset, marker);
        }
    }

    /// The high watermark is now `high_watermark`: markers below it are committed.
    pub fn replicated_to(&mut self, high_watermark: Offset) {
        self.unreplicated.retain(|_, marker| *marker >= high_watermark);
    }

    /// The first offset that readers of committed data may not pass yet.
    pub fn first_unstable(&self) -> Option<Offset> {
        let ongoing = self.ongoing.keys().next();
        let unreplicated = self.unreplicated.keys().next();
        ongoing.into_iter().chain(unreplicated).min().copied()
    }

    /// Whether a marker waits for the high watermark.
    pub fn has_unreplicated(&self) -> bool {
        !self.unreplicated.is_empty()
    }

    /// The aborted transactions that have records in `from..to`.
    pub fn aborted_between(&self, from: Offset, to: Offset) -> Vec<AbortedTransaction> {
        self.aborted
            .range(from..)
            .map(|(_, &entry)| entry)
            .filter(|e| e.first_offset < to)
            .collect()
    }

    /// Of these aborted transactions there are records in the log too.
    pub fn remember_aborted(&mut self, more: impl IntoIterator<Item = AbortedTransaction>) {
        for aborted in more {
            self.aborted.entry(aborted.last_offset).or_insert(aborted);
        }
    }

    /// Whether the marker at this offset aborted a transaction.
    pub fn is_aborted_at(&self, marker: Offset) -> bool {
        self.aborted.contains_key(&marker)
    }

    /// All aborted transactions, by their markers.
    pub fn aborted(&self) -> impl Iterator<Item = &AbortedTransaction> {
        self.aborted.values()
    }

    /// The log now ends at `log_end`, and no transaction that began before ended there or later.
    pub fn truncate_end(&mut self, log_end: Offset) {
        self.ongoing.retain(|&first, _| first < log_end);
        self.unreplicated.retain(|&first, _| first < log_end);
        self.aborted.retain(|&marker, _| marker < log_end);
    }

    /// Of these aborted transactions nothing is left in the log, their markers aside.
    pub fn forget_aborted(&mut self, gone: &[AbortedTransaction]) {
        for aborted in gone {
            self.aborted.remove(&aborted.last_offset);
        }
    }

    /// The log now begins at `log_start`.
    pub fn truncate_start(&mut self, log_start: Offset) {
        self.aborted.retain(|&marker, _| marker >= log_start);
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        *self = Self::default();
    }
}
