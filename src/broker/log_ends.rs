//! Tells the controller where this broker's logs of lost partitions end: those with neither ISR nor
//! ELR, whose next leader is the replica with the most (DESIGN: wait for every member of the last
//! of both).

use std::sync::Arc;
use std::time::Duration;

use crate::controller::lifecycle::BrokerLifecycle;
use crate::controller::machine::{Command, LogEnd, Reply, awaits_log_end};
use crate::controller::{Controller, RequestContext};
use crate::log::LogDirectory;
use crate::metadata::{Image, MetadataSource};
use crate::types::{BrokerEpoch, Clock, LeaderEpoch, NodeId, TopicPartition};

/// How long the controller may take, and how long until it is tried again.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the reports are made from.
pub(crate) struct LogEndReports {
    /// This broker.
    pub node_id: NodeId,
    /// Its directories.
    pub directories: Vec<Arc<LogDirectory>>,
    /// Where lost partitions are seen.
    pub metadata: Arc<dyn MetadataSource>,
    /// The way to the active controller.
    pub controller: Arc<Controller>,
    /// The registration in whose name the reports are made.
    pub lifecycle: Arc<BrokerLifecycle>,
    /// For deadlines.
    pub clock: Arc<dyn Clock>,
}

impl LogEndReports {
    /// Reports whenever a partition of this broker is lost, again after a failure or under a new
    /// controller, until it is found.
    pub async fn run(self) {
        let mut versions = self.metadata.subscribe();
        loop {
            versions.borrow_and_update();
            let logs = self.awaited(&self.metadata.image());
            if logs.is_empty() {
                if versions.changed().await.is_err() {
                    return;
                }
                continue;
            }
            if let Some(broker_epoch) = self.lifecycle.broker_epoch() {
                self.report(broker_epoch, logs).await;
            }
            // The controller's memory of reports is lost with it, so they are repeated while a
            // partition stays lost.
            let _ = tokio::time::timeout(PATIENCE, versions.changed()).await;
        }
    }

    fn awaited(&self, image: &Image) -> Vec<LogEnd> {
        let ends = awaits_log_end(image, self.node_id).filter_map(|(topic, index, _)| {
            let place = TopicPartition { topic: topic.name.clone(), partition: index };
            let mut online = self.directories.iter().filter(|directory| !directory.is_offline());
            let hosting = online.find_map(|directory| {
                let log = directory.log(&place).filter(|log| log.topic_id() == topic.id)?;
                Some((directory.directory_id(), log))
            });
            let (directory, log) = hosting?;
            Some(LogEnd {
                topic_id: topic.id,
                partition: index,
                directory,
                last_epoch: log.latest_epoch().unwrap_or(LeaderEpoch::NONE),
                log_end: log.log_end_offset(),
            })
        });
        ends.collect()
    }

    async fn report(&self, broker_epoch: BrokerEpoch, logs: Vec<LogEnd>) {
        let command = Command::ReportLogEnds { node_id: self.node_id, broker_epoch, logs };
        let deadline = self.clock.monotonic().plus(PATIENCE);
        match self.controller.submit(command, RequestContext::internal(deadline)).await {
            Ok(Reply::Done) => {}
            other => {
                tracing::debug!(?other, "the log ends of lost partitions are not reported yet")
            }
        }
    }
}
