#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use super::*;

const LOCAL: NodeId = NodeId(1);
const LAG_MAX: Duration = Duration::from_secs(30);

fn nodes(ids: &[i32]) -> BTreeSet<NodeId> {
    ids.iter().copied().map(NodeId).collect()
}

fn second(seconds: u64) -> Monotonic {
    Monotonic(Duration::from_secs(seconds))
}

fn reign(assignment: &Assignment) -> Reign<'_> {
    Reign {
        local: LOCAL,
        assignment,
        epoch_start: Offset(100),
        high_watermark: Offset(90),
        min_isr: 1,
        lag_max: LAG_MAX,
    }
}

/// A leader (node 1) in epoch 5, version 10, with the world around it.
struct Stage {
    leader: LeaderState,
    standings: Standings,
    log_end: Offset,
    now: Monotonic,
}

impl Stage {
    fn new(replicas: &[i32], isr: &[i32], min_isr: usize) -> Self {
        let assignment = assignment(replicas, isr, 5, 10);
        let reign = Reign { min_isr, ..reign(&assignment) };
        let standings = replicas
            .iter()
            .map(|id| {
                (NodeId(*id), BrokerStanding { broker_epoch: BrokerEpoch(7), is_active: true })
            })
            .collect();
        let leader = LeaderState::new(reign, second(0));
        Self { leader, standings, log_end: Offset(100), now: second(0) }
    }

    fn fetch_as(
        &mut self,
        node: i32,
        offset: i64,
        broker_epoch: i64,
    ) -> Result<Progressed, ErrorCode> {
        let fetch = FollowerFetch {
            node: NodeId(node),
            broker_epoch: BrokerEpoch(broker_epoch),
            fetch_offset: Offset(offset),
            log_start: Offset(0),
        };
        let (log_end, now) = (self.log_end, self.now);
        let around = Surroundings { log_end, now, standings: &self.standings };
        self.leader.follower_fetched(fetch, around)
    }

    /// The high watermark and whether something was proposed, after a fetch by `node`.
    fn fetch(&mut self, node: i32, offset: i64) -> (i64, Option<ProposalId>) {
        let progressed = self.fetch_as(node, offset, 7).expect("an accepted fetch");
        (self.leader.high_watermark().0, progressed.proposal.map(|proposal| proposal.id))
    }

    fn shrink(&mut self) -> Option<IsrProposal> {
        let (log_end, now) = (self.log_end, self.now);
        self.leader.shrink(Surroundings { log_end, now, standings: &self.standings })
    }

    fn advance(&mut self) -> i64 {
        let (log_end, now) = (self.log_end, self.now);
        self.leader.advance(Surroundings { log_end, now, standings: &self.standings });
        self.leader.high_watermark().0
    }

    fn answer(&mut self, id: ProposalId, answer: Result<IsrConfirmed, ErrorCode>) -> Answered {
        let (log_end, now) = (self.log_end, self.now);
        self.leader.answered(id, answer, Surroundings { log_end, now, standings: &self.standings })
    }

    fn update(&mut self, replicas: &[i32], isr: &[i32], version: i32) -> bool {
        self.leader.update(&assignment(replicas, isr, 5, version), self.now)
    }

    fn isr(&self) -> Vec<i32> {
        self.leader.isr().committed().iter().map(|node| node.0).collect()
    }
}

