//! Whether what was promised was kept.

use std::collections::{BTreeMap, BTreeSet};

use crate::chaos::load::{Acknowledged, Answers, Writing};
use crate::chaos::reader::Seen;
use crate::harness::Cluster;
use crate::logs::{Oddity, Replica};

/// What a topic's configuration leaves of its records.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Promise {
    /// Everything from the log's start on.
    FromLogStart,
    /// Everything from the log's start on, which retention moves, on each replica when its time
    /// comes, as long as so many bytes stay.
    NewestBytes(usize),
    /// The last record of each key.
    LastPerKey,
    /// Nothing: there is one replica, and it is damaged at times.
    Nothing,
}

/// Where a partition begins and how far it is committed, as its leader told it in the end.
pub type Ends = BTreeMap<(String, i32), (i64, i64)>;

/// What is not as promised, by kind.
#[derive(Debug, Default)]
pub struct Findings(BTreeMap<&'static str, Vec<String>>);

impl Findings {
    pub fn add(&mut self, kind: &'static str, what: String) {
        self.0.entry(kind).or_default().push(what);
    }

    /// The first few of each kind; empty where all is well.
    pub fn summary(&self) -> String {
        let mut text = String::new();
        for (kind, found) in &self.0 {
            text += &format!("{kind}: {}\n", found.len());
            for one in found.iter().take(6) {
                text += &format!("  {one}\n");
            }
        }
        text
    }
}

/// The replicas of one partition, by node.
fn replicas(cluster: &Cluster, topic: &str, partition: i32) -> Vec<(i32, Replica)> {
    let with_replica =
        cluster.nodes.iter().filter_map(|node| Some((node.id, node.replica(topic, partition)?)));
    with_replica.map(|(id, directory)| (id, Replica::read(&directory))).collect()
}

/// Checks one topic's files against what was acknowledged and what was read.
pub fn check(
    cluster: &Cluster,
    (writing, promise): (&Writing, Promise),
    partitions: i32,
    (answers, seen): (&Answers, Option<&Seen>),
    ends: &Ends,
    findings: &mut Findings,
) {
    let topic = writing.topic;
    if promise == Promise::Nothing {
        return;
    }
    for (number, error) in &answers.failed {
        findings.add("refused for good", format!("{topic}: {number}: {error}"));
    }
    for partition in 0..partitions {
        let Some(&(low, high)) = ends.get(&(topic.to_owned(), partition)) else {
            findings.add("missing", format!("{topic}-{partition} is not known"));
            continue;
        };
        let replicas = replicas(cluster, topic, partition);
        if replicas.len() != cluster.nodes.len() {
            let nodes: Vec<i32> = replicas.iter().map(|(id, _)| *id).collect();
            findings.add("missing", format!("{topic}-{partition} is on {nodes:?} only"));
        }
        let low = match promise {
            Promise::NewestBytes(_) => {
                let firsts = replicas.iter().filter_map(|(_, replica)| replica.first_offset());
                firsts.max().unwrap_or(low).max(low)
            }
            _ => low,
        };
        let there: Vec<&Acknowledged> =
            answers.acknowledged.iter().filter(|a| a.partition == partition).collect();
        for found in there.iter().filter(|found| found.offset >= high) {
            let what = format!("{topic}: {found:?} is not below the high watermark, {high}");
            findings.add("lost", what);
        }
        for (id, replica) in &replicas {
            let place = format!("{topic}-{partition} on node {id}");
            for wrong in &replica.wrong {
                findings.add("unreadable", format!("{place}: {wrong}"));
            }
            let part = Part { writing, place: &place, replica, low, high };
            if let Promise::NewestBytes(bytes) = promise {
                part.keeps(bytes, findings);
            }
            match promise {
                Promise::FromLogStart | Promise::NewestBytes(_) => {
                    part.is_whole(findings);
                    part.same_as(&replicas[0].1, findings);
                    part.has_all(&there, findings);
                    part.has_once_and_in_order(findings);
                    part.has_seen(partition, seen, findings);
                }
                Promise::LastPerKey => {
                    part.has_last_per_key(&there, findings);
                    part.same_last_per_key(&replicas[0].1, findings);
                }
                Promise::Nothing => {}
            }
        }
    }
}

/// One replica of one partition, and between which offsets it counts.
struct Part<'a> {
    writing: &'a Writing,
    place: &'a str,
    replica: &'a Replica,
    low: i64,
    high: i64,
}

