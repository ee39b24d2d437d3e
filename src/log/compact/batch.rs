//! One batch before and after compaction. Pure.

use crate::log::compact::decide::{Decision, Rule};
use crate::record::{
    BatchHeader, Compression, ControlType, HEADER_BYTES, MAX_DECOMPRESSED_BYTES, RecordError,
    Retained, emptied, raw_records,
};

/// What becomes of a batch.
#[derive(Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It stays byte for byte.
    AsItIs,
    /// It stays so.
    Changed(BatchHeader, Vec<u8>),
    /// It goes.
    Gone,
}

/// How many records went through, and how many stay.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// All that there were.
    pub read: u64,
    /// Those that stay.
    pub kept: u64,
}

/// Calls `look` with the unpacked records of a batch.
pub fn with_content<T>(
    header: &BatchHeader,
    batch: &[u8],
    look: impl FnOnce(&[u8]) -> Result<T, RecordError>,
) -> Result<T, RecordError> {
    let packed = batch.get(HEADER_BYTES..).unwrap_or_default();
    match header.compression()? {
        _ if header.record_count == 0 => look(&[]),
        Compression::None => look(packed),
        codec => look(&codec.decompress(packed, MAX_DECOMPRESSED_BYTES)?),
    }
}

/// The type of the record of a control batch; `None`: it is gone.
pub fn control_type(
    header: &BatchHeader,
    content: &[u8],
) -> Result<Option<ControlType>, RecordError> {
    if !header.is_control() {
        return Ok(None);
    }
    let Some(first) = raw_records(content).next() else { return Ok(None) };
    ControlType::of_key(first?.key.unwrap_or_default()).map(Some)
}

/// Decides over one batch, whose checksum is right. `must_stay`: it is the last of what the new
/// segment covers, and stays without records if need be. `flags` is room to work in.
pub fn clean(
    decision: &mut Decision,
    header: &BatchHeader,
    batch: &[u8],
    must_stay: bool,
    flags: &mut Vec<bool>,
) -> Result<(Outcome, Counts), RecordError> {
    with_content(header, batch, |content| {
        let control = control_type(header, content)?;
        let mut rule = decision.pass(header, control);
        rule.stays_empty |= must_stay;
        let (counts, has_tombstone) = mark(decision, rule, header, content, flags)?;
        let needs_horizon =
            header.delete_horizon().is_none() && (has_tombstone || rule.marks_nothing);
        if counts.kept == 0 {
            return Ok((without_records(header, rule)?, counts));
        }
        if counts.kept == counts.read && !needs_horizon {
            return Ok((Outcome::AsItIs, counts));
        }
        let mut retained = Retained::of(header, needs_horizon.then_some(decision.delete_horizon));
        for (record, _) in raw_records(content).zip(flags.iter()).filter(|(_, stays)| **stays) {
            retained.push(&record?);
        }
        let (header, bytes) = retained.build()?;
        Ok((Outcome::Changed(header, bytes), counts))
    })
}

/// Marks which records stay; also whether a tombstone that was looked at is among them.
fn mark(
    decision: &Decision,
    rule: Rule,
    header: &BatchHeader,
    content: &[u8],
    flags: &mut Vec<bool>,
) -> Result<(Counts, bool), RecordError> {
    flags.clear();
    let mut counts = Counts::default();
    let mut has_tombstone = false;
    for record in raw_records(content) {
        let record = record?;
        let offset = header.base_offset.plus(i64::from(record.offset_delta));
        let stays = decision.stays(rule, header, offset, record.key, record.has_value);
        has_tombstone |= stays && !record.has_value && !decision.is_beyond(offset);
        counts.read += 1;
        counts.kept += u64::from(stays);
        flags.push(stays);
    }
    if i64::from(header.record_count) != i64::try_from(counts.read).unwrap_or(i64::MAX) {
        return Err(RecordError::Invalid("the batch holds another number of records than it says"));
    }
    Ok((counts, has_tombstone && !header.is_control()))
}

