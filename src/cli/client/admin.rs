//! What tools ask of topics and of the quorum. Any broker is asked: brokers forward to the
//! controller what is the controller's to decide.

use std::collections::BTreeMap;

use crate::cli::client::cluster::Cluster;
use crate::cli::client::description::{ConfigEntry, PartitionDescription, TopicDescription};
use crate::cli::client::error::ClientFailure;
use crate::cli::client::metadata::nodes;
use crate::net::transport::HostPort;
use crate::protocol::messages::create_partitions::{
    CreatePartitionsAssignment, CreatePartitionsRequest, CreatePartitionsTopic,
};
use crate::protocol::messages::create_topics::{
    CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig, CreateTopicsRequest,
};
use crate::protocol::messages::delete_topics::{DeleteTopicState, DeleteTopicsRequest};
use crate::protocol::messages::describe_cluster::DescribeClusterRequest;
use crate::protocol::messages::describe_configs::{
    DescribeConfigsRequest, DescribeConfigsResource,
};
use crate::protocol::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, PartitionRequest,
    TopicRequest as QuorumTopicRequest,
};
use crate::protocol::messages::describe_topic_partitions::{
    Cursor, DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, TopicRequest,
};
use crate::types::{LeaderEpoch, NodeId, PartitionId, TopicId, TopicName};

/// Kafka's number for topics among the resources that have configurations.
const TOPIC_RESOURCE: i8 = 2;
/// Kafka's number for "nobody set it" among the sources of a configuration.
const DEFAULT_SOURCE: i8 = 5;
/// Where the quorum's log is found by those who ask for it.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// Which kind of node is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endpoints {
    /// Brokers.
    Brokers,
    /// Controllers.
    Controllers,
}

impl Endpoints {
    /// Kafka's number.
    pub fn code(self) -> i8 {
        match self {
            Endpoints::Brokers => 1,
            Endpoints::Controllers => 2,
        }
    }
}

/// A topic to be created.
#[derive(Debug, Clone, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; `None` for the brokers' default.
    pub partitions: Option<i32>,
    /// How many replicas; `None` for the brokers' default.
    pub replication_factor: Option<i16>,
    /// The brokers of each partition; empty: the controller chooses.
    pub assignment: Vec<Vec<NodeId>>,
    /// Its configuration.
    pub configs: Vec<(String, String)>,
}

impl Cluster {
    /// Creates a topic.
    pub async fn create_topic(&self, topic: &NewTopic) -> Result<(), ClientFailure> {
        let is_assigned = !topic.assignment.is_empty();
        let request = CreateTopicsRequest {
            topics: vec![CreatableTopic {
                name: topic.name.as_str().into(),
                num_partitions: if is_assigned { -1 } else { topic.partitions.unwrap_or(-1) },
                replication_factor: topic.replication_factor.filter(|_| !is_assigned).unwrap_or(-1),
                assignments: topic
                    .assignment
                    .iter()
                    .zip(0..)
                    .map(|(brokers, partition_index)| CreatableReplicaAssignment {
                        partition_index,
                        broker_ids: ids(brokers),
                    })
                    .collect(),
                configs: topic
                    .configs
                    .iter()
                    .map(|(name, value)| CreatableTopicConfig {
                        name: name.as_str().into(),
                        value: Some(value.as_str().into()),
                    })
                    .collect(),
            }],
            timeout_ms: self.request_timeout_ms(),
            validate_only: false,
        };
        self.ask(&request, "the topic's creation", |response| {
            response.topics.iter().try_for_each(|topic| {
                ClientFailure::check(topic.error_code, topic.error_message.as_deref())
            })
        })
        .await
    }

    /// Deletes topics.
    pub async fn delete_topics(&self, topics: &[String]) -> Result<(), ClientFailure> {
        let request = DeleteTopicsRequest {
            topics: topics
                .iter()
                .map(|name| DeleteTopicState {
                    name: Some(name.as_str().into()),
                    ..Default::default()
                })
                .collect(),
            timeout_ms: self.request_timeout_ms(),
            ..Default::default()
        };
        self.ask(&request, "the topic's deletion", |response| {
            response.responses.iter().try_for_each(|topic| {
                ClientFailure::check(topic.error_code, topic.error_message.as_deref())
            })
        })
        .await
    }

