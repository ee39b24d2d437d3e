//! Who belongs to the raft group: the leader takes nodes in, and a voter that comes back with an
//! empty disk replaces its old self, or takes the seat that a lost majority left empty. The rules
//! are [`judge`]; the rest carries them out, one change at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use openraft::{ChangeMembers, ServerState};
use parking_lot::Mutex;

use crate::controller::peer::message::{JoinAnswer, JoinRequest};
use crate::controller::raft::network::Contacts;
use crate::controller::raft::types::{MemberNode, Metrics, Raft};
use crate::types::{Clock, DirectoryId, Monotonic};

/// How careful replacements are.
#[derive(Debug, Clone, Copy)]
pub struct MembershipOptions {
    /// The old directory must have been silent for so long.
    pub replace_after: Duration,
    /// Between two replacements.
    pub between_replacements: Duration,
    /// A voter that answered within this time is healthy; a directory that did is alive.
    pub healthy: Duration,
    /// How long one change may take.
    pub patience: Duration,
}

impl Default for MembershipOptions {
    fn default() -> Self {
        Self {
            replace_after: Duration::from_secs(60),
            between_replacements: Duration::from_secs(600),
            healthy: Duration::from_secs(2),
            patience: Duration::from_secs(5),
        }
    }
}

/// A learner so close behind may become a voter.
const CLOSE_ENTRIES: u64 = 100;

/// A member as the leader sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Member {
    node: MemberNode,
    voter: bool,
    itself: bool,
    last_answer: Option<Monotonic>,
    matching: Option<u64>,
}

/// All that a judgement looks at.
#[derive(Debug, Clone)]
struct View {
    members: BTreeMap<DirectoryId, Member>,
    last_index: u64,
    leader_since: Monotonic,
    claimed_at: Monotonic,
    last_replacement: Option<Monotonic>,
}

/// What to do about a node that wants to be a member.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Step {
    Nothing,
    AddLearner,
    UpdateAddress,
    Replace(DirectoryId),
    /// It has its own seat again, which nobody has held since a majority was lost.
    TakeSeat,
    RemoveLearner(DirectoryId),
    Wait(String),
    Refuse(String),
}

fn judge(options: &MembershipOptions, now: Monotonic, view: &View, request: &JoinRequest) -> Step {
    let same_node = |member: &Member| member.node.node_id == request.node.node_id;
    let old = view.members.iter().find(|(directory_id, member)| {
        **directory_id != request.directory_id && same_node(member) && !member.node.is_given_up()
    });
    if let Some((old_id, old)) = old {
        let since_claim = old.last_answer.is_some_and(|at| at > view.claimed_at);
        if old.itself || since_claim {
            return Step::Refuse(format!(
                "node.id {} belongs to a node with the metadata directory {old_id}, which is \
                 alive: give this node another node.id",
                request.node.node_id
            ));
        }
        if old.last_answer.is_some_and(|at| now.since(at) < options.healthy) {
            return Step::Wait(format!("the metadata directory {old_id} answered a moment ago"));
        }
    }
    let Some(itself) = view.members.get(&request.directory_id) else {
        return Step::AddLearner;
    };
    if itself.node.is_given_up() {
        return Step::Refuse(format!(
            "its metadata directory was given up: start node {} with an empty one",
            request.node.node_id
        ));
    }
    if itself.node != request.node {
        return Step::UpdateAddress;
    }
    let may_take_seat = request.voter
        && !itself.voter
        && view.members.values().any(|member| same_node(member) && member.node.is_given_up());
    match old {
        None if may_take_seat => match judge_readiness(options, now, view, itself, None) {
            Some(reason) => Step::Wait(reason),
            None => Step::TakeSeat,
        },
        None => Step::Nothing,
        Some((old_id, old)) => {
            let silent_since = old.last_answer.unwrap_or(view.leader_since);
            let silent = now.since(silent_since.max(view.leader_since));
            if silent < options.replace_after {
                return Step::Wait(format!(
                    "the metadata directory {old_id} has been silent for {} s of {} s",
                    silent.as_secs(),
                    options.replace_after.as_secs()
                ));
            }
            match (old.voter, request.voter) {
                (false, _) => Step::RemoveLearner(*old_id),
                // It was a voter and is not configured as one any more: for an administrator.
                (true, false) => Step::Nothing,
                (true, true) => judge_replacement(options, now, view, itself, *old_id),
            }
        }
    }
}

