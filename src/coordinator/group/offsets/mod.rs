//! Committed offsets: commit, fetch, delete, expiry.

use crate::coordinator::group::command::{Asked, RequireStable};
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::GroupId;
use crate::coordinator::group::stored::OffsetCommitValue;
use crate::metadata::Image;
use crate::protocol::messages::offset_commit::OffsetCommitRequest;
use crate::protocol::messages::offset_delete::OffsetDeleteRequest;
use crate::protocol::messages::offset_fetch::OffsetFetchRequestGroup;
use crate::types::{TimestampMs, TopicPartition};

/// All committed offsets of one partition of `__consumer_offsets`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Offsets {}

impl Offsets {
    /// Folds a record in.
    pub fn apply(&mut self, _: &GroupId, _: &TopicPartition, _: Option<&OffsetCommitValue>) {}
}

/// OffsetCommit.
pub(super) fn commit(_: &mut Draft<'_>, _: Asked<OffsetCommitRequest>) {}

/// OffsetFetch.
pub(super) fn fetch(_: &mut Draft<'_>, _: Asked<OffsetFetchRequestGroup>, _: RequireStable) {}

/// OffsetDelete.
pub(super) fn delete(_: &mut Draft<'_>, _: Asked<OffsetDeleteRequest>) {}

/// Looks for expired offsets.
pub(super) fn expire(_: &mut Draft<'_>) {}

/// The log has been read.
pub(super) fn loaded(_: &mut Draft<'_>) {}

/// The cluster's metadata will be `image`: forgets the offsets of topics that are not in it any more.
pub(super) fn topics_deleted(_: &mut Draft<'_>, _: &Image) {}

/// Tombstones for all offsets of a group that is being deleted.
pub(super) fn tombstones(_: &mut Draft<'_>, _: &GroupId) {}

/// From when on the retention of a group's offsets counts (KIP-211).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RetentionFrom {
    /// From the commit of each.
    Commit,
    /// From this time, for all.
    Time(TimestampMs),
    /// They do not expire now.
    Never,
}
