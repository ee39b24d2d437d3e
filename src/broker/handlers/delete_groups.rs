//! DeleteGroups (key 42), versions 0-2. A group that is named twice is deleted, and told of, once.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::broker::handlers::asking::asker;
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::coordinator::groups::Groups;
use crate::protocol::messages::delete_groups::{DeleteGroupsRequest, DeleteGroupsResponse};

/// See the module's documentation.
pub(crate) struct DeleteGroups {
    /// The groups that this broker coordinates.
    pub groups: Arc<Groups>,
}

impl Handler for DeleteGroups {
    type Request = DeleteGroupsRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<DeleteGroupsRequest>,
    ) -> Outcome<DeleteGroupsResponse> {
        let Call { context, version, request } = call;
        let names: BTreeSet<_> = request.groups_names.into_iter().collect();
        let deleted = self.groups.delete(&asker(&context, version), names.into_iter().collect());
        Outcome::later(async move {
            DeleteGroupsResponse { results: deleted.await, ..Default::default() }
        })
    }
}
