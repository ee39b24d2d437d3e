//! The rebalances of groups as records of a compacted internal topic, [`GROUP_HISTORY`]: beside
//! `__consumer_offsets`, which stays exactly Kafka's. A record's key is the group and a slot, the
//! generation modulo [`SLOTS`], so that compaction keeps a group's last rebalances. Pure.

use bytes::Bytes;

use crate::coordinator::group::ids::{GroupId, MemberId};
use crate::coordinator::group::rebalance::{Moved, Rebalance, RebalanceCause};
use crate::message;
use crate::metadata::topic_name::GROUP_HISTORY;
use crate::protocol::codec::Str;
use crate::protocol::{DecodeError, EncodeError, Message, Reader, Writer};
use crate::types::{TimestampMs, TopicPartition};

/// How many rebalances of a group are kept.
pub const SLOTS: i32 = 50;

/// How many partitions are named of all that moved, so that a record always fits into its topic.
const MOVED_NAMED: usize = 2_000;

/// The version of both messages that is written.
const VERSION: i16 = 0;

message! {
    /// Whose rebalance, and in which slot.
    pub message HistoryKey (flexible 0) {
        group: Str [0..];
        slot: i32 [0..];
    }

    /// The rebalance.
    pub message HistoryValue (flexible 0) {
        at_ms: i64 [0..];
        took_ms: i64 [0..];
        generation: i32 [0..];
        /// See `number`.
        cause: i8 [0..];
        member: Option<Str> [0..];
        client_id: Str [0..];
        client_host: Str [0..];
        reason: Str [0..];
        members: i32 [0..];
        /// How many partitions moved; the first of them are named.
        moved_total: i32 [0..];
        moved: Vec<HistoryMoved> [0..];
    }

    /// A partition that changed hands.
    pub struct HistoryMoved {
        topic: Str [0..];
        partition: i32 [0..];
        from: Option<Str> [0..];
        to: Option<Str> [0..];
    }
}

macro_rules! causes {
    ($($number:literal $cause:ident;)*) => {
        /// The number under which a cause is stored. Exhaustive, so that no cause is forgotten.
        fn number(cause: RebalanceCause) -> i8 {
            match cause {
                $(RebalanceCause::$cause => $number,)*
            }
        }

        /// The cause of a number.
        fn cause_of(number: i8) -> Option<RebalanceCause> {
            match number {
                $($number => Some(RebalanceCause::$cause),)*
                _ => None,
            }
        }

        #[cfg(test)]
        const CAUSES: &[(i8, RebalanceCause)] = &[$(($number, RebalanceCause::$cause)),*];
    };
}

// Only ever added to: the numbers are on disks.
causes! {
    0 MemberJoined;
    1 MemberLeft;
    2 SessionTimedOut;
    3 PollTimedOut;
    4 RebalanceTimedOut;
    5 SubscriptionChanged;
    6 PartitionsChanged;
    7 LeaderRejoined;
    8 CoordinatorMoved;
    9 ProtocolChanged;
    10 MemberRemoved;
    11 MemberRejoined;
}

/// Why a record cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// Its bytes are damaged.
    #[error("a record of {GROUP_HISTORY} cannot be read: {0}")]
    Damaged(#[from] DecodeError),
    /// It was written by a later version.
    #[error("a record of {GROUP_HISTORY} is of version {0}, which this version does not know")]
    UnknownVersion(i16),
    /// It has a cause that was invented later.
    #[error("a record of {GROUP_HISTORY} names cause {0}, which this version does not know")]
    UnknownCause(i8),
}

/// Key and value of a rebalance.
///
/// # Errors
/// A name in it is too long for the wire.
pub fn encode(rebalance: &Rebalance) -> Result<(Bytes, Bytes), EncodeError> {
    let key = HistoryKey {
        group: (&*rebalance.group).into(),
        slot: rebalance.generation.rem_euclid(SLOTS),
    };
    let moved = rebalance.moved.iter().take(MOVED_NAMED).map(|moved| HistoryMoved {
        topic: moved.partition.topic.as_str().into(),
        partition: moved.partition.partition.0,
        from: moved.from.as_deref().map(Into::into),
        to: moved.to.as_deref().map(Into::into),
    });
    let value = HistoryValue {
        at_ms: rebalance.at.0,
        took_ms: rebalance.took_ms,
        generation: rebalance.generation,
        cause: number(rebalance.cause),
        member: rebalance.member.as_deref().map(Into::into),
        client_id: rebalance.client_id.as_str().into(),
        client_host: rebalance.client_host.as_str().into(),
        reason: rebalance.reason.as_str().into(),
        members: i32::try_from(rebalance.members).unwrap_or(i32::MAX),
        moved_total: i32::try_from(rebalance.moved.len()).unwrap_or(i32::MAX),
        moved: moved.collect(),
    };
    Ok((versioned(&key)?, versioned(&value)?))
}

/// A rebalance as it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remembered {
    /// The rebalance; of very many partitions that moved only the first are named.
    pub rebalance: Rebalance,
    /// How many partitions moved.
    pub moved_total: usize,
}

