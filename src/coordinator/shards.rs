//! All partitions of one internal topic that this broker leads, each with its shard.

use std::collections::BTreeMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use parking_lot::{Mutex, RwLock};
use tokio::task::{AbortHandle, JoinHandle, JoinSet};

use super::shard::{Perform, RequestId, Shard, ShardMachine, ShardOptions, ShardSeams, Submission};
use crate::metadata::Image;
use crate::replication::{Partition, Replicas};
use crate::types::{ErrorCode, LeaderEpoch, PartitionId, TopicName, TopicPartition, watch};

/// A shard that runs.
struct Running<M: ShardMachine> {
    shard: Arc<Shard<M>>,
    task: AbortHandle,
}

impl<M: ShardMachine> Running<M> {
    fn end(&self) {
        self.shard.close();
        self.task.abort();
    }
}

/// All partitions of one internal topic that this broker leads.
pub struct Coordinator<M: ShardMachine> {
    topic: TopicName,
    replicas: Arc<Replicas>,
    seams: ShardSeams,
    options: ShardOptions,
    perform: Perform<M>,
    new_machine: Box<dyn Fn() -> M + Send + Sync>,
    shards: RwLock<BTreeMap<PartitionId, Running<M>>>,
    images: watch::Sender<Arc<Image>>,
    stopping: watch::Sender<bool>,
    task: Mutex<Option<JoinHandle<()>>>,
}

impl<M: ShardMachine> std::fmt::Debug for Coordinator<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Coordinator").field("topic", &self.topic).finish_non_exhaustive()
    }
}

impl<M: ShardMachine> Coordinator<M> {
    /// Of `topic`, which need not exist yet; each partition begins with a machine from
    /// `new_machine` and hands its effects to `perform`. Nothing happens before
    /// [`Coordinator::start`].
    pub fn new(
        topic: TopicName,
        replicas: Arc<Replicas>,
        seams: ShardSeams,
        options: ShardOptions,
        new_machine: impl Fn() -> M + Send + Sync + 'static,
        perform: Perform<M>,
    ) -> Arc<Self> {
        Arc::new(Self {
            topic,
            images: watch::Sender::new(replicas.image()),
            replicas,
            seams,
            options,
            perform,
            new_machine: Box::new(new_machine),
            shards: RwLock::default(),
            stopping: watch::Sender::new(false),
            task: Mutex::default(),
        })
    }

    /// Begins to follow the replicas' roles.
    pub fn start(self: &Arc<Self>) {
        let mut task = self.task.lock();
        if task.is_none() {
            *task = Some(tokio::spawn(Arc::clone(self).follow_roles()));
        }
    }

    /// Ends all shards. Requests get NOT_COORDINATOR from now on.
    pub async fn stop(&self) {
        self.stopping.send_replace(true);
        let task = self.task.lock().take();
        if let Some(task) = task
            && let Err(error) = task.await
        {
            tracing::error!(topic = %self.topic, %error, "a coordinator did not stop well");
        }
    }

    /// The partition that has `key`, as every Kafka broker and tool computes it: the key's
    /// `String.hashCode()`, by the number of partitions. None while the topic does not exist.
    pub fn partition_for(&self, key: &str) -> Option<PartitionId> {
        let image = self.replicas.image();
        let count = image.topic(&self.topic)?.partitions.len();
        partition_of(key, i32::try_from(count).ok()?)
    }

    /// Has the shard of `key` decide what `make` gives.
    ///
    /// # Errors
    /// As [`Shard::submit`]; NOT_COORDINATOR if another broker leads the partition;
    /// COORDINATOR_LOAD_IN_PROGRESS if this broker has not heard of the topic: whoever told the
    /// client to come here has.
    pub fn submit(&self, key: &str, make: impl FnOnce(RequestId) -> M::Command) -> Submission<M> {
        match self.partition_for(key) {
            Some(partition) => self.submit_to(partition, make),
            None => Submission::refused(ErrorCode::CoordinatorLoadInProgress),
        }
    }

    /// As [`Coordinator::submit`], for a partition that is known.
    pub fn submit_to(
        &self,
        partition: PartitionId,
        make: impl FnOnce(RequestId) -> M::Command,
    ) -> Submission<M> {
        match self.shard(partition) {
            Ok(shard) => shard.submit(make),
            Err(error) => Submission::refused(error),
        }
    }

    /// Has every shard on this broker decide what `make` gives; see [`all_answers`].
    pub fn submit_to_all(&self, make: impl Fn(RequestId) -> M::Command) -> Vec<Submission<M>> {
        let image = self.replicas.image();
        let partitions = image.topic(&self.topic).map(|topic| topic.partitions.keys().copied());
        partitions.into_iter().flatten().map(|it| self.submit_to(it, &make)).collect()
    }

    pub(super) fn shard(&self, partition: PartitionId) -> Result<Arc<Shard<M>>, ErrorCode> {
        if let Some(running) = self.shards.read().get(&partition) {
            return Ok(Arc::clone(&running.shard));
        }
        match self.is_to_lead(partition) && !*self.stopping.borrow() {
            true => Err(ErrorCode::CoordinatorLoadInProgress),
            false => Err(ErrorCode::NotCoordinator),
        }
    }

