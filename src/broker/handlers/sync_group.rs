//! SyncGroup (key 14), versions 0-5. Answered when the leader has handed the assignment in.

use std::sync::Arc;

use crate::broker::handlers::asking::asker;
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::coordinator::groups::Groups;
use crate::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};
use crate::types::ErrorCode;

/// See the module's documentation.
pub(crate) struct SyncGroup {
    /// The groups that this broker coordinates.
    pub groups: Arc<Groups>,
}

/// The first version that must say which protocol it is about (KIP-559).
const PROTOCOL_REQUIRED: i16 = 5;

impl Handler for SyncGroup {
    type Request = SyncGroupRequest;

    async fn handle(self: Arc<Self>, call: Call<SyncGroupRequest>) -> Outcome<SyncGroupResponse> {
        let Call { context, version, request } = call;
        let says_protocol = request.protocol_type.is_some() && request.protocol_name.is_some();
        if version >= PROTOCOL_REQUIRED && !says_protocol {
            return Outcome::Now(refused(ErrorCode::InconsistentGroupProtocol));
        }
        if request.group_id.is_empty() {
            return Outcome::Now(refused(ErrorCode::InvalidGroupId));
        }
        let synced = self.groups.sync(asker(&context, version), request);
        Outcome::later(async move { synced.await.unwrap_or_else(refused) })
    }
}

fn refused(error: ErrorCode) -> SyncGroupResponse {
    SyncGroupResponse { error_code: error.code(), ..Default::default() }
}
