//! What the replicas need from the broker around them: their topics' configuration, whether the
//! broker is live, and a way to the controller.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::broker::config::LiveConfig;
use crate::controller::lifecycle::BrokerLifecycle;
use crate::controller::machine::{
    AlterPartition, AlterPartitionItem, AssignedDirectory, Command, IsrMember, Reply,
};
use crate::controller::{Controller, RequestContext};
use crate::metadata::topic_config::TopicConfig;
use crate::metadata::{Image, LeaderRecoveryState, Topic};
use crate::replication::leader::IsrConfirmed;
use crate::replication::{AlterIsr, IsrChange, PlacedReplica, Surrounds, TopicSettings};
use crate::types::{Clock, ErrorCode, NodeId};

/// How long one proposal of an ISR may be under way before it is put again.
const ALTER_ISR_PATIENCE: Duration = Duration::from_secs(5);

/// How long an idle producer is remembered (`producer.id.expiration.ms`, with Kafka's default).
const PRODUCER_EXPIRATION: Duration = Duration::from_secs(24 * 3600);

/// The broker as its replicas see it.
pub(crate) struct Surroundings {
    /// What this broker's configuration sets for topics, `min.insync.replicas` and its like.
    pub live: LiveConfig,
    /// Whether the controller still counts on this broker.
    pub lifecycle: Arc<BrokerLifecycle>,
}

impl Surrounds for Surroundings {
    fn settings(&self, image: &Image, topic: &Topic) -> TopicSettings {
        let config = TopicConfig::resolve(&topic.configs, &self.live.at(image).topic_defaults);
        TopicSettings::new(&config, PRODUCER_EXPIRATION)
    }

    fn is_live(&self) -> bool {
        self.lifecycle.is_live()
    }
}

/// Puts ISR changes to the active controller.
pub(crate) struct IsrLink {
    /// This broker.
    pub node_id: NodeId,
    /// The way.
    pub controller: Arc<Controller>,
    /// The registration in whose name it speaks.
    pub lifecycle: Arc<BrokerLifecycle>,
    /// For the deadline.
    pub clock: Arc<dyn Clock>,
}

impl AlterIsr for IsrLink {
    fn alter_partition(
        &self,
        change: IsrChange,
    ) -> BoxFuture<'static, Result<IsrConfirmed, ErrorCode>> {
        let Some(broker_epoch) = self.lifecycle.broker_epoch() else {
            return std::future::ready(Err(ErrorCode::StaleBrokerEpoch)).boxed();
        };
        let members = change.isr.iter();
        let members =
            members.map(|it| IsrMember { node_id: it.node, broker_epoch: it.broker_epoch });
        let item = AlterPartitionItem {
            topic_id: change.topic_id,
            partition: change.partition,
            leader_epoch: change.leader_epoch,
            partition_epoch: change.partition_epoch,
            new_isr: members.collect(),
            recovery: LeaderRecoveryState::Recovered,
        };
        let command = Command::AlterPartition(AlterPartition {
            node_id: self.node_id,
            broker_epoch,
            partitions: vec![item],
        });
        let deadline = self.clock.monotonic().plus(ALTER_ISR_PATIENCE);
        let controller = Arc::clone(&self.controller);
        async move {
            match controller.submit(command, RequestContext::internal(deadline)).await? {
                Reply::AlteredPartitions(results) => match results.into_iter().next() {
                    Some(answer) if answer.error.is_none() => Ok(IsrConfirmed {
                        leader_epoch: answer.leader_epoch,
                        partition_epoch: answer.partition_epoch,
                        isr: answer.isr,
                        elr: answer.elr,
                    }),
                    Some(answer) => Err(answer.error),
                    None => Err(ErrorCode::UnknownServerError),
                },
                Reply::Refused(refusal) => Err(refusal.code),
                other => {
                    tracing::error!(?other, "not an answer to a change of the ISR");
                    Err(ErrorCode::UnknownServerError)
                }
            }
        }
        .boxed()
    }

    fn assign_directories(
        &self,
        replicas: Vec<PlacedReplica>,
    ) -> BoxFuture<'static, Result<(), ErrorCode>> {
        let Some(broker_epoch) = self.lifecycle.broker_epoch() else {
            return std::future::ready(Err(ErrorCode::StaleBrokerEpoch)).boxed();
        };
        let assigned = |it: PlacedReplica| AssignedDirectory {
            topic_id: it.topic_id,
            partition: it.partition,
            directory: it.directory,
        };
        let command = Command::AssignDirectories {
            node_id: self.node_id,
            broker_epoch,
            replicas: replicas.into_iter().map(assigned).collect(),
        };
        let deadline = self.clock.monotonic().plus(ALTER_ISR_PATIENCE);
        let controller = Arc::clone(&self.controller);
        async move {
            match controller.submit(command, RequestContext::internal(deadline)).await? {
                Reply::Refused(refusal) => Err(refusal.code),
                _ => Ok(()),
            }
        }
        .boxed()
    }
}
