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
