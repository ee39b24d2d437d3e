//! What the replicas of a node need from outside: settings, and narrow traits to the controller,
//! the topics' configuration and the node's life.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use tokio::sync::mpsc::UnboundedSender;

use super::leader::{BrokerStanding, IsrConfirmed, IsrMember, IsrProposal, Standings};
use super::partition::Partition;
use super::settings::TopicSettings;
use super::suspects::Suspects;
use crate::metadata::{BrokerRegistration, Image, Topic};
use crate::types::{
    Clock, DirectoryId, ErrorCode, LeaderEpoch, NodeId, PartitionEpoch, PartitionId, TopicId,
    TopicName,
};

/// A change of a partition's ISR, put to the controller by its leader (KIP-497).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IsrChange {
    /// The topic's name, for log lines.
    pub topic: TopicName,
    /// The topic's identity.
    pub topic_id: TopicId,
    /// The partition's index.
    pub partition: PartitionId,
    /// The reign in which it is proposed.
    pub leader_epoch: LeaderEpoch,
    /// The version of the partition that it is based on.
    pub partition_epoch: PartitionEpoch,
    /// The new members, each with the incarnation that was seen in sync.
    pub isr: Vec<IsrMember>,
}

/// The way to the controller. An error that does not say what became of the change (a timeout, a
/// lost connection) is told as such: the change is then put again.
pub trait AlterIsr: Send + Sync + 'static {
    /// Puts one change to the controller.
    fn alter_partition(
        &self,
        change: IsrChange,
    ) -> BoxFuture<'static, Result<IsrConfirmed, ErrorCode>>;

    /// Tells the controller where replicas of this node lie (KIP-858).
    fn assign_directories(
        &self,
        replicas: Vec<PlacedReplica>,
    ) -> BoxFuture<'static, Result<(), ErrorCode>>;
}

/// The data directory in which a replica of this node lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlacedReplica {
    /// The topic's identity.
    pub topic_id: TopicId,
    /// The partition's index.
    pub partition: PartitionId,
    /// The directory.
    pub directory: DirectoryId,
}

/// What happens around the replicas.
pub trait Surrounds: Send + Sync + 'static {
    /// A topic's configuration, resolved against the broker's defaults.
    fn settings(&self, image: &Image, topic: &Topic) -> TopicSettings;

    /// Whether this node may still answer as a leader: its last answered heartbeat was sent less
    /// than a session ago.
    fn is_live(&self) -> bool;
}

/// Settings of the replicas of one node.
#[derive(Debug, Clone)]
pub struct ReplicaOptions {
    /// `replica.lag.time.max.ms`.
    pub lag_max: Duration,
    /// `replica.fetch.wait.max.ms`.
    pub fetch_wait_max: Duration,
    /// `replica.fetch.min.bytes`.
    pub fetch_min_bytes: i32,
    /// `replica.fetch.max.bytes`: per partition.
    pub fetch_max_bytes: i32,
    /// `replica.fetch.response.max.bytes`: per request.
    pub fetch_response_max_bytes: i32,
    /// `replica.socket.timeout.ms`.
    pub socket_timeout: Duration,
    /// The listener by which other brokers are reached: `inter.broker.listener.name`.
    pub inter_broker_listener: String,
    /// Whether `replica.selector.class` asks for Kafka's rack-aware selector (KIP-392).
    pub rack_aware_reads: bool,
}

impl Default for ReplicaOptions {
    fn default() -> Self {
        Self {
            lag_max: Duration::from_secs(30),
            fetch_wait_max: Duration::from_millis(500),
            fetch_min_bytes: 1,
            fetch_max_bytes: 1024 * 1024,
            fetch_response_max_bytes: 10 * 1024 * 1024,
            socket_timeout: Duration::from_secs(30),
            inter_broker_listener: "PLAINTEXT".to_owned(),
            rack_aware_reads: false,
        }
    }
}

/// The brokers, as the partitions need them.
#[derive(Debug, Default)]
pub(super) struct World {
    pub(super) standings: Standings,
    pub(super) racks: BTreeMap<NodeId, String>,
}

impl World {
    pub(super) fn of(image: &Image) -> Self {
        let standing = |broker: &BrokerRegistration| BrokerStanding {
            broker_epoch: broker.broker_epoch,
            is_active: broker.is_active(),
        };
        Self {
            standings: image.brokers.iter().map(|(node, it)| (*node, standing(it))).collect(),
            racks: image
                .brokers
                .iter()
                .filter_map(|(node, broker)| Some((*node, broker.rack.clone()?)))
                .collect(),
        }
    }
}

/// What every partition of a node shares.
pub(super) struct NodeContext {
    pub(super) node: NodeId,
    pub(super) options: ReplicaOptions,
    pub(super) surrounds: Arc<dyn Surrounds>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) world: ArcSwap<World>,
    pub(super) suspects: Suspects,
    /// Proposals to be put to the controller. Each partition has at most one under way, so that
    /// the queue is bounded by their number.
    pub(super) proposals: UnboundedSender<(Arc<Partition>, IsrProposal)>,
}