#[test]
fn the_low_watermark_is_the_lowest_log_start_of_all_that_are_up() {
    let mut stage = Stage::new(&[1, 2, 3, 4], &[1, 2, 3], 1);
    let low_watermark =
        |stage: &Stage, local: i64| stage.leader.low_watermark(Offset(local), &stage.standings).0;
    let fetch = |stage: &mut Stage, node: i32, log_start: i64| {
        let fetch = FollowerFetch {
            node: NodeId(node),
            broker_epoch: BrokerEpoch(7),
            fetch_offset: Offset(100),
            log_start: Offset(log_start),
        };
        let (log_end, now) = (stage.log_end, stage.now);
        let around = Surroundings { log_end, now, standings: &stage.standings };
        stage.leader.follower_fetched(fetch, around).unwrap();
    };
    assert_eq!(low_watermark(&stage, 50), -1, "nobody has fetched in this reign");
    fetch(&mut stage, 2, 50);
    fetch(&mut stage, 3, 40);
    assert_eq!(low_watermark(&stage, 50), -1, "4 is up, although not in sync");
    stage.standings.get_mut(&NodeId(4)).unwrap().is_active = false;
    assert_eq!(low_watermark(&stage, 50), 40);
    stage.standings.get_mut(&NodeId(3)).unwrap().is_active = false;
    assert_eq!(low_watermark(&stage, 50), 40, "3 is down, but still in the ISR");
    stage.update(&[1, 2, 3, 4], &[1, 2], 11);
    assert_eq!(low_watermark(&stage, 50), 50);
    assert_eq!(low_watermark(&stage, 45), 45, "the leader's own counts too");
}

fn assignment(replicas: &[i32], isr: &[i32], leader_epoch: i32, version: i32) -> Assignment {
    Assignment {
        replicas: nodes(replicas),
        isr: nodes(isr),
        elr: BTreeSet::new(),
        offline: BTreeSet::new(),
        leader_epoch: LeaderEpoch(leader_epoch),
        partition_epoch: PartitionEpoch(version),
    }
}

fn confirmed(isr: &[i32], version: i32) -> IsrConfirmed {
    IsrConfirmed {
        leader_epoch: LeaderEpoch(5),
        partition_epoch: PartitionEpoch(version),
        isr: isr.iter().copied().map(NodeId).collect(),
        elr: Vec::new(),
    }
}

#[test]
fn rule_02_older_metadata_is_ignored_and_the_same_reign_keeps_progress() {
    let mut stage = Stage::new(&[1, 2, 3], &[1, 2, 3], 1);
    stage.fetch(2, 100);
    assert!(!stage.update(&[1, 2], &[1], 9));
    assert!(!stage.leader.update(&assignment(&[1, 2], &[1], 4, 20), stage.now));
    assert_eq!(stage.isr(), [1, 2, 3]);
    assert!(stage.update(&[1, 2, 4], &[1, 2], 11));
    assert_eq!(stage.isr(), [1, 2]);
    assert_eq!(stage.leader.followers()[&NodeId(2)].log_end(), Offset(100));
    assert_eq!(stage.leader.followers().keys().map(|node| node.0).collect::<Vec<_>>(), [2, 4]);
}

#[test]
fn rule_06_the_high_watermark_is_the_lowest_log_end_of_the_isr() {
    let mut stage = Stage::new(&[1, 2, 3], &[1, 2, 3], 1);
    stage.log_end = Offset(110);
    assert_eq!(stage.fetch(2, 105), (90, None), "nothing is known of 3 yet");
    assert_eq!(stage.fetch(3, 103), (103, None));
    assert_eq!(stage.fetch(2, 110), (103, None));
    assert_eq!(stage.fetch(3, 110), (110, None));
    assert_eq!(stage.fetch(3, 50), (110, None), "it never goes back");
}

#[test]
fn rule_06_a_pending_expansion_counts_the_newcomer() {
    let mut stage = Stage::new(&[1, 2], &[1], 1);
    assert_eq!(stage.advance(), 100);
    let (_, proposal) = stage.fetch(2, 100);
    let proposal = proposal.expect("a proposal to expand");
    stage.now = second(40); // it is long since it was caught up
    stage.log_end = Offset(120);
    assert_eq!(stage.advance(), 100, "the controller may have confirmed 2 already");
    assert_eq!(stage.answer(proposal, Err(ErrorCode::IneligibleReplica)), Answered::Reverted);
    assert_eq!(stage.advance(), 120);
}

#[test]
fn rule_06_a_pending_shrink_keeps_the_old_set() {
    let mut stage = Stage::new(&[1, 2], &[1, 2], 1);
    stage.fetch(2, 100);
    stage.log_end = Offset(120);
    stage.now = second(31);
    let proposal = stage.shrink().expect("a proposal to shrink");
    assert_eq!(proposal.isr, [IsrMember { node: LOCAL, broker_epoch: BrokerEpoch(7) }]);
    assert_eq!(stage.advance(), 100);
    let answered = stage.answer(proposal.id, Ok(confirmed(&[1], 11)));
    let progressed = Progressed { high_watermark: Some(Offset(120)), proposal: None };
    assert_eq!(answered, Answered::Confirmed(progressed), "KAFKA-13091");
}

