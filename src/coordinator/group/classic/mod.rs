//! The classic protocol: the members of a group assign partitions among themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::coordinator::group::command::Asked;
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::GroupId;
use crate::coordinator::group::machine::Group;
use crate::coordinator::group::offsets::RetentionFrom;
use crate::coordinator::group::stored::GroupMetadataValue;
use crate::protocol::messages::heartbeat::HeartbeatRequest;
use crate::protocol::messages::join_group::JoinGroupRequest;
use crate::protocol::messages::leave_group::LeaveGroupRequest;
use crate::protocol::messages::sync_group::SyncGroupRequest;
use crate::types::ErrorCode;
use crate::types::clock::Monotonic;

/// A group whose members assign.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ClassicGroup {}

impl ClassicGroup {
    /// When time will change something about it.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        None
    }

    /// Whether a member may commit offsets now (Kafka's order of checks).
    pub fn check_commit(&self, _: &str, _: Option<&str>, _: i32) -> Result<(), ErrorCode> {
        Ok(())
    }

    /// A group that nobody joined and that commits offsets all the same: Empty, no protocol type.
    pub fn simple() -> Self {
        Self {}
    }

    /// From when on the retention of its offsets counts (KIP-211): of a group without protocol type
    /// from the commit; of an Empty one since it became Empty; of a Stable one of the consumer
    /// protocol type from the commit (for topics that it does not subscribe to); else never.
    pub fn retention_from(&self) -> RetentionFrom {
        RetentionFrom::Commit
    }

    /// Whether single offsets may be deleted now: GROUP_ID_NOT_FOUND of a Dead group,
    /// NON_EMPTY_GROUP of one with members whose protocol type is not the consumers'.
    pub fn check_delete_offsets(&self) -> Result<(), ErrorCode> {
        Ok(())
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// Whether a member subscribes to `topic`, as far as that can be told.
    pub fn is_subscribed_to(&self, _: &str) -> bool {
        false
    }
}

/// JoinGroup.
pub(super) fn join(_: &mut Draft<'_>, _: Asked<JoinGroupRequest>) {}

/// SyncGroup.
pub(super) fn sync(_: &mut Draft<'_>, _: Asked<SyncGroupRequest>) {}

/// Heartbeat.
pub(super) fn heartbeat(_: &mut Draft<'_>, _: Asked<HeartbeatRequest>) {}

/// LeaveGroup.
pub(super) fn leave(_: &mut Draft<'_>, _: Asked<LeaveGroupRequest>) {}

/// A member committed offsets, which shows that it is alive.
pub(super) fn committed(_: &mut Draft<'_>, _: &GroupId, _: &str) {}

/// Time has passed a deadline of the group.
pub(super) fn expire(_: &mut Draft<'_>, _: &GroupId, _: &ClassicGroup) {}

/// The group has been read from the log: every member gets a full session.
pub(super) fn loaded(_: &mut Draft<'_>, _: &GroupId, _: &ClassicGroup) {}

/// Takes an Empty group away, with tombstones for all that is stored of it but its offsets.
pub(super) fn remove(_: &mut Draft<'_>, _: &GroupId) {}

/// Folds a record in.
pub(super) fn apply(
    _: &mut BTreeMap<GroupId, Arc<Group>>,
    _: &GroupId,
    _: Option<&GroupMetadataValue>,
) {
}
