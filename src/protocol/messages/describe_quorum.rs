//! DescribeQuorum (key 55), versions 0-2 (KIP-595, KIP-836, KIP-853).

use uuid::Uuid;

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Asks for the state of a quorum.
    pub request DescribeQuorumRequest: ApiKey::DescribeQuorum, (0..=2, flexible 0) => DescribeQuorumResponse {
        topics: Vec<TopicRequest> [0..];
    }

    /// A topic that has quorums.
    pub struct TopicRequest {
        topic_name: Str [0..];
        partitions: Vec<PartitionRequest> [0..];
    }

    /// One of its partitions.
    pub struct PartitionRequest {
        partition_index: i32 [0..];
    }

    /// The state of the quorums.
    pub message DescribeQuorumResponse (flexible 0) {
        error_code: i16 [0..];
        error_message: Option<Str> [2..; ignorable];
        topics: Vec<TopicData> [0..];
        nodes: Vec<Node> [2..; ignorable];
    }

    /// One topic's quorums.
    pub struct TopicData {
        topic_name: Str [0..];
        partitions: Vec<PartitionData> [0..];
    }

    /// One partition's quorum.
    pub struct PartitionData {
        partition_index: i32 [0..];
        error_code: i16 [0..];
        error_message: Option<Str> [2..; ignorable];
        leader_id: i32 [0..];
        leader_epoch: i32 [0..];
        high_watermark: i64 [0..];
        current_voters: Vec<ReplicaState> [0..];
        observers: Vec<ReplicaState> [0..];
    }

    /// How far one member is.
    pub struct ReplicaState {
        replica_id: i32 [0..];
        replica_directory_id: Uuid [2..; ignorable];
        log_end_offset: i64 [0..];
        last_fetch_timestamp: i64 [1..; ignorable] = -1;
        last_caught_up_timestamp: i64 [1..; ignorable] = -1;
    }

    /// A voter and where it is reached.
    pub struct Node {
        node_id: i32 [2..];
        listeners: Vec<Listener> [2..];
    }

    /// One listener of a voter.
    pub struct Listener {
        name: Str [2..];
        host: Str [2..];
        port: u16 [2..];
    }
}
