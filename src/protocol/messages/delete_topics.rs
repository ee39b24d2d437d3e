//! DeleteTopics (key 20), versions 1-6.

use uuid::Uuid;

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Deletes topics.
    pub request DeleteTopicsRequest: ApiKey::DeleteTopics, (1..=6, flexible 4) => DeleteTopicsResponse {
        topics: Vec<DeleteTopicState> [6..];
        topic_names: Vec<Str> [0..=5; ignorable];
        timeout_ms: i32 [0..];
    }

    /// A topic by name or by id.
    pub struct DeleteTopicState {
        name: Option<Str> [6..];
        topic_id: Uuid [6..];
    }

    /// What became of each topic.
    pub message DeleteTopicsResponse (flexible 4) {
        throttle_time_ms: i32 [1..; ignorable];
        responses: Vec<DeletableTopicResult> [0..];
    }

    /// One topic's result.
    pub struct DeletableTopicResult {
        name: Option<Str> [0.., nullable 6..];
        topic_id: Uuid [6..; ignorable];
        error_code: i16 [0..];
        error_message: Option<Str> [5..; ignorable];
    }
}
