//! Who may connect and how much may be read: the limits of a server, and what is in use of them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};

use crate::net::pace::Pace;
use crate::types::{Clock, Monotonic};

/// Requests up to this size are read without asking for a share of `queued.max.request.bytes`: a
/// follower's Fetch must not wait behind the produce requests that wait for that follower.
pub const FREE_REQUEST_BYTES: usize = 64 << 10;

/// What a semaphore's permit stands for.
const PERMIT_BYTES: usize = 1 << 10;

/// What a server takes on. The names are Kafka's keys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerLimits {
    /// The largest request.
    pub socket_request_max_bytes: usize,
    /// What all requests that are being read or handled may weigh together; none means no limit.
    pub queued_max_request_bytes: Option<usize>,
    /// How long a connection may be silent; none means for ever.
    pub connections_max_idle: Option<Duration>,
    /// How many connections there may be.
    pub max_connections: usize,
    /// How many of them are taken in a second.
    pub max_connection_creation_rate: usize,
    /// How many of them from one address.
    pub max_connections_per_ip: usize,
    /// Addresses with another limit.
    pub max_connections_per_ip_overrides: BTreeMap<IpAddr, usize>,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            socket_request_max_bytes: 100 << 20,
            queued_max_request_bytes: Some(256 << 20),
            connections_max_idle: Some(Duration::from_secs(600)),
            max_connections: i32::MAX as usize,
            max_connection_creation_rate: i32::MAX as usize,
            max_connections_per_ip: i32::MAX as usize,
            max_connections_per_ip_overrides: BTreeMap::new(),
        }
    }
}

/// Why a connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `max.connections.per.ip` is reached.
    PerIp(usize),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::PerIp(limit) => {
                write!(f, "its address has {limit} connections (max.connections.per.ip)")
            }
        }
    }
}

/// Whose connections a listener takes, as far as the broker-wide limits are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// They wait until there is room (`max.connections`), and until the rate allows them.
    Limited,
    /// They are let in at once, and the least recently used limited connection goes for each that is too
    /// many: brokers, where clients have a listener of their own.
    Exempt,
    /// They are let in at once and not counted with the others: controllers.
    Apart,
}

/// One connection that has a place.
#[derive(Debug)]
struct Taken {
    class: Class,
    last_used: Arc<AtomicU64>,
    /// Tells it to end; gone once it was told.
    evict: Option<oneshot::Sender<()>>,
}

#[derive(Debug, Default)]
struct Taking {
    connections: BTreeMap<u64, Taken>,
    /// By address, those apart by themselves.
    per_ip: BTreeMap<(bool, IpAddr), usize>,
    pace: Pace,
    next_connection_id: u64,
}

impl Taking {
    /// Whether there is no room for a limited connection.
    fn is_full(&self, limit: usize) -> bool {
        let counted = |taken: &&Taken| taken.class != Class::Apart;
        self.connections.len() >= limit
            && self.connections.values().filter(counted).count() >= limit
    }

    /// Tells as many limited connections to end as there are too many, the least recently used first.
    fn shed(&mut self, limit: usize) {
        if self.connections.len() <= limit {
            return;
        }
        let stays = |taken: &&Taken| taken.class != Class::Apart && taken.evict.is_some();
        let excess = self.connections.values().filter(stays).count().saturating_sub(limit);
        for _ in 0..excess {
            let limited = self.connections.values_mut();
            let limited = limited.filter(|it| it.class == Class::Limited && it.evict.is_some());
            let Some(least) = limited.min_by_key(|it| it.last_used.load(Ordering::Relaxed)) else {
                return;
            };
            if let Some(evict) = least.evict.take() {
                // One that is ending anyway does not listen.
                let _ = evict.send(());
            }
        }
    }
}

/// The limits of one server and what its listeners together use of them.
#[derive(Debug)]
pub struct Admission {
    limits: ArcSwap<ServerLimits>,
    clock: Arc<dyn Clock>,
    taking: Mutex<Taking>,
    /// A place was given back, or there are other limits.
    changed: Notify,
    request_bytes: Option<(Arc<Semaphore>, usize)>,
}

