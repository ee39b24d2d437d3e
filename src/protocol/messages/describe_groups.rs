//! DescribeGroups (key 15), versions 0-6: classic groups and their members.

use bytes::Bytes;

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Asks for groups.
    pub request DescribeGroupsRequest: ApiKey::DescribeGroups, (0..=6, flexible 5) => DescribeGroupsResponse {
        groups: Vec<Str> [0..];
        include_authorized_operations: bool [3..];
    }

    /// The groups.
    pub message DescribeGroupsResponse (flexible 5) {
        throttle_time_ms: i32 [1..; ignorable];
        groups: Vec<DescribedGroup> [0..];
    }

    /// A group.
    pub struct DescribedGroup {
        error_code: i16 [0..];
        error_message: Option<Str> [6.., nullable 6..; ignorable];
        group_id: Str [0..];
        group_state: Str [0..];
        protocol_type: Str [0..];
        /// The assignor in use.
        protocol_data: Str [0..];
        members: Vec<DescribedGroupMember> [0..];
        /// A bit set; `i32::MIN` if it was not asked for.
        authorized_operations: i32 [3..; ignorable] = i32::MIN;
    }

    /// A member.
    pub struct DescribedGroupMember {
        member_id: Str [0..];
        group_instance_id: Option<Str> [4.., nullable 4..; ignorable];
        client_id: Str [0..];
        client_host: Str [0..];
        member_metadata: Bytes [0..];
        member_assignment: Bytes [0..];
    }
}
