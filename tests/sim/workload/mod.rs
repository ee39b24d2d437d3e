//! What clients do meanwhile, and what they saw of it.
//!
//! - [`record`]: the operations as they were invoked and answered
//! - [`producer`], [`consumer`], [`admin`]: who does them
//! - [`verdict`]: whether what was acknowledged is there in the end

pub mod admin;
pub mod consumer;
pub mod producer;
pub mod record;
pub mod verdict;

use std::sync::Arc;

use ottla::types::Random;
use ottla::types::random::{SeededRandom, mix};
use parking_lot::Mutex;

use crate::client::Client;
use crate::invariants::told::Told;
use crate::trace::Trace;
use crate::world::network::{Links, SimNetwork};

/// The topic that is written and read.
pub const TOPIC: &str = "orders";

/// What all workloads of one run share.
#[derive(Debug, Clone)]
pub struct Surroundings {
    pub seed: u64,
    pub nodes: i32,
    pub partitions: i32,
    /// Whether records are flushed before they are acknowledged.
    pub flush: bool,
    /// The machines of the clients.
    pub clients: Vec<String>,
    pub links: Arc<Links>,
    pub trace: Arc<Trace>,
    pub record: Arc<Mutex<record::Record>>,
    /// What must be true by the time that a client is told of it.
    pub told: Arc<Told>,
}

impl Surroundings {
    /// Chance for the client called `name`.
    pub fn random(&self, name: &str) -> Arc<dyn Random> {
        let named = name.bytes().fold(self.seed, |seed, byte| mix(seed ^ u64::from(byte)));
        Arc::new(SeededRandom::new(named))
    }

    /// A client on the machine of that name.
    pub fn client(&self, name: &str) -> Client {
        Client::new(name, self.nodes, SimNetwork::new(name, &self.links), self.random(name))
    }
}
