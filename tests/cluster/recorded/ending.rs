//! What the replicas hold in the end, and whether the history agrees with it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use ottla::types::Offset;
use rdkafka::consumer::{BaseConsumer, Consumer};

use crate::checker;
use crate::checker::history::{
    Action, FinalRead, History, Log, Operation, Outcome, Process, Send, Value,
};
use crate::harness::{Cluster, eventually};
use crate::history::{await_one_length, replicas, stop_all};
use crate::logs::{Oddity, Replica};
use crate::recorded::group::Member;
use crate::recorded::producer::Sender;
use crate::recorded::reader::Reader;
use crate::recorded::{Clients, SEED, TOPICS, logs};

impl Clients {
    /// Waits until everything is answered, read and replicated, stops the brokers and judges.
    pub fn settle(self, cluster: &mut Cluster, seed: u64) {
        let Clients { recorder, senders, readers, members } = self;
        senders.iter().for_each(Sender::stop);
        senders.into_iter().for_each(Sender::finish);
        let nodes = cluster.nodes.len();
        for topic in TOPICS {
            cluster.await_in_sync(topic.name, nodes);
        }
        let ends = ends(cluster);
        let group: Vec<Process> = members.iter().map(|member| member.process).collect();
        let alone = readers.iter().map(|reader| vec![reader.process]);
        for processes in alone.chain([group.clone()]) {
            eventually(&format!("{processes:?} to read everything"), || {
                let is_read = |(log, end): (&Log, &Offset)| {
                    *end == Offset::ZERO || recorder.reached(&processes, *log) >= Some(*end)
                };
                ends.iter().all(is_read).then_some(())
            });
        }
        readers.into_iter().for_each(Reader::finish);
        members.into_iter().for_each(Member::finish);
        for topic in TOPICS {
            await_one_length(cluster, topic.name, topic.partitions);
        }
        stop_all(cluster);

        let (operations, mut wrong) = recorder.finish();
        let mut history = History { operations, ..History::default() };
        for log in logs() {
            final_read(cluster, log, &mut history, &mut wrong);
        }
        wrong.extend(passed_over(&history, &group));
        judge(&history, &wrong, seed);
    }
}

/// The high watermarks, once the leaders tell them.
fn ends(cluster: &Cluster) -> BTreeMap<Log, Offset> {
    let consumer: BaseConsumer = cluster.client().create().expect("a consumer");
    let end = |log: Log| {
        let topic = TOPICS[log.topic as usize].name;
        let (_, high) = eventually(&format!("the end of {topic}-{}", log.partition), || {
            consumer.fetch_watermarks(topic, log.partition, Duration::from_secs(5)).ok()
        });
        (log, Offset(high))
    };
    logs().into_iter().map(end).collect()
}

/// Reads every replica of the log: they must be the same.
fn final_read(cluster: &Cluster, log: Log, history: &mut History, wrong: &mut Vec<String>) {
    let topic = TOPICS[log.topic as usize].name;
    let place = format!("{topic}-{}", log.partition);
    let replicas = replicas(cluster, topic, log.partition);
    for (other, node) in replicas.iter().zip(1..) {
        if other.batches != replicas[0].batches {
            wrong.push(format!("{place} on node {node} differs from node 1"));
        }
    }
    let replica = &replicas[0];
    let mut read = FinalRead::default();
    for (&offset, found) in &replica.records {
        match found.number {
            Some(number) => read.records.push((Offset(offset), Value(number))),
            None => wrong.push(format!("{place} holds at {offset} what nobody sent")),
        }
    }
    history.final_reads.insert(log, read);
    tell_sent_again(&place, replica, history);
}

/// What a client sent again in a new producer epoch it sent twice: as if it had been asked to.
fn tell_sent_again(place: &str, replica: &Replica, history: &mut History) {
    let mut again = BTreeMap::new();
    for oddity in replica.oddities(0) {
        if let Oddity::SentAgain { number, offset, .. } = oddity {
            again.insert(Value(number), offset);
        }
    }
    let is_sent_again = |send: &Send| send.producer.is_some() && again.contains_key(&send.value);
    let second = |(_, operation, send): (usize, &Operation, &Send)| {
        let send = Send { outcome: Outcome::Unknown, ..send.clone() };
        let completed = Duration::MAX;
        Operation { completed, action: Action::Send(send), ..operation.clone() }
    };
    let sent: Vec<Operation> =
        history.sends().filter(|(_, _, send)| is_sent_again(send)).map(second).collect();
    if let Some(Action::Send(first)) = sent.first().map(|operation| &operation.action) {
        let (count, offset) = (sent.len(), again[&first.value]);
        eprintln!("{place}: {count} sent again in a new epoch, first {} at {offset}", first.value);
    }
    history.operations.extend(sent);
    history.operations.sort_by_key(|operation| operation.invoked);
}

/// What no member of the group was given.
fn passed_over(history: &History, group: &[Process]) -> Option<String> {
    let mut given: BTreeSet<(Log, Offset)> = BTreeSet::new();
    for operation in history.operations.iter().filter(|one| group.contains(&one.process)) {
        let Action::Poll { outcome, .. } = &operation.action else { continue };
        for polled in outcome.acknowledged().into_iter().flatten() {
            given.extend(polled.records.iter().map(|(offset, _)| (polled.log, *offset)));
        }
    }
    let all = history.final_reads.iter();
    let all = all.flat_map(|(log, read)| read.records.iter().map(|(offset, _)| (*log, *offset)));
    let missed: Vec<(Log, Offset)> = all.filter(|one| !given.contains(one)).collect();
    let (log, offset) = missed.first()?;
    Some(format!("the group passed over {} records, first {offset} of {log}", missed.len()))
}

fn judge(history: &History, wrong: &[String], seed: u64) {
    let started = Instant::now();
    let report = checker::check(history);
    let (mut acknowledged, mut failed, mut unknown) = (0, 0, 0);
    for (_, _, send) in history.sends() {
        *match send.outcome {
            Outcome::Acknowledged(_) => &mut acknowledged,
            Outcome::Failed => &mut failed,
            Outcome::Unknown => &mut unknown,
        } += 1;
    }
    eprintln!(
        "{} operations: sends: {acknowledged} acknowledged, {failed} failed, {unknown} unknown; \
         judged in {:?}: {:?}",
        history.operations.len(),
        started.elapsed(),
        report.counts
    );
    let failures = report.found.iter().filter(|found| found.allowed.is_none());
    let places: BTreeSet<usize> = failures.flat_map(|found| found.operations.clone()).collect();
    for &place in &places {
        eprintln!("{place}: {:?}", history.operations[place]);
    }
    let is_sound = report.failures().is_empty() && wrong.is_empty();
    let wrong: Vec<&str> = wrong.iter().take(20).map(String::as_str).collect();
    assert!(is_sound, "{SEED}={seed}\n{report}{}", wrong.join("\n"));
    assert!(acknowledged > 0, "nothing was acknowledged");
}
