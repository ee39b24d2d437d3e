//! The `log.cleaner.*` keys.

use std::time::Duration;

use super::{ConfigError, Values, millis, small};

/// How compacted topics are compacted.
#[derive(Debug, Clone, PartialEq)]
pub struct CleanerConfig {
    /// `log.cleaner.enable`
    pub is_enabled: bool,
    /// `log.cleaner.threads`: how many logs are compacted at once.
    pub threads: usize,
    /// `log.cleaner.backoff.ms`
    pub backoff: Duration,
    /// `log.cleaner.dedupe.buffer.size`, of all threads together.
    pub dedupe_buffer_bytes: usize,
    /// `log.cleaner.io.buffer.load.factor`
    pub load_factor: f64,
    /// `log.cleaner.io.buffer.size`
    pub io_buffer_bytes: usize,
    /// `log.cleaner.io.max.bytes.per.second`, of all threads together, reading and writing.
    pub max_bytes_per_second: f64,
}

pub(super) fn read(values: &Values) -> Result<CleanerConfig, ConfigError> {
    Ok(CleanerConfig {
        is_enabled: values.is_true("log.cleaner.enable"),
        threads: small(values, "log.cleaner.threads")?,
        backoff: millis(values, "log.cleaner.backoff.ms")?,
        dedupe_buffer_bytes: small(values, "log.cleaner.dedupe.buffer.size")?,
        load_factor: fraction(values, "log.cleaner.io.buffer.load.factor")?,
        io_buffer_bytes: small(values, "log.cleaner.io.buffer.size")?,
        max_bytes_per_second: fraction(values, "log.cleaner.io.max.bytes.per.second")?,
    })
}

fn fraction(values: &Values, name: &str) -> Result<f64, ConfigError> {
    let value = values.required(name)?;
    value.parse().map_err(|_| values.wrong(&[name], format!("{name}={value}: not a number")))
}
