//! What a verification finds: each kind of damage at each place, and nothing where all is sound.

use std::io::IoSlice;
use std::path::PathBuf;
use std::sync::Arc;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

use super::world::*;
use crate::log::segment::file_name;
use crate::log::{AppendOrigin, Finding, Log, LogConfig, ReadError};
use crate::record::HEADER_BYTES;
use crate::storage::{Disk, OpenMode};
use crate::types::{ErrorCode, LeaderEpoch, Offset};

fn path(base: Offset) -> PathBuf {
    PathBuf::from("/data/orders-0").join(file_name(base))
}

fn overwrite(world: &World, base: Offset, position: u64, bytes: &[u8]) {
    let file = world.disk.open(&path(base), OpenMode::Write).unwrap();
    file.write_at(&[IoSlice::new(bytes)], position).unwrap();
}

/// The findings of one segment, verified in steps of `budget` bytes.
fn verify(log: &Arc<Log>, base: Offset, budget: u64) -> Vec<Finding> {
    let mut check = log.verify_segment(base).unwrap();
    while !check.is_done() {
        check.step(budget);
    }
    assert_eq!(check.verified_bytes(), check.size_bytes());
    check.conclude().expect("nothing has moved")
}

/// A log of several segments and two reigns, with batches of different sizes.
fn several_segments(world: &World) -> (Arc<crate::log::LogDirectory>, Arc<Log>) {
    let (directory, log) = one_log(world);
    log.set_config(LogConfig { segment_bytes: 1_000, ..LogConfig::default() });
    for index in 0..12 {
        let epoch = LeaderEpoch(if index < 7 { 1 } else { 4 });
        let records = batch(1 + index % 5);
        log.append_as_leader(records, epoch, AppendOrigin::Client).unwrap();
    }
    log.set_high_watermark(log.log_end_offset());
    assert!(log.segment_count() > 2, "{} segments", log.segment_count());
    (directory, log)
}

#[test]
fn nothing_sound_is_found() {
    let world = World::new();
    let (_directory, log) = several_segments(&world);
    for base in log.segments_to_verify() {
        for budget in [1, 700, 1 << 20] {
            assert_eq!(verify(&log, base, budget), [], "segment {base}");
        }
    }
    assert!(log.damage().is_empty() && log.segments_to_mend().is_empty());
}

#[test]
fn every_bit_of_every_segment_is_watched() {
    let world = World::new();
    let (_directory, log) = several_segments(&world);
    for base in log.segments_to_verify() {
        let original = world.disk.read(&path(base)).unwrap();
        for position in 0..original.len() {
            let flipped = original[position] ^ (1 << (position % 8));
            overwrite(&world, base, position as u64, &[flipped]);
            let findings = verify(&log, base, 1 << 20);
            let at = position as u64;
            assert!(
                findings.iter().any(|found| found.position <= at && at < found.end),
                "segment {base}, byte {position}: {findings:?}"
            );
            overwrite(&world, base, position as u64, &original[position..=position]);
        }
        assert_eq!(verify(&log, base, 1 << 20), [], "mended by hand");
    }
    assert!(log.damage().is_empty());
}

#[test]
fn damage_in_one_batch_is_damage_of_that_batch() {
    let world = World::new();
    let (_directory, log) = several_segments(&world);
    let base = log.segments_to_verify()[1];
    let original = world.disk.read(&path(base)).unwrap();
    let mut rest = bytes::Bytes::from(original.clone());
    let mut position = 0;
    while !rest.is_empty() {
        let header = crate::record::Batch::split_from(&mut rest).unwrap().header;
        let at = position + HEADER_BYTES as u64 + 3;
        overwrite(&world, base, at, &[!original[at as usize]]);
        let [found] = &verify(&log, base, 1 << 20)[..] else { panic!("one finding") };
        let end = position + header.size_bytes() as u64;
        assert_eq!((found.position, found.end), (position, end));
        assert_eq!((found.from, found.to), (header.base_offset, header.next_offset()));
        assert!(found.reason.contains("checksum"), "{}", found.reason);
        overwrite(&world, base, at, &original[at as usize..=at as usize]);
        position = end;
    }
}

