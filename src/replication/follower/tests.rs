#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

const LEADER: Option<NodeId> = Some(NodeId(1));

fn ms(milliseconds: u64) -> Monotonic {
    Monotonic(Duration::from_millis(milliseconds))
}

fn log(start: i64, end: i64, epoch: i32) -> LogView {
    LogView { start: Offset(start), end: Offset(end), latest_epoch: LeaderEpoch(epoch) }
}

fn end(epoch: i32, end_offset: i64) -> EpochEnd {
    EpochEnd { epoch: LeaderEpoch(epoch), end_offset: Offset(end_offset) }
}

fn records() -> FetchAnswer {
    FetchAnswer {
        error: ErrorCode::None,
        high_watermark: Offset(50),
        log_start: Offset(0),
        diverging: None,
    }
}

fn error(error: ErrorCode) -> FetchAnswer {
    FetchAnswer { error, high_watermark: Offset(-1), log_start: Offset(-1), diverging: None }
}

fn no_lookup(epoch: LeaderEpoch) -> EpochEnd {
    panic!("nobody asked for epoch {epoch}")
}

#[test]
fn it_asks_at_its_log_end_with_the_epoch_before_it_one_at_a_time() {
    let mut follower = FollowerState::new(LEADER, LeaderEpoch(5));
    let ask = follower.ask(log(3, 10, 4), ms(0)).expect("an ask");
    assert_eq!(ask.leader_epoch, LeaderEpoch(5));
    assert_eq!(ask.log_start, Offset(3));
    assert_eq!(ask.position.fetch_offset, Offset(10));
    assert_eq!(ask.position.last_fetched_epoch, LeaderEpoch(4));
    assert_eq!(follower.ask(log(3, 10, 4), ms(0)), None, "one is in flight");
    let step = follower.answered(&ask, records(), log(3, 10, 4), no_lookup, ms(1));
    let append = Step::Append { high_watermark: Offset(50), log_start: Offset(0) };
    assert_eq!(step, append);
    assert!(follower.ask(log(3, 12, 5), ms(1)).is_some());
}

#[test]
fn without_a_leader_it_waits() {
    let mut follower = FollowerState::new(None, LeaderEpoch(5));
    assert_eq!(follower.ask(log(0, 0, -1), ms(0)), None);
    assert!(follower.follow(LEADER, LeaderEpoch(6)));
    assert!(follower.ask(log(0, 0, -1), ms(0)).is_some());
}

#[test]
fn rule_02_only_a_risen_leader_epoch_starts_anew() {
    let mut follower = FollowerState::new(LEADER, LeaderEpoch(5));
    follower.ask(log(0, 10, 4), ms(0)).expect("an ask");
    assert!(!follower.follow(Some(NodeId(2)), LeaderEpoch(4)));
    assert!(!follower.follow(LEADER, LeaderEpoch(5)));
    assert!(follower.is_in_flight());
    assert_eq!(follower.leader(), LEADER);
    assert!(follower.follow(Some(NodeId(2)), LeaderEpoch(6)));
    assert!(!follower.is_in_flight());
}

#[test]
fn rule_04_missed_epochs_are_found_step_by_step() {
    // KAFKA-6361, KAFKA-7164. Ours: epoch 1 to 5, epoch 3 to 10. The leader's: epoch 1 to 4,
    // epoch 2 to 9, epoch 4 beyond.
    let mut follower = FollowerState::new(LEADER, LeaderEpoch(4));
    let ours = |epoch: LeaderEpoch| match epoch.0 {
        3 => end(3, 10),
        1 | 2 => end(1, 5),
        _ => panic!("unexpected epoch {epoch}"),
    };
    let ask = follower.ask(log(0, 10, 3), ms(0)).expect("an ask");
    let diverging = FetchAnswer { diverging: Some(end(2, 9)), ..records() };
    let step = follower.answered(&ask, diverging, log(0, 10, 3), ours, ms(0));
    assert_eq!(step, Step::Truncate(Cut::To(Offset(5))), "epoch 2 is unknown here");
    follower.truncated(Cut::To(Offset(5)));

    let ask = follower.ask(log(0, 5, 1), ms(0)).expect("it asks again");
    let diverging = FetchAnswer { diverging: Some(end(1, 4)), ..records() };
    let ours = |_| end(1, 5);
    let step = follower.answered(&ask, diverging, log(0, 5, 1), ours, ms(0));
    assert_eq!(step, Step::Truncate(Cut::To(Offset(4))), "now the common prefix");
}

#[test]
fn rule_05_a_diverging_answer_truncates_before_anything_else_happens() {
    let mut follower = FollowerState::new(LEADER, LeaderEpoch(5));
    let ask = follower.ask(log(0, 10, 4), ms(0)).expect("an ask");
    let diverging = FetchAnswer { diverging: Some(end(4, 7)), ..records() };
    let step = follower.answered(&ask, diverging, log(0, 10, 4), |_| end(4, 10), ms(0));
    let cut = Cut::To(Offset(7));
    assert_eq!(step, Step::Truncate(cut), "no high watermark in it (KAFKA-14704)");
    assert_eq!(follower.phase(), Phase::Truncating(cut));
    assert_eq!(follower.ask(log(0, 10, 4), ms(9_999)), None, "nothing until it is cut");
    follower.truncated(cut);
    let ask = follower.ask(log(0, 7, 4), ms(0)).expect("it compares again");
    assert_eq!(ask.position.fetch_offset, Offset(7));
}

