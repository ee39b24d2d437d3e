//! Judges what clients did and saw. Pure: a [`History`] in, a [`Report`] out.
//!
//! The anomalies and their names are those of Jepsen's workload for Kafka, and linearizability of
//! the topics' creation and deletion. What replication does not promise (a record acknowledged with
//! acks=1 is gone, a record lies twice that no idempotent producer sent) is reported as allowed; all
//! else is a failure.
//!
//! - [`history`]: operations as they were invoked and answered
//! - [`report`]: what was found
//! - `evidence`: who says that a value lies at an offset, sorted for the rest
//! - `records`: lost, inconsistent, doubled, foreign and unseen values
//! - `polls`: what consumers were given, in what order; `sends`: the order of acknowledgements
//! - `transactions`: what was read before it was committed, or although it was aborted
//! - `topics`: whether some order of the creations and deletions explains all answers

mod evidence;
pub mod history;
mod polls;
mod records;
pub mod report;
mod sends;
mod topics;
mod transactions;

use evidence::Evidence;
use history::History;
use report::Report;

/// Everything that is wrong with a history, and what is odd but allowed.
pub fn check(history: &History) -> Report {
    let mut report = Report::default();
    let evidence = Evidence::gather(history);
    records::check(history, &evidence, &mut report);
    sends::check(history, &evidence, &mut report);
    polls::check(history, &evidence, &mut report);
    transactions::check(history, &evidence, &mut report);
    topics::check(history, &mut report);
    report
}
