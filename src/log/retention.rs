//! What a log forgets by itself: old segments, and producers that fell silent.

use std::sync::Arc;
use std::time::Duration;

use crate::log::config::LogConfig;
use crate::log::error::{AppendError, StorageError};
use crate::log::partition_log::Log;
use crate::log::segment::Segment;
use crate::storage::offload;
use crate::types::TimestampMs;

impl Log {
    /// Removes the segments that retention by time, by bytes or by log start lets go, never beyond
    /// the high watermark, and forgets silent producers. Gives the number of segments removed.
    pub async fn delete_old_segments(
        self: &Arc<Self>,
        now: TimestampMs,
    ) -> Result<usize, StorageError> {
        let log = Arc::clone(self);
        offload(&*self.shared.offload, move || log.delete_old_segments_blocking(now)).await?
    }

    /// As [`Log::delete_old_segments`], on the caller's thread.
    pub fn delete_old_segments_blocking(&self, now: TimestampMs) -> Result<usize, StorageError> {
        let mut writer = self.writer.lock();
        self.check_writable()?;
        let config = self.config();
        writer.producers.expire(now, config.producer_id_expiration);
        let segments = self.segments.load_full();
        let deletable = self.count_deletable(&segments, &config, now);
        if deletable == 0 {
            return Ok(0);
        }
        if deletable == segments.len() {
            self.roll(&mut writer, self.log_end_offset()).map_err(|error| match error {
                AppendError::Storage(storage) => storage,
                other => StorageError::Poisoned(other.to_string()),
            })?;
        }
        let log_start = segments[deletable - 1].next_offset();
        tracing::info!(log = %self.topic_partition, segments = deletable, %log_start, "retention");
        self.move_log_start(&mut writer, log_start.max(self.log_start_offset()))?;
        Ok(deletable)
    }

    /// How many of the oldest segments may go. The active one only with records in it.
    fn count_deletable(
        &self,
        segments: &[Arc<Segment>],
        config: &LogConfig,
        now: TimestampMs,
    ) -> usize {
        let high_watermark = self.high_watermark();
        let log_start = self.log_start_offset();
        let mut excess = config
            .retention_bytes
            .filter(|_| config.cleanup_delete)
            .map_or(0, |limit| self.size_bytes().saturating_sub(limit));
        let too_old = |segment: &Segment, is_active: bool| {
            let limit = config.retention_ms.filter(|_| config.cleanup_delete);
            let newest = if is_active { segment.max_timestamp() } else { segment.newest() };
            limit.is_some_and(|limit| is_older(newest, limit, now))
        };
        let mut deletable = 0;
        for (index, segment) in segments.iter().enumerate() {
            let is_active = index + 1 == segments.len();
            let below_start = !is_active && segment.next_offset() <= log_start;
            let size_bytes = segment.size_bytes();
            let by_size = excess >= size_bytes && excess > 0;
            let committed = segment.next_offset() <= high_watermark;
            let goes = below_start || (size_bytes > 0 && (by_size || too_old(segment, is_active)));
            if !goes || !committed {
                break;
            }
            excess = excess.saturating_sub(size_bytes);
            deletable += 1;
        }
        deletable
    }
}

fn is_older(timestamp: TimestampMs, limit: Duration, now: TimestampMs) -> bool {
    let age_ms = now.0.saturating_sub(timestamp.0);
    timestamp >= TimestampMs(0) && u128::try_from(age_ms).is_ok_and(|age| age > limit.as_millis())
}
