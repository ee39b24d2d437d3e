//! Members of the classic protocol in a group of the consumer protocol.

use crate::coordinator::group::command::Asked;
use crate::coordinator::group::draft::Draft;
use crate::protocol::messages::heartbeat::HeartbeatRequest;
use crate::protocol::messages::join_group::JoinGroupRequest;
use crate::protocol::messages::leave_group::LeaveGroupRequest;
use crate::protocol::messages::sync_group::SyncGroupRequest;

/// JoinGroup to a group of the consumer protocol.
pub(in crate::coordinator::group) fn classic_join(_: &mut Draft<'_>, _: Asked<JoinGroupRequest>) {}

/// SyncGroup to a group of the consumer protocol.
pub(in crate::coordinator::group) fn classic_sync(_: &mut Draft<'_>, _: Asked<SyncGroupRequest>) {}

/// Heartbeat to a group of the consumer protocol.
pub(in crate::coordinator::group) fn classic_heartbeat(
    _: &mut Draft<'_>,
    _: Asked<HeartbeatRequest>,
) {
}

/// LeaveGroup to a group of the consumer protocol.
pub(in crate::coordinator::group) fn classic_leave(_: &mut Draft<'_>, _: Asked<LeaveGroupRequest>) {
}
