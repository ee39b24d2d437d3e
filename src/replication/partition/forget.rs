//! Dropping the oldest records: because somebody asks for it (KIP-107), or because they are old.

use std::sync::Arc;

use super::Partition;
use crate::log::{LogConfig, StorageError};
use crate::replication::waiters::Interest;
use crate::types::{ErrorCode, Offset, TimestampMs};

/// Stands for the high watermark where an offset is asked for.
const HIGH_WATERMARK: Offset = Offset(-1);

impl Partition {
    /// Moves the leader's log start to `offset` (-1: to the high watermark), durably, and gives
    /// the offset. The followers do the same once they have heard of it: then
    /// [`Partition::low_watermark`] is no longer below it.
    ///
    /// # Errors
    /// OFFSET_OUT_OF_RANGE beyond the high watermark, POLICY_VIOLATION where the topic is only
    /// compacted, NOT_LEADER_OR_FOLLOWER, KAFKA_STORAGE_ERROR.
    pub async fn delete_records(self: &Arc<Self>, offset: Offset) -> Result<Offset, ErrorCode> {
        // Whoever leads now shall lead until its log start has moved.
        let _changing = self.changing.lock().await;
        self.leading_epoch()?;
        if keeps_every_key(&self.log().config()) {
            return Err(ErrorCode::PolicyViolation);
        }
        let high_watermark = self.log().high_watermark();
        let offset = if offset == HIGH_WATERMARK { high_watermark } else { offset };
        if !(Offset::ZERO..=high_watermark).contains(&offset) {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        self.log().advance_log_start(offset).await.map_err(|error| {
            tracing::warn!(partition = %self.topic_partition, %error, "cannot move the log start");
            error.error_code()
        })?;
        self.log_start_moved();
        Ok(offset)
    }

    /// The lowest log start of all replicas that are up; unknown while one of them has not fetched
    /// in this reign.
    pub fn low_watermark(&self) -> Result<Offset, ErrorCode> {
        self.check_live()?;
        let log_start = self.log().log_start_offset();
        self.with_leader(|leader, around| leader.low_watermark(log_start, around.standings))
    }

    /// Drops the segments that retention lets go and gives their number. Each replica does so for
    /// itself; followers hear of it besides, as of every move of their leader's log start.
    pub async fn apply_retention(&self, now: TimestampMs) -> Result<usize, StorageError> {
        let removed = self.log().delete_old_segments(now).await?;
        if removed > 0 {
            self.log_start_moved();
        }
        Ok(removed)
    }

    fn log_start_moved(&self) {
        // Followers that wait for records hear of it at once.
        self.waiters.wake(Interest::LogEnd);
        self.waiters.wake(Interest::LowWatermark);
    }
}

/// Whether the last value of every key is promised to stay.
fn keeps_every_key(config: &LogConfig) -> bool {
    config.cleanup_compact && !config.cleanup_delete
}
