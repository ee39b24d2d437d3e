//! A broker comes to life, dies, or takes its leave.

use std::sync::Arc;

use crate::controller::machine::draft::{Draft, elect_leaderless, leave_isrs};
use crate::controller::machine::{Decision, FenceCause, Note, Reply, Situation};
use crate::metadata::{BrokerRegistration, Cause, MetadataRecord, election};
use crate::types::{BrokerEpoch, ErrorCode, NodeId};

/// The registration of `node`, if `broker_epoch` is its present one.
pub(super) fn current<'a>(
    situation: &Situation<'a>,
    node: NodeId,
    broker_epoch: BrokerEpoch,
) -> Result<&'a Arc<BrokerRegistration>, Reply> {
    match situation.image.broker(node) {
        None => {
            let message = format!("Broker ID {node} is not currently registered");
            Err(Reply::refused(ErrorCode::BrokerIdNotRegistered, message))
        }
        Some(known) if known.broker_epoch != broker_epoch => {
            let message = format!(
                "Expected broker epoch {broker_epoch} of broker {node}, but it is {}",
                known.broker_epoch
            );
            Err(Reply::refused(ErrorCode::StaleBrokerEpoch, message))
        }
        Some(known) => Ok(known),
    }
}

/// The broker has caught up: it may lead what has no leader and join ISRs.
pub(super) fn unfence(situation: &Situation<'_>, node: NodeId, epoch: BrokerEpoch) -> Decision {
    let mut draft = Draft::default();
    let known = match current(situation, node, epoch) {
        Ok(known) => known,
        Err(refusal) => return draft.reply(refusal),
    };
    if !known.fenced || known.in_controlled_shutdown {
        return draft.reply(Reply::Done);
    }
    let registration = BrokerRegistration { fenced: false, ..(**known).clone() };
    let cause = Cause::Unfenced(node);
    let at = situation.now.monotonic;
    draft.notes.push(Note::Unfenced { node_id: node, broker_epoch: epoch, at });
    draft.push(MetadataRecord::Broker { registration: Arc::new(registration), cause });
    elect_leaderless(situation, &mut draft, |_| cause, &|partition, other| {
        let directory = || partition.directory_of(other);
        (other == node && directory().is_some_and(|directory| known.has_directory(directory)))
            || election::is_active_replica(situation.image, partition, other)
    });
    draft.reply(Reply::Done)
}

/// The broker is dead or silent: its leaders move and it leaves the ISRs. The registration comes
/// last, so that an entry in between never shows a fenced broker that leads.
pub(super) fn fence(
    situation: &Situation<'_>,
    node: NodeId,
    epoch: BrokerEpoch,
    cause: FenceCause,
) -> Decision {
    let draft = Draft::default();
    let known = match current(situation, node, epoch) {
        Ok(known) => known,
        // Whoever was found dead is not the one that is registered now.
        Err(_) => return draft.reply(Reply::Done),
    };
    let cause = match cause {
        FenceCause::SessionExpired => Cause::SessionExpired(node),
        FenceCause::ProcessDied => Cause::ProcessDied(node),
    };
    retire(situation, draft, known, BrokerRegistration { fenced: true, ..(**known).clone() }, cause)
}

/// The broker wants to stop.
pub(super) fn begin_shutdown(
    situation: &Situation<'_>,
    node: NodeId,
    epoch: BrokerEpoch,
) -> Decision {
    let draft = Draft::default();
    let known = match current(situation, node, epoch) {
        Ok(known) => known,
        Err(refusal) => return draft.reply(refusal),
    };
    let stopping = BrokerRegistration { in_controlled_shutdown: true, ..(**known).clone() };
    retire(situation, draft, known, stopping, Cause::ControlledShutdown(node))
}

/// The broker leads nothing any more and stops.
pub(super) fn complete_shutdown(
    situation: &Situation<'_>,
    node: NodeId,
    epoch: BrokerEpoch,
) -> Decision {
    let draft = Draft::default();
    let known = match current(situation, node, epoch) {
        Ok(known) => known,
        Err(refusal) => return draft.reply(refusal),
    };
    if !known.in_controlled_shutdown {
        let message = format!("Broker {node} did not begin a controlled shutdown");
        return draft.reply(Reply::refused(ErrorCode::InvalidRequest, message));
    }
    if situation.image.partitions().any(|(_, _, partition)| partition.leader == Some(node)) {
        let message = format!("Broker {node} still leads partitions");
        return draft.reply(Reply::refused(ErrorCode::InvalidRequest, message));
    }
    let stopped = BrokerRegistration { fenced: true, ..(**known).clone() };
    retire(situation, draft, known, stopped, Cause::ControlledShutdown(node))
}

fn retire(
    situation: &Situation<'_>,
    mut draft: Draft,
    known: &BrokerRegistration,
    next: BrokerRegistration,
    cause: Cause,
) -> Decision {
    let node = known.node_id;
    if *known == next {
        return draft.reply(Reply::Done);
    }
    leave_isrs(situation, &mut draft, node, cause, &|partition| partition.in_isr(node), &|_| false);
    draft.push(MetadataRecord::Broker { registration: Arc::new(next), cause });
    draft.notes.push(Note::Fenced { node_id: node });
    draft.reply(Reply::Done)
}
