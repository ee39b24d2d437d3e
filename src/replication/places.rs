//! Replicas of this node that lie in another data directory than the metadata says.

use std::collections::BTreeMap;

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::options::PlacedReplica;
use crate::metadata::LocalReplica;
use crate::types::{DirectoryId, NodeId, TopicPartition};

/// What the controller is still to be told.
#[derive(Debug, Default)]
pub(super) struct Misplaced {
    replicas: Mutex<BTreeMap<TopicPartition, PlacedReplica>>,
    changed: Notify,
}

impl Misplaced {
    /// The metadata says where `replica` of `node` lies; `lies_in` is the truth, or none if it is
    /// not hosted now.
    pub(super) fn note(&self, node: NodeId, replica: &LocalReplica, lies_in: Option<DirectoryId>) {
        let name = &replica.topic_partition;
        let recorded = replica.partition.directory_of(node).unwrap_or_default();
        let known = self.replicas.lock().get(name).map(|known| known.directory);
        match lies_in.or(known) {
            Some(directory) if directory != recorded => {
                let (topic_id, partition) = (replica.topic_id, name.partition);
                self.put(name.clone(), PlacedReplica { topic_id, partition, directory });
            }
            Some(_) | None => self.forget(name),
        }
    }

    /// The replica lies there now.
    pub(super) fn put(&self, name: TopicPartition, replica: PlacedReplica) {
        let before = self.replicas.lock().insert(name, replica);
        if before != Some(replica) {
            self.changed.notify_one();
        }
    }

    /// The replica lies where the metadata says, or is gone.
    pub(super) fn forget(&self, name: &TopicPartition) {
        self.replicas.lock().remove(name);
    }

    /// All of them.
    pub(super) fn all(&self) -> Vec<PlacedReplica> {
        self.replicas.lock().values().copied().collect()
    }

    /// Returns once one was added since the last time.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }
}
