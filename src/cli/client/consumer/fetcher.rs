//! The task that fetches: one request at a time to each leader, for all partitions that it leads.
//! The position moves on when an answer has been handed over; so the next fetch is on its way
//! while the last answer is decoded.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use tokio::sync::mpsc;

use crate::cli::client::batch;
use crate::cli::client::cluster::Cluster;
use crate::cli::client::consumer::{EARLIEST, LATEST, list_offset};
use crate::cli::client::error::ClientFailure;
use crate::cli::client::options::{ConsumerOptions, Reset};
use crate::protocol::messages::fetch::{
    FetchPartition, FetchRequest, FetchResponse, FetchTopic, PartitionData,
};
use crate::types::{
    ErrorCode, LeaderEpoch, NodeId, Offset, PartitionId, ProducerId, TopicName, TopicPartition,
};

/// What a leader sent of one partition.
#[derive(Debug)]
pub(super) struct Fetched {
    pub(super) topic_partition: TopicPartition,
    /// The first batch may begin before it.
    pub(super) from: Offset,
    pub(super) records: Bytes,
    /// Producers of aborted transactions in these records, with their first offsets.
    pub(super) aborted: Vec<(ProducerId, Offset)>,
}

type Answer = (NodeId, BTreeSet<TopicPartition>, Result<FetchResponse, ClientFailure>);

/// Fetches until nobody takes the answers.
pub(super) struct Fetcher {
    cluster: Arc<Cluster>,
    options: ConsumerOptions,
    positions: BTreeMap<TopicPartition, Position>,
    sender: mpsc::Sender<Result<Fetched, ClientFailure>>,
    in_flight: FuturesUnordered<BoxFuture<'static, Answer>>,
    asked: BTreeSet<NodeId>,
}

/// Where a partition is read next.
#[derive(Debug, Clone, Copy)]
struct Position {
    offset: Offset,
    /// The epoch of the last batch that was read.
    last_epoch: LeaderEpoch,
}

impl Fetcher {
    pub(super) fn new(
        cluster: Arc<Cluster>,
        options: ConsumerOptions,
        positions: Vec<(TopicPartition, Offset)>,
        sender: mpsc::Sender<Result<Fetched, ClientFailure>>,
    ) -> Self {
        let positions = positions
            .into_iter()
            .map(|(topic_partition, offset)| {
                (topic_partition, Position { offset, last_epoch: LeaderEpoch::NONE })
            })
            .collect();
        Self {
            cluster,
            options,
            positions,
            sender,
            in_flight: FuturesUnordered::new(),
            asked: BTreeSet::new(),
        }
    }

    pub(super) async fn run(mut self) {
        loop {
            let has_orphans = self.fetch_from_free_leaders().await;
            let backoff = self.options.retry_backoff;
            let outcome = tokio::select! {
                biased;
                () = self.sender.closed() => return,
                Some(answer) = self.in_flight.next() => self.answered(answer).await,
                () = tokio::time::sleep(backoff), if has_orphans => self.look_for_leaders().await,
            };
            if let Err(failure) = outcome {
                // If nobody listens any more there is nobody to tell.
                let _ = self.sender.send(Err(failure)).await;
                return;
            }
        }
    }

    /// Sends a fetch to each leader that has none to answer. Says whether there are partitions
    /// that nobody is known to lead.
    async fn fetch_from_free_leaders(&mut self) -> bool {
        let mut has_orphans = false;
        let mut by_leader: BTreeMap<NodeId, Vec<(TopicPartition, LeaderEpoch)>> = BTreeMap::new();
        for topic_partition in self.positions.keys() {
            let known = self.cluster.partition(&topic_partition.topic, topic_partition.partition);
            match known.and_then(|known| Some((known.leader?, known.leader_epoch))) {
                Some((leader, epoch)) => {
                    by_leader.entry(leader).or_default().push((topic_partition.clone(), epoch));
                }
                None => has_orphans = true,
            }
        }
        for (leader, partitions) in by_leader {
            if self.asked.contains(&leader) {
                continue;
            }
            let request = self.request(&partitions);
            let cluster = self.cluster.clone();
            let names = partitions.into_iter().map(|(topic_partition, _)| topic_partition);
            let names: BTreeSet<TopicPartition> = names.collect();
            self.asked.insert(leader);
            self.in_flight.push(Box::pin(async move {
                let answer = async { Ok(cluster.broker(leader).await?.call(&request).await?) };
                (leader, names, answer.await)
            }));
        }
        has_orphans
    }

    fn request(&self, partitions: &[(TopicPartition, LeaderEpoch)]) -> FetchRequest {
        let metadata = self.cluster.metadata();
        let mut topics: BTreeMap<&TopicName, Vec<FetchPartition>> = BTreeMap::new();
        for (topic_partition, epoch) in partitions {
            let Some(position) = self.positions.get(topic_partition) else { continue };
            topics.entry(&topic_partition.topic).or_default().push(FetchPartition {
                partition: topic_partition.partition.0,
                current_leader_epoch: epoch.0,
                fetch_offset: position.offset.0,
                last_fetched_epoch: position.last_epoch.0,
                partition_max_bytes: self.options.max_partition_fetch_bytes,
                ..Default::default()
            });
        }
        FetchRequest {
            max_wait_ms: i32::try_from(self.options.fetch_max_wait.as_millis()).unwrap_or(i32::MAX),
            min_bytes: self.options.fetch_min_bytes,
            max_bytes: self.options.fetch_max_bytes,
            isolation_level: i8::from(self.options.is_read_committed),
            rack_id: self.options.rack.as_str().into(),
            topics: topics
                .into_iter()
                .map(|(topic, partitions)| FetchTopic {
                    topic: topic.as_str().into(),
                    topic_id: metadata
                        .topics
                        .get(topic)
                        .map(|known| known.id.0)
                        .unwrap_or_default(),
                    partitions,
                })
                .collect(),
            ..Default::default()
        }
    }

