//! What is remembered between the moment that a group's epoch rises and the new target assignment.

use std::sync::Arc;

use crate::coordinator::group::assignor::Partitions;
use crate::coordinator::group::ids::MemberId;
use crate::coordinator::group::rebalance::RebalanceCause;
use crate::types::TimestampMs;

/// Why a group's epoch rose above its target's.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pending {
    /// When it rose first.
    pub at: TimestampMs,
    /// Why it rose first.
    pub cause: RebalanceCause,
    /// The member that was the cause, if one was.
    pub member: Option<MemberId>,
    /// That member's client id.
    pub client_id: Arc<str>,
    /// That member's host.
    pub client_host: Arc<str>,
    /// What the member said as its reason, if anything.
    pub reason: Arc<str>,
    /// Who has gone since the last target, and what it was to own.
    pub departed: Vec<(MemberId, Arc<Partitions>)>,
}
