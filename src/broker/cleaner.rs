//! The task that compacts: it looks for the log with the largest dirty share that is due, and
//! works on as many at once as `log.cleaner.threads` says. The work itself is done in slices away
//! from the async workers; between two slices it can end.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;
use parking_lot::Mutex;

use crate::broker::config::{CleanerConfig, LiveConfig};
use crate::log::{CleanError, Cleaned, Cleaning, Log, PassLimits, StorageError};
use crate::replication::Replicas;
use crate::storage::{Offload, OffloadError, offload};
use crate::types::{Clock, Monotonic, Random, TopicPartition};

/// However many threads are configured, so many slices run at once: half of the threads for
/// blocking work stay with fetches, flushes and checkpoints.
const MOST_AT_ONCE: usize = 4;
/// How much is read and written in one slice at most.
const SLICE_BYTES: u64 = 8 << 20;
/// A throttled cleaner's slice lasts about so long.
const SLICE_SECONDS: f64 = 0.1;
/// How long a log is left alone that could not be compacted.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(600);

/// What the task needs of the node.
#[derive(Debug)]
pub(crate) struct Cleaner {
    pub(crate) replicas: Arc<Replicas>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) random: Arc<dyn Random>,
    pub(crate) offload: Arc<dyn Offload>,
    pub(crate) live: LiveConfig,
}

/// A pass that is under way.
type Pass = Pin<Box<dyn Future<Output = Ended> + Send>>;

/// How a pass ended; without a result there was nothing to do after all.
struct Ended {
    log: Arc<Log>,
    began: Monotonic,
    result: Result<Option<Cleaned>, PassError>,
}

