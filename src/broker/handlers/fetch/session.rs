//! Incremental fetch sessions (KIP-227): the broker remembers which partitions a client fetches and
//! what it was last told about each, so that requests name only changes and answers only news.
//!
//! Pure bookkeeping: `now` is an argument; the handler owns the lock.

use std::collections::BTreeMap;

use crate::types::{ErrorCode, LeaderEpoch, Monotonic, Offset, TopicIdPartition, TopicPartition};

/// The session id that means "no session".
pub(crate) const NO_SESSION: i32 = 0;
/// The epoch that asks for a new session and sends everything.
pub(crate) const INITIAL_EPOCH: i32 = 0;
/// The epoch that ends a session, or asks for a full fetch without one.
pub(crate) const FINAL_EPOCH: i32 = -1;

/// What a client wants of one partition.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wanted {
    /// By name, for versions before 13 and for the log.
    pub place: TopicPartition,
    /// By id; the zero id where the client fetches by name.
    pub id: TopicIdPartition,
    /// The first offset that is wanted.
    pub fetch_offset: Offset,
    /// The follower's log start offset; -1 from a consumer.
    pub log_start_offset: Offset,
    /// The epoch of the last record that the client has (rule 5).
    pub last_fetched_epoch: LeaderEpoch,
    /// What the client takes the leader epoch to be.
    pub current_leader_epoch: LeaderEpoch,
    /// At most this many bytes of this partition.
    pub max_bytes: i32,
}

/// What the client was last told about one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Told {
    /// The high watermark.
    pub high_watermark: Offset,
    /// The log start offset.
    pub log_start_offset: Offset,
}

#[derive(Debug)]
struct Entry {
    wanted: Wanted,
    told: Option<Told>,
    /// Its place in the session's order.
    turn: u64,
}

#[derive(Debug)]
struct Session {
    epoch: i32,
    last_used: Monotonic,
    is_replica: bool,
    /// In the order in which they are served; one that gave data goes to the end.
    order: BTreeMap<u64, TopicPartition>,
    last_turn: u64,
    entries: BTreeMap<TopicPartition, Entry>,
}

/// One request's relation to sessions, decided in phase one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Context {
    /// Everything is in the request and the answer; no session.
    Sessionless,
    /// Everything is in the request and the answer; the session begins with it.
    New(i32),
    /// Only changes are in the request and only news in the answer.
    Incremental(i32),
}

impl Context {
    /// The session id that the answer names.
    pub fn session_id(self) -> i32 {
        match self {
            Context::Sessionless => NO_SESSION,
            Context::New(id) | Context::Incremental(id) => id,
        }
    }
}

/// What a fetch request says about its session.
#[derive(Debug)]
pub(crate) struct Ask {
    /// The session, or [`NO_SESSION`].
    pub session_id: i32,
    /// Counts the session's requests, or [`INITIAL_EPOCH`] or [`FINAL_EPOCH`].
    pub epoch: i32,
    /// Whether a replica asks: its session is not thrown out for a consumer's.
    pub is_replica: bool,
    /// New or changed partitions.
    pub wanted: Vec<Wanted>,
    /// Partitions that are no longer wanted.
    pub forgotten: Vec<TopicPartition>,
}

/// All sessions of this broker, at most `slots`.
#[derive(Debug)]
pub(crate) struct Sessions {
    slots: usize,
    next_id: i32,
    sessions: BTreeMap<i32, Session>,
}

/// A session that was not used for so long may be thrown out for another.
const EVICTABLE_AFTER: std::time::Duration = std::time::Duration::from_secs(120);

impl Sessions {
    /// Room for `slots` sessions (`max.incremental.fetch.session.cache.slots`), numbered from
    /// `first_id`, which is random so that a restarted broker's ids differ.
    pub fn new(slots: usize, first_id: i32) -> Sessions {
        Sessions { slots, next_id: first_id.max(1), sessions: BTreeMap::new() }
    }

