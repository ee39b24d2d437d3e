//! Whether this node, believing that it leads, still has a majority's ear.

use std::sync::Arc;
use std::time::Duration;

use openraft::ServerState;
use parking_lot::Mutex;

use crate::controller::raft::types::Metrics;
use crate::types::{Clock, Monotonic};

/// The leader's lease. openraft tells when a majority last answered, but only as often as it gets
/// round to it; so the moment is kept, not the age, and grows older by our own clock.
#[derive(Debug)]
pub struct Lease {
    clock: Arc<dyn Clock>,
    length: Duration,
    reign: Mutex<Option<Reign>>,
}

#[derive(Debug, Clone, Copy)]
struct Reign {
    term: u64,
    majority_answered: Monotonic,
    /// Nobody else can be elected without this node's vote.
    alone: bool,
}

impl Lease {
    /// A lease of `length`: the time after which the others may have elected another leader.
    pub fn new(clock: Arc<dyn Clock>, length: Duration) -> Lease {
        Lease { clock, length, reign: Mutex::new(None) }
    }

    /// Takes in what the raft node says of itself.
    pub fn observe(&self, metrics: &Metrics) {
        let now = self.clock.monotonic();
        let mut reign = self.reign.lock();
        if metrics.state != ServerState::Leader {
            *reign = None;
            return;
        }
        let answered = metrics
            .millis_since_quorum_ack
            .map(|ms| Monotonic(now.0.saturating_sub(Duration::from_millis(ms))));
        // A leader whom nobody has answered yet has a lease from its election on.
        let before = reign.filter(|reign| reign.term == metrics.current_term);
        let majority_answered = before.map_or(now, |reign| reign.majority_answered);
        *reign = Some(Reign {
            term: metrics.current_term,
            majority_answered: answered.map_or(majority_answered, |at| at.max(majority_answered)),
            alone: metrics.membership_config.voter_ids().count() == 1,
        });
    }

    /// False only for a leader whom no majority has answered for a whole lease.
    pub fn is_held(&self) -> bool {
        let now = self.clock.monotonic();
        let reign = *self.reign.lock();
        reign.is_none_or(|reign| reign.alone || now.since(reign.majority_answered) <= self.length)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::types::clock::ManualClock;
    use crate::types::{DirectoryId, TimestampMs};

    fn leader(millis: Option<u64>) -> Metrics {
        let mut metrics = Metrics::new_initial(DirectoryId::ZERO);
        metrics.state = ServerState::Leader;
        metrics.current_term = 3;
        metrics.millis_since_quorum_ack = millis;
        metrics
    }

    #[test]
    fn a_leader_that_nobody_answers_loses_its_lease_even_if_openraft_falls_silent() {
        let clock = Arc::new(ManualClock::at(TimestampMs(0)));
        let lease = Lease::new(clock.clone(), Duration::from_millis(300));
        clock.advance(Duration::from_secs(1));
        assert!(lease.is_held(), "a follower has no lease to lose");
        lease.observe(&leader(None));
        clock.advance(Duration::from_millis(200));
        lease.observe(&leader(None));
        assert!(lease.is_held());
        clock.advance(Duration::from_millis(200));
        lease.observe(&leader(None));
        assert!(!lease.is_held(), "nobody has answered since its election");
        lease.observe(&leader(Some(100)));
        assert!(lease.is_held());
        clock.advance(Duration::from_millis(201));
        assert!(!lease.is_held());
        lease.observe(&Metrics::new_initial(DirectoryId::ZERO));
        assert!(lease.is_held());
    }
}
