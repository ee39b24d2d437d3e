//! Values that are gone, doubled, foreign, or in each other's place.

use std::collections::BTreeMap;

use ottla::types::Offset;

use super::evidence::{Evidence, Fate, Strength, Witness};
use super::history::{Acks, History, Key, Log, Outcome, Send, Value};
use super::report::{Allowed, Anomaly, Report};

pub fn check(history: &History, evidence: &Evidence<'_>, report: &mut Report) {
    for at_offset in evidence.by_offset() {
        inconsistent(history, at_offset, report);
    }
    let mut by_value = evidence.witnesses.clone();
    by_value.sort_unstable_by_key(|one| (one.log, one.value, one.offset));
    let of = |log: Log, value: Value| {
        let from = by_value.partition_point(|one| (one.log, one.value) < (log, value));
        by_value[from..].iter().take_while(move |one| (one.log, one.value) == (log, value))
    };
    let last_of_keys = LastOfKeys::find(history, evidence, |log, value| {
        of(log, value).map(|witness| witness.offset).max()
    });
    for of_value in by_value.chunk_by(|a, b| (a.log, a.value) == (b.log, b.value)) {
        duplicate(history, evidence, of_value, report);
        phantom(history, evidence, of_value, report);
        lost(history, evidence, of_value, &last_of_keys, report);
    }
    let read = |send: &Send| of(send.log, send.value).any(|one| one.strength >= Strength::Read);
    let acknowledged = history.sends().filter(|(_, _, send)| {
        send.outcome.acknowledged().is_some() && evidence.fate(send) == Fate::Committed
    });
    report.unseen = acknowledged.filter(|(_, _, send)| !read(send)).count();
}

fn operations(witnesses: &[&Witness]) -> Vec<usize> {
    witnesses.iter().filter_map(|witness| witness.operation).collect()
}

/// The first witness of each value (or of each offset, of one value).
fn firsts<'w, K: PartialEq>(
    witnesses: impl Iterator<Item = &'w Witness>,
    key: impl Fn(&Witness) -> K,
) -> Vec<&'w Witness> {
    let mut all: Vec<_> = witnesses.collect();
    all.dedup_by(|a, b| key(a) == key(b));
    all
}

/// Two values at one offset. One that only some leader told of may have been replaced.
fn inconsistent(history: &History, at_offset: &[Witness], report: &mut Report) {
    let all = firsts(at_offset.iter(), |one| one.value);
    if all.len() < 2 {
        return;
    }
    let strong = at_offset.iter().filter(|one| one.strength >= Strength::Promised);
    let strong = firsts(strong, |one| one.value);
    let log = all[0].log;
    let (shown, allowed) = match strong.len() {
        0 | 1 => (&all, Some(Allowed::Acks)),
        _ => (&strong, history.excuse(log, None)),
    };
    report.add(Anomaly::InconsistentOffsets, allowed, &operations(shown), || {
        let values: Vec<String> = shown.iter().map(|one| one.value.to_string()).collect();
        format!("{log} has at {}: {}", shown[0].offset, values.join(" and "))
    });
}

/// One value at two offsets.
fn duplicate(
    history: &History,
    evidence: &Evidence<'_>,
    of_value: &[Witness],
    report: &mut Report,
) {
    let all = firsts(of_value.iter(), |one| one.offset);
    if all.len() < 2 {
        return;
    }
    let strong = of_value.iter().filter(|one| one.strength >= Strength::Promised);
    let strong = firsts(strong, |one| one.offset);
    let (log, value) = (all[0].log, all[0].value);
    let idempotent = evidence.sender(log, value).is_some_and(|(_, _, send)| {
        send.producer.is_some() && evidence.resent.binary_search(&value).is_err()
    });
    let (shown, allowed) = match strong.len() {
        0 | 1 => (&all, Some(Allowed::Acks)),
        _ if !idempotent => (&strong, Some(Allowed::NotIdempotent)),
        _ => (&strong, history.excuse(log, None)),
    };
    report.add(Anomaly::Duplicate, allowed, &operations(shown), || {
        let offsets: Vec<String> = shown.iter().map(|one| one.offset.to_string()).collect();
        format!("{log} has {value} at {}", offsets.join(" and "))
    });
}

