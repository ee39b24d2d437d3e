//! When offsets go: by time, and with their topics.

use std::time::Duration;

use uuid::Uuid;

use super::*;
use crate::coordinator::group::GroupConfig;
use crate::coordinator::group::offsets::expiry::{RetentionFrom, is_expired};
use crate::coordinator::group::offsets::store::Committed;
use crate::coordinator::group::stored::OffsetCommitValue;

const RETENTION: Duration = Duration::from_secs(7 * 24 * 3600);
const CHECK: Duration = Duration::from_secs(600);

#[test]
fn an_offset_expires_as_kip_211_says() {
    use RetentionFrom::{Commit, Never, Time};
    let none = -1;
    // Committed at, its own end, the group's time; when it is there last; when it has expired.
    let table = [
        (1_000, none, Commit, Some(10_999)),
        (1_000, none, Time(TimestampMs(5_000)), Some(14_999)),
        // The group became Empty before the commit of another consumer: its time counts.
        (9_000, none, Time(TimestampMs(5_000)), Some(14_999)),
        (1_000, none, Never, None),
        // What an old request said comes before the retention, sooner or later.
        (1_000, 2_000, Commit, Some(1_999)),
        (1_000, 2_000, Time(TimestampMs(5_000)), Some(1_999)),
        (1_000, 90_000, Commit, Some(89_999)),
        (1_000, 2_000, Never, None),
    ];
    for (committed_at, end, from, last) in table {
        let committed = Committed::from(&OffsetCommitValue {
            commit_timestamp: committed_at,
            expire_timestamp: end,
            ..OffsetCommitValue::default()
        });
        let expired =
            |at| is_expired(&committed, from, TimestampMs(at), Duration::from_millis(10_000));
        match last {
            Some(last) => {
                assert!(!expired(last), "{committed:?} {from:?}");
                assert!(expired(last + 1), "{committed:?} {from:?}");
            }
            None => assert!(!expired(i64::MAX), "{committed:?} {from:?}"),
        }
    }
}

#[test]
fn times_at_the_ends_of_their_range_do_not_overflow() {
    for at in [i64::MIN, -1, 0, i64::MAX] {
        for now in [i64::MIN, 0, i64::MAX] {
            let value = OffsetCommitValue { commit_timestamp: at, ..Default::default() };
            let committed = Committed::from(&value);
            for retention in [Duration::ZERO, Duration::MAX] {
                let _ = is_expired(&committed, RetentionFrom::Commit, TimestampMs(now), retention);
            }
        }
    }
    let mut bench = Bench::new(GroupConfig::default());
    let mut body = commit("g", "t", &[0], 5);
    body.retention_time_ms = i64::MAX;
    bench.commit(4, body);
    assert_eq!(bench.offsets().len(), 1);
}

#[test]
fn offsets_of_simple_consumers_expire_by_the_time_of_their_commit() {
    let mut bench = Bench::new(GroupConfig::default());
    bench.commit(9, commit("g", "t", &[0], 5));
    bench.pass(CHECK);
    assert_eq!(bench.tick(), [0]);
    bench.commit(9, commit("g", "t", &[1], 6));
    bench.pass(RETENTION - CHECK - Duration::from_millis(1));
    bench.tick();
    assert_eq!(bench.offsets().len(), 2);
    bench.pass(CHECK);
    bench.tick();
    assert_eq!(bench.offsets(), [("g".to_owned(), "t-1".to_owned(), 6)]);
    bench.pass(CHECK);
    bench.tick();
    assert_eq!(bench.offsets(), []);
}

#[test]
fn an_old_request_says_itself_when_its_offset_expires() {
    let mut bench = Bench::new(GroupConfig::default());
    let mut body = commit("g", "t", &[0], 5);
    body.retention_time_ms = 1_500_000;
    bench.commit(4, body);
    bench.commit(4, commit("g", "t", &[1], 5));
    bench.pass(CHECK * 2);
    bench.tick();
    assert_eq!(bench.offsets().len(), 2);
    bench.pass(CHECK);
    bench.tick();
    assert_eq!(bench.offsets(), [("g".to_owned(), "t-1".to_owned(), 5)]);
}

#[test]
fn many_groups_are_looked_through_in_parts() {
    let mut bench = Bench::new(GroupConfig::default());
    for group in 0..1_200 {
        bench.commit(9, commit(&format!("g{group}"), "t", &[0], 5));
    }
    bench.pass(RETENTION);
    let before = bench.log.iter().filter(|(_, value)| value.is_none()).count();
    assert_eq!(before, 0);
    assert_eq!(bench.tick().len(), 3);
    assert_eq!(bench.offsets(), []);
    assert_eq!(bench.machine.next_deadline(), Some(bench.now.monotonic.plus(CHECK)));
    assert!(bench.tick().is_empty());
}

