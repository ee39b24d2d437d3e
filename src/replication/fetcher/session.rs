//! The follower's side of an incremental fetch session (KIP-227): what the leader was told, so that
//! the next fetch names only what is new, changed or no longer wanted, and the answer only news.
//! Thousands of partitions without traffic then cost a fetch of a few bytes.
//!
//! Pure.

use std::collections::BTreeMap;

use crate::replication::follower::FetchAsk;
use crate::types::{TopicId, TopicIdPartition, TopicName, TopicPartition};

/// The epoch that asks for a new session and names everything.
const INITIAL_EPOCH: i32 = 0;
/// The epoch of a fetch that names everything and wants no session.
const FINAL_EPOCH: i32 = -1;

/// What one fetch says about its session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Terms {
    pub(super) session_id: i32,
    pub(super) session_epoch: i32,
    /// Which of what is asked is named, by place; the rest is as it was.
    pub(super) named: Vec<usize>,
    /// What the leader is to forget.
    pub(super) forgotten: Vec<(TopicIdPartition, TopicName)>,
}

impl Terms {
    /// A fetch of `count` partitions without a session.
    pub(super) fn without_session(count: usize) -> Terms {
        Terms {
            session_id: 0,
            session_epoch: FINAL_EPOCH,
            named: (0..count).collect(),
            forgotten: Vec::new(),
        }
    }

    /// Whether what the answer does not mention is as it was.
    pub(super) fn is_incremental(&self) -> bool {
        self.session_epoch > INITIAL_EPOCH
    }
}

/// A session with one leader node; at first there is none.
#[derive(Debug, Default)]
pub(super) struct Session {
    id: i32,
    /// The next fetch's; [`INITIAL_EPOCH`]: it begins a new session, in the place of the old one.
    epoch: i32,
    told: BTreeMap<TopicIdPartition, (TopicName, FetchAsk)>,
}

impl Session {
    /// How the next fetch asks for just these partitions, and for no others.
    pub(super) fn next<'a>(
        &mut self,
        asked: impl Iterator<Item = (&'a TopicPartition, TopicId, FetchAsk)> + Clone,
    ) -> Terms {
        let id = |place: &TopicPartition, topic_id| TopicIdPartition {
            topic_id,
            partition: place.partition,
        };
        let mut wanted: BTreeMap<_, _> = asked
            .clone()
            .map(|(place, topic_id, ask)| (id(place, topic_id), (place.topic.clone(), ask)))
            .collect();
        std::mem::swap(&mut self.told, &mut wanted);
        let before = wanted;
        let is_full = self.epoch == INITIAL_EPOCH;
        let is_news = |(place, topic_id, ask): (&TopicPartition, TopicId, FetchAsk)| {
            is_full || before.get(&id(place, topic_id)).is_none_or(|(_, told)| *told != ask)
        };
        let named = asked.enumerate().filter(|(_, it)| is_news(*it)).map(|(index, _)| index);
        let named = named.collect();
        let gone = before.iter().filter(|(id, _)| !is_full && !self.told.contains_key(id));
        let forgotten = gone.map(|(id, (topic, _))| (*id, topic.clone())).collect();
        Terms { session_id: self.id, session_epoch: self.epoch, named, forgotten }
    }

    /// The answer to the last fetch has come, and names this session: 0 if there is none.
    pub(super) fn answered(&mut self, session_id: i32) {
        if self.epoch == INITIAL_EPOCH {
            self.id = session_id;
        }
        if session_id == 0 || session_id != self.id {
            return self.begin_anew();
        }
        self.epoch = if self.epoch == i32::MAX { 1 } else { self.epoch + 1 };
    }

