//! What a listener serves: finds the row of the dispatch table, refuses what is not in it.
//!
//! A broker's listener serves every row, a controller's those marked for it, and peers of the
//! quorum, who are known by their first bytes.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt;
use futures::future::BoxFuture;

use crate::broker::handlers::api_versions::ApiVersions;
use crate::broker::handlers::dispatch::Entry;
use crate::controller::Controller;
use crate::controller::peer::MAGIC;
use crate::net::BoxStream;
use crate::net::server::{Answer, Handled, RequestContext, Service};
use crate::protocol::ApiKey;
use crate::protocol::header::{RequestHeader, encode_unsupported_api_versions};
use crate::types::watch;

/// The APIs of one kind of listener.
pub(crate) struct KafkaService {
    entries: BTreeMap<i16, Entry>,
    api_versions: Arc<ApiVersions>,
}

impl KafkaService {
    /// Serves `entries`; `api_versions` answers versions of itself that nobody knows.
    pub fn new(entries: Vec<Entry>, api_versions: Arc<ApiVersions>) -> KafkaService {
        let mut by_key = BTreeMap::new();
        for entry in entries {
            let api = entry.api;
            let other = by_key.insert(api.code(), entry);
            assert!(other.is_none(), "{api:?} stands in the table twice");
        }
        KafkaService { entries: by_key, api_versions }
    }

    fn entry(&self, api_key: i16) -> Option<&Entry> {
        self.entries.get(&api_key)
    }

    fn refuse(&self, header: &RequestHeader) -> Handled {
        let (key, version) = (header.api_key, header.api_version);
        if key == ApiKey::ApiVersions as i16 {
            let served = self.api_versions.response();
            return Handled::Now(
                match encode_unsupported_api_versions(header.correlation_id, served) {
                    Ok(parts) => Answer::Response(parts),
                    Err(error) => Answer::Close(format!("what is served cannot be told: {error}")),
                },
            );
        }
        let reason = match (ApiKey::from_i16(key), self.entry(key)) {
            (None, _) => format!("no API has the key {key}"),
            (Some(api), None) => format!("{api:?} (key {key}) is not served on this listener"),
            (Some(api), Some(entry)) => format!(
                "{api:?} (key {key}) is served in versions {} to {}, not in {version}",
                entry.advertised.start(),
                entry.advertised.end(),
            ),
        };
        Handled::Now(Answer::Close(reason))
    }
}

impl KafkaService {
    fn handle(
        &self,
        context: Arc<RequestContext>,
        header: RequestHeader,
        body: Bytes,
    ) -> BoxFuture<'static, Handled> {
        let entry = self.entry(header.api_key);
        match entry.filter(|entry| entry.advertised.contains(&header.api_version)) {
            Some(entry) => entry.run(context, header, body),
            None => std::future::ready(self.refuse(&header)).boxed(),
        }
    }
}

/// Keeps requests waiting until the broker is ready for them.
#[derive(Debug, Clone)]
pub(crate) struct Gate(watch::Sender<bool>);

impl Gate {
    /// Nobody waits.
    pub fn open() -> Gate {
        Gate(watch::Sender::new(true))
    }

    /// Everybody waits.
    pub fn closed() -> Gate {
        Gate(watch::Sender::new(false))
    }

    /// Lets in those who wait, and everybody after them.
    pub fn let_in(&self) {
        self.0.send_replace(true);
    }

    fn is_open(&self) -> bool {
        *self.0.borrow()
    }
}

/// A listener's service: Kafka's protocol behind a gate, and peers of the quorum where they come in.
pub(crate) struct NodeService {
    kafka: Arc<KafkaService>,
    gate: Gate,
    peers: Option<Arc<Controller>>,
}

impl NodeService {
    /// Serves `kafka` once `gate` is open, and peers at any time if `peers` is given.
    pub fn new(kafka: KafkaService, gate: Gate, peers: Option<Arc<Controller>>) -> NodeService {
        NodeService { kafka: Arc::new(kafka), gate, peers }
    }
}

impl Service for NodeService {
    fn handle(
        &self,
        context: Arc<RequestContext>,
        header: RequestHeader,
        body: Bytes,
    ) -> BoxFuture<'static, Handled> {
        if self.gate.is_open() {
            return self.kafka.handle(context, header, body);
        }
        let (kafka, mut opened) = (Arc::clone(&self.kafka), self.gate.0.subscribe());
        async move {
            match opened.wait_for(|open| *open).await {
                Ok(_) => {}
                Err(_) => return Handled::Now(Answer::Close("the broker stops".to_owned())),
            }
            kafka.handle(context, header, body).await
        }
        .boxed()
    }

    fn peer_magic(&self) -> Option<&'static [u8]> {
        self.peers.as_ref().map(|_| &MAGIC[..])
    }

    fn serve_peer(&self, stream: BoxStream, _: SocketAddr) -> BoxFuture<'static, ()> {
        match self.peers.clone() {
            Some(controller) => async move { controller.accept_peer(stream).await }.boxed(),
            None => std::future::ready(()).boxed(),
        }
    }
}
