//! What a member does within one generation: it reads its partitions and keeps count.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Interval, MissedTickBehavior};

use crate::cli::client::cluster::Cluster;
use crate::cli::client::consumed::ConsumedRecord;
use crate::cli::client::consumer::group::heartbeat::Ended;
use crate::cli::client::consumer::{Consumer, EARLIEST, LATEST, Start, list_offset};
use crate::cli::client::error::ClientFailure;
use crate::cli::client::groups::offsets::{Committed, Offsets};
use crate::cli::client::log_offsets::LogPoint;
use crate::cli::client::options::{ConsumerOptions, Reset};
use crate::types::{LeaderEpoch, TopicPartition};

/// What happened.
#[derive(Debug)]
pub(super) enum Event {
    /// Records came, or reading failed.
    Filled(Result<(), ClientFailure>),
    /// There are no more heartbeats.
    Ended(Ended),
    /// It is time to commit.
    CommitDue,
    /// It is time to see whether there are new topics and partitions.
    LookAround,
}

/// One generation.
#[derive(Debug)]
pub(super) struct Reading {
    /// None without partitions.
    consumer: Option<Consumer>,
    beating: JoinSet<Ended>,
    ready: VecDeque<ConsumedRecord>,
    progress: Progress,
    commits: Option<Interval>,
    looks: Interval,
}

impl Reading {
    /// Begins where the group has come to; where it has not been, the settings say.
    pub(super) async fn start(
        cluster: Arc<Cluster>,
        options: ConsumerOptions,
        commit_interval: Option<Duration>,
        assignment: BTreeSet<TopicPartition>,
        committed: Offsets,
        beating: JoinSet<Ended>,
    ) -> Result<Self, ClientFailure> {
        let unknown: BTreeSet<TopicPartition> =
            assignment.into_iter().filter(|partition| !committed.contains_key(partition)).collect();
        let fresh = first_positions(&cluster, &options, unknown).await?;
        let starts = committed.iter().chain(&fresh);
        let starts: Vec<(TopicPartition, Start)> =
            starts.map(|(partition, at)| (partition.clone(), Start::At(at.offset))).collect();
        let looks = interval(cluster.options().metadata_max_age);
        let consumer = match starts.is_empty() {
            true => None,
            false => Some(Consumer::start(cluster, options, starts).await?),
        };
        Ok(Self {
            consumer,
            beating,
            ready: VecDeque::new(),
            progress: Progress::new(fresh, commit_interval.is_some()),
            commits: commit_interval.map(interval),
            looks,
        })
    }

    /// Whether a record can be handed out.
    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Waits for whatever happens first. May be dropped and called again.
    pub(super) async fn event(&mut self) -> Event {
        let commits = async {
            match &mut self.commits {
                Some(commits) => drop(commits.tick().await),
                None => std::future::pending().await,
            }
        };
        let filled = async {
            match &mut self.consumer {
                Some(consumer) => consumer.fill().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            Some(ended) = self.beating.join_next() => match ended {
                Ok(ended) => Event::Ended(ended),
                Err(error) => {
                    Event::Filled(Err(ClientFailure::Group(format!("heartbeats failed: {error}"))))
                }
            },
            () = commits => Event::CommitDue,
            _ = self.looks.tick() => Event::LookAround,
            outcome = filled => {
                if let Some(consumer) = &mut self.consumer {
                    self.ready.extend(consumer.take_ready());
                }
                Event::Filled(outcome)
            }
        }
    }

    /// The next record that is there.
    pub(super) fn hand_out(&mut self) -> Option<ConsumedRecord> {
        let record = self.ready.pop_front()?;
        self.progress.handed_out(&record);
        Some(record)
    }

    /// What was handed out is dealt with.
    pub(super) fn settle(&mut self) {
        self.progress.settle();
    }

    /// What is to be committed.
    pub(super) fn to_commit(&self) -> Offsets {
        self.progress.uncommitted.clone()
    }

    /// That has been committed.
    pub(super) fn committed(&mut self, offsets: &Offsets) {
        self.progress.committed(offsets);
    }

    /// The next commit is due one interval from now.
    pub(super) fn commit_later(&mut self) {
        if let Some(commits) = &mut self.commits {
            commits.reset();
        }
    }
}

/// Ticks first when one interval is over.
fn interval(every: Duration) -> Interval {
    let mut interval = tokio::time::interval(every.max(Duration::from_millis(1)));
    interval.set_missed_tick_behavior(MissedTickBehavior::Delay);
    interval.reset();
    interval
}

/// Where to begin in partitions that the group has not committed.
async fn first_positions(
    cluster: &Cluster,
    options: &ConsumerOptions,
    partitions: BTreeSet<TopicPartition>,
) -> Result<Offsets, ClientFailure> {
    if partitions.is_empty() {
        return Ok(Offsets::new());
    }
    let (point, code) = match options.reset {
        Reset::Earliest => (LogPoint::Start, EARLIEST),
        Reset::Latest => (LogPoint::End, LATEST),
        Reset::None => {
            let all: Vec<String> = partitions.iter().map(ToString::to_string).collect();
            return Err(ClientFailure::Group(format!(
                "Undefined offset with no reset policy for partitions: [{}]",
                all.join(", ")
            )));
        }
    };
    let found = cluster.log_offsets(&partitions, point, options.is_read_committed).await?;
    let mut positions = Offsets::new();
    for partition in partitions {
        let offset = match found.get(&partition) {
            Some(&offset) => offset,
            // Nobody leads it just now.
            None => list_offset(cluster, &partition, code, options).await?,
        };
        positions.insert(partition, Committed { offset, leader_epoch: LeaderEpoch::NONE });
    }
    Ok(positions)
}

/// How far the member has come. A record counts when it has been dealt with, not when it was handed
/// out.
#[derive(Debug)]
struct Progress {
    is_committing: bool,
    handed_out: Offsets,
    uncommitted: Offsets,
}

impl Progress {
    /// `fresh` positions are committed too: the group then knows where it began.
    fn new(fresh: Offsets, is_committing: bool) -> Self {
        let uncommitted = if is_committing { fresh } else { Offsets::new() };
        Self { is_committing, handed_out: Offsets::new(), uncommitted }
    }

