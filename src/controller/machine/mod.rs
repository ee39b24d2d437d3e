//! The controller's decisions. Pure: image, liveness, time and a seed in; records, notes and a
//! reply out. Nothing has changed until the records are committed and applied.
//!
//! - `command`, `reply`: what is asked of the controller and what it answers, as sent between nodes
//! - `situation`: all that a decision may look at
//! - `brokers`, `fencing`: registration; life, death and leave of a broker (rules 15 and 16)
//! - `alter_configs`: configurations change while the cluster runs
//! - `alter_partition`: a leader reports who is in sync (rule 13)
//! - `create_topics`, `topics`: topics come, go and grow; `replicas`: who holds them
//! - `directories`: data directories that fail, and where replicas lie in truth (KIP-858)
//! - `elect_leaders`: elections on request, and the return of preferred leaders
//! - `tick`: what is due as time passes; recovery of partitions that lost everybody
//! - `draft`: a decision in the making; `settings`: what elections depend on

mod alter_configs;
mod alter_partition;
mod brokers;
mod command;
mod create_topics;
mod directories;
mod draft;
mod elect_leaders;
mod fencing;
mod replicas;
mod reply;
mod settings;
mod situation;
#[cfg(test)]
mod tests;
mod tick;
mod topics;

use crate::controller::machine::draft::Draft;
use crate::metadata::MetadataRecord;
use crate::metadata::features;
use crate::types::{BrokerEpoch, ErrorCode, NodeId, ProducerId};

pub use alter_configs::altered_configs;
pub use brokers::awaits_log_end;
pub use command::{
    AlterConfigs, AlterPartition, AlterPartitionItem, AssignedDirectory, Command, ConfigChange,
    ConfigOperation, ElectionType, FenceCause, IsrMember, LogEnd, NewPartitions, NewTopic,
    PreviousRun, RegisterBroker, RegisteredDirectory, TopicAssignment, TopicRef,
};
pub use reply::{
    AlteredConfig, AlteredPartition, CreatedPartitions, CreatedTopic, DeletedTopic, ElectedLeader,
    Refusal, Reply, TopicSummary,
};
pub use situation::{Liveness, LogEnds, Note, Options, ReportedLogEnd, Situation};

/// What would follow from one command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// Facts to commit. Each group is valid by itself and holds at most
    /// [`MAX_PARTITION_CHANGES`] partition changes: a group must not be split over two entries,
    /// while groups of several decisions may share one.
    pub groups: Vec<Vec<MetadataRecord>>,
    /// Soft facts for [`Liveness::note`], to be taken once the records are committed.
    pub notes: Vec<Note>,
    /// The answer, to be given once the records are committed.
    pub reply: Reply,
}

/// How many partition changes one entry of the metadata log may hold.
pub const MAX_PARTITION_CHANGES: usize = 1_000;

/// How many producer ids a broker gets at once.
const PRODUCER_ID_BLOCK: i32 = 1_000;

/// Decides one command. Changes nothing: the shell commits the records, applies them, takes the
/// notes, and only then answers.
pub fn decide(situation: &Situation<'_>, command: Command) -> Decision {
    match command {
        Command::FormCluster { cluster_id } => form(situation, cluster_id),
        Command::RegisterBroker(request) => brokers::register(situation, request),
        Command::UnfenceBroker { node_id, broker_epoch } => {
            fencing::unfence(situation, node_id, broker_epoch)
        }
        Command::FenceBroker { node_id, broker_epoch, cause } => {
            fencing::fence(situation, node_id, broker_epoch, cause)
        }
        Command::BeginControlledShutdown { node_id, broker_epoch } => {
            fencing::begin_shutdown(situation, node_id, broker_epoch)
        }
        Command::CompleteControlledShutdown { node_id, broker_epoch } => {
            fencing::complete_shutdown(situation, node_id, broker_epoch)
        }
        Command::UnregisterBroker { node_id } => brokers::unregister(situation, node_id),
        Command::AlterPartition(request) => alter_partition::alter(situation, request),
        Command::CreateTopics { topics, validate_only } => {
            create_topics::create(situation, topics, validate_only)
        }
        Command::DeleteTopics { topics } => topics::delete(situation, topics),
        Command::CreatePartitions { topics, validate_only } => {
            topics::grow(situation, topics, validate_only)
        }
        Command::ElectLeaders { election, partitions } => {
            elect_leaders::elect(situation, election, partitions)
        }
        Command::AllocateProducerIds { node_id, broker_epoch } => {
            allocate_producer_ids(situation, node_id, broker_epoch)
        }
        Command::ReportLogEnds { node_id, broker_epoch, logs } => {
            tick::report(situation, node_id, broker_epoch, logs)
        }
        Command::DirectoriesOffline { node_id, broker_epoch, directories } => {
            directories::offline(situation, node_id, broker_epoch, &directories)
        }
        Command::AssignDirectories { node_id, broker_epoch, replicas } => {
            directories::assign(situation, node_id, broker_epoch, &replicas)
        }
        Command::Tick => tick::tick(situation),
        Command::AlterConfigs(request) => alter_configs::alter(situation, request),
    }
}

fn form(situation: &Situation<'_>, cluster_id: String) -> Decision {
    let mut draft = Draft::default();
    match situation.image.cluster_id.as_deref() {
        Some(known) if known != cluster_id => {
            let message = format!("The cluster was formed as {known}, not as {cluster_id}");
            return draft.reply(Reply::refused(ErrorCode::InconsistentClusterId, message));
        }
        Some(_) => {}
        None => {
            draft.push(MetadataRecord::ClusterFormed { cluster_id });
            for (name, level) in features::initial() {
                draft.push(MetadataRecord::Feature { name, level });
            }
        }
    }
    draft.reply(Reply::Done)
}

fn allocate_producer_ids(
    situation: &Situation<'_>,
    node_id: NodeId,
    broker_epoch: BrokerEpoch,
) -> Decision {
    let mut draft = Draft::default();
    if let Err(refusal) = fencing::current(situation, node_id, broker_epoch) {
        return draft.reply(refusal);
    }
    let first = situation.image.next_producer_id;
    let Some(next) = first.0.checked_add(i64::from(PRODUCER_ID_BLOCK)) else {
        let message = "All producer ids were given out";
        return draft.reply(Reply::refused(ErrorCode::UnknownServerError, message));
    };
    let next_producer_id = ProducerId(next);
    draft.push(MetadataRecord::ProducerIds { node_id, broker_epoch, next_producer_id });
    draft.reply(Reply::ProducerIds { first, count: PRODUCER_ID_BLOCK })
}
