//! What must hold of every image, whatever came before: executable, for tests and simulation.

use std::collections::BTreeSet;

use crate::metadata::{Image, Partition, election};
use crate::types::{NodeId, TopicPartition};

impl Image {
    /// Says what is wrong with the image; nothing should be, after any entry.
    ///
    /// # Errors
    /// The first invariant found broken, in words.
    pub fn check(&self) -> Result<(), String> {
        if self.topics.len() != self.topic_names.len() {
            return Err("topics by name and by id differ in number".to_owned());
        }
        for (id, name) in &self.topic_names {
            if self.topics.get(name).is_none_or(|topic| topic.id != *id) {
                return Err(format!("topic id {id} leads to {name}, which has another"));
            }
        }
        for broker in self.brokers.values() {
            if broker.broker_epoch >= self.next_broker_epoch {
                return Err(format!("broker {} has an epoch not given yet", broker.node_id));
            }
        }
        for (topic, index, partition) in self.partitions() {
            self.check_partition(partition).map_err(|fault| {
                let which = TopicPartition { topic: topic.name.clone(), partition: index };
                format!("{which}: {fault}: {partition:?}")
            })?;
        }
        Ok(())
    }

    fn check_partition(&self, partition: &Partition) -> Result<(), String> {
        let set = |nodes: &[NodeId]| nodes.iter().copied().collect::<BTreeSet<_>>();
        let replicas = set(&partition.replicas);
        let members = [&partition.isr, &partition.elr, &partition.last_known_elr];
        let rule = |holds: bool, fault: &str| if holds { Ok(()) } else { Err(fault.to_owned()) };
        rule(replicas.len() == partition.replicas.len(), "a replica is listed twice")?;
        rule(!replicas.is_empty(), "no replicas")?;
        rule(partition.directories.len() == replicas.len(), "not one directory for each replica")?;
        for nodes in members {
            rule(set(nodes).is_subset(&replicas), "a member is not a replica")?;
            rule(set(nodes).len() == nodes.len(), "a member is listed twice")?;
        }
        let total: usize = members.iter().map(|nodes| nodes.len()).sum();
        let union: BTreeSet<_> = members.into_iter().flatten().collect();
        rule(union.len() == total, "ISR, ELR and last known ELR overlap")?;
        rule(
            partition.leader.is_some() != partition.isr.is_empty(),
            "a leader without ISR, or an ISR without leader",
        )?;
        let leads = partition.leader.is_none_or(|leader| partition.in_isr(leader));
        rule(leads, "the leader is not in the ISR")?;
        let recovering = partition.recovery == crate::metadata::LeaderRecoveryState::Recovering;
        rule(
            !recovering || partition.isr.len() <= 1,
            "recovering with more than the leader in sync",
        )?;
        for &node in &partition.isr {
            rule(
                election::is_active_replica(self, partition, node),
                "a member of the ISR is fenced, stopping, or its directory is offline",
            )?;
        }
        Ok(())
    }
}
