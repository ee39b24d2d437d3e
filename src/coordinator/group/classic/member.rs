//! A member of a classic group.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::coordinator::group::command::{Asked, Client};
use crate::coordinator::group::ids::{InstanceId, MemberId};
use crate::coordinator::shard::RequestId;
use crate::protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use crate::types::clock::Monotonic;

/// An assignor that a member supports, with what it says to the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::coordinator::group) struct Protocol {
    /// Its name.
    pub name: Arc<str>,
    /// Opaque to the broker; a subscription where the protocol type is `consumer`.
    pub metadata: Bytes,
}

/// A JoinGroup that waits for the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::coordinator::group) struct ParkedJoin {
    /// By which it is answered.
    pub request: RequestId,
    /// Its version: some fields of the answer may not be null in old ones.
    pub version: i16,
}

/// A member of a classic group.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::coordinator::group) struct Member {
    /// Its id, which the coordinator made.
    pub id: MemberId,
    /// `group.instance.id` of a static member.
    pub instance: Option<InstanceId>,
    /// Who it is.
    pub client: Client,
    /// How long it may take to join again, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent, in milliseconds.
    pub session_timeout_ms: i32,
    /// The assignors that it supports, the preferred first; no name twice.
    pub protocols: Arc<[Protocol]>,
    /// What the leader gave it last.
    pub assignment: Bytes,
    /// Whether it has yet to hear of its first generation.
    pub is_new: bool,
    /// When it is given up. None while it waits for the coordinator, which shows that it is there,
    /// and until a group has been loaded.
    pub session_ends: Option<Monotonic>,
    /// Its JoinGroup that waits.
    pub join: Option<ParkedJoin>,
    /// Its SyncGroup that waits.
    pub sync: Option<RequestId>,
}

impl Member {
    /// The member that `asked` makes.
    pub fn joining(id: MemberId, asked: &Asked<JoinGroupRequest>) -> Self {
        Self {
            id,
            instance: asked.body.group_instance_id.as_deref().map(InstanceId::from),
            client: asked.client.clone(),
            rebalance_timeout_ms: rebalance_timeout_ms(asked),
            session_timeout_ms: asked.body.session_timeout_ms,
            protocols: protocols(&asked.body.protocols),
            assignment: Bytes::new(),
            is_new: true,
            session_ends: None,
            join: None,
            sync: None,
        }
    }

    /// Takes over what a further JoinGroup says, and waits with it.
    pub fn join_again(&mut self, asked: &Asked<JoinGroupRequest>) {
        self.rebalance_timeout_ms = rebalance_timeout_ms(asked);
        self.session_timeout_ms = asked.body.session_timeout_ms;
        self.protocols = protocols(&asked.body.protocols);
        self.join = Some(ParkedJoin { request: asked.request, version: asked.version });
    }

    /// How long it may be silent.
    pub fn session_timeout(&self) -> Duration {
        duration_of(self.session_timeout_ms)
    }

    /// Whether `protocols` are what it said last.
    pub fn supports_just(&self, asked: &[JoinGroupRequestProtocol]) -> bool {
        protocols(asked) == self.protocols
    }

    /// What it says to the leader under an assignor; nothing if it does not support that.
    pub fn metadata(&self, protocol: Option<&str>) -> Bytes {
        let mut supported = self.protocols.iter();
        let chosen = supported.find(|supported| Some(&*supported.name) == protocol);
        chosen.map_or_else(Bytes::new, |chosen| chosen.metadata.clone())
    }

    /// The assignor that it prefers among those that all support.
    pub fn vote(&self, candidates: &BTreeSet<Arc<str>>) -> Option<Arc<str>> {
        let mut names = self.protocols.iter().map(|supported| &supported.name);
        names.find(|name| candidates.contains(*name)).cloned()
    }
}

/// Assignors as they are kept: in their own bytes, each name once, where it came first.
fn protocols(asked: &[JoinGroupRequestProtocol]) -> Arc<[Protocol]> {
    let mut seen = BTreeSet::new();
    let first = asked.iter().filter(|protocol| seen.insert(protocol.name.as_str()));
    let kept = first.map(|protocol| Protocol {
        name: Arc::from(protocol.name.as_str()),
        metadata: Bytes::copy_from_slice(&protocol.metadata),
    });
    kept.collect()
}

/// Version 0 has no rebalance timeout: the session timeout stands for it.
fn rebalance_timeout_ms(asked: &Asked<JoinGroupRequest>) -> i32 {
    match asked.version {
        0 => asked.body.session_timeout_ms,
        _ => asked.body.rebalance_timeout_ms,
    }
}

/// A time span of the protocol; one below zero counts as none.
pub(super) fn duration_of(timeout_ms: i32) -> Duration {
    Duration::from_millis(u64::try_from(timeout_ms).unwrap_or_default())
}
