//! A leader reports who is in sync. The order of the checks is rule 13's.

use crate::controller::machine::draft::{Draft, min_isr};
use crate::controller::machine::fencing::current;
use crate::controller::machine::{
    AlterPartition, AlterPartitionItem, AlteredPartition, Decision, IsrMember, Reply, Situation,
};
use crate::metadata::election::{self, Change, Search};
use crate::metadata::{Cause, LeaderRecoveryState, Partition, Topic};
use crate::types::{BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, PartitionEpoch};

/// Decides every partition by itself; the errors are per partition.
pub(super) fn alter(situation: &Situation<'_>, request: AlterPartition) -> Decision {
    let mut draft = Draft::default();
    if let Err(refusal) = current(situation, request.node_id, request.broker_epoch) {
        return draft.reply(refusal);
    }
    let altered = request
        .partitions
        .into_iter()
        .map(|item| alter_one(situation, &mut draft, request.node_id, item))
        .collect();
    draft.reply(Reply::AlteredPartitions(altered))
}

fn alter_one(
    situation: &Situation<'_>,
    draft: &mut Draft,
    sender: NodeId,
    item: AlterPartitionItem,
) -> AlteredPartition {
    let Some(topic) = situation.image.topic_by_id(item.topic_id) else {
        return failed(&item, ErrorCode::UnknownTopicId);
    };
    let Some(partition) = topic.partition(item.partition) else {
        return failed(&item, ErrorCode::UnknownTopicOrPartition);
    };
    if let Err(error) = validate(situation, partition, sender, &item) {
        return failed(&item, error);
    }
    let outcome = next_state(situation, topic, partition, &item);
    let state = outcome.as_ref().unwrap_or(partition);
    let reply = AlteredPartition {
        topic_id: item.topic_id,
        partition: item.partition,
        error: ErrorCode::None,
        leader: state.leader,
        leader_epoch: state.leader_epoch,
        isr: state.isr.clone(),
        elr: state.elr.clone(),
        recovery: state.recovery,
        partition_epoch: state.partition_epoch,
    };
    if let Some(next) = outcome {
        draft.push_partition(topic, item.partition, next, Cause::IsrReported(sender));
    }
    reply
}

fn next_state(
    situation: &Situation<'_>,
    topic: &Topic,
    partition: &Partition,
    item: &AlterPartitionItem,
) -> Option<Partition> {
    let recovered = Partition { recovery: item.recovery, ..partition.clone() };
    let change = Change {
        isr: item.new_isr.iter().map(|member| member.node_id).collect(),
        unclean: &[],
        min_isr: min_isr(situation, topic, partition),
        search: Search::Any,
        may_lead: &|_| true,
    };
    match election::change(&recovered, &change) {
        Some(outcome) => Some(outcome.partition),
        None if recovered != *partition => {
            Some(Partition { partition_epoch: partition.partition_epoch.next(), ..recovered })
        }
        None => None,
    }
}

/// Rule 13.
fn validate(
    situation: &Situation<'_>,
    partition: &Partition,
    sender: NodeId,
    item: &AlterPartitionItem,
) -> Result<(), ErrorCode> {
    if item.leader_epoch > partition.leader_epoch
        || item.partition_epoch > partition.partition_epoch
    {
        // The sender has seen more than we have: we are not the controller any more.
        return Err(ErrorCode::NotController);
    }
    if item.leader_epoch < partition.leader_epoch {
        return Err(ErrorCode::FencedLeaderEpoch);
    }
    if partition.leader != Some(sender) {
        return Err(ErrorCode::InvalidRequest);
    }
    if item.partition_epoch < partition.partition_epoch {
        return Err(ErrorCode::InvalidUpdateVersion);
    }
    let is_twice = |(index, member): (usize, &IsrMember)| {
        item.new_isr[..index].iter().any(|earlier| earlier.node_id == member.node_id)
    };
    let is_replica = |member: &IsrMember| partition.is_replica(member.node_id);
    if !item.new_isr.iter().all(is_replica) || item.new_isr.iter().enumerate().any(is_twice) {
        return Err(ErrorCode::InvalidRequest);
    }
    if !item.new_isr.iter().any(|member| member.node_id == sender) {
        return Err(ErrorCode::InvalidRequest);
    }
    if item.recovery == LeaderRecoveryState::Recovering
        && (item.new_isr.len() > 1 || partition.recovery == LeaderRecoveryState::Recovered)
    {
        return Err(ErrorCode::InvalidRequest);
    }
    if !item.new_isr.iter().all(|member| is_eligible(situation, partition, *member)) {
        return Err(ErrorCode::IneligibleReplica);
    }
    Ok(())
}

/// Rule 10: active, the directory online, and the very registration that the leader saw.
fn is_eligible(situation: &Situation<'_>, partition: &Partition, member: IsrMember) -> bool {
    let registered = situation.image.broker(member.node_id).map(|broker| broker.broker_epoch);
    election::is_active_replica(situation.image, partition, member.node_id)
        && (member.broker_epoch == BrokerEpoch::NONE || registered == Some(member.broker_epoch))
}

fn failed(item: &AlterPartitionItem, error: ErrorCode) -> AlteredPartition {
    AlteredPartition {
        topic_id: item.topic_id,
        partition: item.partition,
        error,
        leader: None,
        leader_epoch: LeaderEpoch::NONE,
        isr: Vec::new(),
        elr: Vec::new(),
        recovery: LeaderRecoveryState::Recovered,
        partition_epoch: PartitionEpoch(-1),
    }
}