#[test]
fn a_large_group_expires_in_parts() {
    let mut bench = Bench::new(GroupConfig::default());
    let indexes: Vec<i32> = (0..2_500).collect();
    bench.commit(9, commit("a", "t", &[0], 5));
    bench.commit(9, commit("large", "t", &indexes, 5));
    bench.commit(9, commit("z", "t", &[0], 5));
    bench.pass(RETENTION);
    let offsets_left: Vec<usize> = std::iter::from_fn(|| {
        let due = bench.machine.next_deadline().unwrap() <= bench.now.monotonic;
        due.then(|| {
            bench.run(Command::Tick);
            bench.offsets().len()
        })
    })
    .collect();
    assert_eq!(offsets_left, [1_502, 502, 0]);
}

#[test]
fn a_decision_stays_a_small_batch_whatever_the_names() {
    let mut bench = Bench::new(GroupConfig::default());
    let indexes: Vec<i32> = (0..20).collect();
    bench.commit(9, commit(&"g".repeat(30_000), "t", &indexes, 5));
    bench.pass(RETENTION);
    let written = bench.tick();
    assert!(written.len() > 2 && written[0] == 8, "{written:?}");
    assert_eq!(bench.offsets(), []);
}

#[test]
fn offsets_go_with_their_topic() {
    let mut bench = Bench::new(GroupConfig::default());
    let (a, b) = (topic_id("a"), topic_id("b"));
    bench.run(image(&[("a", a), ("b", b)]));
    bench.commit(9, commit("g", "a", &[0, 1], 5));
    bench.commit(9, commit("g", "b", &[0], 5));
    bench.commit(9, commit("h", "a", &[2], 5));
    let mut old = commit("h", "a", &[3], 5);
    old.topics[0].topic_id = Uuid::nil();
    bench.commit(9, old);
    let mut again = commit("h", "a", &[4], 5);
    again.topics[0].topic_id = Uuid::from_u128(77);
    bench.commit(9, again);

    // A new topic takes nothing away, nor does the same metadata again.
    bench.run(image(&[("a", a), ("b", b), ("c", topic_id("c"))]));
    bench.run(image(&[("a", a), ("b", b), ("c", topic_id("c"))]));
    assert_eq!(bench.offsets().len(), 6);

    // Made again under its name: what was committed to the new one stays.
    bench.run(image(&[("a", Uuid::from_u128(77)), ("b", b)]));
    let left = [("g", "b-0"), ("h", "a-4")].map(|(g, p)| (g.to_owned(), p.to_owned(), 5));
    assert_eq!(bench.offsets(), left);
    bench.run(image(&[]));
    assert_eq!(bench.offsets(), []);
    assert!(bench.tick().is_empty());
}

#[test]
fn the_first_metadata_after_loading_deletes_nothing() {
    let mut bench = Bench::new(GroupConfig::default());
    bench.commit(9, commit("g", "a", &[0], 5));
    bench.run(image(&[("b", topic_id("b"))]));
    assert_eq!(bench.offsets().len(), 1);
}

#[test]
fn the_offsets_of_a_large_topic_go_in_parts() {
    let mut bench = Bench::new(GroupConfig::default());
    bench.run(image(&[("t", topic_id("t")), ("u", topic_id("u"))]));
    let indexes: Vec<i32> = (0..500).collect();
    for group in ["a", "b", "c"] {
        bench.commit(9, commit(group, "t", &indexes, 5));
        bench.commit(9, commit(group, "u", &[0], 5));
    }
    let check_due = bench.machine.next_deadline();
    bench.run(image(&[]));
    assert_eq!(bench.offsets().len(), 503);
    assert_eq!(bench.tick(), [503]);
    assert_eq!(bench.machine.next_deadline(), check_due);
}

/// One batch that the log refuses would be tried for ever.
#[test]
fn groups_with_long_names_go_a_few_at_a_time() {
    let mut bench = Bench::new(GroupConfig::default());
    for index in 0..60 {
        let group = format!("{index:030000}");
        bench.commit(9, commit(&group, "t", &[0], 5));
        bench.delete(delete(&group, "t", &[0]));
    }
    bench.pass(CHECK);
    while bench.machine.next_deadline().is_some_and(|due| due <= bench.now.monotonic) {
        let from = bench.log.len();
        bench.run(Command::Tick);
        let bytes: usize = bench.log[from..].iter().map(|(key, _)| key.len()).sum();
        assert!((1..1 << 19).contains(&bytes), "{bytes}");
    }
    assert!(bench.machine.groups.is_empty());
}
