//! Heartbeat (key 12), versions 0-4: a member of a classic group is alive.

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// A member is alive.
    pub request HeartbeatRequest: ApiKey::Heartbeat, (0..=4, flexible 4) => HeartbeatResponse {
        group_id: Str [0..];
        generation_id: i32 [0..];
        member_id: Str [0..];
        group_instance_id: Option<Str> [3.., nullable 3..];
    }

    /// Whether it is still a member, and whether it has to join again.
    pub message HeartbeatResponse (flexible 4) {
        throttle_time_ms: i32 [1..; ignorable];
        error_code: i16 [0..];
    }
}
