//! LeaveGroup (key 13), versions 0-5; several members at once from version 3 (KIP-345).

use std::sync::Arc;

use crate::broker::handlers::asking::asker;
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::coordinator::groups::Groups;
use crate::protocol::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity,
};
use crate::types::ErrorCode;

/// See the module's documentation.
pub(crate) struct LeaveGroup {
    /// The groups that this broker coordinates.
    pub groups: Arc<Groups>,
}

/// The first version with several members.
const BATCHED: i16 = 3;

impl Handler for LeaveGroup {
    type Request = LeaveGroupRequest;

    async fn handle(self: Arc<Self>, call: Call<LeaveGroupRequest>) -> Outcome<LeaveGroupResponse> {
        let Call { context, version, mut request } = call;
        if request.group_id.is_empty() {
            return Outcome::Now(refused(ErrorCode::InvalidGroupId));
        }
        if version < BATCHED {
            let member_id = request.member_id.clone();
            request.members = vec![MemberIdentity { member_id, ..Default::default() }];
        }
        let left = self.groups.leave(asker(&context, version), request);
        Outcome::later(async move {
            let response = left.await.unwrap_or_else(refused);
            if version < BATCHED { of_one(&response) } else { response }
        })
    }
}

/// An answer about one member has its error at the top.
fn of_one(response: &LeaveGroupResponse) -> LeaveGroupResponse {
    let member = response.members.first().map_or(0, |member| member.error_code);
    let error_code = if response.error_code == 0 { member } else { response.error_code };
    LeaveGroupResponse { error_code, ..Default::default() }
}

fn refused(error: ErrorCode) -> LeaveGroupResponse {
    LeaveGroupResponse { error_code: error.code(), ..Default::default() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::messages::leave_group::MemberResponse;

    #[test]
    fn one_members_error_is_that_of_the_whole() {
        let unknown = ErrorCode::UnknownMemberId.code();
        for (top, member, told) in [(0, 0, 0), (0, unknown, unknown), (16, 0, 16)] {
            let members = vec![MemberResponse { error_code: member, ..Default::default() }];
            let response = LeaveGroupResponse { error_code: top, members, ..Default::default() };
            let expected = LeaveGroupResponse { error_code: told, ..Default::default() };
            assert_eq!(of_one(&response), expected);
        }
    }
}
