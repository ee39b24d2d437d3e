//! One replica on this node: its log, its role, and who waits for it.
//!
//! - `roles`: becoming leader, follower or neither
//! - `produce`: appending as leader, and when that is acknowledged
//! - `read`: what consumers and followers read, and the offsets that they ask for
//! - `follow`: appending as follower
//! - `forget`: dropping the oldest records
//! - `reign`: what a coordinator sees of one reign of this node
//! - `switch`: another log takes the log's place
//! - `describe`: what tools are shown
//!
//! Lock order: `changing` (async), the role (shared while it is used, exclusive while it changes), then the state
//! within it, then the log's own locks. No other lock is held across an await,
//! and none while records are read.

mod describe;
mod follow;
mod forget;
mod produce;
mod read;
mod reign;
mod roles;
mod switch;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use arc_swap::ArcSwap;
use parking_lot::{Mutex, RwLock};

use super::follower::FollowerState;
use super::leader::{IsrProposal, LeaderState, Surroundings};
use super::options::NodeContext;
use super::settings::TopicSettings;
use super::waiters::{Interest, Waiters};
use crate::log::Log;
use crate::types::{ErrorCode, LeaderEpoch, NodeId, PartitionEpoch, TopicId, TopicPartition};

pub use describe::{FollowerDescription, PartitionDescription};
pub(super) use follow::{Followed, FollowedRecords};
use produce::Appends;
pub use produce::{ProduceError, Produced};
pub use read::{
    CurrentLeader, FetchPartition, FetchedPartition, Isolation, ListOffset, ListedOffset,
};
pub(super) use read::{ReadLimits, Reader};
pub use reign::Movements;
pub(super) use roles::Registration;
pub(super) use switch::SwitchError;

/// One replica on this node.
pub struct Partition {
    topic_partition: TopicPartition,
    topic_id: TopicId,
    /// Changes when the replica moves to another directory; only then, and under the role's lock.
    log: ArcSwap<Log>,
    node: Arc<NodeContext>,
    min_isr: AtomicUsize,
    flush_before_ack: AtomicBool,
    role: RwLock<Standing>,
    /// Held while the log is cut or the role changes: a replica that is made leader waits for a
    /// cut under way, and is not cut afterwards.
    changing: tokio::sync::Mutex<()>,
    waiters: Waiters,
    appends: Appends,
}

/// What the metadata has made of the replica.
#[derive(Debug)]
struct Standing {
    partition_epoch: PartitionEpoch,
    leader_epoch: LeaderEpoch,
    leader: Option<NodeId>,
    role: Role,
}

/// | role     | leads (same reign) | leads (new reign) | follows  | log fails | removed |
/// |----------|--------------------|-------------------|----------|-----------|---------|
/// | Waiting  | Elected            | Elected           | Follower | Offline   | Closed  |
/// | Elected  | Leader¹            | Elected           | Follower | Offline   | Closed  |
/// | Leader   | Leader             | Elected           | Follower | Offline   | Closed  |
/// | Follower | Elected            | Elected           | Follower | Offline   | Closed  |
/// | Offline  | Offline            | Offline           | Offline  | Offline   | Closed  |
/// | Closed   | Closed             | Closed            | Closed   | Closed    | Closed  |
///
/// ¹ as soon as its reign is durable (rule 1).
#[derive(Debug)]
enum Role {
    /// No metadata has been applied yet.
    Waiting,
    /// It is to lead; its reign is being made durable.
    Elected,
    Leader(Mutex<LeaderState>),
    Follower(Mutex<FollowerState>),
    /// Its log has failed.
    Offline,
    /// The replica is no longer on this node.
    Closed,
}

impl Standing {
    fn leading(&self) -> Result<&Mutex<LeaderState>, ErrorCode> {
        match &self.role {
            Role::Leader(state) => Ok(state),
            Role::Offline => Err(ErrorCode::KafkaStorageError),
            Role::Waiting | Role::Elected | Role::Follower(_) | Role::Closed => {
                Err(ErrorCode::NotLeaderOrFollower)
            }
        }
    }
}

impl std::fmt::Debug for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Partition").field("topic_partition", &self.topic_partition).finish()
    }
}