#[test]
fn zeros_lost_tails_and_foreign_bytes_are_found() {
    let world = World::new();
    let (_directory, log) = several_segments(&world);
    let bases = log.segments_to_verify();
    for &base in &bases {
        let original = world.disk.read(&path(base)).unwrap();
        let length = original.len();
        let other = bases.iter().find(|other| **other != base).unwrap();
        let foreign = world.disk.read(&path(*other)).unwrap();
        let foreign = foreign[..length.min(foreign.len())].to_vec();
        for (what, position, bytes) in [
            ("zeros at the start", 0, vec![0; 512.min(length)]),
            ("zeros in the middle", length / 2, vec![0; length / 4]),
            ("zeros at the end", length - 100, vec![0; 100]),
            ("all zeros", 0, vec![0; length]),
            ("another segment's bytes", 0, foreign),
        ] {
            overwrite(&world, base, position as u64, &bytes);
            let findings = verify(&log, base, 1 << 20);
            assert!(!findings.is_empty(), "segment {base}: {what}");
            let end = findings.last().unwrap().end;
            assert!(end >= (position + bytes.len()) as u64, "segment {base}: {what}");
            overwrite(&world, base, 0, &original);
        }
        let file = world.disk.open(&path(base), OpenMode::Write).unwrap();
        file.set_len(length as u64 - 1).unwrap();
        let findings = verify(&log, base, 1 << 20);
        assert_eq!(findings.len(), 1, "segment {base}: a lost byte");
        overwrite(&world, base, 0, &original);
        assert_eq!(verify(&log, base, 1 << 20), []);
    }
}

#[test]
fn a_damaged_length_costs_no_more_than_up_to_the_next_mark() {
    let world = World::new();
    let (_directory, log) = one_log(&world);
    let large = || {
        let mut builder = crate::record::BatchBuilder::new(Offset::ZERO);
        builder.push(START, None, Some(&[7; 200_000]), &[]).unwrap();
        builder.build().unwrap()
    };
    let size_bytes = large().len() as u64;
    for _ in 0..30 {
        log.append_as_leader(large(), EPOCH, AppendOrigin::Client).unwrap();
    }
    log.set_high_watermark(log.log_end_offset());
    overwrite(&world, Offset::ZERO, 12 * size_bytes + 8, &[0x7f]);
    let [found] = &verify(&log, Offset::ZERO, 1000)[..] else { panic!("one finding") };
    assert_eq!((found.position, found.from), (12 * size_bytes, Offset(12)));
    assert!(found.to > Offset(12) && found.to <= Offset(18), "{found:?}");
    assert_eq!(found.end, found.to.0 as u64 * size_bytes);
}

#[test]
fn seeds_of_damage() {
    for seed in 0..60 {
        let world = World::new();
        let (_directory, log) = several_segments(&world);
        let mut random = StdRng::seed_from_u64(seed);
        let bases = log.segments_to_verify();
        let base = bases[random.random_range(0..bases.len())];
        let original = world.disk.read(&path(base)).unwrap();
        let mut damaged = original.clone();
        for _ in 0..random.random_range(1..4) {
            let at = random.random_range(0..damaged.len());
            let length = random.random_range(1..200).min(damaged.len() - at);
            damaged[at..at + length].fill_with(|| random.random_range(0..=255));
        }
        overwrite(&world, base, 0, &damaged);
        let findings = verify(&log, base, random.random_range(1..5_000));
        for (at, (now, before)) in damaged.iter().zip(&original).enumerate() {
            let at = at as u64;
            let is_found = findings.iter().any(|it| it.position <= at && at < it.end);
            assert!(now == before || is_found, "seed {seed}: byte {at} of {base}: {findings:?}");
        }
        for pair in findings.windows(2) {
            assert!(pair[0].end <= pair[1].position, "seed {seed}: {findings:?}");
            assert!(pair[0].to <= pair[1].from, "seed {seed}: {findings:?}");
        }
    }
}

#[test]
fn where_offsets_are_missing_the_batch_that_lies_is_found_out() {
    let world = World::new();
    let (_directory, log) = one_log(&world);
    log.set_config(LogConfig { cleanup_compact: true, ..LogConfig::default() });
    let mut positions = vec![0];
    for base in [0, 10, 20, 30] {
        let records = batch_at(Offset(base), EPOCH, 3);
        positions.push(positions[positions.len() - 1] + records.len() as u64);
        log.append_as_follower(records, EPOCH).unwrap();
    }
    log.set_high_watermark(log.log_end_offset());
    assert_eq!(verify(&log, Offset::ZERO, 1 << 20), [], "gaps are no damage");
    overwrite(&world, Offset::ZERO, positions[1], &21_i64.to_be_bytes());
    let [found] = &verify(&log, Offset::ZERO, 1 << 20)[..] else { panic!("one finding") };
    assert_eq!((found.position, found.end), (positions[1], positions[2]));
    assert_eq!((found.from, found.to), (Offset(3), Offset(20)));
}

