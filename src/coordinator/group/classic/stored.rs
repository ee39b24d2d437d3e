//! A classic group as it is stored: one record with all members.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;

use crate::coordinator::group::classic::group::{ClassicGroup, Phase};
use crate::coordinator::group::classic::member::{Member, Protocol};
use crate::coordinator::group::command::Client;
use crate::coordinator::group::ids::{GroupId, InstanceId, MemberId};
use crate::coordinator::group::machine::Group;
use crate::coordinator::group::stored::{GroupMetadataValue, StoredMember};
use crate::protocol::Str;
use crate::protocol::codec::{DecodeError, Message, Reader};
use crate::protocol::consumer_protocol::ConsumerProtocolSubscription;
use crate::types::TimestampMs;

/// Folds a record in. A tombstone does not touch a group that has gone over to the other protocol.
pub(in crate::coordinator::group) fn apply(
    groups: &mut BTreeMap<GroupId, Arc<Group>>,
    id: &GroupId,
    value: Option<&GroupMetadataValue>,
) {
    match value {
        Some(value) => {
            let group = ClassicGroup::from_stored(value);
            groups.insert(id.clone(), Arc::new(Group::Classic(group)));
        }
        None if groups.get(id).is_some_and(|group| matches!(**group, Group::Classic(_))) => {
            groups.remove(id);
        }
        None => {}
    }
}

impl ClassicGroup {
    /// A group as it was stored: Stable, or Empty without members. Nothing has a deadline yet.
    pub fn from_stored(value: &GroupMetadataValue) -> Self {
        let mut group = Self::simple();
        group.generation = value.generation;
        let kind = Some(value.protocol_type.as_str()).filter(|kind| !kind.is_empty());
        group.protocol_type = kind.map(Arc::from);
        group.protocol = value.protocol.as_deref().map(Arc::from);
        let since = TimestampMs(value.current_state_timestamp);
        group.since = Some(since).filter(|since| *since != TimestampMs::NONE);
        for stored in &value.members {
            group.insert(member_from(stored, value.protocol.as_deref()));
        }
        if group.size() > 0 {
            group.phase = Phase::Stable { until: None };
        }
        let stored_leader = value.leader.as_deref().filter(|id| group.member(id).is_some());
        if let Some(leader) = stored_leader {
            group.leader = Some(MemberId::from(leader));
        }
        group.remember_assignment();
        group.remember_subscriptions();
        group
    }

    /// The group as it is stored.
    pub fn to_stored(&self) -> GroupMetadataValue {
        GroupMetadataValue {
            protocol_type: Str::from(self.protocol_type().unwrap_or_default()),
            generation: self.generation,
            protocol: self.protocol().map(Str::from),
            leader: self.leader.as_deref().map(Str::from),
            current_state_timestamp: self.since.unwrap_or(TimestampMs::NONE).0,
            members: self.members().map(|member| stored_member(member, self.protocol())).collect(),
        }
    }

    /// Remembers who has been assigned what, to tell later what moved.
    pub(super) fn remember_assignment(&mut self) {
        let assigned = self.members().map(|member| (member.id.clone(), member.assignment.clone()));
        self.assigned = assigned.collect();
    }

    /// Remembers what this generation's members subscribe to; nothing if one of them says that in
    /// a way that cannot be read.
    pub(super) fn remember_subscriptions(&mut self) {
        self.subscribed = match (self.is_of_consumers(), self.protocol()) {
            (false, _) => None,
            (true, None) if self.size() > 0 => None,
            (true, protocol) => {
                let mut topics = BTreeSet::new();
                let mut members = self.members();
                let readable = members.all(|member| {
                    let subscribed = subscribed_topics(&member.metadata(protocol));
                    subscribed.map(|of_member| topics.extend(of_member)).is_ok()
                });
                drop(members);
                readable.then(|| Arc::new(topics))
            }
        };
    }
}

/// The topics in a subscription. Only what all versions begin with is read, so that no later
/// version of clients can be unreadable.
pub(super) fn subscribed_topics(metadata: &Bytes) -> Result<Vec<Box<str>>, DecodeError> {
    let mut reader = Reader::new(metadata.clone());
    reader.i16()?;
    let subscription = ConsumerProtocolSubscription::decode(&mut reader, 0)?;
    Ok(subscription.topics.iter().map(|topic| Box::from(topic.as_str())).collect())
}

fn member_from(stored: &StoredMember, protocol: Option<&str>) -> Member {
    let rebalance_timeout_ms = match stored.rebalance_timeout {
        -1 => stored.session_timeout,
        timeout => timeout,
    };
    let protocols = protocol.map(|name| Protocol {
        name: Arc::from(name),
        metadata: Bytes::copy_from_slice(&stored.subscription),
    });
    Member {
        id: MemberId::from(stored.member_id.as_str()),
        instance: stored.group_instance_id.as_deref().map(InstanceId::from),
        client: Client {
            id: Arc::from(stored.client_id.as_str()),
            host: Arc::from(stored.client_host.as_str()),
        },
        rebalance_timeout_ms,
        session_timeout_ms: stored.session_timeout,
        protocols: protocols.into_iter().collect(),
        assignment: Bytes::copy_from_slice(&stored.assignment),
        is_new: false,
        session_ends: None,
        join: None,
        sync: None,
    }
}

fn stored_member(member: &Member, protocol: Option<&str>) -> StoredMember {
    StoredMember {
        member_id: Str::from(&*member.id),
        group_instance_id: member.instance.as_deref().map(Str::from),
        client_id: Str::from(&*member.client.id),
        client_host: Str::from(&*member.client.host),
        rebalance_timeout: member.rebalance_timeout_ms,
        session_timeout: member.session_timeout_ms,
        subscription: member.metadata(protocol),
        assignment: member.assignment.clone(),
    }
}
