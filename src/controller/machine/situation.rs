//! All that a decision may look at besides the command.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::controller::machine::LogEnd;
use crate::metadata::Image;
use crate::types::machine::Now;
use crate::types::{
    BrokerEpoch, LeaderEpoch, Monotonic, NodeId, Offset, PartitionId, TopicId, TopicIdPartition,
};

/// What a decision is made on.
#[derive(Debug, Clone, Copy)]
pub struct Situation<'a> {
    /// The working copy of the metadata.
    pub image: &'a Image,
    /// What the shell knows about brokers that no record says.
    pub liveness: &'a Liveness,
    /// The controller's configuration.
    pub options: &'a Options,
    /// The clocks.
    pub now: Now,
    /// Fresh random bits for every decision: topic ids and the start of placements come from it.
    pub seed: u128,
}

/// The controller's configuration, under Kafka's names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// `num.partitions`
    pub num_partitions: i32,
    /// `default.replication.factor`
    pub default_replication_factor: i16,
    /// `node.id` of the controller that decides.
    pub node_id: NodeId,
    /// The configuration of this node's file that topics and groups inherit or are bounded by, by its
    /// broker-level name, e.g. `min.insync.replicas`; what is absent has Kafka's default.
    pub broker_defaults: BTreeMap<String, String>,
    /// How long a returned preferred leader must have been unfenced before it leads again.
    pub preferred_leader_delay: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            num_partitions: 1,
            default_replication_factor: 1,
            node_id: NodeId::NONE,
            broker_defaults: BTreeMap::new(),
            preferred_leader_delay: Duration::from_secs(30),
        }
    }
}

/// What the active controller knows of its brokers and loses on a failover by design. The shell
/// keeps it: it sets `live` from its heartbeats, and passes in what decisions note.
#[derive(Debug, Clone, Default)]
pub struct Liveness {
    /// The broker processes whose session has not ended and whose connection was not found dead,
    /// by the registration that they speak for.
    pub live: BTreeMap<NodeId, BrokerEpoch>,
    unfenced_since: BTreeMap<NodeId, (BrokerEpoch, Monotonic)>,
    log_ends: BTreeMap<TopicIdPartition, LogEnds>,
}

/// Where the logs of one lost partition end, by broker.
pub type LogEnds = BTreeMap<NodeId, ReportedLogEnd>;

/// Where a broker said that its log ends. Greater is better: the last epoch counts first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReportedLogEnd {
    /// The epoch of its last batch.
    pub last_epoch: LeaderEpoch,
    /// One past its last record.
    pub log_end: Offset,
    /// The registration that reported it; a report of an earlier one counts for nothing.
    pub broker_epoch: BrokerEpoch,
}

/// A soft fact of a decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The broker of that registration is unfenced from `at` on.
    Unfenced {
        /// The broker.
        node_id: NodeId,
        /// Its registration.
        broker_epoch: BrokerEpoch,
        /// When that was seen.
        at: Monotonic,
    },
    /// The broker is fenced, or gone.
    Fenced {
        /// The broker.
        node_id: NodeId,
    },
    /// A broker told where its log of a lost partition ends.
    LogEnd {
        /// The broker.
        node_id: NodeId,
        /// Its registration.
        broker_epoch: BrokerEpoch,
        /// The log.
        log: LogEnd,
    },
    /// The partition has a leader again, or is gone: reports about it are of no use any more.
    Settled {
        /// The topic.
        topic_id: TopicId,
        /// The partition's index in it.
        partition: PartitionId,
    },
}

impl Liveness {
    /// Takes a soft fact in.
    pub fn note(&mut self, note: Note) {
        match note {
            Note::Unfenced { node_id, broker_epoch, at } => {
                self.unfenced_since.insert(node_id, (broker_epoch, at));
            }
            Note::Fenced { node_id } => {
                self.unfenced_since.remove(&node_id);
            }
            Note::LogEnd { node_id, broker_epoch, log } => {
                let key = TopicIdPartition { topic_id: log.topic_id, partition: log.partition };
                let end = ReportedLogEnd {
                    last_epoch: log.last_epoch,
                    log_end: log.log_end,
                    broker_epoch,
                };
                self.log_ends.entry(key).or_default().insert(node_id, end);
            }
            Note::Settled { topic_id, partition } => {
                self.log_ends.remove(&TopicIdPartition { topic_id, partition });
            }
        }
    }

    /// Whether a process of that registration is known to be alive.
    pub fn is_live(&self, node: NodeId, broker_epoch: BrokerEpoch) -> bool {
        self.live.get(&node) == Some(&broker_epoch)
    }

    /// Since when the broker of that registration has been unfenced without a break, as far as
    /// this controller has seen.
    pub fn unfenced_since(&self, node: NodeId, broker_epoch: BrokerEpoch) -> Option<Monotonic> {
        let &(epoch, since) = self.unfenced_since.get(&node)?;
        (epoch == broker_epoch).then_some(since)
    }

    /// The brokers that were noted as unfenced.
    pub(super) fn noted_unfenced(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.unfenced_since.keys().copied()
    }

    /// What was reported about a lost partition.
    pub fn log_ends(&self, topic_id: TopicId, partition: PartitionId) -> Option<&LogEnds> {
        self.log_ends.get(&TopicIdPartition { topic_id, partition })
    }

    /// The partitions that reports are kept for.
    pub(super) fn reported(&self) -> impl Iterator<Item = TopicIdPartition> + '_ {
        self.log_ends.keys().copied()
    }
}
