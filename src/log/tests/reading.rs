//! What comes out.

use super::world::*;
use crate::log::{AppendOrigin, ReadError};
use crate::types::{Offset, TimestampMs};

#[test]
fn limits_are_kept_but_for_the_first_batch() {
    let world = World::new();
    let (_directory, log) = one_log(&world);
    for _ in 0..4 {
        log.append_as_leader(batch(5), EPOCH, AppendOrigin::Client).unwrap();
    }
    let one = batch(5).len();
    for (from, limit, max_bytes, at_least_one, batches, next) in [
        (0, 20, 10 * one, false, 4, 20),
        (0, 20, 3 * one - 1, false, 2, 10),
        (7, 20, one, false, 1, 10),
        (0, 20, one - 1, false, 0, 0),
        (0, 20, one - 1, true, 1, 5),
        (0, 20, 0, true, 1, 5),
        (0, 10, 10 * one, true, 2, 10),
        (0, 9, 10 * one, true, 1, 5),
        (0, 0, 10 * one, true, 0, 0),
        (20, 20, 10 * one, true, 0, 20),
        (20, 99, 10 * one, true, 0, 20),
    ] {
        let slice = log.read(Offset(from), Offset(limit), max_bytes, at_least_one).unwrap();
        let what = (from, limit, max_bytes, at_least_one);
        assert_eq!(slice.records.len(), batches * one, "{what:?}");
        assert_eq!(slice.next_offset, Offset(next), "{what:?}");
    }
    for outside in [-1, 21] {
        let error = log.read(Offset(outside), Offset(99), 1, true).unwrap_err();
        assert!(matches!(error, ReadError::OutOfRange { .. }), "{outside}");
    }
}

#[test]
fn reading_goes_on_across_segments() {
    let world = World::new();
    let (_directory, log) = one_log(&world);
    log.set_config(small_segments());
    for _ in 0..50 {
        log.append_as_leader(batch(3), EPOCH, AppendOrigin::Client).unwrap();
    }
    assert!(log.segment_count() > 5);
    for step in [1, 700, 100_000] {
        assert_eq!(offsets(&read_all(&log, step)), (0..150).collect::<Vec<_>>());
    }
}

#[test]
fn records_are_found_by_time() {
    let world = World::new();
    let (_directory, log) = one_log(&world);
    log.set_config(small_segments());
    assert_eq!(log.max_timestamp_offset().unwrap(), None);
    for index in 0..60 {
        let mut builder = crate::record::BatchBuilder::new(Offset::ZERO);
        for record in 0..3 {
            let timestamp = TimestampMs(START.0 + index * 10 + record);
            builder.push(timestamp, None, Some(&[b'v'; 100]), &[]).unwrap();
        }
        log.append_as_leader(builder.build().unwrap(), EPOCH, AppendOrigin::Client).unwrap();
    }
    for (after, found) in [
        (-5, Some((0, 0))),
        (1, Some((1, 1))),
        (3, Some((10, 3))),
        (592, Some((592, 179))),
        (593, None),
    ] {
        let found = found.map(|(ms, offset)| (TimestampMs(START.0 + ms), Offset(offset), EPOCH));
        assert_eq!(log.offset_for_timestamp(TimestampMs(START.0 + after)).unwrap(), found);
    }
    let max = Some((TimestampMs(START.0 + 592), Offset(179), EPOCH));
    assert_eq!(log.max_timestamp_offset().unwrap(), max);
}
