//! What is due as time passes.

use crate::controller::machine::directories::DirectoryLoads;
use crate::controller::machine::draft::{Draft, elect_leaderless};
use crate::controller::machine::fencing::current;
use crate::controller::machine::{
    Decision, LogEnd, MAX_PARTITION_CHANGES, Note, Reply, Situation, alter_configs, elect_leaders,
    replicas,
};
use crate::metadata::{Cause, Partition, Topic, election};
use crate::types::{BrokerEpoch, ErrorCode, NodeId, PartitionId};

/// Notes who is unfenced, elects where an election was left undone, ends eligible leaders that the
/// minimum no longer asks for, gives leadership back to preferred leaders, and recovers partitions that lost everybody.
pub(super) fn tick(situation: &Situation<'_>) -> Decision {
    let mut draft = Draft::default();
    note_unfenced(situation, &mut draft);
    elect_leaderless(situation, &mut draft, Cause::Unfenced, &|partition, node| {
        election::is_active_replica(situation.image, partition, node)
    });
    // Both are about partitions with leaders: a decision changes each only once.
    if !alter_configs::settle_by_minimum(situation, &mut draft) {
        elect_leaders::balance(situation, &mut draft, MAX_PARTITION_CHANGES);
    }
    settle_reported(situation, &mut draft);
    draft.reply(Reply::Done)
}

fn note_unfenced(situation: &Situation<'_>, draft: &mut Draft) {
    let (image, liveness) = (situation.image, situation.liveness);
    for broker in image.brokers.values().filter(|broker| broker.is_active()) {
        let (node_id, broker_epoch) = (broker.node_id, broker.broker_epoch);
        if liveness.unfenced_since(node_id, broker_epoch).is_none() {
            let at = situation.now.monotonic;
            draft.notes.push(Note::Unfenced { node_id, broker_epoch, at });
        }
    }
    for node_id in liveness.noted_unfenced() {
        if !image.broker(node_id).is_some_and(|broker| broker.is_active()) {
            draft.notes.push(Note::Fenced { node_id });
        }
    }
}

/// Takes reports about partitions that lost everybody; the last one that was waited for brings
/// the recovery.
pub(super) fn report(
    situation: &Situation<'_>,
    node: NodeId,
    epoch: BrokerEpoch,
    logs: Vec<LogEnd>,
) -> Decision {
    let mut draft = Draft::default();
    let known = match current(situation, node, epoch) {
        Ok(known) => known,
        Err(refusal) => return draft.reply(refusal),
    };
    if known.fenced {
        let message = format!("Broker {node} is fenced: its logs may not be loaded");
        return draft.reply(Reply::refused(ErrorCode::InvalidRequest, message));
    }
    for log in logs {
        let found = situation.image.topic_by_id(log.topic_id);
        let Some((topic, partition)) =
            found.and_then(|topic| Some((topic, topic.partition(log.partition)?)))
        else {
            continue;
        };
        let awaited = partition.is_lost() && partition.last_known_elr.contains(&node);
        if !awaited || partition.directory_of(node) != Some(log.directory) {
            continue;
        }
        let index = log.partition;
        let mut liveness = situation.liveness.clone();
        let note = Note::LogEnd { node_id: node, broker_epoch: epoch, log };
        liveness.note(note.clone());
        draft.notes.push(note);
        recover(
            &Situation { liveness: &liveness, ..*situation },
            &mut draft,
            topic,
            index,
            partition,
        );
    }
    draft.reply(Reply::Done)
}

/// Recovers what may be recovered now that a member that was waited for is given up or wiped, and
/// forgets reports that are of no use any more.
fn settle_reported(situation: &Situation<'_>, draft: &mut Draft) {
    for key in situation.liveness.reported() {
        let topic = situation.image.topic_by_id(key.topic_id);
        let found = topic.and_then(|topic| Some((topic, topic.partition(key.partition)?)));
        match found {
            Some((topic, partition)) if partition.is_lost() => {
                recover(situation, draft, topic, key.partition, partition);
            }
            _ => {
                draft.notes.push(Note::Settled { topic_id: key.topic_id, partition: key.partition })
            }
        }
    }
}

/// Elects the greatest (last epoch, log end) once every member of the last ISR and ELR was heard.
/// Heard is also who came back without the directory that held the log, unless that is only
/// offline and may come back itself; an unregistered member was
/// given up by an administrator. Of equals the first in the order of replicas leads.
fn recover(
    situation: &Situation<'_>,
    draft: &mut Draft,
    topic: &Topic,
    index: PartitionId,
    partition: &Partition,
) {
    let ends = situation.liveness.log_ends(topic.id, index);
    let mut best = None;
    for &node in partition.replicas.iter().filter(|node| partition.last_known_elr.contains(node)) {
        let Some(broker) = situation.image.broker(node) else { continue };
        if !broker.is_active() {
            return;
        }
        if !election::is_active_replica(situation.image, partition, node) {
            if broker.has_offline_directories {
                return;
            }
            continue;
        }
        let end = ends.and_then(|ends| ends.get(&node));
        let Some(end) = end.filter(|end| end.broker_epoch == broker.broker_epoch) else { return };
        let end = (end.last_epoch, end.log_end);
        if best.is_none_or(|(_, greatest)| end > greatest) {
            best = Some((node, end));
        }
    }
    if let Some((leader, _)) = best {
        let mut next = election::recover(partition, leader);
        let mut loads = DirectoryLoads::of(situation.image);
        for &node in &partition.replicas {
            let Some(broker) = situation.image.broker(node) else { continue };
            let is_gone = |directory| !broker.has_directory(directory);
            if next.directory_of(node).is_some_and(is_gone) && !broker.has_offline_directories {
                replicas::relocate(&mut next, node, &broker.directories, &mut loads);
            }
        }
        draft.push_partition(topic, index, next, Cause::UncleanRecovery(leader));
    }
}
