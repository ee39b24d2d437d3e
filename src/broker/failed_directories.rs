//! Data directories that fail while the broker runs: the controller is told, so that leaders move
//! and ISRs go on without them (KIP-858), and the rest of the broker serves on. Without the
//! cluster's metadata, or without any directory, there is nothing to go on with.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use crate::broker::directories::Directories;
use crate::controller::machine::{Command, Reply};
use crate::controller::{Controller, RequestContext};
use crate::log::LogDirectory;
use crate::metadata::MetadataSource;
use crate::storage::{Offload, offload};
use crate::types::{BrokerEpoch, Clock, DirectoryId, NodeId, watch};

/// How long the controller may take, and how long until it is told again.
const PATIENCE: Duration = Duration::from_secs(2);

/// What watches the directories.
pub(crate) struct FailedDirectories {
    /// This broker.
    pub node_id: NodeId,
    /// Its directories.
    pub directories: Directories,
    /// Where the controller's answer is seen.
    pub metadata: Arc<dyn MetadataSource>,
    /// The way to the active controller.
    pub controller: Arc<Controller>,
    /// For deadlines.
    pub clock: Arc<dyn Clock>,
    /// Where blocking work runs.
    pub offload: Arc<dyn Offload>,
    /// Where a reason to stop goes.
    pub failure: watch::Sender<Option<String>>,
}

impl FailedDirectories {
    /// Watches for as long as the node lives.
    pub async fn run(self) {
        let all = self.directories.all();
        let mut failures: FuturesUnordered<_> = all.iter().map(failed).collect();
        let mut versions = self.metadata.subscribe();
        let mut next = failures.next().await;
        loop {
            if let Some(directory) = next.take() {
                note_failure(&directory, &*self.offload).await;
                if let Some(reason) = self.reason_to_stop() {
                    self.failure.send_replace(Some(reason));
                    return;
                }
            }
            versions.borrow_and_update();
            let is_told = self.tell().await;
            tokio::select! {
                biased;
                directory = failures.next(), if !failures.is_empty() => next = directory,
                changed = versions.changed() => if changed.is_err() { return },
                () = tokio::time::sleep(PATIENCE), if !is_told => {}
            }
        }
    }

    fn reason_to_stop(&self) -> Option<String> {
        let Directories { metadata, data, .. } = &self.directories;
        if metadata.is_offline() {
            let path = metadata.path().display();
            return Some(format!(
                "log directory {path} failed, which has the cluster's metadata; see the log above, \
                 mend it, start again"
            ));
        }
        data.iter().all(|directory| directory.is_offline()).then(|| {
            "every log directory has failed; see the log above, mend them, start again".to_owned()
        })
    }

    /// Tells the controller of what has failed and the metadata still lists; true if that is nothing.
    async fn tell(&self) -> bool {
        let Some((broker_epoch, directories)) = self.untold() else { return true };
        let node_id = self.node_id;
        let command = Command::DirectoriesOffline { node_id, broker_epoch, directories };
        let deadline = self.clock.monotonic().plus(PATIENCE);
        match self.controller.submit(command, RequestContext::internal(deadline)).await {
            Ok(Reply::Done) => tracing::info!("the controller knows of the failed directory"),
            other => tracing::warn!(?other, "the controller does not know of the failure yet"),
        }
        false
    }

    /// The directories that have failed and that the metadata still holds for online; under another
    /// registration than the present one they do not matter.
    fn untold(&self) -> Option<(BrokerEpoch, Vec<DirectoryId>)> {
        let image = self.metadata.image();
        let broker = image.broker(self.node_id)?;
        let failed = self.directories.data.iter().filter(|directory| directory.is_offline());
        let failed: Vec<DirectoryId> = failed
            .map(|directory| directory.directory_id())
            .filter(|directory| broker.has_directory(*directory))
            .collect();
        (!failed.is_empty()).then_some((broker.broker_epoch, failed))
    }
}

async fn failed(directory: &Arc<LogDirectory>) -> Arc<LogDirectory> {
    let mut offline = directory.watch_offline();
    if offline.wait_for(Option::is_some).await.is_err() {
        std::future::pending::<()>().await;
    }
    Arc::clone(directory)
}

/// Should it be there again at the next start, its logs are not to be taken for intact.
async fn note_failure(directory: &Arc<LogDirectory>, offloading: &dyn Offload) {
    let noting = Arc::clone(directory);
    match offload(offloading, move || noting.note_failure()).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "the failure cannot be noted on the disk"),
        Err(error) => tracing::warn!(%error, "the failure cannot be noted on the disk"),
    }
}
