//! Produce (key 0), versions 3-13: appends record batches.

use bytes::Bytes;
use uuid::Uuid;

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Appends record batches to partitions.
    pub request ProduceRequest: ApiKey::Produce, (3..=13, flexible 9) => ProduceResponse {
        /// The transaction's owner, if the batches belong to a transaction.
        transactional_id: Option<Str> [3..];
        /// Who must have the records before the answer: 0 nobody, 1 the leader, -1 the whole ISR.
        acks: i16 [0..];
        /// How long to wait for the ISR.
        timeout_ms: i32 [0..];
        topic_data: Vec<TopicProduceData> [0..];
    }

    /// One topic's batches.
    pub struct TopicProduceData {
        name: Str [0..=12; ignorable];
        topic_id: Uuid [13..; ignorable];
        partition_data: Vec<PartitionProduceData> [0..];
    }

    /// One partition's batches.
    pub struct PartitionProduceData {
        index: i32 [0..];
        /// Record batches, a slice of the frame.
        records: Option<Bytes> [0..];
    }

    /// What became of each partition's batches.
    pub message ProduceResponse (flexible 9) {
        responses: Vec<TopicProduceResponse> [0..];
        throttle_time_ms: i32 [1..; ignorable];
        /// Where the leaders are that `current_leader` names (KIP-951).
        node_endpoints: Vec<NodeEndpoint> [10.., tag 0; ignorable];
    }

    /// One topic's results.
    pub struct TopicProduceResponse {
        name: Str [0..=12; ignorable];
        topic_id: Uuid [13..; ignorable];
        partition_responses: Vec<PartitionProduceResponse> [0..];
    }

    /// One partition's result.
    pub struct PartitionProduceResponse {
        index: i32 [0..];
        error_code: i16 [0..];
        /// The first record's offset.
        base_offset: i64 [0..];
        /// The broker's time, if it stamps the records itself; else -1.
        log_append_time_ms: i64 [2..; ignorable] = -1;
        log_start_offset: i64 [5..; ignorable] = -1;
        /// The records that were refused (KIP-467).
        record_errors: Vec<BatchIndexAndErrorMessage> [8..; ignorable];
        error_message: Option<Str> [8..; ignorable];
        /// Who leads now, if it is not this broker (KIP-951).
        current_leader: LeaderIdAndEpoch [10.., tag 0; ignorable];
    }

    /// A record that was refused.
    pub struct BatchIndexAndErrorMessage {
        batch_index: i32 [8..];
        batch_index_error_message: Option<Str> [8..];
    }

    /// A leader and its epoch.
    pub struct LeaderIdAndEpoch {
        leader_id: i32 [10..] = -1;
        leader_epoch: i32 [10..] = -1;
    }

    /// Where a broker is.
    pub struct NodeEndpoint {
        node_id: i32 [10..];
        host: Str [10..];
        port: i32 [10..];
        rack: Option<Str> [10..];
    }
}