#[test]
fn rule_06_a_caught_up_replica_outside_the_isr_holds_the_high_watermark_if_eligible() {
    let mut stage = Stage::new(&[1, 2], &[1], 1);
    stage.leader.no_expand_before = second(1_000);
    stage.fetch(2, 100);
    stage.log_end = Offset(110);
    assert_eq!(stage.advance(), 100, "2 is about to join");
    stage.standings.get_mut(&NodeId(2)).unwrap().is_active = false;
    assert_eq!(stage.advance(), 110, "KAFKA-15021: fenced, so it cannot join");
}

#[test]
fn rule_07_only_one_change_is_in_flight() {
    let mut stage = Stage::new(&[1, 2, 3, 4], &[1, 4], 1);
    stage.fetch(4, 100);
    assert!(stage.fetch(2, 100).1.is_some());
    assert_eq!(stage.fetch(3, 100).1, None);
    stage.log_end = Offset(101);
    stage.now = second(31);
    assert_eq!(stage.shrink(), None);
}

#[test]
fn rule_07_what_each_answer_does() {
    use ErrorCode as E;
    let table = [
        (E::IneligibleReplica, Answered::Reverted),
        (E::OperationNotAttempted, Answered::Reverted),
        (E::UnknownTopicOrPartition, Answered::AwaitsMetadata),
        (E::UnknownTopicId, Answered::AwaitsMetadata),
        (E::FencedLeaderEpoch, Answered::AwaitsMetadata),
        (E::InvalidUpdateVersion, Answered::AwaitsMetadata),
        (E::InvalidRequest, Answered::AwaitsMetadata),
        (E::NewLeaderElected, Answered::AwaitsMetadata),
        (E::NotController, Answered::Retry),
        (E::StaleBrokerEpoch, Answered::Retry),
        (E::RequestTimedOut, Answered::Retry),
        (E::NetworkException, Answered::Retry),
        (E::UnknownServerError, Answered::Retry),
    ];
    for (error, expected) in table {
        let mut stage = Stage::new(&[1, 2], &[1], 1);
        let id = stage.fetch(2, 100).1.expect("a proposal");
        let reverted = expected == Answered::Reverted;
        assert_eq!(stage.answer(id, Err(error)), expected, "{error}");
        assert_eq!(stage.leader.isr().pending().is_none(), reverted, "{error}");
        assert!(stage.update(&[1, 2], &[1], 11), "metadata settles it");
        assert_eq!(stage.leader.isr().pending(), None, "{error}");
    }
}

#[test]
fn rule_07_an_answer_to_a_state_that_has_moved_is_ignored() {
    let mut stage = Stage::new(&[1, 2], &[1], 1);
    let first = stage.fetch(2, 100).1.expect("a proposal");
    assert!(stage.update(&[1, 2], &[1], 11));
    assert_eq!(stage.answer(first, Ok(confirmed(&[1, 2], 11))), Answered::Ignored);
    assert_eq!(stage.isr(), [1]);
    let second = stage.fetch(2, 100).1.expect("another proposal");
    assert_ne!(first, second);
    assert_eq!(stage.answer(first, Err(ErrorCode::IneligibleReplica)), Answered::Ignored);
    assert_eq!(
        stage.answer(second, Ok(confirmed(&[1, 2], 10))),
        Answered::Ignored,
        "older version"
    );
    let mut other_reign = confirmed(&[1, 2], 12);
    other_reign.leader_epoch = LeaderEpoch(6);
    assert_eq!(stage.answer(second, Ok(other_reign)), Answered::Ignored);
    assert!(matches!(stage.answer(second, Ok(confirmed(&[1, 2], 12))), Answered::Confirmed(_)));
    assert_eq!(stage.isr(), [1, 2]);
}

