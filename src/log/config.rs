//! What a topic's configuration says about one log, resolved by whoever made the log.

use std::time::Duration;

use crate::record::{Compression, TimestampType};

/// The settings of one log; the names are Kafka's topic configuration keys. The defaults are
/// Kafka's.
#[derive(Debug, Clone, PartialEq)]
pub struct LogConfig {
    /// `segment.bytes`: a segment that an append would make larger is sealed first.
    pub segment_bytes: u64,
    /// `segment.ms`: a segment whose first batch is older than this is sealed by the next append.
    pub segment_ms: Duration,
    /// `segment.jitter.ms`: each segment is sealed up to this much earlier, by chance.
    pub segment_jitter: Duration,
    /// `preallocate`: a new segment's file is allocated in full.
    pub preallocate: bool,
    /// `flush.messages`: at most this many records are appended before a sync; `None`: no limit.
    pub flush_messages: Option<u64>,
    /// `flush.ms`: no record stays unsynced for longer; `None`: the checkpoint's interval holds.
    pub flush_interval: Option<Duration>,
    /// `retention.ms`: sealed segments all of whose records are older go; `None` keeps them.
    pub retention_ms: Option<Duration>,
    /// `retention.bytes`: the oldest segments go while the rest is at least this; `None`: no limit.
    pub retention_bytes: Option<u64>,
    /// Whether `cleanup.policy` contains `delete`.
    pub cleanup_delete: bool,
    /// Whether `cleanup.policy` contains `compact`; records then need a key.
    pub cleanup_compact: bool,
    /// `min.cleanable.dirty.ratio`: a log is compacted once this share of it is uncompacted.
    pub min_cleanable_dirty_ratio: f64,
    /// `min.compaction.lag.ms`: younger records are not compacted.
    pub min_compaction_lag: Duration,
    /// `max.compaction.lag.ms`: no record stays uncompacted for longer; `None`: no limit.
    pub max_compaction_lag: Option<Duration>,
    /// `delete.retention.ms`: how long the marker of a deleted key outlives its compaction.
    pub delete_retention: Duration,
    /// `max.message.bytes`: the largest batch that a producer may send.
    pub max_message_bytes: usize,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`; `None`: no limit.
    pub timestamp_before_max: Option<Duration>,
    /// `message.timestamp.after.max.ms`; `None`: no limit.
    pub timestamp_after_max: Option<Duration>,
    /// `compression.type`; `None` is `producer`: batches stay as they came.
    pub compression: Option<Compression>,
    /// `compression.gzip.level`, `.lz4.level` or `.zstd.level`, whichever that codec has; `None`:
    /// the codec's default.
    pub compression_level: Option<i32>,
    /// `file.delete.delay.ms`: how long a removed segment's file stays, renamed.
    pub file_delete_delay: Duration,
    /// `producer.id.expiration.ms`: idle producers are forgotten after this.
    pub producer_id_expiration: Duration,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self {
            segment_bytes: 1 << 30,
            segment_ms: Duration::from_secs(7 * 24 * 3600),
            segment_jitter: Duration::ZERO,
            preallocate: false,
            flush_messages: None,
            flush_interval: None,
            retention_ms: Some(Duration::from_secs(7 * 24 * 3600)),
            retention_bytes: None,
            cleanup_delete: true,
            cleanup_compact: false,
            min_cleanable_dirty_ratio: 0.5,
            min_compaction_lag: Duration::ZERO,
            max_compaction_lag: None,
            delete_retention: Duration::from_secs(24 * 3600),
            max_message_bytes: 1_048_588,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max: None,
            timestamp_after_max: Some(Duration::from_secs(3600)),
            compression: None,
            compression_level: None,
            file_delete_delay: Duration::from_secs(60),
            producer_id_expiration: Duration::from_secs(24 * 3600),
        }
    }
}
