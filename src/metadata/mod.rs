//! What the whole cluster agrees on. Pure: no I/O, no clock, no randomness.
//!
//! - `image`: [`Image`], the state, and `apply`, which folds one record into it
//! - `broker`, `topic`, `partition`, `config`: the parts of the image
//! - `record`, `cause`: the facts that change an image, and why each came to be
//! - `stored`: records as bytes; `snapshot`: an image as records; `check`: what must hold of it
//! - `delta`: what changed for one broker between two images
//! - [`election`]: who is in sync, who is an eligible leader, who leads
//! - [`placement`]: which brokers get new replicas
//! - [`topic_config`], [`topic_name`]: what a topic's configuration and name may be
//! - [`group_config`], [`client_metrics_config`]: what may be set for a group, and for a subscription to the
//!   metrics of clients
//!
//! Decisions are not made here but in `controller::machine`.

mod broker;
mod cause;
mod check;
pub mod client_metrics_config;
mod config;
mod delta;
pub mod election;
pub mod features;
#[cfg(test)]
mod golden;
pub mod group_config;
mod image;
mod partition;
pub mod placement;
mod record;
mod snapshot;
mod stored;
mod topic;
pub mod topic_config;
pub mod topic_name;

use std::sync::Arc;

pub use broker::{BrokerRegistration, Endpoint, FeatureRange, SecurityProtocol};
pub use cause::Cause;
pub use config::{ConfigMap, ConfigResource};
pub use delta::{BrokerDelta, LocalReplica, RemovedReplica, broker_delta};
pub use image::{ApplyError, Image};
pub use partition::{LeaderRecoveryState, Partition};
pub use record::MetadataRecord;
pub use stored::RecordError;
pub use topic::Topic;

/// Where a room that is not the controller reads the committed metadata.
pub trait MetadataSource: Send + Sync {
    /// The newest image that this node has applied.
    fn image(&self) -> Arc<Image>;

    /// Tells of each new image by its [`Image::version`].
    fn subscribe(&self) -> crate::types::watch::Receiver<u64>;
}
