//! What makes the survivor of a lost majority the only voter: one forced entry, and the vote for
//! it. This is the decision alone; `controller::unsafe_recovery` reads and writes.
//!
//! What protects from the lost voters, should they come back with their old disks:
//! - Their directories stay in the membership as given up. Every member refuses their
//!   connections and opens none to them, so that no vote or entry of theirs gets in.
//! - The new term leaves room for elections of theirs that the survivor never heard of.
//!
//! What nothing here can prevent: a majority of the old voters that are started with their old
//! disks is a quorum, for each other and for brokers that have not heard of this recovery. Never to
//! do that is the operator's duty.

use std::collections::{BTreeMap, BTreeSet};

use openraft::EntryPayload;

use crate::controller::raft::types::{
    Entry, LogId, MemberNode, Membership, StoredMembership, Vote, log_id,
};
use crate::types::{DirectoryId, NodeId};

/// How far the new term is above all known ones: the lost voters may have elected leaders among
/// themselves of which the survivor has not heard.
const TERM_ROOM: u64 = 1_000;

/// A term is the log's leader epoch, too.
const GREATEST_TERM: u64 = i32::MAX as u64;

/// What the survivor's disk tells.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The vote, if there was ever one.
    pub vote: Option<Vote>,
    /// The last entry.
    pub last: Option<LogId>,
    /// The memberships that may be in force, the newest last: the last two in the log, or the one
    /// in the snapshot.
    pub memberships: Vec<StoredMembership>,
}

/// A voter that is given up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct LostVoter {
    /// Its node id.
    pub node_id: NodeId,
    /// The directory that must not come back.
    pub directory_id: DirectoryId,
}

/// What is to be written.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// For this node, in the new term.
    pub vote: Vote,
    /// The membership with this node as its only voter.
    pub entry: Entry,
    /// The voters that are given up with it, by node id.
    pub lost: Vec<LostVoter>,
}

impl Plan {
    /// The new term.
    pub fn term(&self) -> u64 {
        self.vote.leader_id.term
    }
}

/// Why there is nothing to recover here.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanError {
    /// The node was never a member.
    #[error("this node has never been a member of a quorum: it has no metadata to recover")]
    NoMember,
    /// The node has no vote.
    #[error(
        "this node is no voter of its quorum (those are {voters}): recover on one of them, the one \
         with the longest log"
    )]
    NoVoter {
        /// The voters' node ids.
        voters: String,
    },
    /// There is no other voter.
    #[error("this node is the only voter already: start it")]
    Alone,
    /// There is no greater term.
    #[error("the term {term} is so great that none is left above it")]
    NoTerm {
        /// The greatest known one.
        term: u64,
    },
}

