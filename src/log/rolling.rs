//! When a segment is sealed and another is begun: by size, by age, or when its offsets no longer fit
//! the format's relative ones. It happens on an append; retention rolls a segment that is all old.

use std::sync::Arc;
use std::time::Duration;

use crate::log::append::Extent;
use crate::log::config::LogConfig;
use crate::log::error::AppendError;
use crate::log::partition_log::{Log, Writer};
use crate::log::segment::Segment;
use crate::types::random::mix;
use crate::types::{Offset, TimestampMs};

/// How far the active segment is filled, with what is about to be written to it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Filled {
    base_offset: Offset,
    size_bytes: u64,
    first_timestamp: Option<TimestampMs>,
}

impl Filled {
    pub(crate) fn of(active: &Segment) -> Self {
        Self {
            base_offset: active.base_offset(),
            size_bytes: active.size_bytes(),
            first_timestamp: active.first_timestamp(),
        }
    }

    /// Something more will be written behind.
    pub(crate) fn add(&mut self, extent: &Extent) {
        if self.size_bytes == 0 {
            let timestamp = extent.max_timestamp;
            self.first_timestamp = (timestamp.0 >= 0).then_some(timestamp);
        }
        self.size_bytes += extent.size_bytes;
    }
}

impl Log {
    /// Whether batches of this extent go into a new segment.
    pub(crate) fn must_roll(
        &self,
        writer: &Writer,
        filled: &Filled,
        config: &LogConfig,
        extent: &Extent,
    ) -> bool {
        let Filled { base_offset, size_bytes, first_timestamp } = *filled;
        if size_bytes == 0 {
            return false;
        }
        // By the records' own time, so that every replica rolls alike; by the clock where the
        // segment's first batch bears none.
        let age_ms = match first_timestamp {
            Some(first) => extent.max_timestamp.0.saturating_sub(first.0),
            None => self.shared.clock.wall().0.saturating_sub(writer.active_since.0),
        };
        let limit = config.segment_ms.saturating_sub(self.jitter(config, base_offset));
        size_bytes + extent.size_bytes > config.segment_bytes
            || extent.last_offset.since(base_offset) > i64::from(i32::MAX)
            || u128::try_from(age_ms).is_ok_and(|age_ms| age_ms > limit.as_millis())
    }

    /// How much earlier than after `segment.ms` a segment is sealed: drawn for each segment by its
    /// name, so that those of many logs do not end together, and the same after a restart.
    fn jitter(&self, config: &LogConfig, base_offset: Offset) -> Duration {
        let bound = config.segment_jitter.min(config.segment_ms).as_millis();
        let bound = u64::try_from(bound).unwrap_or(u64::MAX);
        if bound == 0 {
            return Duration::ZERO;
        }
        let seed = crc32c::crc32c(self.topic_id.0.as_bytes());
        let partition = u64::from(self.topic_partition.partition.0.unsigned_abs());
        let number = base_offset.0.unsigned_abs() ^ (u64::from(seed) << 32) ^ (partition << 16);
        Duration::from_millis(mix(number) % bound)
    }

    /// Seals the active segment and begins another at `base_offset`.
    pub(crate) fn roll(
        &self,
        writer: &mut Writer,
        base_offset: Offset,
    ) -> Result<Arc<Segment>, AppendError> {
        let config = self.config.load();
        let fresh = Segment::open(&*self.shared.disk, &self.path, base_offset)
            .map_err(|error| self.poison_unless_full(error))?;
        fresh.cut_file_unsynced().map_err(|error| self.poison_unless_full(error))?;
        if config.preallocate {
            fresh.allocate(config.segment_bytes);
        }
        let fresh = Arc::new(fresh);
        let now = self.shared.clock.wall();
        let sealed = self.active();
        sealed.seal();
        sealed.note_idle_since(now);
        sealed.give_back_room(config.preallocate);
        let mut segments = Vec::clone(&self.segments.load());
        segments.push(Arc::clone(&fresh));
        self.segments.store(Arc::new(segments));
        writer.directory_dirty = true;
        writer.active_since = now;
        Ok(fresh)
    }
}
