//! What clients and coordinator say to one another, from start to end.

use std::time::Duration;

use super::*;
use crate::coordinator::group::rebalance::RebalanceCause;

#[test]
fn a_new_member_is_given_its_id_and_leads_the_group_that_it_makes() {
    let mut bench = Bench::new();
    let first = bench.join("billing", joining(""));
    let given = bench.joined(first);
    assert_eq!(given.error_code, ErrorCode::MemberIdRequired.code());
    assert_eq!(given.member_id, "billing-00000000-0000-0000-0000-000000000001");
    assert_eq!(given.generation_id, -1);

    let second = bench.join("billing", joining(&given.member_id));
    assert!(bench.try_joined(second).is_none(), "others may come yet");
    bench.pass(Duration::from_millis(2999));
    assert!(bench.try_joined(second).is_none());
    bench.pass(Duration::from_millis(1));
    let joined = bench.joined(second);
    assert_eq!((joined.error_code, joined.generation_id), (0, 1));
    assert_eq!(joined.leader, joined.member_id);
    assert_eq!(joined.protocol_name.as_deref(), Some("range"));
    assert_eq!(joined.protocol_type.as_deref(), Some("consumer"));
    assert_eq!(joined.members.len(), 1);
    assert_eq!(joined.members[0].metadata, subscription(&["orders"]));
    assert!(bench.log.is_empty(), "nothing is stored before there is an assignment");

    let sync = bench.sync(assigning(&given.member_id, 1, &[(&given.member_id, &[0, 1])]));
    assert_eq!(bench.synced(sync).assignment, assignment(&[0, 1]));
    assert_eq!(bench.log.len(), 1);
    assert_eq!(bench.beat(&given.member_id, 1), 0);
}

#[test]
fn before_version_4_a_member_joins_without_an_id() {
    let mut bench = Bench::with(at_once());
    let join = bench.join_in(3, "old", joining(""));
    bench.pass(Duration::ZERO);
    let joined = bench.joined(join);
    assert_eq!(joined.error_code, 0);
    assert_eq!(joined.member_id, "old-00000000-0000-0000-0000-000000000001");
}

#[test]
fn three_members_share_and_when_one_leaves_two_do() {
    let mut bench = Bench::new();
    let arrived: Vec<_> = ["a", "b", "c"].iter().map(|client| bench.arrive(client)).collect();
    bench.pass(Duration::from_secs(6));
    let joined: Vec<_> = arrived.iter().map(|(_, request)| bench.joined(*request)).collect();
    let [a, b, c] = [0, 1, 2].map(|i: usize| arrived[i].0.clone());
    assert!(joined.iter().all(|joined| joined.leader == a.as_str() && joined.generation_id == 1));
    assert_eq!(joined.iter().map(|joined| joined.members.len()).collect::<Vec<_>>(), [3, 0, 0]);

    let follower = bench.sync(syncing(&b, 1));
    assert!(bench.try_synced(follower).is_none(), "the leader has not assigned yet");
    bench.sync(assigning(&a, 1, &[(&a, &[0]), (&b, &[1]), (&c, &[2])]));
    assert_eq!(bench.synced(follower).assignment, assignment(&[1]));
    let late = bench.sync(syncing(&c, 1));
    assert_eq!(bench.synced(late).assignment, assignment(&[2]));
    assert_eq!(bench.state(), "Stable");

    let left = bench.leave(&[(&c, None, "the consumer is being closed")]);
    assert_eq!((left.error_code, left.members[0].error_code), (0, 0));
    assert_eq!(bench.beat(&b, 1), ErrorCode::RebalanceInProgress.code());
    let of_a = bench.join("a", joining(&a));
    assert!(bench.try_joined(of_a).is_none());
    let of_b = bench.join("b", joining(&b));
    assert_eq!(bench.joined(of_a).members.len(), 2);
    assert_eq!(bench.joined(of_b).generation_id, 2);
    bench.sync(syncing(&b, 2));
    bench.sync(assigning(&a, 2, &[(&a, &[0, 2]), (&b, &[1])]));

    let rebalances = bench.rebalances();
    assert_eq!(rebalances.len(), 2);
    assert_eq!(rebalances[0].cause, RebalanceCause::MemberJoined);
    assert_eq!((rebalances[0].took_ms, rebalances[0].members), (6000, 3));
    assert_eq!(rebalances[0].moved.len(), 3);
    assert_eq!(rebalances[1].cause, RebalanceCause::MemberLeft);
    assert_eq!(rebalances[1].member.as_deref(), Some(c.as_str()));
    assert_eq!(rebalances[1].reason, "the consumer is being closed");
    assert_eq!(rebalances[1].moved.len(), 1, "{:?}", rebalances[1].moved);
    assert_eq!(rebalances[1].moved[0].partition.to_string(), "orders-2");
    assert_eq!(rebalances[1].moved[0].from.as_deref(), Some(c.as_str()));
    assert_eq!(rebalances[1].moved[0].to.as_deref(), Some(a.as_str()));
}