impl Part<'_> {
    /// Retention never leaves less; what was cut off the end after it may make it somewhat less.
    fn keeps(&self, bytes: usize, findings: &mut Findings) {
        let kept: usize =
            self.replica.between(self.low, self.high).values().map(|batch| batch.len()).sum();
        if self.low > 0 && kept < bytes / 2 {
            let Part { place, low, .. } = self;
            findings.add("removed too much", format!("{place}: {kept} bytes from {low} on"));
        }
    }

    fn is_whole(&self, findings: &mut Findings) {
        let Part { place, low, high, .. } = self;
        let missing: Vec<i64> =
            (*low..*high).filter(|offset| !self.replica.records.contains_key(offset)).collect();
        if let (Some(first), Some(last)) = (missing.first(), missing.last()) {
            let count = missing.len();
            let what = format!("{place}: {count} of {low}..{high} are missing, {first} to {last}");
            findings.add("holes", what);
        }
    }

    fn same_as(&self, other: &Replica, findings: &mut Findings) {
        let (mine, theirs) =
            (self.replica.between(self.low, self.high), other.between(self.low, self.high));
        let differs = mine.iter().find(|(base, bytes)| theirs.get(base) != Some(bytes));
        if let Some((base, _)) = differs {
            let what = format!("{} differs from the first in batch {base}", self.place);
            findings.add("different", what);
        }
    }

    fn has_all(&self, acknowledged: &[&Acknowledged], findings: &mut Findings) {
        let numbers: BTreeSet<u64> =
            self.replica.records.values().filter_map(|found| found.number).collect();
        for &&Acknowledged { number, offset, .. } in acknowledged {
            if offset < 0 {
                // Where it is is not known: it may be what the log's start has passed.
                if self.low == 0 && !numbers.contains(&number) {
                    let what = format!("{}: {number} is not there", self.place);
                    findings.add("lost", what);
                }
                continue;
            }
            if offset < self.low {
                continue;
            }
            let found = self.replica.records.get(&offset);
            let there = found.and_then(|found| found.number);
            if there != Some(number) {
                let (place, high) = (self.place, self.high);
                let what = format!("{place}: {number} at {offset}: {there:?}, committed to {high}");
                findings.add("lost", what);
            }
        }
    }

    fn has_once_and_in_order(&self, findings: &mut Findings) {
        if !self.writing.idempotent {
            return;
        }
        let (place, replica) = (self.place, self.replica);
        let pair = |number, before, offset| {
            let (first, second) = (replica.origin(before), replica.origin(offset));
            format!("{place}: {number} at {before} ({first}), at {offset} ({second})")
        };
        for oddity in replica.oddities(self.low) {
            match oddity {
                Oddity::Twice { number, before, offset } => {
                    findings.add("twice", pair(number, before, offset));
                }
                Oddity::SentAgain { number, before, offset } => {
                    eprintln!("sent again in a new epoch: {}", pair(number, before, offset));
                }
                Oddity::Late { number, offset } => {
                    findings.add("out of order", format!("{place}: {number} at {offset}"));
                }
                Oddity::Foreign { offset } => {
                    findings.add("foreign", format!("{place}: {offset} has no number"));
                }
            }
        }
    }

    /// A consumer never saw what is not there in the end.
    fn has_seen(&self, partition: i32, seen: Option<&Seen>, findings: &mut Findings) {
        let Some(seen) = seen else { return };
        for (&(_, offset), &number) in seen.range((partition, self.low)..(partition + 1, 0)) {
            let there = self.replica.records.get(&offset).and_then(|found| found.number);
            if there != Some(number) {
                let place = self.place;
                let what = format!("{place}: {number} was read at {offset}, where {there:?} is");
                findings.add("taken back", what);
            }
        }
    }

    fn has_last_per_key(&self, acknowledged: &[&Acknowledged], findings: &mut Findings) {
        let mut last_acknowledged: BTreeMap<String, (i64, u64)> = BTreeMap::new();
        // Keys of which it is not known what was acknowledged last.
        let mut unsure = BTreeSet::new();
        for &&Acknowledged { number, offset, .. } in acknowledged {
            let Some(key) = self.writing.key_of(number) else { continue };
            let key = format!("key-{key}");
            if offset < 0 {
                unsure.insert(key);
            } else {
                let last = last_acknowledged.entry(key).or_insert((offset, number));
                *last = (*last).max((offset, number));
            }
        }
        let place = self.place;
        let last = self.replica.last_per_key(i64::MAX);
        for (key, (offset, number)) in &last_acknowledged {
            match last.get(key.as_str()) {
                Some((at, found)) if at == offset && found.number == Some(*number) => {}
                Some((at, _)) if at > offset => {}
                None if self.writing.is_tombstone(*number) || unsure.contains(key) => {}
                there => {
                    let what = format!("{place}: {key}: {number} at {offset}: {there:?}");
                    findings.add("lost", what);
                }
            }
        }
        for (offset, found) in &self.replica.records {
            let key = found.number.and_then(|number| self.writing.key_of(number));
            if key.map(|key| format!("key-{key}")) != found.key {
                findings.add("foreign", format!("{place}: {offset} holds {found:?}"));
            }
        }
    }

    fn same_last_per_key(&self, other: &Replica, findings: &mut Findings) {
        let living = |replica: &Replica| -> BTreeMap<String, (i64, Option<u64>)> {
            let last = replica.last_per_key(self.high);
            let living = last.into_iter().filter(|(_, (_, found))| !found.is_tombstone);
            living.map(|(key, (at, found))| (key.to_owned(), (at, found.number))).collect()
        };
        let (mine, theirs) = (living(self.replica), living(other));
        let keys: BTreeSet<&String> = mine.keys().chain(theirs.keys()).collect();
        for key in keys.into_iter().filter(|key| mine.get(*key) != theirs.get(*key)) {
            let what =
                format!("{}: {key}: {:?}, first: {:?}", self.place, mine.get(key), theirs.get(key));
            findings.add("different", what);
        }
    }
}

/// Checks the topic that comes and goes: nothing of an earlier incarnation is seen in a later one,
/// and where it is gone, so are its files.
pub fn check_passing(
    cluster: &Cluster,
    topic: &str,
    (exists, incarnation): (bool, Option<u64>),
    findings: &mut Findings,
) {
    for partition in 0..2 {
        for (id, replica) in replicas(cluster, topic, partition) {
            let place = format!("{topic}-{partition} on node {id}");
            if !exists {
                findings.add("not deleted", place);
                continue;
            }
            for (offset, found) in &replica.records {
                if incarnation.is_some() && found.incarnation != incarnation {
                    let what = format!("{place}: {offset} is of {found:?}, not {incarnation:?}");
                    findings.add("risen", what);
                }
            }
        }
    }
}