/// Decides what makes the node in directory `itself`, reached as `node` says, the only voter.
pub fn plan(known: &Known, itself: DirectoryId, node: &MemberNode) -> Result<Plan, PlanError> {
    let Some(newest) = known.memberships.last().filter(|it| it.voter_ids().next().is_some()) else {
        return Err(PlanError::NoMember);
    };
    let Some(last) = known.last else { return Err(PlanError::NoMember) };
    // A membership that is not committed may yet be undone: who votes in either is a voter.
    let mut voters = BTreeMap::new();
    let mut nodes = BTreeMap::new();
    for membership in &known.memberships {
        let ids: BTreeSet<DirectoryId> = membership.voter_ids().collect();
        for (directory_id, node) in membership.nodes() {
            nodes.insert(*directory_id, node.clone());
            if ids.contains(directory_id) {
                voters.insert(*directory_id, node.node_id);
            }
        }
    }
    if !newest.voter_ids().any(|directory_id| directory_id == itself) {
        let names: Vec<String> = voters.values().map(ToString::to_string).collect();
        return Err(PlanError::NoVoter { voters: names.join(", ") });
    }
    // The newest membership is in force, committed or not.
    if newest.voter_ids().all(|directory_id| directory_id == itself) {
        return Err(PlanError::Alone);
    }
    voters.remove(&itself);
    let mut lost: Vec<LostVoter> = voters
        .into_iter()
        .map(|(directory_id, node_id)| LostVoter { node_id, directory_id })
        .collect();
    lost.sort();
    nodes.insert(itself, node.clone());
    for voter in &lost {
        nodes.insert(voter.directory_id, MemberNode::given_up(voter.node_id));
    }
    let voted = known.vote.map_or(0, |vote| vote.leader_id.term);
    let term = voted.max(last.leader_id.term);
    if term > GREATEST_TERM - TERM_ROOM {
        return Err(PlanError::NoTerm { term });
    }
    let membership = Membership::new(vec![BTreeSet::from([itself])], nodes);
    let entry = Entry {
        log_id: log_id(term + TERM_ROOM, last.index + 1),
        payload: EntryPayload::Membership(membership),
    };
    Ok(Plan { vote: Vote::new(term + TERM_ROOM, itself), entry, lost })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn node(id: i32) -> MemberNode {
        MemberNode { node_id: NodeId(id), host: format!("h{id}"), port: 9 }
    }

    /// Nodes in directories of the same numbers.
    fn membership(index: u64, voters: &[&[u64]], members: &[u64]) -> StoredMembership {
        let configs =
            voters.iter().map(|ids| ids.iter().map(|id| DirectoryId::from(*id)).collect());
        let nodes: BTreeMap<DirectoryId, MemberNode> =
            members.iter().map(|id| (DirectoryId::from(*id), node(*id as i32))).collect();
        StoredMembership::new(Some(log_id(1, index)), Membership::new(configs.collect(), nodes))
    }

    fn known(memberships: Vec<StoredMembership>) -> Known {
        let vote = Some(Vote::new(7, DirectoryId::from(2)));
        Known { vote, last: Some(log_id(5, 40)), memberships }
    }

    fn decide(known: &Known, itself: u64) -> Result<Plan, PlanError> {
        plan(known, DirectoryId::from(itself), &node(itself as i32))
    }

    fn lost(plan: &Plan) -> Vec<i32> {
        plan.lost.iter().map(|voter| voter.node_id.0).collect()
    }

    fn planned(plan: &Plan) -> &Membership {
        match &plan.entry.payload {
            EntryPayload::Membership(membership) => membership,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_survivor_votes_alone_behind_all_that_it_knows() {
        let known = known(vec![membership(0, &[&[1, 2, 3]], &[1, 2, 3, 4])]);
        let plan = plan(&known, DirectoryId::from(3), &node(33)).unwrap();
        assert_eq!(plan.entry.log_id, log_id(1007, 41));
        assert_eq!(plan.vote, Vote::new(1007, DirectoryId::from(3)));
        assert!(!plan.vote.committed, "it is elected by itself, in order");
        assert_eq!(lost(&plan), [1, 2]);
        let membership = planned(&plan);
        assert_eq!(membership.voter_ids().collect::<Vec<_>>(), [DirectoryId::from(3)]);
        let get = |id: u64| membership.get_node(&DirectoryId::from(id)).unwrap().clone();
        assert_eq!(get(3), node(33), "its address of now");
        assert_eq!(get(4), node(4), "a pure broker stays a member");
        for id in [1, 2] {
            assert_eq!(get(id as u64), MemberNode::given_up(NodeId(id)));
            assert!(get(id as u64).is_given_up());
        }
    }

    #[test]
    fn whoever_may_be_a_voter_is_given_up() {
        // In the middle of replacing 2 by 5; the step before may be all that is committed.
        let joint = membership(30, &[&[1, 2, 3], &[1, 3, 5]], &[1, 2, 3, 5]);
        let plan = decide(&known(vec![joint]), 1).unwrap();
        assert_eq!(lost(&plan), [2, 3, 5]);
        let before = membership(30, &[&[1, 2, 3]], &[1, 2, 3]);
        let after = membership(31, &[&[1, 3]], &[1, 3]);
        assert_eq!(lost(&decide(&known(vec![before, after]), 1).unwrap()), [2, 3]);
    }

    #[test]
    fn who_has_nothing_to_recover_is_told_so() {
        let three = || vec![membership(0, &[&[1, 2, 3]], &[1, 2, 3, 4])];
        assert_eq!(decide(&Known::default(), 1), Err(PlanError::NoMember));
        assert_eq!(decide(&known(vec![StoredMembership::default()]), 1), Err(PlanError::NoMember));
        let error = decide(&known(three()), 4).unwrap_err();
        assert!(error.to_string().contains("those are 1, 2, 3"), "{error}");
        let mut alone = three();
        alone.push(membership(9, &[&[1]], &[1, 4]));
        assert_eq!(decide(&known(alone), 1), Err(PlanError::Alone));
        let vote = Some(Vote::new(GREATEST_TERM - 5, DirectoryId::from(2)));
        let late = Known { vote, ..known(three()) };
        assert!(matches!(decide(&late, 1), Err(PlanError::NoTerm { .. })));
    }

    #[test]
    fn a_second_recovery_gives_up_only_who_voted_since() {
        let known_first = known(vec![membership(0, &[&[1, 2, 3]], &[1, 2, 3])]);
        let first = decide(&known_first, 1).unwrap();
        let mut nodes: BTreeMap<DirectoryId, MemberNode> =
            planned(&first).nodes().map(|(id, node)| (*id, node.clone())).collect();
        nodes.insert(DirectoryId::from(20), node(2));
        let voters = BTreeSet::from([DirectoryId::from(1), DirectoryId::from(20)]);
        let rejoined =
            StoredMembership::new(Some(log_id(1008, 50)), Membership::new(vec![voters], nodes));
        let again = Known { last: Some(log_id(1008, 60)), ..known(vec![rejoined]) };
        let second = decide(&again, 1).unwrap();
        assert_eq!(
            second.lost,
            [LostVoter { node_id: NodeId(2), directory_id: DirectoryId::from(20) }]
        );
        assert_eq!(second.term(), 2008);
        let given_up = planned(&second).nodes().filter(|(_, node)| node.is_given_up()).count();
        assert_eq!(given_up, 3, "the directories of the first recovery stay refused");
    }
}