impl Admission {
    /// Nothing is in use yet.
    pub fn new(limits: ServerLimits, clock: Arc<dyn Clock>) -> Arc<Self> {
        let request_bytes = limits.queued_max_request_bytes.map(|bytes| {
            let permits = (bytes / PERMIT_BYTES).clamp(1, (u32::MAX >> 4) as usize);
            (Arc::new(Semaphore::new(permits)), permits)
        });
        Arc::new(Self {
            limits: ArcSwap::from_pointee(limits),
            clock,
            taking: Mutex::default(),
            changed: Notify::new(),
            request_bytes,
        })
    }

    /// The limits.
    pub fn limits(&self) -> Arc<ServerLimits> {
        self.limits.load_full()
    }

    /// Changes how many connections are taken; the least recently used of those that are too many now are
    /// told to end. The bounds of requests stay as they were made.
    pub fn set_limits(&self, limits: ServerLimits) {
        let made = self.limits();
        let max_connections = limits.max_connections;
        self.limits.store(Arc::new(ServerLimits {
            socket_request_max_bytes: made.socket_request_max_bytes,
            queued_max_request_bytes: made.queued_max_request_bytes,
            connections_max_idle: made.connections_max_idle,
            ..limits
        }));
        self.taking.lock().shed(max_connections);
        self.changed.notify_waiters();
    }

    /// A place for a connection from `ip`, which it holds until it is dropped. Waits until the rate allows
    /// another connection and until there is room; what is over `max.connections.per.ip` is refused then.
    pub async fn admit(self: &Arc<Self>, ip: IpAddr, class: Class) -> Result<Place, Refusal> {
        // An IPv4 client of a dual-stack listener is the same client.
        let ip = ip.to_canonical();
        if class == Class::Limited {
            self.keep_pace().await;
        }
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            if let Some(admitted) = self.try_admit(ip, class) {
                return admitted;
            }
            changed.await;
        }
    }

    /// Waits until the rate allows the connection that has just come.
    async fn keep_pace(&self) {
        let rate = || self.limits.load().max_connection_creation_rate;
        self.taking.lock().pace.note(rate(), self.clock.monotonic());
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            changed.as_mut().enable();
            let wait = self.taking.lock().pace.wait(rate(), self.clock.monotonic());
            match wait {
                Some(Duration::ZERO) => return,
                Some(wait) => tokio::select! {
                    biased;
                    () = tokio::time::sleep(wait) => {}
                    () = changed => {}
                },
                None => changed.await,
            }
        }
    }

    /// None: there is no room now.
    fn try_admit(self: &Arc<Self>, ip: IpAddr, class: Class) -> Option<Result<Place, Refusal>> {
        let limits = self.limits.load();
        let per_ip = limits.max_connections_per_ip_overrides.get(&ip);
        let per_ip = *per_ip.unwrap_or(&limits.max_connections_per_ip);
        let mut taking = self.taking.lock();
        if class == Class::Limited && taking.is_full(limits.max_connections) {
            return None;
        }
        let key = (class == Class::Apart, ip);
        let of_ip = taking.per_ip.get(&key).copied().unwrap_or_default();
        if of_ip >= per_ip {
            return Some(Err(Refusal::PerIp(per_ip)));
        }
        taking.per_ip.insert(key, of_ip + 1);
        taking.next_connection_id += 1;
        let connection_id = taking.next_connection_id;
        let (evict, evicted) = oneshot::channel();
        let last_used = Arc::new(AtomicU64::new(millis(self.clock.monotonic())));
        let taken = Taken { class, last_used: Arc::clone(&last_used), evict: Some(evict) };
        taking.connections.insert(connection_id, taken);
        taking.shed(limits.max_connections);
        drop(taking);
        let admission = Arc::clone(self);
        Some(Ok(Place { admission, key, connection_id, last_used, evicted }))
    }

    /// Whether a limited connection would have to wait for room now.
    pub fn is_full(&self) -> bool {
        self.taking.lock().is_full(self.limits.load().max_connections)
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.taking.lock().connections.len()
    }

    /// The share that a request of `bytes` needs before more of it is read, or nothing if it needs
    /// none. A request larger than everything waits until it is alone.
    pub fn share(&self, bytes: usize) -> Option<BoxFuture<'static, Option<OwnedSemaphorePermit>>> {
        let (semaphore, permits) = self.request_bytes.as_ref()?;
        if bytes <= FREE_REQUEST_BYTES {
            return None;
        }
        let wanted = u32::try_from(bytes.div_ceil(PERMIT_BYTES).min(*permits)).unwrap_or(u32::MAX);
        let semaphore = Arc::clone(semaphore);
        // The semaphore is never closed, so that there is always a permit in the end.
        Some(Box::pin(async move { semaphore.acquire_many_owned(wanted).await.ok() }))
    }
}

