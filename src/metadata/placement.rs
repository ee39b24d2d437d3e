//! Where new replicas go: leaders and replicas spread evenly over brokers, the replicas of a
//! partition over racks. Deterministic for a seed, which decides where the counting starts.

use std::collections::BTreeMap;

use crate::types::NodeId;
use crate::types::random::mix;

/// A broker that replicas may be placed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Which.
    pub node_id: NodeId,
    /// Its rack.
    pub rack: Option<String>,
    /// It can lead now. Others get replicas only where there are not enough that can.
    pub active: bool,
}

/// Why replicas cannot be placed, in Kafka's words.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// The replication factor is not positive.
    #[error("Invalid replication factor {0}: the replication factor must be positive.")]
    NotPositive(i16),
    /// Nobody could lead.
    #[error("All brokers are currently fenced.")]
    AllFenced,
    /// More replicas than brokers.
    #[error(
        "The target replication factor of {wanted} cannot be reached because only {registered} broker(s) are registered."
    )]
    TooFewBrokers {
        /// The replication factor asked for.
        wanted: i16,
        /// How many brokers there are.
        registered: usize,
    },
}

struct Counted {
    node_id: NodeId,
    rack: usize,
    active: bool,
    leaders: usize,
    replicas: usize,
}

/// The replicas of `partitions` new partitions, the preferred leader first.
pub fn place(
    candidates: &[Candidate],
    partitions: usize,
    replication_factor: i16,
    seed: u64,
) -> Result<Vec<Vec<NodeId>>, PlacementError> {
    let wanted = usize::try_from(replication_factor).unwrap_or(0);
    if wanted == 0 {
        return Err(PlacementError::NotPositive(replication_factor));
    }
    if !candidates.iter().any(|candidate| candidate.active) {
        return Err(PlacementError::AllFenced);
    }
    if wanted > candidates.len() {
        let registered = candidates.len();
        return Err(PlacementError::TooFewBrokers { wanted: replication_factor, registered });
    }
    let mut brokers = shuffled(candidates, seed);
    Ok((0..partitions).map(|_| place_one(&mut brokers, wanted)).collect())
}

/// The brokers in an order of the seed's choosing, on which ties are broken.
fn shuffled(candidates: &[Candidate], seed: u64) -> Vec<Counted> {
    let mut racks: BTreeMap<&Option<String>, usize> = BTreeMap::new();
    for candidate in candidates {
        let next = racks.len();
        racks.entry(&candidate.rack).or_insert(next);
    }
    let mut brokers: Vec<Counted> = candidates
        .iter()
        .map(|candidate| Counted {
            node_id: candidate.node_id,
            rack: racks[&candidate.rack],
            active: candidate.active,
            leaders: 0,
            replicas: 0,
        })
        .collect();
    brokers.sort_by_key(|broker| broker.node_id);
    let mut state = seed;
    for last in (1..brokers.len()).rev() {
        state = mix(state);
        let other = usize::try_from(state % (last as u64 + 1)).unwrap_or(0);
        brokers.swap(last, other);
    }
    brokers
}

