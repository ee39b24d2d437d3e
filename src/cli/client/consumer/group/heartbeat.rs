//! The task that shows that a member is alive, while the records are handled elsewhere.

use std::sync::Arc;

use parking_lot::Mutex;

use crate::cli::client::cluster::Cluster;
use crate::cli::client::consumer::group::member::{Reaction, leave_request};
use crate::cli::client::consumer::group::settings::GroupOptions;
use crate::cli::client::error::ClientFailure;
use crate::cli::client::groups::offsets::Membership;
use crate::cli::client::groups::{Coordinator, PerGroup};
use crate::protocol::messages::heartbeat::HeartbeatRequest;
use crate::types::Monotonic;

/// Since when records are handled; `None`: they are waited for.
pub(super) type BusySince = Arc<Mutex<Option<Monotonic>>>;

/// Why there are no more heartbeats in this generation.
#[derive(Debug)]
pub(super) enum Ended {
    /// The coordinator said so.
    Refused(ClientFailure),
    /// Handling records took longer than `max.poll.interval.ms`: this member has left.
    TooSlow,
}

/// Sends heartbeats until the coordinator wants something else, or until handling takes too long.
pub(super) async fn run(
    cluster: Arc<Cluster>,
    options: GroupOptions,
    membership: Membership,
    mut coordinator: Coordinator,
    busy: BusySince,
) -> Ended {
    let request = HeartbeatRequest {
        group_id: options.group_id.as_str().into(),
        generation_id: membership.generation,
        member_id: membership.member_id.as_str().into(),
        group_instance_id: membership.instance_id.as_deref().map(Into::into),
    };
    loop {
        tokio::time::sleep(options.heartbeat_interval).await;
        let busy_since = *busy.lock();
        let now = cluster.clock().monotonic();
        if busy_since.is_some_and(|since| now.since(since) > options.max_poll_interval) {
            leave(&cluster, &options, &membership, &coordinator).await;
            return Ended::TooSlow;
        }
        let beat = async {
            let connection = cluster.coordinator_connection(&coordinator).await?;
            let call = connection.call(&request);
            let response = match tokio::time::timeout(options.session_timeout, call).await {
                Ok(response) => response?,
                Err(_) => return Err(ClientFailure::UnknownBroker(coordinator.node)),
            };
            ClientFailure::check(response.error_code, None)
        };
        let Err(failure) = beat.await else { continue };
        match Reaction::to(&failure) {
            Reaction::Wait => {}
            Reaction::FindCoordinator => {
                if let Some(found) = find(&cluster, &options).await {
                    coordinator = found;
                }
            }
            Reaction::Rejoin | Reaction::RejoinEmpty | Reaction::RejoinAnew | Reaction::GiveUp => {
                return Ended::Refused(failure);
            }
        }
    }
}

/// Who coordinates now, if that can be said; if not, the next heartbeat's time is soon enough.
async fn find(cluster: &Cluster, options: &GroupOptions) -> Option<Coordinator> {
    let groups = [options.group_id.clone()].into();
    let found: PerGroup<Coordinator> = cluster.find_coordinators(&groups).await.ok()?;
    found.into_values().next()?.ok()
}

/// If this cannot be said the coordinator will find out by itself.
async fn leave(
    cluster: &Cluster,
    options: &GroupOptions,
    membership: &Membership,
    coordinator: &Coordinator,
) {
    if membership.instance_id.is_none()
        && let Ok(connection) = cluster.coordinator_connection(coordinator).await
    {
        let _ = connection.call(&leave_request(options, membership, true)).await;
    }
}
