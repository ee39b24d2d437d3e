//! What goes in.

use super::world::*;
use crate::log::{AppendError, AppendOrigin, LogConfig};
use crate::types::{ErrorCode, LeaderEpoch, Offset};

#[test]
fn offsets_and_epochs_are_the_brokers_to_give() {
    let world = World::new();
    let (_directory, log) = one_log(&world);
    for (count, base, next) in [(3, 0, 3), (1, 3, 4), (10, 4, 14)] {
        let info =
            log.append_as_leader(batch(count), LeaderEpoch(2), AppendOrigin::Client).unwrap();
        assert_eq!((info.base_offset, info.next_offset), (Offset(base), Offset(next)));
    }
    assert_eq!(log.log_end_offset(), Offset(14));
    assert_eq!(log.latest_epoch(), Some(LeaderEpoch(2)));
    assert_eq!(offsets(&read_all(&log, 1)), (0..14).collect::<Vec<_>>());
    let stale = log.append_as_leader(batch(1), LeaderEpoch(1), AppendOrigin::Client).unwrap_err();
    assert_eq!(stale.error_code(), ErrorCode::NotLeaderOrFollower);
}

#[test]
fn a_follower_keeps_offsets_and_epochs() {
    let world = World::new();
    let (_directory, log) = one_log(&world);
    let first = batch_at(Offset(0), LeaderEpoch(1), 2);
    let second = batch_at(Offset(2), LeaderEpoch(3), 2);
    let incomplete = batch_at(Offset(4), LeaderEpoch(3), 2).slice(..90);
    let info = log
        .append_as_follower([&first[..], &second, &incomplete].concat().into(), LeaderEpoch(3))
        .unwrap();
    assert_eq!((info.base_offset, info.next_offset), (Offset(0), Offset(4)));
    assert_eq!(log.end_offset_for_epoch(LeaderEpoch(1)).end_offset, Offset(2));
    assert_eq!(log.epoch_at(Offset(3)), Some(LeaderEpoch(3)));

    let again = log.append_as_follower(second, LeaderEpoch(3)).unwrap_err();
    assert!(matches!(again, AppendError::OffsetGap { expected: Offset(4), got: Offset(2) }));
    let ahead = batch_at(Offset(4), LeaderEpoch(4), 1);
    let ahead = log.append_as_follower(ahead, LeaderEpoch(3)).unwrap_err();
    assert_eq!(ahead.error_code(), ErrorCode::CorruptMessage);
}

#[test]
fn an_empty_log_begins_with_a_batch_around_its_start() {
    for crash in [None, Some(1), Some(2), Some(3)] {
        let world = World::new();
        let (directory, log) = one_log(&world);
        log.truncate_fully_and_start_at_blocking(Offset(5)).unwrap();
        let around = batch_at(Offset(2), EPOCH, 6);
        let refused = log.append_as_follower(around.clone(), EPOCH).unwrap_err();
        assert!(matches!(
            refused,
            AppendError::AroundStart { log_start: Offset(5), got: Offset(2) }
        ));
        let before = log.append_around_start_blocking(batch_at(Offset(2), EPOCH, 3), EPOCH);
        assert!(matches!(before, Err(AppendError::OffsetGap { .. })), "it ends before the start");
        log.set_config(LogConfig { flush_messages: Some(1), ..LogConfig::default() });
        log.append_around_start_blocking(around.clone(), EPOCH).unwrap();
        assert_eq!(log.flushed_offset(), Offset(8), "flush.messages holds here too");
        log.set_config(LogConfig::default());
        log.append_as_follower(batch_at(Offset(8), EPOCH, 2), EPOCH).unwrap();
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(5), Offset(10)));
        let again = log.append_around_start_blocking(around, EPOCH);
        assert!(matches!(again, Err(AppendError::OffsetGap { .. })), "it is not empty");
        if crash.is_some() {
            directory.checkpoint_blocking().unwrap();
        }
        let world = crash.map_or_else(|| world.kill(), |seed| world.crash(seed));
        let directory = world.open();
        let log = directory.log(log.topic_partition()).unwrap();
        assert_eq!((log.log_start_offset(), log.log_end_offset()), (Offset(5), Offset(10)));
    }
}

#[test]
fn rule_20_a_repeated_batch_is_answered_with_its_offset() {
    let world = World::new();
    let (_directory, log) = one_log(&world);
    let append = |batch| log.append_as_leader(batch, EPOCH, AppendOrigin::Client);
    append(batch(5)).unwrap();
    let first = append(idempotent(9, 0, 0, 2)).unwrap();
    append(idempotent(9, 0, 2, 3)).unwrap();
    let again = append(idempotent(9, 0, 0, 2)).unwrap();
    assert!(again.duplicate && !first.duplicate);
    assert_eq!((again.base_offset, again.next_offset), (first.base_offset, first.next_offset));
    assert_eq!(log.log_end_offset(), Offset(10), "nothing was appended twice");
    for (refused, code) in [
        (idempotent(9, 0, 7, 1), ErrorCode::OutOfOrderSequenceNumber),
        (idempotent(8, 0, 1, 1), ErrorCode::OutOfOrderSequenceNumber),
    ] {
        assert_eq!(append(refused).unwrap_err().error_code(), code);
    }
    append(idempotent(9, 1, 0, 1)).unwrap();
    let fenced = append(idempotent(9, 0, 5, 1)).unwrap_err();
    assert_eq!(fenced.error_code(), ErrorCode::InvalidProducerEpoch);
}