impl Partition {
    pub(super) fn new(
        log: Arc<Log>,
        node: Arc<NodeContext>,
        settings: &TopicSettings,
    ) -> Arc<Self> {
        Arc::new(Self {
            topic_partition: log.topic_partition().clone(),
            topic_id: log.topic_id(),
            log: ArcSwap::new(log),
            node,
            min_isr: AtomicUsize::new(settings.min_isr),
            flush_before_ack: AtomicBool::new(settings.flush_before_ack),
            role: RwLock::new(Standing {
                partition_epoch: PartitionEpoch(-1),
                leader_epoch: LeaderEpoch::NONE,
                leader: None,
                role: Role::Waiting,
            }),
            changing: tokio::sync::Mutex::new(()),
            waiters: Waiters::default(),
            appends: Appends::default(),
        })
    }

    /// Which partition it is.
    pub fn topic_partition(&self) -> &TopicPartition {
        &self.topic_partition
    }

    /// Its topic's identity.
    pub fn topic_id(&self) -> TopicId {
        self.topic_id
    }

    /// Its log: another one once the replica has moved to another directory.
    pub fn log(&self) -> Arc<Log> {
        self.log.load_full()
    }

    /// Who leads it, and in which reign, as far as is known here.
    pub fn current_leader(&self) -> CurrentLeader {
        let standing = self.role.read();
        CurrentLeader { leader: standing.leader, leader_epoch: standing.leader_epoch }
    }

    /// The reign in which this node leads the partition; an error if it does not.
    pub fn leading_epoch(&self) -> Result<LeaderEpoch, ErrorCode> {
        self.check_live()?;
        let standing = self.role.read();
        standing.leading()?;
        Ok(standing.leader_epoch)
    }

    /// The topic's configuration has changed.
    pub(super) fn configure(&self, settings: TopicSettings) {
        self.min_isr.store(settings.min_isr, Ordering::Release);
        self.flush_before_ack.store(settings.flush_before_ack, Ordering::Release);
        self.log().set_config(settings.log);
        let changed = self.with_leader(|leader, around| {
            leader.set_min_isr(settings.min_isr);
            leader.advance(around);
        });
        // Not leading: the next reign begins with the new settings.
        changed.unwrap_or_default();
    }

    /// Fails with NOT_LEADER_OR_FOLLOWER if the broker's session has run out: a node that may have
    /// been deposed without knowing does not answer as leader.
    pub fn check_live(&self) -> Result<(), ErrorCode> {
        if self.node.surrounds.is_live() { Ok(()) } else { Err(ErrorCode::NotLeaderOrFollower) }
    }

    /// Runs `run` on the leader's state; if that moves the high watermark, the log takes it and
    /// the waiters wake.
    fn with_leader<T>(
        &self,
        run: impl FnOnce(&mut LeaderState, Surroundings<'_>) -> T,
    ) -> Result<T, ErrorCode> {
        let standing = self.role.read();
        let (result, rose) = self.run_leader(standing.leading()?, run);
        drop(standing);
        if rose {
            self.waiters.wake(Interest::HighWatermark);
        }
        Ok(result)
    }

    fn run_leader<T>(
        &self,
        state: &Mutex<LeaderState>,
        run: impl FnOnce(&mut LeaderState, Surroundings<'_>) -> T,
    ) -> (T, bool) {
        let world = self.node.world.load();
        let now = self.node.clock.monotonic();
        let mut leader = state.lock();
        let before = leader.high_watermark();
        let log_end = self.log().log_end_offset();
        let result = run(&mut leader, Surroundings { log_end, now, standings: &world.standings });
        let high_watermark = leader.high_watermark();
        let rose = high_watermark > before;
        if rose {
            self.log().set_high_watermark(high_watermark);
        }
        (result, rose)
    }

    fn propose(self: &Arc<Self>, proposal: Option<IsrProposal>) {
        if let Some(proposal) = proposal {
            // The node is stopping if nobody listens.
            let sent = self.node.proposals.send((Arc::clone(self), proposal));
            sent.unwrap_or_default();
        }
    }

    pub(super) fn waiters(&self) -> &Waiters {
        &self.waiters
    }
}
