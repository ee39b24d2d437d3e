//! The metadata: the same position of its log is the same everywhere, and each image may follow the
//! one before.

use std::collections::BTreeMap;
use std::sync::Arc;

use ottla::metadata::{Image, LeaderRecoveryState, Partition};
use ottla::types::{BrokerEpoch, IncarnationId, NodeId, Offset};

/// How many positions of the metadata log the images of are remembered.
const REMEMBERED: usize = 2_000;

/// The images that were seen.
#[derive(Debug, Default)]
pub struct Metadata {
    images: BTreeMap<Offset, Arc<Image>>,
    /// Where each node's metadata stood when it was last looked at.
    seen: BTreeMap<i32, Offset>,
    /// Whose each broker epoch is.
    incarnations: BTreeMap<BrokerEpoch, (NodeId, IncarnationId)>,
}

impl Metadata {
    /// The newest that any node has had.
    pub fn newest(&self) -> Option<&Arc<Image>> {
        self.images.last_key_value().map(|(_, image)| image)
    }

    /// Looks at what a node has now.
    ///
    /// # Errors
    /// What does not hold.
    pub fn look(&mut self, node: i32, image: &Arc<Image>) -> Result<(), String> {
        let offset = image.offset();
        if self.seen.insert(node, offset) == Some(offset) {
            return Ok(());
        }
        match self.images.get(&offset) {
            Some(known) if known == image => return Ok(()),
            Some(known) => {
                return Err(format!(
                    "the metadata at {offset} differs: {image:?} here, {known:?} elsewhere"
                ));
            }
            None => {}
        }
        self.check(image).map_err(|what| format!("the metadata at {offset}: {what}"))?;
        let before = self.images.range(..offset).next_back().map(|(_, image)| image);
        let after = self.images.range(offset..).next().map(|(_, image)| image);
        let pairs = [before.map(|before| (before, image)), after.map(|after| (image, after))];
        for (before, after) in pairs.into_iter().flatten() {
            follows(before, after)?;
        }
        self.images.insert(offset, Arc::clone(image));
        while self.images.len() > REMEMBERED {
            self.images.pop_first();
        }
        Ok(())
    }

    fn check(&mut self, image: &Image) -> Result<(), String> {
        for broker in image.brokers.values() {
            let epoch = broker.broker_epoch;
            let own = (broker.node_id, broker.incarnation);
            let known = *self.incarnations.entry(epoch).or_insert(own);
            if known != own {
                return Err(format!("broker epoch {epoch} is of {own:?}, and of {known:?}"));
            }
        }
        for (topic, index, partition) in image.partitions() {
            let wrong = |what: &str| Err(format!("{}-{index}: {what}: {partition:?}", topic.name));
            if partition.leader.is_some_and(|leader| !partition.isr.contains(&leader)) {
                return wrong("the leader is not in the ISR");
            }
            if partition.isr.iter().chain(&partition.elr).any(|node| !partition.is_replica(*node)) {
                return wrong("the ISR or the ELR has who is no replica");
            }
            if partition.isr.iter().any(|node| partition.elr.contains(node)) {
                return wrong("who is in the ISR is eligible besides");
            }
        }
        Ok(())
    }
}

/// Whether `after` may come behind `before`, be it at once or later.
fn follows(before: &Image, after: &Image) -> Result<(), String> {
    let (from, to) = (before.offset(), after.offset());
    for (topic, index, new) in after.partitions() {
        let known = before.topic_by_id(topic.id).and_then(|topic| topic.partition(index));
        let Some(old) = known.filter(|old| **old != *new) else { continue };
        follows_in(old, new, after).map_err(|what| {
            format!("{}-{index}: {what}: {old:?} at {from}, {new:?} at {to}", topic.name)
        })?;
    }
    for (node, new) in &after.brokers {
        let went_back = |old: &Arc<_>| -> bool {
            let old: &ottla::metadata::BrokerRegistration = old;
            old.broker_epoch > new.broker_epoch
        };
        if before.broker(*node).is_some_and(went_back) {
            return Err(format!("the epoch of broker {node} went back between {from} and {to}"));
        }
    }
    Ok(())
}

fn follows_in(old: &Partition, new: &Partition, image: &Image) -> Result<(), &'static str> {
    if new.partition_epoch <= old.partition_epoch {
        return Err("it has changed and its epoch has not risen");
    }
    if new.leader_epoch < old.leader_epoch {
        return Err("its leader epoch went back");
    }
    if new.leader != old.leader && new.leader_epoch == old.leader_epoch {
        return Err("its leader has changed and the leader epoch has not");
    }
    // Where more has happened in between, nothing can be said about the steps.
    let is_next = new.partition_epoch == old.partition_epoch.next();
    let Some(elected) = new.leader.filter(|leader| is_next && Some(*leader) != old.leader) else {
        return Ok(());
    };
    if old.isr.contains(&elected) || old.elr.contains(&elected) {
        return Ok(());
    }
    if !old.is_lost() || new.recovery != LeaderRecoveryState::Recovering {
        return Err("its leader was neither in sync nor eligible");
    }
    let is_away = |node: &NodeId| image.broker(*node).is_some_and(|broker| !broker.is_active());
    if old.last_known_elr.iter().any(is_away) {
        return Err("its leader was elected before all its last members were back");
    }
    Ok(())
}
