//! Classic members in groups of the consumer protocol, and groups that change over.

use std::time::Duration;

use bytes::Bytes;

use super::world::*;
use crate::coordinator::group::assignor::Partitions;
use crate::coordinator::group::classic::State;
use crate::coordinator::group::command::{Answer, Command};
use crate::coordinator::group::consumer::classic_members::{by_id, encoded};
use crate::coordinator::group::machine::Group;
use crate::coordinator::group::rebalance::RebalanceCause;
use crate::coordinator::group::{GroupConfig, MigrationPolicy};
use crate::coordinator::shard::RequestId;
use crate::protocol::Str;
use crate::protocol::consumer_protocol::{
    CONSUMER, ConsumerProtocolAssignment, ConsumerProtocolSubscription, decode_versioned,
    encode_versioned,
};
use crate::protocol::messages::heartbeat::HeartbeatRequest;
use crate::protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse,
};
use crate::protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use crate::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
};
use crate::protocol::messages::sync_group::{
    SyncGroupRequest, SyncGroupRequestAssignment, SyncGroupResponse,
};
use crate::types::ErrorCode;

pub fn config(migration_policy: MigrationPolicy) -> GroupConfig {
    let initial_rebalance_delay = Duration::ZERO;
    GroupConfig { migration_policy, initial_rebalance_delay, ..GroupConfig::default() }
}

fn subscription(world: &World, owned: &Partitions) -> Bytes {
    let owned_partitions =
        crate::coordinator::group::consumer::migrate::by_name(owned, &world.image);
    let subscription = ConsumerProtocolSubscription {
        topics: vec![Str::from("t")],
        owned_partitions,
        ..ConsumerProtocolSubscription::default()
    };
    encode_versioned(&subscription, 1).unwrap()
}

pub fn joining(world: &World, member: &str, owned: &Partitions) -> JoinGroupRequest {
    let metadata = subscription(world, owned);
    JoinGroupRequest {
        group_id: Str::from(GROUP),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 20_000,
        member_id: Str::from(member),
        protocol_type: Str::from(CONSUMER),
        protocols: vec![JoinGroupRequestProtocol { name: Str::from("range"), metadata }],
        ..JoinGroupRequest::default()
    }
}

pub fn joins(world: &mut World, request: JoinGroupRequest) -> Vec<(RequestId, Answer)> {
    let asked = world.asked(3, request);
    world.run(Command::Join(asked))
}

pub fn joined(replies: Vec<(RequestId, Answer)>) -> Vec<JoinGroupResponse> {
    let join = |answer| match answer {
        Answer::Join(response) => response,
        other => panic!("{other:?}"),
    };
    replies.into_iter().map(|(_, answer)| join(answer)).collect()
}

/// The one answer to a JoinGroup that does not wait.
pub fn rejoined(world: &mut World, member: &str, owned: &Partitions) -> JoinGroupResponse {
    let request = joining(world, member, owned);
    joined(joins(world, request)).remove(0)
}

pub fn syncs(world: &mut World, member: &str, generation_id: i32) -> SyncGroupResponse {
    sync_with(world, member, generation_id, Vec::new())
}

pub fn sync_with(
    world: &mut World,
    member: &str,
    generation_id: i32,
    assignments: Vec<SyncGroupRequestAssignment>,
) -> SyncGroupResponse {
    let request = SyncGroupRequest {
        group_id: Str::from(GROUP),
        generation_id,
        member_id: Str::from(member),
        protocol_type: Some(Str::from(CONSUMER)),
        protocol_name: Some(Str::from("range")),
        assignments,
        ..SyncGroupRequest::default()
    };
    let asked = world.asked(5, request);
    match world.ask(Command::Sync(asked)) {
        Answer::Sync(response) => response,
        other => panic!("{other:?}"),
    }
}

