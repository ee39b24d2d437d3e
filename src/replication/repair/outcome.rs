//! What became of damaged segments.

use crate::types::{Offset, TopicPartition};

/// What became of a segment that was feared to be damaged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MendOutcome {
    /// It was sound.
    Sound,
    /// It is sound again.
    Mended {
        /// How many bytes came from other replicas.
        fetched_bytes: u64,
    },
    /// It can be mended a little later, for this reason.
    NotYet(String),
    /// It is damaged still, for this reason.
    Failed(String),
}

/// A segment and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SegmentMend {
    /// Its base offset.
    pub segment: Offset,
    /// What became of it.
    pub outcome: MendOutcome,
}

impl MendOutcome {
    /// Whether the segment is sound now.
    pub fn is_sound(&self) -> bool {
        match self {
            MendOutcome::Sound | MendOutcome::Mended { .. } => true,
            MendOutcome::NotYet(_) | MendOutcome::Failed(_) => false,
        }
    }

    pub(super) fn tell(&self, log: &TopicPartition, segment: Offset) {
        match self {
            MendOutcome::Sound => tracing::info!(%log, %segment, "a segment is sound after all"),
            MendOutcome::Mended { fetched_bytes } => {
                tracing::info!(%log, %segment, fetched_bytes, "a damaged segment is mended");
            }
            MendOutcome::NotYet(reason) => {
                tracing::debug!(%log, %segment, reason, "a segment is mended later");
            }
            MendOutcome::Failed(reason) => {
                tracing::error!(%log, %segment, reason, "a segment stays damaged");
            }
        }
    }
}
