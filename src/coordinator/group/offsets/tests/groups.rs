//! What the state of a classic group means for its offsets.

use std::time::Duration;

use super::*;
use crate::coordinator::group::GroupConfig;
use crate::coordinator::group::ids::GroupId;
use crate::coordinator::group::record::GroupRecord;
use crate::coordinator::group::stored::{GroupMetadataValue, StoredMember};
use crate::protocol::consumer_protocol::{ConsumerProtocolSubscription, encode_versioned};
use crate::protocol::messages::join_group::{JoinGroupRequest, JoinGroupRequestProtocol};
use crate::types::ErrorCode;

const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
const DAY: Duration = Duration::from_secs(24 * 3600);

/// Group `g` as it is stored: with a member that subscribes to `t`, or since `START` without one.
fn store(bench: &mut Bench, protocol_type: &str, has_member: bool) {
    let subscription =
        ConsumerProtocolSubscription { topics: vec!["t".into()], ..Default::default() };
    let member = StoredMember {
        member_id: "m".into(),
        client_id: "c".into(),
        client_host: "/h".into(),
        rebalance_timeout: 1_000,
        session_timeout: 1_000,
        subscription: encode_versioned(&subscription, 0).unwrap(),
        ..StoredMember::default()
    };
    let value = GroupMetadataValue {
        protocol_type: protocol_type.into(),
        generation: 4,
        protocol: has_member.then(|| "range".into()),
        leader: has_member.then(|| "m".into()),
        current_state_timestamp: START.0,
        members: has_member.then_some(member).into_iter().collect(),
    };
    let record = GroupRecord::Classic { group: GroupId::from("g"), value: Some(value) };
    bench.log.push(GroupMachine::encode(&record));
    bench.machine.apply(&record);
}

fn by_member(topic: &str, partitions: &[i32]) -> OffsetCommitRequest {
    let body = commit("g", topic, partitions, 5);
    OffsetCommitRequest { generation_id_or_member_epoch: 4, member_id: "m".into(), ..body }
}

fn left(bench: &Bench) -> Vec<String> {
    bench.offsets().into_iter().map(|(_, partition, _)| partition).collect()
}

#[test]
fn the_group_says_who_may_commit() {
    let table = [
        ("m", 4, ErrorCode::None),
        ("m", 3, ErrorCode::IllegalGeneration),
        ("x", 4, ErrorCode::UnknownMemberId),
        ("", -1, ErrorCode::UnknownMemberId),
    ];
    for (member, generation, expected) in table {
        let mut bench = Bench::new(GroupConfig::default());
        store(&mut bench, "consumer", true);
        let mut body = by_member("t", &[0, 1]);
        body.member_id = member.into();
        body.generation_id_or_member_epoch = generation;
        let response = bench.commit(9, body);
        let codes: Vec<_> = response.topics[0].partitions.iter().map(|p| p.error_code).collect();
        assert_eq!(codes, [expected.code(); 2], "{member} {generation}");
        assert_eq!(bench.offsets().is_empty(), expected != ErrorCode::None);
    }
}

#[test]
fn a_group_of_consumers_keeps_what_it_subscribes_to_while_it_lives() {
    let mut bench = Bench::new(GroupConfig::default());
    store(&mut bench, "consumer", true);
    bench.commit(9, by_member("t", &[0]));
    bench.commit(9, by_member("u", &[0]));
    bench.pass(DAY);
    bench.commit(9, by_member("u", &[1]));
    bench.pass(RETENTION - DAY);
    // The commits gave the member a session again and again; that is not what is tested here.
    store(&mut bench, "consumer", true);
    bench.run(Command::Tick);
    assert_eq!(left(&bench), ["t-0", "u-1"]);

    let response = bench.delete(delete("g", "t", &[0]));
    let subscribed = ErrorCode::GroupSubscribedToTopic.code();
    assert_eq!(response.error_code, 0);
    assert_eq!(response.topics[0].partitions[0].error_code, subscribed);
    let response = bench.delete(delete("g", "u", &[1]));
    assert_eq!(response.topics[0].partitions[0].error_code, 0);
    assert_eq!(left(&bench), ["t-0"]);
}

#[test]
fn a_living_group_of_others_keeps_everything() {
    let mut bench = Bench::new(GroupConfig::default());
    store(&mut bench, "connect", true);
    bench.commit(9, by_member("u", &[0]));
    bench.pass(RETENTION * 2);
    store(&mut bench, "connect", true);
    bench.run(Command::Tick);
    assert_eq!(left(&bench), ["u-0"]);
    let response = bench.delete(delete("g", "u", &[0]));
    assert_eq!(response.error_code, ErrorCode::NonEmptyGroup.code());
    assert_eq!(response.topics, []);
}

#[test]
fn an_empty_group_loses_everything_at_once_and_goes() {
    let mut bench = Bench::new(GroupConfig::default());
    store(&mut bench, "consumer", false);
    bench.commit(9, commit("g", "t", &[0], 5));
    bench.pass(DAY);
    // By whoever sets offsets from outside: the time of the group counts all the same.
    bench.commit(9, commit("g", "u", &[0], 5));
    bench.pass(RETENTION - DAY - Duration::from_millis(1));
    bench.tick();
    assert_eq!(left(&bench), ["t-0", "u-0"]);
    bench.pass(Duration::from_secs(600));
    bench.tick();
    assert_eq!(left(&bench), [""; 0]);
    assert!(bench.machine.groups.is_empty());
    assert!(bench.replayed().groups.is_empty());
}

#[test]
fn an_empty_group_without_offsets_goes_with_the_next_walk() {
    let mut bench = Bench::new(GroupConfig::default());
    store(&mut bench, "consumer", false);
    bench.commit(9, commit("simple", "t", &[0], 5));
    bench.delete(delete("simple", "t", &[0]));
    assert_eq!(bench.machine.groups.len(), 2);
    bench.pass(Duration::from_secs(600));
    bench.tick();
    assert!(bench.machine.groups.is_empty());
    assert!(bench.replayed().groups.is_empty());
}

/// One that was never more than a name to join with holds offsets all the same.
#[test]
fn a_group_of_which_nothing_but_offsets_is_kept_does_not_go_with_a_commit() {
    let mut bench = Bench::new(GroupConfig::default());
    let join = JoinGroupRequest {
        group_id: "g".into(),
        protocol_type: "consumer".into(),
        protocols: vec![JoinGroupRequestProtocol { name: "range".into(), ..Default::default() }],
        session_timeout_ms: 10_000,
        ..JoinGroupRequest::default()
    };
    bench.ask(9, join, Command::Join);
    bench.commit(9, commit("g", "t", &[0], 5));
    bench.pass(Duration::from_secs(10));
    bench.tick();
    bench.delete(delete("g", "t", &[0]));
    bench.commit(9, commit("g", "t", &[0], 6));
    assert_eq!(bench.offsets().len(), 1);
    assert!(bench.machine.groups.contains_key("g"));
}