    /// Whether the shard of a partition is about to be made: a reign has begun, or has been
    /// announced. Kafka says NOT_COORDINATOR until then, which some clients show to their users.
    fn is_to_lead(&self, partition: PartitionId) -> bool {
        let place = TopicPartition { topic: self.topic.clone(), partition };
        match self.replicas.partition(&place) {
            Ok(partition) if partition.reign().is_some() => true,
            Err(ErrorCode::KafkaStorageError) => false,
            Ok(_) | Err(_) => {
                let image = self.replicas.image();
                let leader = image.partition(&place).and_then(|state| state.leader);
                leader == Some(self.replicas.node_id())
            }
        }
    }

    fn reign(&self, partition: PartitionId) -> Option<(Arc<Partition>, LeaderEpoch)> {
        let place = TopicPartition { topic: self.topic.clone(), partition };
        let partition = self.replicas.partition(&place).ok()?;
        let leader_epoch = partition.reign()?;
        Some((partition, leader_epoch))
    }

    async fn follow_roles(self: Arc<Self>) {
        let mut applied = self.replicas.applied();
        let mut stopping = self.stopping.subscribe();
        let mut tasks = JoinSet::new();
        loop {
            applied.borrow_and_update();
            let image = self.replicas.image();
            self.images.send_replace(Arc::clone(&image));
            self.assume_roles(&image, &mut tasks);
            // What has ended was told where it ended.
            while tasks.try_join_next().is_some() {}
            tokio::select! {
                biased;
                _ = stopping.wait_for(|stopping| *stopping) => break,
                changed = applied.changed() => if changed.is_err() { break },
            }
        }
        let shards = std::mem::take(&mut *self.shards.write());
        shards.values().for_each(Running::end);
        tasks.shutdown().await;
    }

    /// Ends the shards whose reign is over and begins those of new ones.
    fn assume_roles(&self, image: &Image, tasks: &mut JoinSet<()>) {
        let partitions = image.topic(&self.topic).map(|topic| topic.partitions.keys().copied());
        let led: BTreeMap<PartitionId, (Arc<Partition>, LeaderEpoch)> = partitions
            .into_iter()
            .flatten()
            .filter_map(|partition| Some((partition, self.reign(partition)?)))
            .collect();
        let mut shards = self.shards.write();
        shards.retain(|partition, running| {
            let same = led.get(partition).is_some_and(|(replica, leader_epoch)| {
                running.shard.is_of(replica) && running.shard.leader_epoch() == *leader_epoch
            });
            if !same {
                running.end();
            }
            same
        });
        for (partition, (replica, leader_epoch)) in led {
            let begin = || {
                let (seams, options) = (self.seams.clone(), self.options.clone());
                let perform = Arc::clone(&self.perform);
                let shard = Shard::new(replica, leader_epoch, seams, options, perform);
                let task = run(Arc::clone(&shard), (self.new_machine)(), self.images.subscribe());
                Running { shard, task: tasks.spawn(task) }
            };
            shards.entry(partition).or_insert_with(begin);
        }
    }
}

/// Runs a shard; if it panics its partition has no coordinator until it is led anew.
async fn run<M: ShardMachine>(
    shard: Arc<Shard<M>>,
    machine: M,
    images: watch::Receiver<Arc<Image>>,
) {
    let running = AssertUnwindSafe(Arc::clone(&shard).run(machine, images));
    if running.catch_unwind().await.is_err() {
        tracing::error!(?shard, "a coordinator's shard has panicked; it serves no more");
        shard.fail();
    }
}

/// One answer of each shard on a broker.
///
/// # Errors
/// COORDINATOR_LOAD_IN_PROGRESS if one is loading; the first other error but NOT_COORDINATOR: what
/// is coordinated elsewhere is asked there.
pub async fn all_answers<M: ShardMachine>(
    submitted: Vec<Submission<M>>,
) -> Result<Vec<M::Answer>, ErrorCode> {
    let mut answers = Vec::with_capacity(submitted.len());
    for answer in futures::future::join_all(submitted).await {
        match answer {
            Ok(answer) => answers.push(answer),
            Err(ErrorCode::NotCoordinator) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answers)
}

/// Kafka's `Utils.abs(key.hashCode()) % count`; none of no partitions.
pub fn partition_of(key: &str, count: i32) -> Option<PartitionId> {
    let hash = key
        .encode_utf16()
        .fold(0_i32, |hash, unit| hash.wrapping_mul(31).wrapping_add(i32::from(unit)));
    // Kafka takes the one number without an absolute value for 0.
    let hash = hash.checked_abs().unwrap_or(0);
    hash.checked_rem(count).map(PartitionId)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_keys_partition_is_that_of_javas_hash() {
        // What java.lang.String.hashCode gives: "" 0, "a" 97, "group" 98629247,
        // "polygenelubricants" Integer.MIN_VALUE, and for "é😀" the UTF-16 units e9 d83d de00.
        let surrogates = (0xe9 * 31 + 0xd83d) * 31 + 0xde00;
        for (key, hash) in [
            ("", 0),
            ("a", 97),
            ("group", 98_629_247),
            ("polygenelubricants", 0),
            ("é😀", surrogates),
        ] {
            assert_eq!(partition_of(key, 50), Some(PartitionId(hash % 50)), "{key}");
            assert_eq!(partition_of(key, 1), Some(PartitionId(0)), "{key}");
        }
        assert_eq!(partition_of("ab", i32::MAX), Some(PartitionId(97 * 31 + 98)));
        assert_eq!(partition_of("any", 0), None);
    }
}
