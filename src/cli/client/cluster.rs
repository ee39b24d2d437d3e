//! Connections to the brokers of one cluster, its metadata, and trying again.

use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;

use crate::cli::client::error::ClientFailure;
use crate::cli::client::metadata::{Metadata, PartitionMetadata, TopicMetadata};
use crate::cli::client::options::ClusterOptions;
use crate::net::client::{ClientOptions, Connection};
use crate::net::transport::{HostPort, Network, TcpNetwork};
use crate::protocol::Request;
use crate::protocol::messages::metadata::{MetadataRequest, MetadataRequestTopic};
use crate::types::clock::SystemClock;
use crate::types::{Clock, ErrorCode, Monotonic, NodeId, PartitionId, TopicName};

/// No answer may be larger: a broker's largest fetch, and some.
const MAX_RESPONSE_BYTES: usize = 256 * 1024 * 1024;
/// How long a broker may take to hear of a topic that another one has just created.
const NEW_TOPIC_PATIENCE: Duration = Duration::from_secs(2);

/// One cluster as this client sees it.
#[derive(Debug)]
pub struct Cluster {
    options: ClusterOptions,
    network: TcpNetwork,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// To a broker whose number may not be known: of those that the user named.
    bootstrap: Option<Arc<Connection>>,
    brokers: BTreeMap<NodeId, Arc<Connection>>,
    metadata: Arc<Metadata>,
    refreshed: Option<Monotonic>,
}

impl Cluster {
    /// Connects to the first broker of the list that answers.
    pub async fn connect(options: ClusterOptions) -> Result<Arc<Self>, ClientFailure> {
        let cluster = Self {
            options,
            network: TcpNetwork,
            clock: Arc::new(SystemClock::new()),
            state: Mutex::default(),
        };
        cluster.any().await?;
        Ok(Arc::new(cluster))
    }

    /// What the user set.
    pub fn options(&self) -> &ClusterOptions {
        &self.options
    }

    /// The clock of this process.
    pub fn clock(&self) -> &Arc<dyn Clock> {
        &self.clock
    }

    /// What the last answers told.
    pub fn metadata(&self) -> Arc<Metadata> {
        self.state.lock().metadata.clone()
    }

    /// A connection to whichever broker answers: the one in use, or the first of those named or
    /// known that can be reached.
    pub async fn any(&self) -> Result<Arc<Connection>, ClientFailure> {
        let (open, known) = {
            let state = self.state.lock();
            let open = state
                .bootstrap
                .iter()
                .chain(state.brokers.values())
                .find(|connection| !connection.is_closed())
                .cloned();
            (open, state.metadata.brokers.values().cloned().collect::<Vec<HostPort>>())
        };
        if let Some(connection) = open {
            return Ok(connection);
        }
        let mut reasons: Vec<String> = Vec::new();
        let mut tried: Vec<&HostPort> = Vec::new();
        for address in self.options.bootstrap.iter().chain(&known) {
            if tried.contains(&address) {
                continue;
            }
            tried.push(address);
            match self.dial(address).await {
                Ok(connection) => {
                    self.state.lock().bootstrap = Some(connection.clone());
                    return Ok(connection);
                }
                Err(ClientFailure::Connection(error)) => reasons.push(error.to_string()),
                Err(error) => reasons.push(format!("{address}: {error}")),
            }
        }
        Err(ClientFailure::Unreachable { reasons: reasons.join(", ") })
    }

    /// A connection to one broker.
    pub async fn broker(&self, node: NodeId) -> Result<Arc<Connection>, ClientFailure> {
        let address = {
            let state = self.state.lock();
            if let Some(connection) = state.brokers.get(&node).filter(|open| !open.is_closed()) {
                return Ok(connection.clone());
            }
            state.metadata.brokers.get(&node).cloned()
        };
        let address = address.ok_or(ClientFailure::UnknownBroker(node))?;
        let connection = self.dial(&address).await?;
        self.state.lock().brokers.insert(node, connection.clone());
        Ok(connection)
    }

    /// A new connection.
    pub async fn dial(&self, address: &HostPort) -> Result<Arc<Connection>, ClientFailure> {
        self.dial_for(address, self.options.request_timeout).await
    }

    /// A new connection on which an answer may take so long.
    pub async fn dial_for(
        &self,
        address: &HostPort,
        request_timeout: Duration,
    ) -> Result<Arc<Connection>, ClientFailure> {
        let options = ClientOptions {
            client_id: self.options.client_id.clone(),
            connect_timeout: self.options.connect_timeout,
            request_timeout,
            max_response_bytes: MAX_RESPONSE_BYTES,
            ..ClientOptions::default()
        };
        let network: &dyn Network = &self.network;
        Ok(Arc::new(Connection::connect(network, address, options).await?))
    }