fn judge_replacement(
    options: &MembershipOptions,
    now: Monotonic,
    view: &View,
    newcomer: &Member,
    old_id: DirectoryId,
) -> Step {
    if view.last_replacement.is_some_and(|at| now.since(at) < options.between_replacements) {
        return Step::Wait("another voter was replaced a short time ago".to_owned());
    }
    match judge_readiness(options, now, view, newcomer, Some(old_id)) {
        Some(reason) => Step::Wait(reason),
        None => Step::Replace(old_id),
    }
}

/// Why the voters cannot change yet: one besides `leaving` is not healthy, or the newcomer lags.
fn judge_readiness(
    options: &MembershipOptions,
    now: Monotonic,
    view: &View,
    newcomer: &Member,
    leaving: Option<DirectoryId>,
) -> Option<String> {
    let unhealthy = view.members.iter().find(|(directory_id, member)| {
        Some(**directory_id) != leaving
            && member.voter
            && !member.itself
            && member.last_answer.is_none_or(|at| now.since(at) > options.healthy)
    });
    if let Some((_, member)) = unhealthy {
        return Some(format!("voter {} does not answer", member.node.node_id));
    }
    let lags = newcomer.matching.is_none_or(|index| index + CLOSE_ENTRIES < view.last_index);
    lags.then(|| "it has to catch up first".to_owned())
}

/// The leader's part: answers joins and carries changes out.
#[derive(Debug)]
pub struct Membership {
    options: MembershipOptions,
    clock: Arc<dyn Clock>,
    contacts: Arc<Contacts>,
    state: Mutex<State>,
    /// One membership change at a time.
    changing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct State {
    leader_since: Option<(u64, Monotonic)>,
    claims: BTreeMap<DirectoryId, Monotonic>,
    /// By this process: after a change of leader the time between two replacements is counted
    /// from the new leader's own last one.
    last_replacement: Option<Monotonic>,
}

impl Membership {
    /// Nobody has asked yet.
    pub fn new(
        options: MembershipOptions,
        clock: Arc<dyn Clock>,
        contacts: Arc<Contacts>,
    ) -> Membership {
        Membership {
            options,
            clock,
            contacts,
            state: Mutex::default(),
            changing: tokio::sync::Mutex::default(),
        }
    }

    /// Answers a node that wants to be a member. Only a leader is asked.
    pub async fn join(&self, raft: &Raft, request: &JoinRequest) -> JoinAnswer {
        let Ok(_alone) = self.changing.try_lock() else {
            return JoinAnswer::Wait { reason: "another member is being changed".to_owned() };
        };
        let metrics = raft.metrics().borrow().clone();
        if metrics.state != ServerState::Leader {
            return JoinAnswer::NotLeader;
        }
        let now = self.clock.monotonic();
        let step = judge(&self.options, now, &self.view(&metrics, now, request), request);
        let change = match step {
            Step::Nothing => return JoinAnswer::Member,
            Step::Wait(reason) => return JoinAnswer::Wait { reason },
            Step::Refuse(reason) => return JoinAnswer::Refused { reason },
            Step::AddLearner => ChangeMembers::AddNodes(one(request)),
            Step::UpdateAddress => ChangeMembers::SetNodes(one(request)),
            Step::RemoveLearner(old) => ChangeMembers::RemoveNodes(BTreeSet::from([old])),
            Step::TakeSeat => {
                tracing::warn!(
                    node = %request.node.node_id, directory = %request.directory_id,
                    "a voter that was given up is back with an empty disk and votes again"
                );
                ChangeMembers::AddVoterIds(BTreeSet::from([request.directory_id]))
            }
            Step::Replace(old) => {
                let voters = metrics.membership_config.voter_ids().filter(|id| *id != old);
                let voters = voters.chain([request.directory_id]).collect();
                self.state.lock().last_replacement = Some(now);
                tracing::warn!(
                    node = %request.node.node_id, old = %old, new = %request.directory_id,
                    "a voter came back with an empty disk and replaces its old self"
                );
                ChangeMembers::ReplaceAllVoters(voters)
            }
        };
        let retain = !matches!(change, ChangeMembers::ReplaceAllVoters(_));
        match self.change(raft, change, retain).await {
            Ok(()) => JoinAnswer::Wait { reason: "it is being taken in".to_owned() },
            Err(reason) => JoinAnswer::Wait { reason },
        }
    }

