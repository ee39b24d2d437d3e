//! The assignors: tables, and properties over random groups.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use uuid::Uuid;

use super::{Assignor, Partitions, Subscriber, Subscriptions, Topic, moved};
use crate::coordinator::group::ids::MemberId;
use crate::types::random::next_mixed;
use crate::types::{TopicId, TopicIdPartition, TopicName};

fn id(topic: u128) -> TopicId {
    TopicId(Uuid::from_u128(topic))
}

fn group(topics: &[(u128, i32)], members: &[(&str, &[u128])]) -> Subscriptions {
    let plain = |partitions| Topic { partitions, racks: Vec::new() };
    Subscriptions {
        topics: topics.iter().map(|(topic, count)| (id(*topic), plain(*count))).collect(),
        members: members.iter().map(|(name, topics)| subscriber(name, topics)).collect(),
    }
}

fn subscriber(name: &str, topics: &[u128]) -> Subscriber {
    Subscriber {
        id: MemberId::from(name),
        rack: None,
        topics: topics.iter().map(|topic| id(*topic)).collect(),
        before: Arc::default(),
    }
}

fn sizes(assigned: &[Partitions]) -> Vec<usize> {
    assigned.iter().map(Partitions::len).collect()
}

fn settle(group: &mut Subscriptions, assigned: Vec<Partitions>) {
    for (member, assigned) in group.members.iter_mut().zip(assigned) {
        member.before = Arc::new(assigned);
    }
}

fn moves(before: &[(MemberId, Partitions)], group: &Subscriptions, after: &[Partitions]) -> usize {
    let old = before.iter().map(|(id, partitions)| (id, partitions));
    let new = group.members.iter().map(|member| &member.id).zip(after);
    moved(old, new, |topic| Some(TopicName::new(&topic.to_string()))).len()
}

fn owners(group: &Subscriptions) -> Vec<(MemberId, Partitions)> {
    group.members.iter().map(|member| (member.id.clone(), (*member.before).clone())).collect()
}

/// Every partition of every topic goes to exactly one of its subscribers, and nothing else does.
fn check_sound(group: &Subscriptions, assigned: &[Partitions], seed: u64) {
    let mut given: BTreeMap<TopicIdPartition, usize> = BTreeMap::new();
    for (member, partitions) in group.members.iter().zip(assigned) {
        for one in partitions.iter() {
            assert!(member.topics.contains(&one.topic_id), "seed {seed}: not subscribed");
            *given.entry(one).or_default() += 1;
        }
    }
    assert!(given.values().all(|count| *count == 1), "seed {seed}: given twice");
    let subscribed: BTreeSet<TopicId> =
        group.members.iter().flat_map(|member| member.topics.iter().copied()).collect();
    let wanted: i32 = subscribed.iter().map(|topic| group.topics[topic].partitions).sum();
    assert_eq!(given.len() as i32, wanted, "seed {seed}: not all given");
}

#[test]
fn sizes_follow_from_subscriptions() {
    use Assignor::{Range, Uniform};
    type Row<'a> = (Assignor, &'a [(u128, i32)], &'a [(&'a str, &'a [u128])], &'a [usize]);
    let rows: &[Row<'_>] = &[
        (Uniform, &[(1, 3)], &[("a", &[1])], &[3]),
        (Uniform, &[(1, 3)], &[("a", &[1]), ("b", &[1]), ("c", &[1]), ("d", &[1])], &[1, 1, 1, 0]),
        (Uniform, &[(1, 3), (2, 4)], &[("a", &[1, 2]), ("b", &[1, 2])], &[4, 3]),
        (Uniform, &[(1, 3)], &[("a", &[]), ("b", &[])], &[0, 0]),
        (Uniform, &[(1, 0)], &[("a", &[1])], &[0]),
        (Uniform, &[(1, 4), (2, 2)], &[("a", &[1]), ("b", &[1, 2])], &[3, 3]),
        (Uniform, &[(1, 6), (2, 1)], &[("a", &[1]), ("b", &[2]), ("c", &[1])], &[3, 1, 3]),
        (Range, &[(1, 3), (2, 3)], &[("a", &[1, 2]), ("b", &[1, 2])], &[4, 2]),
        (Range, &[(1, 2)], &[("a", &[1]), ("b", &[1]), ("c", &[1])], &[1, 1, 0]),
        (Range, &[(1, 3), (2, 2)], &[("a", &[1]), ("b", &[1, 2])], &[2, 3]),
    ];
    for (assignor, topics, members, expected) in rows {
        let group = group(topics, members);
        let assigned = assignor.assign(&group);
        assert_eq!(sizes(&assigned), *expected, "{assignor:?} {topics:?} {members:?}");
        check_sound(&group, &assigned, 0);
    }
    assert_eq!(Uniform.assign(&Subscriptions::default()), Vec::new());
    assert_eq!(Range.assign(&Subscriptions::default()), Vec::new());
}

