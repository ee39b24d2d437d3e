//! ConsumerGroupDescribe (key 69), versions 0-1 (KIP-848).

use std::sync::Arc;

use crate::broker::handlers::asking::asker;
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::broker::handlers::operations::{GROUP_OPERATIONS, NOT_ASKED};
use crate::coordinator::groups::Groups;
use crate::protocol::messages::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribeResponse, ConsumerGroupDescribedGroup,
};
use crate::types::ErrorCode;

/// See the module's documentation.
pub(crate) struct ConsumerGroupDescribe {
    /// The groups that this broker coordinates.
    pub groups: Arc<Groups>,
}

impl Handler for ConsumerGroupDescribe {
    type Request = ConsumerGroupDescribeRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<ConsumerGroupDescribeRequest>,
    ) -> Outcome<ConsumerGroupDescribeResponse> {
        let Call { context, version, request } = call;
        let wants_operations = request.include_authorized_operations;
        let (named, nameless): (Vec<_>, Vec<_>) =
            request.group_ids.into_iter().partition(|group| !group.is_empty());
        let described = self.groups.consumer_describe(&asker(&context, version), named);
        Outcome::later(async move {
            let mut groups = described.await;
            groups.extend(nameless.into_iter().map(|group_id| ConsumerGroupDescribedGroup {
                error_code: ErrorCode::InvalidGroupId.code(),
                group_id,
                ..Default::default()
            }));
            for group in &mut groups {
                let told = wants_operations && group.error_code == 0;
                group.authorized_operations = if told { GROUP_OPERATIONS } else { NOT_ASKED };
            }
            ConsumerGroupDescribeResponse { groups, ..Default::default() }
        })
    }
}
