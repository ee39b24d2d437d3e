//! What tools are shown of a replica.

use super::{Partition, Role};
use crate::types::{BrokerEpoch, LeaderEpoch, Monotonic, NodeId, Offset, PartitionEpoch};

/// A replica as tools show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionDescription {
    /// What it is: `waiting`, `elected`, `leader`, `follower`, `offline` or `closed`.
    pub role: &'static str,
    /// Who leads.
    pub leader: Option<NodeId>,
    /// In which reign.
    pub leader_epoch: LeaderEpoch,
    /// The version of the registration that is known here.
    pub partition_epoch: PartitionEpoch,
    /// The first offset that is kept.
    pub log_start_offset: Offset,
    /// Everything below is committed.
    pub high_watermark: Offset,
    /// No open transaction begins below.
    pub last_stable_offset: Offset,
    /// One past the last record.
    pub log_end_offset: Offset,
    /// The confirmed ISR, if it leads.
    pub isr: Vec<NodeId>,
    /// Whether a change of the ISR is under way.
    pub isr_change_pending: bool,
    /// The followers, if it leads.
    pub followers: Vec<FollowerDescription>,
}

/// A follower as its leader sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FollowerDescription {
    /// The follower.
    pub node: NodeId,
    /// Its incarnation.
    pub broker_epoch: Option<BrokerEpoch>,
    /// Everything below is in its log; unknown before its first fetch.
    pub log_end_offset: Offset,
    /// When it last had everything.
    pub caught_up_at: Option<Monotonic>,
    /// When it last fetched.
    pub last_fetch_at: Option<Monotonic>,
}

impl Partition {
    /// The replica as tools show it.
    pub fn describe(&self) -> PartitionDescription {
        let standing = self.role.read();
        let mut description = PartitionDescription {
            role: standing.role.name(),
            leader: standing.leader,
            leader_epoch: standing.leader_epoch,
            partition_epoch: standing.partition_epoch,
            log_start_offset: self.log().log_start_offset(),
            high_watermark: self.log().high_watermark(),
            last_stable_offset: self.log().last_stable_offset(),
            log_end_offset: self.log().log_end_offset(),
            isr: Vec::new(),
            isr_change_pending: false,
            followers: Vec::new(),
        };
        if let Role::Leader(state) = &standing.role {
            let leader = state.lock();
            description.partition_epoch = leader.partition_epoch();
            description.isr = leader.isr().committed().iter().copied().collect();
            description.isr_change_pending = leader.isr().pending().is_some();
            description.followers = leader
                .followers()
                .iter()
                .map(|(node, progress)| FollowerDescription {
                    node: *node,
                    broker_epoch: progress.broker_epoch(),
                    log_end_offset: progress.log_end(),
                    caught_up_at: progress.caught_up_at(),
                    last_fetch_at: progress.last_fetch_at(),
                })
                .collect();
        }
        description
    }
}

impl Role {
    fn name(&self) -> &'static str {
        match self {
            Role::Waiting => "waiting",
            Role::Elected => "elected",
            Role::Leader(_) => "leader",
            Role::Follower(_) => "follower",
            Role::Offline => "offline",
            Role::Closed => "closed",
        }
    }
}