#[test]
fn damage_that_is_known_is_not_read_and_the_rest_is() {
    let world = World::new();
    let (directory, log) = several_segments(&world);
    let mut notices = directory.watch_damage();
    notices.borrow_and_update();
    let base = log.segments_to_verify()[1];
    let at = HEADER_BYTES as u64 + 3;
    let original = world.disk.read(&path(base)).unwrap();
    overwrite(&world, base, at, &[!original[at as usize]]);
    let [found] = &verify(&log, base, 1 << 20)[..] else { panic!("one finding") };
    assert!(notices.has_changed().unwrap());
    assert_eq!(log.segments_to_mend(), [base]);
    let end = log.log_end_offset();
    let before = log.read(found.from.plus(-1), end, 1 << 20, true).unwrap();
    assert_eq!(before.next_offset, found.from);
    for offset in found.from.0..found.to.0 {
        let refused = log.read(Offset(offset), end, 1 << 20, true).unwrap_err();
        assert!(matches!(refused, ReadError::Damaged { .. }), "{refused}");
        assert_eq!(refused.error_code(), ErrorCode::KafkaStorageError);
    }
    assert!(!log.read(found.to, end, 1 << 20, true).unwrap().records.is_empty());
    overwrite(&world, base, at, &original[at as usize..=at as usize]);
    assert_eq!(verify(&log, base, 1 << 20), []);
    assert!(log.segments_to_mend().is_empty());
    assert!(log.read(found.from, end, 1 << 20, true).is_ok());
}

#[test]
fn known_damage_is_not_served_after_a_restart_either() {
    let world = World::new();
    let (directory, log) = several_segments(&world);
    let base = log.segments_to_verify()[1];
    overwrite(&world, base, HEADER_BYTES as u64 + 3, &[0xff]);
    let found = verify(&log, base, 1 << 20);
    directory.checkpoint_blocking().unwrap();
    let world = world.crash(7);
    let directory = world.open();
    let log = directory.log(&orders()).unwrap();
    let known = log.damage();
    assert_eq!((known[0].from, known[0].to), (found[0].from, found[0].to));
    let refused = log.read(known[0].from, log.log_end_offset(), 1 << 20, true).unwrap_err();
    assert!(matches!(refused, ReadError::Damaged { .. }), "{refused}");
    log.advance_log_start_blocking(log.segments_to_verify()[2]).unwrap();
    directory.checkpoint_blocking().unwrap();
    let log = world.kill().open().log(&orders()).unwrap();
    assert!(log.damage().is_empty(), "the segment is gone");
}

#[test]
fn what_is_cut_or_removed_meanwhile_is_not_judged() {
    let world = World::new();
    let (_directory, log) = several_segments(&world);
    let bases = log.segments_to_verify();
    let last = bases[bases.len() - 1];
    let mut check = log.verify_segment(last).unwrap();
    while check.step(100) > 0 {}
    log.truncate_to_blocking(last).unwrap();
    assert_eq!(check.conclude(), None, "it was cut");
    let mut check = log.verify_segment(bases[0]).unwrap();
    while check.step(100) > 0 {}
    log.advance_log_start_blocking(bases[1]).unwrap();
    assert_eq!(check.conclude(), None, "it was removed");
    assert!(log.verify_segment(bases[0]).is_none());
}

#[test]
fn a_reader_that_meets_damage_reports_the_segment() {
    let world = World::new();
    let (directory, log) = several_segments(&world);
    let mut notices = directory.watch_damage();
    notices.borrow_and_update();
    let base = log.segments_to_verify()[1];
    overwrite(&world, base, 16, &[9]);
    let error = log.read(base, log.log_end_offset(), 1 << 20, true).unwrap_err();
    assert!(matches!(error, ReadError::Corrupt { .. }), "{error}");
    log.suspect(&error);
    assert!(notices.has_changed().unwrap());
    assert_eq!(log.segments_to_mend(), [base]);
}

#[test]
fn nothing_damaged_is_replicated() {
    let world = World::new();
    let (_directory, log) = several_segments(&world);
    let base = log.segments_to_verify()[1];
    let end = log.log_end_offset();
    let sound = log.read(base, end, 1 << 20, true).unwrap();
    log.check_before_replication(base, &sound.records).unwrap();
    let original = world.disk.read(&path(base)).unwrap();
    // The last byte of the first batch's value; then its leader epoch, which no checksum covers.
    for at in [HEADER_BYTES + 3, 15] {
        overwrite(&world, base, at as u64, &[!original[at]]);
        let read = log.read(base, end, 1 << 20, true);
        let sent = read.and_then(|slice| log.check_before_replication(base, &slice.records));
        let error = sent.unwrap_err();
        assert!(matches!(error, ReadError::Corrupt { .. }), "{error}");
        overwrite(&world, base, at as u64, &original[at..=at]);
    }
}
