//! Each anomaly in a history that has it and nothing else, and in a near miss that does not.

use super::story::story;
use crate::checker::check;
use crate::checker::report::{Allowed, Anomaly};

use Anomaly::*;

/// Everything found in a history, failures and what is allowed.
fn found(text: &str) -> Vec<(Anomaly, Option<Allowed>)> {
    check(&story(text)).counts.into_keys().collect()
}

/// Asserts for each row that the history has exactly the failure, and that the near miss has none
/// and nothing odd.
fn each(rows: &[(&str, Anomaly, &str, &str)]) {
    for (name, anomaly, has_it, near_miss) in rows {
        assert_eq!(found(has_it), [(*anomaly, None)], "{name}: {}", check(&story(has_it)));
        assert_eq!(found(near_miss), [], "near miss of {name}: {}", check(&story(near_miss)));
    }
}

/// The same for what is allowed.
fn each_allowed(rows: &[(&str, Anomaly, Allowed, &str)]) {
    for (name, anomaly, allowed, text) in rows {
        assert_eq!(found(text), [(*anomaly, Some(*allowed))], "{name}: {}", check(&story(text)));
        assert_eq!(check(&story(text)).failures(), [], "{name}");
        assert_eq!(check(&story(text)).allowed(), [*anomaly], "{name}");
    }
}

#[test]
fn what_was_promised_is_there() {
    each(&[
        (
            "acknowledged, and gone at the end of the log",
            LostWrite,
            "p1 send 7 -> 0
             p1 send 8 -> 1
             final 0: 0=7",
            "p1 send 7 -> 0
             p1 send 8 -> unknown
             final 0: 0=7",
        ),
        (
            "acknowledged, and gone from the middle",
            LostWrite,
            "p1 send 7 -> 0
             p1 send 8 -> 1
             p1 send 9 -> 2
             final 0: 0=7 2=9",
            // Retention took it.
            "p1 send 7 -> 0
             p1 send 8 -> 1
             p1 send 9 -> 2
             final 2: 2=9",
        ),
        (
            "read by a consumer, and gone, although nobody promised it",
            LostWrite,
            "p1 send 7 acks=1 -> 0
             p1 send 8 -> 1
             c1 poll 0: 0=7
             final 0: 1=8",
            "p1 send 7 acks=1 -> 0
             p1 send 8 -> 1
             c1 poll 0: 0=7
             final 0: 0=7 1=8",
        ),
        (
            "the last record of its key, and gone from a compacted log",
            LostWrite,
            "p1 send 7 key=1 -> 0
             p1 send 8 key=2 -> 1
             final 0: 1=8
             compacted",
            "p1 send 7 key=1 -> 0
             p1 send 8 key=1 -> 1
             p1 send 6 key=2 tombstone -> 2
             final 0: 1=8
             compacted",
        ),
        (
            "behind an earlier record of its key, and gone from a compacted log",
            LostWrite,
            "p1 send 7 key=1 -> 0
             p1 send 8 key=1 -> 1
             final 0: 0=7
             compacted",
            // The tombstone may have come last.
            "p1 send 7 key=1 -> 0
             p1 send 8 key=1 tombstone -> unknown
             final 0:
             compacted",
        ),
    ]);
}

