//! Metadata (key 3), versions 0-13: brokers, topics, leaders.

use uuid::Uuid;

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Asks for brokers and topics.
    pub request MetadataRequest: ApiKey::Metadata, (0..=13, flexible 9) => MetadataResponse {
        /// Which topics; null (in version 0: none) means all.
        topics: Option<Vec<MetadataRequestTopic>> [0.., nullable 1..];
        allow_auto_topic_creation: bool [4..; ignorable] = true;
        include_cluster_authorized_operations: bool [8..=10];
        include_topic_authorized_operations: bool [8..];
    }

    /// A topic by id or by name.
    pub struct MetadataRequestTopic {
        topic_id: Uuid [10..; ignorable];
        name: Option<Str> [0.., nullable 10..];
    }

    /// Brokers and topics.
    pub message MetadataResponse (flexible 9) {
        throttle_time_ms: i32 [3..; ignorable];
        brokers: Vec<MetadataResponseBroker> [0..];
        cluster_id: Option<Str> [2..; ignorable];
        controller_id: i32 [1..; ignorable] = -1;
        topics: Vec<MetadataResponseTopic> [0..];
        /// A bit set; `i32::MIN` if it was not asked for.
        cluster_authorized_operations: i32 [8..=10; ignorable] = i32::MIN;
        error_code: i16 [13..; ignorable];
    }

    /// A broker.
    pub struct MetadataResponseBroker {
        node_id: i32 [0..];
        host: Str [0..];
        port: i32 [0..];
        rack: Option<Str> [1..; ignorable];
    }

    /// A topic.
    pub struct MetadataResponseTopic {
        error_code: i16 [0..];
        name: Option<Str> [0.., nullable 12..];
        topic_id: Uuid [10..; ignorable];
        is_internal: bool [1..; ignorable];
        partitions: Vec<MetadataResponsePartition> [0..];
        /// A bit set; `i32::MIN` if it was not asked for.
        topic_authorized_operations: i32 [8..; ignorable] = i32::MIN;
    }

    /// A partition.
    pub struct MetadataResponsePartition {
        error_code: i16 [0..];
        partition_index: i32 [0..];
        leader_id: i32 [0..];
        leader_epoch: i32 [7..; ignorable] = -1;
        replica_nodes: Vec<i32> [0..];
        isr_nodes: Vec<i32> [0..];
        offline_replicas: Vec<i32> [5..; ignorable];
    }
}
