//! The broker: configuration, assembly, start and stop, and what it answers.
//!
//! - [`config`]: `server.properties`, checked and typed
//! - [`server`]: [`Server`], one node from start to stop; `start_error`, why it does not start
//! - [`seams`]: the ways in for disks, sockets, clocks, chance
//! - [`unsafe_recovery`]: a stopped controller as the only survivor of its quorum
//! - [`health`]: how the node stands, for those above
//! - `directories`: the data directories together; `entry`: the way into service
//! - `service`: what a listener serves; `handlers`: one file per API
//! - [`open_files`]: how many the process may have open
//! - [`loggers`]: what is logged, which changes while the node runs
//! - `controller_link`, `producer_ids`, `auto_create`: what handlers ask of the active controller
//! - `group_history`: rebalances on their way into their topic
//! - `failed_directories`: data directories that fail while the broker runs
//! - `scrubber`, `verification`: segments are verified, now and then and on demand; `mending`, what
//!   both do with what they find
//! - `surroundings`, `log_ends`, `housekeeping`: what the replicas need around them

mod auto_create;
mod cleaner;
pub mod config;
mod controller_link;
mod directories;
mod entry;
mod failed_directories;
mod group_history;
mod handlers;
pub mod health;
mod housekeeping;
mod log_ends;
pub mod loggers;
mod mending;
pub mod open_files;
mod producer_ids;
mod scrubber;
pub mod seams;
pub mod server;
mod service;
mod start_error;
mod surroundings;
#[cfg(test)]
pub(crate) mod tests;
pub mod unsafe_recovery;
mod verification;

pub use config::BrokerConfig;
pub use loggers::Loggers;
pub use seams::Seams;
pub use server::Server;
pub use start_error::StartError;
