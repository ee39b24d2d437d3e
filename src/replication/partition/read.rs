//! What consumers and followers read, and the offsets that they ask for (rules 3, 5, 10 and 18).

use std::sync::Arc;

use bytes::Bytes;

use super::{Partition, Role};
use crate::log::{AbortedTransaction, FoundByTime, ReadError, Slice};
use crate::replication::epochs::{EpochEnd, FetchPosition, check_leader_epoch, divergence};
use crate::replication::leader::{FollowerFetch, FollowerProgress, LeaderState};
use crate::replication::waiters::Interest;
use crate::types::{
    BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, Offset, TimestampMs, TopicId, TopicPartition,
};

/// What a consumer may see of transactions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Isolation {
    /// Everything that is committed to the ISR.
    #[default]
    ReadUncommitted,
    /// Nothing beyond the first open transaction; aborted ones are named to be skipped.
    ReadCommitted,
}

/// One partition of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchPartition {
    /// Which partition.
    pub topic_partition: TopicPartition,
    /// Its topic's identity as the asker knows it; [`TopicId::ZERO`]: not said.
    pub topic_id: TopicId,
    /// From where.
    pub fetch_offset: Offset,
    /// The first offset that the asker keeps, if it is a follower.
    pub log_start_offset: Offset,
    /// The epoch of the asker's last record, or [`LeaderEpoch::NONE`].
    pub last_fetched_epoch: LeaderEpoch,
    /// The reign that the asker believes in, or [`LeaderEpoch::NONE`].
    pub current_leader_epoch: LeaderEpoch,
    /// How much of it; the first batch is given even if it is larger.
    pub max_bytes: usize,
}

/// Who leads a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentLeader {
    /// The leader, if there is one.
    pub leader: Option<NodeId>,
    /// Its reign.
    pub leader_epoch: LeaderEpoch,
}

/// The answer for one partition of a fetch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FetchedPartition {
    /// What went wrong, if anything.
    pub error: ErrorCode,
    /// Everything below is committed; unknown with an error.
    pub high_watermark: Offset,
    /// No open transaction begins below; unknown with an error.
    pub last_stable_offset: Offset,
    /// The first offset that is kept; unknown with an error.
    pub log_start_offset: Offset,
    /// Whole batches as they lie in the log.
    pub records: Bytes,
    /// Where the asker's log has left ours (rule 5).
    pub diverging_epoch: Option<EpochEnd>,
    /// The aborted transactions among the records, for readers of committed data only.
    pub aborted: Option<Vec<AbortedTransaction>>,
    /// The replica that the consumer should rather read from (KIP-392).
    pub preferred_read_replica: Option<NodeId>,
    /// Who leads instead, where the error says that we do not (KIP-951).
    pub current_leader: Option<CurrentLeader>,
}

impl FetchedPartition {
    /// An answer that says nothing but what went wrong.
    pub fn failed(error: ErrorCode, current_leader: Option<CurrentLeader>) -> Self {
        Self {
            error,
            high_watermark: Offset::UNKNOWN,
            last_stable_offset: Offset::UNKNOWN,
            log_start_offset: Offset::UNKNOWN,
            records: Bytes::new(),
            diverging_epoch: None,
            aborted: None,
            preferred_read_replica: None,
            current_leader,
        }
    }

    /// Whether the answer should not wait for more.
    pub(in crate::replication) fn is_urgent(&self) -> bool {
        !self.error.is_none()
            || self.diverging_epoch.is_some()
            || self.preferred_read_replica.is_some()
    }
}

/// Who reads.
#[derive(Debug, Clone)]
pub(in crate::replication) enum Reader {
    /// A replica: to the log's end, from the leader only; its fetches are its progress.
    Follower { node: NodeId, broker_epoch: BrokerEpoch },
    /// A consumer: what is committed. From a follower too if it names its rack, be it empty.
    Consumer { isolation: Isolation, rack: Option<Arc<str>>, every_batch: bool },
}

/// How much one partition may give.
#[derive(Debug, Clone, Copy)]
pub(in crate::replication) struct ReadLimits {
    pub(in crate::replication) max_bytes: usize,
    pub(in crate::replication) at_least_one: bool,
}

/// What is readable, as of one moment under the role's lock.
struct Bounds {
    limit: Offset,
    high_watermark: Offset,
    preferred: Option<NodeId>,
}

