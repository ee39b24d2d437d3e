//! What clients do meanwhile.
//!
//! - [`recorder`]: writes down what they do and see
//! - [`clients`]: which there are, and where
//! - [`plan`]: what they do, by the seed
//! - [`producer`], [`idempotent`], [`consumer`], [`admin`]: who does something
//! - [`produce`]: produce requests and their answers

pub mod admin;
pub mod clients;
pub mod consumer;
pub mod idempotent;
pub mod plan;
pub mod produce;
pub mod producer;
pub mod recorder;

use std::sync::Arc;

use ottla::types::Random;
use ottla::types::random::{SeededRandom, mix};

use plan::Plan;
use recorder::Recorder;

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
    pub plan: Plan,
    /// Whether records are flushed before they are acknowledged.
    pub flush: bool,
    /// The machines of the clients.
    pub clients: Vec<String>,
    /// The one that is spoken from.
    pub machine: String,
    pub links: Arc<Links>,
    pub trace: Arc<Trace>,
    pub recorder: Arc<Recorder>,
    /// What must be true by the time that a client is told of it.
    pub told: Arc<Told>,
}

impl Surroundings {
    /// Chance for the client called `name`.
    pub fn random(&self, name: &str) -> Arc<dyn Random> {
        let named = name.bytes().fold(self.seed, |seed, byte| mix(seed ^ u64::from(byte)));
        Arc::new(SeededRandom::new(named))
    }

    /// A client of that name on this machine.
    pub fn client(&self, name: &str) -> Client {
        let network = SimNetwork::new(&self.machine, &self.links);
        Client::new(name, self.nodes, network, self.random(name))
    }
}