    /// Takes a request in: which partitions are to be served now, in which order.
    ///
    /// # Errors
    /// FETCH_SESSION_ID_NOT_FOUND or INVALID_FETCH_SESSION_EPOCH: the client starts a new session.
    pub fn enter(&mut self, ask: Ask, now: Monotonic) -> Result<(Context, Vec<Wanted>), ErrorCode> {
        if ask.epoch == INITIAL_EPOCH || ask.epoch == FINAL_EPOCH {
            self.sessions.remove(&ask.session_id);
            if ask.epoch == FINAL_EPOCH {
                return Ok((Context::Sessionless, ask.wanted));
            }
            return Ok(match self.open(&ask, now) {
                Some(id) => (Context::New(id), ask.wanted),
                None => (Context::Sessionless, ask.wanted),
            });
        }
        let session =
            self.sessions.get_mut(&ask.session_id).ok_or(ErrorCode::FetchSessionIdNotFound)?;
        if session.epoch != ask.epoch {
            return Err(ErrorCode::InvalidFetchSessionEpoch);
        }
        session.epoch = next_epoch(session.epoch);
        session.last_used = now;
        for place in &ask.forgotten {
            if let Some(entry) = session.entries.remove(place) {
                session.order.remove(&entry.turn);
            }
        }
        for wanted in ask.wanted {
            session.put(wanted);
        }
        let all = session.order.values().filter_map(|place| session.entries.get(place));
        let all = all.map(|entry| entry.wanted.clone()).collect();
        Ok((Context::Incremental(ask.session_id), all))
    }

    fn open(&mut self, ask: &Ask, now: Monotonic) -> Option<i32> {
        if ask.wanted.is_empty() {
            return None;
        }
        if self.sessions.len() >= self.slots {
            let evicted = self.evictable(ask, now)?;
            self.sessions.remove(&evicted);
        }
        while self.sessions.contains_key(&self.next_id) {
            self.next_id = next_epoch(self.next_id);
        }
        let id = self.next_id;
        self.next_id = next_epoch(id);
        let mut session = Session {
            epoch: next_epoch(INITIAL_EPOCH),
            last_used: now,
            is_replica: ask.is_replica,
            order: BTreeMap::new(),
            last_turn: 0,
            entries: BTreeMap::new(),
        };
        for wanted in &ask.wanted {
            session.put(wanted.clone());
        }
        self.sessions.insert(id, session);
        Some(id)
    }

    /// A session that is older than two minutes, or a consumer's for a replica, or a smaller one
    /// for a larger (KIP-227).
    fn evictable(&self, ask: &Ask, now: Monotonic) -> Option<i32> {
        let stale = |session: &Session| now.since(session.last_used) > EVICTABLE_AFTER;
        let oldest = self.sessions.iter().min_by_key(|(_, session)| session.last_used)?;
        if stale(oldest.1) {
            return Some(*oldest.0);
        }
        let smallest = self
            .sessions
            .iter()
            .filter(|(_, session)| !session.is_replica)
            .min_by_key(|(_, session)| session.order.len())?;
        (ask.is_replica || smallest.1.order.len() < ask.wanted.len()).then_some(*smallest.0)
    }

    /// Whether an incremental answer has to mention this partition: it has records or an error, or
    /// its watermarks have moved since they were last told. Notes what is told now.
    pub fn is_news(
        &mut self,
        session: i32,
        place: &TopicPartition,
        told: Told,
        has_records: bool,
        has_error: bool,
    ) -> bool {
        let Some(session) = self.sessions.get_mut(&session) else { return true };
        let Some(entry) = session.entries.get_mut(place) else { return has_records || has_error };
        let news = has_records || has_error || entry.told != Some(told);
        // An error must be told again until it is gone, and what follows it is news too.
        entry.told = (!has_error).then_some(told);
        if has_records {
            session.last_turn += 1;
            let before = std::mem::replace(&mut entry.turn, session.last_turn);
            session.order.remove(&before);
            session.order.insert(session.last_turn, place.clone());
        }
        news
    }
}

impl Session {
    fn put(&mut self, wanted: Wanted) {
        let place = wanted.place.clone();
        match self.entries.get_mut(&place) {
            Some(entry) => {
                // Another topic, or a reader that has come into another reign: what it was told
                // before it may have dropped.
                if entry.wanted.id != wanted.id
                    || entry.wanted.current_leader_epoch != wanted.current_leader_epoch
                {
                    entry.told = None;
                }
                entry.wanted = wanted;
            }
            None => {
                self.last_turn += 1;
                let turn = self.last_turn;
                self.order.insert(turn, place.clone());
                self.entries.insert(place, Entry { wanted, told: None, turn });
            }
        }
    }
}

