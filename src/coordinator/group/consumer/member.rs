//! A member of a group of the consumer protocol.

use std::sync::Arc;
use std::time::Duration;

use crate::coordinator::group::assignor::Partitions;
use crate::coordinator::group::consumer::epochs::AssignmentEpochs;
use crate::coordinator::group::ids::InstanceId;
use crate::coordinator::group::stored::{
    ClassicMemberMetadata, ClassicProtocol, ConsumerGroupCurrentMemberAssignmentValue,
    ConsumerGroupMemberMetadataValue,
};
use crate::protocol::Str;
use crate::types::clock::Monotonic;

/// The epoch by which a member joins.
pub(super) const JOIN_EPOCH: i32 = 0;
/// The epoch by which a member leaves.
pub(super) const LEAVE_EPOCH: i32 = -1;
/// The epoch of a static member that will be back.
pub(super) const STATIC_LEAVE_EPOCH: i32 = -2;

/// What a member said about itself.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::coordinator::group) struct Metadata {
    pub instance_id: Option<InstanceId>,
    pub rack_id: Option<Arc<str>>,
    pub client_id: Arc<str>,
    pub client_host: Arc<str>,
    /// The topics that it names; sorted.
    pub topics: Arc<[Arc<str>]>,
    /// The expression that its other topics match; never empty.
    pub regex: Option<Arc<str>>,
    /// -1: never said.
    pub rebalance_timeout_ms: i32,
    pub server_assignor: Option<Arc<str>>,
    /// Of a member that speaks the classic protocol.
    pub classic: Option<Arc<ClassicMemberMetadata>>,
}

impl Metadata {
    /// As it stands in a record.
    pub fn from_stored(value: &ConsumerGroupMemberMetadataValue) -> Self {
        let text = |text: &Option<Str>| text.as_ref().map(|text| Arc::from(text.as_str()));
        Self {
            instance_id: value.instance_id.as_ref().map(|id| InstanceId::from(id.as_str())),
            rack_id: text(&value.rack_id),
            client_id: Arc::from(value.client_id.as_str()),
            client_host: Arc::from(value.client_host.as_str()),
            topics: topic_names(&value.subscribed_topic_names),
            regex: text(&value.subscribed_topic_regex).filter(|regex| !regex.is_empty()),
            rebalance_timeout_ms: value.rebalance_timeout_ms,
            server_assignor: text(&value.server_assignor),
            classic: value.classic_member_metadata.as_ref().map(|classic| {
                Arc::new(ClassicMemberMetadata {
                    session_timeout_ms: classic.session_timeout_ms,
                    supported_protocols: classic.supported_protocols.iter().map(copied).collect(),
                })
            }),
        }
    }

    /// For a record.
    pub fn to_stored(&self) -> ConsumerGroupMemberMetadataValue {
        let text = |text: &Option<Arc<str>>| text.as_ref().map(|text| Str::from(&**text));
        ConsumerGroupMemberMetadataValue {
            instance_id: self.instance_id.as_ref().map(|id| Str::from(&**id)),
            rack_id: text(&self.rack_id),
            client_id: Str::from(&*self.client_id),
            client_host: Str::from(&*self.client_host),
            subscribed_topic_names: self.topics.iter().map(|name| Str::from(&**name)).collect(),
            // Kafka writes an empty expression, never null.
            subscribed_topic_regex: text(&self.regex).or(Some(Str::from(""))),
            rebalance_timeout_ms: self.rebalance_timeout_ms,
            server_assignor: text(&self.server_assignor),
            classic_member_metadata: self.classic.as_deref().cloned(),
        }
    }

    /// How long the member may take to give partitions up or to join again.
    pub fn rebalance_timeout(&self) -> Duration {
        Duration::from_millis(u64::try_from(self.rebalance_timeout_ms).unwrap_or(0))
    }
}

fn copied(protocol: &ClassicProtocol) -> ClassicProtocol {
    ClassicProtocol {
        name: protocol.name.to_owned_copy(),
        metadata: bytes::Bytes::copy_from_slice(&protocol.metadata),
    }
}

/// Topic names as they are kept: each once, in order.
pub(super) fn topic_names(names: &[Str]) -> Arc<[Arc<str>]> {
    let mut names: Vec<Arc<str>> = names.iter().map(|name| Arc::from(name.as_str())).collect();
    names.sort_unstable();
    names.dedup();
    names.into()
}

