//! What tools ask the coordinators of groups.
//!
//! - [`Cluster::ask_coordinators`]: each group's own broker is asked, and again while it loads or
//!   has moved
//! - [`describe`]: groups and their members, of both protocols
//! - [`offsets`]: committed offsets, read, written and deleted
//! - [`listing`]: which groups there are, and deleting them

pub mod describe;
pub mod listing;
pub mod offsets;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::cli::client::cluster::Cluster;
use crate::cli::client::error::ClientFailure;
use crate::net::client::Connection;
use crate::net::transport::HostPort;
use crate::protocol::messages::find_coordinator::{
    Coordinator as FoundCoordinator, FindCoordinatorRequest, FindCoordinatorResponse,
};
use crate::types::{ErrorCode, NodeId};

/// FindCoordinator takes many keys from this version on (KIP-699).
const MANY_KEYS: i16 = 4;

/// The broker that coordinates a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Coordinator {
    /// Its id.
    pub node: NodeId,
    /// Where it says that clients reach it.
    pub address: HostPort,
}

/// One answer for each group.
pub type PerGroup<T> = BTreeMap<String, Result<T, ClientFailure>>;

impl Cluster {
    /// Asks once who coordinates `groups`.
    pub async fn find_coordinators(
        &self,
        groups: &BTreeSet<String>,
    ) -> Result<PerGroup<Coordinator>, ClientFailure> {
        let connection = self.any().await?;
        if connection.version_of::<FindCoordinatorRequest>()? >= MANY_KEYS {
            let keys = groups.iter().map(Into::into).collect();
            let request = FindCoordinatorRequest { coordinator_keys: keys, ..Default::default() };
            let response = connection.call(&request).await?;
            return Ok(response.coordinators.iter().map(found).collect());
        }
        let mut all = PerGroup::new();
        for group in groups {
            let request = FindCoordinatorRequest { key: group.into(), ..Default::default() };
            all.insert(group.clone(), found_alone(&connection.call(&request).await?));
        }
        Ok(all)
    }

    /// A connection to a coordinator, whose address is asked for if it is not known.
    pub async fn coordinator_connection(
        &self,
        coordinator: &Coordinator,
    ) -> Result<Arc<Connection>, ClientFailure> {
        if !self.metadata().brokers.contains_key(&coordinator.node) {
            self.live_brokers().await?;
        }
        self.broker(coordinator.node).await
    }

    /// Asks the coordinators of `groups`, with one request to each of them, and again for those
    /// groups whose coordinator is not found, loads or has moved, until the time for one
    /// operation is over. `ask` gives an answer for each group that it is given.
    pub async fn ask_coordinators<T>(
        &self,
        groups: impl IntoIterator<Item = String>,
        ask: impl AsyncFn(
            &Connection,
            &Coordinator,
            &BTreeSet<String>,
        ) -> Result<PerGroup<T>, ClientFailure>,
    ) -> Result<PerGroup<T>, ClientFailure> {
        let start = self.clock().monotonic();
        let mut pending: BTreeSet<String> = groups.into_iter().collect();
        let mut all = PerGroup::new();
        while !pending.is_empty() {
            for (group, answer) in self.ask_round(&pending, &ask).await? {
                if answer.as_ref().is_ok() || answer.as_ref().is_err_and(|e| !e.is_retriable()) {
                    pending.remove(&group);
                }
                all.insert(group, answer);
            }
            let after = self.clock().monotonic().since(start);
            if after + self.options().retry_backoff >= self.options().api_timeout {
                break;
            }
            if !pending.is_empty() {
                tokio::time::sleep(self.options().retry_backoff).await;
            }
        }
        Ok(all)
    }

    /// One attempt for each group.
    async fn ask_round<T>(
        &self,
        groups: &BTreeSet<String>,
        ask: &impl AsyncFn(
            &Connection,
            &Coordinator,
            &BTreeSet<String>,
        ) -> Result<PerGroup<T>, ClientFailure>,
    ) -> Result<PerGroup<T>, ClientFailure> {
        let (mut all, by_node) = by_coordinator(self.find_coordinators(groups).await?);
        for (coordinator, groups) in by_node.into_values() {
            let asked = match self.coordinator_connection(&coordinator).await {
                Ok(connection) => ask(&connection, &coordinator, &groups).await,
                Err(failure) => Err(failure),
            };
            match asked {
                Ok(answers) => all.extend(answers),
                // The whole request came to nothing: each group's attempt did.
                Err(failure) if failure.is_retriable() => {
                    let reason = failure.to_string();
                    all.extend(groups.into_iter().map(|group| (group, Err(unavailable(&reason)))));
                }
                Err(failure) => return Err(failure),
            }
        }
        Ok(all)
    }

    /// The same for one group.
    pub async fn ask_coordinator<T>(
        &self,
        group: &str,
        ask: impl AsyncFn(&Connection, &Coordinator) -> Result<T, ClientFailure>,
    ) -> Result<T, ClientFailure> {
        let answers = self
            .ask_coordinators([group.to_owned()], async |connection, coordinator, _| {
                Ok(PerGroup::from([(group.to_owned(), ask(connection, coordinator).await)]))
            })
            .await?;
        let answer = answers.into_values().next();
        answer.unwrap_or(Err(ClientFailure::Unsupported("an answer for this group")))
    }
}

type ByNode = BTreeMap<NodeId, (Coordinator, BTreeSet<String>)>;

/// Groups by the node that coordinates them, and what went wrong with the others.
fn by_coordinator<T>(found: PerGroup<Coordinator>) -> (PerGroup<T>, ByNode) {
    let mut failed = PerGroup::new();
    let mut by_node = ByNode::new();
    for (group, answer) in found {
        match answer {
            Ok(coordinator) => {
                let entry = by_node.entry(coordinator.node);
                entry.or_insert_with(|| (coordinator, BTreeSet::new())).1.insert(group);
            }
            Err(failure) => {
                failed.insert(group, Err(failure));
            }
        }
    }
    (failed, by_node)
}

fn unavailable(reason: &str) -> ClientFailure {
    ClientFailure::Refused {
        code: ErrorCode::CoordinatorNotAvailable,
        message: Some(reason.to_owned()),
    }
}

fn found(answer: &FoundCoordinator) -> (String, Result<Coordinator, ClientFailure>) {
    let coordinator =
        ClientFailure::check(answer.error_code, answer.error_message.as_deref()).map(|()| {
            Coordinator {
                node: NodeId(answer.node_id),
                address: address(&answer.host, answer.port),
            }
        });
    (answer.key.to_string(), coordinator)
}

fn found_alone(answer: &FindCoordinatorResponse) -> Result<Coordinator, ClientFailure> {
    ClientFailure::check(answer.error_code, answer.error_message.as_deref())?;
    Ok(Coordinator { node: NodeId(answer.node_id), address: address(&answer.host, answer.port) })
}

fn address(host: &str, port: i32) -> HostPort {
    HostPort::new(host.to_owned(), u16::try_from(port).unwrap_or_default())
}
