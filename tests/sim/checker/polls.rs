//! What consumers were given, in what order, and what they were not given.

use std::collections::BTreeMap;

use ottla::types::Offset;

use super::evidence::Evidence;
use super::history::{Action, History, Log, Polled, Process};
use super::report::{Allowed, Anomaly, Report};

/// Where a consumer goes on in one log.
#[derive(Clone, Copy)]
struct Position {
    next: Offset,
    /// A group has rebalanced since.
    rebalanced: bool,
}

pub fn check(history: &History, evidence: &Evidence<'_>, report: &mut Report) {
    let mut positions: BTreeMap<(Process, Log), Position> = BTreeMap::new();
    for (place, operation) in history.operations.iter().enumerate() {
        let process = operation.process;
        match &operation.action {
            Action::Poll { outcome, .. } => {
                for polled in outcome.acknowledged().into_iter().flatten() {
                    let judge = Judge { history, evidence, place, polled };
                    let before = positions.get(&(process, polled.log)).copied();
                    judge.within(report);
                    judge.since(before, report);
                    if let Some(position) = judge.position_after(before) {
                        positions.insert((process, polled.log), position);
                    }
                }
            }
            Action::Assign { logs, subscribed } => {
                positions.retain(|(of, log), _| *of != process || logs.contains(log));
                let kept = positions.range_mut((process, FIRST)..=(process, LAST));
                kept.for_each(|(_, position)| position.rebalanced |= subscribed);
            }
            Action::Seek { log, to } => {
                let position = Position { next: *to, rebalanced: false };
                positions.insert((process, *log), position);
            }
            _ => {}
        }
    }
}

const FIRST: Log = Log { topic: 0, partition: i32::MIN };
const LAST: Log = Log { topic: u32::MAX, partition: i32::MAX };

/// One log's part of one poll.
struct Judge<'a> {
    history: &'a History,
    evidence: &'a Evidence<'a>,
    place: usize,
    polled: &'a Polled,
}

impl Judge<'_> {
    fn within(&self, report: &mut Report) {
        for pair in self.polled.records.windows(2) {
            let (next, given) = (pair[0].0.plus(1), pair[1].0);
            self.step(
                next,
                given,
                Anomaly::IntNonmonotonicPoll,
                Anomaly::IntPollSkip,
                None,
                report,
            );
        }
    }

    fn since(&self, before: Option<Position>, report: &mut Report) {
        let Some((given, _)) = self.polled.records.first() else { return };
        let (again, skipped) = (Anomaly::NonmonotonicPoll, Anomaly::PollSkip);
        match before {
            Some(Position { next, rebalanced: true }) => {
                self.step(next, *given, again, skipped, Some(Allowed::Rebalanced), report);
                self.step(self.polled.from, *given, again, skipped, None, report);
            }
            Some(Position { next, rebalanced: false }) => {
                self.step(next, *given, again, skipped, None, report);
            }
            None => self.step(self.polled.from, *given, again, skipped, None, report),
        }
    }

    /// `given` came where `next` could be expected, or a later offset if there is nothing between.
    fn step(
        &self,
        next: Offset,
        given: Offset,
        again: Anomaly,
        skipped: Anomaly,
        allowed: Option<Allowed>,
        report: &mut Report,
    ) {
        let log = self.polled.log;
        let allowed = self.history.excuse(log, allowed);
        if given < next {
            report.add(again, allowed, &[self.place], || {
                format!("{log} gave {given} to a consumer that stood at {next}")
            });
        } else if let Some(missed) = self.evidence.certain_between(log, next, given) {
            report.add(skipped, allowed, &[self.place], || {
                format!("{log} gave {given} to a consumer at {next}, and not {missed}")
            });
        }
    }

    fn position_after(&self, before: Option<Position>) -> Option<Position> {
        match self.polled.records.last() {
            Some((offset, _)) => Some(Position { next: offset.plus(1), rebalanced: false }),
            None => before.or(Some(Position { next: self.polled.from, rebalanced: false })),
        }
    }
}