#[test]
fn a_static_member_restarts_without_a_rebalance() {
    for (version, skips) in [(9, true), (8, false)] {
        let mut bench = Bench::with(at_once());
        let first = bench.join("one", joining_as("", "i1"));
        bench.pass(Duration::ZERO);
        let leader = bench.joined(first).member_id.to_string();
        let of_two = bench.join("two", joining_as("", "i2"));
        bench.join("one", joining_as(&leader, "i1"));
        let two = bench.joined(of_two).member_id.to_string();
        bench.sync(syncing(&two, 2));
        bench.sync(assigning(&leader, 2, &[(&leader, &[0]), (&two, &[1])]));
        let stored = bench.log.len();

        let back = bench.join_in(version, "one", joining_as("", "i1"));
        let joined = bench.joined(back);
        assert_eq!((joined.error_code, joined.generation_id), (0, 2));
        assert_ne!(joined.member_id, leader.as_str());
        assert_eq!(joined.skip_assignment, skips, "version {version}");
        assert_eq!(joined.members.len(), if skips { 2 } else { 0 });
        // Who cannot be told that there is nothing to assign must not know that it leads.
        assert_eq!(joined.leader == joined.member_id, skips);
        assert_eq!(bench.log.len(), stored + 1, "the new id is stored before it is told");
        assert_eq!((bench.state(), bench.rebalances().len()), ("Stable", 1));

        let sync = bench.sync(syncing(&joined.member_id, 2));
        assert_eq!(bench.synced(sync).assignment, assignment(&[0]));
        assert_eq!(bench.beat(&two, 2), 0, "nobody else noticed");
        let fenced = ErrorCode::FencedInstanceId.code();
        assert_eq!(bench.beat_as(&leader, Some("i1"), 2), fenced);
        assert_eq!(bench.beat(&leader, 2), ErrorCode::UnknownMemberId.code());
    }
}

#[test]
fn a_static_member_whose_place_is_taken_is_told_wherever_it_waits() {
    let mut bench = Bench::with(at_once());
    let waiting = bench.join("one", joining_as("", "i1"));
    let again = bench.join("one", joining_as("", "i1"));
    assert_eq!(bench.joined(waiting).error_code, ErrorCode::FencedInstanceId.code());
    bench.pass(Duration::ZERO);
    let member = bench.joined(again).member_id.to_string();
    let of_two = bench.join("two", joining_as("", "i2"));
    bench.join("one", joining_as(&member, "i1"));
    let two = bench.joined(of_two).member_id.to_string();
    let syncs = bench.sync(syncing(&two, 2));
    bench.join("two", joining_as("", "i2"));
    assert_eq!(bench.synced(syncs).error_code, ErrorCode::FencedInstanceId.code());
    assert_eq!(bench.state(), "PreparingRebalance", "the leader may have seen the former id");
}

