//! Replicas on their way to another data directory of this node (KIP-113): each has a future log
//! there, which is filled from its log, gently, until it can take its place.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::options::PlacedReplica;
use super::partition::{Partition, SwitchError};
use super::replicas::{Hosted, Replicas};
use crate::log::{CopyError, CreateError, LogDirectory, PromoteError, StorageError};
use crate::storage::offload;
use crate::types::{DirectoryId, ErrorCode, TopicPartition};

/// How much is copied at once.
const COPY_BYTES: usize = 1 << 20;
/// A copy that lacked no more than this is completed at once, while the replica waits.
const NEARLY_ALL_BYTES: usize = COPY_BYTES / 4;
/// How long a move rests after a failure.
const PAUSE_AFTER_FAILURE: Duration = Duration::from_secs(1);

/// The moves under way.
#[derive(Debug, Default)]
pub(super) struct Moves {
    /// To which directory each replica moves.
    under_way: Mutex<BTreeMap<TopicPartition, DirectoryId>>,
    changed: Notify,
    /// One move begins, ends or is given up at a time.
    turn: tokio::sync::Mutex<()>,
}

impl Moves {
    pub(super) fn begin(&self, name: TopicPartition, to: DirectoryId) {
        self.under_way.lock().insert(name, to);
        self.changed.notify_one();
    }

    pub(super) fn forget(&self, name: &TopicPartition) {
        self.under_way.lock().remove(name);
    }

    fn all(&self) -> Vec<(TopicPartition, DirectoryId)> {
        self.under_way.lock().iter().map(|(name, to)| (name.clone(), *to)).collect()
    }

    fn is_under_way(&self, name: &TopicPartition, to: DirectoryId) -> bool {
        self.under_way.lock().get(name) == Some(&to)
    }
}

/// What became of one step of a move.
enum Step {
    /// There is more to copy; so long the disk was busy.
    Copied(Duration),
    /// It is over, one way or the other.
    Over,
    /// It is to be tried again later.
    Failed,
}

impl Replicas {
    /// Moves a replica to the data directory at `to`, in the background; to where it lies already: a
    /// move under way is given up.
    ///
    /// # Errors
    /// LOG_DIR_NOT_FOUND: this node has no such directory; KAFKA_STORAGE_ERROR: that, or the one the
    /// replica lies in, is offline; REPLICA_NOT_AVAILABLE: the replica is not on this node;
    /// UNKNOWN_TOPIC_OR_PARTITION; INVALID_TOPIC_EXCEPTION: the name is too long for a future log.
    pub async fn alter_directory(&self, name: &TopicPartition, to: &Path) -> Result<(), ErrorCode> {
        let to = self.directory_at(to)?;
        let partition = self.partition(name).map_err(|error| match error {
            ErrorCode::NotLeaderOrFollower => ErrorCode::ReplicaNotAvailable,
            other => other,
        })?;
        let _turn = self.moves.turn.lock().await;
        let wanted = to.directory_id();
        let given_up = self.discard_futures(name, |directory| directory != wanted).await;
        given_up.map_err(|error| error.error_code())?;
        let log = partition.log();
        if log.directory_id() == wanted {
            return Ok(());
        }
        let (topic_id, place) = (partition.topic_id(), name.clone());
        let (config, start) = ((*log.config()).clone(), log.log_start_offset());
        let make = move || to.create_future_blocking(&place, topic_id, config, start);
        let made = offload(&*self.offload, make).await;
        made.map_err(StorageError::from)
            .map_err(CreateError::from)
            .and_then(|made| made)
            .map_err(|error| error.error_code())?;
        tracing::info!(partition = %name, to = %wanted, "moves to another directory");
        self.moves.begin(name.clone(), wanted);
        Ok(())
    }

    fn directory_at(&self, path: &Path) -> Result<Arc<LogDirectory>, ErrorCode> {
        let absolute = |path: &Path| std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let wanted = absolute(path);
        if self.unopened.iter().any(|path| absolute(path) == wanted) {
            return Err(ErrorCode::KafkaStorageError);
        }
        let mut directories = self.directories.iter();
        let found = directories.find(|directory| absolute(directory.path()) == wanted);
        match found {
            None => Err(ErrorCode::LogDirNotFound),
            Some(directory) if directory.is_offline() => Err(ErrorCode::KafkaStorageError),
            Some(directory) => Ok(Arc::clone(directory)),
        }
    }

    /// Gives up the moves of a replica to directories that are `such`.
    pub(super) async fn discard_futures(
        &self,
        name: &TopicPartition,
        such: impl Fn(DirectoryId) -> bool,
    ) -> Result<(), StorageError> {
        for directory in self.online_directories() {
            let id = directory.directory_id();
            if directory.future(name).is_none() || !such(id) {
                continue;
            }
            if self.moves.is_under_way(name, id) {
                self.abandon_move(name);
            }
            tracing::info!(partition = %name, directory = %directory.path().display(), "the move is given up");
            directory.discard_future(name).await?;
        }
        Ok(())
    }

