//! Tests of the classic protocol, and what they share: clients that ask as real ones do.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod dialogues;
mod errors;
mod random;

use std::time::Duration;

use bytes::Bytes;

use crate::coordinator::group::command::{Answer, Command};
use crate::coordinator::group::machine::Group;
use crate::coordinator::group::tests::Bench;
use crate::coordinator::group::{GroupConfig, classic::ClassicGroup};
use crate::coordinator::shard::RequestId;
use crate::protocol::Str;
use crate::protocol::consumer_protocol::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, ConsumerProtocolTopicPartitions,
    encode_versioned,
};
use crate::protocol::messages::heartbeat::HeartbeatRequest;
use crate::protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use crate::protocol::messages::leave_group::{
    LeaveGroupRequest, LeaveGroupResponse, MemberIdentity,
};
use crate::protocol::messages::sync_group::{
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};
use crate::types::ErrorCode;

/// The group of all these tests.
pub(super) const GROUP: &str = "g";

/// The latest version of JoinGroup.
pub(super) const LATEST_JOIN: i16 = 9;

/// Settings without a wait for the first members.
pub(super) fn at_once() -> GroupConfig {
    GroupConfig { initial_rebalance_delay: Duration::ZERO, ..GroupConfig::default() }
}

/// What a consumer says that subscribes to `topics`.
pub(super) fn subscription(topics: &[&str]) -> Bytes {
    let topics = topics.iter().map(|topic| Str::from(*topic)).collect();
    let subscription = ConsumerProtocolSubscription { topics, ..Default::default() };
    encode_versioned(&subscription, 1).unwrap()
}

/// An assignment of partitions of the topic `orders`.
pub(super) fn assignment(partitions: &[i32]) -> Bytes {
    let topic = ConsumerProtocolTopicPartitions {
        topic: Str::from("orders"),
        partitions: partitions.to_vec(),
    };
    let assignment =
        ConsumerProtocolAssignment { assigned_partitions: vec![topic], ..Default::default() };
    encode_versioned(&assignment, 1).unwrap()
}

/// A consumer's JoinGroup.
pub(super) fn joining(member: &str) -> JoinGroupRequest {
    JoinGroupRequest {
        group_id: Str::from(GROUP),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 60_000,
        member_id: Str::from(member),
        protocol_type: Str::from("consumer"),
        protocols: vec![JoinGroupRequestProtocol {
            name: Str::from("range"),
            metadata: subscription(&["orders"]),
        }],
        ..Default::default()
    }
}

/// A static consumer's JoinGroup.
pub(super) fn joining_as(member: &str, instance: &str) -> JoinGroupRequest {
    JoinGroupRequest { group_instance_id: Some(Str::from(instance)), ..joining(member) }
}

/// A consumer that supports these assignors, with the topics it subscribes to under each.
pub(super) fn supporting(
    request: JoinGroupRequest,
    protocols: &[(&str, &[&str])],
) -> JoinGroupRequest {
    let protocols = protocols.iter().map(|(name, topics)| JoinGroupRequestProtocol {
        name: Str::from(*name),
        metadata: subscription(topics),
    });
    JoinGroupRequest { protocols: protocols.collect(), ..request }
}

/// A member's SyncGroup.
pub(super) fn syncing(member: &str, generation: i32) -> SyncGroupRequest {
    SyncGroupRequest {
        group_id: Str::from(GROUP),
        generation_id: generation,
        member_id: Str::from(member),
        ..Default::default()
    }
}

/// A leader's SyncGroup.
pub(super) fn assigning(
    leader: &str,
    generation: i32,
    parts: &[(&str, &[i32])],
) -> SyncGroupRequest {
    let assignments = parts.iter().map(|(member, partitions)| SyncGroupRequestAssignment {
        member_id: Str::from(*member),
        assignment: assignment(partitions),
    });
    SyncGroupRequest { assignments: assignments.collect(), ..syncing(leader, generation) }
}

impl Bench {
    pub(super) fn join(&mut self, client: &str, request: JoinGroupRequest) -> RequestId {
        self.join_in(LATEST_JOIN, client, request)
    }

    pub(super) fn join_in(
        &mut self,
        version: i16,
        client: &str,
        request: JoinGroupRequest,
    ) -> RequestId {
        self.ask(client, version, request, Command::Join)
    }