/// How far a member is on its way to its target. The numbers are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum MemberState {
    /// It has what it shall have in its epoch.
    #[default]
    Stable,
    /// It has to give partitions up first.
    UnrevokedPartitions,
    /// It waits for partitions that others still own.
    UnreleasedPartitions,
    /// Written by a later version.
    Unknown,
}

impl MemberState {
    fn from_code(code: i8) -> Self {
        match code {
            0 => Self::Stable,
            1 => Self::UnrevokedPartitions,
            2 => Self::UnreleasedPartitions,
            _ => Self::Unknown,
        }
    }

    fn code(self) -> i8 {
        match self {
            Self::Stable => 0,
            Self::UnrevokedPartitions => 1,
            Self::UnreleasedPartitions => 2,
            Self::Unknown => 127,
        }
    }
}

/// What a member owns. A partition that it owns or has yet to give up is nobody else's.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Current {
    pub epoch: i32,
    pub previous_epoch: i32,
    pub state: MemberState,
    pub assigned: Arc<Partitions>,
    /// What it has been told to give up.
    pub revoking: Arc<Partitions>,
    /// Since when it has all of these.
    pub epochs: AssignmentEpochs,
}

impl Current {
    /// As it stands in a record.
    pub fn from_stored(value: &ConsumerGroupCurrentMemberAssignmentValue) -> Self {
        Self {
            epoch: value.member_epoch,
            previous_epoch: value.previous_member_epoch,
            state: MemberState::from_code(value.state),
            assigned: Arc::new(Partitions::from_stored(&value.assigned_partitions)),
            revoking: Arc::new(Partitions::from_stored(&value.partitions_pending_revocation)),
            epochs: AssignmentEpochs::from_stored(
                value.assigned_partitions.iter().chain(&value.partitions_pending_revocation),
                value.member_epoch,
            ),
        }
    }

    /// For a record.
    pub fn to_stored(&self) -> ConsumerGroupCurrentMemberAssignmentValue {
        ConsumerGroupCurrentMemberAssignmentValue {
            member_epoch: self.epoch,
            previous_member_epoch: self.previous_epoch,
            state: self.state.code(),
            assigned_partitions: self.epochs.to_stored(&self.assigned),
            partitions_pending_revocation: self.epochs.to_stored(&self.revoking),
        }
    }

    /// The same, each partition with the epoch since which the member has it: as `before` has it,
    /// or else this epoch.
    pub fn after(&self, before: &Self) -> Self {
        let all = self.assigned.union(&self.revoking);
        Self { epochs: before.epochs.carried_over(&all, self.epoch), ..self.clone() }
    }

    /// The same in `epoch`; the one that it leaves becomes the previous one.
    pub fn in_epoch(&self, epoch: i32) -> Self {
        let previous_epoch = if epoch == self.epoch { self.previous_epoch } else { self.epoch };
        Self { epoch, previous_epoch, ..self.clone() }
    }

    /// Whether nothing is left to do until the next target.
    pub fn is_reconciled_to(&self, target_epoch: i32) -> bool {
        self.state == MemberState::Stable && self.epoch == target_epoch
    }
}

/// Until when a member must have done something. Soft: a failover starts them anew.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Timers {
    /// Be heard of.
    pub session: Option<Monotonic>,
    /// Give partitions up.
    pub rebalance: Option<Monotonic>,
    /// Join again (classic members).
    pub join: Option<Monotonic>,
    /// Ask for the assignment (classic members).
    pub sync: Option<Monotonic>,
}

impl Timers {
    /// The next of them.
    pub fn next(&self) -> Option<Monotonic> {
        let all = [self.session, self.rebalance, self.join, self.sync];
        all.into_iter().flatten().min()
    }
}

/// A member.
#[derive(Debug, Clone, Default, PartialEq)]
pub(in crate::coordinator::group) struct Member {
    pub(super) metadata: Arc<Metadata>,
    /// What it shall own in the end; none if it was never in an assignment.
    pub(super) target: Option<Arc<Partitions>>,
    pub(super) current: Current,
    pub(super) timers: Timers,
}

impl Member {
    /// Whether it speaks the classic protocol.
    pub fn is_classic(&self) -> bool {
        self.metadata.classic.is_some()
    }

    /// How long it may be silent: a classic member says so itself, for others `default` holds.
    pub fn session_timeout(&self, default: Duration) -> Duration {
        match &self.metadata.classic {
            Some(classic) => {
                Duration::from_millis(u64::try_from(classic.session_timeout_ms).unwrap_or(0))
            }
            None => default,
        }
    }
}