#[test]
fn range_gives_consecutive_partitions_and_the_same_of_topics_alike() {
    let group = group(&[(1, 5), (2, 5)], &[("a", &[1, 2]), ("b", &[1, 2])]);
    let assigned = Assignor::Range.assign(&group);
    for topic in [id(1), id(2)] {
        assert_eq!(assigned[0].of_topic(topic), [0, 1, 2]);
        assert_eq!(assigned[1].of_topic(topic), [3, 4]);
    }
}

#[test]
fn members_come_and_go_and_no_more_moves_than_must() {
    for seed in 0..300u64 {
        let mut state = seed;
        let mut draw = |bound: u64| next_mixed(&mut state) % bound;
        let topics: Vec<(u128, i32)> =
            (1..=1 + u128::from(draw(3))).map(|topic| (topic, draw(20) as i32)).collect();
        let subscribed: Vec<u128> = topics.iter().map(|(topic, _)| *topic).collect();
        let mut group = group(&topics, &[("m0", &subscribed)]);
        for step in 1..20 {
            let before = owners(&group);
            if draw(3) > 0 || group.members.len() < 2 {
                group.members.push(subscriber(&format!("m{step}"), &subscribed));
            } else {
                let gone = draw(group.members.len() as u64) as usize;
                group.members.remove(gone);
            }
            let assigned = Assignor::Uniform.assign(&group);
            check_sound(&group, &assigned, seed);
            let (most, least) =
                (sizes(&assigned).into_iter().max(), sizes(&assigned).into_iter().min());
            assert!(most.unwrap() - least.unwrap() <= 1, "seed {seed}: {:?}", sizes(&assigned));
            let moved = moves(&before, &group, &assigned);
            assert_eq!(moved, fewest_moves(&group), "seed {seed} step {step}");
            settle(&mut group, assigned);
        }
    }
}

/// The least that must move to be balanced: what the members keep at most with the best choice of
/// who gets an odd one, taken from all there is.
fn fewest_moves(group: &Subscriptions) -> usize {
    let total: usize = group.topics.values().map(|topic| topic.partitions as usize).sum();
    let (each, odd) = (total / group.members.len(), total % group.members.len());
    let held = |member: &Subscriber| member.before.len();
    let kept: usize = group.members.iter().map(|member| held(member).min(each)).sum();
    let extra = group.members.iter().filter(|member| held(member) > each).count().min(odd);
    total - kept - extra
}

#[test]
fn mixed_subscriptions_are_shared_soundly_and_settle() {
    for seed in 0..200u64 {
        let mut state = seed;
        let mut draw = |bound: u64| next_mixed(&mut state) % bound;
        let topics: Vec<(u128, i32)> = (1..=4).map(|topic| (topic, draw(12) as i32)).collect();
        let mut all = group(&topics, &[]);
        for member in 0..1 + draw(8) {
            let of: Vec<u128> = (1..=4).filter(|_| draw(2) == 0).collect();
            all.members.push(subscriber(&format!("m{member}"), &of));
        }
        for assignor in [Assignor::Uniform, Assignor::Range] {
            let mut group = all.clone();
            let assigned = assignor.assign(&group);
            check_sound(&group, &assigned, seed);
            if assignor == Assignor::Uniform {
                check_no_move_helps(&group, &assigned, seed);
            }
            settle(&mut group, assigned.clone());
            assert_eq!(assignor.assign(&group), assigned, "seed {seed}: it moves for nothing");
        }
    }
}

