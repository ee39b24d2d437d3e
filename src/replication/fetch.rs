//! Reading from many partitions at once, with a long poll (KIP-74), and waiting for many
//! acknowledgements at once.

use std::sync::Arc;
use std::time::Duration;

use super::partition::{
    FetchPartition, FetchedPartition, Isolation, Partition, Produced, ReadLimits, Reader,
};
use super::replicas::Replicas;
use super::waiters::{Interest, Waiter};
use crate::types::{BrokerEpoch, ErrorCode, NodeId, Offset};

/// A whole fetch.
#[derive(Debug, Clone)]
pub struct FetchSpec {
    /// The replica that fetches, and its incarnation; `None`: a consumer.
    pub replica: Option<(NodeId, BrokerEpoch)>,
    /// How long to wait for `min_bytes`.
    pub max_wait: Duration,
    /// How much there should be before the answer is given.
    pub min_bytes: usize,
    /// How much there may be in the whole answer; its first batch is given even if it is larger.
    pub max_bytes: usize,
    /// What a consumer may see of transactions.
    pub isolation: Isolation,
    /// The consumer's rack; `None` if its version of the protocol has none, in which case only
    /// leaders answer it.
    pub client_rack: Option<Arc<str>>,
    /// Whether a consumer is given batches that compaction left without records, where others follow
    /// them: librdkafka gives up on a partition after eleven answers with nothing else.
    pub every_batch: bool,
    /// The partitions, in the order of preference.
    pub partitions: Vec<FetchPartition>,
}

impl FetchSpec {
    fn reader(&self) -> Reader {
        match self.replica {
            Some((node, broker_epoch)) => Reader::Follower { node, broker_epoch },
            None => Reader::Consumer {
                isolation: self.isolation,
                rack: self.client_rack.clone(),
                every_batch: self.every_batch,
            },
        }
    }

    fn interest(&self) -> Interest {
        if self.replica.is_some() { Interest::LogEnd } else { Interest::HighWatermark }
    }
}

/// What has been read so far.
struct Gathered<'a> {
    spec: &'a FetchSpec,
    reader: Reader,
    found: Vec<Result<Arc<Partition>, ErrorCode>>,
    answers: Vec<FetchedPartition>,
    size_bytes: usize,
}

impl<'a> Gathered<'a> {
    fn read(replicas: &Replicas, spec: &'a FetchSpec) -> Self {
        let found =
            spec.partitions.iter().map(|wanted| replicas.partition(&wanted.topic_partition));
        let mut gathered = Gathered {
            spec,
            reader: spec.reader(),
            found: found.collect(),
            answers: Vec::new(),
            size_bytes: 0,
        };
        for index in 0..spec.partitions.len() {
            let answer = gathered.read_one(index, 0);
            gathered.size_bytes += answer.records.len();
            gathered.answers.push(answer);
        }
        gathered
    }

    /// Reads one partition, which holds `held_bytes` of what has been gathered.
    fn read_one(&self, index: usize, held_bytes: usize) -> FetchedPartition {
        let wanted = &self.spec.partitions[index];
        let others_bytes = self.size_bytes - held_bytes;
        let room = self.spec.max_bytes.saturating_sub(others_bytes);
        match &self.found[index] {
            Ok(partition) => {
                let max_bytes = wanted.max_bytes.min(room);
                let limits = ReadLimits { max_bytes, at_least_one: others_bytes == 0 };
                partition.read(wanted, &self.reader, limits)
            }
            Err(error) => FetchedPartition::failed(*error, None),
        }
    }

    /// Reads the partitions that have moved again.
    fn refresh(&mut self, moved: &[usize]) {
        for &index in moved {
            let held_bytes = self.answers[index].records.len();
            let answer = self.read_one(index, held_bytes);
            self.size_bytes = self.size_bytes - held_bytes + answer.records.len();
            self.answers[index] = answer;
        }
    }

    fn is_enough(&self) -> bool {
        self.size_bytes >= self.spec.min_bytes
            || self.answers.iter().any(FetchedPartition::is_urgent)
            || self.tells_log_start()
    }

    /// Whether a follower still keeps what its leader has dropped: DeleteRecords may wait for it.
    fn tells_log_start(&self) -> bool {
        let mut answers = self.spec.partitions.iter().zip(&self.answers);
        self.spec.replica.is_some()
            && answers.any(|(wanted, answer)| {
                wanted.log_start_offset != Offset::UNKNOWN
                    && wanted.log_start_offset < answer.log_start_offset
            })
    }
}

