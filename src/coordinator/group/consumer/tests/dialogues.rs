//! What members and coordinator say to each other.

use std::time::Duration;

use super::world::*;
use crate::coordinator::group::GroupMachine;
use crate::coordinator::group::assignor::Partitions;
use crate::coordinator::group::command::{Answer, Command};
use crate::coordinator::group::rebalance::RebalanceCause;
use crate::coordinator::shard::ShardMachine;
use crate::protocol::Str;
use crate::protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatRequest;
use crate::types::ErrorCode;

fn of(world: &World, topic: &str, partitions: &[i32]) -> Partitions {
    Partitions::of([(world.id(topic), partitions.to_vec())])
}

fn statically(request: ConsumerGroupHeartbeatRequest) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest { instance_id: Some(Str::from("i")), ..request }
}

fn matching(member: &str, regex: &str) -> ConsumerGroupHeartbeatRequest {
    ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: None,
        subscribed_topic_regex: Some(Str::from(regex)),
        ..join(member, &[])
    }
}

#[test]
fn alone_it_gets_everything_at_once_and_only_hears_of_changes() {
    let mut world = World::new(&[("t", 3)]);
    let joined = world.beat(join("a", &["t", "unknown"]));
    assert_eq!((joined.error_code, joined.member_epoch), (0, 1));
    assert_eq!(joined.heartbeat_interval_ms, 5000);
    assert_eq!(assignment(&joined), Some(of(&world, "t", &[0, 1, 2])));
    assert_eq!(world.group().state_name(), "Stable");

    let records = world.log.len();
    assert_eq!(assignment(&world.beat(plain("a", 1))), None);
    let full = ConsumerGroupHeartbeatRequest {
        member_epoch: 1,
        topic_partitions: owning("a", 1, &of(&world, "t", &[0, 1, 2])).topic_partitions,
        ..join("a", &["t", "unknown"])
    };
    assert_eq!(assignment(&world.beat(full)), Some(of(&world, "t", &[0, 1, 2])));
    assert_eq!(world.log.len(), records, "nothing changed, nothing is written");
    assert_eq!(world.durable(), world.replayed());
}

#[test]
fn what_is_set_for_the_group_holds_from_the_next_heartbeat_on() {
    let mut world = World::new(&[("t", 1)]);
    assert_eq!(world.beat(join("a", &["t"])).heartbeat_interval_ms, 5000);
    world.configure("consumer.heartbeat.interval.ms", "7000");
    world.configure("consumer.session.timeout.ms", "60000");
    assert_eq!(world.beat(plain("a", 1)).heartbeat_interval_ms, 7000);
    world.pass(Duration::from_secs(59));
    assert_eq!(world.group().members.len(), 1, "45 s were the broker's");
    world.pass(Duration::from_secs(2));
    assert_eq!(world.group().members.len(), 0);
}

#[test]
fn version_0_is_given_a_member_id() {
    let mut world = World::new(&[("t", 1)]);
    let joined = world.beat_in(0, join("", &["t"]));
    assert_eq!(joined.member_id.as_deref().map(str::len), Some(22));
    assert_eq!(joined.member_epoch, 1);
}

#[test]
fn a_third_gets_what_the_others_have_given_up() {
    let mut world = World::new(&[("t", 6)]);
    world.beat(join("a", &["t"]));
    // b waits: a still owns all.
    let joined = world.beat(join("b", &["t"]));
    assert_eq!((joined.member_epoch, assignment(&joined)), (2, Some(Partitions::default())));
    assert_eq!(world.group().state_name(), "Reconciling");
    // a hears that it shall give three up, in its own epoch.
    let told = world.beat(plain("a", 1));
    let kept = assignment(&told).unwrap();
    assert_eq!((told.member_epoch, kept.len()), (1, 3));
    assert_eq!(assignment(&world.beat(plain("b", 2))), None, "not yet");
    // It has; b gets them.
    let done = world.beat(owning("a", 1, &kept));
    assert_eq!((done.member_epoch, assignment(&done)), (2, None));
    let got = assignment(&world.beat(plain("b", 2))).unwrap();
    assert_eq!(got.union(&kept), of(&world, "t", &[0, 1, 2, 3, 4, 5]));
    assert_eq!(world.group().state_name(), "Stable");
    // c: one partition moves from each.
    world.beat(join("c", &["t"]));
    for (member, owned) in [("a", kept), ("b", got)] {
        let left = assignment(&world.beat(plain(member, 2))).unwrap();
        assert!(left.len() == 2 && left.is_subset(&owned));
        assert_eq!(world.beat(owning(member, 2, &left)).member_epoch, 3);
    }
    assert_eq!(assignment(&world.beat(plain("c", 3))).map(|got| got.len()), Some(2));
    assert_eq!(world.durable(), world.replayed());
    let causes: Vec<_> = world.rebalances.iter().map(|one| (one.cause, one.moved.len())).collect();
    let joined = RebalanceCause::MemberJoined;
    assert_eq!(causes, [(joined, 6), (joined, 3), (joined, 2)]);
}