/// Read, and never sent, or not yet.
fn phantom(history: &History, evidence: &Evidence<'_>, of_value: &[Witness], report: &mut Report) {
    let sender = evidence.sender(of_value[0].log, of_value[0].value);
    let too_early = |witness: &&Witness| match (sender, witness.operation) {
        (None, _) => true,
        (Some(_), None) => false,
        (Some((_, sent, _)), Some(place)) => history.operations[place].completed < sent.invoked,
    };
    if let Some(found) = of_value.iter().find(too_early) {
        report.add(Anomaly::Phantom, None, &operations(&[found]), || {
            let when =
                if sender.is_some() { "before it was sent" } else { "which nobody sent there" };
            format!("{} at {} has {}, {when}", found.log, found.offset, found.value)
        });
    }
}

/// Promised or seen, and gone in the end.
fn lost(
    history: &History,
    evidence: &Evidence<'_>,
    of_value: &[Witness],
    last_of_keys: &LastOfKeys,
    report: &mut Report,
) {
    let (log, value) = (of_value[0].log, of_value[0].value);
    let Some(read) = history.final_reads.get(&log) else { return };
    let Some((place, _, send)) = evidence.sender(log, value) else { return };
    let there_in_the_end = of_value.iter().any(|one| one.strength == Strength::Final);
    if there_in_the_end || evidence.fate(send) != Fate::Committed {
        return;
    }
    let Some(strongest) = of_value.iter().max_by_key(|one| one.strength) else { return };
    if strongest.offset < read.start || last_of_keys.explain(strongest, send) {
        return;
    }
    let allowed = match strongest.strength {
        Strength::Told => Some(Allowed::Acks),
        Strength::Promised | Strength::Read | Strength::Final => history.excuse(log, None),
    };
    let mut shown = vec![place];
    shown.extend(strongest.operation.filter(|operation| *operation != place));
    report.add(Anomaly::LostWrite, allowed, &shown, || {
        let how = match (strongest.strength, send.acks) {
            (Strength::Read, _) => "was read",
            (_, Acks::All) => "was acknowledged by all in-sync replicas",
            (_, Acks::One | Acks::Zero) => "was acknowledged",
        };
        format!("{value} {how} at {} of {log}, and is gone", strongest.offset)
    });
}

/// Of each key in compacted logs the last offset at which a record of it was seen; none where a
/// tombstone may lie anywhere.
struct LastOfKeys(BTreeMap<(Log, Key), Option<Offset>>);

impl LastOfKeys {
    /// `offset_of` tells the last offset that a value was seen at.
    fn find(
        history: &History,
        evidence: &Evidence<'_>,
        offset_of: impl Fn(Log, Value) -> Option<Offset>,
    ) -> LastOfKeys {
        let mut last = BTreeMap::new();
        let compacted = history.sends().filter(|(_, _, send)| {
            history.concessions(send.log).compacted
                && send.outcome != Outcome::Failed
                && evidence.fate(send) != Fate::Aborted
        });
        for (_, _, send) in compacted {
            let Some(key) = send.key else { continue };
            let entry = last.entry((send.log, key)).or_insert(Some(Offset::UNKNOWN));
            match (offset_of(send.log, send.value), *entry) {
                (Some(offset), Some(before)) => *entry = Some(before.max(offset)),
                (None, _) if send.tombstone => *entry = None,
                // What nobody saw and is not there in the end has been replaced, if it ever was.
                (None, _) | (_, None) => {}
            }
        }
        LastOfKeys(last)
    }

    /// Whether compaction may have taken what lay there.
    fn explain(&self, gone: &Witness, send: &Send) -> bool {
        let last = send.key.and_then(|key| self.0.get(&(gone.log, key)));
        match last {
            None => false,
            Some(None) => true,
            Some(Some(last)) => send.tombstone || *last > gone.offset,
        }
    }
}
