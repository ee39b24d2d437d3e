//! The beginning of a reign, durable before the reign's first append (rule 1). Many at once share one
//! flush of the catalog.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::log::error::StorageError;
use crate::log::partition_log::Log;
use crate::log::stored;
use crate::types::LeaderEpoch;

/// A log, and the reign that begins at its end.
pub(crate) type Reign = (Arc<Log>, LeaderEpoch);

impl Log {
    /// Notes, durably, that the reign `epoch` begins at the log's end (rule 1). An epoch that is
    /// not above the latest changes nothing. Reigns that begin at the same time in one directory
    /// are made durable together, off the async workers.
    pub async fn assign_epoch(self: &Arc<Self>, epoch: LeaderEpoch) -> Result<(), StorageError> {
        let reign = (Arc::clone(self), epoch);
        self.shared.reigns.ask(&*self.shared.offload, reign, begin_all).await?
    }

    /// As [`Log::assign_epoch`], on the caller's thread.
    pub fn assign_epoch_blocking(self: &Arc<Self>, epoch: LeaderEpoch) -> Result<(), StorageError> {
        begin_all(vec![(Arc::clone(self), epoch)]).into_iter().collect()
    }

    fn begin(&self, epoch: LeaderEpoch) -> Result<(), StorageError> {
        let _writer = self.writer.lock();
        self.check_writable()?;
        self.epochs.write().assign(epoch, self.log_end_offset());
        Ok(())
    }
}

/// Begins reigns of logs of one directory, each with a result of its own, in their order.
fn begin_all(reigns: Vec<Reign>) -> Vec<Result<(), StorageError>> {
    let begun: Vec<Result<(), StorageError>> =
        reigns.iter().map(|(log, epoch)| log.begin(*epoch)).collect();
    let is_new =
        |log: &Log, epoch: LeaderEpoch| log.ends.durable_epoch.load(Ordering::Acquire) < epoch.0;
    let unstored: Vec<bool> = reigns
        .iter()
        .zip(&begun)
        .map(|((log, epoch), begun)| begun.is_ok() && is_new(log, *epoch))
        .collect();
    let to_store = || reigns.iter().zip(&unstored).filter_map(|(reign, it)| it.then_some(reign));
    let Some((first, _)) = to_store().next() else { return begun };
    let stored = first.shared.gate.durably(|batch| {
        // Of a log that is closed nothing is stored.
        for (log, _) in to_store().filter(|(log, _)| !log.is_closed.load(Ordering::Acquire)) {
            stored::put_identity(batch, log);
            stored::put_epochs(batch, log);
        }
    });
    let outcome = |((log, epoch), (begun, unstored)): (&Reign, (_, &bool))| match &stored {
        Ok(()) if *unstored => {
            log.ends.durable_epoch.fetch_max(epoch.0, Ordering::AcqRel);
            Ok(())
        }
        Err(error) if *unstored => Err(log.poison_always(StorageError::Catalog(error.clone()))),
        Ok(()) | Err(_) => begun,
    };
    reigns.iter().zip(begun.into_iter().zip(&unstored)).map(outcome).collect()
}
