//! The consumer that is a member of a group: it reads the partitions that the group gives it, from
//! where the group has come to, and commits how far it has come.
//!
//! - [`GroupConsumer`]: joins, reads, commits, and joins again
//! - [`member`]: the classic protocol: JoinGroup, SyncGroup, LeaveGroup
//! - [`heartbeat`]: the task that shows that the member is alive
//! - [`range`]: the assignment that a leader makes
//! - [`settings`]: settings by Kafka's names

mod heartbeat;
mod member;
mod range;
mod reading;
mod settings;

use std::collections::BTreeSet;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::task::JoinSet;

use crate::cli::client::cluster::Cluster;
use crate::cli::client::consumed::ConsumedRecord;
use crate::cli::client::error::ClientFailure;
use crate::cli::client::groups::offsets;
use crate::cli::client::options::ConsumerOptions;
use crate::types::{TopicName, TopicPartition};
use heartbeat::{BusySince, Ended};
use member::{Member, Reaction};
use reading::{Event, Reading};
pub use settings::{GROUP_SETTINGS, GroupOptions};

/// How long saying goodbye may take.
const CLOSING: Duration = Duration::from_secs(10);
/// How long a commit is tried when partitions must be given away.
const REVOKING: Duration = Duration::from_secs(5);

/// Which topics a consumer wants to read.
#[derive(Clone)]
pub enum Subscription {
    /// These.
    Topics(BTreeSet<TopicName>),
    /// Those that this says yes to, also those that come later.
    Matching(Arc<dyn Fn(&TopicName) -> bool + Send + Sync>),
}

impl fmt::Debug for Subscription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subscription::Topics(topics) => f.debug_tuple("Topics").field(topics).finish(),
            Subscription::Matching(_) => f.write_str("Matching"),
        }
    }
}

/// A member of a group that reads.
#[derive(Debug)]
pub struct GroupConsumer {
    cluster: Arc<Cluster>,
    options: ConsumerOptions,
    group: GroupOptions,
    subscription: Subscription,
    topics: BTreeSet<TopicName>,
    member: Member,
    reading: Option<Reading>,
    busy: BusySince,
}

impl GroupConsumer {
    /// Joins when it is first asked for records.
    pub fn new(
        cluster: Arc<Cluster>,
        options: ConsumerOptions,
        group: GroupOptions,
        subscription: Subscription,
    ) -> Self {
        let member = Member::new(cluster.clone(), group.clone());
        Self {
            cluster,
            options,
            group,
            subscription,
            topics: BTreeSet::new(),
            member,
            reading: None,
            busy: Arc::new(Mutex::new(None)),
        }
    }

    /// Waits until there are records. May be dropped and called again.
    pub async fn fill(&mut self) -> Result<(), ClientFailure> {
        *self.busy.lock() = None;
        let outcome = self.fill_until_ready().await;
        *self.busy.lock() = Some(self.cluster.clock().monotonic());
        outcome
    }

    /// A record that is there, without waiting.
    pub fn take_ready(&mut self) -> Option<ConsumedRecord> {
        self.reading.as_mut()?.hand_out()
    }

    /// What was handed out is dealt with: it may be committed.
    pub fn settle(&mut self) {
        if let Some(reading) = &mut self.reading {
            reading.settle();
        }
    }

    /// Commits, leaves and ends.
    pub async fn close(mut self) {
        let closing = async {
            self.revoke().await;
            self.reading = None;
            // The coordinator finds out by itself if this cannot be said.
            let _ = self.member.leave().await;
        };
        if tokio::time::timeout(CLOSING, closing).await.is_err() {
            eprintln!("WARN the group could not be left within {} s", CLOSING.as_secs());
        }
    }

    async fn fill_until_ready(&mut self) -> Result<(), ClientFailure> {
        loop {
            let Some(reading) = &mut self.reading else {
                self.join().await?;
                continue;
            };
            if reading.has_ready() {
                return Ok(());
            }
            match reading.event().await {
                Event::Filled(outcome) => outcome?,
                Event::Ended(ended) => self.ended(ended).await?,
                Event::CommitDue => self.commit_some().await?,
                Event::LookAround => self.look_around().await?,
            }
        }
    }

    async fn join(&mut self) -> Result<(), ClientFailure> {
        self.topics = self.wanted().await?;
        let assignment = self.member.join(&self.topics).await?;
        let mut beating = JoinSet::new();
        beating.spawn(heartbeat::run(
            self.cluster.clone(),
            self.group.clone(),
            self.member.membership.clone(),
            self.member.coordinator().await?,
            self.busy.clone(),
        ));
        let committed = self.committed(&assignment).await?;
        let reading = Reading::start(
            self.cluster.clone(),
            self.options.clone(),
            self.group.auto_commit_interval,
            assignment,
            committed,
            beating,
        );
        self.reading = Some(reading.await?);
        Ok(())
    }