#[test]
fn one_dies_and_the_other_takes_over_after_the_session_timeout() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(join("a", &["t"]));
    world.beat(join("b", &["t"]));
    let kept = assignment(&world.beat(plain("a", 1))).unwrap();
    world.beat(owning("a", 1, &kept));
    world.beat(plain("b", 2));
    world.pass(Duration::from_secs(44));
    world.beat(plain("b", 2));
    assert_eq!(world.group().members.len(), 2);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.group().members.len(), 1);
    let told = world.beat(plain("b", 2));
    assert_eq!((told.member_epoch, assignment(&told)), (3, Some(of(&world, "t", &[0, 1]))));
    let last = world.rebalances.last().unwrap();
    assert_eq!(last.cause, RebalanceCause::SessionTimedOut);
    assert_eq!(last.member.as_deref(), Some("a"));
    assert_eq!((&*last.client_id, &*last.client_host), ("client", "/127.0.0.1"));
    assert_eq!((last.moved.len(), last.members), (1, 1));
    assert_eq!(last.moved[0].from.as_deref(), Some("a"));
    refused(&world.beat(plain("a", 2)), ErrorCode::UnknownMemberId, "Member a is not a member");
    assert_eq!(world.durable(), world.replayed());
}

#[test]
fn who_does_not_give_up_in_its_rebalance_timeout_is_fenced() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(join("a", &["t"]));
    world.beat(join("b", &["t"]));
    world.beat(plain("a", 1));
    for _ in 0..3 {
        world.pass(Duration::from_secs(3));
        assert_eq!(world.beat(plain("a", 1)).error_code, 0);
        world.beat(plain("b", 2));
    }
    world.pass(Duration::from_secs(1));
    refused(&world.beat(plain("a", 1)), ErrorCode::UnknownMemberId, "Member a");
    let told = world.beat(plain("b", 2));
    assert_eq!(assignment(&told), Some(of(&world, "t", &[0, 1])));
    assert_eq!(world.rebalances.last().unwrap().cause, RebalanceCause::PollTimedOut);
}

#[test]
fn who_gives_up_in_time_is_not_fenced() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(join("a", &["t"]));
    world.beat(join("b", &["t"]));
    let kept = assignment(&world.beat(plain("a", 1))).unwrap();
    world.pass(Duration::from_secs(9));
    assert_eq!(world.beat(owning("a", 1, &kept)).member_epoch, 2);
    world.pass(Duration::from_secs(9));
    assert_eq!(world.beat(plain("a", 2)).error_code, 0);
}

#[test]
fn a_lost_answer_does_not_fence() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(join("a", &["t"]));
    world.beat(join("b", &["t"]));
    let kept = assignment(&world.beat(plain("a", 1))).unwrap();
    // The answer that raises a's epoch is lost; a says the same again.
    assert_eq!(world.beat(owning("a", 1, &kept)).member_epoch, 2);
    assert_eq!(world.beat(owning("a", 1, &kept)).member_epoch, 2);
    // Without what it owns, or with more than it may own, the old epoch is not good enough.
    let smaller = "has a smaller member epoch (1) than the one known by the group coordinator (2)";
    refused(&world.beat(plain("a", 1)), ErrorCode::FencedMemberEpoch, smaller);
    let all = of(&world, "t", &[0, 1]);
    refused(&world.beat(owning("a", 1, &all)), ErrorCode::FencedMemberEpoch, smaller);
    // Fenced, it joins again and has what it had.
    let again = world.beat(join("a", &["t"]));
    assert_eq!((again.member_epoch, assignment(&again)), (2, Some(kept)));
}

