//! ListGroups (key 16), versions 0-5: the groups that this broker coordinates; filters by state
//! (KIP-518) and by type (KIP-848).

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Asks for groups.
    pub request ListGroupsRequest: ApiKey::ListGroups, (0..=5, flexible 3) => ListGroupsResponse {
        /// Empty: all.
        states_filter: Vec<Str> [4..];
        /// Empty: all.
        types_filter: Vec<Str> [5..];
    }

    /// The groups.
    pub message ListGroupsResponse (flexible 3) {
        throttle_time_ms: i32 [1..; ignorable];
        error_code: i16 [0..];
        groups: Vec<ListedGroup> [0..];
    }

    /// A group.
    pub struct ListedGroup {
        group_id: Str [0..];
        protocol_type: Str [0..];
        group_state: Str [4..; ignorable];
        group_type: Str [5..; ignorable];
    }
}