#[test]
fn rule_05_an_answer_to_another_state_is_dropped() {
    // KAFKA-18991. What changed between ask and answer:
    type Change = fn(&mut FollowerState) -> LogView;
    let changes: [(&str, Change); 5] = [
        ("the leader epoch", |follower| {
            follower.follow(Some(NodeId(2)), LeaderEpoch(6));
            log(0, 10, 4)
        }),
        ("the leader epoch, and an equal fetch is out", |follower| {
            follower.follow(Some(NodeId(2)), LeaderEpoch(6));
            follower.ask(log(0, 10, 4), ms(0)).expect("an ask");
            log(0, 10, 4)
        }),
        ("the log end", |_| log(0, 9, 4)),
        ("the last epoch", |_| log(0, 10, 3)),
        ("the fetch was given up", |follower| {
            let position =
                FetchPosition { fetch_offset: Offset(10), last_fetched_epoch: LeaderEpoch(4) };
            let leader_epoch = LeaderEpoch(5);
            follower.lost(&FetchAsk { leader_epoch, position, log_start: Offset(0) }, ms(0));
            log(0, 10, 4)
        }),
    ];
    for (what, change) in changes {
        let mut follower = FollowerState::new(LEADER, LeaderEpoch(5));
        let ask = follower.ask(log(0, 10, 4), ms(0)).expect("an ask");
        let now = change(&mut follower);
        let diverging = FetchAnswer { diverging: Some(end(4, 7)), ..records() };
        for answer in [diverging, records(), error(ErrorCode::OffsetOutOfRange)] {
            let step = follower.clone().answered(&ask, answer, now, no_lookup, ms(1));
            assert_eq!(step, Step::Stale, "{what}: {answer:?}");
        }
    }
}

#[test]
fn rule_05_out_of_range_asks_the_leader_where_its_log_lies() {
    // (ours, the leader's start and end) -> step
    let table = [
        (log(0, 10, 4), (20, 30), Step::Truncate(Cut::FullyAndStartAt(Offset(20)))),
        (log(0, 10, 4), (0, 8), Step::Truncate(Cut::To(Offset(8)))),
        (log(9, 10, 4), (0, 8), Step::Truncate(Cut::FullyAndStartAt(Offset(8)))),
        (log(0, 10, 4), (5, 30), Step::Pause),
    ];
    for (ours, (start, leader_end), expected) in table {
        let mut follower = FollowerState::new(LEADER, LeaderEpoch(5));
        let ask = follower.ask(ours, ms(0)).expect("an ask");
        let answer = error(ErrorCode::OffsetOutOfRange);
        assert_eq!(follower.answered(&ask, answer, ours, no_lookup, ms(0)), Step::Locate);
        assert_eq!(follower.ask(ours, ms(9_999)), None);
        let bounds = Ok((Offset(start), Offset(leader_end)));
        let stale = follower.clone().located(LeaderEpoch(4), bounds, ours, ms(0));
        assert_eq!(stale, Step::Stale, "an answer of another reign");
        assert_eq!(follower.located(LeaderEpoch(5), bounds, ours, ms(0)), expected);
    }
}

#[test]
fn errors_make_it_pause_longer_each_time() {
    let mut follower = FollowerState::new(LEADER, LeaderEpoch(5));
    let view = log(0, 10, 4);
    let mut pauses = Vec::new();
    let mut now = ms(0);
    for code in [ErrorCode::NotLeaderOrFollower; 10] {
        let ask = follower.ask(view, now).expect("an ask");
        assert_eq!(follower.answered(&ask, error(code), view, no_lookup, now), Step::Pause);
        let until = follower.paused_until(now).expect("a pause");
        pauses.push(until.since(now).as_millis());
        assert_eq!(follower.ask(view, now), None, "no spinning");
        now = until;
    }
    assert_eq!(pauses, [5, 10, 20, 40, 80, 160, 320, 640, 1000, 1000]);
    let ask = follower.ask(view, now).expect("an ask");
    follower.answered(&ask, records(), view, no_lookup, now);
    assert!(follower.ask(view, now).is_some(), "success ends it");
}

#[test]
fn a_new_reign_ends_a_pause_and_a_truncation() {
    let mut follower = FollowerState::new(LEADER, LeaderEpoch(5));
    let ask = follower.ask(log(0, 10, 4), ms(0)).expect("an ask");
    let diverging = FetchAnswer { diverging: Some(end(4, 7)), ..records() };
    follower.answered(&ask, diverging, log(0, 10, 4), |_| end(4, 10), ms(0));
    follower.follow(Some(NodeId(3)), LeaderEpoch(7));
    follower.truncated(Cut::To(Offset(7)));
    assert_eq!(follower.phase(), Phase::Fetching);
    assert!(follower.ask(log(0, 7, 4), ms(0)).is_some());
}

#[test]
fn the_high_watermark_follows_as_far_as_the_log_goes_and_never_back() {
    for (current, leaders, log_end, next) in
        [(5, 8, 10, 8), (5, 12, 10, 10), (5, 3, 10, 5), (5, -1, 10, 5)]
    {
        let got =
            FollowerState::next_high_watermark(Offset(current), Offset(leaders), Offset(log_end));
        assert_eq!(got, Offset(next), "{current} {leaders} {log_end}");
    }
}