#[test]
fn rule_07_metadata_of_the_confirmed_version_does_not_undo_a_later_proposal() {
    let mut stage = Stage::new(&[1, 2, 3], &[1], 1);
    let first = stage.fetch(2, 100).1.expect("a proposal");
    stage.answer(first, Ok(confirmed(&[1, 2], 11)));
    let second = stage.fetch(3, 100).1.expect("another proposal");
    stage.update(&[1, 2, 3], &[1, 2], 11); // the metadata of the first one comes late
    assert_eq!(stage.leader.isr().pending(), Some(second));
}

#[test]
fn rule_07_after_an_unknown_outcome_only_a_certain_answer_takes_it_back() {
    let mut stage = Stage::new(&[1, 2], &[1], 1);
    let id = stage.fetch(2, 100).1.expect("a proposal");
    assert_eq!(stage.answer(id, Err(ErrorCode::NetworkException)), Answered::Retry);
    assert_eq!(stage.answer(id, Err(ErrorCode::OperationNotAttempted)), Answered::Retry);
    assert_eq!(stage.answer(id, Err(ErrorCode::InvalidUpdateVersion)), Answered::AwaitsMetadata);
    assert!(stage.leader.isr().maximal_contains(NodeId(2)), "it may be a member");
}

#[test]
fn rule_07_a_refusal_is_followed_by_a_pause_or_by_metadata() {
    let mut stage = Stage::new(&[1, 2], &[1], 1);
    let id = stage.fetch(2, 100).1.expect("a proposal");
    stage.answer(id, Err(ErrorCode::IneligibleReplica));
    assert_eq!(stage.fetch(2, 100).1, None, "no spinning");
    assert!(stage.update(&[1, 2], &[1], 11));
    let id = stage.fetch(2, 100).1.expect("new metadata ends the pause");
    stage.answer(id, Err(ErrorCode::IneligibleReplica));
    stage.now = second(1);
    assert!(stage.fetch(2, 100).1.is_some(), "time ends the pause");
}

#[test]
fn rule_08_below_the_minimum_the_high_watermark_stands() {
    let mut stage = Stage::new(&[1, 2, 3], &[1], 2);
    assert_eq!(stage.advance(), 90);
    let id = stage.fetch(2, 100).1.expect("a proposal");
    assert_eq!(stage.leader.high_watermark(), Offset(90), "the expansion is not confirmed");
    stage.answer(id, Ok(confirmed(&[1, 2], 11)));
    assert_eq!(stage.leader.high_watermark(), Offset(100));
}

#[test]
fn rule_08_the_minimum_is_no_more_than_the_replicas() {
    for (replicas, configured, effective) in
        [(&[1][..], 2, 1), (&[1, 2], 2, 2), (&[1, 2], 3, 2), (&[1, 2, 3], 2, 2)]
    {
        let stage = Stage::new(replicas, replicas, configured);
        assert_eq!(stage.leader.effective_min_isr(), effective, "{replicas:?} {configured}");
    }
}

/// The controller knows of a higher minimum before this node does, or has another file.
#[test]
fn rule_08_beside_eligible_leaders_nothing_is_committed_whatever_the_minimum_here() {
    let mut stage = Stage::new(&[1, 2, 3], &[1, 2, 3], 1);
    stage.fetch(2, 100);
    stage.fetch(3, 100);
    stage.log_end = Offset(120);
    stage.now = second(31);
    let proposal = stage.shrink().expect("a proposal to shrink");
    let answer = IsrConfirmed { elr: vec![NodeId(2), NodeId(3)], ..confirmed(&[1], 11) };
    assert_eq!(stage.answer(proposal.id, Ok(answer)), Answered::Confirmed(Progressed::default()));
    assert_eq!(stage.advance(), 100, "2 and 3 may be elected");
    assert_eq!(stage.leader.check_acks_all(), Err(ErrorCode::NotEnoughReplicas));
    // The same version as metadata changes nothing; a version without them does.
    let eligible = Assignment { elr: nodes(&[2, 3]), ..assignment(&[1, 2, 3], &[1], 5, 11) };
    assert!(stage.leader.update(&eligible, stage.now));
    assert_eq!(stage.advance(), 100);
    assert!(stage.update(&[1, 2, 3], &[1], 12), "the minimum was lowered");
    assert_eq!(stage.advance(), 120);
    assert_eq!(stage.leader.check_acks_all(), Ok(()));
}

