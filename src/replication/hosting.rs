//! Making, finding and giving up the logs of this node's replicas.
//!
//! A replica lies where the metadata says, if a log of its is there or none is anywhere. Where that
//! directory is offline the replica is: what lies there may come back with it, so nothing takes its
//! place. Otherwise it lies where a log of its is found, and the metadata is corrected.

use std::sync::Arc;

use super::partition::Partition;
use super::replicas::{Hosted, Replicas};
use crate::controller::METADATA_TOPIC_ID;
use crate::log::{CreateError, Log, LogConfig, LogDirectory, NewLog, StorageError};
use crate::metadata::{Image, LocalReplica, RemovedReplica, Topic};
use crate::types::DirectoryId;

/// Why a replica is not served.
#[derive(Debug, thiserror::Error)]
enum HostError {
    /// The directory that it lies in is offline.
    #[error("its data directory is offline")]
    Offline,
    /// Its log cannot be made.
    #[error(transparent)]
    Create(#[from] CreateError),
    /// A log that is in its way cannot be set aside.
    #[error(transparent)]
    Storage(#[from] StorageError),
}

type Place = (Arc<LogDirectory>, Arc<Log>);

impl Replicas {
    /// The replica that the metadata speaks of; its log is made if it is not there yet.
    pub(super) async fn host(
        &self,
        image: &Image,
        replica: &LocalReplica,
    ) -> Option<Arc<Partition>> {
        let name = &replica.topic_partition;
        let hosted = self.hosted.read().get(name).cloned();
        match hosted {
            Some(Hosted::Online(partition)) if partition.topic_id() == replica.topic_id => {
                return Some(partition);
            }
            Some(Hosted::Offline) => return None,
            Some(Hosted::Online(_)) | None => {}
        }
        let topic = image.topic(&name.topic)?;
        match self.open(image, topic, replica).await {
            Ok((directory, partition)) => {
                let online = Hosted::Online(Arc::clone(&partition));
                self.hosted.write().insert(name.clone(), online);
                // It may have failed before the replica was on the list of those in it.
                if directory.is_offline() {
                    self.take_offline(directory.directory_id());
                    return None;
                }
                self.resume_move(&partition);
                Some(partition)
            }
            Err(error) => {
                tracing::error!(partition = %name, %error, "the replica cannot be served");
                self.hosted.write().insert(name.clone(), Hosted::Offline);
                None
            }
        }
    }

    async fn open(
        &self,
        image: &Image,
        topic: &Topic,
        replica: &LocalReplica,
    ) -> Result<(Arc<LogDirectory>, Arc<Partition>), HostError> {
        let settings = self.context.surrounds.settings(image, topic);
        let (directory, log) = match self.existing_log(replica).await? {
            Some((directory, log)) => {
                log.set_config(settings.log.clone());
                (directory, log)
            }
            None => self.create(replica, settings.log.clone()).await?,
        };
        Ok((directory, Partition::new(log, Arc::clone(&self.context), &settings)))
    }

    /// The replica's log, if a directory has it. A log of that name with another topic id is of a
    /// topic that is gone, and a second log is an older one that came back with its directory:
    /// they are set aside.
    async fn existing_log(&self, replica: &LocalReplica) -> Result<Option<Place>, HostError> {
        let name = &replica.topic_partition;
        let mut found: Vec<Place> = Vec::new();
        for directory in self.online_directories() {
            let Some(log) = directory.log(name) else { continue };
            if log.topic_id() == replica.topic_id {
                if log.moving_to().is_some() {
                    return Err(HostError::Offline);
                }
                found.push((Arc::clone(directory), log));
            } else {
                directory.mark_stray(name).await?;
            }
        }
        let wanted = replica.partition.directory_of(self.context.node);
        if wanted.is_some_and(|wanted| self.is_offline_here(wanted)) {
            return Err(HostError::Offline);
        }
        let is_wanted = |(directory, _): &Place| Some(directory.directory_id()) == wanted;
        let has_most = |(_, (_, log)): &(usize, &Place)| (log.latest_epoch(), log.log_end_offset());
        let chosen = found
            .iter()
            .position(is_wanted)
            .or_else(|| found.iter().enumerate().max_by_key(has_most).map(|(index, _)| index));
        let Some(chosen) = chosen else { return Ok(None) };
        let chosen = found.swap_remove(chosen);
        for (directory, _) in found {
            tracing::warn!(partition = %name, directory = %directory.path().display(), "a second log is set aside");
            directory.mark_stray(name).await?;
        }
        Ok(Some(chosen))
    }

    /// The directories that work.
    pub(super) fn online_directories(&self) -> impl Iterator<Item = &Arc<LogDirectory>> {
        self.directories.iter().filter(|directory| !directory.is_offline())
    }

    /// Whether a replica that lies in `directory` waits for its return. A directory that is not
    /// known while all of this node's work was taken out of the configuration, or its disk replaced.
    fn is_offline_here(&self, directory: DirectoryId) -> bool {
        let is_any_offline = !self.unopened.is_empty()
            || self.directories.iter().any(|directory| directory.is_offline());
        is_any_offline
            && directory != DirectoryId::ZERO
            && !self.online_directories().any(|online| online.directory_id() == directory)
    }

    async fn create(&self, replica: &LocalReplica, config: LogConfig) -> Result<Place, HostError> {
        let directory = Arc::clone(self.directory_for(replica).ok_or(HostError::Offline)?);
        let topic_partition = replica.topic_partition.clone();
        let new = NewLog { topic_partition, topic_id: replica.topic_id, config };
        let log = directory.create_together(new).await?;
        Ok((directory, log))
    }

    /// Where the metadata wants the replica, or else where fewest logs are.
    fn directory_for(&self, replica: &LocalReplica) -> Option<&Arc<LogDirectory>> {
        let wanted = replica.partition.directory_of(self.context.node);
        self.online_directories()
            .find(|directory| Some(directory.directory_id()) == wanted)
            .or_else(|| self.online_directories().min_by_key(|directory| directory.log_count()))
    }

    /// Lets go of a replica that is no longer on this node, and of its log. What lies in a directory
    /// that is offline is found to be stray when that comes back.
    pub(super) async fn give_up(&self, removed: &RemovedReplica) {
        let name = &removed.topic_partition;
        let is_it = |hosted: &Hosted| match hosted {
            Hosted::Online(partition) => partition.topic_id() == removed.topic_id,
            Hosted::Offline => true,
        };
        let taken = {
            let mut hosted = self.hosted.write();
            if hosted.get(name).is_some_and(is_it) { hosted.remove(name) } else { None }
        };
        self.misplaced.forget(name);
        self.moves.forget(name);
        if let Err(error) = self.discard_futures(name, |_| true).await {
            tracing::error!(partition = %name, %error, "cannot delete the future log");
        }
        if let Some(Hosted::Online(partition)) = taken {
            partition.close();
        }
        for directory in self.online_directories() {
            let Some(log) = directory.log(name) else { continue };
            if log.topic_id() == removed.topic_id
                && let Err(error) = directory.delete(name).await
            {
                tracing::error!(partition = %name, %error, "cannot delete the log");
            }
        }
    }

    /// Sets aside the logs of topics that the metadata does not know. Call it once the metadata
    /// that is applied is newer than this node's registration.
    pub async fn set_strays_aside(&self) -> Result<(), StorageError> {
        let image = self.metadata.image();
        let is_known = |log: &Log| {
            let name = log.topic_partition();
            image.topic_by_id(log.topic_id()).is_some_and(|topic| {
                let partition = topic.partition(name.partition);
                topic.name == name.topic
                    && partition.is_some_and(|it| it.is_replica(self.context.node))
            })
        };
        for directory in self.online_directories() {
            for future in directory.futures().iter().filter(|future| !is_known(future)) {
                directory.discard_future(future.topic_partition()).await?;
            }
            let logs = directory.logs().into_iter();
            for log in logs.filter(|log| log.topic_id() != METADATA_TOPIC_ID) {
                let name = log.topic_partition();
                if !is_known(&log) {
                    tracing::warn!(log = %name, topic_id = %log.topic_id(), "set aside as stray");
                    directory.mark_stray(name).await?;
                }
            }
        }
        Ok(())
    }

    /// Takes the replicas of a directory offline when it fails.
    pub(super) async fn watch_directories(self: Arc<Self>) {
        let watches = self.directories.iter().map(|directory| async {
            let mut offline = directory.watch_offline();
            let reason = match offline.wait_for(Option::is_some).await {
                Ok(reason) => reason.clone().unwrap_or_default(),
                Err(_closed) => return,
            };
            let path = directory.path().display();
            tracing::error!(directory = %path, reason, "the replicas of a failed directory go offline");
            self.take_offline(directory.directory_id());
        });
        futures::future::join_all(watches).await;
        futures::future::pending::<()>().await;
    }

    fn take_offline(&self, directory: DirectoryId) {
        let mut failed = Vec::new();
        for hosted in self.hosted.write().values_mut() {
            if let Hosted::Online(partition) = hosted
                && partition.log().directory_id() == directory
            {
                failed.push(Arc::clone(partition));
                *hosted = Hosted::Offline;
            }
        }
        for partition in failed {
            partition.fail("its directory has failed");
        }
    }
}