/// The rebalance that a record tells of.
///
/// # Errors
/// See [`HistoryError`].
pub fn decode(key: Bytes, value: Bytes) -> Result<Remembered, HistoryError> {
    let key: HistoryKey = unversioned(key)?;
    let value: HistoryValue = unversioned(value)?;
    let cause = cause_of(value.cause).ok_or(HistoryError::UnknownCause(value.cause))?;
    let moved = value.moved.iter().map(|moved| Moved {
        partition: TopicPartition::new(&*moved.topic, moved.partition),
        from: moved.from.as_deref().map(MemberId::from),
        to: moved.to.as_deref().map(MemberId::from),
    });
    let rebalance = Rebalance {
        group: GroupId::from(&*key.group),
        at: TimestampMs(value.at_ms),
        took_ms: value.took_ms,
        generation: value.generation,
        cause,
        member: value.member.as_deref().map(MemberId::from),
        client_id: value.client_id.to_string(),
        client_host: value.client_host.to_string(),
        reason: value.reason.to_string(),
        members: usize::try_from(value.members).unwrap_or(0),
        moved: moved.collect(),
    };
    Ok(Remembered { rebalance, moved_total: usize::try_from(value.moved_total).unwrap_or(0) })
}

fn versioned<M: Message>(message: &M) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    writer.put(&VERSION.to_be_bytes());
    message.encode(&mut writer, VERSION)?;
    Ok(writer.into_bytes())
}

fn unversioned<M: Message>(bytes: Bytes) -> Result<M, HistoryError> {
    let mut reader = Reader::new(bytes);
    match reader.i16()? {
        VERSION => {
            let message = M::decode(&mut reader, VERSION)?;
            reader.finish()?;
            Ok(message)
        }
        later => Err(HistoryError::UnknownVersion(later)),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn rebalance(cause: RebalanceCause) -> Rebalance {
        Rebalance {
            group: "g".into(),
            at: TimestampMs(1_700_000_000_000),
            took_ms: 12,
            generation: 57,
            cause,
            member: Some("m-1".into()),
            client_id: "c".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            reason: "it was time".to_owned(),
            members: 2,
            moved: vec![Moved {
                partition: TopicPartition::new("orders", 3),
                from: None,
                to: Some("m-2".into()),
            }],
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for (stored, cause) in CAUSES {
            assert_eq!(number(*cause), *stored);
            let (key, value) = encode(&rebalance(*cause)).unwrap();
            let remembered = Remembered { rebalance: rebalance(*cause), moved_total: 1 };
            assert_eq!(decode(key, value), Ok(remembered));
        }
    }

    #[test]
    fn of_very_many_partitions_the_first_are_named() {
        let mut many = rebalance(RebalanceCause::PartitionsChanged);
        many.moved = vec![many.moved[0].clone(); 100_000];
        let (key, value) = encode(&many).unwrap();
        assert!(value.len() < 500_000, "{}", value.len());
        let read = decode(key, value).unwrap();
        assert_eq!((read.moved_total, read.rebalance.moved.len()), (100_000, MOVED_NAMED));
    }

    #[test]
    fn a_group_has_fifty_keys() {
        let key = |generation| {
            let rebalance = Rebalance { generation, ..rebalance(RebalanceCause::MemberLeft) };
            encode(&rebalance).unwrap().0
        };
        assert_eq!(key(7), key(57));
        let keys: std::collections::BTreeSet<Bytes> = (0..500).map(key).collect();
        assert_eq!(keys.len(), 50);
    }

    /// The format is on disks: this must never change.
    #[test]
    fn the_bytes_are_these() {
        let (key, value) = encode(&rebalance(RebalanceCause::SessionTimedOut)).unwrap();
        assert_eq!(&key[..], [0, 0, 2, b'g', 0, 0, 0, 7, 0]);
        #[rustfmt::skip]
        let expected: &[u8] = &[
            0, 0,                                              // version
            0, 0, 1, 0x8b, 0xcf, 0xe5, 0x68, 0,                // at
            0, 0, 0, 0, 0, 0, 0, 12,                           // took
            0, 0, 0, 57,                                       // generation
            2,                                                 // cause
            4, b'm', b'-', b'1',                               // member
            2, b'c',                                           // client id
            11, b'/', b'1', b'2', b'7', b'.', b'0', b'.', b'0', b'.', b'1',
            12, b'i', b't', b' ', b'w', b'a', b's', b' ', b't', b'i', b'm', b'e',
            0, 0, 0, 2,                                        // members
            0, 0, 0, 1,                                        // moved in all
            2,                                                 // one moved
            7, b'o', b'r', b'd', b'e', b'r', b's',
            0, 0, 0, 3,                                        // partition
            0,                                                 // from nobody
            4, b'm', b'-', b'2',                               // to
            0, 0,                                              // no tags
        ];
        assert_eq!(&value[..], expected);
    }

    #[test]
    fn what_cannot_be_read_says_why() {
        let (key, value) = encode(&rebalance(RebalanceCause::MemberLeft)).unwrap();
        let mut later = value.to_vec();
        later[1] = 9;
        let unknown = decode(key.clone(), later.into());
        assert_eq!(unknown, Err(HistoryError::UnknownVersion(9)));
        let mut strange = value.to_vec();
        strange[22] = 99;
        assert_eq!(decode(key.clone(), strange.into()), Err(HistoryError::UnknownCause(99)));
        for cut in 0..value.len() {
            assert!(decode(key.clone(), value.slice(..cut)).is_err(), "{cut}");
        }
    }
}
