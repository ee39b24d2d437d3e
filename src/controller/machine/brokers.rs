//! A broker's registration and its end.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::controller::machine::directories::DirectoryLoads;
use crate::controller::machine::draft::{Draft, cause_of, leave_isr, leave_isrs};
use crate::controller::machine::{
    Decision, Note, PreviousRun, Refusal, RegisterBroker, Reply, Situation, replicas,
};
use crate::metadata::{BrokerRegistration, Cause, Image, MetadataRecord, Partition};
use crate::types::{BrokerEpoch, DirectoryId, ErrorCode, NodeId, PartitionId};

/// Registers a broker, fenced. The same incarnation keeps its epoch (rule 16); another one leaves
/// the ISRs, and unless it lost nothing also the sets of eligible leaders (rule 15).
pub(super) fn register(situation: &Situation<'_>, request: RegisterBroker) -> Decision {
    if let Err(refusal) = validate(situation, &request) {
        return Draft::default().reply(Reply::Refused(refusal));
    }
    match situation.image.broker(request.node_id) {
        Some(known) if known.incarnation == request.incarnation => {
            register_again(situation, known, request)
        }
        known => register_new(situation, known.map(|known| known.broker_epoch), request),
    }
}

/// The same process asks once more: an answer was lost, or a directory went offline.
fn register_again(
    situation: &Situation<'_>,
    known: &BrokerRegistration,
    request: RegisterBroker,
) -> Decision {
    let mut draft = Draft::default();
    let broker_epoch = known.broker_epoch;
    let registration = BrokerRegistration {
        fenced: known.fenced,
        in_controlled_shutdown: known.in_controlled_shutdown,
        ..registration(&request, broker_epoch)
    };
    let node = request.node_id;
    let online = registration.directories.clone();
    let is_offline = |partition: &Partition| {
        partition.directory_of(node).is_some_and(|directory| !online.contains(&directory))
    };
    let cause = Cause::DirectoryOffline(node);
    leave_isrs(situation, &mut draft, node, cause, &is_offline, &is_offline);
    if registration != *known {
        let registration = Arc::new(registration);
        draft.push(MetadataRecord::Broker { registration, cause: Cause::Registered(node) });
    }
    draft.reply(Reply::Registered { broker_epoch })
}

fn register_new(
    situation: &Situation<'_>,
    previous: Option<BrokerEpoch>,
    request: RegisterBroker,
) -> Decision {
    let mut draft = Draft::default();
    let node = request.node_id;
    let kept: BTreeSet<DirectoryId> = request
        .directories
        .iter()
        .filter(|directory| lost_nothing(directory.previous_run, previous))
        .map(|directory| directory.id)
        .collect();
    let online: Vec<DirectoryId> = request.directories.iter().map(|d| d.id).collect();
    let mut loads = DirectoryLoads::of(situation.image);
    for (topic, index, partition) in situation.image.partitions() {
        let Some(directory) = partition.directory_of(node) else { continue };
        let unclean = !kept.contains(&directory);
        let left = leave_isr(situation, topic, partition, node, unclean);
        let cause = if unclean { Cause::UncleanShutdown(node) } else { Cause::Registered(node) };
        let cause = left.as_ref().map_or(cause, |outcome| cause_of(outcome, cause));
        let mut next = left.map_or_else(|| Partition::clone(partition), |left| left.partition);
        // The log that lies in a directory which is offline may come back with it.
        if !online.contains(&directory) && !request.has_offline_directories {
            replicas::relocate(&mut next, node, &online, &mut loads);
        }
        if next != **partition {
            next.partition_epoch = partition.partition_epoch.next();
            draft.push_partition(topic, index, next, cause);
        }
    }
    let broker_epoch = situation.image.next_broker_epoch();
    let registration = Arc::new(registration(&request, broker_epoch));
    draft.push(MetadataRecord::Broker { registration, cause: Cause::Registered(node) });
    draft.notes.push(Note::Fenced { node_id: node });
    draft.reply(Reply::Registered { broker_epoch })
}

/// Rule 15. A marker of another registration tells nothing about the last one.
fn lost_nothing(run: PreviousRun, previous: Option<BrokerEpoch>) -> bool {
    match run {
        PreviousRun::Clean { broker_epoch } | PreviousRun::ProcessDied { broker_epoch } => {
            Some(broker_epoch) == previous
        }
        PreviousRun::Unclean | PreviousRun::Fresh => false,
    }
}

