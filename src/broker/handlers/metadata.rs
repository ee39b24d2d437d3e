//! Metadata (key 3), versions 0-13: brokers, the controller, topics with leaders, replicas, ISR.
//!
//! Only unfenced brokers are listed, each with the endpoint of the listener that was asked; where all
//! are fenced, this one is, unlike Kafka: librdkafka drops every broker that is not listed, and after
//! an empty list has none left to ask (seen with 2.12). The controller named is the active one if it is a listed broker, else any: every broker forwards.
//! A leader to which this broker has just lost its connection is given as LEADER_NOT_AVAILABLE until
//! the controller has decided about it, so that clients soon ask again.
//! A topic that does not exist is created if both the client and `auto.create.topics.enable` allow
//! it; unlike Kafka the answer then waits (at most a second) for the topic, so that a first
//! produce needs no second look.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::auto_create::AutoCreate;
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::broker::handlers::leaders::endpoint;
use crate::broker::handlers::operations::{CLUSTER_OPERATIONS, NOT_ASKED, TOPIC_OPERATIONS};
use crate::controller::Controller;
use crate::metadata::{BrokerRegistration, Image, MetadataSource, Partition, Topic};
use crate::protocol::codec::Str;
use crate::protocol::messages::metadata::{
    MetadataRequest, MetadataResponse, MetadataResponseBroker, MetadataResponsePartition,
    MetadataResponseTopic,
};
use crate::replication::Replicas;
use crate::types::{ErrorCode, NodeId, PartitionId, TopicId, TopicName};

/// See the module's documentation.
pub(crate) struct Metadata {
    /// This broker.
    pub node_id: NodeId,
    /// The committed image.
    pub metadata: Arc<dyn MetadataSource>,
    /// They know first when a leader dies.
    pub replicas: Arc<Replicas>,
    /// Who the active controller is.
    pub controller: Arc<Controller>,
    /// Creates topics that are asked for.
    pub auto_create: AutoCreate,
}

/// How long an answer waits for a topic that the request has created.
const CREATION_WAIT: Duration = Duration::from_secs(1);

impl Handler for Metadata {
    type Request = MetadataRequest;

    async fn handle(self: Arc<Self>, call: Call<MetadataRequest>) -> Outcome<MetadataResponse> {
        let missing = missing_topics(&self.metadata.image(), &call.request, call.version);
        if missing.is_empty() || !self.auto_create.is_enabled() {
            return Outcome::Now(self.answer(&call));
        }
        Outcome::later(async move {
            self.auto_create.create(&missing, &call.context, CREATION_WAIT).await;
            self.answer(&call)
        })
    }
}

impl Metadata {
    fn answer(&self, call: &Call<MetadataRequest>) -> MetadataResponse {
        let Call { context, version, request } = call;
        let image = self.metadata.image();
        let listener = &context.listener;
        let brokers = brokers(&image, listener, self.node_id);
        let active = self.controller.active_controller().map_or(-1, |node| node.0);
        let controller_id = match brokers.iter().any(|broker| broker.node_id == active) {
            true => active,
            false => brokers.first().map_or(-1, |broker| broker.node_id),
        };
        let view = View {
            image: &image,
            listener,
            is_suspect: &|broker| self.replicas.is_suspect(broker),
            operations: operations(request.include_topic_authorized_operations, TOPIC_OPERATIONS),
        };
        MetadataResponse {
            throttle_time_ms: 0,
            brokers,
            cluster_id: image.cluster_id.as_deref().map(Into::into),
            controller_id,
            topics: topics(&view, request, *version),
            cluster_authorized_operations: operations(
                request.include_cluster_authorized_operations,
                CLUSTER_OPERATIONS,
            ),
            error_code: ErrorCode::None.code(),
        }
    }
}

/// The brokers that an answer of broker `this` lists.
pub(crate) fn brokers(image: &Image, listener: &str, this: NodeId) -> Vec<MetadataResponseBroker> {
    let unfenced = listed(image, listener, |broker| !broker.fenced);
    if !unfenced.is_empty() {
        return unfenced;
    }
    listed(image, listener, |broker| broker.node_id == this)
}

/// The brokers that are `such`, with their endpoints of `listener`.
fn listed(
    image: &Image,
    listener: &str,
    such: impl Fn(&BrokerRegistration) -> bool,
) -> Vec<MetadataResponseBroker> {
    let brokers = image.brokers.values().filter(|broker| such(broker));
    let with_endpoint = brokers.filter_map(|broker| Some((broker, broker.endpoint(listener)?)));
    with_endpoint
        .map(|(broker, endpoint)| MetadataResponseBroker {
            node_id: broker.node_id.0,
            host: endpoint.host.as_str().into(),
            port: endpoint.port.into(),
            rack: broker.rack.as_deref().map(Into::into),
        })
        .collect()
}