#[derive(Debug, thiserror::Error)]
enum PassError {
    #[error(transparent)]
    Clean(#[from] CleanError),
    #[error(transparent)]
    Job(#[from] OffloadError),
    #[error("the cleaner was switched off")]
    SwitchedOff,
}

impl Cleaner {
    /// Goes round for as long as the node lives. Dropped, it stops after the slices under way.
    pub(crate) async fn run(self) {
        let this = Arc::new(self);
        let throttle = Arc::new(Throttle::default());
        let mut passes: FuturesUnordered<Pass> = FuturesUnordered::new();
        let mut busy: Vec<TopicPartition> = Vec::new();
        let mut paused: BTreeMap<TopicPartition, Monotonic> = BTreeMap::new();
        loop {
            let config = this.live.current().cleaner.clone();
            let now = this.clock.monotonic();
            paused.retain(|_, until| *until > now);
            let threads = if config.is_enabled { config.threads.min(MOST_AT_ONCE) } else { 0 };
            if threads > 0 {
                this.roll_what_is_overdue().await;
            }
            while passes.len() < threads {
                let Some(log) = this.filthiest(&busy, &paused) else { break };
                busy.push(log.topic_partition().clone());
                passes.push(Box::pin(Arc::clone(&this).clean(log, Arc::clone(&throttle))));
            }
            tokio::select! {
                biased;
                Some(ended) = passes.next() => {
                    let name = ended.log.topic_partition().clone();
                    busy.retain(|busy| *busy != name);
                    if let Some(pause) = this.report(&ended, &config) {
                        paused.insert(name, this.clock.monotonic().plus(pause));
                    }
                }
                () = tokio::time::sleep(config.backoff.max(Duration::from_millis(1))) => {}
            }
        }
    }

    fn logs(&self) -> impl Iterator<Item = Arc<Log>> {
        self.replicas.online().into_iter().map(|partition| partition.log())
    }

    /// The log with the largest dirty share of those that are due.
    fn filthiest(
        &self,
        busy: &[TopicPartition],
        paused: &BTreeMap<TopicPartition, Monotonic>,
    ) -> Option<Arc<Log>> {
        let now = self.clock.wall();
        let mut filthiest: Option<(f64, Arc<Log>)> = None;
        for log in self.logs() {
            let name = log.topic_partition();
            if busy.contains(name) || paused.contains_key(name) {
                continue;
            }
            let Some(part) = log.cleanable(now) else { continue };
            let ratio = part.dirty_ratio();
            if part.is_due(log.config().min_cleanable_dirty_ratio)
                && filthiest.as_ref().is_none_or(|(largest, _)| ratio > *largest)
            {
                filthiest = Some((ratio, log));
            }
        }
        filthiest.map(|(_, log)| log)
    }

    /// Seals active segments that hold what `max.compaction.lag.ms` wants compacted.
    async fn roll_what_is_overdue(&self) {
        let now = self.clock.wall();
        for log in self.logs().filter(|log| log.must_roll_for_compaction(now)) {
            let name = log.topic_partition().clone();
            let roll = move || log.roll_for_compaction_blocking(now);
            match offload(&*self.offload, roll).await.map_err(StorageError::from) {
                Ok(Ok(_)) => {}
                Ok(Err(error)) | Err(error) => {
                    tracing::warn!(log = %name, %error, "the active segment stays");
                }
            }
        }
    }

    async fn clean(self: Arc<Self>, log: Arc<Log>, throttle: Arc<Throttle>) -> Ended {
        let began = self.clock.monotonic();
        let result = self.pass(Arc::clone(&log), &throttle).await;
        Ended { log, began, result }
    }

    async fn pass(&self, log: Arc<Log>, throttle: &Throttle) -> Result<Option<Cleaned>, PassError> {
        let config = self.live.current().cleaner.clone();
        let limits = PassLimits {
            map_bytes: config.dedupe_buffer_bytes / config.threads.clamp(1, MOST_AT_ONCE),
            load_factor: config.load_factor,
            read_bytes: config.io_buffer_bytes.max(4 << 10),
            hash_key: [self.random.bits(), self.random.bits()],
        };
        let now = self.clock.wall();
        let begin = move || Cleaning::begin(&log, limits, now);
        let Some(mut cleaning) = offload(&*self.offload, begin).await? else { return Ok(None) };
        loop {
            let rate = self.rate()?;
            let slice_bytes = slice_bytes(rate);
            let job = move || {
                let step = cleaning.step(slice_bytes);
                (cleaning, step)
            };
            let (returned, step) = offload(&*self.offload, job).await?;
            cleaning = returned;
            match step? {
                crate::log::Step::Done(_) => return Ok(Some(cleaning.cleaned())),
                crate::log::Step::More(bytes) => {
                    let wait = throttle.note(bytes, rate, self.clock.monotonic());
                    if !wait.is_zero() {
                        tokio::time::sleep(wait).await;
                    }
                }
            }
        }
    }

    /// The bytes a second that are allowed now.
    fn rate(&self) -> Result<f64, PassError> {
        let current = self.live.current();
        if current.cleaner.is_enabled {
            Ok(current.cleaner.max_bytes_per_second)
        } else {
            Err(PassError::SwitchedOff)
        }
    }

    /// Says how a pass ended; gives how long the log is to be left alone.
    fn report(&self, ended: &Ended, config: &CleanerConfig) -> Option<Duration> {
        let log = ended.log.topic_partition();
        match &ended.result {
            Ok(None) => Some(config.backoff),
            Ok(Some(cleaned)) => {
                let took = self.clock.monotonic().since(ended.began);
                tracing::info!(
                    %log,
                    through = %ended.log.compacted_to(),
                    read_bytes = cleaned.mapped_bytes + cleaned.old_bytes,
                    kept_bytes = cleaned.new_bytes,
                    removed_bytes = cleaned.old_bytes.saturating_sub(cleaned.new_bytes),
                    records = cleaned.records.read,
                    kept_records = cleaned.records.kept,
                    removed_records = cleaned.records.read - cleaned.records.kept,
                    keys = cleaned.keys,
                    segments = cleaned.old_segments,
                    segments_now = cleaned.new_segments,
                    buffer_was_full = cleaned.map_was_full,
                    took_ms = took.as_millis(),
                    "compacted"
                );
                None
            }
            Err(PassError::Clean(CleanError::Interrupted(reason))) => {
                tracing::debug!(%log, reason, "the compaction begins again later");
                Some(config.backoff)
            }
            Err(PassError::SwitchedOff | PassError::Job(OffloadError::Stopped)) => {
                Some(config.backoff)
            }
            Err(error @ (PassError::Clean(_) | PassError::Job(OffloadError::Panicked(_)))) => {
                tracing::error!(%log, %error, "the log could not be compacted");
                Some(PAUSE_AFTER_FAILURE)
            }
        }
    }
}

/// How much is done at once under a rate.
fn slice_bytes(bytes_per_second: f64) -> u64 {
    let slice = (bytes_per_second * SLICE_SECONDS).clamp(1.0, SLICE_BYTES as f64);
    slice as u64
}

/// Holds all passes together to a rate.
#[derive(Debug, Default)]
struct Throttle {
    /// When what was done so far is paid for.
    free_at: Mutex<Option<Monotonic>>,
}

impl Throttle {
    /// Notes work, and says how long to wait before the next.
    fn note(&self, bytes: u64, bytes_per_second: f64, now: Monotonic) -> Duration {
        let cost = Duration::try_from_secs_f64(bytes as f64 / bytes_per_second.max(1.0));
        let mut free_at = self.free_at.lock();
        let from = free_at.filter(|at| *at > now).unwrap_or(now);
        let until = from.plus(cost.unwrap_or(Duration::MAX));
        *free_at = Some(until);
        until.since(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_passes_together_keep_to_the_rate() {
        let throttle = Throttle::default();
        let start = Monotonic::default();
        let mut now = start;
        for _ in 0..50 {
            now = now.plus(throttle.note(1_000, 10_000.0, now));
        }
        assert_eq!(now.since(start), Duration::from_secs(5));
        // Two at the same moment wait one after the other.
        let first = throttle.note(10_000, 10_000.0, now);
        let second = throttle.note(10_000, 10_000.0, now);
        assert_eq!((first.as_secs(), second.as_secs()), (1, 2));
        // A pause is not saved up.
        let later = now.plus(Duration::from_secs(100));
        assert_eq!(throttle.note(10_000, 10_000.0, later).as_secs(), 1);
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let throttle = Throttle::default();
        let now = Monotonic::default();
        assert!(throttle.note(SLICE_BYTES, f64::MAX, now).is_zero());
        assert_eq!(slice_bytes(f64::MAX), SLICE_BYTES);
        assert_eq!(slice_bytes(1_000_000.0), 100_000);
        assert_eq!(slice_bytes(0.0), 1);
    }
}
