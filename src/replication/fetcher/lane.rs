//! One fetch under way, on a connection of its own: a long poll on one connection would hold up
//! every answer behind it.

use std::sync::Arc;

use futures::future::BoxFuture;

use super::Way;
use super::request::{Asked, OLDEST_FETCH, bounds_requests, fetch_request, listed_offset};
use super::session::{Session, Terms};
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
    is_incremental: bool,
    coming: BoxFuture<'static, Landed>,
}

/// What a fetch has come to.
pub(super) struct Returned {
    pub(super) asked: Arc<Vec<Asked>>,
    /// Whether what the answer does not mention is as it was.
    pub(super) is_incremental: bool,
    pub(super) response: Result<FetchResponse, FetchError>,
}

/// A connection and what is under way on it.
#[derive(Default)]
pub(super) struct Lane {
    connection: Option<Connection>,
    flight: Option<Flight>,
    /// Where the same partitions are fetched time and again.
    session: Option<Session>,
}

impl Lane {
    /// A lane whose fetches name only what is new.
    pub(super) fn with_session() -> Lane {
        Lane { session: Some(Session::default()), ..Lane::default() }
    }

    /// What the leader has of this lane's session is not what it should be.
    pub(super) fn begin_session_anew(&mut self) {
        if let Some(session) = &mut self.session {
            session.begin_anew();
        }
    }

    pub(super) fn is_free(&self) -> bool {
        self.flight.is_none()
    }

    /// Since when a fetch has been under way.
    pub(super) fn busy_since(&self) -> Option<Monotonic> {
        self.flight.as_ref().map(|flight| flight.since)
    }

    /// Sends a fetch off.
    pub(super) fn launch(&mut self, way: &Arc<Way>, leader: NodeId, asked: Vec<Asked>) {
        let terms = match &mut self.session {
            Some(session) => session.next(asked.iter().map(Asked::told)),
            None => Terms::without_session(asked.len()),
        };
        let is_incremental = terms.is_incremental();
        let asked = Arc::new(asked);
        let connection = self.connection.take().filter(|connection| !connection.is_closed());
        let since = way.context.clock.monotonic();
        let coming = fly(Arc::clone(way), leader, connection, Arc::clone(&asked), terms);
        self.flight = Some(Flight { asked, since, is_incremental, coming: Box::pin(coming) });
    }

    /// Waits for the fetch under way, for ever if there is none. May be dropped.
    pub(super) async fn landing(&mut self) -> Returned {
        let Some(flight) = &mut self.flight else { return futures::future::pending().await };
        let landed = (&mut flight.coming).await;
        let (asked, is_incremental) = (Arc::clone(&flight.asked), flight.is_incremental);
        self.flight = None;
        self.connection = landed.connection;
        if let Some(session) = &mut self.session {
            match &landed.response {
                Ok(response) if response.error_code == ErrorCode::None.code() => {
                    session.answered(response.session_id);
                }
                Ok(_) | Err(_) => session.begin_anew(),
            }
        }
        Returned { asked, is_incremental, response: landed.response }
    }

    /// Gives the fetch under way up. Its connection goes with it, so that the leader stops
    /// waiting too.
    pub(super) fn abandon(&mut self) {
        if let Some(flight) = self.flight.take() {
            self.begin_session_anew();
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
    terms: Terms,
) -> Landed {
    let connection = match connection {
        Some(connection) => connection,
        None => match connect(&way, leader).await {
            Ok(connection) => connection,
            Err(error) => return Landed { connection: None, response: Err(error) },
        },
    };
    let response = fetch(&way, &connection, &asked, &terms).await;
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
    terms: &Terms,
) -> Result<FetchResponse, FetchError> {
    let version = connection.version_of::<FetchRequest>()?;
    if version < OLDEST_FETCH {
        return Err(FetchError::TooOld(version));
    }
    let request = fetch_request(&way.context, asked, terms, version);
    Ok(connection.call_at(version, &request).await?)
}
