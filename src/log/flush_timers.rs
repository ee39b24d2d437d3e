//! `flush.ms` below the checkpoint's interval: which logs are to be synced when.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Weak};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::log::partition_log::Log;
use crate::log::shared::DirectoryShared;
use crate::types::{Monotonic, watch};

/// The logs with something unsynced whose `flush.ms` is running; each at most once.
#[derive(Debug, Default)]
pub(crate) struct FlushTimers {
    by_time: Mutex<ByTime>,
    added: Notify,
}

#[derive(Debug, Default)]
struct ByTime {
    next_number: u64,
    timers: BTreeMap<(Monotonic, u64), Weak<Log>>,
}

impl FlushTimers {
    /// The log is to be synced at `due`.
    pub(crate) fn add(&self, due: Monotonic, log: Weak<Log>) {
        let is_first = {
            let mut by_time = self.by_time.lock();
            let number = by_time.next_number;
            by_time.next_number += 1;
            by_time.timers.insert((due, number), log);
            by_time.timers.keys().next() == Some(&(due, number))
        };
        if is_first {
            self.added.notify_one();
        }
    }

    /// Starts the syncs that are due; when the next one is.
    pub(crate) fn start_due(&self, now: Monotonic) -> Option<Monotonic> {
        let (due, next) = {
            let mut by_time = self.by_time.lock();
            let later = by_time.timers.split_off(&(now, u64::MAX));
            let due = std::mem::replace(&mut by_time.timers, later);
            (due, by_time.timers.keys().next().map(|(due, _)| *due))
        };
        for log in due.into_values().filter_map(|log| log.upgrade()) {
            // From here on an append starts the time anew: this sync may not cover it.
            log.flushes.is_timed.store(false, Ordering::Release);
            log.start_flush(log.log_end_offset());
        }
        next
    }
}

/// Starts the syncs of a directory's logs in time, until `stopped`.
pub(crate) async fn run(shared: Arc<DirectoryShared>, mut stopped: watch::Receiver<bool>) {
    loop {
        let now = shared.clock.monotonic();
        let next = shared.flush_timers.start_due(now);
        let pause = async {
            match next {
                // tokio's timers count in milliseconds.
                Some(next) => {
                    tokio::time::sleep(next.since(now).max(Duration::from_millis(1))).await
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = stopped.changed() => return,
            () = shared.flush_timers.added.notified() => {}
            () = pause => {}
        }
    }
}
