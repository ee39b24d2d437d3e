//! Verifications on demand: some or all logs of this broker are verified at once, what is damaged is
//! mended, and whoever asked can follow how far it has come.
//!
//! One runs at a time; a few may wait, and a few that are over are remembered.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::broker::mending::{Mender, Pace, verify};
use crate::log::{Finding, Log, LogDirectory};
use crate::replication::MendOutcome;
use crate::storage::Offload;
use crate::types::{ErrorCode, Offset, PartitionId, TopicName, TopicPartition};

/// How many verifications are known, over ones included.
const MAX_KNOWN: usize = 8;
/// How many findings of one verification are told.
const MAX_TOLD: usize = 10_000;
/// How often what must wait for a checkpoint or its turn is tried, and how long is waited in between.
const MEND_ATTEMPTS: usize = 20;
const MEND_PAUSE: Duration = Duration::from_millis(500);

/// What is verified: all logs, or those of some partitions; no partition: all of the topic.
pub(crate) type Scope = Option<BTreeMap<TopicName, Vec<PartitionId>>>;

/// What has become of damage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum State {
    /// It is being mended.
    Found,
    /// It is mended.
    Mended,
    /// It could not be mended, for this reason.
    Damaged(String),
}

/// Damage that was found.
#[derive(Debug, Clone)]
pub(crate) struct Reported {
    /// The log directory.
    pub log_dir: String,
    /// Whose log it is.
    pub topic_partition: TopicPartition,
    /// Where it is.
    pub finding: Finding,
    /// What has become of it.
    pub state: State,
}

/// How far a verification has come.
#[derive(Debug, Clone)]
pub(crate) struct Progress {
    /// Which verification.
    pub id: i64,
    /// How many bytes there were when it began.
    pub total_bytes: u64,
    /// How many of them are verified.
    pub verified_bytes: u64,
    /// How many segments are.
    pub verified_segments: u64,
    /// Whether it is over.
    pub is_done: bool,
    /// What was found.
    pub findings: Vec<Reported>,
}

/// Why a question is not answered.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refusal {
    #[error("verification {0} is not known here: the broker was restarted, or it was long ago")]
    Unknown(i64),
    #[error("{MAX_KNOWN} verifications wait already: try again when one is over")]
    TooMany,
}

impl Refusal {
    /// How the protocol says it.
    pub fn error_code(&self) -> ErrorCode {
        match self {
            Refusal::Unknown(_) | Refusal::TooMany => ErrorCode::InvalidRequest,
        }
    }
}

#[derive(Debug)]
struct Job {
    id: i64,
    scope: Scope,
    pace: Pace,
    total_bytes: u64,
    verified_bytes: AtomicU64,
    verified_segments: AtomicU64,
    is_done: AtomicBool,
    findings: Mutex<Vec<Reported>>,
}

impl Job {
    fn progress(&self) -> Progress {
        Progress {
            id: self.id,
            total_bytes: self.total_bytes,
            is_done: self.is_done.load(Ordering::Acquire),
            verified_bytes: self.verified_bytes.load(Ordering::Acquire),
            verified_segments: self.verified_segments.load(Ordering::Acquire),
            findings: self.findings.lock().clone(),
        }
    }
}

fn is_meant(scope: &Scope, place: &TopicPartition) -> bool {
    scope.as_ref().is_none_or(|topics| {
        topics.get(&place.topic).is_some_and(|partitions| {
            partitions.is_empty() || partitions.contains(&place.partition)
        })
    })
}

/// The verifications of one broker.
pub(crate) struct Verifications {
    directories: Vec<Arc<LogDirectory>>,
    mender: Arc<dyn Mender>,
    offload: Arc<dyn Offload>,
    next_id: AtomicI64,
    /// Oldest first.
    known: Mutex<VecDeque<Arc<Job>>>,
    begun: Notify,
}

impl Verifications {
    /// None yet. The ids begin at `first_id`, so that those of a former run of this broker are told
    /// from these.
    pub fn new(
        directories: Vec<Arc<LogDirectory>>,
        mender: Arc<dyn Mender>,
        offload: Arc<dyn Offload>,
        first_id: i64,
    ) -> Arc<Self> {
        Arc::new(Self {
            directories,
            mender,
            offload,
            next_id: AtomicI64::new(first_id),
            known: Mutex::default(),
            begun: Notify::new(),
        })
    }