#[test]
fn a_static_member_is_back_with_what_it_had() {
    let mut world = World::new(&[("t", 4)]);
    world.beat(statically(join("a", &["t"])));
    world.beat(join("b", &["t"]));
    let kept = assignment(&world.beat(statically(plain("a", 1)))).unwrap();
    world.beat(statically(owning("a", 1, &kept)));
    world.beat(plain("b", 2));
    let taken = world.beat(statically(join("a2", &["t"])));
    let message = "Static member a2 with instance id i cannot join the group because the instance \
                   id is owned by a member.";
    refused(&taken, ErrorCode::UnreleasedInstanceId, message);

    let left = world.beat(statically(plain("a", -2)));
    assert_eq!((left.error_code, left.member_epoch), (0, -2));
    let rebalances = world.rebalances.len();
    assert_eq!(assignment(&world.beat(plain("b", 2))), None, "nothing moves");
    let back = world.beat(statically(join("a2", &["t"])));
    assert_eq!((back.member_epoch, assignment(&back)), (2, Some(kept)));
    assert_eq!(world.rebalances.len(), rebalances);
    let fenced = "Static member a with instance id i was fenced by member a2.";
    refused(&world.beat(statically(plain("a", 2))), ErrorCode::FencedInstanceId, fenced);
    assert_eq!(world.durable(), world.replayed());

    // It leaves again and does not come back: after its session the other has all.
    world.beat(statically(plain("a2", -2)));
    world.pass(Duration::from_secs(44));
    world.beat(plain("b", 2));
    world.pass(Duration::from_secs(1));
    assert_eq!(assignment(&world.beat(plain("b", 2))).unwrap().len(), 4);
}

#[test]
fn topics_grow_come_and_go() {
    let mut world = World::new(&[("t", 1)]);
    world.beat(join("a", &["t", "u"]));
    world.topic("t", 2);
    world.topic("other", 1);
    world.publish();
    assert_eq!(world.group().epoch, 1, "a change of the metadata itself decides nothing");
    let told = world.beat(plain("a", 1));
    assert_eq!((told.member_epoch, assignment(&told)), (2, Some(of(&world, "t", &[0, 1]))));
    world.topic("u", 1);
    world.publish();
    let both = of(&world, "t", &[0, 1]).union(&of(&world, "u", &[0]));
    assert_eq!(assignment(&world.beat(plain("a", 2))), Some(both));
    let u = of(&world, "u", &[0]);
    world.delete_topic("t");
    let told = world.beat(plain("a", 3));
    assert_eq!((told.member_epoch, assignment(&told)), (3, Some(u.clone())), "it has to give t up");
    assert_eq!(world.beat(owning("a", 3, &u)).member_epoch, 4);
    assert!(world.rebalances[1..].iter().all(|one| one.cause == RebalanceCause::PartitionsChanged));
    assert_eq!(world.durable(), world.replayed());
}

#[test]
fn a_changed_subscription_takes_partitions_away_at_once() {
    let mut world = World::new(&[("t", 1), ("u", 1)]);
    world.beat(join("a", &["t", "u"]));
    let resubscribed = ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: Some(vec![Str::from("u")]),
        ..plain("a", 1)
    };
    let told = world.beat(resubscribed);
    let u = of(&world, "u", &[0]);
    assert_eq!((told.member_epoch, assignment(&told)), (1, Some(u.clone())));
    assert_eq!(world.beat(owning("a", 1, &u)).member_epoch, 2);
    assert_eq!(world.rebalances.last().unwrap().cause, RebalanceCause::SubscriptionChanged);
    assert!(world.group().is_subscribed_to("u") && !world.group().is_subscribed_to("t"));
}

#[test]
fn expressions_match_whole_names_and_follow_the_topics() {
    let mut world = World::new(&[("ab", 1), ("abc", 1), ("__consumer_offsets", 1)]);
    let joined = world.beat(matching("a", "ab|__.*"));
    assert_eq!(assignment(&joined), Some(of(&world, "ab", &[0])));
    let named = ConsumerGroupHeartbeatRequest {
        subscribed_topic_names: Some(vec![Str::from("abc")]),
        ..plain("a", 1)
    };
    assert_eq!(assignment(&world.beat(named)).unwrap().len(), 2, "names and expression add up");
    let wider = ConsumerGroupHeartbeatRequest {
        subscribed_topic_regex: Some(Str::from("ab.+")),
        subscribed_topic_names: Some(Vec::new()),
        ..plain("a", 2)
    };
    let abc = of(&world, "abc", &[0]);
    assert_eq!(assignment(&world.beat(wider)), Some(abc.clone()));
    world.beat(owning("a", 2, &abc));
    assert_eq!(world.group().regexes.len(), 1, "the old one is gone");

    world.topic("abd", 1);
    world.publish();
    world.beat(plain("a", 3));
    world.pass(Duration::from_secs(11));
    let told = world.beat(plain("a", 3));
    let both = abc.union(&of(&world, "abd", &[0]));
    assert_eq!((told.member_epoch, assignment(&told)), (4, Some(both)));
    assert!(world.group().is_subscribed_to("abd"));
    let none = ConsumerGroupHeartbeatRequest {
        subscribed_topic_regex: Some(Str::from("")),
        ..plain("a", 4)
    };
    assert_eq!(assignment(&world.beat(none)), Some(Partitions::default()));
    assert!(world.group().regexes.is_empty());
    assert_eq!(world.durable(), world.replayed());
}