    /// The topics that the subscription means now.
    async fn wanted(&self) -> Result<BTreeSet<TopicName>, ClientFailure> {
        match &self.subscription {
            Subscription::Topics(topics) => Ok(topics.clone()),
            Subscription::Matching(is_wanted) => {
                let all = self.cluster.list_topics().await?.into_keys();
                Ok(all.filter(|topic| is_wanted(topic)).collect())
            }
        }
    }

    async fn committed(
        &mut self,
        assignment: &BTreeSet<TopicPartition>,
    ) -> Result<offsets::Offsets, ClientFailure> {
        let partitions: Vec<TopicPartition> = assignment.iter().cloned().collect();
        if partitions.is_empty() {
            return Ok(offsets::Offsets::new());
        }
        let group = self.group.group_id.clone();
        loop {
            let fetched = async {
                let connection = self.member.connection().await?;
                offsets::fetch_committed(&connection, &group, Some(&partitions), true).await
            };
            match fetched.await {
                Err(failure) => self.member.react(failure).await?,
                outcome => return outcome,
            }
        }
    }

    /// There are no more heartbeats: this generation is over.
    async fn ended(&mut self, ended: Ended) -> Result<(), ClientFailure> {
        match ended {
            Ended::TooSlow => {
                eprintln!(
                    "WARN handling records took longer than max.poll.interval.ms ({} ms): this \
                     member has left the group and joins anew",
                    self.group.max_poll_interval.as_millis()
                );
                self.member.forget_membership();
            }
            Ended::Refused(failure) => {
                if Reaction::to(&failure) == Reaction::Rejoin {
                    self.revoke().await;
                }
                self.member.react(failure).await?;
            }
        }
        self.reading = None;
        Ok(())
    }

    /// Commits before the partitions go to others. What cannot be committed they will read again.
    async fn revoke(&mut self) {
        let committing = async {
            loop {
                let Err(failure) = self.commit().await else { return Ok(()) };
                match Reaction::to(&failure) {
                    Reaction::Wait | Reaction::FindCoordinator => {
                        self.member.react(failure).await?
                    }
                    _ => return Err(failure),
                }
            }
        };
        let reason = match tokio::time::timeout(REVOKING, committing).await {
            Ok(Ok(())) => return,
            Ok(Err(failure)) => failure.to_string(),
            Err(_) => "the coordinator does not answer".to_owned(),
        };
        eprintln!(
            "WARN the last offsets of group '{}' are not committed: {reason}",
            self.group.group_id
        );
    }

    /// Commits in passing. What fails is tried again the next time; that this is no member any more
    /// the heartbeats find out.
    async fn commit_some(&mut self) -> Result<(), ClientFailure> {
        let outcome = self.commit().await;
        if let Some(reading) = &mut self.reading {
            reading.commit_later();
        }
        match outcome {
            Err(failure) => match Reaction::to(&failure) {
                Reaction::Wait | Reaction::FindCoordinator => self.member.react(failure).await,
                Reaction::Rejoin | Reaction::RejoinEmpty | Reaction::RejoinAnew => Ok(()),
                Reaction::GiveUp => Err(failure),
            },
            Ok(()) => Ok(()),
        }
    }

    /// Commits what is not committed yet, once.
    async fn commit(&mut self) -> Result<(), ClientFailure> {
        let Some(reading) = &self.reading else { return Ok(()) };
        let offsets = reading.to_commit();
        if offsets.is_empty() {
            return Ok(());
        }
        let connection = self.member.connection().await?;
        let (group, membership) = (&self.group.group_id, &self.member.membership);
        offsets::commit(&connection, group, membership, &offsets).await?;
        if let Some(reading) = &mut self.reading {
            reading.committed(&offsets);
        }
        Ok(())
    }

    /// New topics and partitions call for a new generation. Partitions are the leader's concern.
    async fn look_around(&mut self) -> Result<(), ClientFailure> {
        let seen = async {
            let has_new_topics = self.wanted().await? != self.topics;
            let has_new_partitions = match &self.member.led {
                None => false,
                Some(led) => {
                    let topics = led.keys().cloned().collect();
                    member::partition_counts(&self.cluster, &topics).await? != *led
                }
            };
            Ok(has_new_topics || has_new_partitions)
        };
        match seen.await {
            Ok(false) => {}
            Ok(true) => {
                self.revoke().await;
                self.reading = None;
            }
            Err(failure) if ClientFailure::is_retriable(&failure) => {}
            Err(failure) => return Err(failure),
        }
        Ok(())
    }
}
