//! ConsumerGroupDescribe (key 69), versions 0-1: groups of the consumer protocol (KIP-848).

use uuid::Uuid;

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Asks for groups.
    pub request ConsumerGroupDescribeRequest: ApiKey::ConsumerGroupDescribe, (0..=1, flexible 0) => ConsumerGroupDescribeResponse {
        group_ids: Vec<Str> [0..];
        include_authorized_operations: bool [0..];
    }

    /// The groups.
    pub message ConsumerGroupDescribeResponse (flexible 0) {
        throttle_time_ms: i32 [0..];
        groups: Vec<ConsumerGroupDescribedGroup> [0..];
    }

    /// A group.
    pub struct ConsumerGroupDescribedGroup {
        error_code: i16 [0..];
        error_message: Option<Str> [0..];
        group_id: Str [0..];
        group_state: Str [0..];
        group_epoch: i32 [0..];
        assignment_epoch: i32 [0..];
        assignor_name: Str [0..];
        members: Vec<ConsumerGroupDescribedMember> [0..];
        /// A bit set; `i32::MIN` if it was not asked for.
        authorized_operations: i32 [0..] = i32::MIN;
    }

    /// A member.
    pub struct ConsumerGroupDescribedMember {
        member_id: Str [0..];
        instance_id: Option<Str> [0..];
        rack_id: Option<Str> [0..];
        member_epoch: i32 [0..];
        client_id: Str [0..];
        client_host: Str [0..];
        subscribed_topic_names: Vec<Str> [0..];
        subscribed_topic_regex: Option<Str> [0..];
        assignment: ConsumerGroupDescribedAssignment [0..];
        target_assignment: ConsumerGroupDescribedAssignment [0..];
        /// -1 not known, 0 classic, 1 consumer.
        member_type: i8 [1..; ignorable] = -1;
    }

    /// What a member has or shall have.
    pub struct ConsumerGroupDescribedAssignment {
        topic_partitions: Vec<ConsumerGroupDescribedTopicPartitions> [0..];
    }

    /// Partitions of one topic.
    pub struct ConsumerGroupDescribedTopicPartitions {
        topic_id: Uuid [0..];
        topic_name: Str [0..];
        partitions: Vec<i32> [0..];
    }
}