#[test]
fn an_offset_has_one_value_and_a_value_one_offset() {
    each(&[
        (
            "two consumers see different values at one offset",
            InconsistentOffsets,
            "p1 send 7 -> unknown
             p2 send 8 -> unknown
             c1 poll 0: 0=7
             c2 poll 0: 0=8",
            "p1 send 7 -> unknown
             p2 send 8 -> unknown
             c1 poll 0: 0=7 1=8
             c2 poll 0: 0=7 1=8",
        ),
        (
            "two producers are told the same offset",
            InconsistentOffsets,
            "[0..9] p1 send 7 -> 0
             [1..9] p2 send 8 -> 0",
            "[0..9] p1 send 7 -> 0
             [1..9] p2 send 8 log=1 -> 0",
        ),
        (
            "an idempotent producer's record lies twice",
            Duplicate,
            "p1 send 7 idempotent -> 0
             final 0: 0=7 1=7",
            "p1 send 7 idempotent -> 0
             p1 send 8 idempotent -> 1
             final 0: 0=7 1=8",
        ),
        (
            "a producer was told another offset than consumers see",
            Duplicate,
            "p1 send 7 idempotent -> 5
             c1 poll 0: 0=7",
            "p1 send 7 idempotent -> unknown
             c1 poll 0: 0=7",
        ),
        (
            "a value that nobody sent",
            Phantom,
            "c1 poll 0: 0=7",
            "p1 send 7 -> unknown
             c1 poll 0: 0=7",
        ),
        (
            "a value in another log than it was sent to",
            Phantom,
            "p1 send 7 -> unknown
             c1 poll 0 log=1: 0=7",
            "p1 send 7 log=1 -> unknown
             c1 poll 0 log=1: 0=7",
        ),
        (
            "a value before it was sent",
            Phantom,
            "c1 poll 0: 0=7
             p1 send 7 -> 0",
            "[0..9] c1 poll 0: 0=7
             [1..9] p1 send 7 -> 0",
        ),
    ]);
}

#[test]
fn consumers_are_given_everything_once_in_order() {
    let sent = "p1 send 5 -> 0
                p1 send 6 -> 1
                p1 send 7 -> 2\n";
    let rows = [
        (PollSkip, "c1 poll 0: 0=5\n c1 poll 1: 2=7", "c1 poll 0: 0=5\n c1 poll 1: 1=6"),
        // The first poll starts where the consumer says that it stands.
        (PollSkip, "c1 poll 0: 1=6", "c1 poll 1: 1=6"),
        // Another consumer's position is its own.
        (PollSkip, "c1 seek 0\n c1 poll 1: 1=6", "c1 poll 0: 0=5\n c2 poll 2: 2=7"),
        (PollSkip, "c1 poll 0:\n c1 poll 1: 1=6", "c1 poll 0:\n c1 poll 0: 0=5"),
        (IntPollSkip, "c1 poll 0: 0=5 2=7", "c1 poll 0: 0=5 1=6 2=7"),
        (
            NonmonotonicPoll,
            "c1 poll 0: 0=5\n c1 poll 0: 0=5",
            "c1 poll 0: 0=5\n c1 seek 0\n c1 poll 0: 0=5",
        ),
        (
            NonmonotonicPoll,
            "c1 assign 0\n c1 poll 0: 0=5 1=6\n c1 assign 0 1\n c1 poll 1: 1=6",
            "c1 assign 0\n c1 poll 0: 0=5 1=6\n c1 assign 1\n c1 assign 0\n c1 poll 1: 1=6",
        ),
        (NonmonotonicPoll, "c1 poll 2: 1=6", "c1 poll 1: 1=6"),
        (IntNonmonotonicPoll, "c1 poll 0: 0=5 1=6 1=6", "c1 poll 0: 0=5 1=6\n c2 poll 1: 1=6"),
        (IntNonmonotonicPoll, "c1 poll 0: 0=5 1=6 0=5", "c1 poll 0: 0=5 1=6"),
    ];
    for (anomaly, has_it, near_miss) in rows {
        each(&[(has_it, anomaly, &(sent.to_owned() + has_it), &(sent.to_owned() + near_miss))]);
    }
}

