//! The producer: records are gathered into batches per partition, each partition's lane sends its
//! batches in order, and what becomes of them is told once per batch.
//!
//! - [`Producer`]: partitions, memory, flushing
//! - [`accumulator`]: the batches of one partition that wait to be sent
//! - [`lane`]: the task of one partition: sending, trying again, giving up
//! - [`sealed`]: batches with their sequence numbers, and what an answer means for them

mod accumulator;
mod lane;
mod sealed;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinSet;

use crate::cli::client::cluster::Cluster;
use crate::cli::client::error::ClientFailure;
use crate::cli::client::options::ProducerOptions;
use crate::cli::client::partitioner::partition_of_key;
use crate::record::Header;
use crate::types::random::SystemRandom;
use crate::types::{
    ErrorCode, Offset, PartitionId, Random, TimestampMs, TopicName, TopicPartition,
};
use accumulator::Accumulator;

/// What a record costs beside its key, value and headers.
const RECORD_OVERHEAD_BYTES: usize = 24;

/// A record to be sent.
#[derive(Debug, Clone, Default)]
pub struct ProducerRecord {
    /// Its partition; `None`: by its key, or any.
    pub partition: Option<PartitionId>,
    /// When it was made; `None`: now.
    pub timestamp: Option<TimestampMs>,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<Header>,
    /// What the caller recognises it by when it is told what became of it.
    pub token: u64,
}

impl ProducerRecord {
    /// About what it takes in a batch.
    fn size_bytes(&self) -> usize {
        let length = |field: &Option<Bytes>| field.as_ref().map_or(0, Bytes::len);
        let headers: usize = self.headers.iter().map(|h| h.key.len() + length(&h.value) + 4).sum();
        RECORD_OVERHEAD_BYTES + length(&self.key) + length(&self.value) + headers
    }
}

/// What became of the records of one batch.
#[derive(Debug)]
pub struct Delivery {
    /// Where they went.
    pub topic_partition: TopicPartition,
    /// The callers' tokens, in the records' order.
    pub tokens: Vec<u64>,
    /// The first record's offset, or why they were lost. The offset is unknown without
    /// acknowledgement.
    pub outcome: Result<Offset, ClientFailure>,
}

/// Told of every batch, from the lanes' tasks: must not block.
pub type DeliverySink = Box<dyn Fn(Delivery) + Send + Sync>;

/// What the producer and its lanes share.
struct Shared {
    cluster: Arc<Cluster>,
    options: ProducerOptions,
    memory: Semaphore,
    unfinished: AtomicU64,
    finished: Notify,
    sink: DeliverySink,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("unfinished", &self.unfinished).finish_non_exhaustive()
    }
}

impl Shared {
    /// Tells what became of a batch, and gives its memory back.
    fn deliver(&self, delivery: Delivery, size_bytes: usize) {
        let count = delivery.tokens.len() as u64;
        (self.sink)(delivery);
        self.memory.add_permits(size_bytes);
        if self.unfinished.fetch_sub(count, Ordering::AcqRel) == count {
            self.finished.notify_waiters();
        }
    }
}

/// Sends records.
#[derive(Debug)]
pub struct Producer {
    shared: Arc<Shared>,
    topics: BTreeMap<TopicName, TopicLanes>,
    lanes: JoinSet<()>,
    random: Box<dyn Random>,
}

/// The partitions of one topic that have been sent to.
#[derive(Debug, Default)]
struct TopicLanes {
    count: usize,
    accumulators: BTreeMap<PartitionId, Arc<Accumulator>>,
    sticky: Option<PartitionId>,
    sticky_bytes: usize,
}

impl Producer {
    /// A producer that tells `sink` what becomes of each batch.
    pub fn new(cluster: Arc<Cluster>, options: ProducerOptions, sink: DeliverySink) -> Self {
        let memory = Semaphore::new(options.buffer_memory_bytes.min(Semaphore::MAX_PERMITS));
        Self {
            shared: Arc::new(Shared {
                cluster,
                options,
                memory,
                unfinished: AtomicU64::new(0),
                finished: Notify::new(),
                sink,
            }),
            topics: BTreeMap::new(),
            lanes: JoinSet::new(),
            random: Box::new(SystemRandom),
        }
    }

    /// Puts a record into its partition's batch. Waits for metadata and for memory, together at
    /// most `max.block.ms`.
    pub async fn send(
        &mut self,
        topic: &TopicName,
        record: ProducerRecord,
    ) -> Result<(), ClientFailure> {
        let size_bytes = record.size_bytes();
        let options = &self.shared.options;
        let limit = options.max_request_size_bytes.min(options.buffer_memory_bytes);
        if size_bytes > limit {
            return Err(ClientFailure::Refused {
                code: ErrorCode::MessageTooLarge,
                message: Some(format!(
                    "The message is {size_bytes} bytes when serialized which is larger than \
                     {limit}, which is the value of the max.request.size configuration"
                )),
            });
        }
        let patience = options.max_block;
        if !self.topics.contains_key(topic) {
            self.add_topic(topic, patience).await?;
        }
        let partition = self.choose(topic, &record, size_bytes)?;
        if !self.try_reserve(size_bytes) {
            self.reserve(size_bytes, patience).await?;
        }
        let accumulator = self.accumulator(topic, partition);
        self.shared.unfinished.fetch_add(1, Ordering::AcqRel);
        accumulator.add(record, size_bytes, self.shared.cluster.clock().as_ref());
        Ok(())
    }

