//! What is remembered of a rebalance: the group explains itself.

use crate::coordinator::group::ids::{GroupId, MemberId};
use crate::types::{TimestampMs, TopicPartition};

/// What started a rebalance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebalanceCause {
    /// A member came.
    MemberJoined,
    /// A member said that it goes.
    MemberLeft,
    /// A member was not heard of for its session timeout.
    SessionTimedOut,
    /// A member was alive but did not poll: it left for that reason, or it did not give partitions
    /// up in its rebalance timeout.
    PollTimedOut,
    /// A member did not join again in time.
    RebalanceTimedOut,
    /// A member subscribes to other topics, or supports other assignors.
    SubscriptionChanged,
    /// A topic that the group subscribes to came, went or grew.
    PartitionsChanged,
    /// The leader joined again to assign anew.
    LeaderRejoined,
    /// A member joined again with the same subscription: with a cooperative assignor, to have what
    /// it gave up assigned to others.
    MemberRejoined,
    /// The group's coordinator moved to another broker.
    CoordinatorMoved,
    /// The group changed over between the classic and the consumer protocol.
    ProtocolChanged,
    /// An administrator removed members.
    MemberRemoved,
}

/// A partition that changed hands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moved {
    /// Which partition.
    pub partition: TopicPartition,
    /// Who had it, if anybody.
    pub from: Option<MemberId>,
    /// Who has it, if anybody.
    pub to: Option<MemberId>,
}

/// One rebalance, from its cause to the assignment that it ended with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebalance {
    /// Of which group.
    pub group: GroupId,
    /// When it began.
    pub at: TimestampMs,
    /// How long it took, in milliseconds: until the assignment was handed in (classic) or
    /// computed (consumer).
    pub took_ms: i64,
    /// The generation or group epoch that it led to.
    pub generation: i32,
    /// Why.
    pub cause: RebalanceCause,
    /// The member that was the cause, if one was.
    pub member: Option<MemberId>,
    /// That member's client id.
    pub client_id: String,
    /// That member's host, as Kafka writes it: `/127.0.0.1`.
    pub client_host: String,
    /// What the member said as its reason (KIP-800), if anything.
    pub reason: String,
    /// How many members the group had afterwards.
    pub members: usize,
    /// What moved.
    pub moved: Vec<Moved>,
}