fn millis(at: Monotonic) -> u64 {
    u64::try_from(at.0.as_millis()).unwrap_or(u64::MAX)
}

/// A connection's place among those allowed.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    key: (bool, IpAddr),
    /// The connection's number.
    pub connection_id: u64,
    last_used: Arc<AtomicU64>,
    evicted: oneshot::Receiver<()>,
}

impl Place {
    /// The connection is in use.
    pub fn note_use(&self) {
        self.last_used.store(millis(self.admission.clock.monotonic()), Ordering::Relaxed);
    }

    /// Comes back once the connection is to end for the sake of another; not to be asked again then.
    pub async fn evicted(&mut self) {
        if (&mut self.evicted).await.is_err() {
            // Whoever could tell is gone, and never told.
            std::future::pending::<()>().await;
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taking = self.admission.taking.lock();
        taking.connections.remove(&self.connection_id);
        if let Some(of_ip) = taking.per_ip.get_mut(&self.key) {
            *of_ip -= 1;
            if *of_ip == 0 {
                taking.per_ip.remove(&self.key);
            }
        }
        drop(taking);
        self.admission.changed.notify_waiters();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use futures::FutureExt;

    use super::*;
    use crate::types::TimestampMs;
    use crate::types::clock::{ManualClock, SystemClock};

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn of(limits: ServerLimits) -> Arc<Admission> {
        Admission::new(limits, Arc::new(ManualClock::at(TimestampMs(0))))
    }

    /// What comes at once; none: it waits.
    fn admit(admission: &Arc<Admission>, from: &str) -> Option<Result<Place, Refusal>> {
        admission.admit(ip(from), Class::Limited).now_or_never()
    }

    fn taken(admission: &Arc<Admission>, from: &str) -> Place {
        admit(admission, from).expect("no room").expect("refused")
    }

    fn is_evicted(place: &mut Place) -> bool {
        place.evicted().now_or_never().is_some()
    }

    #[test]
    fn connections_are_counted_in_all_and_by_address() {
        let admission = of(ServerLimits {
            max_connections: 3,
            max_connections_per_ip: 1,
            max_connections_per_ip_overrides: [(ip("10.0.0.2"), 2)].into(),
            ..ServerLimits::default()
        });
        let first = taken(&admission, "10.0.0.1");
        let refused = |from| admit(&admission, from).expect("no room").unwrap_err();
        assert_eq!(refused("10.0.0.1"), Refusal::PerIp(1));
        assert_eq!(refused("::ffff:10.0.0.1"), Refusal::PerIp(1));
        let _second = taken(&admission, "10.0.0.2");
        let _third = taken(&admission, "10.0.0.2");
        let mut waiting = Box::pin(admission.admit(ip("10.0.0.3"), Class::Limited));
        assert!((&mut waiting).now_or_never().is_none(), "accepted when there is room");
        drop(first);
        let fourth = waiting.now_or_never().expect("there is room").unwrap();
        assert_eq!((fourth.connection_id, admission.connections()), (4, 3));
    }

    #[test]
    fn a_lower_limit_ends_the_least_recently_used_and_a_higher_one_lets_in() {
        let clock = Arc::new(ManualClock::at(TimestampMs(0)));
        let admission = Admission::new(ServerLimits::default(), Arc::clone(&clock) as _);
        let mut places: Vec<Place> = (0..3)
            .map(|_| {
                clock.advance(Duration::from_secs(1));
                taken(&admission, "10.0.0.1")
            })
            .collect();
        clock.advance(Duration::from_secs(1));
        places[0].note_use();
        let limits = |max_connections| ServerLimits {
            max_connections,
            queued_max_request_bytes: None,
            ..ServerLimits::default()
        };
        admission.set_limits(limits(2));
        let evicted: Vec<bool> = places.iter_mut().map(is_evicted).collect();
        assert_eq!(evicted, [false, true, false]);
        assert!(admission.share(1 << 20).is_some(), "as it was made");
        let mut waiting = Box::pin(admission.admit(ip("10.0.0.1"), Class::Limited));
        assert!((&mut waiting).now_or_never().is_none());
        admission.set_limits(limits(4));
        assert!(waiting.now_or_never().expect("there is room").is_ok());
    }

    #[test]
    fn an_exempt_connection_takes_the_place_of_the_least_recently_used_other() {
        let clock = Arc::new(ManualClock::at(TimestampMs(0)));
        let limits = ServerLimits { max_connections: 2, ..ServerLimits::default() };
        let admission = Admission::new(limits, Arc::clone(&clock) as _);
        let exempt = || admission.admit(ip("10.0.0.9"), Class::Exempt).now_or_never();
        let mut of_broker = exempt().expect("never waits").unwrap();
        clock.advance(Duration::from_secs(1));
        let mut of_client = taken(&admission, "10.0.0.1");
        assert!(admit(&admission, "10.0.0.1").is_none());
        let mut second = exempt().expect("never waits").unwrap();
        assert!(is_evicted(&mut of_client));
        let mut third = exempt().expect("never waits").unwrap();
        assert!(![&mut of_broker, &mut second, &mut third].into_iter().any(is_evicted));
        let apart = admission.admit(ip("10.0.0.9"), Class::Apart).now_or_never();
        let mut apart = apart.expect("never waits").unwrap();
        assert!(!is_evicted(&mut apart));
        drop(of_client);
        drop(second);
        assert!(admit(&admission, "10.0.0.1").is_none(), "brokers have all the room there is");
        drop(third);
        assert!(admit(&admission, "10.0.0.1").is_some(), "controllers take none of it");
    }

    #[tokio::test(start_paused = true)]
    async fn connections_that_come_too_fast_wait_and_exempt_ones_do_not() {
        let limits = |max_connection_creation_rate| ServerLimits {
            max_connection_creation_rate,
            ..ServerLimits::default()
        };
        let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
        let admission = Admission::new(limits(2), Arc::clone(&clock));
        let mut places: Vec<Place> = (0..20).map(|_| taken(&admission, "10.0.0.1")).collect();
        let begin = clock.monotonic();
        for _ in 0..4 {
            places.push(admission.admit(ip("10.0.0.1"), Class::Limited).await.unwrap());
        }
        let took = clock.monotonic().since(begin);
        let two_seconds = Duration::from_millis(1_990)..Duration::from_millis(2_100);
        assert!(two_seconds.contains(&took), "4 at 2 a second took {took:?}");
        assert!(admission.admit(ip("10.0.0.1"), Class::Exempt).now_or_never().is_some());
        let mut waiting = Box::pin(admission.admit(ip("10.0.0.1"), Class::Limited));
        assert!((&mut waiting).now_or_never().is_none());
        admission.set_limits(limits(1_000));
        assert!(waiting.now_or_never().expect("the limit was raised").is_ok());
    }

    #[test]
    fn a_request_waits_for_its_share_and_an_oversized_one_until_it_is_alone() {
        let admission =
            of(ServerLimits { queued_max_request_bytes: Some(1 << 20), ..ServerLimits::default() });
        let share = |bytes| admission.share(bytes).unwrap();
        assert!(admission.share(FREE_REQUEST_BYTES).is_none());
        let first = share(600 << 10).now_or_never().unwrap();
        let mut second = share(600 << 10);
        assert!((&mut second).now_or_never().is_none());
        drop(first);
        let second = second.now_or_never().unwrap();
        let mut huge = share(50 << 20);
        assert!((&mut huge).now_or_never().is_none());
        drop(second);
        assert!(huge.now_or_never().unwrap().is_some());
    }

    #[test]
    fn without_a_limit_nobody_asks() {
        let limits = ServerLimits { queued_max_request_bytes: None, ..ServerLimits::default() };
        assert!(of(limits).share(usize::MAX).is_none());
    }
}
