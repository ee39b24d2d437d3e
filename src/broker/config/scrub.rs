//! The keys of the scrubber.

use std::time::Duration;

use super::{ConfigError, Values, millis};

/// How segments are verified in the background.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ScrubConfig {
    /// `ottla.scrub.enable`
    pub is_enabled: bool,
    /// `ottla.scrub.bytes.per.second`; 0: paused.
    pub bytes_per_second: u64,
    /// `ottla.scrub.interval.ms`: from the beginning of one pass to that of the next.
    pub interval: Duration,
}

impl ScrubConfig {
    /// How fast segments may be read now; none: not at all.
    pub fn rate(&self) -> Option<u64> {
        (self.is_enabled && self.bytes_per_second > 0).then_some(self.bytes_per_second)
    }
}

pub(super) fn read(values: &Values) -> Result<ScrubConfig, ConfigError> {
    Ok(ScrubConfig {
        is_enabled: values.is_true("ottla.scrub.enable"),
        bytes_per_second: values.number("ottla.scrub.bytes.per.second")?.max(0).unsigned_abs(),
        interval: millis(values, "ottla.scrub.interval.ms")?,
    })
}
