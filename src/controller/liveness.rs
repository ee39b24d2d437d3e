//! Which brokers live: a table beside the decision loop, touched by heartbeats, which therefore
//! never wait behind a commit. It is soft state of the active controller and starts afresh with
//! each term.
//!
//! A broker itself counts only on the configured session (see `lifecycle`), whatever this table
//! grants it beyond that; so it has stopped serving before anybody here gives up on it.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::controller::machine::FenceCause;
use crate::types::{BrokerEpoch, Monotonic, NodeId, Offset};

/// How patient the controller is.
#[derive(Debug, Clone, Copy)]
pub struct LivenessOptions {
    /// How long a broker may be silent (`broker.session.timeout.ms`).
    pub session: Duration,
    /// The most that repeated false alarms extend a broker's session to.
    pub longest_session: Duration,
    /// How often [`LivenessTable::tick`] is meant to be called.
    pub tick: Duration,
    /// After so long without a false alarm an extended session shrinks by half.
    pub decay: Duration,
}

impl Default for LivenessOptions {
    fn default() -> Self {
        Self {
            session: Duration::from_secs(2),
            longest_session: Duration::from_secs(9),
            tick: Duration::from_millis(100),
            decay: Duration::from_secs(60),
        }
    }
}

/// What a broker's last heartbeat said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Heard {
    /// The incarnation that spoke.
    pub broker_epoch: BrokerEpoch,
    /// How far it has applied the metadata.
    pub applied: Offset,
    /// It asks to stay fenced: its logs are not loaded, or it does not trust its disks.
    pub wants_fenced: bool,
    /// It asks to shut down.
    pub wants_shutdown: bool,
}

#[derive(Debug)]
struct Session {
    heard: Heard,
    heard_at: Option<Monotonic>,
    length: Duration,
    expires: Monotonic,
    /// Why the session has ended, if it has.
    ended: Option<FenceCause>,
    lengthened_at: Monotonic,
}

/// The sessions of all brokers, as the active controller sees them.
#[derive(Debug)]
pub struct LivenessTable {
    options: LivenessOptions,
    sessions: BTreeMap<NodeId, Session>,
    last_tick: Monotonic,
}

impl LivenessTable {
    /// The table of a controller that takes office now: each unfenced broker has a fresh session.
    pub fn take_office(
        options: LivenessOptions,
        now: Monotonic,
        unfenced: impl IntoIterator<Item = (NodeId, BrokerEpoch)>,
    ) -> LivenessTable {
        let mut table = LivenessTable { options, sessions: BTreeMap::new(), last_tick: now };
        for (node_id, broker_epoch) in unfenced {
            let heard = Heard {
                broker_epoch,
                applied: Offset::UNKNOWN,
                wants_fenced: false,
                wants_shutdown: false,
            };
            table.sessions.insert(node_id, Session::begin(&options, now, heard, None));
        }
        table
    }

    /// A broker's heartbeat.
    pub fn heartbeat(&mut self, now: Monotonic, node_id: NodeId, heard: Heard) {
        let options = self.options;
        let session = self
            .sessions
            .entry(node_id)
            .or_insert_with(|| Session::begin(&options, now, heard, Some(now)));
        if session.heard.broker_epoch != heard.broker_epoch {
            // Another incarnation; what its predecessor was granted says nothing about it.
            *session = Session::begin(&options, now, heard, Some(now));
        } else if session.ended.take().is_some() {
            // It was alive all along: a false alarm.
            session.length = (session.length * 2).min(options.longest_session);
            session.lengthened_at = now;
        }
        session.heard = heard;
        session.heard_at = Some(now);
        session.expires = session.expires.max(now.plus(session.length));
    }

    /// Ends the sessions of the brokers that have been silent for too long.
    pub fn tick(&mut self, now: Monotonic) {
        let gap = now.since(self.last_tick).saturating_sub(self.options.tick);
        self.last_tick = now;
        // Our own pause is no proof of anybody's silence. Small jitter is not worth a word.
        let pause = if gap > self.options.tick / 2 { gap } else { Duration::ZERO };
        for session in self.sessions.values_mut().filter(|session| session.ended.is_none()) {
            session.expires = session.expires.plus(pause);
            if session.length > self.options.session
                && now.since(session.lengthened_at) >= self.options.decay
            {
                session.length = (session.length / 2).max(self.options.session);
                session.lengthened_at = now;
            }
            if now > session.expires {
                session.ended = Some(FenceCause::SessionExpired);
            }
        }
    }

    /// The process of that registration is dead: its session ends at once.
    pub fn found_dead(&mut self, node_id: NodeId, broker_epoch: BrokerEpoch) {
        if let Some(session) = self.sessions.get_mut(&node_id)
            && session.heard.broker_epoch == broker_epoch
        {
            session.ended = Some(FenceCause::ProcessDied);
        }
    }