#[test]
fn offsets_without_records_are_not_skipped() {
    let gaps = [
        // The end of a transaction takes an offset.
        "p1 send 5 -> 0
         p1 send 6 -> 2
         c1 poll 0: 0=5 2=6",
        // A transaction that was aborted.
        "p1 send 5 -> 0
         p1 send 6 tx=1 -> 1
         p1 abort 1 -> ok
         p1 send 7 -> 3
         c1 poll 0: 0=5 3=7",
        // One of which nobody knows.
        "p1 send 5 -> 0
         p1 send 6 tx=1 -> 1
         p1 commit 1 -> unknown
         p1 send 7 -> 3
         c1 poll 0: 0=5 3=7",
        // What compaction took, and another consumer had seen.
        "p1 send 5 key=1 -> 0
         p1 send 6 key=2 -> 1
         p1 send 7 key=2 -> 2
         c1 poll 0: 0=5 1=6 2=7
         c2 poll 0: 0=5 2=7
         final 0: 0=5 2=7
         compacted",
    ];
    for text in gaps {
        assert_eq!(found(text), [], "{text}: {}", check(&story(text)));
    }
    let skipped = "p1 send 5 -> 0
         p1 send 6 tx=1 -> 1
         p1 commit 1 -> ok
         p1 send 7 -> 3
         c1 poll 0: 0=5 3=7";
    assert_eq!(found(skipped), [(IntPollSkip, None)]);
}

#[test]
fn acknowledgements_come_in_order() {
    each(&[
        (
            "a record went before one that was acknowledged when it was sent",
            NonmonotonicSend,
            "p1 send 7 -> 5
             p1 send 8 -> 4",
            "[0..9] p1 send 7 -> 5
             [1..9] p1 send 8 -> 4",
        ),
        (
            "the same between two producers, with another in between",
            NonmonotonicSend,
            "p1 send 7 -> 5
             [1..90] p3 send 9 -> 6
             [20..30] p2 send 8 -> 4",
            "p1 send 7 -> 5
             [1..90] p3 send 9 -> 6
             [20..30] p2 send 8 -> 7",
        ),
        (
            "the same with two producers, and one acknowledged by its leader alone further on",
            NonmonotonicSend,
            "[0..9] p1 send 7 -> 5
             [1..2] p2 send 9 acks=1 -> 6
             p1 send 8 -> 4",
            "[0..9] p1 send 7 -> 5
             [1..2] p2 send 9 acks=1 -> 6
             [1..12] p1 send 8 -> 7",
        ),
        (
            "an idempotent producer's records overtook each other",
            NonmonotonicSend,
            "[0..9] p1 send 7 idempotent -> 5
             [1..9] p1 send 8 idempotent -> 4",
            "[0..9] p1 send 7 idempotent -> 4
             [1..9] p1 send 8 idempotent -> 5",
        ),
        (
            "the same, and nobody was told of the one that went behind",
            NonmonotonicSend,
            "[0..9] p1 send 7 idempotent -> unknown
             [1..9] p1 send 8 idempotent -> 4
             final 4: 4=8 5=7",
            "[0..9] p1 send 7 idempotent -> unknown
             [1..9] p1 send 8 idempotent -> 4
             final 3: 3=7 4=8",
        ),
        (
            "a record of which nobody was told went before one that was acknowledged",
            NonmonotonicSend,
            "p1 send 7 -> 5
             p2 send 8 -> unknown
             c1 poll 4: 4=8 5=7",
            "[0..9] p1 send 7 -> 5
             [1..9] p2 send 8 -> unknown
             c1 poll 4: 4=8 5=7",
        ),
        (
            "the same within a transaction",
            IntNonmonotonicSend,
            "[0..9] p1 send 7 tx=1 idempotent -> 5
             [1..9] p1 send 8 tx=1 idempotent -> 4
             p1 commit 1 -> ok",
            "p1 send 7 tx=1 idempotent -> 4
             p1 send 8 tx=1 idempotent -> 5
             p1 commit 1 -> ok",
        ),
    ]);
}