#[test]
fn a_static_member_stays_while_it_is_away_and_goes_with_its_session() {
    let mut bench = Bench::with(at_once());
    let first = bench.join("one", joining_as("", "i1"));
    bench.pass(Duration::ZERO);
    let member = bench.joined(first).member_id.to_string();
    bench.sync(assigning(&member, 1, &[(&member, &[0])]));
    bench.pass(Duration::from_millis(9_999));
    assert_eq!(bench.state(), "Stable");
    bench.pass(Duration::from_millis(1));
    assert_eq!((bench.state(), bench.group().generation()), ("Empty", 2));
    let last = bench.rebalances().pop().unwrap();
    assert_eq!((last.cause, last.members), (RebalanceCause::SessionTimedOut, 0));
    assert_eq!((last.moved.len(), last.moved[0].to.clone()), (1, None));
}

#[test]
fn a_cooperative_member_joins_again_to_give_up_what_it_owns() {
    let mut bench = Bench::with(at_once());
    let members = stable(&mut bench, 2);
    let owning = supporting(joining(&members[1]), &[("range", &["orders"])]);
    let mut owning = owning;
    let subscription = ConsumerProtocolSubscription {
        topics: vec![Str::from("orders")],
        owned_partitions: vec![ConsumerProtocolTopicPartitions {
            topic: Str::from("orders"),
            partitions: vec![1],
        }],
        ..Default::default()
    };
    owning.protocols[0].metadata = encode_versioned(&subscription, 1).unwrap();
    owning.reason = Some(Str::from("need to revoke partitions and re-join"));
    let follower = bench.join("c1", owning);
    assert_eq!(bench.beat(&members[0], 1), ErrorCode::RebalanceInProgress.code());
    bench.join("c0", joining(&members[0]));
    assert_eq!(bench.joined(follower).generation_id, 2);
    assign_one_each(&mut bench, &members[0], &members);
    let last = bench.rebalances().pop().unwrap();
    assert_eq!(last.cause, RebalanceCause::MemberRejoined);
    assert_eq!(last.reason, "need to revoke partitions and re-join");
    assert!(last.moved.is_empty());
}

#[test]
fn who_joins_a_stable_group_again_unchanged_rebalances_it_only_as_its_leader() {
    let mut bench = Bench::with(at_once());
    let members = stable(&mut bench, 2);
    let leader = bench.group().leader.clone().unwrap().to_string();
    let follower = members.iter().find(|member| **member != leader).unwrap();
    let same = bench.join("c", joining(follower));
    assert_eq!(bench.joined(same).generation_id, 1);
    assert_eq!(bench.state(), "Stable");

    let anew = bench.join("c", joining(&leader));
    assert!(bench.try_joined(anew).is_none());
    bench.join("c", supporting(joining(follower), &[("range", &["orders", "more"])]));
    assert_eq!(bench.joined(anew).generation_id, 2);
    assign_one_each(&mut bench, &leader, &members);
    assert_eq!(bench.rebalances().pop().unwrap().cause, RebalanceCause::LeaderRejoined);
    assert!(bench.group().is_subscribed_to("more"));
    assert!(!bench.group().is_subscribed_to("others"));

    let narrowed = bench.join("c", joining(follower));
    bench.join("c", joining(&leader));
    assert_eq!(bench.joined(narrowed).generation_id, 3);
    assign_one_each(&mut bench, &leader, &members);
    assert_eq!(bench.rebalances().pop().unwrap().cause, RebalanceCause::SubscriptionChanged);
}

#[test]
fn a_leader_that_does_not_join_again_is_left_behind_and_another_one_leads() {
    let mut bench = Bench::with(at_once());
    let members = stable(&mut bench, 2);
    let leader = bench.group().leader.clone().unwrap().to_string();
    let follower = members.iter().find(|member| **member != leader).unwrap().clone();
    let again = bench.join("c", supporting(joining(&follower), &[("range", &["more"])]));
    for _ in 0..12 {
        assert_eq!(bench.beat(&leader, 1), ErrorCode::RebalanceInProgress.code());
        assert!(bench.try_joined(again).is_none());
        bench.pass(Duration::from_secs(5));
    }
    let joined = bench.joined(again);
    assert_eq!((joined.leader.as_str(), joined.members.len()), (follower.as_str(), 1));
    assert_eq!(bench.beat(&leader, 1), ErrorCode::UnknownMemberId.code());
}

