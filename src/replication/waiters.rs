//! Who waits for a partition to move: long polls for new records, producers for the high
//! watermark. They are woken, never polled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// What a waiter waits for. A change of role wakes everybody.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Interest {
    /// Followers read to the log's end.
    LogEnd,
    /// Consumers read to the high watermark; acks=all waits for it.
    HighWatermark,
    /// DeleteRecords waits until every replica has dropped the records.
    LowWatermark,
}

/// One request that waits on several partitions, each known to it by a number.
#[derive(Debug, Default)]
pub(super) struct Waiter {
    woken: Notify,
    moved: Mutex<BTreeSet<usize>>,
}

impl Waiter {
    fn wake(&self, index: usize) {
        self.moved.lock().insert(index);
        self.woken.notify_one();
    }

    /// Waits until a partition has moved; the numbers of those that have. May be dropped.
    pub(super) async fn moved(&self) -> Vec<usize> {
        loop {
            let moved = std::mem::take(&mut *self.moved.lock());
            if !moved.is_empty() {
                return moved.into_iter().collect();
            }
            self.woken.notified().await;
        }
    }
}

/// The waiters of one partition.
#[derive(Debug, Default)]
pub(super) struct Waiters {
    registered: Mutex<Registered>,
}

#[derive(Debug, Default)]
struct Registered {
    next_key: u64,
    waiters: BTreeMap<u64, (Interest, Arc<Waiter>, usize)>,
}

impl Waiters {
    /// Enters a waiter; it stays until [`Waiters::leave`].
    pub(super) fn enter(&self, interest: Interest, waiter: &Arc<Waiter>, index: usize) -> u64 {
        let mut registered = self.registered.lock();
        registered.next_key += 1;
        let key = registered.next_key;
        registered.waiters.insert(key, (interest, Arc::clone(waiter), index));
        key
    }

    /// Takes a waiter out.
    pub(super) fn leave(&self, key: u64) {
        self.registered.lock().waiters.remove(&key);
    }

    /// Wakes those that wait for `interest`.
    pub(super) fn wake(&self, interest: Interest) {
        for (awaited, waiter, index) in self.registered.lock().waiters.values() {
            if *awaited == interest {
                waiter.wake(*index);
            }
        }
    }

    /// Wakes everybody.
    pub(super) fn wake_all(&self) {
        for (_, waiter, index) in self.registered.lock().waiters.values() {
            waiter.wake(*index);
        }
    }

    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.registered.lock().waiters.len()
    }
}
