//! A Kafka client as small as the workloads need it, on a machine of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla::net::HostPort;
use ottla::net::client::{ClientError, ClientOptions, Connection};
use ottla::protocol::Request;
use ottla::protocol::messages::metadata::{
    MetadataRequest, MetadataRequestTopic, MetadataResponseTopic,
};
use ottla::types::Random;
use uuid::Uuid;

use crate::world::network::SimNetwork;

/// Another broker is asked for metadata then.
const METADATA_PATIENCE: Duration = Duration::from_millis(300);

/// Connections to brokers, and what they said of topics.
pub struct Client {
    network: SimNetwork,
    random: Arc<dyn Random>,
    bootstrap: Vec<HostPort>,
    connections: BTreeMap<HostPort, Connection>,
    brokers: BTreeMap<i32, HostPort>,
    topics: BTreeMap<String, MetadataResponseTopic>,
    options: ClientOptions,
}

impl Client {
    /// One that knows the brokers `1..=nodes` by name.
    pub fn new(name: &str, nodes: i32, network: SimNetwork, random: Arc<dyn Random>) -> Client {
        Client {
            network,
            random,
            bootstrap: (1..=nodes).map(|id| HostPort::new(format!("n{id}"), 9092)).collect(),
            connections: BTreeMap::new(),
            brokers: BTreeMap::new(),
            topics: BTreeMap::new(),
            options: ClientOptions {
                client_id: name.to_owned(),
                connect_timeout: Duration::from_millis(500),
                request_timeout: Duration::from_secs(2),
                ..ClientOptions::default()
            },
        }
    }

    /// Asks the broker there.
    pub async fn ask<R: Request>(
        &mut self,
        address: &HostPort,
        request: &R,
    ) -> Result<R::Response, ClientError> {
        let result = match self.connect(address).await {
            Ok(connection) => connection.call(request).await,
            Err(error) => Err(error),
        };
        if result.is_err() {
            self.hang_up(address);
        }
        result
    }

    /// The connection to the broker there.
    pub async fn connect(&mut self, address: &HostPort) -> Result<&Connection, ClientError> {
        if self.connections.get(address).is_none_or(Connection::is_closed) {
            let options = self.options.clone();
            let connection = Connection::connect(&self.network, address, options).await?;
            self.connections.insert(address.clone(), connection);
        }
        Ok(&self.connections[address])
    }

    /// The connection to the broker there is of no use any more.
    pub fn hang_up(&mut self, address: &HostPort) {
        self.connections.remove(address);
    }

    /// Any broker's address; another one each time.
    pub fn any(&self) -> HostPort {
        let place = self.random.below(self.bootstrap.len() as u64);
        self.bootstrap[usize::try_from(place).unwrap_or(0)].clone()
    }

    /// The topic's id and where `partition` of it is led, if that is known or can be found out at
    /// the first attempt.
    pub async fn leader(&mut self, topic: &str, partition: i32) -> Option<(Uuid, HostPort)> {
        if !self.topics.contains_key(topic) {
            self.refresh(topic).await;
        }
        let known = self.topics.get(topic)?;
        let found = known.partitions.iter().find(|found| found.partition_index == partition)?;
        let address = self.brokers.get(&found.leader_id).cloned();
        let id = known.topic_id;
        if address.is_none() {
            self.forget(topic);
        }
        Some((id, address?))
    }

    /// What is known of the topic is not true any more.
    pub fn forget(&mut self, topic: &str) {
        self.topics.remove(topic);
    }

    async fn refresh(&mut self, topic: &str) {
        let wanted = MetadataRequestTopic { name: Some(topic.into()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(vec![wanted]),
            allow_auto_topic_creation: false,
            ..Default::default()
        };
        let address = self.any();
        let asking = tokio::time::timeout(METADATA_PATIENCE, self.ask(&address, &request)).await;
        let Ok(Ok(answer)) = asking else {
            self.hang_up(&address);
            return;
        };
        for broker in answer.brokers {
            let port = u16::try_from(broker.port).unwrap_or_default();
            self.brokers.insert(broker.node_id, HostPort::new(broker.host.to_string(), port));
        }
        for found in answer.topics {
            if found.error_code == 0 {
                self.topics.insert(topic.to_owned(), found);
            }
        }
    }
}
