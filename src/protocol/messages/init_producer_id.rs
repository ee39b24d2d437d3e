//! InitProducerId (key 22), versions 0-5: an id for an idempotent producer (KIP-98, KIP-360).

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Asks for a producer id.
    pub request InitProducerIdRequest: ApiKey::InitProducerId, (0..=5, flexible 2) => InitProducerIdResponse {
        transactional_id: Option<Str> [0..];
        transaction_timeout_ms: i32 [0..];
        /// The id that the producer had, if it wants the next epoch of it.
        producer_id: i64 [3..] = -1;
        producer_epoch: i16 [3..] = -1;
    }

    /// The id.
    pub message InitProducerIdResponse (flexible 2) {
        throttle_time_ms: i32 [0..];
        error_code: i16 [0..];
        producer_id: i64 [0..] = -1;
        producer_epoch: i16 [0..];
    }
}