/// Names that were asked for, may be created, and do not exist. A name that no topic can have is not
/// worth asking the controller, each time that a client refreshes its metadata.
fn missing_topics(image: &Image, request: &MetadataRequest, version: i16) -> Vec<TopicName> {
    let may_create = version < 4 || request.allow_auto_topic_creation;
    let asked = request.topics.iter().flatten();
    asked
        .filter_map(|topic| topic.name.as_ref())
        .filter(|name| may_create && why_missing(name) != ErrorCode::InvalidTopicException)
        .map(|name| TopicName::new(name))
        .filter(|name| image.topic(name).is_none())
        .collect()
}

fn operations(asked: bool, all: i32) -> i32 {
    if asked { all } else { NOT_ASKED }
}

/// What an answer is made from.
struct View<'a> {
    image: &'a Image,
    listener: &'a str,
    is_suspect: &'a dyn Fn(&BrokerRegistration) -> bool,
    operations: i32,
}

fn topics(view: &View<'_>, request: &MetadataRequest, version: i16) -> Vec<MetadataResponseTopic> {
    // Version 0 asks for all topics with an empty list, later ones with a null one.
    let asked = request.topics.as_deref().filter(|asked| version > 0 || !asked.is_empty());
    let Some(asked) = asked else {
        return view.image.topics.values().map(|topic| described(view, topic)).collect();
    };
    let found = asked.iter().map(|asked| match &asked.name {
        Some(name) => match view.image.topic(name) {
            Some(topic) => described(view, topic),
            None => missing(Some(name), TopicId::ZERO, why_missing(name)),
        },
        None => match view.image.topic_by_id(TopicId(asked.topic_id)) {
            Some(topic) => described(view, topic),
            None => missing(None, TopicId(asked.topic_id), ErrorCode::UnknownTopicId),
        },
    });
    found.collect()
}

fn why_missing(name: &str) -> ErrorCode {
    match crate::metadata::topic_name::validate(name) {
        Ok(()) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    }
}

fn missing(name: Option<&Str>, id: TopicId, error: ErrorCode) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: error.code(),
        name: name.cloned(),
        topic_id: id.0,
        topic_authorized_operations: NOT_ASKED,
        ..Default::default()
    }
}

fn described(view: &View<'_>, topic: &Topic) -> MetadataResponseTopic {
    MetadataResponseTopic {
        error_code: ErrorCode::None.code(),
        name: Some(topic.name.as_str().into()),
        topic_id: topic.id.0,
        is_internal: crate::metadata::topic_name::is_internal(&topic.name),
        partitions: topic.partitions.iter().map(|(id, p)| partition(view, *id, p)).collect(),
        topic_authorized_operations: view.operations,
    }
}

fn partition(view: &View<'_>, id: PartitionId, found: &Partition) -> MetadataResponsePartition {
    let reachable = |node: &NodeId| endpoint(view.image, *node, view.listener).is_some();
    let (error, leader) = match found.leader {
        Some(leader) if view.image.broker(leader).is_some_and(|it| (view.is_suspect)(it)) => {
            (ErrorCode::LeaderNotAvailable, NodeId::NONE)
        }
        Some(leader) if reachable(&leader) => (ErrorCode::None, leader),
        Some(leader) if view.image.broker(leader).is_some_and(|broker| !broker.fenced) => {
            (ErrorCode::ListenerNotFound, NodeId::NONE)
        }
        _ => (ErrorCode::LeaderNotAvailable, NodeId::NONE),
    };
    MetadataResponsePartition {
        error_code: error.code(),
        partition_index: id.0,
        leader_id: leader.0,
        leader_epoch: found.leader_epoch.0,
        replica_nodes: numbers(&found.replicas),
        isr_nodes: numbers(&found.isr),
        offline_replicas: offline(view.image, found, reachable),
    }
}

/// The replicas that cannot serve: their broker is not reachable, or their data directory offline.
pub(crate) fn offline(
    image: &Image,
    partition: &Partition,
    reachable: impl Fn(&NodeId) -> bool,
) -> Vec<i32> {
    let lost: Vec<NodeId> = image.offline_replicas(partition).collect();
    let replicas = partition.replicas.iter();
    replicas.filter(|node| !reachable(node) || lost.contains(node)).map(|node| node.0).collect()
}

/// Node ids as the wire has them.
pub(crate) fn numbers(nodes: &[NodeId]) -> Vec<i32> {
    nodes.iter().map(|node| node.0).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::protocol::messages::metadata::MetadataRequestTopic;

    #[test]
    fn only_what_can_be_a_topic_is_created_and_only_where_that_is_allowed() {
        let topic =
            |name: &str| MetadataRequestTopic { name: Some(name.into()), ..Default::default() };
        let request = |allow| MetadataRequest {
            topics: Some(["fine", "not/fine", "", ".."].map(topic).into()),
            allow_auto_topic_creation: allow,
            ..Default::default()
        };
        let image = Image::default();
        let fine = vec![TopicName::new("fine")];
        assert_eq!(missing_topics(&image, &request(true), 13), fine);
        assert_eq!(missing_topics(&image, &request(false), 13), []);
        assert_eq!(missing_topics(&image, &request(false), 3), fine, "older ones cannot say no");
    }
}