    /// Lets a topic grow to `count` partitions. `assignment` gives the brokers of the new ones;
    /// empty: the controller chooses.
    pub async fn create_partitions(
        &self,
        topic: &str,
        count: i32,
        assignment: &[Vec<NodeId>],
    ) -> Result<(), ClientFailure> {
        let assignments = assignment
            .iter()
            .map(|brokers| CreatePartitionsAssignment { broker_ids: ids(brokers) })
            .collect::<Vec<_>>();
        let request = CreatePartitionsRequest {
            topics: vec![CreatePartitionsTopic {
                name: topic.into(),
                count,
                assignments: (!assignments.is_empty()).then_some(assignments),
            }],
            timeout_ms: self.request_timeout_ms(),
            validate_only: false,
        };
        self.ask(&request, "the new partitions", |response| {
            response.results.iter().try_for_each(|topic| {
                ClientFailure::check(topic.error_code, topic.error_message.as_deref())
            })
        })
        .await
    }

    /// All topics' names and ids, sorted by name.
    pub async fn list_topics(&self) -> Result<BTreeMap<TopicName, TopicId>, ClientFailure> {
        let metadata = self.retry("the list of topics", || self.refresh(None, false)).await?;
        Ok(metadata.topics.iter().map(|(name, topic)| (name.clone(), topic.id)).collect())
    }

    /// What is known of topics, sorted by name; `page_size` partitions are asked for at a time.
    pub async fn describe_topics(
        &self,
        topics: &[TopicName],
        page_size: i32,
    ) -> Result<Vec<TopicDescription>, ClientFailure> {
        if topics.is_empty() {
            return Ok(Vec::new());
        }
        let connection = self.any().await?;
        if connection.version_of::<DescribeTopicPartitionsRequest>().is_err() {
            return self.describe_topics_by_metadata(topics).await;
        }
        let mut found: BTreeMap<String, TopicDescription> = BTreeMap::new();
        let mut cursor: Option<Cursor> = None;
        loop {
            let request = DescribeTopicPartitionsRequest {
                topics: topics
                    .iter()
                    .map(|topic| TopicRequest { name: topic.as_str().into() })
                    .collect(),
                response_partition_limit: page_size,
                cursor: cursor.clone(),
            };
            let page: DescribeTopicPartitionsResponse =
                self.ask(&request, "the topics' description", Ok).await?;
            add_page(&mut found, &page)?;
            let Some(next) = page.next_cursor else { break };
            let next =
                Cursor { topic_name: next.topic_name, partition_index: next.partition_index };
            if Some(&next) == cursor.as_ref() {
                return Err(ClientFailure::Unsupported("a description in pages"));
            }
            cursor = Some(next);
        }
        Ok(found.into_values().collect())
    }

    async fn describe_topics_by_metadata(
        &self,
        topics: &[TopicName],
    ) -> Result<Vec<TopicDescription>, ClientFailure> {
        let metadata =
            self.retry("the topics' description", || self.refresh(Some(topics), false)).await?;
        let mut found = Vec::new();
        for (name, topic) in metadata.topics.iter().filter(|(name, _)| topics.contains(name)) {
            if let Some(code) = topic.error {
                return Err(ClientFailure::Refused { code, message: None });
            }
            let partitions =
                topic.partitions.iter().map(|(&partition, known)| PartitionDescription {
                    partition,
                    leader: known.leader,
                    leader_epoch: known.leader_epoch,
                    replicas: known.replicas.clone(),
                    isr: known.isr.clone(),
                    elr: None,
                    last_known_elr: None,
                });
            found.push(TopicDescription {
                name: name.as_str().to_owned(),
                topic_id: topic.id,
                partitions: partitions.collect(),
            });
        }
        Ok(found)
    }

