//! ConsumerGroupHeartbeat (key 68), versions 0-1 (KIP-848): members join, report, and leave by it.

use std::sync::Arc;

use crate::broker::handlers::asking::asker;
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::coordinator::groups::Groups;
use crate::protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use crate::types::ErrorCode;

/// See the module's documentation.
pub(crate) struct ConsumerGroupHeartbeat {
    /// The groups that this broker coordinates.
    pub groups: Arc<Groups>,
}

impl Handler for ConsumerGroupHeartbeat {
    type Request = ConsumerGroupHeartbeatRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<ConsumerGroupHeartbeatRequest>,
    ) -> Outcome<ConsumerGroupHeartbeatResponse> {
        let Call { context, version, request } = call;
        if request.group_id.trim().is_empty() {
            let message = "GroupId can't be empty.";
            return Outcome::Now(refused(ErrorCode::InvalidRequest, message));
        }
        let heard = self.groups.consumer_heartbeat(asker(&context, version), request);
        Outcome::later(async move {
            heard.await.unwrap_or_else(|error| refused(error, error.message()))
        })
    }
}

fn refused(error: ErrorCode, message: &str) -> ConsumerGroupHeartbeatResponse {
    ConsumerGroupHeartbeatResponse {
        error_code: error.code(),
        error_message: Some(message.into()),
        ..Default::default()
    }
}