#[test]
fn only_committed_records_are_read() {
    each(&[
        (
            "a record of an aborted transaction",
            AbortedRead,
            "p1 send 7 tx=1 -> 0
             p1 abort 1 -> unknown
             c1 poll-committed 0: 0=7",
            "p1 send 7 tx=1 -> 0
             p1 commit 1 -> unknown
             c1 poll-committed 0: 0=7",
        ),
        (
            "a record whose transaction could not be committed",
            AbortedRead,
            "p1 send 7 tx=1 -> 0
             p1 commit 1 -> failed
             final 0: 0=7",
            "p1 send 7 tx=1 -> 0
             p1 commit 1 -> unknown
             p1 commit 1 -> ok
             final 0: 0=7",
        ),
        (
            "a record whose send certainly failed",
            AbortedRead,
            "p1 send 7 -> failed
             c1 poll 0: 0=7",
            "p1 send 7 -> failed
             p1 send 7 -> 0
             c1 poll 0: 0=7",
        ),
        (
            "a record before its commit was asked for",
            PrecommittedRead,
            "p1 send 7 tx=1 -> 0
             c1 poll-committed 0: 0=7
             p1 commit 1 -> ok",
            "p1 send 7 tx=1 -> 0
             [10..20] c1 poll-committed 0: 0=7
             [20..30] p1 commit 1 -> ok",
        ),
        (
            "half of a transaction",
            TornTransaction,
            "p1 send 7 tx=1 -> 0
             p1 send 8 tx=1 log=1 -> 0
             p1 commit 1 -> unknown
             final 0: 0=7
             final 0 log=1:",
            "p1 send 7 tx=1 -> 0
             p1 send 8 tx=1 log=1 -> 0
             p1 commit 1 -> unknown
             final 0:
             final 0 log=1:",
        ),
    ]);
}

#[test]
fn what_is_not_promised_is_reported_and_not_failed() {
    each_allowed(&[
        (
            "acks=1 promises nothing",
            LostWrite,
            Allowed::Acks,
            "p1 send 7 acks=1 -> 0
             final 0:",
        ),
        (
            "another record took the place of one with acks=1",
            InconsistentOffsets,
            Allowed::Acks,
            "[0..9] p1 send 7 acks=1 -> 0
             [1..9] p2 send 8 -> 0
             c1 poll 0: 0=8",
        ),
        (
            "a log that may lose",
            LostWrite,
            Allowed::MayLose,
            "p1 send 7 -> 0
             final 0:
             may-lose",
        ),
        (
            "two consumers around an unclean election",
            InconsistentOffsets,
            Allowed::MayLose,
            "p1 send 7 -> unknown
             p2 send 8 -> unknown
             c1 poll 0: 0=7
             c2 poll 0: 0=8
             may-lose",
        ),
        (
            "a retry of a producer that is not idempotent",
            Duplicate,
            Allowed::NotIdempotent,
            "p1 send 7 -> 1
             final 0: 0=7 1=7",
        ),
        (
            "an idempotent producer's user sent it again",
            Duplicate,
            Allowed::NotIdempotent,
            "p1 send 7 idempotent -> unknown
             p1 send 7 idempotent -> 1
             final 0: 0=7 1=7",
        ),
        (
            "acks=1, and a new leader that did not have the first",
            NonmonotonicSend,
            Allowed::Acks,
            "p1 send 7 acks=1 -> 5
             p1 send 8 -> 4",
        ),
        (
            "the group's offsets were committed before the rebalance, and not quite up to date",
            NonmonotonicPoll,
            Allowed::Rebalanced,
            "p1 send 7 -> 0
             c1 subscribe 0
             c1 poll 0: 0=7
             c1 subscribe 0 1
             c1 poll 0: 0=7",
        ),
        (
            "another member had read on meanwhile",
            PollSkip,
            Allowed::Rebalanced,
            "p1 send 5 -> 0
             p1 send 6 -> 1
             p1 send 7 -> 2
             c1 subscribe 0
             c1 poll 0: 0=5
             c1 subscribe 0 1
             c1 poll 2: 2=7",
        ),
        (
            "transactions of several producers interleave",
            IntSendSkip,
            Allowed::NotPromised,
            "p1 send 7 tx=1 -> 0
             p2 send 8 -> 1
             p1 send 9 tx=1 -> 2
             p1 commit 1 -> ok",
        ),
        (
            "who reads uncommitted records is given aborted ones",
            AbortedRead,
            Allowed::NotPromised,
            "p1 send 7 tx=1 -> 0
             p1 abort 1 -> ok
             c1 poll 0: 0=7",
        ),
    ]);
}

