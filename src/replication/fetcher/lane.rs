//! One fetch under way, on a connection of its own: a long poll on one connection would hold up
//! every answer behind it.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::Way;
use super::request::{Asked, OLDEST_FETCH, bounds_requests, fetch_request, listed_offset};
use crate::net::client::{ClientError, ClientOptions, Connection};
use crate::protocol::messages::fetch::{FetchRequest, FetchResponse};
use crate::types::{ErrorCode, Monotonic, NodeId, Offset};

/// Why a fetch failed as a whole.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    #[error("broker {0} has no address on the inter-broker listener")]
    NoAddress(NodeId),
    #[error("it serves Fetch up to version {0} only")]
    TooOld(i16),
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl FetchError {
    /// Whether it suggests that the process is not there any more. Silence does not.
    pub(super) fn says_dead(&self) -> bool {
        match self {
            FetchError::Client(error) => {
                matches!(error, ClientError::Refused { .. } | ClientError::Closed { .. })
            }
            FetchError::NoAddress(_) | FetchError::TooOld(_) => false,
        }
    }
}

/// A fetch that has come back.
pub(super) struct Landed {
    pub(super) connection: Option<Connection>,
    pub(super) response: Result<FetchResponse, FetchError>,
}

/// A fetch under way.
pub(super) struct Flight {
    pub(super) asked: Arc<Vec<Asked>>,
    pub(super) since: Monotonic,
    coming: BoxFuture<'static, Landed>,
}

/// A connection and what is under way on it.
#[derive(Default)]
pub(super) struct Lane {
    connection: Option<Connection>,
    flight: Option<Flight>,
}

impl Lane {
    pub(super) fn is_free(&self) -> bool {
        self.flight.is_none()
    }

    /// Since when a fetch has been under way.
    pub(super) fn busy_since(&self) -> Option<Monotonic> {
        self.flight.as_ref().map(|flight| flight.since)
    }

    /// Sends a fetch off.
    pub(super) fn launch(&mut self, way: &Arc<Way>, leader: NodeId, asked: Vec<Asked>) {
        let asked = Arc::new(asked);
        let connection = self.connection.take().filter(|connection| !connection.is_closed());
        let since = way.context.clock.monotonic();
        let coming = Box::pin(fly(Arc::clone(way), leader, connection, Arc::clone(&asked)));
        self.flight = Some(Flight { asked, since, coming });
    }

    /// Waits for the fetch under way, for ever if there is none. May be dropped.
    pub(super) async fn landing(&mut self) -> (Arc<Vec<Asked>>, Result<FetchResponse, FetchError>) {
        let Some(flight) = &mut self.flight else { return futures::future::pending().await };
        let landed = (&mut flight.coming).await;
        let asked = Arc::clone(&flight.asked);
        self.flight = None;
        self.connection = landed.connection;
        (asked, landed.response)
    }

    /// Gives the fetch under way up. Its connection goes with it, so that the leader stops
    /// waiting too.
    pub(super) fn abandon(&mut self) {
        if let Some(flight) = self.flight.take() {
            for asked in flight.asked.iter() {
                asked.partition.fetch_lost(&asked.ask, false);
            }
        }
    }

    /// Where the leader's log begins and ends.
    pub(super) async fn locate(
        &mut self,
        node: NodeId,
        asked: &Asked,
    ) -> Result<(Offset, Offset), ErrorCode> {
        let connection = self.connection.as_ref().ok_or(ErrorCode::NetworkException)?;
        let mut bounds = [Offset::UNKNOWN; 2];
        for (request, bound) in bounds_requests(node, asked).iter().zip(&mut bounds) {
            let response = connection.call(request).await.map_err(|error| {
                tracing::warn!(%error, "cannot ask the leader for its log's bounds");
                ErrorCode::NetworkException
            })?;
            *bound = listed_offset(&response)?;
        }
        Ok((bounds[0], bounds[1]))
    }
}

async fn fly(
    way: Arc<Way>,
    leader: NodeId,
    connection: Option<Connection>,
    asked: Arc<Vec<Asked>>,
) -> Landed {
    let connection = match connection {
        Some(connection) => connection,
        None => match connect(&way, leader).await {
            Ok(connection) => connection,
            Err(error) => return Landed { connection: None, response: Err(error) },
        },
    };
    let response = fetch(&way, &connection, &asked).await;
    let connection = response.is_ok().then_some(connection);
    Landed { connection, response }
}

async fn connect(way: &Way, leader: NodeId) -> Result<Connection, FetchError> {
    let options = &way.context.options;
    let address = way.address_of(leader).ok_or(FetchError::NoAddress(leader))?;
    let client = ClientOptions {
        client_id: format!("broker-{}-fetcher", way.context.node),
        connect_timeout: options.socket_timeout,
        request_timeout: options.socket_timeout + options.fetch_wait_max,
        ..ClientOptions::default()
    };
    Ok(Connection::connect(&*way.network, &address, client).await?)
}

async fn fetch(
    way: &Way,
    connection: &Connection,
    asked: &[Asked],
) -> Result<FetchResponse, FetchError> {
    let version = connection.version_of::<FetchRequest>()?;
    if version < OLDEST_FETCH {
        return Err(FetchError::TooOld(version));
    }
    Ok(connection.call_at(version, &fetch_request(&way.context, asked, version)).await?)
}
