//! The consumer protocol (KIP-848): the broker assigns partitions, members reconcile by heartbeats.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::coordinator::group::command::Asked;
use crate::coordinator::group::draft::Draft;
use crate::coordinator::group::ids::GroupId;
use crate::coordinator::group::machine::{Group, Note};
use crate::coordinator::group::offsets;
use crate::coordinator::group::record::GroupRecord;
use crate::metadata::Image;
use crate::protocol::Str;
use crate::protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use crate::protocol::messages::heartbeat::HeartbeatRequest;
use crate::protocol::messages::join_group::JoinGroupRequest;
use crate::protocol::messages::leave_group::LeaveGroupRequest;
use crate::protocol::messages::sync_group::SyncGroupRequest;
use crate::types::ErrorCode;
use crate::types::clock::Monotonic;

/// A group whose partitions the broker assigns.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct ConsumerGroup {}

impl ConsumerGroup {
    /// When time will change something about it.
    pub fn next_deadline(&self) -> Option<Monotonic> {
        None
    }

    /// Whether a member may commit offsets now (Kafka's order of checks).
    pub fn check_commit(&self, _: &str, _: Option<&str>, _: i32, _: i16) -> Result<(), ErrorCode> {
        Ok(())
    }

    /// Whether a member may fetch offsets now.
    pub fn check_fetch(&self, _: Option<&str>, _: i32) -> Result<(), ErrorCode> {
        Ok(())
    }

    /// Whether it has no members.
    pub fn is_empty(&self) -> bool {
        true
    }

    /// Whether a member subscribes to `topic`.
    pub fn is_subscribed_to(&self, _: &str) -> bool {
        false
    }
}

/// ConsumerGroupHeartbeat.
pub(super) fn heartbeat(_: &mut Draft<'_>, _: Asked<ConsumerGroupHeartbeatRequest>) {}

/// JoinGroup to a group of the consumer protocol.
pub(super) fn classic_join(_: &mut Draft<'_>, _: Asked<JoinGroupRequest>) {}

/// SyncGroup to a group of the consumer protocol.
pub(super) fn classic_sync(_: &mut Draft<'_>, _: Asked<SyncGroupRequest>) {}

/// Heartbeat to a group of the consumer protocol.
pub(super) fn classic_heartbeat(_: &mut Draft<'_>, _: Asked<HeartbeatRequest>) {}

/// LeaveGroup to a group of the consumer protocol.
pub(super) fn classic_leave(_: &mut Draft<'_>, _: Asked<LeaveGroupRequest>) {}

/// ConsumerGroupDescribe.
pub(super) fn describe(_: &mut Draft<'_>, _: Asked<Vec<Str>>) {}

/// The cluster's metadata is this now.
pub(super) fn metadata_changed(draft: &mut Draft<'_>, image: Arc<Image>) {
    offsets::topics_deleted(draft, &image);
    draft.note(Note::Image(image));
}

/// Time has passed a deadline of the group.
pub(super) fn expire(_: &mut Draft<'_>, _: &GroupId, _: &ConsumerGroup) {}

/// The group has been read from the log: every member gets a full session.
pub(super) fn loaded(_: &mut Draft<'_>, _: &GroupId, _: &ConsumerGroup) {}

/// Takes an Empty group away, with tombstones for all that is stored of it but its offsets.
pub(super) fn remove(_: &mut Draft<'_>, _: &GroupId, _: &ConsumerGroup) {}

/// Folds a record in.
pub(super) fn apply(_: &mut BTreeMap<GroupId, Arc<Group>>, _: &GroupRecord) {}
