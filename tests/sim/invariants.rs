//! What must hold at every moment, looked up in the nodes between two steps of the simulation.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla::metadata::Image;
use ottla::replication::PartitionDescription;
use ottla::types::{LeaderEpoch, NodeId, Offset, TopicId, TopicPartition};

use crate::world::machine::Machine;

/// How many positions of the metadata log the images of are remembered.
const REMEMBERED: usize = 2_000;

/// A partition of one topic that existed under that name.
type Reigns<T> = BTreeMap<(TopicId, TopicPartition, LeaderEpoch), T>;

/// What was seen so far.
#[derive(Debug, Default)]
pub struct Invariants {
    images: BTreeMap<Offset, Arc<Image>>,
    /// Who led each partition in each reign, with its high watermark.
    leaders: Reigns<(i32, Offset)>,
    /// Who was the active controller in each term.
    controllers: BTreeMap<u64, i32>,
    /// Where each node's metadata stood when it was last looked at.
    seen: BTreeMap<i32, Offset>,
}

impl Invariants {
    /// Looks at a node; what has changed since, told for the timeline.
    ///
    /// # Errors
    /// What does not hold.
    pub fn look(&mut self, machine: &Machine) -> Result<Vec<String>, String> {
        let Some(server) = machine.server() else { return Ok(Vec::new()) };
        let mut news = Vec::new();
        if let Some(term) = server.controller().active_term() {
            let known = self.controllers.entry(term).or_insert_with(|| {
                news.push(format!("is the active controller of term {term}"));
                machine.id
            });
            if *known != machine.id {
                let other = *known;
                return Err(format!("term {term}: n{other} and {} are active", machine.name));
            }
        }
        self.metadata(machine, &server.controller().metadata().image())?;
        for partition in server.replicas().map(|all| all.online()).unwrap_or_default() {
            let described = partition.describe();
            ordered(&described).map_err(|what| {
                format!("{}: {} {what}: {described:?}", machine.name, partition.topic_partition())
            })?;
            let reign =
                (partition.topic_id(), partition.topic_partition().clone(), described.leader_epoch);
            if described.role == "leader" {
                news.extend(self.leads(machine, reign, &described)?);
            }
        }
        Ok(news)
    }

    fn leads(
        &mut self,
        machine: &Machine,
        reign: (TopicId, TopicPartition, LeaderEpoch),
        described: &PartitionDescription,
    ) -> Result<Option<String>, String> {
        let high_watermark = described.high_watermark;
        let name = format!("{} in epoch {}", reign.1, reign.2);
        let Some((leader, before)) = self.leaders.get_mut(&reign) else {
            self.leaders.insert(reign, (machine.id, high_watermark));
            return Ok(Some(format!("leads {name}, high watermark {high_watermark}")));
        };
        if *leader != machine.id {
            return Err(format!("both n{leader} and {} lead {name}", machine.name));
        }
        if high_watermark < *before {
            return Err(format!(
                "{}: the high watermark of {name} fell from {before} to {high_watermark}",
                machine.name
            ));
        }
        *before = high_watermark;
        if !described.isr.contains(&NodeId(machine.id)) {
            return Err(format!("{} leads {name} and is not in the ISR", machine.name));
        }
        Ok(None)
    }

    /// The same position of the metadata log is the same metadata everywhere.
    fn metadata(&mut self, machine: &Machine, image: &Arc<Image>) -> Result<(), String> {
        let offset = image.offset();
        if self.seen.insert(machine.id, offset) == Some(offset) {
            return Ok(());
        }
        match self.images.get(&offset) {
            Some(known) if known == image => return Ok(()),
            Some(known) => {
                return Err(format!(
                    "{}: the metadata at {offset} differs: {image:?} here, {known:?} elsewhere",
                    machine.name
                ));
            }
            None => {}
        }
        for (topic, index, partition) in image.partitions() {
            let name = format!("{}-{index} at {offset}: {partition:?}", topic.name);
            if partition.leader.is_some_and(|leader| !partition.isr.contains(&leader)) {
                return Err(format!("the leader is not in the ISR: {name}"));
            }
            if partition.isr.iter().any(|node| !partition.replicas.contains(node)) {
                return Err(format!("the ISR has who is no replica: {name}"));
            }
        }
        self.images.insert(offset, Arc::clone(image));
        while self.images.len() > REMEMBERED {
            self.images.pop_first();
        }
        Ok(())
    }
}

/// Log start ≤ last stable offset ≤ high watermark ≤ log end.
fn ordered(of: &PartitionDescription) -> Result<(), &'static str> {
    if of.log_start_offset > of.last_stable_offset {
        return Err("begins behind its last stable offset");
    }
    if of.last_stable_offset > of.high_watermark {
        return Err("is stable beyond its high watermark");
    }
    if of.high_watermark > of.log_end_offset {
        return Err("has a high watermark behind its end");
    }
    Ok(())
}
