//! A connection to a broker: typed requests, pipelined, over one stream.
//!
//! - `error`: what can go wrong, as callers need to tell it apart
//! - `task`: the one task that writes and reads
//! - `handshake`: which versions the broker serves

mod error;
mod handshake;
mod task;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::future::Future;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};
use tokio::time::timeout;

pub use error::ClientError;

use crate::net::client::task::{Outgoing, Shared, Waiting};
use crate::net::transport::{HostPort, Network};
use crate::protocol::codec::{Message, Reader, Request};
use crate::protocol::header::{decode_response_header, encode_request};

/// How a connection behaves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClientOptions {
    /// What the broker is told that we are called.
    pub client_id: String,
    /// For dialling and finding out versions, together.
    pub connect_timeout: Duration,
    /// For an answer. When it is exceeded the connection is closed: what else is under way on it
    /// would come no sooner.
    pub request_timeout: Duration,
    /// The largest answer.
    pub max_response_bytes: usize,
    /// How many requests may be unanswered at once.
    pub max_in_flight: usize,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            client_id: "ottla".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            max_response_bytes: 128 << 20,
            max_in_flight: 1_000,
        }
    }
}

/// A connection to one broker. It closes when it is dropped and nothing is waited for any more.
#[derive(Debug)]
pub struct Connection {
    options: ClientOptions,
    shared: Arc<Shared>,
    outgoing: mpsc::Sender<Outgoing>,
    slots: Arc<Semaphore>,
    next_correlation_id: AtomicI32,
    /// By the key of the API.
    versions: BTreeMap<i16, RangeInclusive<i16>>,
}

impl Connection {
    /// Dials `address` and finds out which versions are served there.
    pub async fn connect(
        network: &dyn Network,
        address: &HostPort,
        options: ClientOptions,
    ) -> Result<Connection, ClientError> {
        let limit = options.connect_timeout;
        let connecting = async {
            let stream = network
                .connect(address)
                .await
                .map_err(|error| ClientError::from_dialling(address, &error))?;
            let shared = Arc::new(Shared::new(address.clone()));
            let (outgoing, requests) = mpsc::channel(options.max_in_flight.max(1));
            let max_response = options.max_response_bytes;
            tokio::spawn(task::run(stream, requests, Arc::clone(&shared), max_response));
            let mut connection = Connection {
                slots: Arc::new(Semaphore::new(options.max_in_flight.max(1))),
                options,
                shared,
                outgoing,
                next_correlation_id: AtomicI32::new(0),
                versions: BTreeMap::new(),
            };
            connection.versions = handshake::versions(&connection).await?;
            Ok(connection)
        };
        timeout(limit, connecting).await.unwrap_or_else(|_| {
            Err(ClientError::Timeout {
                address: address.clone(),
                what: "connecting".to_owned(),
                after: limit,
            })
        })
    }

    /// Asks in the highest version that both sides know. Waits for a place if too many requests
    /// are unanswered.
    pub async fn call<R: Request>(&self, request: &R) -> Result<R::Response, ClientError> {
        self.call_at(self.version_of::<R>()?, request).await
    }

    /// Asks in `version`.
    pub async fn call_at<R: Request>(
        &self,
        version: i16,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let slot = Arc::clone(&self.slots).acquire_owned().await;
        let slot = slot.map_err(|_| self.shared.ended())?;
        let frame = self.begin(version, request, slot)?.await?;
        decode::<R>(&self.shared.address, version, frame)
    }

    /// Sends now, in the order of the calls, and leaves it to the caller when to wait for the
    /// answer.
    ///
    /// # Errors
    /// Among others [`ClientError::TooManyInFlight`].
    pub fn send<R: Request>(
        &self,
        request: &R,
    ) -> Result<
        impl Future<Output = Result<R::Response, ClientError>> + Send + 'static + use<R>,
        ClientError,
    > {
        let version = self.version_of::<R>()?;
        let slot = Arc::clone(&self.slots).try_acquire_owned();
        let slot = slot.map_err(|_| ClientError::TooManyInFlight(self.options.max_in_flight))?;
        let answer = self.begin(version, request, slot)?;
        let address = self.shared.address.clone();
        Ok(async move { decode::<R>(&address, version, answer.await?) })
    }

