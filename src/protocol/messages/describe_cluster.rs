//! DescribeCluster (key 60), versions 0-2 (KIP-700, KIP-919, KIP-1073).

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Asks for the nodes of the cluster.
    pub request DescribeClusterRequest: ApiKey::DescribeCluster, (0..=2, flexible 0) => DescribeClusterResponse {
        include_cluster_authorized_operations: bool [0..];
        /// 1: brokers, 2: controllers.
        endpoint_type: i8 [1..] = 1;
        include_fenced_brokers: bool [2..];
    }

    /// The nodes.
    pub message DescribeClusterResponse (flexible 0) {
        throttle_time_ms: i32 [0..];
        error_code: i16 [0..];
        error_message: Option<Str> [0..];
        endpoint_type: i8 [1..] = 1;
        cluster_id: Str [0..];
        controller_id: i32 [0..] = -1;
        brokers: Vec<DescribeClusterBroker> [0..];
        cluster_authorized_operations: i32 [0..] = i32::MIN;
    }

    /// One node.
    pub struct DescribeClusterBroker {
        broker_id: i32 [0..];
        host: Str [0..];
        port: i32 [0..];
        rack: Option<Str> [0..];
        is_fenced: bool [2..; ignorable];
    }
}
