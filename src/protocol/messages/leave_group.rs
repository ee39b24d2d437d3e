//! LeaveGroup (key 13), versions 0-5: members leave; many at once from version 3 (KIP-345).

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Members leave.
    pub request LeaveGroupRequest: ApiKey::LeaveGroup, (0..=5, flexible 4) => LeaveGroupResponse {
        group_id: Str [0..];
        member_id: Str [0..=2];
        members: Vec<MemberIdentity> [3..];
    }

    /// Who leaves: by member id, or by instance id with an empty member id.
    pub struct MemberIdentity {
        member_id: Str [3..];
        group_instance_id: Option<Str> [3.., nullable 3..];
        /// Why (KIP-800).
        reason: Option<Str> [5.., nullable 5..; ignorable];
    }

    /// How it went.
    pub message LeaveGroupResponse (flexible 4) {
        throttle_time_ms: i32 [1..; ignorable];
        error_code: i16 [0..];
        members: Vec<MemberResponse> [3..];
    }

    /// One member's result.
    pub struct MemberResponse {
        member_id: Str [3..];
        group_instance_id: Option<Str> [3.., nullable 3..];
        error_code: i16 [3..];
    }
}
