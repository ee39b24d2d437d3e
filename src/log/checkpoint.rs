//! The checkpoint of one directory, in the order that makes the catalog the truth up to the
//! recovery points: note where the logs are; sync the segments; then apply, flush and sync the
//! catalog; then publish.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::log::error::StorageError;
use crate::log::flush::SyncPlan;
use crate::log::partition_log::Log;
use crate::log::producers::{Forgotten, ProducerState};
use crate::log::shared::DirectoryShared;
use crate::log::stored;
use crate::log::transactions::AbortedTransaction;
use crate::storage::{CatalogBatch, share_out};
use crate::types::{LeaderEpoch, Offset, ProducerId};

/// How many logs are synced at a time, the rest of the threads being for others.
const SYNCS_AT_A_TIME: usize = 4;

/// One log as it was when the checkpoint began: all of it belongs together.
struct Noted {
    log: Arc<Log>,
    plan: SyncPlan,
    producers: Vec<(ProducerId, Option<ProducerState>)>,
    forgotten: Forgotten,
    aborted: Vec<AbortedTransaction>,
}

/// What of a noted log went into the catalog.
struct StoredNote {
    noted: Noted,
    high_watermark: Offset,
    epoch: Option<LeaderEpoch>,
    /// The number of the incidents that are in the batch.
    incidents: Option<u64>,
}

/// Checkpoints those of `logs` that changed. Runs on a thread that may block.
pub(crate) fn checkpoint(shared: &DirectoryShared, logs: &[Arc<Log>]) -> Result<(), StorageError> {
    let noted: Vec<Noted> = logs.iter().filter(|log| log.needs_checkpoint()).map(note).collect();
    let synced = sync_all(shared, noted)?;
    if synced.is_empty() {
        return Ok(());
    }
    let stored = shared
        .gate
        .durably(|batch| synced.into_iter().map(|noted| put(batch, noted)).collect())
        .map_err(|error| {
            shared.go_offline(&format!("catalog: {error}"));
            StorageError::Catalog(error)
        });
    let stored: Vec<Put> = stored?;
    for note in stored {
        match note {
            Put::Stored(stored) => publish(stored),
            Put::Cut(noted) => give_back(noted),
        }
    }
    Ok(())
}

/// Syncs what was noted, several logs at a time: a journal commits for all who wait for it.
fn sync_all(shared: &DirectoryShared, noted: Vec<Noted>) -> Result<Vec<Noted>, StorageError> {
    let sync = |noted: Noted| noted.log.sync(&noted.plan).map(|()| noted);
    share_out(&*shared.offload, SYNCS_AT_A_TIME, noted, sync)?.into_iter().collect()
}

fn note(log: &Arc<Log>) -> Noted {
    let mut writer = log.writer.lock();
    let plan = log.plan_sync_with(&mut writer);
    let changed = writer.producers.take_changed();
    let producers = changed.into_iter().map(|id| (id, writer.producers.get(id).cloned())).collect();
    let recovery_point = log.recovery_point();
    let aborted = log
        .transactions
        .lock()
        .aborted()
        .filter(|aborted| aborted.last_offset >= recovery_point)
        .copied()
        .collect();
    let forgotten = writer.producers.forgotten();
    Noted { log: Arc::clone(log), plan, producers, forgotten, aborted }
}

/// What became of a noted log.
enum Put {
    /// It is in the batch.
    Stored(StoredNote),
    /// It was cut since it was noted.
    Cut(Noted),
}

/// Puts a noted log into the batch, unless it was cut since: the cut has stored it then. Takes no
/// log's writer: whoever cuts holds it and waits for the catalog.
fn put(batch: &mut CatalogBatch, noted: Noted) -> Put {
    let log = &noted.log;
    if log.cuts.load(Ordering::Acquire) != noted.plan.cuts || log.is_closed.load(Ordering::Acquire)
    {
        return Put::Cut(noted);
    }
    stored::put_identity(batch, log);
    stored::put_progress(batch, log, noted.forgotten, noted.plan.log_end);
    let high_watermark = log.high_watermark();
    let epoch = log.latest_epoch();
    if epoch.map_or(-1, |epoch| epoch.0) != log.ends.durable_epoch.load(Ordering::Acquire) {
        stored::put_epochs(batch, log);
    }
    for point in &noted.plan.segments {
        stored::put_segment(batch, log, point);
    }
    for (id, state) in &noted.producers {
        stored::put_producer(batch, log, *id, state.as_ref());
    }
    for aborted in &noted.aborted {
        stored::put_aborted(batch, log, aborted);
    }
    let unstored = log.incidents.lock().is_unstored();
    let incidents = unstored.then(|| stored::put_incidents(batch, log));
    Put::Stored(StoredNote { noted, high_watermark, epoch, incidents })
}

/// What was not stored has changed still.
fn give_back(noted: Noted) {
    let changed = noted.producers.iter().map(|(id, _)| *id).collect();
    noted.log.producers_changed_again(changed);
}

fn publish(stored: StoredNote) {
    let StoredNote { noted: Noted { log, plan, .. }, high_watermark, epoch, incidents } = stored;
    if let Some(number) = incidents {
        log.incidents.lock().note_stored(number);
    }
    let _writer = log.writer.lock();
    if log.cuts.load(Ordering::Acquire) != plan.cuts {
        return;
    }
    for point in &plan.segments {
        point.segment.note_stored(point);
    }
    log.ends.flushed.fetch_max(plan.log_end.0, Ordering::AcqRel);
    log.ends.recovery_point.fetch_max(plan.log_end.0, Ordering::AcqRel);
    log.ends.stored_high_watermark.store(high_watermark.0, Ordering::Release);
    if let Some(epoch) = epoch {
        log.ends.durable_epoch.fetch_max(epoch.0, Ordering::AcqRel);
    }
}

impl Log {
    fn needs_checkpoint(&self) -> bool {
        if self.is_poisoned() || self.is_closed.load(Ordering::Acquire) {
            return false;
        }
        self.recovery_point() != self.log_end_offset()
            || self.ends.stored_high_watermark.load(Ordering::Acquire) != self.high_watermark().0
            || self.segments.load().iter().any(|segment| segment.is_worth_storing())
            || self.incidents.lock().is_unstored()
            || self.writer.lock().producers.has_changed()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::sync::mpsc;
    use std::time::Duration;

    use super::*;
    use crate::log::AppendOrigin;
    use crate::log::tests::world::{World, idempotent, one_log};
    use crate::types::LeaderEpoch;

    #[test]
    fn a_cut_that_waits_for_the_catalog_does_not_stop_a_checkpoint_that_has_it() {
        let world = World::new();
        let (_directory, log) = one_log(&world);
        log.append_as_leader(idempotent(7, 0, 0, 5), LeaderEpoch(1), AppendOrigin::Client).unwrap();
        let noted = note(&log);
        // As a cut that is under way: it holds the writer and is about to ask for the catalog.
        let writer = log.writer.lock();
        log.cuts.fetch_add(1, Ordering::AcqRel);
        let (send, received) = mpsc::channel();
        std::thread::spawn(move || {
            let outcome = put(&mut CatalogBatch::default(), noted);
            let _ = send.send(outcome);
        });
        let outcome = received.recv_timeout(Duration::from_secs(20));
        drop(writer);
        let noted = outcome.expect("the checkpoint waited 20 s for the writer of a cut log");
        let Put::Cut(noted) = noted else { panic!("what was noted before a cut is not stored") };
        give_back(noted);
        assert!(log.needs_checkpoint(), "the producers' changes are still to be stored");
    }
}