    fn abandon_move(&self, name: &TopicPartition) {
        self.moves.forget(name);
        if let Ok(partition) = self.partition(name) {
            partition.log().is_copied_no_more();
        }
    }

    /// Goes on with a move that an earlier run began.
    pub(super) fn resume_move(&self, partition: &Partition) {
        let name = partition.topic_partition();
        for directory in self.online_directories() {
            let future = directory.future(name);
            if future.is_some_and(|future| future.topic_id() == partition.topic_id()) {
                tracing::info!(partition = %name, directory = %directory.path().display(), "goes on moving");
                self.moves.begin(name.clone(), directory.directory_id());
            }
        }
    }

    /// Fills future logs, one piece of each in turn, at no more than half of what the disks give.
    pub(super) async fn move_replicas(self: Arc<Self>) {
        loop {
            let under_way = self.moves.all();
            if under_way.is_empty() {
                self.moves.changed.notified().await;
                continue;
            }
            let mut rest = Duration::ZERO;
            for (name, to) in under_way {
                match self.step(&name, to).await {
                    Step::Copied(took) => tokio::time::sleep(took).await,
                    Step::Over => {}
                    Step::Failed => rest = PAUSE_AFTER_FAILURE,
                }
            }
            tokio::time::sleep(rest).await;
        }
    }

    async fn step(&self, name: &TopicPartition, to: DirectoryId) -> Step {
        let directory = self.online_directories().find(|it| it.directory_id() == to);
        let future = directory.and_then(|directory| directory.future(name));
        let (Some(directory), Some(future), Ok(partition)) =
            (directory, future, self.partition(name))
        else {
            self.abandon_move(name);
            return Step::Over;
        };
        let (copy, source) = (Arc::clone(&future), partition.log());
        let began = self.context.clock.monotonic();
        let copied = offload(&*self.offload, move || copy.copy_from(&source, COPY_BYTES)).await;
        let copied = copied.map_err(|error| CopyError::from(StorageError::from(error)));
        match copied.and_then(|copied| copied) {
            Ok(copied) if copied > NEARLY_ALL_BYTES => {
                Step::Copied(self.context.clock.monotonic().since(began))
            }
            Ok(_) => self.complete_move(&partition, directory, &future).await,
            Err(error) => {
                tracing::warn!(partition = %name, %error, "cannot copy to the other directory");
                Step::Failed
            }
        }
    }

    async fn complete_move(
        &self,
        partition: &Arc<Partition>,
        to: &Arc<LogDirectory>,
        future: &Arc<crate::log::Log>,
    ) -> Step {
        let (name, directory) = (partition.topic_partition(), to.directory_id());
        let _turn = self.moves.turn.lock().await;
        if !self.moves.is_under_way(name, directory) {
            return Step::Over;
        }
        let old = match partition.switch_log(to, future, &*self.offload).await {
            Ok(old) => old,
            Err(SwitchError::Gone) => {
                self.moves.forget(name);
                return Step::Over;
            }
            Err(error @ SwitchError::Promote(PromoteError::Halfway(_))) => {
                tracing::error!(partition = %name, %error, "the replica is offline");
                self.moves.forget(name);
                self.hosted.write().insert(name.clone(), Hosted::Offline);
                // That directory has failed: told that the replica lies there, the controller goes on
                // without it.
                self.note_moved(partition, directory);
                return Step::Over;
            }
            Err(error) => {
                tracing::error!(partition = %name, %error, "cannot move to the other directory");
                return Step::Failed;
            }
        };
        tracing::info!(partition = %name, directory = %to.path().display(), "has moved");
        self.moves.forget(name);
        self.note_moved(partition, directory);
        let from = self.online_directories().find(|it| it.directory_id() == old.directory_id());
        if let Some(from) = from
            && let Err(error) = from.delete(name).await
        {
            // The next start finds that it had moved.
            tracing::warn!(partition = %name, %error, "the old log cannot be removed");
        }
        Step::Over
    }

    fn note_moved(&self, partition: &Partition, directory: DirectoryId) {
        let name = partition.topic_partition();
        let image = self.metadata.image();
        let registered = image.partition(name);
        let recorded = registered.and_then(|it| it.directory_of(self.context.node));
        if recorded.is_none_or(|recorded| recorded == directory) {
            self.misplaced.forget(name);
            return;
        }
        let (topic_id, index) = (partition.topic_id(), name.partition);
        let replica = PlacedReplica { topic_id, partition: index, directory };
        self.misplaced.put(name.clone(), replica);
    }
}
