//! What verifications of logs have in common: reading a segment at a pace, and having what is damaged
//! mended.

use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;

use crate::log::{Finding, Log, SegmentCheck};
use crate::replication::{Replicas, SegmentMend};
use crate::storage::{Offload, offload};
use crate::types::Offset;

/// What is read at once at least and at most, however slow or fast.
const SLICE_MIN_BYTES: u64 = 64 << 10;
const SLICE_MAX_BYTES: u64 = 4 << 20;

/// Mends what is known to be damaged.
pub(crate) trait Mender: Send + Sync + 'static {
    /// Mends the damaged segments of a log, and says what became of each.
    fn mend(&self, log: Arc<Log>) -> BoxFuture<'_, Vec<SegmentMend>>;
}

impl Mender for Replicas {
    fn mend(&self, log: Arc<Log>) -> BoxFuture<'_, Vec<SegmentMend>> {
        async move {
            match self.partition(log.topic_partition()) {
                Ok(partition) if Arc::ptr_eq(&partition.log(), &log) => {
                    Replicas::mend(self, &partition).await
                }
                // No replica of a partition: there is nobody to mend it from.
                Ok(_) | Err(_) => Vec::new(),
            }
        }
        .boxed()
    }
}

/// How fast segments may be read, in bytes per second.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pace(pub Option<u64>);

impl Pace {
    /// How much is read at once: what a quarter of a second may take.
    fn slice_bytes(self) -> u64 {
        let quarter = self.0.map_or(SLICE_MAX_BYTES, |rate| rate / 4);
        quarter.clamp(SLICE_MIN_BYTES, SLICE_MAX_BYTES)
    }

    /// How long to rest after so many bytes.
    fn rest(self, bytes: u64) -> Duration {
        match self.0 {
            Some(rate) => Duration::from_micros(bytes.saturating_mul(1_000_000) / rate.max(1)),
            None => Duration::ZERO,
        }
    }
}

/// Reads on at a pace; gives the verification back. None if the node stops.
pub(crate) async fn read_on(
    threads: &dyn Offload,
    mut check: SegmentCheck,
    pace: Pace,
) -> Option<SegmentCheck> {
    let job = move || {
        let bytes = check.step(pace.slice_bytes());
        (check, bytes)
    };
    let (check, bytes) = match offload(threads, job).await {
        Ok(back) => back,
        Err(error) => {
            tracing::error!(%error, "a verification has ended");
            return None;
        }
    };
    // Even unbound, it lets others have the thread.
    tokio::time::sleep(pace.rest(bytes)).await;
    Some(check)
}

/// Verifies one segment at the pace that `pace` gives, which may make it wait. None if the segment
/// went or changed meanwhile, or the node stops.
pub(crate) async fn verify<P: Future<Output = Pace>>(
    threads: &dyn Offload,
    log: &Arc<Log>,
    base: Offset,
    pace: impl Fn() -> P,
    mut progress: impl FnMut(u64),
) -> Option<Vec<Finding>> {
    let mut check = log.verify_segment(base)?;
    while !check.is_done() {
        check = read_on(threads, check, pace().await).await?;
        progress(check.verified_bytes());
    }
    check.conclude()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pace_is_kept_in_slices_of_a_size_that_disks_like() {
        for (rate, slice, rest_ms) in [
            (Some(8 << 20), 2 << 20, 250),
            (Some(1 << 30), 4 << 20, 3),
            (Some(64 << 10), 64 << 10, 1000),
            (Some(1), 64 << 10, 65_536_000),
            (None, 4 << 20, 0),
        ] {
            let pace = Pace(rate);
            assert_eq!(pace.slice_bytes(), slice, "{rate:?}");
            assert_eq!(pace.rest(slice).as_millis(), rest_ms, "{rate:?}");
        }
    }
}
