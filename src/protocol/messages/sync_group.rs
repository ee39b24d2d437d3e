//! SyncGroup (key 14), versions 0-5: the leader hands in the assignment, everyone gets their part.

use bytes::Bytes;

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Hands in and asks for the assignment.
    pub request SyncGroupRequest: ApiKey::SyncGroup, (0..=5, flexible 4) => SyncGroupResponse {
        group_id: Str [0..];
        generation_id: i32 [0..];
        member_id: Str [0..];
        group_instance_id: Option<Str> [3.., nullable 3..];
        protocol_type: Option<Str> [5.., nullable 5..; ignorable];
        protocol_name: Option<Str> [5.., nullable 5..; ignorable];
        /// From the leader; empty from others.
        assignments: Vec<SyncGroupRequestAssignment> [0..];
    }

    /// What a member gets.
    pub struct SyncGroupRequestAssignment {
        member_id: Str [0..];
        assignment: Bytes [0..];
    }

    /// The member's part.
    pub message SyncGroupResponse (flexible 4) {
        throttle_time_ms: i32 [1..; ignorable];
        error_code: i16 [0..];
        protocol_type: Option<Str> [5.., nullable 5..; ignorable];
        protocol_name: Option<Str> [5.., nullable 5..; ignorable];
        assignment: Bytes [0..];
    }
}
