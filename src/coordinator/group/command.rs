//! What is asked of the group machine and what it answers: the requests of the protocol, with what
//! the machine may not make up itself.

use std::sync::Arc;

use uuid::Uuid;

use crate::coordinator::group::rebalance::Rebalance;
use crate::coordinator::shard::RequestId;
use crate::metadata::Image;
use crate::protocol::Str;
use crate::protocol::messages::consumer_group_describe::ConsumerGroupDescribedGroup;
use crate::protocol::messages::consumer_group_heartbeat::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse,
};
use crate::protocol::messages::delete_groups::DeletableGroupResult;
use crate::protocol::messages::describe_groups::DescribedGroup;
use crate::protocol::messages::heartbeat::{HeartbeatRequest, HeartbeatResponse};
use crate::protocol::messages::join_group::{JoinGroupRequest, JoinGroupResponse};
use crate::protocol::messages::leave_group::{LeaveGroupRequest, LeaveGroupResponse};
use crate::protocol::messages::list_groups::ListedGroup;
use crate::protocol::messages::offset_commit::{OffsetCommitRequest, OffsetCommitResponse};
use crate::protocol::messages::offset_delete::{OffsetDeleteRequest, OffsetDeleteResponse};
use crate::protocol::messages::offset_fetch::{OffsetFetchRequestGroup, OffsetFetchResponseGroup};
use crate::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupResponse};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The client id of the request's header; empty if it has none.
    pub id: Arc<str>,
    /// The client's address as Kafka writes it: `/127.0.0.1`.
    pub host: Arc<str>,
}

/// One request of the protocol.
#[derive(Debug, Clone)]
pub struct Asked<R> {
    /// By which it is answered.
    pub request: RequestId,
    /// Who asks.
    pub client: Client,
    /// The version of the request.
    pub version: i16,
    /// For the member id that may have to be made.
    pub fresh: Uuid,
    /// The request itself.
    pub body: R,
}

/// Something for the machine to decide.
#[derive(Debug, Clone)]
pub enum Command {
    /// Time has passed.
    Tick,
    /// The log has been replayed; all deadlines begin anew.
    Loaded,
    /// The cluster's metadata is this now.
    MetadataChanged(Arc<Image>),
    /// JoinGroup.
    Join(Asked<JoinGroupRequest>),
    /// SyncGroup.
    Sync(Asked<SyncGroupRequest>),
    /// Heartbeat.
    Heartbeat(Asked<HeartbeatRequest>),
    /// LeaveGroup; below version 3 `members` holds the one member.
    Leave(Asked<LeaveGroupRequest>),
    /// ConsumerGroupHeartbeat.
    ConsumerHeartbeat(Asked<ConsumerGroupHeartbeatRequest>),
    /// OffsetCommit. Topics have both name and id; unknown ones have been sorted out already.
    CommitOffsets(Asked<OffsetCommitRequest>),
    /// OffsetFetch of one group. Topics have both name and id; unknown ones are sorted out already.
    FetchOffsets(Asked<OffsetFetchRequestGroup>, RequireStable),
    /// OffsetDelete.
    DeleteOffsets(Asked<OffsetDeleteRequest>),
    /// ListGroups, the groups of this partition.
    List(Asked<ListFilter>),
    /// DescribeGroups, of this partition.
    Describe(Asked<Vec<Str>>),
    /// ConsumerGroupDescribe, of this partition.
    ConsumerDescribe(Asked<Vec<Str>>),
    /// DeleteGroups, of this partition.
    Delete(Asked<Vec<Str>>),
}

/// Whether offsets of open transactions are waited for (KIP-447).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RequireStable(pub bool);

/// Which groups to list; empty: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ListFilter {
    /// States, in any case.
    pub states: Vec<Str>,
    /// Types (`classic`, `consumer`), in any case.
    pub types: Vec<Str>,
}

/// What a request is answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// To [`Command::Join`].
    Join(JoinGroupResponse),
    /// To [`Command::Sync`].
    Sync(SyncGroupResponse),
    /// To [`Command::Heartbeat`].
    Heartbeat(HeartbeatResponse),
    /// To [`Command::Leave`].
    Leave(LeaveGroupResponse),
    /// To [`Command::ConsumerHeartbeat`].
    ConsumerHeartbeat(ConsumerGroupHeartbeatResponse),
    /// To [`Command::CommitOffsets`].
    OffsetsCommitted(OffsetCommitResponse),
    /// To [`Command::FetchOffsets`].
    OffsetsFetched(OffsetFetchResponseGroup),
    /// To [`Command::DeleteOffsets`].
    OffsetsDeleted(OffsetDeleteResponse),
    /// To [`Command::List`].
    Listed(Vec<ListedGroup>),
    /// To [`Command::Describe`].
    Described(Vec<DescribedGroup>),
    /// To [`Command::ConsumerDescribe`].
    ConsumerDescribed(Vec<ConsumerGroupDescribedGroup>),
    /// To [`Command::Delete`].
    Deleted(Vec<DeletableGroupResult>),
}

/// Something for the shell to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Remember a rebalance.
    Rebalanced(Rebalance),
}
