//! ConsumerGroupHeartbeat (key 68), versions 0-1: everything that a member of the consumer protocol
//! says and hears (KIP-848).

use uuid::Uuid;

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// A member is alive; a null field has not changed since the last heartbeat.
    pub request ConsumerGroupHeartbeatRequest: ApiKey::ConsumerGroupHeartbeat, (0..=1, flexible 0) => ConsumerGroupHeartbeatResponse {
        group_id: Str [0..];
        /// Made by the member from version 1; empty at first in version 0.
        member_id: Str [0..];
        /// 0 joins, -1 leaves, -2 a static member leaves for a while.
        member_epoch: i32 [0..];
        instance_id: Option<Str> [0..];
        rack_id: Option<Str> [0..];
        /// -1: not changed.
        rebalance_timeout_ms: i32 [0..] = -1;
        subscribed_topic_names: Option<Vec<Str>> [0..];
        subscribed_topic_regex: Option<Str> [1..];
        server_assignor: Option<Str> [0..];
        /// What the member owns.
        topic_partitions: Option<Vec<HeartbeatRequestTopicPartitions>> [0..];
    }

    /// Partitions of one topic.
    pub struct HeartbeatRequestTopicPartitions {
        topic_id: Uuid [0..];
        partitions: Vec<i32> [0..];
    }

    /// What the member shall do.
    pub message ConsumerGroupHeartbeatResponse (flexible 0) {
        throttle_time_ms: i32 [0..];
        error_code: i16 [0..];
        error_message: Option<Str> [0..];
        member_id: Option<Str> [0..];
        member_epoch: i32 [0..];
        heartbeat_interval_ms: i32 [0..];
        /// Null: not changed.
        assignment: Option<HeartbeatResponseAssignment> [0..];
    }

    /// What the member shall own.
    pub struct HeartbeatResponseAssignment {
        topic_partitions: Vec<HeartbeatResponseTopicPartitions> [0..];
    }

    /// Partitions of one topic.
    pub struct HeartbeatResponseTopicPartitions {
        topic_id: Uuid [0..];
        partitions: Vec<i32> [0..];
    }
}
