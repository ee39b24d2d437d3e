//! What is refused, with which code and in which words.

use super::world::*;
use crate::coordinator::group::GroupConfig;
use crate::coordinator::group::consumer::CommitCheck;
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
        let checked = group.check_commit(member, None, epoch, version);
        let checked = checked.and_then(|check| check.of(world.id("t"), 0));
        assert_eq!(checked, expected, "{member} {epoch}");
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
    let checked = world.group().check_commit("", None, -1, 2);
    assert_eq!(checked, Ok(CommitCheck::All), "nobody is there to mind");
}

/// KIP-1251: a commit under way while the member's epoch rose.
#[test]
fn an_epoch_that_was_left_is_good_for_what_the_member_has_had_since() {
    let mut world = World::new(&[("t", 4)]);
    world.beat(join("a", &["t"]));
    world.beat(join("b", &["t"]));
    let kept = assignment(&world.beat(plain("a", 1))).unwrap();
    world.beat(owning("a", 1, &kept));
    let got = assignment(&world.beat(plain("b", 2))).unwrap();
    let may = |world: &World, member: &str, epoch: i32, partition: i32| {
        let checked = world.group().check_commit(member, None, epoch, 9);
        checked.and_then(|check| check.of(world.id("t"), partition))
    };
    let rows = |world: &World, when: &str| {
        for partition in 0..4 {
            let stayed = kept.contains(world.id("t"), partition);
            let expected = if stayed { Ok(()) } else { Err(StaleMemberEpoch) };
            assert_eq!(may(world, "a", 1, partition), expected, "{when}: {partition} of a before");
            assert_eq!(may(world, "a", 2, partition), Ok(()), "{when}: a's own epoch");
            assert_eq!(may(world, "a", 3, partition), Err(StaleMemberEpoch), "{when}: too new");
            assert_eq!(may(world, "b", 1, partition), Err(StaleMemberEpoch), "{when}: b was not");
        }
    };
    rows(&world, "at once");
    world.failover();
    rows(&world, "after a failover");
    // b goes, a gets back what it had given up: that counts from now on.
    world.beat(plain("b", -1));
    assert_eq!(assignment(&world.beat(plain("a", 2))).unwrap(), kept.union(&got));
    for partition in 0..4 {
        let expected = match kept.contains(world.id("t"), partition) {
            true => [Ok(()), Ok(()), Ok(())],
            false => [Err(StaleMemberEpoch), Err(StaleMemberEpoch), Ok(())],
        };
        let epochs = [1, 2, 3];
        assert_eq!(epochs.map(|epoch| may(&world, "a", epoch, partition)), expected, "{partition}");
    }
    assert_eq!(world.durable(), world.replayed());
}

#[test]
fn what_a_static_member_took_over_counts_from_its_joining_on() {
    let mut world = World::new(&[("t", 2)]);
    let named = |request| Request { instance_id: Some(Str::from("i")), ..request };
    world.beat(named(join("a", &["t"])));
    world.beat(named(plain("a", -2)));
    world.beat(named(join("b", &["t"])));
    let group = world.group();
    assert_eq!(group.check_commit("a", None, 1, 9), Err(UnknownMemberId));
    let epoch = world.member("b").current.epoch;
    let since = |partition| world.member("b").current.epochs.since(world.id("t"), partition);
    assert_eq!([since(0), since(1)], [Some(0), Some(0)]);
    assert_eq!(group.check_commit("b", None, epoch, 9), Ok(CommitCheck::All));
    assert_eq!(world.durable(), world.replayed());
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
