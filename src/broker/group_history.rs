//! The rebalances of groups on their way into their topic (see `coordinator::history`).
//!
//! A coordinator hands a rebalance over once it is committed, and goes on. One task writes them in
//! order to whoever leads the partition, this broker or another, over the protocol, and makes the
//! topic first. What cannot be written in [`PATIENCE`] is dropped with a line in the log: a group's
//! work never waits for its history.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::mpsc;

use crate::broker::auto_create::AutoCreate;
use crate::broker::handlers::leaders::endpoint;
use crate::coordinator::group::rebalance::Rebalance;
use crate::coordinator::{history, partition_of};
use crate::metadata::MetadataSource;
use crate::metadata::topic_name::GROUP_HISTORY;
use crate::net::client::{ClientOptions, Connection};
use crate::net::server::RequestContext;
use crate::net::{HostPort, Network};
use crate::protocol::messages::produce::{PartitionProduceData, ProduceRequest, TopicProduceData};
use crate::record::BatchBuilder;
use crate::types::{Clock, ErrorCode, NodeId, Offset, PartitionId, TopicName};

/// How many may wait to be written.
const QUEUE: usize = 1_024;
/// How long a rebalance is tried to be written.
const PATIENCE: Duration = Duration::from_secs(30);
/// How soon it is tried again.
const PAUSE: Duration = Duration::from_millis(200);
/// How long one try may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// The client id that may write to internal topics.
pub(crate) const ADMIN_CLIENT: &str = "__admin_client";

/// Where coordinators hand rebalances over.
#[derive(Debug, Clone)]
pub(crate) struct GroupHistory {
    queue: mpsc::Sender<Rebalance>,
}

impl GroupHistory {
    /// The way in, and what [`Writer`] takes out.
    pub fn new() -> (GroupHistory, mpsc::Receiver<Rebalance>) {
        let (queue, receiver) = mpsc::channel(QUEUE);
        (GroupHistory { queue }, receiver)
    }

    /// Takes a rebalance, or drops it if too many wait.
    pub fn remember(&self, rebalance: Rebalance) {
        if let Err(error) = self.queue.try_send(rebalance) {
            tracing::warn!(%error, "a rebalance is not written into its group's history");
        }
    }
}

/// What writes them.
pub(crate) struct Writer {
    /// What is to be written.
    pub rebalances: mpsc::Receiver<Rebalance>,
    /// Who leads what.
    pub metadata: Arc<dyn MetadataSource>,
    /// Makes the topic.
    pub auto_create: AutoCreate,
    /// The way to the leaders.
    pub network: Arc<dyn Network>,
    /// The listener by which brokers reach one another.
    pub listener: String,
    /// For giving up.
    pub clock: Arc<dyn Clock>,
    /// To whom it has spoken before.
    pub connections: BTreeMap<NodeId, Connection>,
}

/// Why a try failed, for the log.
type Reason = String;

impl Writer {
    /// Writes until the last [`GroupHistory`] is gone.
    pub async fn run(mut self) {
        while let Some(rebalance) = self.rebalances.recv().await {
            if let Err(reason) = self.write(&rebalance).await {
                let group = &*rebalance.group;
                tracing::warn!(
                    group,
                    reason,
                    "a rebalance is not written into its group's history"
                );
            }
        }
    }

    async fn write(&mut self, rebalance: &Rebalance) -> Result<(), Reason> {
        let (key, value) = history::encode(rebalance).map_err(|error| error.to_string())?;
        let mut batch = BatchBuilder::new(Offset(0));
        let pushed = batch.push(rebalance.at, Some(&key), Some(&value), &[]);
        let batch = pushed.and_then(|()| batch.build()).map_err(|error| error.to_string())?;
        let give_up = self.clock.monotonic().plus(PATIENCE);
        loop {
            match self.try_write(&rebalance.group, &batch).await {
                Err(_) if self.clock.monotonic() < give_up => tokio::time::sleep(PAUSE).await,
                written => return written,
            }
        }
    }

    async fn try_write(&mut self, group: &str, batch: &Bytes) -> Result<(), Reason> {
        let topic = TopicName::new(GROUP_HISTORY);
        if self.metadata.image().topic(&topic).is_none() {
            self.auto_create.create(&[topic], &self.context(), TIMEOUT).await;
        }
        let image = self.metadata.image();
        let found = image.topic(GROUP_HISTORY).ok_or("the topic could not be created")?;
        let count = i32::try_from(found.partitions.len()).unwrap_or(i32::MAX);
        let partition = partition_of(group, count).ok_or("the topic has no partitions")?;
        let leader = found.partition(partition).and_then(|found| found.leader);
        let leader = leader.ok_or("its partition has no leader")?;
        let endpoint = endpoint(&image, leader, &self.listener).ok_or("its leader is away")?;
        let address = HostPort::new(&endpoint.host, endpoint.port);
        let written = self.produce(leader, &address, partition, batch).await;
        if written.is_err() {
            self.connections.remove(&leader);
        }
        written
    }

    async fn produce(
        &mut self,
        leader: NodeId,
        address: &HostPort,
        partition: PartitionId,
        batch: &Bytes,
    ) -> Result<(), Reason> {
        let connection = self.connection(leader, address).await?;
        // By name: the topic id came with version 13.
        let request = ProduceRequest {
            transactional_id: None,
            acks: -1,
            timeout_ms: i32::try_from(TIMEOUT.as_millis()).unwrap_or(i32::MAX),
            topic_data: vec![TopicProduceData {
                name: GROUP_HISTORY.into(),
                topic_id: uuid::Uuid::nil(),
                partition_data: vec![PartitionProduceData {
                    index: partition.0,
                    records: Some(batch.clone()),
                }],
            }],
        };
        let answer = connection.call_at(12, &request).await.map_err(|error| error.to_string())?;
        let answers = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
        match answers.map(|answer| answer.error_code).next() {
            Some(0) => Ok(()),
            Some(code) => Err(ErrorCode::from_code(code)
                .map_or_else(|| format!("error {code}"), |error| error.name().to_owned())),
            None => Err("the leader's answer does not name the partition".to_owned()),
        }
    }

    async fn connection(
        &mut self,
        leader: NodeId,
        address: &HostPort,
    ) -> Result<&Connection, Reason> {
        let usable =
            |connection: &Connection| !connection.is_closed() && connection.address() == address;
        if !self.connections.get(&leader).is_some_and(usable) {
            let options = ClientOptions {
                client_id: ADMIN_CLIENT.to_owned(),
                connect_timeout: TIMEOUT,
                request_timeout: TIMEOUT * 2,
                ..ClientOptions::default()
            };
            let connected = Connection::connect(&*self.network, address, options).await;
            self.connections.insert(leader, connected.map_err(|error| error.to_string())?);
        }
        self.connections.get(&leader).ok_or_else(|| "no connection".to_owned())
    }

    /// This broker asks for itself.
    fn context(&self) -> RequestContext {
        RequestContext {
            connection_id: 0,
            peer: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0),
            listener: self.listener.as_str().into(),
            principal: "User:ANONYMOUS".into(),
            client_id: Some(ADMIN_CLIENT.to_owned()),
            client_software: Arc::default(),
        }
    }
}