fn registration(request: &RegisterBroker, broker_epoch: BrokerEpoch) -> BrokerRegistration {
    BrokerRegistration {
        node_id: request.node_id,
        broker_epoch,
        incarnation: request.incarnation,
        endpoints: request.endpoints.clone(),
        rack: request.rack.clone(),
        fenced: true,
        in_controlled_shutdown: false,
        directories: request.directories.iter().map(|directory| directory.id).collect(),
        has_offline_directories: request.has_offline_directories,
        features: request.features.clone(),
    }
}

fn validate(situation: &Situation<'_>, request: &RegisterBroker) -> Result<(), Refusal> {
    let image = situation.image;
    let node = request.node_id;
    match (&request.cluster_id, image.cluster_id.as_deref()) {
        (Some(theirs), Some(ours)) if theirs != ours => {
            let message = format!("Expected cluster ID {ours}, but got cluster ID {theirs}");
            return Err(Refusal::new(ErrorCode::InconsistentClusterId, message));
        }
        // A voter's directory is bound to the cluster before the first record says its id.
        (Some(_), None) => {
            let message = "The cluster is still being formed";
            return Err(Refusal::new(ErrorCode::NotController, message));
        }
        (Some(_), Some(_)) | (None, _) => {}
    }
    if let Some(known) = image.broker(node)
        && known.incarnation != request.incarnation
        && situation.liveness.is_live(node, known.broker_epoch)
    {
        let message = "Another broker is registered with that broker id. If the broker was recently \
                       restarted this should self-resolve once the controller finds the old process dead.";
        return Err(Refusal::new(ErrorCode::DuplicateBrokerRegistration, message));
    }
    let invalid = |message: String| Err(Refusal::new(ErrorCode::InvalidRegistration, message));
    if node.0 < 0 {
        return invalid(format!("Broker ID {node} is negative"));
    }
    if request.endpoints.is_empty() {
        return invalid("No listeners found for broker".to_owned());
    }
    if request.directories.is_empty() {
        return invalid("No directories found in request".to_owned());
    }
    let mut seen = BTreeSet::new();
    for directory in &request.directories {
        if !seen.insert(directory.id) {
            return invalid(format!("Directory {} is listed twice", directory.id));
        }
        let other =
            image.brokers.values().find(|b| b.node_id != node && b.has_directory(directory.id));
        if let Some(other) = other {
            let (id, other) = (directory.id, other.node_id);
            return invalid(format!(
                "Broker {node} cannot register directory {id}: it belongs to broker {other}"
            ));
        }
    }
    check_features(image, request)
}

fn check_features(image: &Image, request: &RegisterBroker) -> Result<(), Refusal> {
    for (name, &level) in &image.features {
        let known = request.features.iter().find(|feature| feature.name == *name);
        let (min, max) = known.map_or((0, 0), |feature| (feature.min, feature.max));
        if level < min || level > max {
            let message = format!(
                "Unable to register because the broker does not support finalized version {level} of \
                 {name}. The broker wants a version between {min} and {max}, inclusive."
            );
            return Err(Refusal::new(ErrorCode::UnsupportedVersion, message));
        }
    }
    Ok(())
}

/// Removes a broker for good: nobody waits for it any more.
pub(super) fn unregister(situation: &Situation<'_>, node: NodeId) -> Decision {
    let mut draft = Draft::default();
    let Some(known) = situation.image.broker(node) else {
        let message = format!("Broker ID {node} is not currently registered");
        return draft.reply(Reply::refused(ErrorCode::BrokerIdNotRegistered, message));
    };
    leave_isrs(situation, &mut draft, node, Cause::Unregistered(node), &|_| true, &|_| true);
    draft.push(MetadataRecord::BrokerRemoved { node_id: node, broker_epoch: known.broker_epoch });
    draft.notes.push(Note::Fenced { node_id: node });
    draft.reply(Reply::Done)
}

/// The lost partitions of which `node` is to report its log end
/// ([`super::Command::ReportLogEnds`]): it was in sync when everybody was lost.
pub fn awaits_log_end(
    image: &Image,
    node: NodeId,
) -> impl Iterator<Item = (&crate::metadata::Topic, PartitionId, &Arc<Partition>)> {
    image
        .partitions()
        .filter(move |(_, _, partition)| {
            partition.is_lost() && partition.last_known_elr.contains(&node)
        })
        .map(|(topic, index, partition)| (&**topic, index, partition))
}