fn place_one(brokers: &mut [Counted], wanted: usize) -> Vec<NodeId> {
    let mut chosen: Vec<usize> = Vec::with_capacity(wanted);
    let leader = (0..brokers.len())
        .filter(|&index| brokers[index].active)
        .min_by_key(|&index| (brokers[index].leaders, brokers[index].replicas));
    if let Some(leader) = leader {
        brokers[leader].leaders += 1;
        brokers[leader].replicas += 1;
        chosen.push(leader);
    }
    while chosen.len() < wanted {
        let in_rack = |rack| chosen.iter().filter(|&&other| brokers[other].rack == rack).count();
        // A broker that is due to lead soon is about to get a replica that way.
        let next =
            (0..brokers.len()).filter(|index| !chosen.contains(index)).min_by_key(|&index| {
                let broker = &brokers[index];
                let due = std::cmp::Reverse(broker.leaders);
                (!broker.active, in_rack(broker.rack), broker.replicas, due)
            });
        let Some(next) = next else { break };
        brokers[next].replicas += 1;
        chosen.push(next);
    }
    chosen.into_iter().map(|index| brokers[index].node_id).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    fn candidates(racks: &[usize]) -> Vec<Candidate> {
        (1..)
            .zip(racks)
            .map(|(node, rack)| Candidate {
                node_id: NodeId(node),
                rack: Some(format!("rack-{rack}")),
                active: true,
            })
            .collect()
    }

    fn spread(counts: &BTreeMap<NodeId, usize>, brokers: usize) -> usize {
        let least = if counts.len() < brokers { 0 } else { *counts.values().min().unwrap() };
        counts.values().max().unwrap() - least
    }

    proptest! {
        #[test]
        fn equal_racks_are_balanced(
            racks in 1usize..5, each in 1usize..4, factor in 1i16..6, partitions in 1usize..40, seed: u64,
        ) {
            let nodes = racks * each;
            prop_assume!(factor as usize <= nodes);
            let brokers = candidates(&(0..nodes).map(|i| i % racks).collect::<Vec<_>>());
            let placed = place(&brokers, partitions, factor, seed).unwrap();
            let (mut leaders, mut replicas) = (BTreeMap::new(), BTreeMap::new());
            for partition in &placed {
                *leaders.entry(partition[0]).or_insert(0) += 1;
                for node in partition {
                    *replicas.entry(*node).or_insert(0) += 1;
                }
            }
            prop_assert!(spread(&leaders, nodes) <= 1, "leaders {leaders:?}");
            // The leaders come first: where both cannot be even, they are.
            prop_assert!(spread(&replicas, nodes) <= 2, "replicas {replicas:?}");
        }

        #[test]
        fn racks_are_distinct_where_possible_and_leaders_balanced(
            racks in prop::collection::vec(0usize..4, 1..9), factor in 1i16..5,
            partitions in 1usize..30, seed: u64,
        ) {
            prop_assume!(factor as usize <= racks.len());
            let brokers = candidates(&racks);
            let rack_of = |node: NodeId| racks[node.0 as usize - 1];
            let distinct = racks.iter().collect::<std::collections::BTreeSet<_>>().len();
            let mut leaders = BTreeMap::new();
            for partition in place(&brokers, partitions, factor, seed).unwrap() {
                *leaders.entry(partition[0]).or_insert(0) += 1;
                let nodes: std::collections::BTreeSet<_> = partition.iter().collect();
                prop_assert_eq!(nodes.len(), factor as usize);
                let used: std::collections::BTreeSet<_> =
                    partition.iter().map(|&node| rack_of(node)).collect();
                prop_assert_eq!(used.len(), distinct.min(factor as usize));
            }
            prop_assert!(spread(&leaders, racks.len()) <= 1);
        }

        #[test]
        fn a_fenced_broker_is_used_only_where_needed_and_never_leads(
            active in prop::collection::vec(any::<bool>(), 1..7), factor in 1i16..6, seed: u64,
        ) {
            let brokers: Vec<Candidate> = (1..).zip(&active).map(|(node, &active)| Candidate {
                node_id: NodeId(node), rack: None, active,
            }).collect();
            let alive = active.iter().filter(|&&a| a).count();
            match place(&brokers, 5, factor, seed) {
                Ok(placed) => for partition in placed {
                    prop_assert!(active[partition[0].0 as usize - 1]);
                    let used = partition.iter().filter(|n| !active[n.0 as usize - 1]).count();
                    prop_assert_eq!(used, (factor as usize).saturating_sub(alive));
                },
                Err(PlacementError::AllFenced) => prop_assert_eq!(alive, 0),
                Err(PlacementError::TooFewBrokers { .. }) => prop_assert!(factor as usize > active.len()),
                Err(other) => prop_assert!(false, "{other}"),
            }
        }
    }
}
