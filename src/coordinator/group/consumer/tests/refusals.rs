//! What is refused, with which code and in which words.

use super::world::*;
use crate::coordinator::group::GroupConfig;
use crate::protocol::Str;
use crate::protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequestTopicPartitions,
};
use crate::types::ErrorCode::{
    self, FencedMemberEpoch, GroupIdNotFound, GroupMaxSizeReached, InvalidRegularExpression,
    InvalidRequest, StaleMemberEpoch, UnknownMemberId, UnsupportedAssignor, UnsupportedVersion,
};

type Request = ConsumerGroupHeartbeatRequest;
type Change = fn(&mut Request);
type Row = (ErrorCode, &'static str, fn() -> Request, Change);

#[test]
fn malformed_requests() {
    let joins = || join("b", &["t"]);
    let beats = || plain("a", 1);
    let rows: &[Row] = &[
        (InvalidRequest, "MemberId can't be empty.", joins, |r| r.member_id = Str::from(" ")),
        (InvalidRequest, "GroupId can't be empty.", joins, |r| r.group_id = Str::from("")),
        (InvalidRequest, "InstanceId can't be empty.", joins, |r| {
            r.instance_id = Some(Str::from(""))
        }),
        (InvalidRequest, "RackId can't be empty.", joins, |r| r.rack_id = Some(Str::from(""))),
        (InvalidRequest, "RebalanceTimeoutMs must be", joins, |r| r.rebalance_timeout_ms = -1),
        (InvalidRequest, "TopicPartitions must be empty", joins, |r| r.topic_partitions = None),
        (InvalidRequest, "TopicPartitions must be empty", joins, |r| {
            r.topic_partitions = Some(vec![HeartbeatRequestTopicPartitions::default()]);
        }),
        (InvalidRequest, "must be non-null when (re-)joining.", joins, |r| {
            r.subscribed_topic_names = None;
        }),
        (InvalidRequest, "InstanceId can't be null.", beats, |r| r.member_epoch = -2),
        (InvalidRequest, "MemberEpoch is invalid.", beats, |r| r.member_epoch = -3),
        (
            UnsupportedAssignor,
            "ServerAssignor x is not supported. Supported assignors: uniform, range.",
            joins,
            |r| r.server_assignor = Some(Str::from("x")),
        ),
        (InvalidRegularExpression, "SubscribedTopicRegex `(` is not a valid", joins, |r| {
            r.subscribed_topic_regex = Some(Str::from("("));
        }),
        (InvalidRegularExpression, "SubscribedTopicRegex `a)|(b` is not a valid", joins, |r| {
            r.subscribed_topic_regex = Some(Str::from("a)|(b"));
        }),
        (GroupIdNotFound, "Consumer group h not found.", beats, |r| r.group_id = Str::from("h")),
        (GroupIdNotFound, "Consumer group h not found.", beats, |r| {
            (r.group_id, r.member_epoch) = (Str::from("h"), -1);
        }),
        (UnknownMemberId, "Member x is not a member of group g.", beats, |r| {
            r.member_id = Str::from("x");
        }),
        (UnknownMemberId, "Member x is not a member of group g.", beats, |r| {
            (r.member_id, r.member_epoch) = (Str::from("x"), -1);
        }),
        (UnknownMemberId, "Instance id i is unknown.", beats, |r| {
            r.instance_id = Some(Str::from("i"));
        }),
        (
            FencedMemberEpoch,
            "has a greater member epoch (2) than the one known by the group coordinator (1)",
            beats,
            |r| r.member_epoch = 2,
        ),
    ];
    let mut world = World::new(&[("t", 3)]);
    world.beat(join("a", &["t"]));
    let durable = world.durable();
    for (code, message, request, change) in rows {
        let mut request = request();
        change(&mut request);
        refused(&world.beat(request), *code, message);
        assert_eq!(world.durable(), durable, "{message}");
    }
}

#[test]
fn a_group_has_a_greatest_size() {
    let config = GroupConfig { consumer_max_size: 1, ..GroupConfig::default() };
    let mut world = World::with(config, &[("t", 3)]);
    world.beat(join("a", &["t"]));
    let message = "The consumer group has reached its maximum capacity of 1 members.";
    refused(&world.beat(join("b", &["t"])), GroupMaxSizeReached, message);
    assert_eq!(world.beat(join("a", &["t"])).error_code, 0, "a member stays one");
}

#[test]
fn commits_and_fetches_need_the_members_epoch() {
    let mut world = World::new(&[("t", 3)]);
    world.beat(join("a", &["t"]));
    let group = world.group();
    for (member, epoch, version, expected) in [
        ("a", 1, 9, Ok(())),
        ("a", 1, 8, Err(UnsupportedVersion)),
        ("a", 0, 9, Err(StaleMemberEpoch)),
        ("a", 2, 9, Err(StaleMemberEpoch)),
        ("x", 1, 9, Err(UnknownMemberId)),
        ("", -1, 9, Err(UnknownMemberId)),
    ] {
        assert_eq!(group.check_commit(member, None, epoch, version), expected, "{member} {epoch}");
    }
    for (member, epoch, expected) in [
        (None, -1, Ok(())),
        (Some("a"), 1, Ok(())),
        (Some("a"), 0, Err(StaleMemberEpoch)),
        (Some("x"), 1, Err(UnknownMemberId)),
    ] {
        assert_eq!(group.check_fetch(member, epoch), expected, "{member:?} {epoch}");
    }
    world.beat(plain("a", -1));
    assert_eq!(world.group().check_commit("", None, -1, 2), Ok(()), "nobody is there to mind");
}

#[test]
fn what_a_key_has_no_room_for_is_refused() {
    let mut world = World::new(&[("t", 1)]);
    let long = "m".repeat(32_768);
    let response = world.beat(join(&long, &["t"]));
    refused(&response, ErrorCode::InvalidRequest, "MemberId is too long.");
    let by_regex = ConsumerGroupHeartbeatRequest {
        subscribed_topic_regex: Some(long.as_str().into()),
        ..join("a", &[])
    };
    refused(&world.beat(by_regex), ErrorCode::InvalidRequest, "SubscribedTopicRegex is too long.");
    assert_eq!(world.beat(join(&long[1..], &["t"])).error_code, 0);
    assert_eq!(world.durable(), world.replayed());
}
