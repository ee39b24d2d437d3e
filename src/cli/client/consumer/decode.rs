//! Batches become records. With read_committed, those of aborted transactions and the control
//! records between them are left out; control records are never handed out.

use std::collections::BTreeSet;

use crate::cli::client::consumed::{ConsumedRecord, TimestampKind};
use crate::cli::client::consumer::fetcher::Fetched;
use crate::cli::client::error::ClientFailure;
use crate::cli::client::options::ConsumerOptions;
use crate::record::{self, Batch, RecordError, TimestampType};
use crate::types::{Offset, ProducerId};

/// The records of one answer, from the position on.
pub(super) fn records(
    fetched: &Fetched,
    options: &ConsumerOptions,
) -> Result<Vec<ConsumedRecord>, ClientFailure> {
    let mut aborted = Aborted::new(&fetched.aborted);
    let mut found = Vec::new();
    for batch in record::batches(&fetched.records) {
        let batch = match batch {
            Ok(batch) => batch,
            // The answer's size limit cuts the last batch off; it comes whole next time.
            Err(RecordError::Incomplete { .. }) => break,
            Err(error) => return Err(bad(fetched, &error)),
        };
        if batch.header.next_offset() <= fetched.from {
            continue;
        }
        if options.check_crcs {
            batch.verify_crc().map_err(|error| bad(fetched, &error))?;
        }
        let is_hidden = options.is_read_committed && aborted.hides(&batch);
        if batch.header.is_control() || is_hidden {
            continue;
        }
        decode(&batch, fetched, &mut found)?;
    }
    Ok(found)
}

fn decode(
    batch: &Batch,
    fetched: &Fetched,
    found: &mut Vec<ConsumedRecord>,
) -> Result<(), ClientFailure> {
    let timestamp_kind = match batch.header.timestamp_type() {
        TimestampType::CreateTime => TimestampKind::CreateTime,
        TimestampType::LogAppendTime => TimestampKind::LogAppendTime,
    };
    for record in batch.records().map_err(|error| bad(fetched, &error))? {
        if record.offset < fetched.from {
            continue;
        }
        found.push(ConsumedRecord {
            topic: fetched.topic_partition.topic.clone(),
            partition: fetched.topic_partition.partition,
            offset: record.offset,
            leader_epoch: batch.header.partition_leader_epoch,
            timestamp: record.timestamp,
            timestamp_kind,
            key: record.key,
            value: record.value,
            headers: record.headers.into_iter().map(|h| (h.key, h.value)).collect(),
        });
    }
    Ok(())
}

fn bad(fetched: &Fetched, error: &dyn std::fmt::Display) -> ClientFailure {
    let partition = &fetched.topic_partition;
    ClientFailure::Batch(format!("cannot read the records of {partition}: {error}"))
}

/// Which producers' transactions are, at this point of the log, aborted ones.
#[derive(Debug)]
struct Aborted {
    /// By their first offsets, the last one first.
    to_come: Vec<(Offset, ProducerId)>,
    open: BTreeSet<ProducerId>,
}

impl Aborted {
    fn new(transactions: &[(ProducerId, Offset)]) -> Self {
        let mut to_come: Vec<(Offset, ProducerId)> =
            transactions.iter().map(|&(producer, first)| (first, producer)).collect();
        to_come.sort_unstable();
        to_come.reverse();
        Self { to_come, open: BTreeSet::new() }
    }

    /// Whether a batch belongs to an aborted transaction. Batches must come in their order.
    fn hides(&mut self, batch: &Batch) -> bool {
        let header = &batch.header;
        while let Some(&(first, producer)) = self.to_come.last() {
            if first > header.last_offset() {
                break;
            }
            self.open.insert(producer);
            self.to_come.pop();
        }
        if header.is_control() {
            // Any marker ends the producer's transaction, and no open one stays open after it.
            self.open.remove(&header.producer_id);
            return true;
        }
        header.is_transactional() && self.open.contains(&header.producer_id)
    }
}
