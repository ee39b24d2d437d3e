//! JoinGroup (key 11), versions 0-9: a member of a classic group asks for the next generation.

use bytes::Bytes;

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// A member joins or joins again.
    pub request JoinGroupRequest: ApiKey::JoinGroup, (0..=9, flexible 6) => JoinGroupResponse {
        group_id: Str [0..];
        session_timeout_ms: i32 [0..];
        /// -1 (version 0): the session timeout.
        rebalance_timeout_ms: i32 [1..; ignorable] = -1;
        /// Empty at first.
        member_id: Str [0..];
        group_instance_id: Option<Str> [5.., nullable 5..];
        /// What the group does, e.g. `consumer`.
        protocol_type: Str [0..];
        /// Assignors that the member supports, the preferred first.
        protocols: Vec<JoinGroupRequestProtocol> [0..];
        /// Why the member (re-)joins (KIP-800).
        reason: Option<Str> [8.., nullable 8..; ignorable];
    }

    /// An assignor.
    pub struct JoinGroupRequestProtocol {
        name: Str [0..];
        metadata: Bytes [0..];
    }

    /// The generation that the member is in.
    pub message JoinGroupResponse (flexible 6) {
        throttle_time_ms: i32 [2..; ignorable];
        error_code: i16 [0..];
        generation_id: i32 [0..] = -1;
        protocol_type: Option<Str> [7.., nullable 7..; ignorable];
        protocol_name: Option<Str> [0.., nullable 7..];
        leader: Str [0..];
        /// The leader need not assign (KIP-814).
        skip_assignment: bool [9..];
        member_id: Str [0..];
        /// For the leader only.
        members: Vec<JoinGroupResponseMember> [0..];
    }

    /// A member and what it subscribes to.
    pub struct JoinGroupResponseMember {
        member_id: Str [0..];
        group_instance_id: Option<Str> [5.., nullable 5..; ignorable];
        metadata: Bytes [0..];
    }
}