/// What ListOffsets asks of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListOffset {
    /// A point in time, or one of Kafka's special values from -1 to -6.
    pub timestamp: TimestampMs,
    /// What the asker sees of transactions; a replica sees all.
    pub isolation: Isolation,
    /// The reign that the asker believes in, or [`LeaderEpoch::NONE`].
    pub current_leader_epoch: LeaderEpoch,
    /// Whether a replica asks: the latest offset is then the log's end.
    pub is_replica: bool,
}

/// What ListOffsets answers; all unknown if there is no such record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedOffset {
    /// The record's timestamp; none for the special values.
    pub timestamp: TimestampMs,
    /// The offset.
    pub offset: Offset,
    /// The reign that wrote it.
    pub leader_epoch: LeaderEpoch,
}

impl ListOffset {
    /// The latest offset that the asker may read.
    pub const LATEST: TimestampMs = TimestampMs(-1);
    /// The first offset that is kept.
    pub const EARLIEST: TimestampMs = TimestampMs(-2);
    /// The record with the largest timestamp (KIP-734).
    pub const MAX_TIMESTAMP: TimestampMs = TimestampMs(-3);
    /// The first offset that is kept on this node's disk (KIP-405).
    pub const EARLIEST_LOCAL: TimestampMs = TimestampMs(-4);
    /// The latest offset in tiered storage (KIP-1005): there is none.
    pub const LATEST_TIERED: TimestampMs = TimestampMs(-5);
    /// The first offset not yet in tiered storage (KIP-1023): there is none.
    pub const EARLIEST_PENDING_UPLOAD: TimestampMs = TimestampMs(-6);
}

impl ListedOffset {
    /// There is no such record.
    pub const NONE: ListedOffset = ListedOffset {
        timestamp: TimestampMs::NONE,
        offset: Offset::UNKNOWN,
        leader_epoch: LeaderEpoch::NONE,
    };
}

impl Partition {
    /// Reads for one partition of a fetch; a follower's fetch counts as its progress.
    pub(in crate::replication) fn read(
        self: &Arc<Self>,
        wanted: &FetchPartition,
        reader: &Reader,
        limits: ReadLimits,
    ) -> FetchedPartition {
        self.try_read(wanted, reader, limits).unwrap_or_else(|error| {
            let tells_leader =
                matches!(error, ErrorCode::NotLeaderOrFollower | ErrorCode::FencedLeaderEpoch);
            FetchedPartition::failed(error, tells_leader.then(|| self.current_leader()))
        })
    }

    fn try_read(
        self: &Arc<Self>,
        wanted: &FetchPartition,
        reader: &Reader,
        limits: ReadLimits,
    ) -> Result<FetchedPartition, ErrorCode> {
        self.check_live()?;
        if wanted.topic_id != TopicId::ZERO && wanted.topic_id != self.topic_id {
            return Err(ErrorCode::InconsistentTopicId);
        }
        self.check_role(wanted.current_leader_epoch, reader)?;
        let diverging = self.check_position(wanted)?;
        if diverging.is_some() {
            let bounds = self.bounds(wanted, reader, false)?;
            return Ok(self.fetched(wanted, reader, &bounds, Bytes::new(), diverging));
        }
        let bounds = self.bounds(wanted, reader, true)?;
        if bounds.preferred.is_some() || bounds.limit <= wanted.fetch_offset {
            return Ok(self.fetched(wanted, reader, &bounds, Bytes::new(), None));
        }
        let slice = self
            .read_log(wanted.fetch_offset, bounds.limit, reader, limits)
            .and_then(|slice| self.checked(slice, wanted.fetch_offset, reader))
            .map_err(|error| self.unreadable(&error))?;
        Ok(self.fetched(wanted, reader, &bounds, slice.records, None))
    }

    /// What lies in the log from `from` on. A consumer goes past batches that compaction left without
    /// records as long as others follow.
    fn read_log(
        &self,
        from: Offset,
        limit: Offset,
        reader: &Reader,
        limits: ReadLimits,
    ) -> Result<Slice, ReadError> {
        let log = self.log();
        let mut slice = log.read(from, limit, limits.max_bytes, limits.at_least_one)?;
        if !matches!(reader, Reader::Consumer { every_batch: false, .. }) {
            return Ok(slice);
        }
        while slice.has_no_record() && slice.next_offset < limit {
            let next = log.read(slice.next_offset, limit, limits.max_bytes, limits.at_least_one)?;
            if next.records.is_empty() {
                break;
            }
            slice = next;
        }
        Ok(slice)
    }