    /// Begins a verification, at `rate` bytes per second if that is given.
    pub fn begin(&self, scope: Scope, rate: Option<u64>) -> Result<Progress, Refusal> {
        let logs = self.logs(&scope);
        let bytes = |(_, log): &(String, Arc<Log>)| log.size_bytes();
        let mut known = self.known.lock();
        if known.len() >= MAX_KNOWN {
            let over = known.iter().position(|job| job.is_done.load(Ordering::Acquire));
            known.remove(over.ok_or(Refusal::TooMany)?);
        }
        let job = Arc::new(Job {
            id: self.next_id.fetch_add(1, Ordering::Relaxed),
            total_bytes: logs.iter().map(bytes).sum(),
            scope,
            pace: Pace(rate),
            verified_bytes: AtomicU64::new(0),
            verified_segments: AtomicU64::new(0),
            is_done: AtomicBool::new(false),
            findings: Mutex::default(),
        });
        known.push_back(Arc::clone(&job));
        drop(known);
        self.begun.notify_one();
        Ok(job.progress())
    }

    /// How far a verification has come.
    pub fn progress(&self, id: i64) -> Result<Progress, Refusal> {
        let known = self.known.lock();
        let job = known.iter().find(|job| job.id == id).ok_or(Refusal::Unknown(id))?;
        Ok(job.progress())
    }

    /// Runs what is begun, for as long as the node lives.
    pub async fn run(self: Arc<Self>) {
        loop {
            let next = {
                let known = self.known.lock();
                known.iter().find(|job| !job.is_done.load(Ordering::Acquire)).cloned()
            };
            match next {
                Some(job) => self.perform(&job).await,
                None => self.begun.notified().await,
            }
        }
    }

    fn logs(&self, scope: &Scope) -> Vec<(String, Arc<Log>)> {
        let directories = self.directories.iter();
        directories
            .filter(|directory| !directory.is_offline())
            .flat_map(|directory| {
                let name = directory.path().display().to_string();
                directory.logs().into_iter().map(move |log| (name.clone(), log))
            })
            .filter(|(_, log)| is_meant(scope, log.topic_partition()))
            .collect()
    }

    async fn perform(&self, job: &Job) {
        tracing::info!(id = job.id, bytes = job.total_bytes, "a verification begins");
        let mut before = 0;
        for (log_dir, log) in self.logs(&job.scope) {
            for base in log.segments_to_verify() {
                self.segment(job, &log_dir, &log, base, before).await;
                before = job.verified_bytes.load(Ordering::Acquire);
            }
        }
        job.is_done.store(true, Ordering::Release);
        let (bytes, found) = (before, job.findings.lock().len());
        tracing::info!(id = job.id, bytes, found, "a verification is over");
    }

    async fn segment(&self, job: &Job, log_dir: &str, log: &Arc<Log>, base: Offset, before: u64) {
        let progress = |bytes| job.verified_bytes.store(before + bytes, Ordering::Release);
        let pace = || std::future::ready(job.pace);
        let found = verify(&*self.offload, log, base, pace, progress).await;
        job.verified_segments.fetch_add(1, Ordering::AcqRel);
        let findings = found.unwrap_or_default();
        if findings.is_empty() {
            return;
        }
        let first = {
            let mut told = job.findings.lock();
            let first = told.len();
            let room = MAX_TOLD.saturating_sub(first);
            told.extend(findings.into_iter().take(room).map(|finding| Reported {
                log_dir: log_dir.to_owned(),
                topic_partition: log.topic_partition().clone(),
                finding,
                state: State::Found,
            }));
            first
        };
        let state = self.mend(log, base).await;
        for reported in &mut job.findings.lock()[first..] {
            reported.state = state.clone();
        }
    }

    async fn mend(&self, log: &Arc<Log>, base: Offset) -> State {
        let mut obstacle = "no other broker has a replica of it".to_owned();
        for _ in 0..MEND_ATTEMPTS {
            let mends = self.mender.mend(Arc::clone(log)).await;
            match mends.into_iter().find(|mend| mend.segment == base).map(|mend| mend.outcome) {
                // Somebody else may have been faster.
                None if !log.segments_to_mend().contains(&base) => return State::Mended,
                None => return State::Damaged(obstacle),
                Some(MendOutcome::Sound | MendOutcome::Mended { .. }) => return State::Mended,
                Some(MendOutcome::Failed(reason)) => return State::Damaged(reason),
                Some(MendOutcome::NotYet(reason)) => obstacle = reason,
            }
            tokio::time::sleep(MEND_PAUSE).await;
        }
        State::Damaged(obstacle)
    }
}
