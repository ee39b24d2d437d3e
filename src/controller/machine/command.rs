//! What is asked of the active controller.

use serde::{Deserialize, Serialize};

use crate::metadata::{ConfigResource, Endpoint, FeatureRange, LeaderRecoveryState};
use crate::types::{
    BrokerEpoch, DirectoryId, IncarnationId, LeaderEpoch, NodeId, Offset, PartitionEpoch,
    PartitionId, TopicId, TopicPartition,
};

/// A change that somebody asks for. The authority of who asks was checked before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Command {
    /// Give the cluster its id, once, when it is formed. Answer: [`super::Reply::Done`].
    FormCluster {
        /// Kafka's `cluster.id`.
        cluster_id: String,
    },
    /// A broker process reports for duty. Answer: [`super::Reply::Registered`].
    RegisterBroker(RegisterBroker),
    /// A broker has loaded its logs and applied the metadata up to its registration.
    /// Answer: [`super::Reply::Done`].
    UnfenceBroker {
        /// Which.
        node_id: NodeId,
        /// Its registration.
        broker_epoch: BrokerEpoch,
    },
    /// A broker is dead or silent. Asked by the shell's liveness table only. Answer: Done.
    FenceBroker {
        /// Which.
        node_id: NodeId,
        /// The registration that was found dead; a newer one is left alone.
        broker_epoch: BrokerEpoch,
        /// What was seen.
        cause: FenceCause,
    },
    /// A broker wants to stop: move its leaders, take it out of the ISRs. Answer: Done.
    BeginControlledShutdown {
        /// Which.
        node_id: NodeId,
        /// Its registration.
        broker_epoch: BrokerEpoch,
    },
    /// A broker that began a controlled shutdown leads nothing any more (it has seen so in its
    /// image) and is about to stop: fence it. Answer: Done, or INVALID_REQUEST while it leads.
    CompleteControlledShutdown {
        /// Which.
        node_id: NodeId,
        /// Its registration.
        broker_epoch: BrokerEpoch,
    },
    /// Remove a broker from the cluster for good. Answer: Done.
    UnregisterBroker {
        /// Which.
        node_id: NodeId,
    },
    /// A leader reports who is in sync (rule 13). Answer: [`super::Reply::AlteredPartitions`].
    AlterPartition(AlterPartition),
    /// Create topics. Answer: [`super::Reply::CreatedTopics`], in the order asked.
    CreateTopics {
        /// Which.
        topics: Vec<NewTopic>,
        /// Only say what would happen.
        validate_only: bool,
    },
    /// Delete topics. Answer: [`super::Reply::DeletedTopics`], in the order asked.
    DeleteTopics {
        /// Which.
        topics: Vec<TopicRef>,
    },
    /// Add partitions to topics. Answer: [`super::Reply::CreatedPartitions`], in the order asked.
    CreatePartitions {
        /// Which, and how many.
        topics: Vec<NewPartitions>,
        /// Only say what would happen.
        validate_only: bool,
    },
    /// Elect leaders. Answer: [`super::Reply::ElectedLeaders`].
    ElectLeaders {
        /// Of which kind.
        election: ElectionType,
        /// For which partitions; none: for all that need it.
        partitions: Option<Vec<TopicPartition>>,
    },
    /// A broker needs producer ids to give out. Answer: [`super::Reply::ProducerIds`].
    AllocateProducerIds {
        /// Which broker.
        node_id: NodeId,
        /// Its registration.
        broker_epoch: BrokerEpoch,
    },
    /// A broker tells where its logs of lost partitions end (see
    /// [`super::awaits_log_end`]). Answer: Done.
    ReportLogEnds {
        /// Which broker.
        node_id: NodeId,
        /// Its registration.
        broker_epoch: BrokerEpoch,
        /// The logs.
        logs: Vec<LogEnd>,
    },
    /// Time has passed: look what is due. Asked by the shell about once a second. Answer: Done.
    Tick,
    /// Change configurations. Answer: [`super::Reply::AlteredConfigs`], in the order asked.
    AlterConfigs(AlterConfigs),
    /// Data directories of a broker have failed: the replicas in them leave the ISRs (KIP-858).
    /// Answer: Done.
    DirectoriesOffline {
        /// Which broker.
        node_id: NodeId,
        /// Its registration.
        broker_epoch: BrokerEpoch,
        /// Which of its directories. Those that are offline already, or unknown, change nothing.
        directories: Vec<DirectoryId>,
    },
    /// A broker tells in which data directories replicas of its lie, where the metadata says
    /// something else. Answer: Done.
    AssignDirectories {
        /// Which broker.
        node_id: NodeId,
        /// Its registration.
        broker_epoch: BrokerEpoch,
        /// The replicas. Those of partitions that it holds no replica of change nothing.
        replicas: Vec<AssignedDirectory>,
    },
}

/// Changes of configurations, each resource by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterConfigs {
    /// Whose, and how.
    pub resources: Vec<(ConfigResource, ConfigChange)>,
    /// Only say what would happen.
    pub validate_only: bool,
}

