//! The replica moves to another data directory: a future log takes its log's place, while nobody
//! reads or writes.

use std::sync::Arc;

use super::{Partition, Role};
use crate::log::{Log, LogDirectory, PromoteError, StorageError};
use crate::storage::{Offload, OffloadError, offload};

/// Why the replica has not moved.
#[derive(Debug, thiserror::Error)]
pub(in crate::replication) enum SwitchError {
    /// The replica is offline, or no longer on this node.
    #[error("the replica is not served any more")]
    Gone,
    /// One of the disks is at fault; nothing has changed.
    #[error(transparent)]
    Storage(#[from] StorageError),
    /// The future log has not taken the log's place.
    #[error(transparent)]
    Promote(#[from] PromoteError),
    /// The job that should have done it ended without an answer.
    #[error(transparent)]
    Offload(#[from] OffloadError),
}

impl Partition {
    /// Puts `future`, which lies in `to` and has nearly everything, in the log's place. Gives the
    /// old log, which is closed to writes and to be removed.
    pub(in crate::replication) async fn switch_log(
        self: &Arc<Self>,
        to: &Arc<LogDirectory>,
        future: &Arc<Log>,
        offloading: &dyn Offload,
    ) -> Result<Arc<Log>, SwitchError> {
        let _changing = self.changing.lock().await;
        let (partition, to, future) = (Arc::clone(self), Arc::clone(to), Arc::clone(future));
        offload(offloading, move || partition.switch_blocking(&to, &future)).await?
    }

    fn switch_blocking(
        &self,
        to: &Arc<LogDirectory>,
        future: &Arc<Log>,
    ) -> Result<Arc<Log>, SwitchError> {
        let source = self.log();
        // The more is on the device before, the shorter everybody waits.
        future.flush_blocking()?;
        source.set_moving_to(Some(to.directory_id()))?;
        match self.put_in_place(to, future, &source) {
            Ok(()) => Ok(source),
            Err(SwitchError::Promote(halfway @ PromoteError::Halfway(_))) => {
                self.fail(&halfway.to_string());
                Err(halfway.into())
            }
            Err(error) => {
                source.set_moving_to(None)?;
                Err(error)
            }
        }
    }

    fn put_in_place(
        &self,
        to: &Arc<LogDirectory>,
        future: &Arc<Log>,
        source: &Log,
    ) -> Result<(), SwitchError> {
        let turn = to.checkpoint_turn();
        let standing = self.role.write();
        if matches!(standing.role, Role::Offline | Role::Closed) {
            return Err(SwitchError::Gone);
        }
        let log = to.promote_future(&turn, future, source)?;
        self.log.store(log);
        drop(standing);
        self.waiters.wake_all();
        Ok(())
    }
}
