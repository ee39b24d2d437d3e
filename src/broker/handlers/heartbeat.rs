//! Heartbeat (key 12), versions 0-4.

use std::sync::Arc;

use crate::broker::handlers::asking::asker;
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::coordinator::groups::Groups;
use crate::protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::types::ErrorCode;

/// See the module's documentation.
pub(crate) struct Heartbeat {
    /// The groups that this broker coordinates.
    pub groups: Arc<Groups>,
}

impl Handler for Heartbeat {
    type Request = HeartbeatRequest;

    async fn handle(self: Arc<Self>, call: Call<HeartbeatRequest>) -> Outcome<HeartbeatResponse> {
        let Call { context, version, request } = call;
        if request.group_id.is_empty() {
            return Outcome::Now(refused(ErrorCode::InvalidGroupId));
        }
        let heard = self.groups.heartbeat(asker(&context, version), request);
        Outcome::later(async move { heard.await.unwrap_or_else(refused) })
    }
}

fn refused(error: ErrorCode) -> HeartbeatResponse {
    HeartbeatResponse { error_code: error.code(), ..Default::default() }
}