    /// Nobody knows what the leader has of the session: the next fetch begins another, and ends
    /// this one.
    pub(super) fn begin_anew(&mut self) {
        self.epoch = INITIAL_EPOCH;
        self.told.clear();
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::replication::epochs::FetchPosition;
    use crate::types::{LeaderEpoch, Offset, PartitionId};

    const TOPIC: TopicId = TopicId(Uuid::from_u128(7));

    fn ask(offset: i64) -> FetchAsk {
        FetchAsk {
            leader_epoch: LeaderEpoch(3),
            position: FetchPosition {
                fetch_offset: Offset(offset),
                last_fetched_epoch: LeaderEpoch(3),
            },
            log_start: Offset::ZERO,
        }
    }

    /// The next terms for partitions with these indexes and offsets: id, epoch, named, forgotten.
    fn next(session: &mut Session, asked: &[(i32, i64)]) -> (i32, i32, Vec<usize>, Vec<i32>) {
        let places: Vec<TopicPartition> =
            asked.iter().map(|(index, _)| TopicPartition::new("t", *index)).collect();
        let asked = places.iter().zip(asked).map(|(place, (_, at))| (place, TOPIC, ask(*at)));
        let terms = session.next(asked);
        let forgotten = terms.forgotten.iter().map(|(id, _)| id.partition.0).collect();
        (terms.session_id, terms.session_epoch, terms.named, forgotten)
    }

    #[test]
    fn after_everything_only_changes_are_named() {
        let mut session = Session::default();
        assert_eq!(next(&mut session, &[(0, 5), (1, 5)]), (0, 0, vec![0, 1], vec![]));
        session.answered(9);
        assert_eq!(next(&mut session, &[(0, 5), (1, 5)]), (9, 1, vec![], vec![]));
        session.answered(9);
        assert_eq!(next(&mut session, &[(0, 5), (1, 6), (2, 0)]), (9, 2, vec![1, 2], vec![]));
        session.answered(9);
        assert_eq!(next(&mut session, &[(2, 0), (0, 7)]), (9, 3, vec![1], vec![1]));
        session.answered(9);
        assert_eq!(next(&mut session, &[(1, 6)]), (9, 4, vec![0], vec![0, 2]));
    }

    #[test]
    fn a_lost_session_is_ended_and_begun_anew_with_everything() {
        let mut session = Session::default();
        next(&mut session, &[(0, 5), (1, 5)]);
        session.answered(9);
        next(&mut session, &[(0, 5), (1, 6)]);
        session.begin_anew();
        assert_eq!(next(&mut session, &[(0, 5)]), (9, 0, vec![0], vec![]), "it ends the old one");
        session.answered(10);
        assert_eq!(next(&mut session, &[(0, 5)]), (10, 1, vec![], vec![]));
        session.answered(0);
        assert_eq!(next(&mut session, &[(0, 5)]), (10, 0, vec![0], vec![]), "the leader ended it");
    }

    #[test]
    fn a_leader_without_room_for_a_session_is_told_everything_each_time() {
        let mut session = Session::default();
        for _ in 0..3 {
            assert_eq!(next(&mut session, &[(0, 5)]), (0, 0, vec![0], vec![]));
            session.answered(0);
        }
    }

    #[test]
    fn a_topic_made_again_is_another_partition() {
        let mut session = Session::default();
        next(&mut session, &[(0, 5)]);
        session.answered(9);
        let place = TopicPartition::new("t", 0);
        let other = TopicId(Uuid::from_u128(8));
        let terms = session.next([(&place, other, ask(5))].into_iter());
        let old = TopicIdPartition { topic_id: TOPIC, partition: PartitionId(0) };
        assert_eq!(terms.named, [0]);
        assert_eq!(terms.forgotten, [(old, place.topic)]);
    }

    #[test]
    fn epochs_count_round_without_zero() {
        let mut session = Session::default();
        next(&mut session, &[(0, 5)]);
        session.answered(9);
        session.epoch = i32::MAX;
        session.answered(9);
        assert_eq!(next(&mut session, &[(0, 5)]).1, 1);
    }

    proptest! {
        /// Whatever is asked and however often a session is lost on the way, the leader serves just
        /// what was asked.
        #[test]
        fn the_leader_serves_just_what_is_asked(
            fetches in prop::collection::vec(
                (prop::collection::btree_map(0..6i32, 0..4i64, 0..6), 0..8u8), 1..60
            )
        ) {
            let mut session = Session::default();
            // What the leader keeps: its session's id, its next epoch, and what it serves.
            let mut leader: Option<(i32, i32, BTreeMap<i32, i64>)> = None;
            let mut last_id = 0;
            for (wanted, fate) in fetches {
                let asked: Vec<(i32, i64)> = wanted.clone().into_iter().collect();
                let (id, epoch, named, forgotten) = next(&mut session, &asked);
                let kept = leader.take().filter(|(kept, _, _)| *kept == id);
                let mut serves = match kept {
                    Some((_, expected, serves)) if epoch > 0 => {
                        prop_assert_eq!(epoch, expected);
                        serves
                    }
                    None if epoch > 0 => {
                        // FETCH_SESSION_ID_NOT_FOUND.
                        session.begin_anew();
                        continue;
                    }
                    Some(_) | None => {
                        last_id += 1;
                        BTreeMap::new()
                    }
                };
                for index in forgotten {
                    prop_assert!(serves.remove(&index).is_some());
                }
                serves.extend(named.iter().map(|&place| asked[place]));
                prop_assert_eq!(&serves, &wanted);
                let id = if epoch > 0 { id } else { last_id };
                leader = Some((id, epoch + 1, serves));
                match fate {
                    // The answer is lost.
                    0 => session.begin_anew(),
                    // The leader throws the session out.
                    1 => {
                        session.answered(id);
                        leader = None;
                    }
                    _ => session.answered(id),
                }
            }
        }
    }
}