fn check_no_move_helps(group: &Subscriptions, assigned: &[Partitions], seed: u64) {
    let loads = sizes(assigned);
    for (owner, partitions) in assigned.iter().enumerate() {
        for one in partitions.iter() {
            let subscribers = group.members.iter().enumerate();
            let least = subscribers
                .filter(|(_, member)| member.topics.contains(&one.topic_id))
                .map(|(index, _)| loads[index])
                .min();
            assert!(loads[owner] <= least.unwrap() + 1, "seed {seed}: {loads:?}");
        }
    }
}

#[test]
fn whoever_is_near_gets_it() {
    let mut group = group(&[(1, 9)], &[("a", &[1]), ("b", &[1]), ("c", &[1])]);
    let racks: Vec<Arc<str>> = ["r0", "r1", "r2"].into_iter().map(Arc::from).collect();
    group.topics.get_mut(&id(1)).unwrap().racks =
        (0..9).map(|partition| vec![racks[partition % 3].clone()]).collect();
    for (member, rack) in group.members.iter_mut().zip([2, 0, 1]) {
        member.rack = Some(racks[rack].clone());
    }
    let assigned = Assignor::Uniform.assign(&group);
    assert_eq!(assigned[0].of_topic(id(1)), [2, 5, 8]);
    assert_eq!(assigned[1].of_topic(id(1)), [0, 3, 6]);
    assert_eq!(assigned[2].of_topic(id(1)), [1, 4, 7]);

    // Balance and stickiness come first: a fourth member takes two, from who has one too many.
    settle(&mut group, assigned);
    let before = owners(&group);
    group.members.push(Subscriber { rack: Some(racks[0].clone()), ..subscriber("d", &[1]) });
    let assigned = Assignor::Uniform.assign(&group);
    assert_eq!(sizes(&assigned), [3, 2, 2, 2]);
    assert_eq!(moves(&before, &group, &assigned), 2);
}

#[test]
fn what_moved_is_named_with_both_owners() {
    let (a, b) = (MemberId::from("a"), MemberId::from("b"));
    let of = |partitions: &[i32]| Partitions::of([(id(1), partitions.to_vec())]);
    let (old_a, new_a, new_b) = (of(&[0, 1]), of(&[0, 3]), of(&[1]));
    let moved = moved([(&a, &old_a)].into_iter(), [(&a, &new_a), (&b, &new_b)].into_iter(), |_| {
        Some(TopicName::new("t"))
    });
    let told: Vec<_> =
        moved.into_iter().map(|one| (one.partition.to_string(), one.from, one.to)).collect();
    assert_eq!(
        told,
        [("t-1".to_owned(), Some(a.clone()), Some(b)), ("t-3".to_owned(), None, Some(a))]
    );
}

#[test]
fn sets_of_partitions() {
    let of =
        |one: &[i32], two: &[i32]| Partitions::of([(id(2), two.to_vec()), (id(1), one.to_vec())]);
    let (left, right) = (of(&[2, 0, 2], &[]), of(&[2], &[1]));
    assert_eq!(left, of(&[0, 2], &[]));
    assert_eq!(left.union(&right), of(&[0, 2], &[1]));
    assert_eq!(left.intersection(&right), of(&[2], &[]));
    assert_eq!(left.difference(&right), of(&[0], &[]));
    assert!(left.overlaps(&right) && !of(&[0], &[]).overlaps(&right));
    assert!(of(&[2], &[]).is_subset(&right) && !left.is_subset(&right));
    assert_eq!(Partitions::from_stored(&right.to_stored()), right);
}
