//! Folds committed entries into the image and publishes it. The image lives in memory; after a
//! start it is rebuilt from the newest snapshot and the committed entries behind it.

use std::io::Cursor;
use std::sync::Arc;

use arc_swap::ArcSwap;
use bytes::Bytes;
use openraft::{
    AnyError, EntryPayload, OptionalSend, RaftLogId, RaftSnapshotBuilder, storage::RaftStateMachine,
};
use parking_lot::Mutex;

use crate::controller::raft::snapshot::{SnapshotDirectory, SnapshotError};
use crate::controller::raft::types::{
    Entry, EntryData, EntryOutcome, LogId, Snapshot, SnapshotMeta, StorageError, StorageIoError,
    StoredMembership, TypeConfig,
};
use crate::metadata::{Image, MetadataRecord, MetadataSource};
use crate::types::{DirectoryId, Offset, Random, watch};

/// The committed image as the rest of the broker reads it.
#[derive(Debug)]
pub struct PublishedImage {
    image: ArcSwap<Image>,
    version: watch::Sender<u64>,
}

impl PublishedImage {
    fn publish(&self, image: &Image) {
        self.image.store(Arc::new(image.clone()));
        self.version.send_if_modified(|version| {
            let moved = *version != image.version();
            *version = image.version();
            moved
        });
    }
}

impl MetadataSource for PublishedImage {
    fn image(&self) -> Arc<Image> {
        self.image.load_full()
    }

    fn subscribe(&self) -> watch::Receiver<u64> {
        self.version.subscribe()
    }
}

/// openraft's state machine. Clones share their state: openraft builds snapshots on one.
#[derive(Debug, Clone)]
pub struct StateMachine {
    folded: Arc<Mutex<Folded>>,
    published: Arc<PublishedImage>,
    snapshots: SnapshotDirectory,
    covered: watch::Sender<Covered>,
    random: Arc<dyn Random>,
}

#[derive(Debug, Default)]
struct Folded {
    image: Image,
    applied: Option<LogId>,
    membership: StoredMembership,
    snapshot: Option<SnapshotMeta>,
}

/// The snapshots on the disk: the log may forget what they cover.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Covered {
    /// The last entry that the newest one covers.
    pub end: Option<LogId>,
    /// One that the leader sent could not be stored.
    pub failed: bool,
}

impl StateMachine {
    /// The state as of the newest snapshot.
    pub async fn open(
        snapshots: SnapshotDirectory,
        random: Arc<dyn Random>,
    ) -> Result<StateMachine, SnapshotError> {
        let folded = match snapshots.newest().await? {
            None => Folded::default(),
            Some((meta, image, _)) => Folded::from_snapshot(meta, image),
        };
        let published = Arc::new(PublishedImage {
            image: ArcSwap::from_pointee(folded.image.clone()),
            version: watch::Sender::new(folded.image.version()),
        });
        let end = folded.snapshot.as_ref().and_then(|meta| meta.last_log_id);
        let covered = watch::Sender::new(Covered { end, failed: false });
        Ok(StateMachine {
            folded: Arc::new(Mutex::new(folded)),
            published,
            snapshots,
            covered,
            random,
        })
    }

    /// Where the image is published.
    pub fn published(&self) -> Arc<PublishedImage> {
        Arc::clone(&self.published)
    }

    /// What the snapshots on the disk cover, now and later.
    pub fn covered(&self) -> watch::Receiver<Covered> {
        self.covered.subscribe()
    }

    fn covers(&self, end: Option<LogId>) {
        self.covered.send_modify(|covered| covered.end = covered.end.max(end));
    }
}

impl Folded {
    fn from_snapshot(meta: SnapshotMeta, image: Image) -> Folded {
        Folded {
            image,
            applied: meta.last_log_id,
            membership: meta.last_membership.clone(),
            snapshot: Some(meta),
        }
    }

    fn apply(&mut self, entry: Entry) -> Result<EntryOutcome, AnyError> {
        let log_id = *entry.get_log_id();
        let offset = Offset(i64::try_from(log_id.index).map_err(|error| AnyError::new(&error))?);
        let outcome = match entry.payload {
            EntryPayload::Blank => EntryOutcome::NoRecords,
            EntryPayload::Membership(membership) => {
                self.membership = StoredMembership::new(Some(log_id), membership);
                EntryOutcome::NoRecords
            }
            EntryPayload::Normal(data) => self.fold(&log_id, offset, data)?,
        };
        if !matches!(outcome, EntryOutcome::Applied { .. }) {
            self.image.apply_entry([], offset).map_err(|error| AnyError::new(&error))?;
        }
        self.applied = Some(log_id);
        Ok(outcome)
    }

