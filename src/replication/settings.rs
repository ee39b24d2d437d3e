//! A topic's configuration, as far as its replicas need it.

use std::time::Duration;

use crate::log::LogConfig;
use crate::metadata::topic_config::{CompressionType, TimestampType, TopicConfig};
use crate::record;

/// A topic's configuration, as far as its replicas need it.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicSettings {
    /// What its logs need.
    pub log: LogConfig,
    /// `min.insync.replicas`.
    pub min_isr: usize,
    /// `flush.messages` is 1: nothing is acknowledged, here or to a leader, before it is synced.
    pub flush_before_ack: bool,
}

impl TopicSettings {
    /// From a resolved configuration and the broker's `producer.id.expiration.ms`.
    pub fn new(config: &TopicConfig, producer_id_expiration: Duration) -> Self {
        Self {
            log: log_config(config, producer_id_expiration),
            min_isr: usize::try_from(config.min_insync_replicas).unwrap_or(1),
            flush_before_ack: config.flush_messages == 1,
        }
    }
}

fn log_config(config: &TopicConfig, producer_id_expiration: Duration) -> LogConfig {
    LogConfig {
        segment_bytes: u64::try_from(config.segment_bytes).unwrap_or(u64::MAX),
        segment_ms: limit_ms(config.segment_ms).unwrap_or(Duration::MAX),
        segment_jitter: limit_ms(config.segment_jitter_ms).unwrap_or_default(),
        preallocate: config.preallocate,
        flush_messages: u64::try_from(config.flush_messages)
            .ok()
            .filter(|messages| *messages < i64::MAX as u64),
        flush_interval: limit_ms(config.flush_ms),
        retention_ms: limit_ms(config.retention_ms),
        retention_bytes: u64::try_from(config.retention_bytes).ok(),
        cleanup_delete: config.cleanup_delete,
        cleanup_compact: config.cleanup_compact,
        min_cleanable_dirty_ratio: config.min_cleanable_dirty_ratio,
        min_compaction_lag: limit_ms(config.min_compaction_lag_ms).unwrap_or(Duration::MAX),
        max_compaction_lag: limit_ms(config.max_compaction_lag_ms),
        delete_retention: limit_ms(config.delete_retention_ms).unwrap_or(Duration::MAX),
        max_message_bytes: usize::try_from(config.max_message_bytes).unwrap_or(usize::MAX),
        timestamp_type: match config.message_timestamp_type {
            TimestampType::CreateTime => record::TimestampType::CreateTime,
            TimestampType::LogAppendTime => record::TimestampType::LogAppendTime,
        },
        timestamp_before_max: limit_ms(config.message_timestamp_before_max_ms),
        timestamp_after_max: limit_ms(config.message_timestamp_after_max_ms),
        compression: match config.compression_type {
            CompressionType::Producer => None,
            CompressionType::Uncompressed => Some(record::Compression::None),
            CompressionType::Gzip => Some(record::Compression::Gzip),
            CompressionType::Snappy => Some(record::Compression::Snappy),
            CompressionType::Lz4 => Some(record::Compression::Lz4),
            CompressionType::Zstd => Some(record::Compression::Zstd),
        },
        compression_level: match config.compression_type {
            CompressionType::Gzip => Some(config.compression_gzip_level),
            CompressionType::Lz4 => Some(config.compression_lz4_level),
            CompressionType::Zstd => Some(config.compression_zstd_level),
            CompressionType::Producer | CompressionType::Uncompressed | CompressionType::Snappy => {
                None
            }
        },
        file_delete_delay: limit_ms(config.file_delete_delay_ms).unwrap_or_default(),
        producer_id_expiration,
    }
}

/// -1 and the largest number both mean that there is no limit.
fn limit_ms(milliseconds: i64) -> Option<Duration> {
    let milliseconds = u64::try_from(milliseconds).ok()?;
    (milliseconds != i64::MAX as u64).then(|| Duration::from_millis(milliseconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kafkas_defaults_are_the_logs_defaults() {
        let day = Duration::from_secs(24 * 3600);
        let settings = TopicSettings::new(&TopicConfig::default(), day);
        let expected =
            TopicSettings { log: LogConfig::default(), min_isr: 1, flush_before_ack: false };
        assert_eq!(settings, expected);
    }

    #[test]
    fn the_level_is_that_of_the_codec() {
        for (codec, level) in [
            (CompressionType::Producer, None),
            (CompressionType::Uncompressed, None),
            (CompressionType::Gzip, Some(1)),
            (CompressionType::Snappy, None),
            (CompressionType::Lz4, Some(12)),
            (CompressionType::Zstd, Some(-7)),
        ] {
            let config = TopicConfig {
                compression_type: codec,
                compression_gzip_level: 1,
                compression_lz4_level: 12,
                compression_zstd_level: -7,
                ..TopicConfig::default()
            };
            let settings = TopicSettings::new(&config, Duration::ZERO);
            assert_eq!(settings.log.compression_level, level, "{codec:?}");
        }
    }

    #[test]
    fn the_guarantee_against_power_loss_is_asked_for_by_flush_messages() {
        let config = TopicConfig { flush_messages: 1, retention_ms: -1, ..TopicConfig::default() };
        let settings = TopicSettings::new(&config, Duration::ZERO);
        assert!(settings.flush_before_ack);
        assert_eq!(settings.log.retention_ms, None);
    }
}
