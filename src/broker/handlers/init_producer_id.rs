//! InitProducerId (key 22), versions 0-5, for idempotent producers.
//!
//! Ids come from blocks that the controller hands to brokers, so that no two producers of the
//! cluster ever share one. Deviation: a request that names a transactional id is refused with
//! UNSUPPORTED_VERSION, as transactions are not served yet.

use std::sync::Arc;

use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::broker::producer_ids::ProducerIds;
use crate::protocol::messages::init_producer_id::{InitProducerIdRequest, InitProducerIdResponse};
use crate::types::{ErrorCode, ProducerEpoch, ProducerId};

/// See the module's documentation.
pub(crate) struct InitProducerId {
    /// This broker's block of ids.
    pub producer_ids: Arc<ProducerIds>,
}

impl Handler for InitProducerId {
    type Request = InitProducerIdRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<InitProducerIdRequest>,
    ) -> Outcome<InitProducerIdResponse> {
        let result = match call.request.transactional_id.as_deref() {
            None => self.producer_ids.next(&call.context).await,
            Some("") => Err(ErrorCode::InvalidRequest),
            Some(_) => Err(ErrorCode::UnsupportedVersion),
        };
        let (error, id, epoch) = match result {
            Ok(id) => (ErrorCode::None, id, ProducerEpoch(0)),
            Err(error) => (error, ProducerId::NONE, ProducerEpoch::NONE),
        };
        Outcome::Now(InitProducerIdResponse {
            throttle_time_ms: 0,
            error_code: error.code(),
            producer_id: id.0,
            producer_epoch: epoch.0,
        })
    }
}
