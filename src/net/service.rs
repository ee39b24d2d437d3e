//! What a listener serves, as the connection sees it: a request in, an answer in two phases.

use std::net::SocketAddr;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::net::transport::BoxStream;
use crate::protocol::header::RequestHeader;

/// Where a request comes from. All requests of a connection share one, until the client changes
/// its client id.
#[derive(Debug, Clone)]
pub struct RequestContext {
    /// Unique among the connections of this process.
    pub connection_id: u64,
    /// The other end.
    pub peer: SocketAddr,
    /// The listener's name, as in `listeners`.
    pub listener: Arc<str>,
    /// Who is asking, as Kafka writes it: `User:ANONYMOUS`.
    pub principal: Arc<str>,
    /// What the request's header says.
    pub client_id: Option<String>,
    /// The client's name and version, once an ApiVersions request has told them.
    pub client_software: Arc<OnceLock<ClientSoftware>>,
}

/// A client library, as it names itself in ApiVersions (KIP-511).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientSoftware {
    /// For example `apache-kafka-java`.
    pub name: String,
    /// For example `4.3.0`.
    pub version: String,
}

/// What answers the requests of a listener.
pub trait Service: Send + Sync + 'static {
    /// Phase one: the future is awaited before the next request of that connection begins, and
    /// never dropped half-way. What must happen in request order happens here.
    fn handle(
        &self,
        context: Arc<RequestContext>,
        header: RequestHeader,
        body: Bytes,
    ) -> BoxFuture<'static, Handled>;

    /// The first bytes by which peers of the quorum open, where this listener serves them.
    fn peer_magic(&self) -> Option<&'static [u8]> {
        None
    }

    /// Serves a connection that began with [`Service::peer_magic`]; `stream` begins with it still.
    /// Dropped when the server shuts down.
    fn serve_peer(&self, _stream: BoxStream, _peer: SocketAddr) -> BoxFuture<'static, ()> {
        Box::pin(std::future::ready(()))
    }
}

/// How phase one of a request ends.
pub enum Handled {
    /// With the answer.
    Now(Answer),
    /// With a wait for it. Waits of one connection run side by side, their answers leave in the
    /// order of the requests, and all are dropped with the connection.
    Later(BoxFuture<'static, Answer>),
}

/// What the client gets.
#[derive(Debug)]
pub enum Answer {
    /// A response, header included, without the frame's length.
    Response(Vec<Bytes>),
    /// Nothing: a produce request with acks=0.
    None,
    /// The end of the connection, for this reason, which is logged.
    Close(String),
}