    /// Folds the records in, unless they were decided on something else than what is here now.
    fn fold(
        &mut self,
        log_id: &LogId,
        offset: Offset,
        data: EntryData,
    ) -> Result<EntryOutcome, AnyError> {
        let version = self.image.version();
        if data.decided_in_term != log_id.leader_id.term || data.decided_on_version != version {
            return Ok(EntryOutcome::Outdated { version });
        }
        let records = data
            .records
            .into_iter()
            .map(MetadataRecord::decode)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| AnyError::new(&error))?;
        // On a copy: a record that does not fit must not leave half an entry behind.
        let mut image = self.image.clone();
        image.apply_entry(&records, offset).map_err(|error| AnyError::new(&error))?;
        self.image = image;
        Ok(EntryOutcome::Applied { version: self.image.version() })
    }
}

impl RaftStateMachine<TypeConfig> for StateMachine {
    type SnapshotBuilder = StateMachine;

    async fn applied_state(&mut self) -> Result<(Option<LogId>, StoredMembership), StorageError> {
        let folded = self.folded.lock();
        Ok((folded.applied, folded.membership.clone()))
    }

    async fn apply<I>(&mut self, entries: I) -> Result<Vec<EntryOutcome>, StorageError>
    where
        I: IntoIterator<Item = Entry> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let mut folded = self.folded.lock();
        let mut outcomes = Vec::new();
        for entry in entries {
            let log_id = *entry.get_log_id();
            let outcome = folded.apply(entry).map_err(|error| {
                tracing::error!("metadata entry {} cannot be applied: {error}", log_id.index);
                StorageError::from(StorageIoError::apply(log_id, error))
            })?;
            outcomes.push(outcome);
        }
        self.published.publish(&folded.image);
        Ok(outcomes)
    }

    async fn get_snapshot_builder(&mut self) -> StateMachine {
        self.clone()
    }

    async fn begin_receiving_snapshot(&mut self) -> Result<Box<Cursor<Vec<u8>>>, StorageError> {
        Ok(Box::default())
    }

    async fn install_snapshot(
        &mut self,
        meta: &SnapshotMeta,
        snapshot: Box<Cursor<Vec<u8>>>,
    ) -> Result<(), StorageError> {
        let failed = |error: SnapshotError| write_error(meta, &error);
        let bytes = Bytes::from(snapshot.into_inner());
        let installed = self.snapshots.install(meta, bytes).await;
        if installed.is_err() {
            self.covered.send_modify(|covered| covered.failed = true);
        }
        let image = installed.map_err(failed)?;
        self.covers(meta.last_log_id);
        let mut folded = self.folded.lock();
        *folded = Folded::from_snapshot(meta.clone(), image);
        self.published.publish(&folded.image);
        Ok(())
    }

    async fn get_current_snapshot(&mut self) -> Result<Option<Snapshot>, StorageError> {
        let current = self.folded.lock().snapshot.clone();
        let Some(meta) = current else { return Ok(None) };
        let bytes = self.snapshots.read(&meta).await.map_err(|error| {
            let signature = Some(meta.signature());
            StorageError::from(StorageIoError::read_snapshot(signature, AnyError::new(&error)))
        })?;
        Ok(Some(Snapshot { meta, snapshot: Box::new(Cursor::new(bytes.to_vec())) }))
    }
}

impl RaftSnapshotBuilder<TypeConfig> for StateMachine {
    async fn build_snapshot(&mut self) -> Result<Snapshot, StorageError> {
        let (image, meta) = {
            let folded = self.folded.lock();
            let index = folded.applied.map_or(0, |id| id.index);
            let unique = DirectoryId(self.random.uuid());
            let meta = SnapshotMeta {
                last_log_id: folded.applied,
                last_membership: folded.membership.clone(),
                snapshot_id: format!("{index}-{unique}"),
            };
            (folded.image.clone(), meta)
        };
        let building = self.snapshots.build(&meta, image).await;
        let bytes = building.map_err(|error| write_error(&meta, &error))?;
        self.covers(meta.last_log_id);
        let mut folded = self.folded.lock();
        // Meanwhile the leader may have sent a newer one.
        if folded.snapshot.as_ref().is_none_or(|newest| newest.last_log_id <= meta.last_log_id) {
            folded.snapshot = Some(meta.clone());
        }
        drop(folded);
        Ok(Snapshot { meta, snapshot: Box::new(Cursor::new(bytes.to_vec())) })
    }
}

fn write_error(meta: &SnapshotMeta, error: &SnapshotError) -> StorageError {
    StorageIoError::write_snapshot(Some(meta.signature()), AnyError::new(error)).into()
}