#[test]
fn the_last_leaves_and_the_group_is_empty() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(join("a", &["t"]));
    let left = world.beat(plain("a", -1));
    assert_eq!((left.error_code, left.member_epoch, left.heartbeat_interval_ms), (0, -1, 0));
    assert_eq!(world.group().state_name(), "Empty");
    assert_eq!(world.machine.next_deadline(), None, "nothing is left behind");
    let last = world.rebalances.last().unwrap();
    assert_eq!((last.cause, last.moved.len(), last.members), (RebalanceCause::MemberLeft, 2, 0));
    assert_eq!(world.beat(join("b", &["t"])).member_epoch, 3);
    assert_eq!(world.rebalances.last().unwrap().cause, RebalanceCause::MemberJoined);
    let tombstones = world.group().tombstones(&"g".into());
    world.log.extend(tombstones);
    assert_eq!(world.replayed(), Vec::new());
}

#[test]
fn after_a_failover_all_go_on_with_full_sessions() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(join("a", &["t"]));
    world.beat(join("b", &["t"]));
    world.beat(plain("a", 1));
    world.beat(plain("b", -1));
    world.pass(Duration::from_secs(5));
    world.failover();
    assert_eq!(world.group().state_name(), "Assigning");
    world.pass(Duration::from_secs(9));
    // a had two partitions and was asked for one: it gets that back.
    let told = world.beat(owning("a", 1, &world.member("a").current.assigned));
    assert_eq!((told.member_epoch, assignment(&told)), (3, Some(of(&world, "t", &[0, 1]))));
    assert_eq!(world.rebalances.last().unwrap().cause, RebalanceCause::CoordinatorMoved);
    world.failover();
    world.pass(Duration::from_secs(44));
    assert_eq!(world.group().members.len(), 1);
    world.pass(Duration::from_secs(1));
    assert!(world.group().is_empty());
}

#[test]
fn the_assignor_that_most_ask_for_is_used() {
    let mut world = World::new(&[("t", 3), ("u", 3)]);
    let range = ConsumerGroupHeartbeatRequest {
        server_assignor: Some(Str::from("range")),
        ..join("a", &["t", "u"])
    };
    world.beat(range);
    world.beat(join("b", &["t", "u"]));
    let target = |member: &str| world.member(member).target.clone().unwrap();
    assert_eq!(*target("b"), of(&world, "t", &[2]).union(&of(&world, "u", &[2])));
}

#[test]
fn groups_describe_themselves() {
    let mut world = World::new(&[("t", 2)]);
    world.beat(statically(join("a", &["t"])));
    let asked = world.asked(1, vec![Str::from(GROUP), Str::from("h")]);
    let Answer::ConsumerDescribed(groups) = world.ask(Command::ConsumerDescribe(asked)) else {
        panic!("another answer");
    };
    let group = &groups[0];
    assert_eq!((&*group.group_state, &*group.assignor_name), ("Stable", "uniform"));
    assert_eq!((group.group_epoch, group.assignment_epoch), (1, 1));
    let member = &group.members[0];
    assert_eq!((&*member.member_id, member.instance_id.as_deref()), ("a", Some("i")));
    assert_eq!((member.member_epoch, member.member_type), (1, 1));
    assert_eq!(member.assignment, member.target_assignment);
    assert_eq!(&*member.assignment.topic_partitions[0].topic_name, "t");
    assert_eq!(groups[1].error_code, ErrorCode::GroupIdNotFound as i16);
    assert_eq!(groups[1].error_message.as_deref(), Some("Group h not found."));
}

/// What a tick decides is one batch; one that the log refuses would stop all groups' clocks.
#[test]
fn of_many_that_go_at_once_each_tick_takes_as_many_as_a_batch_has_room_for() {
    let mut world = World::new(&[("t", 1)]);
    for index in 0..200 {
        world.beat(join(&format!("{index:02000}"), &["t"]));
    }
    world.now += Duration::from_secs(60);
    let mut ticks = 0;
    while world.machine.next_deadline().is_some_and(|due| due.0 <= world.now) {
        let from = world.log.len();
        world.run(Command::Tick);
        let stored = world.log[from..].iter().map(GroupMachine::encode);
        let bytes: usize =
            stored.map(|(key, value)| key.len() + value.map_or(0, |value| value.len())).sum();
        assert!((1..1 << 19).contains(&bytes), "{bytes}");
        ticks += 1;
    }
    assert!(ticks > 1 && world.group().is_empty(), "{ticks}");
    assert_eq!(world.durable(), world.replayed());
}
