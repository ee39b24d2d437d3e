//! Who says that a value lies at an offset.

use std::collections::BTreeMap;

use ottla::types::Offset;

use super::history::{Acks, Action, History, Log, Operation, Send, TransactionId, Value};
use super::report::Allowed;

/// How much is to be believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Strength {
    /// Acknowledged, but not by all in-sync replicas.
    Told,
    /// Acknowledged by all in-sync replicas.
    Promised,
    /// Given to a consumer.
    Read,
    /// There in the end.
    Final,
}

/// One witness.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Witness {
    pub log: Log,
    pub offset: Offset,
    pub value: Value,
    pub strength: Strength,
    /// Which operation; none for the final read.
    pub operation: Option<usize>,
}

/// How a transaction ended, as far as its client knows.
#[derive(Debug, Clone, Copy)]
pub struct Ending {
    /// Which operation asked for the commit.
    pub commit: Option<usize>,
    pub fate: Fate,
}

/// What became of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Committed,
    /// Its abort was asked for, or its commit was refused.
    Aborted,
    Unknown,
}

/// All witnesses, in orders that the checks need.
pub struct Evidence<'a> {
    /// By log, then offset, then value.
    pub witnesses: Vec<Witness>,
    /// Which send a value comes from: the first, if it was sent again.
    sends: Vec<(Value, usize)>,
    pub resent: Vec<Value>,
    pub endings: BTreeMap<TransactionId, Ending>,
    /// Where records certainly are: nobody who comes by may pass them over.
    certain: BTreeMap<Log, Vec<Offset>>,
    history: &'a History,
}

impl<'a> Evidence<'a> {
    pub fn gather(history: &'a History) -> Evidence<'a> {
        let mut sends: Vec<(Value, usize)> =
            history.sends().map(|(place, _, send)| (send.value, place)).collect();
        sends.sort_unstable();
        let resent = sends.windows(2).filter(|pair| pair[0].0 == pair[1].0).map(|pair| pair[0].0);
        let resent = resent.collect();
        sends.dedup_by_key(|(value, _)| *value);
        let mut evidence = Evidence {
            witnesses: witnesses(history),
            sends,
            resent,
            endings: endings(history),
            certain: BTreeMap::new(),
            history,
        };
        evidence.certain = evidence.certain_offsets();
        evidence
    }

    /// Who sent the value to that log.
    pub fn sender(&self, log: Log, value: Value) -> Option<(usize, &'a Operation, &'a Send)> {
        let found = self.sends.binary_search_by_key(&value, |(value, _)| *value).ok()?;
        let place = self.sends[found].1;
        let operation = &self.history.operations[place];
        match &operation.action {
            Action::Send(send) if send.log == log => Some((place, operation, send)),
            _ => None,
        }
    }

    /// What became of the transaction that a send belongs to; those without one are committed.
    pub fn fate(&self, send: &Send) -> Fate {
        match send.transaction {
            None => Fate::Committed,
            Some(id) => self.endings.get(&id).map_or(Fate::Unknown, |ending| ending.fate),
        }
    }

    /// The first offset in `from..to` where a record certainly is.
    pub fn certain_between(&self, log: Log, from: Offset, to: Offset) -> Option<Offset> {
        let offsets = self.certain.get(&log)?;
        let place = offsets.partition_point(|offset| *offset < from);
        offsets.get(place).copied().filter(|offset| *offset < to)
    }

    /// Witnesses of one log and offset together.
    pub fn by_offset(&self) -> impl Iterator<Item = &[Witness]> {
        self.witnesses.chunk_by(|a, b| (a.log, a.offset) == (b.log, b.offset))
    }

    fn certain_offsets(&self) -> BTreeMap<Log, Vec<Offset>> {
        let mut certain: BTreeMap<Log, Vec<Offset>> = BTreeMap::new();
        for of_log in self.witnesses.chunk_by(|a, b| a.log == b.log) {
            let log = of_log[0].log;
            let compacted = self.history.concessions(log).compacted;
            let mut offsets: Vec<Offset> = Vec::new();
            for witness in of_log {
                let counts = match witness.strength {
                    Strength::Told => false,
                    _ if offsets.last() == Some(&witness.offset) => false,
                    Strength::Final => true,
                    // What compaction took may have been gone when the consumer came by.
                    Strength::Promised | Strength::Read if compacted => false,
                    Strength::Promised | Strength::Read => self
                        .sender(log, witness.value)
                        .is_some_and(|(_, _, send)| self.fate(send) == Fate::Committed),
                };
                if counts {
                    offsets.push(witness.offset);
                }
            }
            certain.insert(log, offsets);
        }
        certain
    }
}

impl History {
    /// Why something may be odd in a log: it may lose records, or what else there is.
    pub(super) fn excuse(&self, log: Log, otherwise: Option<Allowed>) -> Option<Allowed> {
        if self.concessions(log).may_lose { Some(Allowed::MayLose) } else { otherwise }
    }
}

fn witnesses(history: &History) -> Vec<Witness> {
    let mut all = Vec::new();
    for (place, operation) in history.operations.iter().enumerate() {
        let operation_place = Some(place);
        match &operation.action {
            Action::Send(send) => {
                let Some(Some(offset)) = send.outcome.acknowledged() else { continue };
                let strength = match send.acks {
                    Acks::All => Strength::Promised,
                    Acks::Zero | Acks::One => Strength::Told,
                };
                let (log, value, offset) = (send.log, send.value, *offset);
                all.push(Witness { log, offset, value, strength, operation: operation_place });
            }
            Action::Poll { outcome, .. } => {
                for polled in outcome.acknowledged().into_iter().flatten() {
                    let (log, strength) = (polled.log, Strength::Read);
                    all.extend(polled.records.iter().map(|&(offset, value)| Witness {
                        log,
                        offset,
                        value,
                        strength,
                        operation: operation_place,
                    }));
                }
            }
            _ => {}
        }
    }
    for (&log, read) in &history.final_reads {
        let strength = Strength::Final;
        all.extend(read.records.iter().map(|&(offset, value)| Witness {
            log,
            offset,
            value,
            strength,
            operation: None,
        }));
    }
    all.sort_unstable();
    all
}

fn endings(history: &History) -> BTreeMap<TransactionId, Ending> {
    let mut endings = BTreeMap::new();
    for (place, operation) in history.operations.iter().enumerate() {
        let Action::EndTransaction { transaction, commit, outcome } = &operation.action else {
            continue;
        };
        use super::history::Outcome::{Acknowledged, Failed, Unknown};
        let fate = match (commit, outcome) {
            (false, _) | (true, Failed) => Fate::Aborted,
            (true, Acknowledged(())) => Fate::Committed,
            (true, Unknown) => Fate::Unknown,
        };
        let ending: &mut Ending =
            endings.entry(*transaction).or_insert(Ending { commit: None, fate });
        if *commit {
            ending.commit = ending.commit.or(Some(place));
        }
        // Of several attempts at an end, the one that was acknowledged tells.
        match (ending.fate, fate) {
            (Fate::Unknown, _) | (_, Fate::Committed) => ending.fate = fate,
            (Fate::Aborted, Fate::Unknown | Fate::Aborted) | (Fate::Committed, _) => {}
        }
    }
    endings
}