/// Counts 1, 2, ..., i32::MAX, 1, ...
fn next_epoch(epoch: i32) -> i32 {
    if epoch == i32::MAX { 1 } else { epoch + 1 }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::types::{PartitionId, TopicId};

    fn wanted(partition: i32, offset: i64) -> Wanted {
        Wanted {
            place: TopicPartition::new("t", partition),
            id: TopicIdPartition { topic_id: TopicId::ZERO, partition: PartitionId(partition) },
            fetch_offset: Offset(offset),
            log_start_offset: Offset::UNKNOWN,
            last_fetched_epoch: LeaderEpoch::NONE,
            current_leader_epoch: LeaderEpoch::NONE,
            max_bytes: 1000,
        }
    }

    fn ask(session_id: i32, epoch: i32, wanted: Vec<Wanted>) -> Ask {
        Ask { session_id, epoch, is_replica: false, wanted, forgotten: Vec::new() }
    }

    fn told(high_watermark: i64) -> Told {
        Told { high_watermark: Offset(high_watermark), log_start_offset: Offset(0) }
    }

    #[test]
    fn a_session_remembers_what_is_wanted_and_forgets_when_told() {
        let mut sessions = Sessions::new(10, 7);
        let now = Monotonic::default();
        let (context, all) =
            sessions.enter(ask(0, INITIAL_EPOCH, vec![wanted(0, 0), wanted(1, 0)]), now).unwrap();
        assert_eq!((context, all.len()), (Context::New(7), 2));

        let (context, all) = sessions.enter(ask(7, 1, vec![wanted(1, 5)]), now).unwrap();
        assert_eq!(context, Context::Incremental(7));
        assert_eq!(all, vec![wanted(0, 0), wanted(1, 5)]);

        let mut forget = ask(7, 2, vec![]);
        forget.forgotten = vec![TopicPartition::new("t", 0)];
        assert_eq!(sessions.enter(forget, now).unwrap().1, vec![wanted(1, 5)]);
    }

    #[test]
    fn wrong_ids_and_epochs_are_refused_and_a_final_epoch_ends_the_session() {
        let mut sessions = Sessions::new(10, 1);
        let now = Monotonic::default();
        sessions.enter(ask(0, INITIAL_EPOCH, vec![wanted(0, 0)]), now).unwrap();
        let unknown = sessions.enter(ask(9, 1, vec![]), now).unwrap_err();
        assert_eq!(unknown, ErrorCode::FetchSessionIdNotFound);
        let early = sessions.enter(ask(1, 2, vec![]), now).unwrap_err();
        assert_eq!(early, ErrorCode::InvalidFetchSessionEpoch);
        let (context, _) = sessions.enter(ask(1, FINAL_EPOCH, vec![]), now).unwrap();
        assert_eq!(context, Context::Sessionless);
        let ended = sessions.enter(ask(1, 1, vec![]), now).unwrap_err();
        assert_eq!(ended, ErrorCode::FetchSessionIdNotFound);
    }

    #[test]
    fn an_answer_mentions_only_news() {
        let mut sessions = Sessions::new(10, 1);
        let place = TopicPartition::new("t", 0);
        let first = ask(0, INITIAL_EPOCH, vec![wanted(0, 0)]);
        sessions.enter(first, Monotonic::default()).unwrap();
        let mut news = |hw, records, error| sessions.is_news(1, &place, told(hw), records, error);
        assert!(news(5, false, false), "never told before");
        assert!(!news(5, false, false), "told already");
        assert!(news(6, false, false), "the high watermark has moved");
        assert!(news(6, true, false), "records");
        assert!(news(6, false, true), "an error");
        assert!(news(6, false, false), "the error is gone");
    }

    #[test]
    fn full_tables_make_room_for_replicas_and_after_two_minutes() {
        let mut sessions = Sessions::new(1, 1);
        let now = Monotonic::default();
        let full = || ask(0, INITIAL_EPOCH, vec![wanted(0, 0)]);
        assert_eq!(sessions.enter(full(), now).unwrap().0, Context::New(1));
        assert_eq!(sessions.enter(full(), now).unwrap().0, Context::Sessionless);
        let mut replica = full();
        replica.is_replica = true;
        assert_eq!(sessions.enter(replica, now).unwrap().0, Context::New(2));
        assert_eq!(sessions.enter(full(), now).unwrap().0, Context::Sessionless);
        let later = now.plus(EVICTABLE_AFTER * 2);
        assert_eq!(sessions.enter(full(), later).unwrap().0, Context::New(3));
    }
}
