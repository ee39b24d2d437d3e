//! The groups that this broker coordinates, as its handlers ask them: one typed way in per request.
//!
//! What a request is decided on is fixed when its method is called; the future has the answer. It
//! may be dropped.

use std::collections::BTreeMap;
use std::sync::Arc;

use futures::future::join_all;

use super::group::command::{Answer, Asked, Client, Command, Effect, ListFilter, RequireStable};
use super::group::{GroupConfig, GroupMachine};
use super::shard::{Perform, RequestId, ShardOptions, ShardSeams, Submission};
use super::shards::{Coordinator, all_answers};
use crate::metadata::topic_name;
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
use crate::replication::Replicas;
use crate::types::{ErrorCode, PartitionId, Random, TopicName};

/// Who asks, and in which version.
#[derive(Debug, Clone)]
pub struct Asker {
    /// Who.
    pub client: Client,
    /// The version of the request.
    pub version: i16,
}

/// The groups that this broker coordinates.
pub struct Groups {
    coordinator: Arc<Coordinator<GroupMachine>>,
    random: Arc<dyn Random>,
}

impl std::fmt::Debug for Groups {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Groups").finish_non_exhaustive()
    }
}

/// An answer to come, or why there is none: a coordinator's refusal.
macro_rules! asked {
    ($($(#[$doc:meta])* $name:ident: $request:ty => $response:ty, $command:ident, $answer:ident;)*) => {
        $($(#[$doc])*
        pub fn $name(
            &self,
            asker: Asker,
            request: $request,
        ) -> impl Future<Output = Result<$response, ErrorCode>> + Send + use<> {
            let group = request.group_id.clone();
            let make = self.asked(asker, request);
            let submitted = self.submit(&group, |id| Command::$command(make(id)));
            async move {
                match submitted.await? {
                    Answer::$answer(response) => Ok(response),
                    other => Err(not_an_answer(&other)),
                }
            }
        })*
    };
}

impl Groups {
    /// Of the replicas of `__consumer_offsets` that this node leads. Rebalances are handed to
    /// `perform`. Nothing happens before [`Groups::start`].
    pub fn new(
        replicas: Arc<Replicas>,
        seams: ShardSeams,
        options: ShardOptions,
        config: GroupConfig,
        random: Arc<dyn Random>,
        perform: impl Fn(Effect) + Send + Sync + 'static,
    ) -> Arc<Self> {
        let config = Arc::new(config);
        let new_machine = move || GroupMachine::new(Arc::clone(&config));
        let perform: Perform<GroupMachine> = Arc::new(perform);
        let topic = TopicName::new(topic_name::CONSUMER_OFFSETS);
        let coordinator = Coordinator::new(topic, replicas, seams, options, new_machine, perform);
        Arc::new(Self { coordinator, random })
    }

    /// Begins to follow the replicas' roles.
    pub fn start(&self) {
        self.coordinator.start();
    }

    /// Gives all groups up; whoever waits is told NOT_COORDINATOR.
    pub async fn stop(&self) {
        self.coordinator.stop().await;
    }

    /// The partition of `__consumer_offsets` that `group` belongs to; none before there is one.
    pub fn partition_for(&self, group: &str) -> Option<PartitionId> {
        self.coordinator.partition_for(group)
    }

    asked! {
        /// A member joins; answered when the group's generation begins.
        join: JoinGroupRequest => JoinGroupResponse, Join, Join;
        /// A member hands in or asks for the assignment; answered when that is there.
        sync: SyncGroupRequest => SyncGroupResponse, Sync, Sync;
        /// A member is alive.
        heartbeat: HeartbeatRequest => HeartbeatResponse, Heartbeat, Heartbeat;
        /// Members leave; below version 3 `members` holds the one member.
        leave: LeaveGroupRequest => LeaveGroupResponse, Leave, Leave;
        /// A member of the consumer protocol is alive.
        consumer_heartbeat: ConsumerGroupHeartbeatRequest => ConsumerGroupHeartbeatResponse,
            ConsumerHeartbeat, ConsumerHeartbeat;
        /// Commits offsets of topics that exist, each with name and id.
        commit_offsets: OffsetCommitRequest => OffsetCommitResponse, CommitOffsets, OffsetsCommitted;
        /// Forgets offsets of topics that exist.
        delete_offsets: OffsetDeleteRequest => OffsetDeleteResponse, DeleteOffsets, OffsetsDeleted;
    }

    /// Committed offsets of one group.
    pub fn fetch_offsets(
        &self,
        asker: Asker,
        request: OffsetFetchRequestGroup,
        stable: RequireStable,
    ) -> impl Future<Output = Result<OffsetFetchResponseGroup, ErrorCode>> + Send + use<> {
        let group = request.group_id.clone();
        let make = self.asked(asker, request);
        let make = |id| Command::FetchOffsets(make(id), stable);
        let submitted = self.submit(&group, make);
        async move {
            match submitted.await? {
                Answer::OffsetsFetched(response) => Ok(response),
                other => Err(not_an_answer(&other)),
            }
        }
    }

    /// All groups that this broker coordinates.
    pub fn list(
        &self,
        asker: &Asker,
        filter: &ListFilter,
    ) -> impl Future<Output = Result<Vec<ListedGroup>, ErrorCode>> + Send + use<> {
        let make = |id| Command::List(self.asked(asker.clone(), filter.clone())(id));
        let submitted = self.coordinator.submit_to_all(make);
        async move {
            let mut groups = Vec::new();
            for answer in all_answers(submitted).await? {
                match answer {
                    Answer::Listed(listed) => groups.extend(listed),
                    other => return Err(not_an_answer(&other)),
                }
            }
            Ok(groups)
        }
    }

    /// What groups are; an error of its own for each that cannot be told.
    pub fn describe(
        &self,
        asker: &Asker,
        groups: Vec<Str>,
    ) -> impl Future<Output = Vec<DescribedGroup>> + Send + use<> {
        let submitted = self.by_partition(asker, groups, Command::Describe);
        let take = |answer| match answer {
            Answer::Described(groups) => Ok(groups),
            other => Err(not_an_answer(&other)),
        };
        let refused = |group_id, error: ErrorCode| DescribedGroup {
            error_code: error.code(),
            group_id,
            ..Default::default()
        };
        gathered(submitted, take, refused)
    }

    /// What groups of the consumer protocol are.
    pub fn consumer_describe(
        &self,
        asker: &Asker,
        groups: Vec<Str>,
    ) -> impl Future<Output = Vec<ConsumerGroupDescribedGroup>> + Send + use<> {
        let submitted = self.by_partition(asker, groups, Command::ConsumerDescribe);
        let take = |answer| match answer {
            Answer::ConsumerDescribed(groups) => Ok(groups),
            other => Err(not_an_answer(&other)),
        };
        let refused = |group_id, error: ErrorCode| ConsumerGroupDescribedGroup {
            error_code: error.code(),
            group_id,
            ..Default::default()
        };
        gathered(submitted, take, refused)
    }

    /// Deletes groups.
    pub fn delete(
        &self,
        asker: &Asker,
        groups: Vec<Str>,
    ) -> impl Future<Output = Vec<DeletableGroupResult>> + Send + use<> {
        let submitted = self.by_partition(asker, groups, Command::Delete);
        let take = |answer| match answer {
            Answer::Deleted(results) => Ok(results),
            other => Err(not_an_answer(&other)),
        };
        let refused = |group_id, error: ErrorCode| DeletableGroupResult {
            group_id,
            error_code: error.code(),
        };
        gathered(submitted, take, refused)
    }

    fn submit(
        &self,
        group: &str,
        make: impl FnOnce(RequestId) -> Command,
    ) -> Submission<GroupMachine> {
        match check_name(group) {
            Ok(()) => self.coordinator.submit(group, make),
            Err(error) => Submission::refused(error),
        }
    }

    fn asked<R>(&self, asker: Asker, body: R) -> impl FnOnce(RequestId) -> Asked<R> + use<R> {
        let fresh = self.random.uuid();
        let Asker { client, version } = asker;
        move |request| Asked { request, client, version, fresh, body }
    }

    /// Asks the coordinator of each group, once per partition.
    fn by_partition(
        &self,
        asker: &Asker,
        groups: Vec<Str>,
        command: fn(Asked<Vec<Str>>) -> Command,
    ) -> Vec<(Vec<Str>, Submission<GroupMachine>)> {
        let mut sorted: BTreeMap<Option<PartitionId>, Vec<Str>> = BTreeMap::new();
        for group in groups {
            sorted.entry(self.partition_for(&group)).or_default().push(group);
        }
        let submit = |(partition, groups): (Option<PartitionId>, Vec<Str>)| {
            let make = self.asked(asker.clone(), groups.clone());
            let submitted = match partition {
                Some(partition) => self.coordinator.submit_to(partition, |id| command(make(id))),
                None => Submission::refused(ErrorCode::CoordinatorLoadInProgress),
            };
            (groups, submitted)
        };
        sorted.into_iter().map(submit).collect()
    }
}

/// Compact strings may be longer than Kafka takes them, and than a record's key has room for: what
/// was acknowledged to such a group would be another group's after a failover.
fn check_name(group: &str) -> Result<(), ErrorCode> {
    match group.len() > i16::MAX as usize {
        true => Err(ErrorCode::InvalidGroupId),
        false => Ok(()),
    }
}

/// One result for each group that was asked for, whoever coordinates it.
async fn gathered<T>(
    submitted: Vec<(Vec<Str>, Submission<GroupMachine>)>,
    take: impl Fn(Answer) -> Result<Vec<T>, ErrorCode>,
    refused: impl Fn(Str, ErrorCode) -> T,
) -> Vec<T> {
    let answered = submitted.into_iter().map(|(groups, it)| async move { (groups, it.await) });
    let mut results = Vec::new();
    for (groups, answer) in join_all(answered).await {
        match answer.and_then(&take) {
            Ok(told) => results.extend(told),
            Err(error) => results.extend(groups.into_iter().map(|group| refused(group, error))),
        }
    }
    results
}

fn not_an_answer(answer: &Answer) -> ErrorCode {
    tracing::error!(?answer, "a group's coordinator answered something else");
    ErrorCode::UnknownServerError
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_is_called_what_a_key_has_room_for() {
        for (length, told) in [
            (0, Ok(())),
            (32_767, Ok(())),
            (32_768, Err(ErrorCode::InvalidGroupId)),
            (100_000, Err(ErrorCode::InvalidGroupId)),
        ] {
            assert_eq!(check_name(&"g".repeat(length)), told, "{length}");
        }
    }
}
