//! The records of `__consumer_offsets`: durable facts about groups and committed offsets.

use crate::coordinator::group::ids::{GroupId, MemberId};
use crate::coordinator::group::stored::{
    ConsumerGroupCurrentMemberAssignmentValue, ConsumerGroupMemberMetadataValue,
    ConsumerGroupMetadataValue, ConsumerGroupRegularExpressionValue,
    ConsumerGroupTargetAssignmentMemberValue, ConsumerGroupTargetAssignmentMetadataValue,
    GroupMetadataValue, OffsetCommitValue,
};
use crate::types::TopicPartition;

/// A durable fact. No value: the fact is taken back (a tombstone). The values hold slices of the
/// frame or log that they were read from: whoever folds them in copies what it keeps.
#[derive(Debug, Clone, PartialEq)]
pub enum GroupRecord {
    /// An offset that a group committed.
    Offset {
        /// Whose.
        group: GroupId,
        /// Of which partition.
        partition: TopicPartition,
        /// What.
        value: Option<OffsetCommitValue>,
    },
    /// A classic group.
    Classic {
        /// Which.
        group: GroupId,
        /// Its generation and members.
        value: Option<GroupMetadataValue>,
    },
    /// A group of the consumer protocol.
    Consumer {
        /// Which.
        group: GroupId,
        /// Its epoch.
        value: Option<ConsumerGroupMetadataValue>,
    },
    /// A member of a consumer group.
    Member {
        /// Of which group.
        group: GroupId,
        /// Which.
        member: MemberId,
        /// What it said about itself.
        value: Option<ConsumerGroupMemberMetadataValue>,
    },
    /// The epoch of a consumer group's target assignment.
    TargetEpoch {
        /// Of which group.
        group: GroupId,
        /// The epoch.
        value: Option<ConsumerGroupTargetAssignmentMetadataValue>,
    },
    /// The target assignment of a member.
    Target {
        /// Of which group.
        group: GroupId,
        /// Whose.
        member: MemberId,
        /// What.
        value: Option<ConsumerGroupTargetAssignmentMemberValue>,
    },
    /// The current assignment of a member.
    Current {
        /// Of which group.
        group: GroupId,
        /// Whose.
        member: MemberId,
        /// What.
        value: Option<ConsumerGroupCurrentMemberAssignmentValue>,
    },
    /// A resolved regular expression of a consumer group.
    Regex {
        /// Of which group.
        group: GroupId,
        /// The expression.
        regex: String,
        /// What it matched.
        value: Option<ConsumerGroupRegularExpressionValue>,
    },
}

/// What a record takes beside its names: its frame in a batch, and small values.
const FRAME_BYTES: usize = 64;

impl GroupRecord {
    /// About how many bytes it takes in the log. Of values those count that a group's passing leaves:
    /// of a consumer group's only tombstones.
    pub(super) fn size_bytes(&self) -> usize {
        FRAME_BYTES
            + match self {
                Self::Offset { group, partition, .. } => group.len() + partition.topic.len(),
                Self::Classic { group, value } => {
                    let members = value.iter().flat_map(|value| &value.members);
                    let member_bytes = members.map(|member| {
                        let opaque = member.subscription.len() + member.assignment.len();
                        FRAME_BYTES + member.member_id.len() + member.client_id.len() + opaque
                    });
                    group.len() + member_bytes.sum::<usize>()
                }
                Self::Consumer { group, .. } | Self::TargetEpoch { group, .. } => group.len(),
                Self::Member { group, member, .. }
                | Self::Target { group, member, .. }
                | Self::Current { group, member, .. } => group.len() + member.len(),
                Self::Regex { group, regex, .. } => group.len() + regex.len(),
            }
    }
}