#[test]
fn the_unseen_are_counted() {
    let count = |text| check(&story(text)).unseen;
    assert_eq!(count("p1 send 7 -> 0"), 1);
    assert_eq!(count("p1 send 7 acks=0 -> ok"), 1);
    assert_eq!(count("p1 send 7 -> unknown"), 0);
    assert_eq!(count("p1 send 7 -> 0\n c1 poll 0: 0=7"), 0);
    assert_eq!(count("p1 send 7 -> 0\n final 0: 0=7"), 0);
    assert_eq!(count("p1 send 7 tx=1 -> 0\n p1 abort 1 -> ok"), 0);
}

#[test]
fn topics_come_and_go_at_one_moment_each() {
    let rows = [
        (
            "a1 create t -> done\n a1 create t -> done",
            "a1 create t -> done\n a1 create t -> nothing",
        ),
        ("a1 delete t -> done", "a1 delete t -> nothing"),
        ("a1 create t -> nothing", "a2 create t -> unknown\n a1 create t -> nothing"),
        (
            "a1 create t -> failed\n a1 delete t -> done",
            "a1 create t -> unknown\n a1 delete t -> done",
        ),
        ("a1 create t -> done\n a1 list: s", "a1 create t -> done\n a1 list: t"),
        ("a1 list: t", "a1 list:"),
        // Both could be first, and the list was asked for after both.
        (
            "[0..9] a1 create t -> done\n [1..9] a2 delete t -> done\n a1 list: t",
            "[0..9] a1 create t -> done\n [1..9] a2 delete t -> nothing\n a1 list: t",
        ),
        // Seen, gone, and seen again, with one creation.
        (
            "[0..90] a1 create t -> done\n a2 list: t\n a2 list:\n [91..95] a2 delete t -> done",
            "[0..90] a1 create t -> done\n a2 list:\n a2 list: t\n [91..95] a2 delete t -> done",
        ),
        // What nobody answered happens once: late, if need be.
        (
            "a1 create t -> unknown\n a1 delete t -> done\n a1 delete t -> done",
            "a1 create t -> unknown\n a1 delete t -> nothing\n a1 delete t -> done\n a1 delete t -> nothing",
        ),
        // A deletion that nobody answered lets it be created again.
        (
            "a1 create t -> done\n a1 delete t -> unknown\n a1 create t -> done\n a1 create t -> done",
            "a1 create t -> done\n a1 delete t -> unknown\n a1 create t -> nothing\n a1 create t -> done",
        ),
        ("a1 list-lagging: t\n a1 create t -> done", "a1 create t -> done\n a1 list-lagging:"),
        (
            "a1 create t -> failed\n a1 list-lagging: t",
            "a1 create t -> unknown\n a1 list-lagging: t",
        ),
    ];
    for (has_it, near_miss) in rows {
        each(&[(has_it, TopicNotLinearizable, has_it, near_miss)]);
    }
}

/// The words name operations and values, so that a failure can be read.
#[test]
fn a_report_can_be_read() {
    let report = check(&story("p1 send 7 -> 0\n p1 send 8 acks=1 -> 1\n final 0:"));
    assert_eq!(
        report.to_string(),
        "LostWrite: 1\n  \
         0.7 was acknowledged by all in-sync replicas at 0 of 0-0, and is gone (operations [0])\n\
         LostWrite: 1, allowed (Acks)\n  \
         0.8 was acknowledged at 1 of 0-0, and is gone (operations [1])\n\
         acknowledged and never read: 2\n"
    );
}
