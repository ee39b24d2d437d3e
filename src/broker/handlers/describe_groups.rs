//! DescribeGroups (key 15), versions 0-6.

use std::sync::Arc;

use crate::broker::handlers::asking::asker;
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::broker::handlers::operations::{GROUP_OPERATIONS, NOT_ASKED};
use crate::coordinator::groups::Groups;
use crate::protocol::messages::describe_groups::{DescribeGroupsRequest, DescribeGroupsResponse};

/// See the module's documentation.
pub(crate) struct DescribeGroups {
    /// The groups that this broker coordinates.
    pub groups: Arc<Groups>,
}

impl Handler for DescribeGroups {
    type Request = DescribeGroupsRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<DescribeGroupsRequest>,
    ) -> Outcome<DescribeGroupsResponse> {
        let Call { context, version, request } = call;
        let wants_operations = request.include_authorized_operations;
        let described = self.groups.describe(&asker(&context, version), request.groups);
        Outcome::later(async move {
            let mut groups = described.await;
            for group in &mut groups {
                let told = wants_operations && group.error_code == 0;
                group.authorized_operations = if told { GROUP_OPERATIONS } else { NOT_ASKED };
            }
            DescribeGroupsResponse { groups, ..Default::default() }
        })
    }
}