/// Waiters that leave when the wait is over or given up.
pub(super) struct Entered(Vec<(Arc<Partition>, u64)>);

impl Entered {
    pub(super) fn enter<'a>(
        waiter: &Arc<Waiter>,
        interest: Interest,
        partitions: impl IntoIterator<Item = (usize, &'a Arc<Partition>)>,
    ) -> Self {
        let enter = |(index, partition): (usize, &Arc<Partition>)| {
            (Arc::clone(partition), partition.waiters().enter(interest, waiter, index))
        };
        Self(partitions.into_iter().map(enter).collect())
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        for (partition, key) in &self.0 {
            partition.waiters().leave(*key);
        }
    }
}

impl Replicas {
    /// Answers a fetch, in the order of its partitions. Waits until `min_bytes` are there, a
    /// partition has something urgent to say, or `max_wait` is over. May be dropped at any time.
    pub async fn fetch(&self, spec: FetchSpec) -> Vec<FetchedPartition> {
        let mut gathered = Gathered::read(self, &spec);
        if spec.max_wait.is_zero() || spec.partitions.is_empty() || gathered.is_enough() {
            return gathered.answers;
        }
        let waiter = Arc::new(Waiter::default());
        let partitions = gathered.found.iter().enumerate();
        let partitions =
            partitions.filter_map(|(index, found)| Some((index, found.as_ref().ok()?)));
        let _entered = Entered::enter(&waiter, spec.interest(), partitions);
        // What moved before the waiter was entered woke nobody.
        let mut moved: Vec<usize> = (0..spec.partitions.len()).collect();
        let over = tokio::time::sleep(spec.max_wait);
        tokio::pin!(over);
        loop {
            gathered.refresh(&moved);
            if gathered.is_enough() {
                return gathered.answers;
            }
            moved = tokio::select! {
                biased;
                moved = waiter.moved() => moved,
                () = &mut over => {
                    // Nothing to read, but the high watermark may be news.
                    gathered.refresh(&Vec::from_iter(0..spec.partitions.len()));
                    return gathered.answers;
                }
            };
        }
    }

    /// Waits until everything that was produced may be acknowledged, each in its own way, in the
    /// order given; REQUEST_TIMED_OUT for what could not be by then. May be dropped at any time.
    pub async fn wait_committed(
        &self,
        produced: Vec<(Arc<Partition>, Produced)>,
        timeout: Duration,
    ) -> Vec<Result<(), ErrorCode>> {
        let mut results: Vec<Option<Result<(), ErrorCode>>> =
            produced.iter().map(|(partition, produced)| partition.committed(produced)).collect();
        if results.iter().any(Option::is_none) {
            let waiting = wait_for_all(&produced, &mut results);
            // Those that are still open have timed out.
            tokio::time::timeout(timeout, waiting).await.unwrap_or_default();
        }
        results
            .into_iter()
            .map(|result| result.unwrap_or(Err(ErrorCode::RequestTimedOut)))
            .collect()
    }
}

async fn wait_for_all(
    produced: &[(Arc<Partition>, Produced)],
    results: &mut [Option<Result<(), ErrorCode>>],
) {
    let waiter = Arc::new(Waiter::default());
    let open: Vec<usize> = (0..produced.len()).filter(|&index| results[index].is_none()).collect();
    let partitions = open.iter().map(|&index| (index, &produced[index].0));
    let _entered = Entered::enter(&waiter, Interest::HighWatermark, partitions);
    let synced = flush_where_needed(produced, &open);
    tokio::pin!(synced);
    let mut all_synced = false;
    let mut moved = open.clone();
    loop {
        for index in moved {
            if results[index].is_none() {
                let (partition, produced) = &produced[index];
                results[index] = partition.committed(produced);
            }
        }
        if results.iter().all(Option::is_some) {
            return;
        }
        moved = tokio::select! {
            biased;
            failed = &mut synced, if !all_synced => {
                all_synced = true;
                for index in failed {
                    results[index] = Some(Err(ErrorCode::KafkaStorageError));
                }
                open.clone()
            }
            moved = waiter.moved() => moved,
        };
    }
}

/// Syncs what must be synced before it is acknowledged; those that could not be.
async fn flush_where_needed(produced: &[(Arc<Partition>, Produced)], open: &[usize]) -> Vec<usize> {
    let flushes = open.iter().filter(|&&index| produced[index].0.flushes_before_ack());
    let flushes = flushes.map(|&index| async move {
        match produced[index].0.sync().await {
            Ok(()) => None,
            Err(_reported) => Some(index),
        }
    });
    futures::future::join_all(flushes).await.into_iter().flatten().collect()
}