#[test]
fn rule_08_a_reign_that_begins_beside_eligible_leaders_commits_nothing() {
    let eligible = Assignment { elr: nodes(&[2]), ..assignment(&[1, 2, 3], &[1], 5, 10) };
    let stage = Stage::new(&[1, 2, 3], &[1], 1);
    let mut leader = LeaderState::new(reign(&eligible), second(0));
    let around = Surroundings { log_end: Offset(120), now: second(0), standings: &stage.standings };
    assert_eq!(leader.advance(around), None);
}

#[test]
fn rule_09_acks_all_is_refused_up_front_below_the_minimum() {
    let mut stage = Stage::new(&[1, 2, 3], &[1], 2);
    assert_eq!(stage.leader.check_acks_all(), Err(ErrorCode::NotEnoughReplicas));
    stage.update(&[1, 2, 3], &[1, 3], 11);
    assert_eq!(stage.leader.check_acks_all(), Ok(()));
}

#[test]
fn rule_09_acks_all_completes_at_the_high_watermark() {
    let mut stage = Stage::new(&[1, 2], &[1, 2], 2);
    stage.log_end = Offset(110);
    assert_eq!(stage.leader.committed(Offset(110)), None);
    stage.fetch(2, 109);
    assert_eq!(stage.leader.committed(Offset(110)), None);
    assert_eq!(stage.leader.committed(Offset(109)), Some(Ok(())));
    stage.fetch(2, 110);
    assert_eq!(stage.leader.committed(Offset(110)), Some(Ok(())));
    stage.update(&[1, 2], &[1], 11);
    let after_append = Some(Err(ErrorCode::NotEnoughReplicasAfterAppend));
    assert_eq!(stage.leader.committed(Offset(110)), after_append);
}

#[test]
fn rule_10_who_may_join_the_isr() {
    // (fetch offset, incarnation, registered incarnation, active) -> proposed
    let table = [
        (100, 7, 7, true, true),
        (99, 7, 7, true, false), // above the high watermark, below the reign's start (KAFKA-7128)
        (89, 7, 7, true, false), // below the high watermark
        (100, 7, 7, false, false), // fenced or shutting down (KAFKA-13916)
        (100, 8, 7, true, false), // our metadata is behind: not yet
        (100, -1, -1, true, true),
    ];
    for (offset, incarnation, registered, is_active, proposed) in table {
        let mut stage = Stage::new(&[1, 2], &[1], 2); // the high watermark stands (rule 8)
        let standing = BrokerStanding { broker_epoch: BrokerEpoch(registered), is_active };
        stage.standings.insert(NodeId(2), standing);
        let progressed = stage.fetch_as(2, offset, incarnation).expect("an accepted fetch");
        let case = format!("{offset} {incarnation} {registered} {is_active}");
        assert_eq!(progressed.proposal.is_some(), proposed, "{case}");
    }
}

#[test]
fn rule_10_the_proposal_names_the_incarnations() {
    let mut stage = Stage::new(&[1, 2, 3], &[1, 3], 1);
    stage.standings.get_mut(&NodeId(2)).unwrap().broker_epoch = BrokerEpoch(9);
    let proposal = stage.fetch_as(2, 100, 9).unwrap().proposal.expect("a proposal");
    let member = |node, epoch| IsrMember { node: NodeId(node), broker_epoch: BrokerEpoch(epoch) };
    assert_eq!(proposal.isr, [member(1, 7), member(2, 9), member(3, 7)]);
    assert_eq!(proposal.leader_epoch, LeaderEpoch(5));
    assert_eq!(proposal.partition_epoch, PartitionEpoch(10));
}

