//! What must hold at every moment, looked up in the nodes between two steps of the simulation. Only
//! what has changed is looked at.
//!
//! - one active controller in a term
//! - [`metadata`]: what the images of all nodes say, and what may follow what
//! - [`history`]: of each partition, what is committed, and that all have it who should
//! - [`told`]: what clients were told, which must be true by then

mod history;
mod metadata;
pub mod told;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use ottla::broker::Server;
use ottla::controller::BrokerState;
use ottla::metadata::Image;
use ottla::types::{BrokerEpoch, NodeId, PartitionId, TopicId};

use crate::run::Options;
use crate::world::machine::Machine;
use history::{History, Moment};
use metadata::Metadata;
use told::Told;

/// A partition, by which no other is meant that has its name later.
type Place = (TopicId, PartitionId);

/// What was seen so far.
#[derive(Debug)]
pub struct Invariants {
    told: Arc<Told>,
    /// Whether records are on the disks of the ISR before they are acknowledged.
    flushed: bool,
    /// Whether nothing fails, and so all comes soon.
    prompt: bool,
    steps: u64,
    /// Who was the active controller in each term.
    controllers: BTreeMap<u64, i32>,
    metadata: Metadata,
    histories: BTreeMap<Place, History>,
}

impl Invariants {
    /// Nothing yet.
    pub fn new(told: &Arc<Told>, options: &Options) -> Self {
        Invariants {
            told: Arc::clone(told),
            flushed: options.flush,
            prompt: !options.faults,
            steps: 0,
            controllers: BTreeMap::new(),
            metadata: Metadata::default(),
            histories: BTreeMap::new(),
        }
    }

    /// Looks at all nodes; what has changed since, by machine, for the timeline.
    ///
    /// # Errors
    /// What does not hold.
    pub fn look(
        &mut self,
        machines: &[Arc<Machine>],
        now: Duration,
    ) -> Result<Vec<(String, String)>, String> {
        self.steps += 1;
        let mut news = Vec::new();
        let mut epochs = BTreeMap::new();
        for machine in machines {
            let Some(server) = machine.server() else { continue };
            epochs.extend(registered(&server).map(|epoch| (NodeId(machine.id), epoch)));
            let of_node = self.look_at(machine, &server, now);
            let of_node = of_node.map_err(|what| format!("{}: {what}", machine.name))?;
            news.extend(of_node.into_iter().map(|what| (machine.name.clone(), what)));
        }
        if let Some(image) = self.metadata.newest() {
            self.look_at_members(&Arc::clone(image), &epochs)?;
        }
        for word in self.told.take() {
            if let Some(history) = self.histories.get(&word.place()) {
                history.check(&word, self.flushed, self.steps)?;
            }
        }
        for history in self.histories.values_mut().filter(|_| self.prompt) {
            history.check_prompt(now)?;
        }
        Ok(news)
    }

    fn look_at(
        &mut self,
        machine: &Machine,
        server: &Arc<Server>,
        now: Duration,
    ) -> Result<Vec<String>, String> {
        let mut news = Vec::new();
        if let Some(term) = server.controller().active_term() {
            let known = self.controllers.entry(term).or_insert_with(|| {
                news.push(format!("is the active controller of term {term}"));
                machine.id
            });
            if *known != machine.id {
                return Err(format!("is active in term {term}, and so is n{known}"));
            }
        }
        self.metadata.look(machine.id, &server.controller().metadata().image())?;
        for partition in server.replicas().map(|all| all.online()).unwrap_or_default() {
            let place = (partition.topic_id(), partition.topic_partition().partition);
            let name = partition.topic_partition();
            let history = self.histories.entry(place).or_insert_with(|| History::of(name.clone()));
            let is_paused = machine.pause.is_on();
            let moment = Moment { step: self.steps, now, server, is_paused };
            let changed = history.look(machine.id, &partition, &moment);
            news.extend(changed.map_err(|what| format!("{name} {what}"))?);
        }
        Ok(news)
    }

    /// Who is in the ISR, or eligible, has all that is committed; but a process that is not yet
    /// registered may still have to say that it has lost something.
    fn look_at_members(
        &mut self,
        image: &Image,
        registered: &BTreeMap<NodeId, BrokerEpoch>,
    ) -> Result<(), String> {
        for (topic, index, partition) in image.partitions() {
            let Some(history) = self.histories.get(&(topic.id, index)) else { continue };
            for node in partition.isr.iter().chain(&partition.elr) {
                let epoch = image.broker(*node).map(|broker| broker.broker_epoch);
                if epoch.is_some() && registered.get(node).copied() == epoch {
                    history.check_member(*node, self.steps)?;
                }
            }
        }
        Ok(())
    }
}

/// The registration of the process that runs, as far as it knows.
fn registered(server: &Server) -> Option<BrokerEpoch> {
    match *server.broker_state()?.borrow() {
        BrokerState::Fenced(epoch) | BrokerState::Running(epoch) | BrokerState::Stopping(epoch) => {
            Some(epoch)
        }
        BrokerState::Unregistered | BrokerState::Stopped => None,
    }
}