    fn handed_out(&mut self, record: &ConsumedRecord) {
        let partition = TopicPartition { topic: record.topic.clone(), partition: record.partition };
        let next = Committed { offset: record.offset.plus(1), leader_epoch: record.leader_epoch };
        self.handed_out.insert(partition, next);
    }

    fn settle(&mut self) {
        let settled = std::mem::take(&mut self.handed_out);
        if self.is_committing {
            self.uncommitted.extend(settled);
        }
    }

    fn committed(&mut self, offsets: &Offsets) {
        self.uncommitted.retain(|partition, at| offsets.get(partition) != Some(at));
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::cli::client::consumed::TimestampKind;
    use crate::types::{Offset, TimestampMs};

    fn record(partition: i32, offset: i64) -> ConsumedRecord {
        let TopicPartition { topic, partition } = TopicPartition::new("t", partition);
        ConsumedRecord {
            topic,
            partition,
            offset: Offset(offset),
            leader_epoch: LeaderEpoch(1),
            timestamp: TimestampMs(0),
            timestamp_kind: TimestampKind::CreateTime,
            key: None,
            value: None,
            headers: Vec::new(),
        }
    }

    fn at(partition: i32, offset: i64, epoch: i32) -> (TopicPartition, Committed) {
        let committed = Committed { offset: Offset(offset), leader_epoch: LeaderEpoch(epoch) };
        (TopicPartition::new("t", partition), committed)
    }

    #[test]
    fn only_what_was_dealt_with_is_committed() {
        let mut progress = Progress::new(Offsets::from([at(1, 7, -1)]), true);
        assert_eq!(progress.uncommitted, Offsets::from([at(1, 7, -1)]));
        progress.handed_out(&record(0, 4));
        progress.handed_out(&record(0, 5));
        assert_eq!(progress.uncommitted, Offsets::from([at(1, 7, -1)]));
        progress.settle();
        let first = Offsets::from([at(0, 6, 1), at(1, 7, -1)]);
        assert_eq!(progress.uncommitted, first);
        // More comes while that is being committed.
        progress.handed_out(&record(0, 6));
        progress.settle();
        progress.committed(&first);
        assert_eq!(progress.uncommitted, Offsets::from([at(0, 7, 1)]));
    }

    #[test]
    fn without_automatic_commits_nothing_is_committed() {
        let mut progress = Progress::new(Offsets::from([at(1, 7, -1)]), false);
        progress.handed_out(&record(0, 4));
        progress.settle();
        assert!(progress.uncommitted.is_empty());
    }
}
