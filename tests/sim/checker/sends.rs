//! The order of records: who sends after another was acknowledged lies behind it, whether that is
//! acknowledged or only seen.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla::types::{Offset, ProducerId};

use super::evidence::{Evidence, Strength};
use super::history::{Acks, History, Log, Send, TransactionId};
use super::report::{Allowed, Anomaly, Report};

/// One send whose offset is known.
#[derive(Clone, Copy)]
struct Placed<'a> {
    place: usize,
    invoked: Duration,
    completed: Duration,
    offset: Offset,
    send: &'a Send,
}

pub fn check(history: &History, evidence: &Evidence<'_>, report: &mut Report) {
    let seen = seen(evidence);
    let mut by_log: BTreeMap<Log, Vec<Placed<'_>>> = BTreeMap::new();
    for (place, operation, send) in history.sends() {
        let (offset, completed) = match send.outcome.acknowledged() {
            Some(Some(offset)) => (*offset, operation.completed),
            // Nobody was told that it is there, so what comes later need not lie behind it.
            _ => match seen.get(&place) {
                Some(offset) => (*offset, Duration::MAX),
                None => continue,
            },
        };
        let placed = Placed { place, invoked: operation.invoked, completed, offset, send };
        by_log.entry(send.log).or_default().push(placed);
    }
    for sends in by_log.values() {
        in_time(history, sends, report);
        of_one_producer(history, sends, report);
        within_transactions(history, evidence, sends, report);
    }
}

/// Where records lie, by their sends, that were sent once and of which no acknowledgement tells that.
fn seen(evidence: &Evidence<'_>) -> BTreeMap<usize, Offset> {
    let mut seen = BTreeMap::new();
    for witness in evidence.witnesses.iter().filter(|one| one.strength >= Strength::Read) {
        let sender = evidence.sender(witness.log, witness.value);
        let untold = sender.filter(|(_, _, send)| {
            !matches!(send.outcome.acknowledged(), Some(Some(_)))
                && evidence.resent.binary_search(&witness.value).is_err()
        });
        if let Some((place, _, _)) = untold {
            seen.entry(place).or_insert(witness.offset);
        }
    }
    seen
}

/// Of sends that came before, the ones with the greatest offsets: of all, and of those that all
/// in-sync replicas had acknowledged.
#[derive(Clone, Copy, Default)]
struct Greatest<'a> {
    of_all: Option<Placed<'a>>,
    of_promised: Option<Placed<'a>>,
}

impl<'a> Greatest<'a> {
    fn add(&mut self, send: Placed<'a>) {
        let raise = |greatest: &mut Option<Placed<'a>>| {
            if greatest.is_none_or(|greatest| send.offset > greatest.offset) {
                *greatest = Some(send);
            }
        };
        raise(&mut self.of_all);
        if send.send.acks == Acks::All {
            raise(&mut self.of_promised);
        }
    }

    /// The one that `later` should lie behind, and does not: a promised one, if there is one.
    fn not_before(&self, later: &Placed<'a>) -> Option<Placed<'a>> {
        let behind = |earlier: &Placed<'a>| later.offset <= earlier.offset;
        self.of_promised.filter(behind).or(self.of_all.filter(behind))
    }
}

/// One was acknowledged before the other was sent.
fn in_time(history: &History, sends: &[Placed<'_>], report: &mut Report) {
    let mut by_end: Vec<_> = sends.to_vec();
    by_end.sort_by_key(|one| one.completed);
    let mut ended = by_end.iter().peekable();
    let mut greatest = Greatest::default();
    for later in sends {
        while let Some(earlier) = ended.next_if(|one| one.completed < later.invoked) {
            greatest.add(*earlier);
        }
        if let Some(earlier) = greatest.not_before(later) {
            out_of_order(history, &earlier, later, report);
        }
    }
}

/// An idempotent producer's records lie in the order in which it sent them, several at once or not.
fn of_one_producer(history: &History, sends: &[Placed<'_>], report: &mut Report) {
    let mut greatest: BTreeMap<ProducerId, Greatest<'_>> = BTreeMap::new();
    for later in sends {
        let Some(producer) = later.send.producer else { continue };
        let greatest = greatest.entry(producer).or_default();
        // What had been acknowledged by then has been judged by time.
        let earlier = greatest.not_before(later).filter(|one| one.completed >= later.invoked);
        if let Some(earlier) = earlier {
            out_of_order(history, &earlier, later, report);
        }
        greatest.add(*later);
    }
}

fn out_of_order(history: &History, earlier: &Placed<'_>, later: &Placed<'_>, report: &mut Report) {
    let log = later.send.log;
    let weak = earlier.send.acks != Acks::All || later.send.acks != Acks::All;
    let allowed = history.excuse(log, weak.then_some(Allowed::Acks));
    let together =
        earlier.send.transaction.is_some() && earlier.send.transaction == later.send.transaction;
    let anomaly = if together { Anomaly::IntNonmonotonicSend } else { Anomaly::NonmonotonicSend };
    report.add(anomaly, allowed, &[earlier.place, later.place], || {
        format!(
            "{} went to {} of {log} after {} to {}",
            later.send.value, later.offset, earlier.send.value, earlier.offset
        )
    });
}

/// Others' records between those of one transaction: Kafka allows that.
fn within_transactions(
    history: &History,
    evidence: &Evidence<'_>,
    sends: &[Placed<'_>],
    report: &mut Report,
) {
    let mut last: BTreeMap<TransactionId, Placed<'_>> = BTreeMap::new();
    for later in sends {
        let Some(transaction) = later.send.transaction else { continue };
        let Some(earlier) = last.insert(transaction, *later) else { continue };
        let log = later.send.log;
        let between = evidence.certain_between(log, earlier.offset.plus(1), later.offset);
        if let Some(offset) = between {
            let allowed = history.excuse(log, Some(Allowed::NotPromised));
            report.add(Anomaly::IntSendSkip, allowed, &[earlier.place, later.place], || {
                format!("another record lies at {offset} of {log} within a transaction")
            });
        }
    }
}
