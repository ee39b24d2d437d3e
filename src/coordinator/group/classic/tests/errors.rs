//! What is refused, and with which error code.

use std::time::Duration;

use super::*;

#[test]
fn a_join_is_refused_with_kafkas_error_code() {
    type Change = fn(&mut JoinGroupRequest, &str);
    let table: [(&str, Change, ErrorCode); 12] = [
        ("no group id", |join, _| join.group_id = Str::default(), ErrorCode::InvalidGroupId),
        ("too short", |join, _| join.session_timeout_ms = 5_999, ErrorCode::InvalidSessionTimeout),
        ("below 0", |join, _| join.session_timeout_ms = -1, ErrorCode::InvalidSessionTimeout),
        (
            "too long",
            |join, _| join.session_timeout_ms = 1_800_001,
            ErrorCode::InvalidSessionTimeout,
        ),
        ("unknown member", |join, _| join.member_id = "x".into(), ErrorCode::UnknownMemberId),
        (
            "unknown group",
            |join, _| (join.group_id, join.member_id) = ("h".into(), "x".into()),
            ErrorCode::UnknownMemberId,
        ),
        (
            "unknown instance",
            |join, member| {
                (join.member_id, join.group_instance_id) = (member.into(), Some("x".into()));
            },
            ErrorCode::UnknownMemberId,
        ),
        (
            "another's instance",
            |join, member| {
                (join.member_id, join.group_instance_id) = (member.into(), Some("i".into()));
            },
            ErrorCode::FencedInstanceId,
        ),
        (
            "another protocol type",
            |join, _| join.protocol_type = "connect".into(),
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            "another protocol type of a member",
            |join, member| {
                (join.member_id, join.protocol_type) = (member.into(), "connect".into());
            },
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            "an assignor that nobody shares",
            |join, member| {
                join.member_id = member.into();
                join.protocols[0].name = "mine".into();
            },
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            "no assignor",
            |join, member| {
                join.member_id = member.into();
                join.protocols.clear();
            },
            ErrorCode::InconsistentGroupProtocol,
        ),
    ];
    for (name, change, error) in table {
        for version in [0, 4, 5, 6, 7, 9] {
            let (mut bench, dynamic) = group_of_two();
            let stored = bench.log.len();
            let mut request = joining("");
            change(&mut request, &dynamic);
            let request = bench.join_in(version, "c", request);
            let refused = bench.joined(request);
            assert_eq!(refused.error_code, error.code(), "{name} in version {version}");
            assert_eq!(refused.generation_id, -1, "{name}");
            assert_eq!(refused.protocol_name.is_some(), version < 7, "{name}");
            assert_eq!((bench.log.len(), bench.state()), (stored, "Stable"), "{name}");
        }
    }
}

/// A Stable group of a static member `i` and a dynamic one, whose id it gives; there is room for one more.
fn group_of_two() -> (Bench, String) {
    let mut bench = Bench::with(GroupConfig { max_size: 3, ..at_once() });
    let of_static = bench.join("s", joining_as("", "i"));
    let (dynamic, _) = bench.arrive("d");
    bench.pass(Duration::ZERO);
    let fixed = bench.joined(of_static).member_id.to_string();
    let leader = bench.group().leader.clone().unwrap();
    assign_one_each(&mut bench, &leader, &[dynamic.clone(), fixed]);
    assert_eq!(bench.state(), "Stable");
    (bench, dynamic)
}

#[test]
fn a_full_group_takes_nobody_but_its_members() {
    let full = ErrorCode::GroupMaxSizeReached.code();
    let (mut bench, dynamic) = group_of_two();
    let (third, joins) = bench.arrive("third");
    bench.join("d", joining(&dynamic));
    let fixed = bench.group().static_member("i").unwrap().to_string();
    bench.join("s", joining_as(&fixed, "i"));
    assert_eq!((bench.joined(joins).error_code, bench.group().size()), (0, 3));
    for request in [joining(""), joining_as("", "new"), joining("x")] {
        let request = bench.join("c", request);
        assert_eq!(bench.joined(request).error_code, full);
    }
    let again = bench.join("c", joining(&third));
    assert_eq!(bench.joined(again).error_code, 0);
}

