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
        retention_ms: limit_ms(config.retention_ms),
        retention_bytes: u64::try_from(config.retention_bytes).ok(),
        cleanup_delete: config.cleanup_delete,
        cleanup_compact: config.cleanup_compact,
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
    fn the_guarantee_against_power_loss_is_asked_for_by_flush_messages() {
        let config = TopicConfig { flush_messages: 1, retention_ms: -1, ..TopicConfig::default() };
        let settings = TopicSettings::new(&config, Duration::ZERO);
        assert!(settings.flush_before_ack);
        assert_eq!(settings.log.retention_ms, None);
    }
}
