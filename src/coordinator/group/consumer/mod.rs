//! The consumer protocol (KIP-848): the broker assigns partitions, members reconcile by heartbeats.
//!
//! - [`ConsumerGroup`] (`state`): a group, and how records fold into it; `member`: a member;
//!   `subscription`: who subscribes to what
//! - `edit`: a change of a group in the making; `epochs`: since when a member has a partition
//! - `heartbeat`, `validate`, `refusal`: ConsumerGroupHeartbeat; `leave`: members go
//! - `target`: the group's epoch and the target assignment; `reconcile`: a member's way to it
//! - `regex`: subscriptions by regular expression
//! - `classic_members`: members of the classic protocol in such a group; `migrate`: groups that
//!   change over between the protocols
//! - `describe`: what a group says of itself; `history`: why it rebalances

mod classic_members;
mod describe;
mod edit;
mod epochs;
mod heartbeat;
mod history;
mod leave;
mod member;
mod migrate;
mod reconcile;
mod refusal;
mod regex;
mod state;
mod subscription;
mod target;
#[cfg(test)]
mod tests;
mod validate;

use std::sync::Arc;

pub(super) use classic_members::{classic_heartbeat, classic_join, classic_leave, classic_sync};
pub(super) use describe::{CommitCheck, describe};
pub(super) use heartbeat::heartbeat;
pub(super) use leave::{expire, loaded, remove};
pub(super) use state::{ConsumerGroup, apply};

use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::machine::Note;
use crate::coordinator::group::offsets;
use crate::metadata::Image;

/// The cluster's metadata is this now. A group looks at it with its next heartbeat: it compares
/// what it subscribes to once per version, so that a change costs nothing here.
pub(super) fn metadata_changed(draft: &mut Draft<'_>, image: Arc<Image>) {
    offsets::topics_deleted(draft, &image);
    draft.note(Note::Image(image));
}

/// Whether topics have come or gone between two images. Costs what changed between them.
pub(super) fn names_differ(old: &Image, new: &Image) -> bool {
    use imbl::ordmap::DiffItem;
    old.topics.diff(&new.topics).any(|change| !matches!(change, DiffItem::Update { .. }))
}
