//! The values of `__consumer_offsets` as Kafka 4.3 writes them, field by field. The keys, and how a
//! record is read and written, are in `crate::coordinator::group::encoding`.

use bytes::Bytes;
use uuid::Uuid;

use crate::message;
use crate::protocol::codec::Str;

message! {
    /// Keys 0 and 1: what was committed for a partition. Versions 0-4; 4 is written, or 1 where the
    /// request said when the offset expires.
    pub message OffsetCommitValue (flexible 4) {
        offset: i64 [0..];
        leader_epoch: i32 [3..; ignorable] = -1;
        metadata: Str [0..];
        commit_timestamp: i64 [0..];
        /// When it expires whatever the broker's retention is; -1: not said.
        expire_timestamp: i64 [1..=1; ignorable] = -1;
        /// Nil: not known, as in all versions before 4.
        topic_id: Uuid [4.., tag 0; ignorable];
    }

    /// Key 2: a classic group. Versions 0-4; 3 is written.
    pub message GroupMetadataValue (flexible 4) {
        protocol_type: Str [0..];
        generation: i32 [0..];
        protocol: Option<Str> [0..];
        leader: Option<Str> [0..];
        current_state_timestamp: i64 [2..; ignorable] = -1;
        members: Vec<StoredMember> [0..];
    }

    /// A member of a classic group.
    pub struct StoredMember {
        member_id: Str [0..];
        group_instance_id: Option<Str> [3..; ignorable];
        client_id: Str [0..];
        client_host: Str [0..];
        rebalance_timeout: i32 [1..; ignorable];
        session_timeout: i32 [0..];
        subscription: Bytes [0..];
        assignment: Bytes [0..];
    }

    /// Key 3: a group of the consumer protocol.
    pub message ConsumerGroupMetadataValue (flexible 0) {
        epoch: i32 [0..];
        /// A hash of the metadata of the topics that the group subscribes to.
        metadata_hash: i64 [0.., tag 0];
    }

    /// Key 5: what a member said about itself.
    pub message ConsumerGroupMemberMetadataValue (flexible 0) {
        instance_id: Option<Str> [0..];
        rack_id: Option<Str> [0..];
        client_id: Str [0..];
        client_host: Str [0..];
        subscribed_topic_names: Vec<Str> [0..];
        subscribed_topic_regex: Option<Str> [0..];
        rebalance_timeout_ms: i32 [0..] = -1;
        server_assignor: Option<Str> [0..];
        /// Of a member that speaks the classic protocol.
        classic_member_metadata: Option<ClassicMemberMetadata> [0.., tag 0];
    }

    /// What is kept of a classic member in a group of the consumer protocol.
    pub struct ClassicMemberMetadata {
        session_timeout_ms: i32 [0..];
        supported_protocols: Vec<ClassicProtocol> [0..];
    }

    /// An assignor of a classic member, with its opaque metadata.
    pub struct ClassicProtocol {
        name: Str [0..];
        metadata: Bytes [0..];
    }

    /// Key 6: which group epoch the target assignment belongs to.
    pub message ConsumerGroupTargetAssignmentMetadataValue (flexible 0) {
        assignment_epoch: i32 [0..];
        /// When it was computed (KIP-1263); 0: not said.
        assignment_timestamp: i64 [0.., tag 0; ignorable];
    }

    /// Key 7: what a member shall own in the end.
    pub message ConsumerGroupTargetAssignmentMemberValue (flexible 0) {
        topic_partitions: Vec<StoredTopicPartitions> [0..];
    }

    /// Partitions of one topic.
    pub struct StoredTopicPartitions {
        topic_id: Uuid [0..];
        partitions: Vec<i32> [0..];
        /// In current assignments: since which epoch the member has each of `partitions` (KIP-1251).
        assignment_epochs: Option<Vec<i32>> [0.., tag 0];
    }

    /// Key 8: what a member owns now.
    pub message ConsumerGroupCurrentMemberAssignmentValue (flexible 0) {
        member_epoch: i32 [0..];
        previous_member_epoch: i32 [0..];
        /// 0 stable, 1 has to revoke, 2 waits for partitions that others still own, 127 not known.
        state: i8 [0..];
        assigned_partitions: Vec<StoredTopicPartitions> [0..];
        partitions_pending_revocation: Vec<StoredTopicPartitions> [0..];
    }

    /// Key 16: the topics that a regular expression matched.
    pub message ConsumerGroupRegularExpressionValue (flexible 0) {
        topics: Vec<Str> [0..];
        /// The metadata version that it was resolved on.
        version: i64 [0..];
        timestamp: i64 [0..];
    }
}
