//! `--unsafe-recover`: reads what a stopped controller's disk tells, and makes that controller the
//! only voter. The store is the node's own, so that it refuses whatever the node would refuse.

use std::fmt;
use std::sync::Arc;

use openraft::StorageHelper;
use openraft::storage::{RaftLogStorage, RaftStateMachine};

use crate::controller::raft::log_store::{LogStore, LogStoreError};
use crate::controller::raft::types::{LogId, MemberNode, StorageError};
use crate::controller::raft::unsafe_recovery::{Known, LostVoter, Plan, PlanError, plan};
use crate::controller::start::{Environment, METADATA_TOPIC, StartError, open_store};
use crate::log::LogDirectory;
use crate::types::{Offset, TopicPartition};

/// Why a node cannot be recovered.
#[derive(Debug, thiserror::Error)]
pub enum RecoveryError {
    /// There is no metadata log.
    #[error("there is no metadata log: this node has never been a member of a quorum")]
    NoLog,
    /// The store is damaged, as it would be for the node.
    #[error(transparent)]
    Store(#[from] StartError),
    /// The store's content cannot be read.
    #[error("the metadata log cannot be read: {0}")]
    Read(String),
    /// There is nothing to recover.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The store cannot be written.
    #[error("the recovery cannot be written: {0}")]
    Write(#[from] LogStoreError),
}

/// A stopped controller with what its disk tells, and what would make it the only voter.
pub struct Survivor {
    store: LogStore,
    last: LogId,
    plan: Plan,
}

impl fmt::Debug for Survivor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Survivor")
            .field("last", &self.last)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

impl Survivor {
    /// Opens the store of the node whose metadata is in `directory` and which is reached as
    /// `itself` says. Nothing is decided on yet.
    ///
    /// # Errors
    /// The store is damaged, or there is nothing to recover.
    pub async fn open(
        directory: &Arc<LogDirectory>,
        itself: &MemberNode,
        environment: &Environment,
    ) -> Result<Survivor, RecoveryError> {
        let name = TopicPartition::new(METADATA_TOPIC, 0);
        let log = directory.log(&name).ok_or(RecoveryError::NoLog)?;
        let (mut store, mut state_machine) = open_store(log, environment).await?;
        let read = |error: StorageError| RecoveryError::Read(error.to_string());
        let (_, in_snapshot) = state_machine.applied_state().await.map_err(read)?;
        let in_log = StorageHelper::new(&mut store, &mut state_machine)
            .last_membership_in_log(0)
            .await
            .map_err(read)?;
        let memberships = [in_snapshot].into_iter().chain(in_log).collect();
        let last = store.get_log_state().await.map_err(read)?.last_log_id;
        let vote = store.read_vote().await.map_err(read)?;
        let known = Known { vote, last, memberships };
        let plan = plan(&known, directory.directory_id(), itself)?;
        let last = last.ok_or(PlanError::NoMember)?;
        Ok(Survivor { store, last, plan })
    }

    /// The index of the last entry that this node has.
    pub fn last_offset(&self) -> Offset {
        Offset(i64::try_from(self.last.index).unwrap_or(i64::MAX))
    }

    /// The term of that entry.
    pub fn last_term(&self) -> u64 {
        self.last.leader_id.term
    }

    /// The term that begins with the recovery.
    pub fn new_term(&self) -> u64 {
        self.plan.term()
    }

    /// The voters that are given up with the recovery, by node id.
    pub fn lost_voters(&self) -> &[LostVoter] {
        &self.plan.lost
    }

    /// Makes the node the only voter, durably.
    ///
    /// # Errors
    /// Writing failed. The node is then as before, but for its term, or recovered.
    pub async fn recover(self) -> Result<(), RecoveryError> {
        Ok(self.store.force(self.plan.vote, self.plan.entry).await?)
    }
}

#[cfg(test)]
mod tests;