#[test]
fn who_joined_and_does_not_sync_is_removed_in_the_rebalance_timeout() {
    let mut bench = Bench::with(at_once());
    let (one, _) = bench.arrive("one");
    let (two, _) = bench.arrive("two");
    bench.pass(Duration::ZERO);
    bench.sync(assigning(&one, 1, &[(&one, &[0]), (&two, &[1])]));
    for _ in 0..11 {
        bench.pass(Duration::from_secs(5));
        assert_eq!((bench.beat(&one, 1), bench.beat(&two, 1)), (0, 0));
    }
    bench.pass(Duration::from_secs(5));
    assert_eq!(bench.state(), "PreparingRebalance");
    assert_eq!(bench.beat(&two, 1), ErrorCode::UnknownMemberId.code());
    let again = bench.join("one", joining(&one));
    assert_eq!(bench.joined(again).members.len(), 1);
    bench.sync(assigning(&one, 2, &[(&one, &[0, 1])]));
    let last = bench.rebalances().pop().unwrap();
    assert_eq!(last.cause, RebalanceCause::RebalanceTimedOut);
    assert_eq!(last.member.as_deref(), Some(two.as_str()));
}

#[test]
fn the_assignor_that_most_prefer_of_those_that_all_support_is_chosen() {
    let mut bench = Bench::with(at_once());
    let topics: &[&str] = &["orders"];
    let preferences: [&[(&str, &[&str])]; 3] = [
        &[("sticky", topics), ("range", topics)],
        &[("only-here", topics), ("range", topics), ("sticky", topics)],
        &[("range", topics), ("sticky", topics)],
    ];
    let joins = preferences.map(|each| bench.arrive_with("c", supporting(joining(""), each)).1);
    bench.pass(Duration::ZERO);
    for join in joins {
        assert_eq!(bench.joined(join).protocol_name.as_deref(), Some("range"));
    }
}

#[test]
fn the_wait_for_first_members_grows_with_each_up_to_the_rebalance_timeout() {
    let mut bench = Bench::new();
    let request = || JoinGroupRequest { rebalance_timeout_ms: 7_000, ..joining("") };
    let (_, first) = bench.arrive_with("c", request());
    bench.pass(Duration::from_secs(2));
    bench.arrive_with("c", request());
    bench.pass(Duration::from_secs(2));
    bench.arrive_with("c", request());
    bench.pass(Duration::from_millis(2_999));
    assert!(bench.try_joined(first).is_none());
    bench.pass(Duration::from_millis(1));
    assert_eq!(bench.joined(first).members.len(), 3);
}

#[test]
fn a_failover_keeps_stable_groups_and_gives_full_sessions() {
    let mut bench = Bench::with(at_once());
    let members = stable(&mut bench, 2);
    bench.pass(Duration::from_secs(9));
    let stored = bench.group().to_stored();
    bench.fail_over();
    assert_eq!(bench.group().to_stored(), stored);
    bench.pass(Duration::from_secs(9));
    assert_eq!(bench.beat(&members[0], 1), 0);
    let sync = bench.sync(syncing(&members[1], 1));
    assert_eq!(bench.synced(sync).assignment, assignment(&[1]));
    bench.pass(Duration::from_secs(1));
    assert_eq!(bench.beat(&members[0], 1), ErrorCode::RebalanceInProgress.code());
}

#[test]
fn a_stored_group_that_is_too_large_now_gets_smaller() {
    let mut bench = Bench::with(at_once());
    let members = stable(&mut bench, 3);
    let config = GroupConfig { max_size: 2, ..at_once() };
    let mut bench = Bench::replaying(config, &bench.log);
    assert_eq!(bench.state(), "PreparingRebalance");
    let joins: Vec<_> = members.iter().map(|member| bench.join("c", joining(member))).collect();
    let codes: Vec<i16> = joins.iter().map(|join| bench.joined(*join).error_code).collect();
    assert_eq!(codes, [0, 0, ErrorCode::GroupMaxSizeReached.code()]);
}