pub fn classic_beat(world: &mut World, member: &str, generation_id: i32) -> ErrorCode {
    let request = HeartbeatRequest {
        group_id: Str::from(GROUP),
        generation_id,
        member_id: Str::from(member),
        group_instance_id: None,
    };
    let asked = world.asked(4, request);
    match world.ask(Command::Heartbeat(asked)) {
        Answer::Heartbeat(response) => ErrorCode::from_code(response.error_code).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn leaves(world: &mut World, member: &str) -> ErrorCode {
    let members =
        vec![MemberIdentity { member_id: Str::from(member), ..MemberIdentity::default() }];
    let group_id = Str::from(GROUP);
    let request = LeaveGroupRequest { group_id, members, ..LeaveGroupRequest::default() };
    let asked = world.asked(5, request);
    match world.ask(Command::Leave(asked)) {
        Answer::Leave(response) => ErrorCode::from_code(response.members[0].error_code).unwrap(),
        other => panic!("{other:?}"),
    }
}

pub fn has(world: &World, response: &SyncGroupResponse) -> Partitions {
    assert_eq!(response.error_code, 0);
    let assignment: ConsumerProtocolAssignment =
        decode_versioned(response.assignment.clone()).unwrap();
    by_id(&assignment.assigned_partitions, &world.image)
}

fn of(world: &World, partitions: &[i32]) -> Partitions {
    Partitions::of([(world.id("t"), partitions.to_vec())])
}

/// A classic group of one member that has all of `t`; the member's id.
fn alone(world: &mut World) -> String {
    let request = joining(world, "", &Partitions::default());
    let mut replies = joins(world, request);
    while replies.is_empty() {
        world.now += Duration::from_secs(1);
        replies = world.run(Command::Tick);
    }
    let member = joined(replies).remove(0).member_id.to_string();
    let metadata = subscription(world, &Partitions::default());
    let all = Partitions::of([(
        world.id("t"),
        (0..world.image.topic("t").unwrap().partitions.len() as i32).collect(),
    )]);
    let assignment = SyncGroupRequestAssignment {
        member_id: Str::from(&member),
        assignment: encoded(&all, &metadata, &world.image),
    };
    let response = sync_with(world, &member, 1, vec![assignment]);
    assert_eq!(has(world, &response), all);
    member
}

#[test]
fn a_classic_group_changes_over_member_by_member_and_back() {
    let mut world = World::with(config(MigrationPolicy::Bidirectional), &[("t", 4)]);
    let classic = alone(&mut world);
    // A member of the consumer protocol joins: it waits for what the classic one has.
    let new = world.beat(join("n", &["t"]));
    assert_eq!(
        (new.error_code, new.member_epoch, assignment(&new)),
        (0, 2, Some(Partitions::default()))
    );
    assert_eq!(world.durable(), world.replayed());
    assert_eq!(world.rebalances.last().unwrap().cause, RebalanceCause::ProtocolChanged);

    // The classic one joins again twice: to hear what it may keep, and having given the rest up.
    assert_eq!(classic_beat(&mut world, &classic, 1), ErrorCode::RebalanceInProgress);
    let all = of(&world, &[0, 1, 2, 3]);
    let first = rejoined(&mut world, &classic, &all);
    assert_eq!((first.error_code, first.generation_id), (0, 1));
    let response = syncs(&mut world, &classic, 1);
    let kept = has(&world, &response);
    assert_eq!(kept.len(), 2);
    assert_eq!(classic_beat(&mut world, &classic, 1), ErrorCode::RebalanceInProgress);
    assert_eq!(assignment(&world.beat(plain("n", 2))), None, "not yet");
    let second = rejoined(&mut world, &classic, &kept);
    assert_eq!((second.error_code, second.generation_id), (0, 2));
    let response = syncs(&mut world, &classic, 2);
    assert_eq!(has(&world, &response), kept);
    assert_eq!(classic_beat(&mut world, &classic, 2), ErrorCode::None);
    let got = assignment(&world.beat(plain("n", 2))).unwrap();
    assert_eq!(got.union(&kept), all);
    assert_eq!(world.group().state_name(), "Stable");
    assert_eq!(world.durable(), world.replayed());

    // The new one leaves: the group is classic again, and its member is called to join.
    assert_eq!(world.beat(plain("n", -1)).error_code, 0);
    let Some(Group::Classic(group)) = world.machine.groups.get(GROUP).map(|group| &**group) else {
        panic!("not classic");
    };
    assert_eq!((group.state(), group.size()), (State::PreparingRebalance, 1));
    assert_eq!(world.replayed(), Vec::new());
    assert_eq!(classic_beat(&mut world, &classic, 2), ErrorCode::RebalanceInProgress);
    let again = rejoined(&mut world, &classic, &kept);
    assert_eq!((again.error_code, again.generation_id), (0, 3));
}

#[test]
fn whoever_waits_is_told_to_join_again_when_the_group_changes_over() {
    let mut world = World::with(config(MigrationPolicy::Upgrade), &[("t", 2)]);
    let first = alone(&mut world);
    let request = joining(&world, "", &Partitions::default());
    assert_eq!(joins(&mut world, request), Vec::new(), "it waits for the first");
    let asked = world.asked(1, join("n", &["t"]));
    let replies = world.run(Command::ConsumerHeartbeat(asked));
    let refused: Vec<i16> = replies
        .iter()
        .filter_map(|(_, answer)| match answer {
            Answer::Join(response) => Some(response.error_code),
            _ => None,
        })
        .collect();
    assert_eq!(refused, [ErrorCode::RebalanceInProgress.code()]);
    assert_eq!(world.group().members.len(), 3);
    assert_eq!(*world.member(&first).current.assigned, of(&world, &[0, 1]));

    // Where going back is not allowed the group stays what it is.
    world.beat(plain("n", -1));
    assert_eq!(world.group().members.len(), 2);
}

#[test]
fn groups_change_over_only_where_they_may() {
    for (policy, fault) in [
        (MigrationPolicy::Disabled, "because online upgrade is disabled."),
        (MigrationPolicy::Downgrade, "because online upgrade is disabled."),
    ] {
        let mut world = World::with(config(policy), &[("t", 2)]);
        let classic = alone(&mut world);
        let message = format!("Cannot upgrade classic group g to consumer group {fault}");
        refused(&world.beat(join("n", &["t"])), ErrorCode::GroupIdNotFound, &message);
        let plain = "Group g is not a consumer group.";
        refused(&world.beat(super::world::plain("n", 1)), ErrorCode::GroupIdNotFound, plain);
        assert_eq!(classic_beat(&mut world, &classic, 1), ErrorCode::None);
    }
    let mut world = World::with(config(MigrationPolicy::Bidirectional), &[("t", 2)]);
    let other = JoinGroupRequest {
        protocol_type: Str::from("connect"),
        ..joining(&world, "", &Partitions::default())
    };
    joins(&mut world, other);
    let message = "because the group does not use the consumer embedded protocol.";
    refused(&world.beat(join("n", &["t"])), ErrorCode::GroupIdNotFound, message);
}

#[test]
fn an_empty_group_is_whatever_the_next_member_is() {
    let mut world = World::with(config(MigrationPolicy::Disabled), &[("t", 2)]);
    let classic = alone(&mut world);
    assert_eq!(leaves(&mut world, &classic), ErrorCode::None);
    assert_eq!(world.beat(join("n", &["t"])).member_epoch, 1);
    assert_eq!(world.durable(), world.replayed());
    world.beat(plain("n", -1));
    let unknown = rejoined(&mut world, "x", &Partitions::default());
    assert_eq!(unknown.error_code, ErrorCode::UnknownMemberId.code());
    alone(&mut world);
    assert_eq!(world.replayed(), Vec::new(), "nothing is left of the consumer group");
}

#[test]
fn classic_members_join_consumer_groups_and_are_watched_over() {
    let mut world = World::with(config(MigrationPolicy::Bidirectional), &[("t", 2)]);
    world.beat(join("n", &["t"]));
    let request = joining(&world, "", &Partitions::default());
    let asked = world.asked(4, request);
    let given = joined(world.run(Command::Join(asked))).remove(0);
    assert_eq!(given.error_code, ErrorCode::MemberIdRequired.code());
    let id = given.member_id.to_string();
    assert!(id.starts_with("client-"), "{id}");
    let first = rejoined(&mut world, &id, &Partitions::default());
    assert_eq!((first.error_code, first.generation_id), (0, 2));
    assert_eq!(first.protocol_name.as_deref(), Some("range"));
    let response = syncs(&mut world, &id, 2);
    assert_eq!(has(&world, &response), Partitions::default());
    assert_eq!(classic_beat(&mut world, &id, 2), ErrorCode::None);

    for (member, generation, expected) in [
        ("x", 2, ErrorCode::UnknownMemberId),
        ("n", 2, ErrorCode::UnknownMemberId),
        (id.as_str(), 1, ErrorCode::IllegalGeneration),
    ] {
        assert_eq!(classic_beat(&mut world, member, generation), expected);
        assert_eq!(syncs(&mut world, member, generation).error_code, expected.code());
    }
    assert_eq!(leaves(&mut world, "n"), ErrorCode::UnknownMemberId);
    let stranger = JoinGroupRequest {
        protocol_type: Str::from("connect"),
        ..joining(&world, "", &Partitions::default())
    };
    let answer = joined(joins(&mut world, stranger)).remove(0);
    assert_eq!(answer.error_code, ErrorCode::InconsistentGroupProtocol.code());

    // n gives one up: it is free, so the classic member is called, and does not come.
    let kept = assignment(&world.beat(plain("n", 1))).unwrap();
    world.beat(owning("n", 1, &kept));
    for _ in 0..4 {
        assert_eq!(classic_beat(&mut world, &id, 2), ErrorCode::RebalanceInProgress);
        world.pass(Duration::from_millis(4_900));
        world.beat(plain("n", 2));
    }
    world.pass(Duration::from_millis(400));
    assert_eq!(classic_beat(&mut world, &id, 2), ErrorCode::UnknownMemberId);
    assert_eq!(assignment(&world.beat(plain("n", 2))), Some(of(&world, &[0, 1])));
    assert_eq!(world.rebalances.last().unwrap().cause, RebalanceCause::RebalanceTimedOut);
    assert_eq!(world.durable(), world.replayed());
}

#[test]
fn a_classic_member_has_its_own_session_timeout_and_leaves() {
    let mut world = World::with(config(MigrationPolicy::Disabled), &[("t", 2)]);
    world.beat(join("n", &["t"]));
    for leaves_by_itself in [true, false] {
        let answer = rejoined(&mut world, "", &Partitions::default());
        let id = answer.member_id.to_string();
        syncs(&mut world, &id, answer.generation_id);
        if leaves_by_itself {
            assert_eq!(leaves(&mut world, &id), ErrorCode::None);
        } else {
            world.pass(Duration::from_millis(9_900));
            assert_eq!(world.group().members.len(), 2);
            world.pass(Duration::from_millis(100));
        }
        assert_eq!(world.group().members.len(), 1);
    }
    assert_eq!(world.durable(), world.replayed());
}

#[test]
fn what_an_empty_group_committed_stays_a_groups_when_it_makes_place() {
    let mut world = World::new(&[("t", 1)]);
    world.beat(join("a", &["t"]));
    world.beat(plain("a", -1));
    let commit = OffsetCommitRequest {
        group_id: Str::from(GROUP),
        topics: vec![OffsetCommitRequestTopic {
            name: Str::from("t"),
            topic_id: world.id("t").0,
            partitions: vec![OffsetCommitRequestPartition::default()],
        }],
        ..OffsetCommitRequest::default()
    };
    let asked = world.asked(9, commit);
    world.ask(Command::CommitOffsets(asked));
    let too_short =
        JoinGroupRequest { session_timeout_ms: 1, ..joining(&world, "", &Partitions::default()) };
    let refused = joined(joins(&mut world, too_short)).remove(0);
    assert_eq!(refused.error_code, ErrorCode::InvalidSessionTimeout.code());
    assert!(world.group().is_empty());

    let first = joining(&world, "", &Partitions::default());
    assert_eq!(joins(&mut world, first), []);
    world.failover();
    assert_eq!(world.machine.committed_offsets().count(), 1);
    assert!(world.machine.groups.contains_key(GROUP));
    world.pass(GroupConfig::default().offsets_retention);
    world.pass(GroupConfig::default().offsets_retention_check_interval);
    assert_eq!(world.machine.committed_offsets().count(), 0);
    assert!(world.machine.groups.is_empty());
}