/// How one resource's configuration is to change: all of it or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigChange {
    /// These keys change; the others stay.
    Incremental(Vec<(String, ConfigOperation)>),
    /// This is the whole configuration; what is not named is deleted.
    Replace(Vec<(String, String)>),
}

/// What happens to one key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum ConfigOperation {
    /// It has this value.
    Set(String),
    /// Its default holds again.
    Delete,
    /// These items, separated by commas, are added to the list, where they are not in it yet.
    Append(String),
    /// These items are taken out of the list.
    Subtract(String),
}

/// How the last run of a broker on one data directory ended (rule 15).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum PreviousRun {
    /// In good order, everything synced.
    Clean {
        /// The registration of that run.
        broker_epoch: BrokerEpoch,
    },
    /// The process died and the machine lived on: the same boot, so the page cache survived.
    ProcessDied {
        /// The registration of that run.
        broker_epoch: BrokerEpoch,
    },
    /// Something else: what was not synced may be lost.
    Unclean,
    /// The directory is new.
    Fresh,
}

/// One data directory of a broker that registers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RegisteredDirectory {
    /// Its identity.
    pub id: DirectoryId,
    /// How the last run on it ended.
    pub previous_run: PreviousRun,
}

/// A broker process that reports for duty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RegisterBroker {
    /// Its `node.id`.
    pub node_id: NodeId,
    /// The cluster that it believes to belong to; none if its directories are new.
    pub cluster_id: Option<String>,
    /// The process.
    pub incarnation: IncarnationId,
    /// Its advertised listeners.
    pub endpoints: Vec<Endpoint>,
    /// `broker.rack`.
    pub rack: Option<String>,
    /// Its data directories that are online.
    pub directories: Vec<RegisteredDirectory>,
    /// It has others that it cannot use now: the replicas in them wait for their return.
    pub has_offline_directories: bool,
    /// The features that it knows.
    pub features: Vec<FeatureRange>,
}

/// Why a broker is to be fenced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum FenceCause {
    /// No heartbeat for a session.
    SessionExpired,
    /// Its connection ended and its host refuses the next: the process is dead.
    ProcessDied,
}

/// What a leader wants the ISRs of its partitions to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterPartition {
    /// The leader.
    pub node_id: NodeId,
    /// Its registration.
    pub broker_epoch: BrokerEpoch,
    /// The partitions.
    pub partitions: Vec<AlterPartitionItem>,
}

/// What a leader wants the ISR of one partition to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlterPartitionItem {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition's index in it.
    pub partition: PartitionId,
    /// The leader's reign.
    pub leader_epoch: LeaderEpoch,
    /// The registration that the leader knows.
    pub partition_epoch: PartitionEpoch,
    /// The members wished for, the leader among them.
    pub new_isr: Vec<IsrMember>,
    /// Whether the leader has repaired an unclean election.
    pub recovery: LeaderRecoveryState,
}

/// A replica that a leader wants in the ISR.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct IsrMember {
    /// The replica's broker.
    pub node_id: NodeId,
    /// The registration that the leader saw fetching (KIP-903); [`BrokerEpoch::NONE`]: not checked.
    pub broker_epoch: BrokerEpoch,
}

/// A topic to be created.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; -1: `num.partitions`, or as many as are assigned.
    pub num_partitions: i32,
    /// How many replicas of each; -1: `default.replication.factor`, or as many as are assigned.
    pub replication_factor: i16,
    /// The replicas of each partition, where the client chose them; empty: the controller does.
    pub assignments: Vec<TopicAssignment>,
    /// Its configuration; a key without value is an error, as in Kafka.
    pub configs: Vec<(String, Option<String>)>,
}

/// The replicas of one partition, the preferred leader first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicAssignment {
    /// The partition.
    pub partition: PartitionId,
    /// Its replicas.
    pub replicas: Vec<NodeId>,
}

/// A topic by name or by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum TopicRef {
    /// By name.
    Name(String),
    /// By id.
    Id(TopicId),
}

/// Partitions to be added to a topic.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewPartitions {
    /// The topic.
    pub topic: String,
    /// How many partitions it shall have.
    pub count: i32,
    /// The replicas of each new partition, where the client chose them.
    pub assignments: Option<Vec<Vec<NodeId>>>,
}

/// A kind of election; the numbers on the wire are Kafka's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ElectionType {
    /// 0: the first replica, if it is in the ISR.
    Preferred,
    /// 1: any live replica, where there is no leader, even if acknowledged records are lost.
    Unclean,
}

/// Where a broker's replica of one partition lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct AssignedDirectory {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition's index in it.
    pub partition: PartitionId,
    /// The data directory.
    pub directory: DirectoryId,
}

/// Where one log ends.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogEnd {
    /// The topic.
    pub topic_id: TopicId,
    /// The partition's index in it.
    pub partition: PartitionId,
    /// The data directory that holds the log.
    pub directory: DirectoryId,
    /// The epoch of its last batch; [`LeaderEpoch::NONE`] if it is empty.
    pub last_epoch: LeaderEpoch,
    /// One past its last record.
    pub log_end: Offset,
}