    /// Waits until it is known what became of everything sent so far.
    pub async fn flush(&self) {
        for accumulator in self.topics.values().flat_map(|topic| topic.accumulators.values()) {
            accumulator.flush();
        }
        loop {
            let finished = self.shared.finished.notified();
            tokio::pin!(finished);
            finished.as_mut().enable();
            if self.shared.unfinished.load(Ordering::Acquire) == 0 {
                return;
            }
            finished.await;
        }
    }

    /// Flushes, and ends the lanes.
    pub async fn close(mut self) {
        self.flush().await;
        for accumulator in self.topics.values().flat_map(|topic| topic.accumulators.values()) {
            accumulator.close();
        }
        while let Some(ended) = self.lanes.join_next().await {
            if let Err(error) = ended {
                eprintln!("Error: a partition's sender failed: {error}");
            }
        }
    }

    async fn add_topic(
        &mut self,
        topic: &TopicName,
        patience: Duration,
    ) -> Result<(), ClientFailure> {
        let metadata = tokio::time::timeout(patience, self.shared.cluster.topic(topic, true))
            .await
            .map_err(|_| ClientFailure::TimedOut {
                what: format!("topic {topic} in metadata"),
                after: patience,
                reason: None,
            })??;
        let lanes = TopicLanes { count: metadata.partitions.len(), ..TopicLanes::default() };
        self.topics.insert(topic.clone(), lanes);
        Ok(())
    }

    /// The record's partition: the one it names, its key's, or the one that records without a
    /// key go to until a batch's worth has gone there.
    fn choose(
        &mut self,
        topic: &TopicName,
        record: &ProducerRecord,
        size_bytes: usize,
    ) -> Result<PartitionId, ClientFailure> {
        let lanes = self.topics.entry(topic.clone()).or_default();
        let count = lanes.count.max(1);
        if let Some(partition) = record.partition {
            if !usize::try_from(partition.0).is_ok_and(|index| index < count) {
                return Err(ClientFailure::Refused {
                    code: ErrorCode::UnknownTopicOrPartition,
                    message: Some(format!("topic {topic} has no partition {partition}")),
                });
            }
            return Ok(partition);
        }
        if let Some(key) = &record.key {
            return Ok(PartitionId(partition_of_key(key, count)));
        }
        let is_used_up = lanes.sticky_bytes >= self.shared.options.batch_size_bytes;
        let sticky = match lanes.sticky {
            Some(partition) if !is_used_up => partition,
            previous => {
                lanes.sticky_bytes = 0;
                next_sticky(previous, count, self.random.as_ref())
            }
        };
        lanes.sticky = Some(sticky);
        lanes.sticky_bytes += size_bytes;
        Ok(sticky)
    }

    fn try_reserve(&self, size_bytes: usize) -> bool {
        let permits = u32::try_from(size_bytes).unwrap_or(u32::MAX);
        self.shared.memory.try_acquire_many(permits).map(|permit| permit.forget()).is_ok()
    }

    async fn reserve(&self, size_bytes: usize, patience: Duration) -> Result<(), ClientFailure> {
        let permits = u32::try_from(size_bytes).unwrap_or(u32::MAX);
        match tokio::time::timeout(patience, self.shared.memory.acquire_many(permits)).await {
            Ok(Ok(permit)) => {
                permit.forget();
                Ok(())
            }
            Ok(Err(_)) | Err(_) => Err(ClientFailure::TimedOut {
                what: "memory to buffer the record (buffer.memory)".to_owned(),
                after: patience,
                reason: None,
            }),
        }
    }

    /// The partition's batches; with the first record its lane starts.
    fn accumulator(&mut self, topic: &TopicName, partition: PartitionId) -> Arc<Accumulator> {
        let lanes = self.topics.entry(topic.clone()).or_default();
        if let Some(accumulator) = lanes.accumulators.get(&partition) {
            return accumulator.clone();
        }
        let options = &self.shared.options;
        let accumulator = Arc::new(Accumulator::new(options.batch_size_bytes, options.linger));
        lanes.accumulators.insert(partition, accumulator.clone());
        let topic_partition = TopicPartition { topic: topic.clone(), partition };
        self.lanes.spawn(lane::run(self.shared.clone(), topic_partition, accumulator.clone()));
        accumulator
    }
}

/// Any partition, but not the one before, if there is another.
fn next_sticky(previous: Option<PartitionId>, count: usize, random: &dyn Random) -> PartitionId {
    let others = match previous {
        Some(_) if count > 1 => count - 1,
        _ => count,
    };
    let drawn = PartitionId(i32::try_from(random.below(others as u64)).unwrap_or(0));
    match previous {
        Some(previous) if count > 1 && drawn >= previous => PartitionId(drawn.0 + 1),
        _ => drawn,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::types::random::SeededRandom;

    #[test]
    fn records_without_a_key_move_on_to_another_partition() {
        let random = SeededRandom::new(1);
        let mut previous = None;
        for _ in 0..1000 {
            let next = next_sticky(previous, 3, &random);
            assert!((0..3).contains(&next.0));
            assert_ne!(Some(next), previous);
            previous = Some(next);
        }
        assert_eq!(next_sticky(Some(PartitionId(0)), 1, &random), PartitionId(0));
    }
}
