//! Why a request is refused.

use crate::protocol::Str;
use crate::protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatResponse;
use crate::types::ErrorCode;

/// A request that is refused: nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Refusal {
    /// The error as the protocol names it.
    pub code: ErrorCode,
    /// Kafka's words about it.
    pub message: String,
}

impl Refusal {
    /// A refusal.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// No such member.
    pub fn unknown_member(member: &str, group: &str) -> Self {
        let message = format!("Member {member} is not a member of group {group}.");
        Self::new(ErrorCode::UnknownMemberId, message)
    }

    /// The answer to a heartbeat.
    pub fn to_response(&self) -> ConsumerGroupHeartbeatResponse {
        ConsumerGroupHeartbeatResponse {
            error_code: self.code as i16,
            error_message: Some(Str::from(&self.message)),
            ..ConsumerGroupHeartbeatResponse::default()
        }
    }
}
