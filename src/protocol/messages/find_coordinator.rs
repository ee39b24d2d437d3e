//! FindCoordinator (key 10), versions 0-6: which broker coordinates a group, a transaction or a
//! share partition; many keys at once from version 4 (KIP-699).

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Asks who coordinates.
    pub request FindCoordinatorRequest: ApiKey::FindCoordinator, (0..=6, flexible 3) => FindCoordinatorResponse {
        /// The one key.
        key: Str [0..=3];
        /// 0 a group, 1 a transaction, 2 a share partition.
        key_type: i8 [1..] = 0;
        coordinator_keys: Vec<Str> [4..];
    }

    /// Who coordinates.
    pub message FindCoordinatorResponse (flexible 3) {
        throttle_time_ms: i32 [1..; ignorable];
        error_code: i16 [0..=3];
        error_message: Option<Str> [1..=3; ignorable];
        node_id: i32 [0..=3];
        host: Str [0..=3];
        port: i32 [0..=3];
        coordinators: Vec<Coordinator> [4..];
    }

    /// One key's coordinator.
    pub struct Coordinator {
        key: Str [4..];
        node_id: i32 [4..];
        host: Str [4..];
        port: i32 [4..];
        error_code: i16 [4..];
        error_message: Option<Str> [4..; ignorable];
    }
}
