//! What a rebalance leaves behind for the group's history: why it began, and what it moved.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::coordinator::group::classic::group::ClassicGroup;
use crate::coordinator::group::classic::member::Member;
use crate::coordinator::group::ids::{GroupId, MemberId};
use crate::coordinator::group::rebalance::{Moved, Rebalance, RebalanceCause};
use crate::protocol::consumer_protocol::{ConsumerProtocolAssignment, decode_versioned};
use crate::types::TopicPartition;
use crate::types::machine::Now;

/// Why a rebalance begins.
#[derive(Debug, Clone)]
pub(in crate::coordinator::group) struct Trigger {
    /// Why.
    pub cause: RebalanceCause,
    /// The member that is the cause, if one is.
    pub member: Option<MemberId>,
    /// That member's client id.
    pub client_id: String,
    /// That member's host.
    pub client_host: String,
    /// What the member says as its reason (KIP-800), if anything.
    pub reason: String,
}

impl Trigger {
    /// A member is the cause.
    pub fn by(member: &Member, cause: RebalanceCause, reason: &str) -> Self {
        Self {
            cause,
            member: Some(member.id.clone()),
            client_id: member.client.id.to_string(),
            client_host: member.client.host.to_string(),
            reason: reason.to_owned(),
        }
    }

    /// No member in particular is the cause.
    pub fn by_nobody(cause: RebalanceCause) -> Self {
        Self {
            cause,
            member: None,
            client_id: String::new(),
            client_host: String::new(),
            reason: String::new(),
        }
    }
}

/// A rebalance that is under way.
#[derive(Debug, Clone)]
pub(in crate::coordinator::group) struct Begun {
    /// When it began.
    pub at: Now,
    /// Why.
    pub trigger: Trigger,
}

impl PartialEq for Begun {
    /// By when and why.
    fn eq(&self, other: &Self) -> bool {
        (self.at.monotonic, self.trigger.cause) == (other.at.monotonic, other.trigger.cause)
    }
}

impl ClassicGroup {
    /// The rebalance that is under way is over: what is to be remembered of it. From here on the
    /// present assignment is the one to compare with.
    pub(super) fn finish_rebalance(&mut self, id: &GroupId, now: Now) -> Option<Rebalance> {
        let begun = self.begun.take()?;
        let before = std::mem::take(&mut self.assigned);
        self.remember_assignment();
        let moved = match self.is_of_consumers() {
            true => moved(&owners(&before), &owners(&self.assigned)),
            false => Vec::new(),
        };
        let took = now.monotonic.since(begun.at.monotonic);
        let trigger = begun.trigger.clone();
        Some(Rebalance {
            group: id.clone(),
            at: begun.at.wall,
            took_ms: i64::try_from(took.as_millis()).unwrap_or(i64::MAX),
            generation: self.generation,
            cause: trigger.cause,
            member: trigger.member,
            client_id: trigger.client_id,
            client_host: trigger.client_host,
            reason: trigger.reason,
            members: self.size(),
            moved,
        })
    }

    /// A static member goes on under a new id with what it had: nothing moves by that.
    pub(super) fn rename_in_assignment(&mut self, old: &str, new: &MemberId) {
        let renamed = self.assigned.iter().map(|(id, assignment)| {
            let id = if **id == *old { new } else { id };
            (id.clone(), assignment.clone())
        });
        self.assigned = renamed.collect();
    }
}

/// Who has which partition. An assignment that cannot be read counts as none.
fn owners(assigned: &[(MemberId, Bytes)]) -> BTreeMap<TopicPartition, MemberId> {
    let mut owners = BTreeMap::new();
    for (member, assignment) in assigned {
        let decoded = decode_versioned::<ConsumerProtocolAssignment>(assignment.clone());
        for topic in decoded.map(|all| all.assigned_partitions).unwrap_or_default() {
            for partition in topic.partitions {
                let partition = TopicPartition::new(topic.topic.as_str(), partition);
                owners.insert(partition, member.clone());
            }
        }
    }
    owners
}

fn moved(
    before: &BTreeMap<TopicPartition, MemberId>,
    after: &BTreeMap<TopicPartition, MemberId>,
) -> Vec<Moved> {
    let gone = before.keys().filter(|partition| !after.contains_key(*partition));
    let all = after.keys().chain(gone);
    let changes = all.filter(|partition| before.get(*partition) != after.get(*partition));
    let mut moved: Vec<Moved> = changes
        .map(|partition| Moved {
            partition: partition.clone(),
            from: before.get(partition).cloned(),
            to: after.get(partition).cloned(),
        })
        .collect();
    moved.sort_by(|one, other| one.partition.cmp(&other.partition));
    moved
}
