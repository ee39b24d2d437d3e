//! What was read that was aborted, or not committed yet; transactions of which only a part is there.

use std::collections::BTreeMap;

use super::evidence::{Evidence, Fate, Strength, Witness};
use super::history::{Action, History, Outcome, Send, TransactionId};
use super::report::{Allowed, Anomaly, Report};

pub fn check(history: &History, evidence: &Evidence<'_>, report: &mut Report) {
    for witness in evidence.witnesses.iter().filter(|one| one.strength >= Strength::Read) {
        let Some((place, _, send)) = evidence.sender(witness.log, witness.value) else { continue };
        let operations: Vec<usize> =
            [Some(place), witness.operation].into_iter().flatten().collect();
        let resent = evidence.resent.binary_search(&witness.value).is_ok();
        if send.outcome == Outcome::Failed && !resent {
            add(Anomaly::AbortedRead, None, &operations, "its send failed", witness, report);
        } else if send.transaction.is_some() {
            within(history, evidence, witness, send, &operations, report);
        }
    }
    torn(history, evidence, report);
}

fn within(
    history: &History,
    evidence: &Evidence<'_>,
    witness: &Witness,
    send: &Send,
    operations: &[usize],
    report: &mut Report,
) {
    let committed = witness.operation.is_none_or(|place| {
        matches!(&history.operations[place].action, Action::Poll { committed: true, .. })
    });
    let allowed = (!committed).then_some(Allowed::NotPromised);
    if evidence.fate(send) == Fate::Aborted {
        let why = "its transaction was aborted";
        return add(Anomaly::AbortedRead, allowed, operations, why, witness, report);
    }
    let ending = send.transaction.and_then(|id| evidence.endings.get(&id));
    let asked = ending.and_then(|ending| ending.commit).map(|place| &history.operations[place]);
    let read = witness.operation.map(|place| &history.operations[place]);
    let too_early = match (read, asked) {
        (_, None) => true,
        (Some(read), Some(asked)) => read.completed < asked.invoked,
        (None, Some(_)) => false,
    };
    if too_early {
        let why = "nobody had asked to commit its transaction";
        add(Anomaly::PrecommittedRead, allowed, operations, why, witness, report);
    }
}

fn add(
    anomaly: Anomaly,
    allowed: Option<Allowed>,
    operations: &[usize],
    why: &str,
    witness: &Witness,
    report: &mut Report,
) {
    report.add(anomaly, allowed, operations, || {
        format!("{} was read at {} of {}, and {why}", witness.value, witness.offset, witness.log)
    });
}

/// Acknowledged records of transactions that are not known to be aborted are all there, or none.
fn torn(history: &History, evidence: &Evidence<'_>, report: &mut Report) {
    let mut there: Vec<_> = evidence.witnesses.iter().collect();
    there.retain(|one| one.strength == Strength::Final);
    let mut there: Vec<_> = there.iter().map(|one| (one.log, one.value)).collect();
    there.sort_unstable();
    // The first record that is there, and the first that is not.
    let mut found: BTreeMap<TransactionId, (Option<usize>, Option<usize>)> = BTreeMap::new();
    for (place, _, send) in history.sends() {
        let Some(transaction) = send.transaction else { continue };
        let Some(read) = history.final_reads.get(&send.log) else { continue };
        let Some(Some(offset)) = send.outcome.acknowledged() else { continue };
        let concessions = history.concessions(send.log);
        if concessions.compacted || concessions.may_lose || *offset < read.start {
            continue;
        }
        let (is_there, is_not) = found.entry(transaction).or_default();
        match there.binary_search(&(send.log, send.value)) {
            Ok(_) => *is_there = is_there.or(Some(place)),
            Err(_) => *is_not = is_not.or(Some(place)),
        }
    }
    for (transaction, places) in found {
        if let (Some(is_there), Some(is_not)) = places {
            report.add(Anomaly::TornTransaction, None, &[is_there, is_not], || {
                format!("of transaction {} one record is there and another is not", transaction.0)
            });
        }
    }
}