    /// The configurations of topics.
    pub async fn describe_topic_configs(
        &self,
        topics: &[TopicName],
    ) -> Result<BTreeMap<String, Vec<ConfigEntry>>, ClientFailure> {
        if topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        let request = DescribeConfigsRequest {
            resources: topics
                .iter()
                .map(|topic| DescribeConfigsResource {
                    resource_type: TOPIC_RESOURCE,
                    resource_name: topic.as_str().into(),
                    configuration_keys: None,
                })
                .collect(),
            ..Default::default()
        };
        self.ask(&request, "the topics' configurations", |response| {
            let mut found = BTreeMap::new();
            for result in &response.results {
                ClientFailure::check(result.error_code, result.error_message.as_deref())?;
                let entries = result.configs.iter().map(|config| ConfigEntry {
                    name: config.name.to_string(),
                    value: config.value.as_deref().map(str::to_owned),
                    is_default: config.config_source == DEFAULT_SOURCE,
                });
                found.insert(result.resource_name.to_string(), entries.collect());
            }
            Ok(found)
        })
        .await
    }

    /// The cluster's id, from brokers or controllers.
    pub async fn cluster_id(&self, of: Endpoints) -> Result<String, ClientFailure> {
        let request = DescribeClusterRequest { endpoint_type: of.code(), ..Default::default() };
        self.ask(&request, "the cluster's description", |response| {
            ClientFailure::check(response.error_code, response.error_message.as_deref())?;
            Ok(response.cluster_id.to_string())
        })
        .await
    }

    /// The nodes of the kind that is asked, and where they are reached.
    pub async fn nodes(&self) -> Result<BTreeMap<NodeId, HostPort>, ClientFailure> {
        match self.options().endpoints {
            Endpoints::Brokers => self.live_brokers().await,
            Endpoints::Controllers => {
                let endpoint_type = Endpoints::Controllers.code();
                let request = DescribeClusterRequest { endpoint_type, ..Default::default() };
                self.ask(&request, "the controllers", |response| {
                    ClientFailure::check(response.error_code, response.error_message.as_deref())?;
                    let nodes = response.brokers.iter().filter_map(|node| {
                        let port = u16::try_from(node.port).ok()?;
                        Some((NodeId(node.broker_id), HostPort::new(&*node.host, port)))
                    });
                    Ok(nodes.collect())
                })
                .await
            }
        }
    }

    /// The metadata quorum's state.
    pub async fn describe_quorum(&self) -> Result<DescribeQuorumResponse, ClientFailure> {
        let request = DescribeQuorumRequest {
            topics: vec![QuorumTopicRequest {
                topic_name: METADATA_TOPIC.into(),
                partitions: vec![PartitionRequest { partition_index: 0 }],
            }],
        };
        self.ask(&request, "the quorum's description", |response| {
            ClientFailure::check(response.error_code, response.error_message.as_deref())?;
            for partition in response.topics.iter().flat_map(|topic| &topic.partitions) {
                ClientFailure::check(partition.error_code, partition.error_message.as_deref())?;
            }
            Ok(response)
        })
        .await
    }

    pub(super) fn request_timeout_ms(&self) -> i32 {
        i32::try_from(self.options().request_timeout.as_millis()).unwrap_or(i32::MAX)
    }
}

/// Adds a page of a description; a topic's partitions may lie on several.
fn add_page(
    found: &mut BTreeMap<String, TopicDescription>,
    page: &DescribeTopicPartitionsResponse,
) -> Result<(), ClientFailure> {
    for topic in &page.topics {
        let name = topic.name.as_deref().unwrap_or_default().to_owned();
        ClientFailure::check(topic.error_code, None)?;
        let entry = found.entry(name.clone()).or_insert_with(|| TopicDescription {
            name,
            topic_id: TopicId(topic.topic_id),
            partitions: Vec::new(),
        });
        entry.partitions.extend(topic.partitions.iter().map(|partition| PartitionDescription {
            partition: PartitionId(partition.partition_index),
            leader: (partition.leader_id >= 0).then_some(NodeId(partition.leader_id)),
            leader_epoch: LeaderEpoch(partition.leader_epoch),
            replicas: nodes(&partition.replica_nodes),
            isr: nodes(&partition.isr_nodes),
            // Kafka's brokers send null where they mean none.
            elr: Some(nodes(partition.eligible_leader_replicas.as_deref().unwrap_or_default())),
            last_known_elr: Some(nodes(partition.last_known_elr.as_deref().unwrap_or_default())),
        }));
        entry.partitions.sort_by_key(|partition| partition.partition);
    }
    Ok(())
}

fn ids(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}
