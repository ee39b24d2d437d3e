//! What a coordinator sees of one reign of this node over a partition: how far it is committed,
//! and when that moves.

use std::sync::Arc;

use super::Partition;
use crate::replication::waiters::{Interest, Waiter};
use crate::types::{ErrorCode, LeaderEpoch, Offset};

impl Partition {
    /// The reign in which this node leads the partition, whether or not its session with the
    /// controller lasts; none if it does not lead.
    pub fn reign(&self) -> Option<LeaderEpoch> {
        let standing = self.role.read();
        standing.leading().ok().map(|_| standing.leader_epoch)
    }

    /// Up to where what was appended in the reign `leader_epoch` may be told: the high watermark,
    /// or what is synced where that is asked for (`flush.messages` is 1) and lies lower.
    ///
    /// # Errors
    /// NOT_LEADER_OR_FOLLOWER once the reign is over, KAFKA_STORAGE_ERROR if the log has failed.
    pub fn committed_in_reign(&self, leader_epoch: LeaderEpoch) -> Result<Offset, ErrorCode> {
        let standing = self.role.read();
        let state = standing.leading()?;
        if standing.leader_epoch != leader_epoch {
            return Err(ErrorCode::NotLeaderOrFollower);
        }
        let high_watermark = state.lock().high_watermark();
        match self.flushes_before_ack() {
            true => Ok(high_watermark.min(self.log().flushed_offset())),
            false => Ok(high_watermark),
        }
    }

    /// Tells of each movement of the high watermark and each change of role from now on.
    pub fn movements(self: &Arc<Self>) -> Movements {
        let waiter = Arc::new(Waiter::default());
        let key = self.waiters.enter(Interest::HighWatermark, &waiter, 0);
        Movements { partition: Arc::clone(self), waiter, key }
    }
}

/// See [`Partition::movements`].
pub struct Movements {
    partition: Arc<Partition>,
    waiter: Arc<Waiter>,
    key: u64,
}

impl Movements {
    /// Returns once something has moved since the last time. May be dropped at any time.
    pub async fn next(&self) {
        self.waiter.moved().await;
    }
}

impl std::fmt::Debug for Movements {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Movements").field("partition", &self.partition).finish()
    }
}

impl Drop for Movements {
    fn drop(&mut self) {
        self.partition.waiters.leave(self.key);
    }
}