    /// The answer to a JoinGroup; `None` while it waits.
    pub(super) fn try_joined(&mut self, request: RequestId) -> Option<JoinGroupResponse> {
        self.answer(request).map(|answer| match answer {
            Answer::Join(response) => response,
            other => panic!("{other:?}"),
        })
    }

    pub(super) fn joined(&mut self, request: RequestId) -> JoinGroupResponse {
        self.try_joined(request).expect("it still waits")
    }

    /// Gets an id, and joins with it: the id, and the JoinGroup that waits or has been answered.
    pub(super) fn arrive(&mut self, client: &str) -> (String, RequestId) {
        self.arrive_with(client, joining(""))
    }

    pub(super) fn arrive_with(
        &mut self,
        client: &str,
        request: JoinGroupRequest,
    ) -> (String, RequestId) {
        let first = self.join(client, request.clone());
        let given = self.joined(first);
        assert_eq!(given.error_code, ErrorCode::MemberIdRequired.code());
        let again = JoinGroupRequest { member_id: given.member_id.clone(), ..request };
        (given.member_id.to_string(), self.join(client, again))
    }

    pub(super) fn sync(&mut self, request: SyncGroupRequest) -> RequestId {
        self.ask("c", 5, request, Command::Sync)
    }

    pub(super) fn try_synced(&mut self, request: RequestId) -> Option<SyncGroupResponse> {
        self.answer(request).map(|answer| match answer {
            Answer::Sync(response) => response,
            other => panic!("{other:?}"),
        })
    }

    pub(super) fn synced(&mut self, request: RequestId) -> SyncGroupResponse {
        self.try_synced(request).expect("it still waits")
    }

    /// The error code that a heartbeat is answered.
    pub(super) fn beat(&mut self, member: &str, generation: i32) -> i16 {
        self.beat_as(member, None, generation)
    }

    pub(super) fn beat_as(&mut self, member: &str, instance: Option<&str>, generation: i32) -> i16 {
        let request = HeartbeatRequest {
            group_id: Str::from(GROUP),
            generation_id: generation,
            member_id: Str::from(member),
            group_instance_id: instance.map(Str::from),
        };
        let request = self.ask("c", 4, request, Command::Heartbeat);
        match self.answer(request) {
            Some(Answer::Heartbeat(response)) => response.error_code,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn leave(&mut self, members: &[(&str, Option<&str>, &str)]) -> LeaveGroupResponse {
        let members = members.iter().map(|(member, instance, reason)| MemberIdentity {
            member_id: Str::from(*member),
            group_instance_id: instance.map(Str::from),
            reason: Some(Str::from(*reason)),
        });
        let request = LeaveGroupRequest {
            group_id: Str::from(GROUP),
            members: members.collect(),
            ..Default::default()
        };
        let request = self.ask("c", 5, request, Command::Leave);
        match self.answer(request) {
            Some(Answer::Leave(response)) => response,
            other => panic!("{other:?}"),
        }
    }

    /// The group as it is.
    pub(super) fn group(&self) -> ClassicGroup {
        match self.machine.groups.get(GROUP).map(|group| &**group) {
            Some(Group::Classic(group)) => group.clone(),
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn state(&self) -> &'static str {
        self.group().state().name()
    }
}

/// Stable groups of `size` dynamic members, the ids sorted; member `i` has partition `i`.
pub(super) fn stable(bench: &mut Bench, size: usize) -> Vec<String> {
    let arrived: Vec<_> = (0..size).map(|i| bench.arrive(&format!("c{i}"))).collect();
    bench.pass(Duration::from_secs(6));
    let mut members: Vec<String> = arrived.iter().map(|(member, _)| member.clone()).collect();
    members.sort();
    let leader = bench.group().leader.clone().unwrap();
    assign_one_each(bench, &leader, &members);
    assert_eq!(bench.state(), "Stable");
    members
}

/// All sync; the leader gives member `i` partition `i`.
pub(super) fn assign_one_each(bench: &mut Bench, leader: &str, members: &[String]) {
    let generation = bench.group().generation();
    for member in members.iter().filter(|member| *member != leader) {
        bench.sync(syncing(member, generation));
    }
    let partitions: Vec<[i32; 1]> = (0..).take(members.len()).map(|i| [i]).collect();
    let parts: Vec<(&str, &[i32])> =
        members.iter().zip(&partitions).map(|(member, own)| (member.as_str(), &own[..])).collect();
    let leading = bench.sync(assigning(leader, generation, &parts));
    assert_eq!(bench.synced(leading).error_code, 0);
}
