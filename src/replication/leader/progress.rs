//! How far a follower has come, as its fetches tell.

use std::time::Duration;

use crate::types::{BrokerEpoch, Monotonic, Offset};

/// One follower's progress within one reign of the leader.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FollowerProgress {
    log_start: Offset,
    log_end: Offset,
    broker_epoch: Option<BrokerEpoch>,
    last_fetch: Option<LastFetch>,
    caught_up_at: Option<Monotonic>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LastFetch {
    at: Monotonic,
    leader_log_end: Offset,
}

impl FollowerProgress {
    /// At the start of a reign nothing is known of the follower's log. A member of the ISR is
    /// taken to be caught up now; another is not, so that it does not hold the high watermark back.
    pub fn unknown(in_isr: bool, now: Monotonic) -> Self {
        Self {
            log_start: Offset::UNKNOWN,
            log_end: Offset::UNKNOWN,
            broker_epoch: None,
            last_fetch: None,
            caught_up_at: in_isr.then_some(now),
        }
    }

    /// Takes a fetch at `fetch_offset` in: it proves that the follower has everything below.
    /// Rule 11: it is caught up now if that is the log end now; it was caught up at its previous
    /// fetch if that was the log end then.
    pub(super) fn fetched(
        &mut self,
        fetch_offset: Offset,
        log_start: Offset,
        broker_epoch: BrokerEpoch,
        leader_log_end: Offset,
        now: Monotonic,
    ) {
        let credited = match self.last_fetch {
            _ if fetch_offset >= leader_log_end => Some(now),
            Some(last) if fetch_offset >= last.leader_log_end => Some(last.at),
            Some(_) | None => None,
        };
        self.caught_up_at = self.caught_up_at.max(credited);
        self.last_fetch = Some(LastFetch { at: now, leader_log_end });
        self.log_start = log_start;
        self.log_end = fetch_offset;
        self.broker_epoch = Some(broker_epoch);
    }

    /// Whether the follower has all there is, or had so within the last `lag_max`.
    pub fn is_caught_up(&self, leader_log_end: Offset, now: Monotonic, lag_max: Duration) -> bool {
        self.log_end == leader_log_end
            || self.caught_up_at.is_some_and(|at| now.since(at) <= lag_max)
    }

    /// Everything below this offset is in the follower's log; unknown before its first fetch.
    pub fn log_end(&self) -> Offset {
        self.log_end
    }

    /// The first offset that the follower keeps; unknown before its first fetch.
    pub fn log_start(&self) -> Offset {
        self.log_start
    }

    /// The incarnation that fetched last.
    pub fn broker_epoch(&self) -> Option<BrokerEpoch> {
        self.broker_epoch
    }

    /// When the follower last had all there was.
    pub fn caught_up_at(&self) -> Option<Monotonic> {
        self.caught_up_at
    }

    /// When the follower last fetched.
    pub fn last_fetch_at(&self) -> Option<Monotonic> {
        self.last_fetch.map(|last| last.at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAG_MAX: Duration = Duration::from_secs(30);

    fn second(seconds: u64) -> Monotonic {
        Monotonic(Duration::from_secs(seconds))
    }

    fn fetch(progress: &mut FollowerProgress, offset: i64, leader_log_end: i64, at: u64) {
        let (offset, leader_log_end) = (Offset(offset), Offset(leader_log_end));
        progress.fetched(offset, Offset(0), BrokerEpoch(1), leader_log_end, second(at));
    }

    #[test]
    fn rule_11_caught_up_by_the_log_end_now_or_at_the_previous_fetch() {
        let mut progress = FollowerProgress::unknown(false, second(0));
        assert_eq!(progress.caught_up_at(), None);
        fetch(&mut progress, 0, 10, 1); // behind
        assert_eq!(progress.caught_up_at(), None);
        fetch(&mut progress, 10, 20, 3); // has what was there at second 1
        assert_eq!(progress.caught_up_at(), Some(second(1)));
        fetch(&mut progress, 19, 30, 5); // misses one of what was there at second 3
        assert_eq!(progress.caught_up_at(), Some(second(1)));
        fetch(&mut progress, 30, 30, 7); // has everything
        assert_eq!(progress.caught_up_at(), Some(second(7)));
    }

    #[test]
    fn rule_11_a_follower_that_stays_at_the_log_end_is_caught_up_for_ever() {
        let mut progress = FollowerProgress::unknown(true, second(0));
        fetch(&mut progress, 10, 10, 1);
        assert!(progress.is_caught_up(Offset(10), second(1_000), LAG_MAX));
        assert!(progress.is_caught_up(Offset(11), second(31), LAG_MAX));
        assert!(!progress.is_caught_up(Offset(11), second(32), LAG_MAX));
    }

    #[test]
    fn rule_11_the_credited_time_never_goes_back() {
        let mut progress = FollowerProgress::unknown(true, second(8));
        fetch(&mut progress, 0, 10, 5);
        fetch(&mut progress, 10, 20, 9);
        assert_eq!(progress.caught_up_at(), Some(second(8)));
    }
}
