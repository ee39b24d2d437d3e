//! A slow pass over all segments of all log directories, now and then, which finds bit rot before a
//! reader does and has it mended.
//!
//! Within a directory a pass goes by partition and offset, and the directory remembers how far it
//! came: after a restart it goes on with the segment that was verified longest ago. It reads beside
//! everything else, at the pace of `ottla.scrub.bytes.per.second`, and holds nothing: what is appended
//! to, compacted, cut or deleted meanwhile is passed over, and its turn comes with the next pass.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::config::LiveConfig;
use crate::broker::mending::{Mender, Pace, verify};
use crate::log::{Log, LogDirectory, ScrubProgress};
use crate::storage::Offload;
use crate::types::{Clock, Offset, TimestampMs};

/// Nothing is verified in the first minute, unless passes are more frequent: a node that has just
/// started has better things to do.
const AFTER_START: Duration = Duration::from_secs(60);
/// How often it is looked whether a pass is due, if the configuration does not change; more often
/// where passes are more frequent.
const LOOK_EVERY: Duration = Duration::from_secs(60);

/// What the scrubber works with.
pub(crate) struct Scrubber {
    /// The data directories.
    pub directories: Vec<Arc<LogDirectory>>,
    /// Who mends.
    pub mender: Arc<dyn Mender>,
    /// Where disks are read.
    pub offload: Arc<dyn Offload>,
    /// When passes began.
    pub clock: Arc<dyn Clock>,
    /// How fast, and how often.
    pub live: LiveConfig,
}

/// What one pass over a directory came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Pass {
    /// How many segments were verified.
    pub segments: u64,
    /// How many were not, because they changed or went meanwhile.
    pub passed_over: u64,
    /// Their bytes.
    pub bytes: u64,
    /// How many were damaged.
    pub damaged: u64,
    /// How many of those were mended.
    pub mended: u64,
}

impl Scrubber {
    /// Goes round for as long as the node lives.
    pub async fn run(self) {
        tokio::time::sleep(AFTER_START.min(self.interval())).await;
        let mut changes = self.live.subscribe();
        loop {
            changes.borrow_and_update();
            for directory in &self.directories {
                self.pass_if_due(directory).await;
            }
            // The configuration lives as long as the node.
            let _ = tokio::time::timeout(LOOK_EVERY.min(self.interval()), changes.changed()).await;
        }
    }

    /// Begins a pass over a directory if one is due, or goes on with the one that was interrupted.
    pub async fn pass_if_due(&self, directory: &Arc<LogDirectory>) -> Option<Pass> {
        if self.live.current().scrub.rate().is_none() || directory.is_offline() {
            return None;
        }
        let now = self.clock.wall();
        let progress = directory.scrub_progress();
        let progress = match progress {
            Some(progress) if !progress.is_over => progress,
            Some(last) if !self.is_due(last.began, now) => return None,
            Some(_) | None => ScrubProgress { began: now, last: None, is_over: false },
        };
        let pass = self.pass(directory, progress).await;
        tracing::info!(
            directory = %directory.path().display(),
            segments = pass.segments, bytes = pass.bytes, passed_over = pass.passed_over,
            damaged = pass.damaged, mended = pass.mended,
            "segments verified"
        );
        Some(pass)
    }

    fn interval(&self) -> Duration {
        self.live.current().scrub.interval
    }

    fn is_due(&self, began: TimestampMs, now: TimestampMs) -> bool {
        let interval = self.interval().as_millis();
        let since = now.0.saturating_sub(began.0);
        // A clock that was set back does not hold a pass up for ever.
        since < 0 || u128::try_from(since).is_ok_and(|since| since >= interval)
    }

    async fn pass(&self, directory: &Arc<LogDirectory>, mut progress: ScrubProgress) -> Pass {
        let mut pass = Pass::default();
        for log in directory.logs() {
            let name = log.topic_partition().clone();
            let after = match &progress.last {
                Some((last, _)) if name < *last => continue,
                Some((last, segment)) if name == *last => Some(*segment),
                Some(_) | None => None,
            };
            let bases = log.segments_to_verify().into_iter();
            for base in bases.filter(|base| after.is_none_or(|after| *base > after)) {
                let is_there = directory.log(&name).is_some_and(|it| Arc::ptr_eq(&it, &log));
                if !is_there || directory.is_offline() {
                    break;
                }
                self.segment(&log, base, &mut pass).await;
                progress.last = Some((name.clone(), base));
                directory.note_scrub_progress(&progress);
            }
        }
        progress.is_over = true;
        progress.last = None;
        directory.note_scrub_progress(&progress);
        pass
    }

    async fn segment(&self, log: &Arc<Log>, base: Offset, pass: &mut Pass) {
        let bytes = log.segment_bytes(base);
        let found = verify(&*self.offload, log, base, || self.pace(), |_| {}).await;
        let Some(findings) = found else {
            pass.passed_over += 1;
            return;
        };
        pass.segments += 1;
        pass.bytes += bytes;
        if findings.is_empty() {
            return;
        }
        pass.damaged += 1;
        let mends = self.mender.mend(Arc::clone(log)).await;
        let is_mended = mends.iter().any(|mend| mend.segment == base && mend.outcome.is_sound());
        pass.mended += u64::from(is_mended);
    }

    /// The pace that is set now; waits while there is none.
    async fn pace(&self) -> Pace {
        let mut changes = self.live.subscribe();
        loop {
            changes.borrow_and_update();
            if let Some(rate) = self.live.current().scrub.rate() {
                return Pace(Some(rate));
            }
            if changes.changed().await.is_err() {
                futures::future::pending::<()>().await;
            }
        }
    }
}
