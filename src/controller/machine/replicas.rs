//! From brokers to the first registration of partitions: placement, or the client's own choice.

use crate::controller::machine::directories::DirectoryLoads;
use crate::controller::machine::{Refusal, Situation};
use crate::metadata::placement::{self, Candidate, PlacementError};
use crate::metadata::{BrokerRegistration, Image, Partition, election};
use crate::types::random::mix;
use crate::types::{DirectoryId, ErrorCode, NodeId};

/// Places the replicas of `count` partitions.
pub(super) fn place(
    situation: &Situation<'_>,
    count: usize,
    factor: i16,
    seed: u128,
) -> Result<Vec<Vec<NodeId>>, Refusal> {
    let candidates: Vec<Candidate> = situation
        .image
        .brokers
        .values()
        .map(|broker| Candidate {
            node_id: broker.node_id,
            rack: broker.rack.clone(),
            active: may_hold(broker),
        })
        .collect();
    // The low half: the high half went into the topic's id.
    let seed = u64::try_from(seed & u128::from(u64::MAX)).unwrap_or(0);
    placement::place(&candidates, count, factor, seed).map_err(|error| match error {
        PlacementError::NotPositive(_)
        | PlacementError::AllFenced
        | PlacementError::TooFewBrokers { .. } => Refusal::new(
            ErrorCode::InvalidReplicationFactor,
            format!("Unable to replicate the partition {factor} time(s): {error}"),
        ),
    })
}

/// Whether a new replica on that broker can be in sync at once: it is active and has a directory.
fn may_hold(broker: &BrokerRegistration) -> bool {
    broker.is_active() && !broker.directories.is_empty()
}

/// Judges replicas that a client chose, as Kafka does.
pub(super) fn check_assignments(
    image: &Image,
    assigned: &[Vec<NodeId>],
    factor: usize,
) -> Result<(), Refusal> {
    let invalid = |fault: String| {
        let message = format!("The manual partition assignment includes {fault}");
        Err(Refusal::new(ErrorCode::InvalidReplicaAssignment, message))
    };
    for replicas in assigned {
        if replicas.is_empty() {
            return invalid("an empty replica list.".to_owned());
        }
        for (index, node) in replicas.iter().enumerate() {
            if image.broker(*node).is_none() {
                return invalid(format!("broker {node}, but no such broker is registered."));
            }
            if replicas[..index].contains(node) {
                return invalid(format!("the broker {node} more than once."));
            }
        }
        let count = replicas.len();
        if count != factor {
            return invalid(format!(
                "a partition with {count} replica(s), but this is not consistent with previous \
                 partitions, which have {factor} replica(s)."
            ));
        }
    }
    Ok(())
}

/// The first registrations of partitions with these replicas, from index `first` on.
pub(super) fn registrations(
    situation: &Situation<'_>,
    assigned: Vec<Vec<NodeId>>,
    first: usize,
    loads: &mut DirectoryLoads<'_>,
) -> Result<Vec<Partition>, Refusal> {
    let image = situation.image;
    let registration = |(index, replicas): (usize, Vec<NodeId>)| {
        let directories = replicas.iter().map(|&node| loads.place_on(node)).collect();
        let active = |node| image.broker(node).is_some_and(|broker| may_hold(broker));
        election::first_registration(replicas, directories, active).ok_or_else(|| {
            let message = format!(
                "All brokers specified in the manual partition assignment for partition {index} \
                 are fenced or in controlled shutdown."
            );
            Refusal::new(ErrorCode::InvalidReplicaAssignment, message)
        })
    };
    (first..).zip(assigned).map(registration).collect()
}

/// Gives the replica on `node` another directory: its own is gone. Not while the log that was there
/// is the one that everybody waits for.
pub(super) fn relocate(
    partition: &mut Partition,
    node: NodeId,
    online: &[DirectoryId],
    loads: &mut DirectoryLoads<'_>,
) {
    if partition.leader.is_none() && partition.last_known_elr.contains(&node) {
        return;
    }
    let position = partition.replicas.iter().position(|&replica| replica == node);
    let place = position.and_then(|position| partition.directories.get_mut(position));
    if let Some(place) = place
        && let Some(directory) = loads.place(online)
    {
        *place = directory;
    }
}

/// A random uuid out of the seed, for the `index`-th thing that this decision makes. As with every
/// id that people type, its text does not begin with a dash.
pub(super) fn uuid(seed: u128, index: usize) -> uuid::Uuid {
    let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(0);
    let mut high = mix(half(seed >> 64).wrapping_add(index as u64));
    loop {
        let wide = (u128::from(high) << 64) | u128::from(mix(half(seed) ^ high));
        let uuid = uuid::Builder::from_random_bytes(wide.to_be_bytes()).into_uuid();
        if uuid.as_bytes()[0] >> 2 != 62 {
            return uuid;
        }
        high = mix(high);
    }
}
