//! `ottla metadata-quorum --unsafe-recover` on a stopped node: finds its metadata directory, locks
//! it, and has the controller's own store do the rest.

use std::sync::Arc;

use crate::broker::config::BrokerConfig;
use crate::broker::directories::open_one;
use crate::broker::seams::Seams;
use crate::broker::start_error::StartError;
use crate::controller::unsafe_recovery::{RecoveryError, Survivor};
use crate::controller::{Environment, METADATA_TOPIC, MemberNode};
use crate::log::LogDirectory;

/// Why a node cannot be recovered.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The node is no controller.
    #[error(
        "process.roles has no controller: only a voter of the metadata quorum can be recovered"
    )]
    NoController,
    /// The metadata directory cannot be opened; a running node holds it locked.
    #[error(transparent)]
    Directory(#[from] StartError),
    /// The controller's store says no.
    #[error(transparent)]
    Recovery(#[from] RecoveryError),
    /// The metadata directory cannot be closed.
    #[error("the metadata directory cannot be closed: {0}")]
    Close(#[from] crate::log::StorageError),
}

/// A stopped node's metadata directory, open and locked.
pub struct StoppedNode {
    directory: Arc<LogDirectory>,
    itself: MemberNode,
    environment: Environment,
}

impl StoppedNode {
    /// Opens the metadata directory as the node itself would, but makes none.
    ///
    /// # Errors
    /// The node runs, is no controller, or has no metadata.
    pub async fn open(config: &BrokerConfig, seams: &Seams) -> Result<StoppedNode, Error> {
        let listed = config.voters.iter().find(|voter| voter.node_id == config.node_id);
        let Some(voter) = listed.filter(|_| config.is_controller) else {
            return Err(Error::NoController);
        };
        let path = &config.metadata_log_dir;
        if !seams.disk.exists(&path.join(format!("{METADATA_TOPIC}-0"))) {
            return Err(RecoveryError::NoLog.into());
        }
        let directory = open_one(config, path, seams).await?;
        let itself = MemberNode {
            node_id: voter.node_id,
            host: voter.address.host.clone(),
            port: voter.address.port,
        };
        let environment = Environment {
            network: Arc::clone(&seams.network),
            clock: Arc::clone(&seams.clock),
            random: Arc::clone(&seams.random),
            offload: Arc::clone(&seams.quorum_offload),
            disk: Arc::clone(&seams.disk),
        };
        Ok(StoppedNode { directory, itself, environment })
    }

    /// The metadata directory.
    pub fn directory(&self) -> &LogDirectory {
        &self.directory
    }

    /// What its metadata log tells.
    ///
    /// # Errors
    /// The log is damaged, or there is nothing to recover.
    pub async fn survivor(&self) -> Result<Survivor, Error> {
        Ok(Survivor::open(&self.directory, &self.itself, &self.environment).await?)
    }

    /// Closes the directory in order. How the node's last run ended stays known: its next one is as
    /// good a replica as before.
    ///
    /// # Errors
    /// Writing failed.
    pub async fn close(self) -> Result<(), Error> {
        Ok(self.directory.close().await?)
    }
}
