//! ListGroups (key 16), versions 0-5; by state from version 4 (KIP-518), by type from 5 (KIP-848).
//! Tells of the groups that this broker coordinates: tools ask every broker.

use std::sync::Arc;

use crate::broker::handlers::asking::asker;
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::coordinator::group::command::ListFilter;
use crate::coordinator::groups::Groups;
use crate::protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse};

/// See the module's documentation.
pub(crate) struct ListGroups {
    /// The groups that this broker coordinates.
    pub groups: Arc<Groups>,
}

impl Handler for ListGroups {
    type Request = ListGroupsRequest;

    async fn handle(self: Arc<Self>, call: Call<ListGroupsRequest>) -> Outcome<ListGroupsResponse> {
        let Call { context, version, request } = call;
        let filter = ListFilter { states: request.states_filter, types: request.types_filter };
        let listed = self.groups.list(&asker(&context, version), &filter);
        Outcome::later(async move {
            match listed.await {
                Ok(groups) => ListGroupsResponse { groups, ..Default::default() },
                Err(error) => ListGroupsResponse { error_code: error.code(), ..Default::default() },
            }
        })
    }
}