#[test]
fn an_empty_group_wants_a_protocol_type_and_an_assignor() {
    let changes: [fn(&mut JoinGroupRequest); 2] =
        [|join| join.protocol_type = Str::default(), |join| join.protocols.clear()];
    for change in changes {
        let mut bench = Bench::new();
        let mut request = joining("");
        change(&mut request);
        let request = bench.join("c", request);
        let error = ErrorCode::InconsistentGroupProtocol.code();
        assert_eq!(bench.joined(request).error_code, error);
        assert!(bench.machine.groups.is_empty(), "nothing is left of it");
    }
}

#[test]
fn a_subscription_that_cannot_be_read_is_the_members_business() {
    let mut bench = Bench::with(at_once());
    let mut request = joining("");
    request.protocols[0].metadata = Bytes::from_static(b"\x00");
    let (member, join) = bench.arrive_with("c", request);
    bench.pass(Duration::ZERO);
    assert_eq!(bench.joined(join).error_code, 0);
    let mut handed_in = assigning(&member, 1, &[]);
    handed_in.assignments = vec![SyncGroupRequestAssignment {
        member_id: member.as_str().into(),
        assignment: Bytes::from_static(b"\xff\xff\x01"),
    }];
    let sync = bench.sync(handed_in);
    assert_eq!(bench.synced(sync).error_code, 0);
    assert!(bench.group().is_subscribed_to("anything"), "it may be");
    bench.fail_over();
    assert!(bench.group().is_subscribed_to("anything"));
}

#[test]
fn a_sync_is_refused_with_kafkas_error_code() {
    type Change = fn(&mut SyncGroupRequest);
    let table: [(&str, Change, ErrorCode); 9] = [
        ("no group id", |sync| sync.group_id = Str::default(), ErrorCode::InvalidGroupId),
        ("unknown group", |sync| sync.group_id = "h".into(), ErrorCode::UnknownMemberId),
        ("unknown member", |sync| sync.member_id = "x".into(), ErrorCode::UnknownMemberId),
        (
            "unknown instance",
            |sync| sync.group_instance_id = Some("x".into()),
            ErrorCode::UnknownMemberId,
        ),
        (
            "another's instance",
            |sync| sync.group_instance_id = Some("i".into()),
            ErrorCode::FencedInstanceId,
        ),
        ("an old generation", |sync| sync.generation_id = 0, ErrorCode::IllegalGeneration),
        ("a new generation", |sync| sync.generation_id = 2, ErrorCode::IllegalGeneration),
        (
            "another type",
            |sync| sync.protocol_type = Some("connect".into()),
            ErrorCode::InconsistentGroupProtocol,
        ),
        (
            "another assignor",
            |sync| sync.protocol_name = Some("sticky".into()),
            ErrorCode::InconsistentGroupProtocol,
        ),
    ];
    for (name, change, error) in table {
        let (mut bench, dynamic) = group_of_two();
        let mut request = syncing(&dynamic, 1);
        change(&mut request);
        let request = bench.sync(request);
        assert_eq!(bench.synced(request).error_code, error.code(), "{name}");
    }
    let (mut bench, dynamic) = group_of_two();
    bench.leave(&[("", Some("i"), "")]);
    let request = bench.sync(syncing(&dynamic, 1));
    assert_eq!(bench.synced(request).error_code, ErrorCode::RebalanceInProgress.code());
}

#[test]
fn a_heartbeat_and_a_commit_are_refused_with_kafkas_error_codes() {
    let (unknown, fenced) = (ErrorCode::UnknownMemberId, ErrorCode::FencedInstanceId);
    let table = [
        ("x", None, 1, unknown),
        ("", None, 1, unknown),
        ("", None, -1, unknown),
        ("d", Some("x"), 1, unknown),
        ("d", Some("i"), 1, fenced),
        ("d", None, 0, ErrorCode::IllegalGeneration),
        ("d", None, 2, ErrorCode::IllegalGeneration),
        ("d", None, 1, ErrorCode::None),
    ];
    for (member, instance, generation, error) in table {
        let (mut bench, dynamic) = group_of_two();
        let member = if member == "d" { &dynamic } else { member };
        let beaten = bench.beat_as(member, instance, generation);
        assert_eq!(beaten, error.code(), "{member} {instance:?} {generation}");
        let checked = bench.group().check_commit(member, instance, generation);
        assert_eq!(checked.err().unwrap_or(ErrorCode::None), error, "{member} {instance:?}");
    }
}