    async fn answered(&mut self, (leader, asked, answer): Answer) -> Result<(), ClientFailure> {
        self.asked.remove(&leader);
        let response = match answer.and_then(|response| {
            ClientFailure::check(response.error_code, None)?;
            Ok(response)
        }) {
            Ok(response) => response,
            Err(failure) if failure.is_retriable() => {
                tokio::time::sleep(self.options.retry_backoff).await;
                return self.look_for_leaders().await;
            }
            Err(failure) => return Err(failure),
        };
        let mut must_look = false;
        for (topic_partition, data) in self.by_name(&asked, response) {
            match ErrorCode::from_code(data.error_code) {
                Some(ErrorCode::None) => self.take(topic_partition, data).await?,
                Some(ErrorCode::OffsetOutOfRange) => self.reset(&topic_partition).await?,
                Some(code) if code.is_retriable() => must_look = true,
                _ => {
                    return ClientFailure::check(
                        data.error_code,
                        Some(&format!("cannot read {topic_partition}")),
                    );
                }
            }
        }
        if must_look {
            tokio::time::sleep(self.options.retry_backoff).await;
            self.look_for_leaders().await?;
        }
        Ok(())
    }

    /// The answer's partitions by the names under which they were asked for.
    fn by_name(
        &self,
        asked: &BTreeSet<TopicPartition>,
        response: FetchResponse,
    ) -> Vec<(TopicPartition, PartitionData)> {
        let metadata = self.cluster.metadata();
        let mut named = Vec::new();
        for topic in response.responses {
            let by_id = metadata
                .topics
                .iter()
                .find(|(_, known)| !topic.topic_id.is_nil() && known.id.0 == topic.topic_id)
                .map(|(name, _)| name.clone());
            let name = by_id.unwrap_or_else(|| TopicName::new(&topic.topic));
            for data in topic.partitions {
                let partition = PartitionId(data.partition_index);
                let topic_partition = TopicPartition { topic: name.clone(), partition };
                if asked.contains(&topic_partition) {
                    named.push((topic_partition, data));
                }
            }
        }
        named
    }

    /// Hands records over and moves the position behind them.
    async fn take(
        &mut self,
        topic_partition: TopicPartition,
        data: PartitionData,
    ) -> Result<(), ClientFailure> {
        let Some(position) = self.positions.get_mut(&topic_partition) else { return Ok(()) };
        // The leader's log ends before this position: it was cut off in an unclean election.
        if data.diverging_epoch.end_offset >= 0 {
            let end = Offset(data.diverging_epoch.end_offset);
            eprintln!(
                "WARN {topic_partition} was cut off at offset {end}: reading goes on from there \
                 instead of {}",
                position.offset
            );
            *position = Position { offset: end, last_epoch: LeaderEpoch::NONE };
            return Ok(());
        }
        let records = data.records.unwrap_or_default();
        let Some((next, epoch)) = batch::end_of(&records)? else { return Ok(()) };
        let fetched = Fetched {
            topic_partition,
            from: position.offset,
            records,
            aborted: data
                .aborted_transactions
                .unwrap_or_default()
                .iter()
                .map(|aborted| (ProducerId(aborted.producer_id), Offset(aborted.first_offset)))
                .collect(),
        };
        position.offset = position.offset.max(next);
        position.last_epoch = epoch;
        // If nobody listens any more the loop notices.
        let _ = self.sender.send(Ok(fetched)).await;
        Ok(())
    }

    /// The position is not in the log (any more, or yet).
    async fn reset(&mut self, topic_partition: &TopicPartition) -> Result<(), ClientFailure> {
        let to = match self.options.reset {
            Reset::Earliest => EARLIEST,
            Reset::Latest => LATEST,
            Reset::None => {
                return Err(ClientFailure::Refused {
                    code: ErrorCode::OffsetOutOfRange,
                    message: Some(format!(
                        "the offset to read {topic_partition} from is not in its log"
                    )),
                });
            }
        };
        let offset = list_offset(&self.cluster, topic_partition, to, &self.options).await?;
        let position = Position { offset, last_epoch: LeaderEpoch::NONE };
        self.positions.insert(topic_partition.clone(), position);
        Ok(())
    }

    /// Asks who leads now. That nobody answers is no reason to give up: a cluster may come back.
    async fn look_for_leaders(&mut self) -> Result<(), ClientFailure> {
        let topics: BTreeSet<TopicName> =
            self.positions.keys().map(|partition| partition.topic.clone()).collect();
        let topics: Vec<TopicName> = topics.into_iter().collect();
        match self.cluster.refresh(Some(&topics), false).await {
            Err(failure) if !failure.is_retriable() => Err(failure),
            _ => Ok(()),
        }
    }
}