    /// Asks whichever broker answers, and again while the answer is that of a broker that may
    /// answer better soon. `check` says what an answer means.
    pub async fn ask<R: Request, T>(
        &self,
        request: &R,
        what: &str,
        check: impl Fn(R::Response) -> Result<T, ClientFailure>,
    ) -> Result<T, ClientFailure> {
        self.retry(what, || async {
            let connection = self.any().await?;
            check(connection.call(request).await?)
        })
        .await
    }

    /// Does `attempt` until it succeeds, fails for good, or the time for one operation is over.
    /// A cluster none of whose brokers can be reached is not waited for.
    pub async fn retry<T, F: Future<Output = Result<T, ClientFailure>>>(
        &self,
        what: &str,
        attempt: impl Fn() -> F,
    ) -> Result<T, ClientFailure> {
        let start = self.clock.monotonic();
        loop {
            let failure = match attempt().await {
                Err(failure) if failure.is_retriable() => failure,
                outcome => return outcome,
            };
            if matches!(failure, ClientFailure::Unreachable { .. }) {
                return Err(failure);
            }
            let after = self.clock.monotonic().since(start);
            if after + self.options.retry_backoff >= self.options.api_timeout {
                return Err(match failure {
                    refused @ ClientFailure::Refused { .. } => refused,
                    other => ClientFailure::TimedOut {
                        what: what.to_owned(),
                        after,
                        reason: Some(other.to_string()),
                    },
                });
            }
            tokio::time::sleep(self.options.retry_backoff).await;
        }
    }

    /// Asks for metadata of `topics`, or of all.
    pub async fn refresh(
        &self,
        topics: Option<&[TopicName]>,
        may_create: bool,
    ) -> Result<Arc<Metadata>, ClientFailure> {
        let request = MetadataRequest {
            topics: topics.map(|topics| {
                topics
                    .iter()
                    .map(|topic| MetadataRequestTopic {
                        name: Some(topic.as_str().into()),
                        ..Default::default()
                    })
                    .collect()
            }),
            allow_auto_topic_creation: may_create,
            ..Default::default()
        };
        let response = self.any().await?.call(&request).await?;
        let mut state = self.state.lock();
        let mut metadata = Metadata::clone(&state.metadata);
        if topics.is_none() {
            metadata.topics.clear();
        }
        metadata.merge(&response);
        let State { brokers, bootstrap, .. } = &mut *state;
        brokers.retain(|node, open| metadata.brokers.contains_key(node) && !open.is_closed());
        if bootstrap.as_ref().is_some_and(|open| open.is_closed()) {
            *bootstrap = None;
        }
        state.metadata = Arc::new(metadata);
        state.refreshed = Some(self.clock.monotonic());
        Ok(state.metadata.clone())
    }

    /// A topic's metadata: what is known, or, if that is missing or old, what a broker says.
    /// Waits for a topic that is about to be created.
    pub async fn topic(
        &self,
        topic: &TopicName,
        may_create: bool,
    ) -> Result<TopicMetadata, ClientFailure> {
        if !self.is_stale() {
            let known = self.metadata().topics.get(topic).cloned();
            if let Some(known) = known.filter(|known| known.error.is_none()) {
                return Ok(known);
            }
        }
        let start = self.clock.monotonic();
        self.retry(&format!("metadata of topic {topic}"), || async {
            let metadata = self.refresh(Some(std::slice::from_ref(topic)), may_create).await?;
            let Some(found) = metadata.topics.get(topic) else {
                return Err(ClientFailure::NoSuchTopic(topic.clone()));
            };
            let waited = self.clock.monotonic().since(start);
            match found.error {
                None => Ok(found.clone()),
                Some(ErrorCode::UnknownTopicOrPartition)
                    if !may_create && waited >= NEW_TOPIC_PATIENCE =>
                {
                    Err(ClientFailure::NoSuchTopic(topic.clone()))
                }
                Some(code) => Err(ClientFailure::Refused { code, message: None }),
            }
        })
        .await
    }

    /// What is known of one partition.
    pub fn partition(
        &self,
        topic: &TopicName,
        partition: PartitionId,
    ) -> Option<PartitionMetadata> {
        self.metadata().topics.get(topic)?.partitions.get(&partition).cloned()
    }

    fn is_stale(&self) -> bool {
        let now = self.clock.monotonic();
        self.state
            .lock()
            .refreshed
            .is_none_or(|refreshed| now.since(refreshed) >= self.options.metadata_max_age)
    }

    /// The brokers that are registered and not fenced, as the broker that answers knows them.
    pub async fn live_brokers(&self) -> Result<BTreeMap<NodeId, HostPort>, ClientFailure> {
        // An empty list asks for no topic, but for the brokers.
        Ok(self.refresh(Some(&[]), false).await?.brokers.clone())
    }
}
