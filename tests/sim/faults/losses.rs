//! What acks=all acknowledged survives the loss of unsynced writes of fewer than
//! `min.insync.replicas` machines; with `flush.messages=1` of all of them. So where nothing is
//! flushed before it is acknowledged, a second machine loses something only once the first is in
//! all ISRs again.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::world::machine::Machine;

/// Whose data may be incomplete.
#[derive(Debug)]
pub struct Losses {
    /// Whether every acknowledged record is on the disks of the ISR.
    flushed: bool,
    incomplete: BTreeSet<i32>,
}

impl Losses {
    /// None yet.
    pub fn new(flushed: bool) -> Self {
        Losses { flushed, incomplete: BTreeSet::new() }
    }

    /// Whether that machine may lose what it did not sync.
    pub fn may_lose(&self, id: i32) -> bool {
        self.flushed || self.incomplete.iter().all(|lost| *lost == id)
    }

    /// It may have lost something.
    pub fn add(&mut self, id: Option<i32>) {
        self.incomplete.extend(id);
    }

    /// Whoever is in all ISRs again has everything.
    pub fn look(&mut self, machines: &[Arc<Machine>]) {
        if self.incomplete.is_empty() || !machines.iter().all(|machine| is_in_sync(machine)) {
            return;
        }
        self.incomplete.clear();
    }
}

/// Whether the machine's node runs, and all partitions have all their replicas in sync by what it
/// knows and by what their leaders here know.
fn is_in_sync(machine: &Machine) -> bool {
    let Some(server) = machine.server() else { return false };
    let Some(replicas) = server.replicas() else { return false };
    let image = replicas.image();
    let in_image = image.partitions().all(|(_, _, partition)| {
        partition.isr.len() == partition.replicas.len() && partition.leader.is_some()
    });
    in_image
        && replicas.online().iter().all(|partition| {
            let described = partition.describe();
            match described.role {
                "leader" => described.isr.len() == described.followers.len() + 1,
                "follower" => true,
                _ => false,
            }
        })
}
