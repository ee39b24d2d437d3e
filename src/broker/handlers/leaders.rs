//! Who leads what and where it is reached, as responses tell clients whose metadata is old
//! (KIP-951): Produce from version 10, Fetch from version 16.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::metadata::{Endpoint, Image, MetadataSource};
use crate::protocol::messages::{fetch, produce};
use crate::types::{ErrorCode, NodeId, PartitionId, TopicId};

/// Looks leaders up in the metadata.
#[derive(Clone)]
pub(crate) struct Leaders {
    /// The committed image.
    pub metadata: Arc<dyn MetadataSource>,
}

/// The endpoint of an unfenced broker that belongs to the listener on which the client asked.
pub(crate) fn endpoint<'a>(image: &'a Image, node: NodeId, listener: &str) -> Option<&'a Endpoint> {
    image.broker(node).filter(|broker| !broker.fenced)?.endpoint(listener)
}

/// Whether a client should look elsewhere.
fn has_moved(error_code: i16) -> bool {
    error_code == ErrorCode::NotLeaderOrFollower.code()
        || error_code == ErrorCode::FencedLeaderEpoch.code()
}

impl Leaders {
    /// Adds the present leaders to the partitions that have moved.
    pub fn complete_produce(
        &self,
        response: &mut produce::ProduceResponse,
        version: i16,
        listener: &str,
    ) {
        if version < 10 {
            return;
        }
        let image = self.metadata.image();
        let mut nodes = BTreeMap::new();
        for topic in &mut response.responses {
            let found = match version {
                13.. => image.topic_by_id(TopicId(topic.topic_id)),
                _ => image.topic(&topic.name),
            };
            let Some(found) = found else { continue };
            for answer in topic.partition_responses.iter_mut().filter(|a| has_moved(a.error_code)) {
                let Some(partition) = found.partitions.get(&PartitionId(answer.index)) else {
                    continue;
                };
                let leader = partition.leader.unwrap_or(NodeId::NONE);
                answer.current_leader.leader_id = leader.0;
                answer.current_leader.leader_epoch = partition.leader_epoch.0;
                nodes.extend(endpoint(&image, leader, listener).map(|found| (leader, found)));
            }
        }
        response.node_endpoints = nodes
            .into_iter()
            .map(|(node, endpoint)| produce::NodeEndpoint {
                node_id: node.0,
                host: endpoint.host.as_str().into(),
                port: endpoint.port.into(),
                rack: rack(&image, node),
            })
            .collect();
    }

    /// The endpoints of the leaders that the fetch response names.
    pub fn complete_fetch(
        &self,
        response: &mut fetch::FetchResponse,
        version: i16,
        listener: &str,
    ) {
        if version < 16 {
            return;
        }
        let image = self.metadata.image();
        let mut nodes = BTreeMap::new();
        for topic in &response.responses {
            for answer in topic.partitions.iter().filter(|answer| has_moved(answer.error_code)) {
                let leader = NodeId(answer.current_leader.leader_id);
                nodes.extend(endpoint(&image, leader, listener).map(|found| (leader, found)));
            }
        }
        response.node_endpoints = nodes
            .into_iter()
            .map(|(node, endpoint)| fetch::NodeEndpoint {
                node_id: node.0,
                host: endpoint.host.as_str().into(),
                port: endpoint.port.into(),
                rack: rack(&image, node),
            })
            .collect();
    }
}

fn rack(image: &Image, node: NodeId) -> Option<crate::protocol::codec::Str> {
    image.broker(node)?.rack.as_deref().map(Into::into)
}