    /// Nothing damaged is handed on to other replicas.
    fn checked(&self, slice: Slice, from: Offset, reader: &Reader) -> Result<Slice, ReadError> {
        match reader {
            Reader::Follower { .. } => self.log().check_before_replication(from, &slice.records)?,
            Reader::Consumer { .. } => {}
        }
        Ok(slice)
    }

    /// Damage that a reader meets is mended, if another replica has what is missing: whoever asks is
    /// told to ask again.
    fn unreadable(&self, error: &ReadError) -> ErrorCode {
        self.log().suspect(error);
        match error {
            ReadError::Corrupt { .. } => ErrorCode::KafkaStorageError,
            other => other.error_code(),
        }
    }

    fn check_role(&self, requested: LeaderEpoch, reader: &Reader) -> Result<(), ErrorCode> {
        let standing = self.role.read();
        match (&standing.role, reader) {
            (Role::Leader(_), _) => {}
            // Rule 18: any replica serves those who know what they ask for (KIP-392).
            (Role::Follower(_), Reader::Consumer { rack: Some(_), .. }) => {}
            (Role::Offline, _) => return Err(ErrorCode::KafkaStorageError),
            (Role::Waiting | Role::Elected | Role::Follower(_) | Role::Closed, _) => {
                // Who is ahead of us shall wait for us, not look for another leader.
                check_leader_epoch(requested, standing.leader_epoch.max(LeaderEpoch(0)))?;
                return Err(ErrorCode::NotLeaderOrFollower);
            }
        }
        check_leader_epoch(requested, standing.leader_epoch)
    }

