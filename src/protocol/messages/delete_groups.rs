//! DeleteGroups (key 42), versions 0-2.

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Deletes groups.
    pub request DeleteGroupsRequest: ApiKey::DeleteGroups, (0..=2, flexible 2) => DeleteGroupsResponse {
        groups_names: Vec<Str> [0..];
    }

    /// How it went.
    pub message DeleteGroupsResponse (flexible 2) {
        throttle_time_ms: i32 [0..];
        results: Vec<DeletableGroupResult> [0..];
    }

    /// One group's result.
    pub struct DeletableGroupResult {
        group_id: Str [0..];
        error_code: i16 [0..];
    }
}