#[test]
fn rule_10_a_fetch_of_an_ended_incarnation_is_rejected() {
    let mut stage = Stage::new(&[1, 2], &[1, 2], 1);
    let rejected = Err(ErrorCode::NotLeaderOrFollower);
    assert_eq!(stage.fetch_as(2, 100, 6), rejected, "the metadata knows a newer one");
    assert!(stage.fetch_as(2, 100, 8).is_ok(), "newer than our metadata");
    assert_eq!(stage.fetch_as(2, 100, 7), rejected, "a newer one has fetched");
    assert_eq!(stage.leader.followers()[&NodeId(2)].broker_epoch(), Some(BrokerEpoch(8)));
}

#[test]
fn rule_10_an_unassigned_replica_is_told_that_its_metadata_is_ahead() {
    let mut stage = Stage::new(&[1, 2], &[1, 2], 1);
    assert_eq!(stage.fetch_as(9, 100, 7), Err(ErrorCode::UnknownLeaderEpoch));
}

#[test]
fn rule_11_a_member_that_lags_too_long_is_proposed_to_leave_even_below_the_minimum() {
    let mut stage = Stage::new(&[1, 2, 3], &[1, 2, 3], 2);
    stage.fetch(2, 100);
    stage.fetch(3, 100);
    stage.log_end = Offset(200);
    stage.now = second(30);
    assert_eq!(stage.shrink(), None, "exactly the time is not too long");
    stage.now = second(31);
    let proposal = stage.shrink().expect("a proposal to shrink");
    assert_eq!(proposal.isr.iter().map(|it| it.node.0).collect::<Vec<_>>(), [1]);
}

#[test]
fn rule_11_a_member_that_never_fetched_has_the_whole_lag_time() {
    let mut stage = Stage::new(&[1, 2], &[1, 2], 1);
    stage.now = second(30);
    assert_eq!(stage.shrink(), None);
    stage.now = second(31);
    assert!(stage.shrink().is_some());
}

#[test]
fn rule_12_the_leader_keeps_every_replica_until_the_metadata_drops_it() {
    let mut stage = Stage::new(&[1, 2, 3, 4], &[1, 2], 1); // 2 is being replaced by 3 and 4
    let id = stage.fetch(3, 100).1.expect("a proposal");
    stage.answer(id, Ok(confirmed(&[1, 2, 3], 11)));
    assert!(stage.leader.followers().contains_key(&NodeId(2)), "4 is not in sync yet");
    let id = stage.fetch(4, 100).1.expect("a proposal");
    // The controller completes the reassignment in the same version: the answer has no replicas.
    stage.answer(id, Ok(confirmed(&[1, 3, 4], 12)));
    assert!(stage.update(&[1, 3, 4], &[1, 3, 4], 12));
    assert!(!stage.leader.followers().contains_key(&NodeId(2)));
}

#[test]
fn rule_18_the_end_of_the_log_is_known_once_the_high_watermark_reaches_the_reign() {
    let mut stage = Stage::new(&[1, 2], &[1, 2], 1);
    assert!(!stage.leader.is_settled());
    stage.fetch(2, 99);
    assert!(!stage.leader.is_settled());
    stage.fetch(2, 100);
    assert!(stage.leader.is_settled());
}

#[test]
fn rule_18_consumers_read_from_unfenced_members_whose_log_holds_the_offset() {
    let mut stage = Stage::new(&[1, 2, 3, 4, 5], &[1, 2, 3, 5], 1);
    stage.log_end = Offset(200);
    for (node, offset) in [(2, 150), (3, 120), (4, 150)] {
        stage.fetch(node, offset);
    }
    stage.standings.get_mut(&NodeId(5)).unwrap().is_active = false;
    let readable = |stage: &Stage, offset| -> Vec<i32> {
        let followers = stage.leader.readable_followers(Offset(offset), &stage.standings);
        followers.map(|(node, _)| node.0).collect()
    };
    assert_eq!(readable(&stage, 110), [2, 3]);
    assert_eq!(readable(&stage, 130), [2]);
    assert_eq!(readable(&stage, 151), [] as [i32; 0]);
    stage.standings.get_mut(&NodeId(2)).unwrap().is_active = false;
    assert_eq!(readable(&stage, 110), [3], "KAFKA-15390");
}
