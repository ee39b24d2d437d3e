//! Everything that knows openraft. The rest of the controller speaks of terms, entries and
//! members through the names in [`types`].
//!
//! - [`types`]: openraft's type parameters and short names for its types
//! - [`runtime`]: tokio with our randomness
//! - [`log_store`]: the log of entries, over the log room; [`entry`]: an entry as a batch
//! - [`quorum_state`]: vote, committed and purged ids in a file of two slots
//! - [`state_machine`]: committed entries folded into the image; [`snapshot`]: its snapshots
//! - [`stored`]: what is on disk, as versioned messages
//! - [`network`]: the way to the other members; [`lease`]: whether a leader is cut off
//! - [`unsafe_recovery`]: what makes a survivor of a lost majority the only voter

pub mod entry;
pub mod lease;
pub mod log_store;
pub mod network;
pub mod quorum_state;
pub mod runtime;
pub mod snapshot;
pub mod state_machine;
pub mod stored;
pub mod types;
pub mod unsafe_recovery;

#[cfg(test)]
mod damage_tests;
#[cfg(test)]
mod store_tests;
