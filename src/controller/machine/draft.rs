//! A decision in the making: partition changes are computed against the image and gathered into
//! groups that are valid each by itself.

use std::sync::Arc;

use crate::controller::machine::settings::Settings;
use crate::controller::machine::{Decision, MAX_PARTITION_CHANGES, Note, Reply, Situation};
use crate::metadata::election::{self, Change, Outcome, Search};
use crate::metadata::{Cause, MetadataRecord, Partition, Topic};
use crate::types::{NodeId, PartitionId};

/// Records and notes gathered so far.
#[derive(Debug, Default)]
pub(super) struct Draft {
    groups: Vec<Vec<MetadataRecord>>,
    changes_in_last: usize,
    pub(super) notes: Vec<Note>,
}

impl Draft {
    /// Adds a record to the last group; a partition change that is one too many opens another.
    pub(super) fn push(&mut self, record: MetadataRecord) {
        let change = usize::from(record.is_partition_change());
        if self.groups.is_empty() || self.changes_in_last + change > MAX_PARTITION_CHANGES {
            self.groups.push(Vec::new());
            self.changes_in_last = 0;
        }
        self.changes_in_last += change;
        if let Some(last) = self.groups.last_mut() {
            last.push(record);
        }
    }

    /// Opens another group if `changes` more would not fit the last one.
    pub(super) fn reserve(&mut self, changes: usize) {
        if self.changes_in_last + changes > MAX_PARTITION_CHANGES {
            self.groups.push(Vec::new());
            self.changes_in_last = 0;
        }
    }

    /// Opens another group: what follows need not share an entry with what came before.
    pub(super) fn begin_group(&mut self) {
        if self.groups.last().is_some_and(|last| !last.is_empty()) {
            self.groups.push(Vec::new());
            self.changes_in_last = 0;
        }
    }

    /// Adds a changed partition.
    pub(super) fn push_partition(
        &mut self,
        topic: &Topic,
        index: PartitionId,
        partition: Partition,
        cause: Cause,
    ) {
        if topic.partition(index).is_some_and(|before| before.is_lost()) && !partition.is_lost() {
            self.notes.push(Note::Settled { topic_id: topic.id, partition: index });
        }
        let state = Arc::new(partition);
        self.push(MetadataRecord::Partition { topic_id: topic.id, partition: index, state, cause });
    }

    /// Ends with `reply`.
    pub(super) fn reply(self, reply: Reply) -> Decision {
        Decision { groups: self.groups, notes: self.notes, reply }
    }
}

/// Takes `node` out of the ISR of each partition that `leaves` names, and elects other leaders.
/// `unclean` tells, per partition, whether its replica may have lost data.
pub(super) fn leave_isrs(
    situation: &Situation<'_>,
    draft: &mut Draft,
    node: NodeId,
    cause: Cause,
    leaves: &dyn Fn(&Partition) -> bool,
    unclean: &dyn Fn(&Partition) -> bool,
) {
    for (topic, index, partition) in situation.image.partitions() {
        if !partition.is_replica(node) || !leaves(partition) {
            continue;
        }
        if let Some(outcome) = leave_isr(situation, topic, partition, node, unclean(partition)) {
            let cause = cause_of(&outcome, cause);
            draft.push_partition(topic, index, outcome.partition, cause);
        }
    }
}

/// The partition without `node` in its ISR; none if nothing changes. `unclean` tells whether the
/// replica may have lost data.
pub(super) fn leave_isr(
    situation: &Situation<'_>,
    topic: &Topic,
    partition: &Partition,
    node: NodeId,
    unclean: bool,
) -> Option<Outcome> {
    let change = Change {
        isr: partition.isr.iter().copied().filter(|&member| member != node).collect(),
        unclean: if unclean { &[node] } else { &[] },
        min_isr: min_isr(situation, topic, partition),
        search: search(situation, topic),
        may_lead: &|other| {
            other != node && election::is_active_replica(situation.image, partition, other)
        },
    };
    election::change(partition, &change)
}

/// An unclean election is its own cause, whatever led to it.
pub(super) fn cause_of(outcome: &Outcome, cause: Cause) -> Cause {
    match outcome.partition.leader {
        Some(leader) if outcome.unclean => Cause::UncleanElection(leader),
        _ => cause,
    }
}

/// Elects a leader for each partition without one, where `may_lead` now allows it.
pub(super) fn elect_leaderless(
    situation: &Situation<'_>,
    draft: &mut Draft,
    cause: impl Fn(NodeId) -> Cause,
    may_lead: &dyn Fn(&Partition, NodeId) -> bool,
) {
    for (topic, index, partition) in situation.image.partitions() {
        if partition.leader.is_some() {
            continue;
        }
        let change = Change {
            isr: partition.isr.clone(),
            unclean: &[],
            min_isr: min_isr(situation, topic, partition),
            search: search(situation, topic),
            may_lead: &|node| may_lead(partition, node),
        };
        let Some(outcome) = election::change(partition, &change) else { continue };
        let Some(leader) = outcome.partition.leader else { continue };
        let cause = cause_of(&outcome, cause(leader));
        draft.push_partition(topic, index, outcome.partition, cause);
    }
}

/// The effective `min.insync.replicas` of a partition.
pub(super) fn min_isr(situation: &Situation<'_>, topic: &Topic, partition: &Partition) -> usize {
    let configured = Settings::of(situation, topic).min_insync_replicas();
    election::effective_min_isr(configured, partition.replicas.len())
}

fn search(situation: &Situation<'_>, topic: &Topic) -> Search {
    if Settings::of(situation, topic).unclean_leader_election() {
        Search::Unclean
    } else {
        Search::Any
    }
}
