//! DescribeQuorum (key 55), versions 0-2 (KIP-595, KIP-853): the openraft group of the metadata, in
//! Kafka's words: its term is the leader epoch, a learner is an observer, a log id's index is an
//! offset.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::controller::{Controller, QuorumInfo, QuorumMember};
use crate::protocol::messages::describe_quorum::{
    DescribeQuorumRequest, DescribeQuorumResponse, Listener, Node, PartitionData, ReplicaState,
    TopicData,
};
use crate::types::{Clock, ErrorCode, NodeId};

/// The only topic that has a quorum.
const METADATA_TOPIC: &str = "__cluster_metadata";

/// How long the leader is waited for.
const LEADER_PATIENCE: Duration = Duration::from_secs(2);

/// See the module's documentation.
pub(crate) struct DescribeQuorum {
    /// The quorum.
    pub controller: Arc<Controller>,
    /// For the deadline.
    pub clock: Arc<dyn Clock>,
    /// The name of the controller listener.
    pub controller_listener: String,
}

impl Handler for DescribeQuorum {
    type Request = DescribeQuorumRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<DescribeQuorumRequest>,
    ) -> Outcome<DescribeQuorumResponse> {
        Outcome::later(async move {
            let deadline = self.clock.monotonic().plus(LEADER_PATIENCE);
            // Only the leader knows how far the others are; without one this node says what it sees.
            let quorum = match self.controller.describe_quorum(deadline).await {
                Ok(quorum) => quorum,
                Err(_) => self.controller.quorum(),
            };
            self.response(&call.request, &quorum)
        })
    }
}

impl DescribeQuorum {
    fn response(
        &self,
        request: &DescribeQuorumRequest,
        quorum: &QuorumInfo,
    ) -> DescribeQuorumResponse {
        let topics = request.topics.iter().map(|topic| {
            let partitions = topic.partitions.iter().map(|asked| {
                let is_quorum = &*topic.topic_name == METADATA_TOPIC && asked.partition_index == 0;
                if !is_quorum {
                    return PartitionData {
                        partition_index: asked.partition_index,
                        error_code: ErrorCode::UnknownTopicOrPartition.code(),
                        ..Default::default()
                    };
                }
                PartitionData {
                    partition_index: 0,
                    error_code: ErrorCode::None.code(),
                    leader_id: quorum.leader.unwrap_or(NodeId::NONE).0,
                    leader_epoch: i32::try_from(quorum.epoch).unwrap_or(i32::MAX),
                    high_watermark: quorum.high_watermark.0,
                    current_voters: quorum.voters.iter().map(replica).collect(),
                    observers: quorum.observers.iter().map(replica).collect(),
                    ..Default::default()
                }
            });
            TopicData { topic_name: topic.topic_name.clone(), partitions: partitions.collect() }
        });
        let nodes = quorum.voters.iter().map(|voter| Node {
            node_id: voter.node_id.0,
            listeners: vec![Listener {
                name: self.controller_listener.as_str().into(),
                host: voter.host.as_str().into(),
                port: voter.port,
            }],
        });
        DescribeQuorumResponse {
            error_code: ErrorCode::None.code(),
            topics: topics.collect(),
            nodes: nodes.collect(),
            ..Default::default()
        }
    }
}

fn replica(found: &QuorumMember) -> ReplicaState {
    ReplicaState {
        replica_id: found.node_id.0,
        replica_directory_id: found.directory_id.0,
        log_end_offset: found.log_end.0,
        last_fetch_timestamp: found.last_fetch.0,
        last_caught_up_timestamp: found.last_caught_up.0,
    }
}
