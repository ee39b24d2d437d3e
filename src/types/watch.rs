//! A value that changes, and who waits for that: tokio's `watch` with one difference. There the
//! waiting tasks wake in random order; here in the order in which they began to wait, so that a
//! simulated cluster does the same for the same seed.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use parking_lot::{RwLock, RwLockReadGuard};
use tokio::sync::Notify;

/// Every sender is gone: the value does not change any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("nobody can change the value any more")]
pub struct Closed;

#[derive(Debug)]
struct Shared<T> {
    state: RwLock<State<T>>,
    changed: Notify,
    senders: AtomicUsize,
}

#[derive(Debug)]
struct State<T> {
    value: T,
    version: u64,
    closed: bool,
}

/// Changes the value. When the last one goes, receivers are told.
#[derive(Debug)]
pub struct Sender<T>(Arc<Shared<T>>);

/// Reads the value and waits for changes.
#[derive(Debug)]
pub struct Receiver<T> {
    shared: Arc<Shared<T>>,
    seen: u64,
}

/// The value as it is; it does not change while this is held. Not to be held across an await.
#[derive(Debug)]
pub struct Ref<'a, T>(RwLockReadGuard<'a, State<T>>);

impl<T> Deref for Ref<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0.value
    }
}

/// A value with one sender and one receiver, who has seen it.
pub fn channel<T>(value: T) -> (Sender<T>, Receiver<T>) {
    let sender = Sender::new(value);
    let receiver = sender.subscribe();
    (sender, receiver)
}

impl<T> Sender<T> {
    /// A value that nobody watches yet.
    pub fn new(value: T) -> Self {
        let state = RwLock::new(State { value, version: 0, closed: false });
        Self(Arc::new(Shared { state, changed: Notify::new(), senders: AtomicUsize::new(1) }))
    }

    /// Replaces the value, and gives the one before.
    pub fn send_replace(&self, value: T) -> T {
        let mut before = value;
        self.send_modify(|current| std::mem::swap(current, &mut before));
        before
    }

    /// Changes the value in place.
    pub fn send_modify(&self, modify: impl FnOnce(&mut T)) {
        self.send_if_modified(|value| {
            modify(value);
            true
        });
    }

    /// Changes the value in place, and tells the receivers if `modify` says that it did.
    pub fn send_if_modified(&self, modify: impl FnOnce(&mut T) -> bool) -> bool {
        {
            let mut state = self.0.state.write();
            if !modify(&mut state.value) {
                return false;
            }
            state.version += 1;
        }
        self.0.changed.notify_waiters();
        true
    }

    /// The value as it is.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.0.state.read_recursive())
    }

    /// A receiver that has seen the value as it is.
    pub fn subscribe(&self) -> Receiver<T> {
        let seen = self.0.state.read_recursive().version;
        Receiver { shared: Arc::clone(&self.0), seen }
    }
}

impl<T> Clone for Sender<T> {
    fn clone(&self) -> Self {
        self.0.senders.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(&self.0))
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        if self.0.senders.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.0.state.write().closed = true;
            self.0.changed.notify_waiters();
        }
    }
}

impl<T> Clone for Receiver<T> {
    fn clone(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), seen: self.seen }
    }
}

impl<T> Receiver<T> {
    /// The value as it is. It counts as unseen if it was.
    pub fn borrow(&self) -> Ref<'_, T> {
        Ref(self.shared.state.read_recursive())
    }

    /// The value as it is, which is seen then.
    pub fn borrow_and_update(&mut self) -> Ref<'_, T> {
        let state = self.shared.state.read_recursive();
        self.seen = state.version;
        Ref(state)
    }

    /// Whether there is a value that was not seen.
    ///
    /// # Errors
    /// There will be none any more.
    pub fn has_changed(&self) -> Result<bool, Closed> {
        let state = self.shared.state.read_recursive();
        if state.closed { Err(Closed) } else { Ok(state.version != self.seen) }
    }

    /// Waits until there is a value that was not seen, and marks it as seen. May be dropped and
    /// called again.
    ///
    /// # Errors
    /// There is none and will be none.
    pub async fn changed(&mut self) -> Result<(), Closed> {
        loop {
            // Begun before the look, so that no change falls between.
            let changed = self.shared.changed.notified();
            {
                let state = self.shared.state.read_recursive();
                if state.version != self.seen {
                    self.seen = state.version;
                    return Ok(());
                }
                if state.closed {
                    return Err(Closed);
                }
            }
            changed.await;
        }
    }

    /// Waits until the value is as wanted, which it may be already, and marks it as seen. May be
    /// dropped and called again.
    ///
    /// # Errors
    /// It is not and will not be.
    pub async fn wait_for(
        &mut self,
        mut is_wanted: impl FnMut(&T) -> bool,
    ) -> Result<Ref<'_, T>, Closed> {
        loop {
            let changed = self.shared.changed.notified();
            {
                let state = self.shared.state.read_recursive();
                self.seen = state.version;
                if is_wanted(&state.value) {
                    return Ok(Ref(state));
                }
                if state.closed {
                    return Err(Closed);
                }
            }
            changed.await;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::time::Duration;

    use parking_lot::Mutex;

    use super::*;

    #[tokio::test]
    async fn whoever_waited_first_wakes_first() {
        let (sender, receiver) = channel(0);
        let woken = Arc::new(Mutex::new(Vec::new()));
        let mut tasks = tokio::task::JoinSet::new();
        for waiter in 0..40 {
            let (mut receiver, woken) = (receiver.clone(), Arc::clone(&woken));
            tasks.spawn(async move {
                receiver.changed().await.unwrap();
                woken.lock().push(waiter);
            });
        }
        tokio::task::yield_now().await;
        sender.send_replace(1);
        while tasks.join_next().await.is_some() {}
        assert_eq!(*woken.lock(), (0..40).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_change_is_seen_once_by_each() {
        let (sender, mut one) = channel('a');
        let mut other = one.clone();
        assert_eq!(sender.send_replace('b'), 'a');
        one.changed().await.unwrap();
        assert_eq!(*one.borrow(), 'b');
        assert!(tokio::time::timeout(Duration::from_millis(1), one.changed()).await.is_err());
        assert_eq!(*other.borrow(), 'b', "looking is not seeing");
        other.changed().await.unwrap();
        assert!(!sender.send_if_modified(|_| false));
        sender.send_modify(|value| *value = 'c');
        assert_eq!(*one.borrow_and_update(), 'c');
        assert!(tokio::time::timeout(Duration::from_millis(1), one.changed()).await.is_err());
    }

    #[tokio::test]
    async fn the_last_value_outlives_the_last_sender() {
        let (sender, mut receiver) = channel(1);
        let second = sender.clone();
        drop(sender);
        second.send_replace(2);
        drop(second);
        assert_eq!(receiver.changed().await, Ok(()));
        assert_eq!(*receiver.wait_for(|value| *value == 2).await.unwrap(), 2);
        assert_eq!(receiver.changed().await, Err(Closed));
        assert!(receiver.wait_for(|value| *value == 3).await.is_err());
    }

    #[tokio::test]
    async fn a_wanted_value_is_waited_for() {
        let (sender, receiver) = channel(0);
        let mut waiting = receiver.clone();
        let waiting = tokio::spawn(async move { waiting.wait_for(|v| *v > 1).await.map(|v| *v) });
        for value in 1..=3 {
            tokio::task::yield_now().await;
            sender.send_replace(value);
        }
        assert!(waiting.await.unwrap().unwrap() > 1);
    }
}
