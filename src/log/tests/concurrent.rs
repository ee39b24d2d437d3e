//! Many threads appending to one log.

use super::world::*;
use crate::log::{AppendOrigin, Log};
use crate::storage::Operation;
use crate::types::{ErrorCode, Offset};

const THREADS: usize = 8;
const APPENDS: usize = 50;

/// Each thread appends batches of one to three records until it is refused. Gives the base and next
/// offsets of what was accepted, and the errors.
fn append_from_all_sides(log: &Log) -> (Vec<(Offset, Offset)>, Vec<ErrorCode>) {
    let one_side = |thread: usize| {
        let mut accepted = Vec::new();
        for index in 0..APPENDS {
            let count = (thread + index) % 3 + 1;
            match log.append_as_leader(batch(count), EPOCH, AppendOrigin::Client) {
                Ok(info) => {
                    assert_eq!(info.next_offset, info.base_offset.plus(count as i64));
                    accepted.push((info.base_offset, info.next_offset));
                }
                Err(error) => return (accepted, Some(error.error_code())),
            }
        }
        (accepted, None)
    };
    let (mut accepted, mut errors) = (Vec::new(), Vec::new());
    std::thread::scope(|scope| {
        let sides: Vec<_> =
            (0..THREADS).map(|thread| scope.spawn(move || one_side(thread))).collect();
        for side in sides {
            let (ranges, error) = side.join().unwrap();
            accepted.extend(ranges);
            errors.extend(error);
        }
    });
    accepted.sort();
    (accepted, errors)
}

fn assert_dense(accepted: &[(Offset, Offset)]) -> Offset {
    accepted.iter().fold(Offset::ZERO, |expected, &(base, next)| {
        assert_eq!(base, expected, "offsets have a gap, or were given twice");
        next
    })
}

#[test]
fn concurrent_appends_get_dense_offsets_and_outlive_the_process() {
    let world = World::new();
    let directory = world.open();
    let log = directory.create(&orders(), TOPIC_ID, small_segments()).unwrap();
    let (accepted, errors) = append_from_all_sides(&log);
    assert!(errors.is_empty(), "{errors:?}");
    assert_eq!(accepted.len(), THREADS * APPENDS);
    let end = assert_dense(&accepted);
    assert_eq!(log.log_end_offset(), end);
    assert!(log.segment_count() > 1, "segments were rolled meanwhile");

    log.flush_blocking().unwrap();
    let killed = world.kill();
    let recovered = |world: &World| {
        let directory = world.open();
        read_all(&directory.log(&orders()).unwrap(), 1)
    };
    let expected: Vec<i64> = (0..end.0).collect();
    assert_eq!(offsets(&recovered(&killed)), expected, "after it was killed");
    assert_eq!(offsets(&recovered(&killed.crash(5))), expected, "after a crash");
}

#[test]
fn a_failed_write_among_concurrent_appends_fails_all_that_follow() {
    for nth in [1, 2, 37] {
        let world = World::new();
        let (directory, log) = one_log(&world);
        world.disk.fail(Operation::Write, nth);
        let (accepted, errors) = append_from_all_sides(&log);
        assert_eq!(errors, [ErrorCode::KafkaStorageError; THREADS], "write {nth}");
        assert!(log.is_poisoned() && directory.is_offline(), "write {nth}");
        assert_eq!(accepted.len() as u64, nth - 1, "none is accepted after the failure");
        let end = assert_dense(&accepted);

        let directory = world.kill().open();
        let log = directory.log(&orders()).unwrap();
        assert_eq!(offsets(&read_all(&log, 1)), (0..end.0).collect::<Vec<_>>(), "write {nth}");
    }
}
