//! Which groups there are, and deleting them.

use std::collections::BTreeMap;

use crate::cli::client::cluster::Cluster;
use crate::cli::client::error::ClientFailure;
use crate::cli::client::groups::PerGroup;
use crate::protocol::consumer_protocol::CONSUMER;
use crate::protocol::messages::delete_groups::DeleteGroupsRequest;
use crate::protocol::messages::list_groups::{ListGroupsRequest, ListGroupsResponse};

/// ListGroups filters by type from this version on (KIP-848), by state from the one before.
const FILTERS_BY_TYPE: i16 = 5;

/// A group as its coordinator lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its id.
    pub group_id: String,
    /// Kafka's name of its state; empty if the broker told none.
    pub state: String,
    /// Kafka's name of its type; empty if the broker told none.
    pub group_type: String,
}

impl Cluster {
    /// The groups of consumers, sorted by their ids: those of all brokers. Empty lists of states
    /// and types filter nothing.
    pub async fn list_groups(
        &self,
        states: &[String],
        types: &[String],
    ) -> Result<Vec<ListedGroup>, ClientFailure> {
        let mut all = BTreeMap::new();
        for node in self.live_brokers().await?.into_keys() {
            let response = self
                .retry(&format!("the groups of broker {node}"), || async {
                    let connection = self.broker(node).await?;
                    if !types.is_empty()
                        && connection.version_of::<ListGroupsRequest>()? < FILTERS_BY_TYPE
                    {
                        return Err(ClientFailure::Unsupported("listing groups by their type"));
                    }
                    let response = connection.call(&list_request(states, types)).await?;
                    ClientFailure::check(response.error_code, None)?;
                    Ok(response)
                })
                .await?;
            let groups = consumer_groups(&response);
            all.extend(groups.map(|group| (group.group_id.clone(), group)));
        }
        Ok(all.into_values().collect())
    }

    /// Deletes groups, each by itself.
    pub async fn delete_groups(&self, groups: &[String]) -> Result<PerGroup<()>, ClientFailure> {
        self.ask_coordinators(groups.iter().cloned(), async |connection, _, groups| {
            let groups_names = groups.iter().map(Into::into).collect();
            let response = connection.call(&DeleteGroupsRequest { groups_names }).await?;
            let results = response.results.iter().map(|result| {
                (result.group_id.to_string(), ClientFailure::check(result.error_code, None))
            });
            Ok(results.collect())
        })
        .await
    }
}

fn list_request(states: &[String], types: &[String]) -> ListGroupsRequest {
    ListGroupsRequest {
        states_filter: states.iter().map(Into::into).collect(),
        types_filter: types.iter().map(Into::into).collect(),
    }
}

/// Groups of consumers: those whose protocol is theirs, and those that only commit offsets.
fn consumer_groups(response: &ListGroupsResponse) -> impl Iterator<Item = ListedGroup> + '_ {
    response
        .groups
        .iter()
        .filter(|group| group.protocol_type.is_empty() || group.protocol_type == CONSUMER)
        .map(|group| ListedGroup {
            group_id: group.group_id.to_string(),
            state: group.group_state.to_string(),
            group_type: group.group_type.to_string(),
        })
}
