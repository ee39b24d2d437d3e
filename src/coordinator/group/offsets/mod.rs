//! Committed offsets: where each group goes on reading.
//!
//! - `store`: [`Offsets`]: what is committed, in little memory
//! - `commit`, `fetch`, `delete`: the three APIs
//! - `expiry`: when an offset is too old (KIP-211), and the walk through all groups that finds out
//! - `topics`: offsets of topics that were deleted
//! - `lag`: what metrics and tools are told

mod commit;
mod delete;
mod expiry;
mod fetch;
mod lag;
mod store;
#[cfg(test)]
mod tests;
mod topics;

pub use lag::lag;

pub(super) use commit::commit;
pub(super) use delete::delete;
pub(super) use expiry::{RetentionFrom, Sweep, expire, loaded};
pub(super) use fetch::fetch;
pub(super) use store::Offsets;
pub(super) use topics::topics_deleted;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::coordinator::group::classic::ClassicGroup;
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::GroupId;
use crate::coordinator::group::machine::Group;
use crate::coordinator::group::record::GroupRecord;
use crate::types::TopicPartition;

/// A group that has committed an offset exists. One that does not use membership has no record of
/// its own, only its offsets.
pub(super) fn ensure_group(groups: &mut BTreeMap<GroupId, Arc<Group>>, id: &GroupId) {
    if !groups.contains_key(id) {
        groups.insert(id.clone(), Arc::new(Group::Classic(ClassicGroup::simple())));
    }
}

/// Tombstones for all offsets of a group that is being deleted.
pub(super) fn tombstones(draft: &mut Draft<'_>, group: &GroupId) {
    let machine = draft.machine;
    for (partition, _) in machine.offsets.of(group) {
        draft.record(tombstone(group, partition));
    }
}

fn tombstone(group: &GroupId, partition: &TopicPartition) -> GroupRecord {
    GroupRecord::Offset { group: group.clone(), partition: partition.clone(), value: None }
}
