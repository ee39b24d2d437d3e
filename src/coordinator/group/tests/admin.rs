//! Listing, describing and deleting groups.

use super::*;
use crate::coordinator::group::classic::ClassicGroup;
use crate::coordinator::group::command::ListFilter;
use crate::coordinator::group::consumer::ConsumerGroup;
use crate::coordinator::group::ids::GroupId;
use crate::coordinator::group::machine::{Group, Note};
use crate::coordinator::group::stored::{GroupMetadataValue, OffsetCommitValue, StoredMember};
use crate::protocol::Str;
use crate::types::{ErrorCode, TopicPartition};

/// `live`: a classic group with a member; `empty`: one without; `offsets`: nothing but offsets;
/// `new`: an Empty group of the consumer protocol.
fn groups() -> Bench {
    let classic = |id: &str, members: Vec<StoredMember>| GroupRecord::Classic {
        group: GroupId::from(id),
        value: Some(GroupMetadataValue {
            protocol_type: Str::from("consumer"),
            generation: 4,
            protocol: (!members.is_empty()).then(|| Str::from("range")),
            members,
            ..Default::default()
        }),
    };
    let offset = |id: &str| GroupRecord::Offset {
        group: GroupId::from(id),
        partition: TopicPartition::new("orders", 0),
        value: Some(OffsetCommitValue { offset: 7, ..Default::default() }),
    };
    let member = StoredMember {
        member_id: Str::from("m"),
        client_id: Str::from("c"),
        client_host: Str::from("/10.0.0.1"),
        session_timeout: 10_000,
        subscription: vec![1].into(),
        assignment: vec![2].into(),
        ..Default::default()
    };
    let log = [
        classic("live", vec![member]),
        classic("empty", vec![]),
        offset("empty"),
        offset("offsets"),
    ];
    let mut bench = Bench::replaying(GroupConfig::default(), &log);
    let new = Arc::new(Group::Consumer(ConsumerGroup::default()));
    bench.machine.note(Note::Group(GroupId::from("new"), Some(new)));
    bench
}

fn listed(states: &[&str], types: &[&str]) -> Vec<String> {
    let mut bench = groups();
    let all = |names: &[&str]| names.iter().map(|name| Str::from(*name)).collect();
    let filter = ListFilter { states: all(states), types: all(types) };
    let request = bench.ask("c", 5, filter, Command::List);
    let Some(Answer::Listed(groups)) = bench.answer(request) else { panic!("no list") };
    let line = |group: &crate::protocol::messages::list_groups::ListedGroup| {
        let kind = (&group.group_state, &group.group_type, &group.protocol_type);
        format!("{} {} {} {}", group.group_id, kind.0, kind.1, kind.2)
    };
    groups.iter().map(line).collect()
}

#[test]
fn groups_are_listed_by_state_and_type() {
    let [empty, live, new, offsets] = [
        "empty Empty classic consumer",
        "live Stable classic consumer",
        "new Empty consumer consumer",
        "offsets Empty classic ",
    ];
    assert_eq!(listed(&[], &[]), [empty, live, new, offsets]);
    assert_eq!(listed(&["sTABLE"], &[]), [live]);
    assert_eq!(listed(&["stable", "EMPTY"], &["Classic"]), [empty, live, offsets]);
    assert_eq!(listed(&[], &["CONSUMER"]), [new]);
    assert_eq!(listed(&[], &["share"]), [""; 0]);
    assert_eq!(listed(&[], &["share", "consumer"]), [new]);
    assert_eq!(listed(&["Dead"], &[]), [""; 0]);
}

#[test]
fn classic_groups_are_described_and_others_are_dead() {
    let ask = |version| {
        let mut bench = groups();
        let names = ["live", "offsets", "new", "none"].map(Str::from).to_vec();
        let request = bench.ask("c", version, names, Command::Describe);
        match bench.answer(request) {
            Some(Answer::Described(groups)) => groups,
            other => panic!("{other:?}"),
        }
    };
    let groups = ask(6);
    let live = &groups[0];
    assert_eq!((live.error_code, live.group_state.as_str()), (0, "Stable"));
    assert_eq!((live.protocol_type.as_str(), live.protocol_data.as_str()), ("consumer", "range"));
    let member = &live.members[0];
    assert_eq!((member.member_id.as_str(), member.client_id.as_str()), ("m", "c"));
    assert_eq!(member.client_host, "/10.0.0.1");
    assert_eq!((&member.member_metadata[..], &member.member_assignment[..]), (&[1][..], &[2][..]));
    assert_eq!((groups[1].error_code, groups[1].group_state.as_str()), (0, "Empty"));
    let messages = ["Group new is not a classic group.", "Group none not found."];
    for (group, message) in groups[2..].iter().zip(messages) {
        assert_eq!(group.group_state, "Dead");
        assert_eq!(group.error_code, ErrorCode::GroupIdNotFound.code());
        assert_eq!(group.error_message.as_deref(), Some(message));
    }
    for group in &ask(5)[2..] {
        assert_eq!((group.group_state.as_str(), group.error_code), ("Dead", 0));
        assert_eq!(group.error_message, None);
    }
}

#[test]
fn groups_without_members_are_deleted_with_their_offsets() {
    let mut bench = groups();
    let names = ["live", "empty", "offsets", "new", "none", "empty"].map(Str::from).to_vec();
    let request = bench.ask("c", 2, names, Command::Delete);
    let Some(Answer::Deleted(results)) = bench.answer(request) else { panic!("no answer") };
    let codes: Vec<i16> = results.iter().map(|result| result.error_code).collect();
    let (non_empty, not_found) =
        (ErrorCode::NonEmptyGroup.code(), ErrorCode::GroupIdNotFound.code());
    assert_eq!(codes, [non_empty, 0, 0, 0, not_found, not_found]);
    for machine in [&bench.machine, &bench.replayed()] {
        assert_eq!(machine.groups.keys().map(|id| &**id).collect::<Vec<_>>(), ["live"]);
        assert_eq!(machine.offsets.all().count(), 0);
    }
    let simple = ClassicGroup::simple();
    assert!(simple.is_empty() && simple.protocol_type().is_none());
}
