//! Fetch (key 1), versions 4-18: reads record batches, for consumers and followers.

use bytes::Bytes;
use uuid::Uuid;

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Reads record batches from partitions.
    pub request FetchRequest: ApiKey::Fetch, (4..=18, flexible 12) => FetchResponse {
        cluster_id: Option<Str> [12.., tag 0; ignorable];
        /// The follower that fetches; -1 for a consumer.
        replica_id: i32 [0..=14] = -1;
        /// The follower that fetches, with its broker epoch (KIP-903).
        replica_state: ReplicaState [15.., tag 1];
        /// How long to wait for `min_bytes`.
        max_wait_ms: i32 [0..];
        min_bytes: i32 [0..];
        max_bytes: i32 [3..; ignorable] = i32::MAX;
        /// 0: read uncommitted, 1: read committed.
        isolation_level: i8 [4..];
        /// The fetch session (KIP-227).
        session_id: i32 [7..; ignorable];
        session_epoch: i32 [7..; ignorable] = -1;
        topics: Vec<FetchTopic> [0..];
        /// What the session is to forget.
        forgotten_topics_data: Vec<ForgottenTopic> [7..];
        rack_id: Str [11..; ignorable];
    }

    /// The follower that fetches.
    pub struct ReplicaState {
        replica_id: i32 [15..] = -1;
        replica_epoch: i64 [15..] = -1;
    }

    /// One topic to read.
    pub struct FetchTopic {
        topic: Str [0..=12; ignorable];
        topic_id: Uuid [13..; ignorable];
        partitions: Vec<FetchPartition> [0..];
    }

    /// One partition to read.
    pub struct FetchPartition {
        partition: i32 [0..];
        /// What the reader takes the leader epoch to be; -1: not checked.
        current_leader_epoch: i32 [9..; ignorable] = -1;
        fetch_offset: i64 [0..];
        /// The epoch of the last record that the reader has; -1: not checked for divergence.
        last_fetched_epoch: i32 [12..] = -1;
        /// The follower's log start offset.
        log_start_offset: i64 [5..; ignorable] = -1;
        partition_max_bytes: i32 [0..];
        /// The follower's data directory (KIP-858).
        replica_directory_id: Uuid [17.., tag 0; ignorable];
        /// The follower's high watermark (KIP-1166).
        high_watermark: i64 [18.., tag 1; ignorable] = i64::MAX;
    }

    /// Partitions that the session is to forget.
    pub struct ForgottenTopic {
        topic: Str [7..=12; ignorable];
        topic_id: Uuid [13..; ignorable];
        partitions: Vec<i32> [7..];
    }

    /// What was read.
    pub message FetchResponse (flexible 12) {
        throttle_time_ms: i32 [1..; ignorable];
        error_code: i16 [7..; ignorable];
        session_id: i32 [7..];
        responses: Vec<FetchableTopicResponse> [0..];
        /// Where the leaders are that `current_leader` names (KIP-951).
        node_endpoints: Vec<NodeEndpoint> [16.., tag 0; ignorable];
    }

    /// One topic's records.
    pub struct FetchableTopicResponse {
        topic: Str [0..=12; ignorable];
        topic_id: Uuid [13..; ignorable];
        partitions: Vec<PartitionData> [0..];
    }

    /// One partition's records.
    pub struct PartitionData {
        partition_index: i32 [0..];
        error_code: i16 [0..];
        high_watermark: i64 [0..];
        last_stable_offset: i64 [4..; ignorable] = -1;
        log_start_offset: i64 [5..; ignorable] = -1;
        /// Where the reader's log parts from the leader's (rule 5).
        diverging_epoch: EpochEndOffset [12.., tag 0; ignorable];
        current_leader: LeaderIdAndEpoch [12.., tag 1; ignorable];
        snapshot_id: SnapshotId [12.., tag 2; ignorable];
        aborted_transactions: Option<Vec<AbortedTransaction>> [4..; ignorable];
        preferred_read_replica: i32 [11..; ignorable] = -1;
        /// Record batches. Empty unless set, so that no answer of ours says null: librdkafka refuses
        /// that.
        records: Option<Bytes> [0..] = Some(Bytes::new());
    }

    /// An epoch and where it ends.
    pub struct EpochEndOffset {
        epoch: i32 [12..] = -1;
        end_offset: i64 [12..] = -1;
    }

    /// A leader and its epoch.
    pub struct LeaderIdAndEpoch {
        leader_id: i32 [12..] = -1;
        leader_epoch: i32 [12..] = -1;
    }

    /// A snapshot to fetch instead.
    pub struct SnapshotId {
        end_offset: i64 [0..] = -1;
        epoch: i32 [0..] = -1;
    }

    /// A transaction in the range that was aborted.
    pub struct AbortedTransaction {
        producer_id: i64 [4..];
        first_offset: i64 [4..];
    }

    /// Where a broker is.
    pub struct NodeEndpoint {
        node_id: i32 [16..];
        host: Str [16..];
        port: i32 [16..];
        rack: Option<Str> [16..];
    }
}
