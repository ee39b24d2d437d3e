//! The world that nodes run in: machines with disks, a network between them, clocks.
//!
//! - [`machine`]: one machine: what outlives the process, and what outlives the power
//! - [`network`]: connections over turmoil that can be cut, silenced and reset
//! - [`clock`]: each process's own clocks
//! - [`offload`]: blocking work that takes its time
//! - [`pause`]: processes that stand still
//! - [`node`]: a whole Ottla node as the software of a machine

pub mod clock;
pub mod machine;
pub mod network;
pub mod node;
pub mod offload;
pub mod pause;