    /// Completes a change that the previous leader left half done.
    pub async fn finish_joint_change(&self, raft: &Raft) {
        let membership = raft.metrics().borrow().membership_config.membership().clone();
        let configs = membership.get_joint_config();
        let Some(last) = configs.last().filter(|_| configs.len() > 1).cloned() else { return };
        let _alone = self.changing.lock().await;
        if let Err(reason) = self.change(raft, ChangeMembers::ReplaceAllVoters(last), false).await {
            tracing::warn!("the change of voters is still half done: {reason}");
        }
    }

    async fn change(
        &self,
        raft: &Raft,
        change: ChangeMembers<DirectoryId, MemberNode>,
        retain: bool,
    ) -> Result<(), String> {
        let changing = raft.change_membership(change, retain);
        match tokio::time::timeout(self.options.patience, changing).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("the change of members is taking long".to_owned()),
        }
    }

    fn view(&self, metrics: &Metrics, now: Monotonic, request: &JoinRequest) -> View {
        let mut state = self.state.lock();
        if state.leader_since.is_none_or(|(term, _)| term != metrics.current_term) {
            *state = State {
                leader_since: Some((metrics.current_term, now)),
                last_replacement: state.last_replacement,
                claims: BTreeMap::new(),
            };
        }
        let membership = metrics.membership_config.membership();
        let voters: BTreeSet<DirectoryId> = membership.voter_ids().collect();
        let members = membership.nodes().map(|(directory_id, node)| {
            let replication = metrics.replication.as_ref();
            let matching = replication.and_then(|all| all.get(directory_id).copied().flatten());
            let member = Member {
                node: node.clone(),
                voter: voters.contains(directory_id),
                itself: *directory_id == metrics.id,
                last_answer: self.contacts.last(*directory_id),
                matching: matching.map(|id| id.index),
            };
            (*directory_id, member)
        });
        View {
            members: members.collect(),
            last_index: metrics.last_log_index.unwrap_or(0),
            leader_since: state.leader_since.map_or(now, |(_, since)| since),
            claimed_at: *state.claims.entry(request.directory_id).or_insert(now),
            last_replacement: state.last_replacement,
        }
    }
}