    /// Sends what is not answered: a produce request with acks=0. Waits while the connection cannot
    /// take more.
    pub async fn send_unanswered<R: Request>(&self, request: &R) -> Result<(), ClientError> {
        let (_, parts) = self.encode(self.version_of::<R>()?, request)?;
        let sent = self.outgoing.send(Outgoing { parts, waiting: None }).await;
        sent.map_err(|_| self.shared.ended())
    }

    /// The highest version that both sides know.
    pub fn version_of<R: Request>(&self) -> Result<i16, ClientError> {
        let theirs = self.versions.get(&R::API.code());
        let common = theirs.and_then(|theirs| {
            let highest = *theirs.end().min(R::VERSIONS.end());
            (highest >= *theirs.start().max(R::VERSIONS.start())).then_some(highest)
        });
        common.ok_or_else(|| ClientError::UnsupportedVersion {
            api: R::API,
            theirs: theirs.cloned(),
            ours: R::VERSIONS,
        })
    }

    /// The versions that the broker serves, by the key of the API.
    pub fn versions(&self) -> &BTreeMap<i16, RangeInclusive<i16>> {
        &self.versions
    }

    /// Where it leads.
    pub fn address(&self) -> &HostPort {
        &self.shared.address
    }

    /// Whether it has ended, for whatever reason: nothing can be sent on it any more.
    pub fn is_closed(&self) -> bool {
        self.shared.is_over()
    }

    /// Waits until it has ended, and says why.
    pub async fn closed(&self) -> ClientError {
        self.outgoing.closed().await;
        self.shared.ended()
    }

    fn encode<R: Request>(
        &self,
        version: i16,
        request: &R,
    ) -> Result<(i32, Vec<Bytes>), ClientError> {
        let correlation_id = self.next_correlation_id.fetch_add(1, Ordering::Relaxed) & i32::MAX;
        let client_id = Some(self.options.client_id.as_str());
        let parts = encode_request(version, correlation_id, client_id, request);
        let parts = parts.map_err(|error| ClientError::Unencodable {
            api: R::API,
            version,
            reason: error.to_string(),
        })?;
        Ok((correlation_id, parts))
    }

    /// Sends; what comes of it is the answer's frame.
    fn begin<R: Request>(
        &self,
        version: i16,
        request: &R,
        slot: OwnedSemaphorePermit,
    ) -> Result<
        impl Future<Output = Result<Bytes, ClientError>> + Send + 'static + use<R>,
        ClientError,
    > {
        let (correlation_id, parts) = self.encode(version, request)?;
        let (reply, answer) = oneshot::channel();
        let waiting = Some((correlation_id, Waiting { reply, _slot: slot }));
        self.outgoing.try_send(Outgoing { parts, waiting }).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => {
                ClientError::TooManyInFlight(self.options.max_in_flight)
            }
            mpsc::error::TrySendError::Closed(_) => self.shared.ended(),
        })?;
        let shared = Arc::clone(&self.shared);
        let after = self.options.request_timeout;
        Ok(async move {
            match timeout(after, answer).await {
                Ok(Ok(frame)) => Ok(frame),
                Ok(Err(_)) => Err(shared.ended()),
                Err(_) => {
                    let address = shared.address.clone();
                    let error =
                        ClientError::Timeout { address, what: format!("{:?}", R::API), after };
                    shared.end(error.clone());
                    Err(error)
                }
            }
        })
    }
}

fn decode<R: Request>(
    address: &HostPort,
    version: i16,
    frame: Bytes,
) -> Result<R::Response, ClientError> {
    let mut reader = Reader::new(frame);
    let decoded = decode_response_header(R::API, version, &mut reader)
        .and_then(|_| R::Response::decode(&mut reader, version));
    decoded.map_err(|error| ClientError::Malformed {
        address: address.clone(),
        reason: format!("a {:?} response of version {version}: {error}", R::API),
    })
}
