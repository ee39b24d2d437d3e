//! The consumer of assigned partitions: a task fetches ahead, the caller takes records out.
//!
//! - [`Consumer`]: assignment, starting positions, handing out
//! - [`fetcher`]: the task: one fetch at a time to each leader, positions, leader changes
//! - [`group`]: the consumer that is a member of a group
//! - [`decode`]: batches become records; aborted transactions are left out

mod decode;
mod fetcher;
pub mod group;

use std::collections::VecDeque;
use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::cli::client::cluster::Cluster;
use crate::cli::client::consumed::ConsumedRecord;
use crate::cli::client::error::ClientFailure;
use crate::cli::client::options::ConsumerOptions;
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use crate::types::{ErrorCode, LeaderEpoch, NodeId, Offset, TopicPartition};
use fetcher::{Fetched, Fetcher};

/// How many answers may wait to be taken out: one is decoded while the next is fetched.
const ANSWERS_AHEAD: usize = 2;
/// ListOffsets' number for the end of the log.
const LATEST: i64 = -1;
/// ListOffsets' number for its start.
const EARLIEST: i64 = -2;

/// Where to begin in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the first record there is.
    Earliest,
    /// With the next record that comes.
    Latest,
    /// At this offset.
    At(Offset),
}

/// Reads assigned partitions.
#[derive(Debug)]
pub struct Consumer {
    fetched: mpsc::Receiver<Result<Fetched, ClientFailure>>,
    ready: VecDeque<ConsumedRecord>,
    options: ConsumerOptions,
    task: JoinSet<()>,
}

impl Consumer {
    /// Finds out where to begin, and begins to fetch.
    pub async fn start(
        cluster: Arc<Cluster>,
        options: ConsumerOptions,
        assignment: Vec<(TopicPartition, Start)>,
    ) -> Result<Self, ClientFailure> {
        let mut positions = Vec::new();
        for (topic_partition, start) in assignment {
            let offset = match start {
                Start::At(offset) => offset,
                Start::Earliest => {
                    list_offset(&cluster, &topic_partition, EARLIEST, &options).await?
                }
                Start::Latest => list_offset(&cluster, &topic_partition, LATEST, &options).await?,
            };
            positions.push((topic_partition, offset));
        }
        let (sender, fetched) = mpsc::channel(ANSWERS_AHEAD);
        let mut task = JoinSet::new();
        task.spawn(Fetcher::new(cluster, options.clone(), positions, sender).run());
        Ok(Self { fetched, ready: VecDeque::new(), options, task })
    }

    /// The next record; waits for it. May be dropped and called again.
    pub async fn next(&mut self) -> Result<ConsumedRecord, ClientFailure> {
        loop {
            if let Some(record) = self.ready.pop_front() {
                return Ok(record);
            }
            self.fill().await?;
        }
    }

    /// Records that are there, without waiting.
    pub fn take_ready(&mut self) -> impl Iterator<Item = ConsumedRecord> + '_ {
        self.ready.drain(..)
    }

    /// A record that is there, without waiting.
    pub fn take_one(&mut self) -> Option<ConsumedRecord> {
        self.ready.pop_front()
    }

    /// Waits until a record is there. May be dropped and called again.
    pub async fn fill_until_ready(&mut self) -> Result<(), ClientFailure> {
        while self.ready.is_empty() {
            self.fill().await?;
        }
        Ok(())
    }

    /// Waits for the next answer and makes records of it. May be dropped and called again.
    pub async fn fill(&mut self) -> Result<(), ClientFailure> {
        match self.fetched.recv().await {
            Some(fetched) => {
                let records = decode::records(&fetched?, &self.options)?;
                self.ready.extend(records);
                Ok(())
            }
            None => match self.task.join_next().await {
                Some(Err(error)) => Err(ClientFailure::Batch(format!("fetching failed: {error}"))),
                _ => Err(ClientFailure::Batch("fetching has ended".to_owned())),
            },
        }
    }
}

/// Asks a partition's leader for the start or the end of its log.
pub(super) async fn list_offset(
    cluster: &Cluster,
    topic_partition: &TopicPartition,
    timestamp: i64,
    options: &ConsumerOptions,
) -> Result<Offset, ClientFailure> {
    let TopicPartition { topic, partition } = topic_partition;
    cluster.topic(topic, false).await?;
    cluster
        .retry(&format!("the offsets of {topic_partition}"), || async {
            let known = cluster.partition(topic, *partition);
            let leader: Option<(NodeId, LeaderEpoch)> =
                known.and_then(|known| Some((known.leader?, known.leader_epoch)));
            let asked = match leader {
                None => Err(ClientFailure::Refused {
                    code: ErrorCode::LeaderNotAvailable,
                    message: None,
                }),
                Some((leader, epoch)) => {
                    let request = ListOffsetsRequest {
                        replica_id: NodeId::NONE.0,
                        isolation_level: i8::from(options.is_read_committed),
                        topics: vec![ListOffsetsTopic {
                            name: topic.as_str().into(),
                            partitions: vec![ListOffsetsPartition {
                                partition_index: partition.0,
                                current_leader_epoch: epoch.0,
                                timestamp,
                            }],
                        }],
                        ..Default::default()
                    };
                    ask_offset(cluster, leader, &request).await
                }
            };
            if asked.as_ref().is_err_and(ClientFailure::is_retriable) {
                cluster.refresh(Some(std::slice::from_ref(topic)), false).await?;
            }
            asked
        })
        .await
}

async fn ask_offset(
    cluster: &Cluster,
    leader: NodeId,
    request: &ListOffsetsRequest,
) -> Result<Offset, ClientFailure> {
    let response = cluster.broker(leader).await?.call(request).await?;
    let partition = response
        .topics
        .iter()
        .flat_map(|topic| &topic.partitions)
        .next()
        .ok_or(ClientFailure::Unsupported("an answer for this partition"))?;
    ClientFailure::check(partition.error_code, None)?;
    Ok(Offset(partition.offset))
}