    /// The brokers whose sessions have ended, and why. Each stays here until it is heard again, so
    /// that a fence that came to nothing is asked for again.
    pub fn ended(&self) -> impl Iterator<Item = (NodeId, BrokerEpoch, FenceCause)> + '_ {
        self.sessions.iter().filter_map(|(node_id, session)| {
            session.ended.map(|cause| (*node_id, session.heard.broker_epoch, cause))
        })
    }

    /// What that broker's last heartbeat in this term said, and when it came.
    pub fn last_heard(&self, node_id: NodeId) -> Option<(Heard, Monotonic)> {
        let session = self.sessions.get(&node_id)?;
        session.heard_at.map(|at| (session.heard, at))
    }

    /// All brokers with a session that has not ended.
    pub fn alive(&self) -> impl Iterator<Item = (NodeId, &Heard)> {
        self.sessions
            .iter()
            .filter(|(_, session)| session.ended.is_none())
            .map(|(node_id, session)| (*node_id, &session.heard))
    }
}

impl Session {
    fn begin(
        options: &LivenessOptions,
        now: Monotonic,
        heard: Heard,
        heard_at: Option<Monotonic>,
    ) -> Session {
        Session {
            heard,
            heard_at,
            length: options.session,
            expires: now.plus(options.session),
            ended: None,
            lengthened_at: now,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    const A: NodeId = NodeId(1);

    fn at(ms: u64) -> Monotonic {
        Monotonic(Duration::from_millis(ms))
    }

    fn heard(epoch: i64) -> Heard {
        Heard {
            broker_epoch: BrokerEpoch(epoch),
            applied: Offset(0),
            wants_fenced: false,
            wants_shutdown: false,
        }
    }

    fn table() -> LivenessTable {
        LivenessTable::take_office(LivenessOptions::default(), at(0), [(A, BrokerEpoch(7))])
    }

    /// Ticks every 100 ms up to `until`; when the session ended.
    fn ends_at(table: &mut LivenessTable, from: u64, until: u64) -> Option<u64> {
        (from / 100..=until / 100).map(|step| step * 100).find(|ms| {
            table.tick(at(*ms));
            table.ended().next().is_some()
        })
    }

    #[test]
    fn a_new_controller_gives_a_fresh_session() {
        assert_eq!(ends_at(&mut table(), 100, 5000), Some(2100));
    }

    #[test]
    fn a_heartbeat_renews_and_a_death_ends_a_session_at_once() {
        let mut table = table();
        assert_eq!(ends_at(&mut table, 100, 1900), None);
        table.heartbeat(at(1900), A, heard(7));
        assert_eq!(ends_at(&mut table, 2000, 9000), Some(4000));
        table.heartbeat(at(4100), A, heard(7));
        table.found_dead(A, BrokerEpoch(6));
        assert_eq!(table.ended().next(), None, "an earlier incarnation's death is old news");
        table.found_dead(A, BrokerEpoch(7));
        assert_eq!(table.ended().next(), Some((A, BrokerEpoch(7), FenceCause::ProcessDied)));
        assert_eq!(table.alive().next(), None);
    }

    #[test]
    fn the_controllers_own_pause_extends_every_session() {
        let mut table = table();
        table.tick(at(100));
        table.tick(at(10_000));
        assert_eq!(table.ended().next(), None);
        assert_eq!(ends_at(&mut table, 10_100, 20_000), Some(11_900));
    }

    #[test]
    fn a_false_alarm_doubles_the_session_up_to_nine_seconds_and_decays() {
        let mut table = table();
        let mut now = ends_at(&mut table, 100, 5000).unwrap();
        for length in [4000, 8000, 9000, 9000] {
            table.heartbeat(at(now), A, heard(7));
            let ended = ends_at(&mut table, now + 100, now + 20_000).unwrap();
            assert_eq!(ended - now, length + 100);
            now = ended;
        }
        table.heartbeat(at(now), A, heard(7));
        for _ in 0..1300 {
            now += 100;
            table.heartbeat(at(now), A, heard(7));
            table.tick(at(now));
            assert_eq!(table.ended().next(), None);
        }
        let ended = ends_at(&mut table, now + 100, now + 20_000).unwrap();
        assert!(ended - now < 5000, "two decays left {}", ended - now);
    }

    #[test]
    fn another_incarnation_starts_with_an_ordinary_session() {
        let mut table = table();
        let now = ends_at(&mut table, 100, 5000).unwrap();
        table.heartbeat(at(now), A, heard(8));
        assert_eq!(ends_at(&mut table, now + 100, now + 5000), Some(now + 2100));
    }
}
