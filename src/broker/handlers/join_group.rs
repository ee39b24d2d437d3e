//! JoinGroup (key 11), versions 0-9. Answered when the group's next generation begins.

use std::sync::Arc;

use crate::broker::handlers::asking::asker;
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::coordinator::groups::Groups;
use crate::protocol::Str;
use crate::protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::types::ErrorCode;

/// See the module's documentation.
pub(crate) struct JoinGroup {
    /// The groups that this broker coordinates.
    pub groups: Arc<Groups>,
}

/// The first version in which no protocol is null rather than empty.
const NULL_PROTOCOL: i16 = 7;

impl Handler for JoinGroup {
    type Request = JoinGroupRequest;

    async fn handle(self: Arc<Self>, call: Call<JoinGroupRequest>) -> Outcome<JoinGroupResponse> {
        let Call { context, version, request } = call;
        let member_id = request.member_id.clone();
        let refused = move |error: ErrorCode| JoinGroupResponse {
            error_code: error.code(),
            protocol_name: (version < NULL_PROTOCOL).then(Str::default),
            member_id,
            ..Default::default()
        };
        if request.group_id.is_empty() {
            return Outcome::Now(refused(ErrorCode::InvalidGroupId));
        }
        let joined = self.groups.join(asker(&context, version), request);
        Outcome::later(async move { joined.await.unwrap_or_else(refused) })
    }
}
