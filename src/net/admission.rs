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
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

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
            max_connections_per_ip: i32::MAX as usize,
            max_connections_per_ip_overrides: BTreeMap::new(),
        }
    }
}

/// Why a connection is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// `max.connections` is reached.
    Total(usize),
    /// `max.connections.per.ip` is reached.
    PerIp(usize),
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Refusal::Total(limit) => write!(f, "there are {limit} connections (max.connections)"),
            Refusal::PerIp(limit) => {
                write!(f, "its address has {limit} connections (max.connections.per.ip)")
            }
        }
    }
}

#[derive(Debug, Default)]
struct Counts {
    total: usize,
    per_ip: BTreeMap<IpAddr, usize>,
}

/// The limits of one server and what its listeners together use of them.
#[derive(Debug)]
pub struct Admission {
    limits: ArcSwap<ServerLimits>,
    counts: Mutex<Counts>,
    request_bytes: Option<(Arc<Semaphore>, usize)>,
    next_connection_id: AtomicU64,
}

impl Admission {
    /// Nothing is in use yet.
    pub fn new(limits: ServerLimits) -> Arc<Self> {
        let request_bytes = limits.queued_max_request_bytes.map(|bytes| {
            let permits = (bytes / PERMIT_BYTES).clamp(1, (u32::MAX >> 4) as usize);
            (Arc::new(Semaphore::new(permits)), permits)
        });
        Arc::new(Self {
            limits: ArcSwap::from_pointee(limits),
            counts: Mutex::default(),
            request_bytes,
            next_connection_id: AtomicU64::new(1),
        })
    }

    /// The limits.
    pub fn limits(&self) -> Arc<ServerLimits> {
        self.limits.load_full()
    }

    /// Changes how many connections are taken; those that have a place keep it. The bounds of
    /// requests stay as they were made.
    pub fn set_limits(&self, limits: ServerLimits) {
        let made = self.limits();
        self.limits.store(Arc::new(ServerLimits {
            socket_request_max_bytes: made.socket_request_max_bytes,
            queued_max_request_bytes: made.queued_max_request_bytes,
            connections_max_idle: made.connections_max_idle,
            ..limits
        }));
    }

    /// A place for a connection from `ip`, which it holds until it is dropped.
    pub fn admit(self: &Arc<Self>, ip: IpAddr) -> Result<Place, Refusal> {
        // An IPv4 client of a dual-stack listener is the same client.
        let ip = ip.to_canonical();
        let limits = self.limits.load();
        let per_ip = limits.max_connections_per_ip_overrides.get(&ip);
        let per_ip = *per_ip.unwrap_or(&limits.max_connections_per_ip);
        let mut counts = self.counts.lock();
        if counts.total >= limits.max_connections {
            return Err(Refusal::Total(limits.max_connections));
        }
        let of_ip = counts.per_ip.entry(ip).or_default();
        if *of_ip >= per_ip {
            return Err(Refusal::PerIp(per_ip));
        }
        *of_ip += 1;
        counts.total += 1;
        let connection_id = self.next_connection_id.fetch_add(1, Ordering::Relaxed);
        Ok(Place { admission: Arc::clone(self), ip, connection_id })
    }

    /// How many connections there are.
    pub fn connections(&self) -> usize {
        self.counts.lock().total
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

/// A connection's place among those allowed.
#[derive(Debug)]
pub struct Place {
    admission: Arc<Admission>,
    ip: IpAddr,
    /// The connection's number.
    pub connection_id: u64,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.admission.counts.lock();
        counts.total -= 1;
        if let Some(of_ip) = counts.per_ip.get_mut(&self.ip) {
            *of_ip -= 1;
            if *of_ip == 0 {
                counts.per_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use futures::FutureExt;

    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn connections_are_counted_in_all_and_by_address() {
        let admission = Admission::new(ServerLimits {
            max_connections: 3,
            max_connections_per_ip: 1,
            max_connections_per_ip_overrides: [(ip("10.0.0.2"), 2)].into(),
            ..ServerLimits::default()
        });
        let first = admission.admit(ip("10.0.0.1")).unwrap();
        assert_eq!(admission.admit(ip("10.0.0.1")).unwrap_err(), Refusal::PerIp(1));
        assert_eq!(admission.admit(ip("::ffff:10.0.0.1")).unwrap_err(), Refusal::PerIp(1));
        let _second = admission.admit(ip("10.0.0.2")).unwrap();
        let _third = admission.admit(ip("10.0.0.2")).unwrap();
        assert_eq!(admission.admit(ip("10.0.0.3")).unwrap_err(), Refusal::Total(3));
        drop(first);
        let again = admission.admit(ip("10.0.0.1")).unwrap();
        assert_eq!((again.connection_id, admission.connections()), (4, 3));
    }

    #[test]
    fn a_changed_limit_holds_for_the_next_connection() {
        let admission = Admission::new(ServerLimits::default());
        let _one = admission.admit(ip("10.0.0.1")).unwrap();
        let _other = admission.admit(ip("10.0.0.1")).unwrap();
        let limits = ServerLimits {
            max_connections: 1,
            queued_max_request_bytes: None,
            ..ServerLimits::default()
        };
        admission.set_limits(limits);
        assert_eq!(admission.admit(ip("10.0.0.1")).unwrap_err(), Refusal::Total(1));
        assert_eq!(admission.connections(), 2, "who is there stays");
        assert!(admission.share(1 << 20).is_some(), "as it was made");
        admission.set_limits(ServerLimits { max_connections: 3, ..ServerLimits::default() });
        assert!(admission.admit(ip("10.0.0.1")).is_ok());
    }

    #[test]
    fn a_request_waits_for_its_share_and_an_oversized_one_until_it_is_alone() {
        let admission = Admission::new(ServerLimits {
            queued_max_request_bytes: Some(1 << 20),
            ..ServerLimits::default()
        });
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
        assert!(Admission::new(limits).share(usize::MAX).is_none());
    }
}
