//! The classic protocol: the members of a group assign partitions among themselves.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::coordinator::group::command::Asked;
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::GroupId;
use crate::coordinator::group::machine::Group;
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

/// Folds a record in.
pub(super) fn apply(
    _: &mut BTreeMap<GroupId, Arc<Group>>,
    _: &GroupId,
    _: Option<&GroupMetadataValue>,
) {
}