fn without_records(header: &BatchHeader, rule: Rule) -> Result<Outcome, RecordError> {
    if !rule.stays_empty {
        return Ok(Outcome::Gone);
    }
    if header.record_count == 0 {
        return Ok(Outcome::AsItIs);
    }
    let (header, bytes) = emptied(header)?;
    Ok(Outcome::Changed(header, bytes))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::collections::BTreeMap;

    use super::*;
    use crate::log::compact::decide::{LastOf, Passed};
    use crate::log::compact::offset_map::OffsetMap;
    use crate::record::{Batch, BatchBuilder, batches};
    use crate::types::{Offset, ProducerEpoch, ProducerId, TimestampMs};

    const NOW: TimestampMs = TimestampMs(1_000);

    fn decision(keys: &[(&str, i64)], latest: i64) -> Decision {
        let mut map = OffsetMap::new(1 << 12, 0.5, 100, [1, 2]);
        for (key, offset) in keys {
            assert!(map.put(key.as_bytes(), Offset(*offset)));
        }
        map.note_latest(Offset(latest));
        Decision {
            map,
            now: NOW,
            delete_horizon: TimestampMs(9_000),
            producers: BTreeMap::from([(
                ProducerId(7),
                LastOf::Data { last: Offset(13), looked_at: Some(Offset(13)) },
            )]),
            passed: Passed::default(),
        }
    }

    /// Keys `a` to `d` at 10 to 13; `c` is a tombstone.
    fn batch(codec: Compression, producer: i64) -> Batch {
        let mut builder = BatchBuilder::new(Offset(10)).compression(codec);
        if producer >= 0 {
            builder = builder.producer(ProducerId(producer), ProducerEpoch(0), 0);
        }
        for key in ["a", "b", "c", "d"] {
            let value = (key != "c").then_some(&b"value"[..]);
            builder.push(TimestampMs(500), Some(key.as_bytes()), value, &[]).unwrap();
        }
        batches(&builder.build().unwrap()).next().unwrap().unwrap()
    }

    /// The offsets that stay; whether it is as it was; its horizon. `None`: it is gone.
    fn outcome(
        decision: &mut Decision,
        batch: &Batch,
        must_stay: bool,
    ) -> Option<(Vec<i64>, bool, Option<i64>)> {
        let (outcome, counts) =
            clean(decision, &batch.header, &batch.bytes, must_stay, &mut Vec::new()).unwrap();
        let (after, same) = match outcome {
            Outcome::Gone => return None,
            Outcome::AsItIs => (batch.clone(), true),
            Outcome::Changed(header, bytes) => (Batch { header, bytes: bytes.into() }, false),
        };
        after.verify_crc().unwrap();
        let records = after.records().unwrap();
        assert_eq!(counts.kept, records.len() as u64);
        let offsets = records.iter().map(|record| record.offset.0).collect();
        Some((offsets, same, after.header.delete_horizon().map(|horizon| horizon.0)))
    }

    #[test]
    fn what_becomes_of_a_batch() {
        for codec in Compression::ALL {
            let all = [("a", 10), ("b", 11), ("c", 12), ("d", 13)];
            let later = [("a", 20), ("b", 20), ("c", 20), ("d", 20)];
            let without_c = [("a", 10), ("b", 11), ("c", 20), ("d", 13)];
            let plain = batch(codec, -1);
            let horizon = Some(9_000);
            let kept = outcome(&mut decision(&all, 13), &plain, false);
            assert_eq!(kept, Some((vec![10, 11, 12, 13], false, horizon)), "{codec:?}");
            let kept = outcome(&mut decision(&without_c, 20), &plain, false);
            assert_eq!(kept, Some((vec![10, 11, 13], false, None)));
            let kept = outcome(&mut decision(&[], 9), &plain, false);
            assert_eq!(kept, Some((vec![10, 11, 12, 13], true, None)), "not looked at");
            let kept = outcome(&mut decision(&[("a", 11)], 11), &plain, false);
            assert_eq!(kept, Some((vec![11, 12, 13], false, None)), "looked at up to 11");

            assert_eq!(outcome(&mut decision(&later, 20), &plain, false), None);
            let empty = Some((vec![], false, None));
            assert_eq!(outcome(&mut decision(&later, 20), &plain, true), empty);
            assert_eq!(outcome(&mut decision(&later, 20), &batch(codec, 7), false), empty);
            assert_eq!(outcome(&mut decision(&later, 20), &batch(codec, 8), false), None);
        }
    }

    #[test]
    fn a_tombstone_goes_once_its_horizon_has_passed() {
        let keys = [("a", 10), ("b", 11), ("c", 12), ("d", 13)];
        let first = batch(Compression::None, -1);
        let mut decision = decision(&keys, 13);
        let (changed, _) =
            clean(&mut decision, &first.header, &first.bytes, false, &mut Vec::new()).unwrap();
        let Outcome::Changed(header, bytes) = changed else { panic!("{changed:?}") };
        let marked = Batch { header, bytes: bytes.into() };
        assert_eq!(marked.records().unwrap(), first.records().unwrap());
        for (now, expected) in [(8_999, vec![10, 11, 12, 13]), (9_000, vec![10, 11, 13])] {
            decision.now = TimestampMs(now);
            let same = now < 9_000;
            let after = outcome(&mut decision, &marked, false);
            assert_eq!(after, Some((expected, same, Some(9_000))), "at {now}");
        }
    }

    #[test]
    fn an_empty_batch_goes_unless_it_is_needed() {
        let (header, bytes) = emptied(&batch(Compression::Zstd, 8).header).unwrap();
        let empty = Batch { header, bytes: bytes.into() };
        assert_eq!(outcome(&mut decision(&[], 20), &empty, false), None);
        let stays = outcome(&mut decision(&[], 20), &empty, true);
        assert_eq!(stays, Some((vec![], true, None)));
    }

    #[test]
    fn a_batch_that_lies_about_its_records_is_an_error() {
        let mut batch = batch(Compression::None, -1);
        batch.header.record_count = 3;
        let result =
            clean(&mut decision(&[], 20), &batch.header, &batch.bytes, false, &mut Vec::new());
        assert!(result.is_err());
    }
}