#[test]
fn commits_are_taken_by_state() {
    let mut bench = Bench::with(at_once());
    let (member, _) = bench.arrive("c");
    bench.pass(Duration::ZERO);
    let group = bench.group();
    assert_eq!(group.check_commit(&member, None, 1), Err(ErrorCode::RebalanceInProgress));
    bench.sync(assigning(&member, 1, &[(&member, &[0])]));
    assert_eq!(bench.group().check_commit(&member, None, 1), Ok(()));
    assert_eq!(bench.group().check_commit("", None, -1), Err(ErrorCode::UnknownMemberId));
    bench.join("c", joining(&member));
    bench.arrive("d");
    bench.leave(&[(&member, None, "")]);
    bench.pass(Duration::from_secs(120));
    let group = bench.group();
    assert_eq!(group.state().name(), "Empty");
    assert_eq!(group.check_commit("", None, -1), Ok(()));
    assert_eq!(group.check_commit(&member, None, -1), Ok(()));
    assert_eq!(group.check_commit(&member, None, 1), Err(ErrorCode::UnknownMemberId));
}

#[test]
fn who_leaves_is_answered_one_by_one() {
    let (mut bench, dynamic) = group_of_two();
    let response = bench.leave(&[
        ("x", None, ""),
        ("", None, ""),
        ("", Some("x"), ""),
        (&dynamic, Some("i"), ""),
        (&dynamic, Some("x"), ""),
        (&dynamic, None, ""),
        (&dynamic, None, ""),
        ("", Some("i"), ""),
    ]);
    let unknown = ErrorCode::UnknownMemberId.code();
    let fenced = ErrorCode::FencedInstanceId.code();
    let codes: Vec<i16> = response.members.iter().map(|member| member.error_code).collect();
    assert_eq!(codes, [unknown, unknown, unknown, fenced, unknown, 0, unknown, 0]);
    assert_eq!(response.error_code, 0);
    assert_eq!(bench.state(), "Empty");
    let request = LeaveGroupRequest { group_id: "h".into(), ..Default::default() };
    let request = bench.ask("c", 5, request, Command::Leave);
    assert_eq!(bench.answer(request), Some(Answer::Leave(LeaveGroupResponse::default())));
}

#[test]
fn a_deleted_group_knows_none_of_its_members() {
    let (mut bench, dynamic) = group_of_two();
    bench.leave(&[(&dynamic, None, ""), ("", Some("i"), "")]);
    let request = bench.ask("c", 2, vec![Str::from(GROUP)], Command::Delete);
    assert!(matches!(bench.answer(request), Some(Answer::Deleted(all)) if all[0].error_code == 0));
    assert!(bench.machine.groups.is_empty() && bench.replayed().groups.is_empty());
    assert_eq!(bench.beat(&dynamic, 1), ErrorCode::UnknownMemberId.code());
    let join = bench.join("c", joining(&dynamic));
    assert_eq!(bench.joined(join).error_code, ErrorCode::UnknownMemberId.code());
}

#[test]
fn a_thousand_members_that_join_and_vanish_leave_nothing_behind() {
    let mut bench = Bench::new();
    for i in 0..1000 {
        let join = bench.join(&format!("c{i}"), joining(""));
        assert_eq!(bench.joined(join).error_code, ErrorCode::MemberIdRequired.code());
    }
    assert_eq!(bench.group().next_deadline(), bench.machine.next_deadline());
    bench.pass(Duration::from_secs(10));
    assert!(bench.machine.groups.is_empty(), "none of them came back with its id");
    assert!(bench.log.is_empty());

    for i in 0..1000 {
        bench.arrive(&format!("c{i}"));
    }
    bench.pass(Duration::from_secs(3600));
    assert!(bench.parked.is_empty());
    assert!(bench.machine.groups.is_empty(), "no generation of it was ever assigned");

    let members = stable(&mut bench, 1000);
    bench.pass(Duration::from_secs(10));
    assert!(bench.parked.is_empty());
    let left = bench.group();
    assert_eq!((left.state().name(), left.size(), left.generation()), ("Empty", 0, 2));
    assert_eq!(left.next_deadline(), None);
    assert_eq!(bench.beat(&members[0], 1), ErrorCode::UnknownMemberId.code());
    bench.pass(Duration::from_secs(3600));
    assert!(bench.machine.groups.is_empty(), "without offsets it is expired");
    assert!(bench.replayed().groups.is_empty());
}