    fn check_position(&self, wanted: &FetchPartition) -> Result<Option<EpochEnd>, ErrorCode> {
        let position = FetchPosition {
            fetch_offset: wanted.fetch_offset,
            last_fetched_epoch: wanted.last_fetched_epoch,
        };
        let our_end = self.log().end_offset_for_epoch(wanted.last_fetched_epoch);
        let diverging = divergence(position, our_end, self.log().log_start_offset())?;
        if diverging.is_none() && wanted.fetch_offset > self.log().log_end_offset() {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        Ok(diverging)
    }

    /// What is readable now. With `progress`, a follower's fetch is taken in first; its reign is
    /// checked again, since it may have ended in between.
    fn bounds(
        self: &Arc<Self>,
        wanted: &FetchPartition,
        reader: &Reader,
        progress: bool,
    ) -> Result<Bounds, ErrorCode> {
        match reader {
            Reader::Follower { node, broker_epoch } => {
                let fetch = FollowerFetch {
                    node: *node,
                    broker_epoch: *broker_epoch,
                    fetch_offset: wanted.fetch_offset,
                    log_start: wanted.log_start_offset,
                };
                let progressed = self.with_leader(|leader, around| {
                    check_leader_epoch(wanted.current_leader_epoch, leader.leader_epoch())?;
                    let known_start = leader.followers().get(node).map(FollowerProgress::log_start);
                    let proposal = if progress {
                        leader.follower_fetched(fetch, around)?.proposal
                    } else {
                        None
                    };
                    let start_moved = progress && known_start != Some(fetch.log_start);
                    Ok((leader.high_watermark(), proposal, start_moved))
                })?;
                let (high_watermark, proposal, start_moved) = progressed?;
                self.propose(proposal);
                if start_moved {
                    self.waiters.wake(Interest::LowWatermark);
                }
                Ok(Bounds { limit: self.log().log_end_offset(), high_watermark, preferred: None })
            }
            Reader::Consumer { isolation, rack, .. } => {
                let high_watermark = self.log().high_watermark();
                let limit = match isolation {
                    Isolation::ReadUncommitted => high_watermark,
                    Isolation::ReadCommitted => self.log().last_stable_offset(),
                };
                let preferred =
                    rack.as_deref().and_then(|rack| self.nearer_replica(rack, wanted.fetch_offset));
                Ok(Bounds { limit, high_watermark, preferred })
            }
        }
    }

    /// Kafka's rack-aware selector: if the leader is in another rack than the consumer, the
    /// replica in the consumer's rack that has most, of those that have what it asks for.
    fn nearer_replica(&self, rack: &str, offset: Offset) -> Option<NodeId> {
        if rack.is_empty() || !self.node.options.rack_aware_reads {
            return None;
        }
        let world = self.node.world.load();
        let is_near = |node: &NodeId| world.racks.get(node).is_some_and(|its| its == rack);
        if is_near(&self.node.node) {
            return None;
        }
        let nearest = |leader: &mut LeaderState| {
            leader
                .readable_followers(offset, &world.standings)
                .filter(|(node, _)| is_near(node))
                .max_by_key(|(node, progress)| {
                    (progress.log_end(), progress.caught_up_at(), std::cmp::Reverse(*node))
                })
                .map(|(node, _)| node)
        };
        self.with_leader(|leader, _| nearest(leader)).ok().flatten()
    }

    fn fetched(
        &self,
        wanted: &FetchPartition,
        reader: &Reader,
        bounds: &Bounds,
        records: Bytes,
        diverging_epoch: Option<EpochEnd>,
    ) -> FetchedPartition {
        let aborted = match reader {
            Reader::Consumer { isolation: Isolation::ReadCommitted, .. } => {
                Some(self.log().aborted_transactions(wanted.fetch_offset, bounds.limit))
            }
            Reader::Consumer { isolation: Isolation::ReadUncommitted, .. }
            | Reader::Follower { .. } => None,
        };
        FetchedPartition {
            error: ErrorCode::None,
            high_watermark: bounds.high_watermark,
            last_stable_offset: self.log().last_stable_offset(),
            log_start_offset: self.log().log_start_offset(),
            records,
            diverging_epoch,
            aborted,
            preferred_read_replica: bounds.preferred,
            current_leader: None,
        }
    }

    /// Rule 3, asked by name: where an epoch ends in the leader's log.
    pub fn offset_for_leader_epoch(
        &self,
        current: LeaderEpoch,
        requested: LeaderEpoch,
    ) -> Result<EpochEnd, ErrorCode> {
        self.check_leads(current)?;
        Ok(self.log().end_offset_for_epoch(requested))
    }

    /// Fails unless this node leads the partition, in the reign `current` if that is said.
    fn check_leads(&self, current: LeaderEpoch) -> Result<(), ErrorCode> {
        self.check_live()?;
        let standing = self.role.read();
        if !matches!(standing.role, Role::Offline) {
            check_leader_epoch(current, standing.leader_epoch)?;
        }
        standing.leading().map(|_| ())
    }

    /// An offset by time, or one of the special ones. The end of what can be read is not told
    /// after an election until it is known (rule 18, KIP-207).
    pub fn list_offset(&self, wanted: ListOffset) -> Result<ListedOffset, ErrorCode> {
        self.check_leads(wanted.current_leader_epoch)?;
        let (settled, leader_epoch) =
            self.with_leader(|leader, _| (leader.is_settled(), leader.leader_epoch()))?;
        let limit = match (wanted.is_replica, wanted.isolation) {
            (true, _) => self.log().log_end_offset(),
            (false, Isolation::ReadUncommitted) => self.log().high_watermark(),
            (false, Isolation::ReadCommitted) => self.log().last_stable_offset(),
        };
        let end_is_known = settled || wanted.is_replica;
        let at = |offset, leader_epoch| {
            Ok(ListedOffset { timestamp: TimestampMs::NONE, offset, leader_epoch })
        };
        let found = match wanted.timestamp {
            ListOffset::LATEST if end_is_known => return at(limit, leader_epoch),
            ListOffset::LATEST => return Err(ErrorCode::OffsetNotAvailable),
            ListOffset::EARLIEST | ListOffset::EARLIEST_LOCAL => {
                let start = self.log().log_start_offset();
                return at(start, self.log().epoch_at(start).unwrap_or(LeaderEpoch::NONE));
            }
            ListOffset::LATEST_TIERED | ListOffset::EARLIEST_PENDING_UPLOAD => {
                return Ok(ListedOffset::NONE);
            }
            ListOffset::MAX_TIMESTAMP => self.log().max_timestamp_offset(),
            timestamp if timestamp.0 >= 0 => self.log().offset_for_timestamp(timestamp),
            _ => return Err(ErrorCode::UnsupportedVersion),
        };
        within(found.map_err(|error| self.unreadable(&error))?, limit, end_is_known)
    }
}

/// A record found by time, if the asker may see it.
fn within(
    found: Option<FoundByTime>,
    limit: Offset,
    end_is_known: bool,
) -> Result<ListedOffset, ErrorCode> {
    match found {
        Some((timestamp, offset, leader_epoch)) if offset < limit => {
            Ok(ListedOffset { timestamp, offset, leader_epoch })
        }
        Some(_) if !end_is_known => Err(ErrorCode::OffsetNotAvailable),
        Some(_) | None => Ok(ListedOffset::NONE),
    }
}