fn one(request: &JoinRequest) -> BTreeMap<DirectoryId, MemberNode> {
    BTreeMap::from([(request.directory_id, request.node.clone())])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::types::NodeId;

    fn at(seconds: u64) -> Monotonic {
        Monotonic(Duration::from_secs(seconds))
    }

    fn node(id: i32) -> MemberNode {
        MemberNode { node_id: NodeId(id), host: "h".to_owned(), port: 9 }
    }

    fn member(id: i32, voter: bool, last_answer: Option<u64>) -> Member {
        let last_answer = last_answer.map(at);
        Member { node: node(id), voter, itself: id == 1, last_answer, matching: Some(500) }
    }

    /// Voters 1 (the leader), 2 and 3 in directories of the same numbers; 3 fell silent at 100 s
    /// and claims anew from directory 30 since 110 s.
    fn view() -> View {
        let members = [(1, member(1, true, None)), (2, member(2, true, Some(999)))];
        let dead = [(3, member(3, true, Some(100)))];
        View {
            members: members
                .into_iter()
                .chain(dead)
                .map(|(id, m)| (DirectoryId::from(id), m))
                .collect(),
            last_index: 500,
            leader_since: at(0),
            claimed_at: at(110),
            last_replacement: None,
        }
    }

    fn claim(directory: u64, id: i32) -> JoinRequest {
        JoinRequest { directory_id: DirectoryId::from(directory), node: node(id), voter: true }
    }

    fn verdict(now: u64, view: &View, request: &JoinRequest) -> Step {
        judge(&MembershipOptions::default(), at(now), view, request)
    }

    #[test]
    fn a_new_node_becomes_a_learner_and_a_member_keeps_its_place() {
        assert_eq!(verdict(1000, &view(), &claim(40, 4)), Step::AddLearner);
        assert_eq!(verdict(1000, &view(), &claim(2, 2)), Step::Nothing);
        let mut moved = claim(2, 2);
        moved.node.port = 10;
        assert_eq!(verdict(1000, &view(), &moved), Step::UpdateAddress);
    }

    #[test]
    fn a_second_live_directory_of_a_node_id_is_refused() {
        assert!(matches!(verdict(1000, &view(), &claim(10, 1)), Step::Refuse(_)));
        assert!(matches!(verdict(1000, &view(), &claim(20, 2)), Step::Refuse(_)));
        let mut just_died = view();
        just_died.claimed_at = at(101);
        assert!(matches!(verdict(101, &just_died, &claim(30, 3)), Step::Wait(_)));
    }

    #[test]
    fn an_empty_disk_replaces_its_old_self_only_when_all_is_well() {
        assert_eq!(verdict(111, &view(), &claim(30, 3)), Step::AddLearner);
        let mut joined = view();
        joined.members.insert(DirectoryId::from(30), member(3, false, Some(1000)));
        let claim = claim(30, 3);
        assert!(matches!(verdict(159, &joined, &claim), Step::Wait(_)), "silent for 59 s only");
        assert_eq!(verdict(1000, &joined, &claim), Step::Replace(DirectoryId::from(3)));
        let waits = |change: fn(&mut View)| {
            let mut view = joined.clone();
            change(&mut view);
            matches!(verdict(1000, &view, &claim), Step::Wait(_))
        };
        assert!(waits(|view| view.last_replacement = Some(at(500))));
        assert!(waits(|view| view.last_index = 5000), "it has to catch up");
        assert!(waits(|view| view.leader_since = at(990)), "a new leader does not know yet");
        assert!(waits(|view| {
            view.members.insert(DirectoryId::from(2), member(2, true, Some(900)));
        }));
    }

    /// Voter 1 alone after a majority was lost; 2 and 3 in directories of the same numbers were
    /// given up, and 3 is back in directory 30.
    fn recovered() -> View {
        let mut view = view();
        for id in [2, 3] {
            let node = MemberNode::given_up(NodeId(id));
            let lost = Member { node, voter: false, ..member(id, false, None) };
            view.members.insert(DirectoryId::from(id as u64), lost);
        }
        view.members.insert(DirectoryId::from(30), member(3, false, Some(999)));
        view
    }

    #[test]
    fn after_a_lost_majority_an_empty_disk_takes_its_seat_and_the_old_disk_is_refused() {
        let joined = recovered();
        assert_eq!(verdict(1000, &joined, &claim(30, 3)), Step::TakeSeat);
        assert_eq!(verdict(1000, &joined, &claim(20, 2)), Step::AddLearner);
        assert!(matches!(verdict(1000, &joined, &claim(3, 3)), Step::Refuse(_)), "the old disk");
        let observer = JoinRequest { voter: false, ..claim(30, 3) };
        assert_eq!(verdict(1000, &joined, &observer), Step::Nothing);
        let mut lags = joined.clone();
        lags.last_index = 5000;
        assert!(matches!(verdict(1000, &lags, &claim(30, 3)), Step::Wait(_)));

        let mut seated = joined;
        seated.members.insert(DirectoryId::from(30), member(3, true, Some(999)));
        assert_eq!(verdict(1000, &seated, &claim(30, 3)), Step::Nothing);
        // Its next empty disk replaces the one that holds the seat, by the rule for that.
        seated.members.insert(DirectoryId::from(30), member(3, true, Some(100)));
        assert_eq!(verdict(111, &seated, &claim(31, 3)), Step::AddLearner);
        seated.members.insert(DirectoryId::from(31), member(3, false, Some(1000)));
        assert_eq!(verdict(1000, &seated, &claim(31, 3)), Step::Replace(DirectoryId::from(30)));
        // A seat is not taken beside a voter that does not answer.
        seated.members.insert(DirectoryId::from(20), member(2, false, Some(999)));
        assert!(matches!(verdict(1000, &seated, &claim(20, 2)), Step::Wait(_)));
    }

    #[test]
    fn a_pure_brokers_old_self_is_removed() {
        let mut joined = view();
        joined.members.insert(DirectoryId::from(4), member(4, false, None));
        joined.members.insert(DirectoryId::from(40), member(4, false, Some(1000)));
        let claim = JoinRequest { voter: false, ..claim(40, 4) };
        assert_eq!(verdict(1000, &joined, &claim), Step::RemoveLearner(DirectoryId::from(4)));
    }
}
