//! One member's side of the classic group protocol: it joins, the leader assigns, all get their
//! part; then it shows that it is alive until it is told to join again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::cli::client::cluster::Cluster;
use crate::cli::client::consumer::group::range::{self, RANGE, Subscriber};
use crate::cli::client::consumer::group::settings::GroupOptions;
use crate::cli::client::error::ClientFailure;
use crate::cli::client::groups::Coordinator;
use crate::cli::client::groups::describe::assigned;
use crate::cli::client::groups::offsets::Membership;
use crate::net::client::Connection;
use crate::protocol::consumer_protocol::{
    CONSUMER, ConsumerProtocolAssignment, ConsumerProtocolSubscription,
    ConsumerProtocolTopicPartitions, decode_versioned, encode_versioned,
};
use crate::protocol::messages::join_group::{
    JoinGroupRequest, JoinGroupRequestProtocol, JoinGroupResponse, JoinGroupResponseMember,
};
use crate::protocol::messages::leave_group::{LeaveGroupRequest, MemberIdentity};
use crate::protocol::messages::sync_group::{SyncGroupRequest, SyncGroupRequestAssignment};
use crate::types::{ErrorCode, TopicName, TopicPartition};

/// In which version a subscription is written: the first that all clients know.
const SUBSCRIPTION_VERSION: i16 = 1;
/// In which version an assignment is written.
const ASSIGNMENT_VERSION: i16 = 0;
/// How much longer than its rebalance a JoinGroup may take, as in Kafka's clients.
const JOIN_GRACE: Duration = Duration::from_secs(5);
/// LeaveGroup names members in a list from this version on (KIP-345).
const LEAVES_IN_LISTS: i16 = 3;
/// After how long without a coordinator the user is told.
const SILENCE: Duration = Duration::from_secs(10);

/// What a member does when the group's coordinator refuses it or is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reaction {
    /// Asks again, after a while.
    Wait,
    /// Asks who the coordinator is, after a while.
    FindCoordinator,
    /// Joins as who it is.
    Rejoin,
    /// Joins as who it is, without what it had.
    RejoinEmpty,
    /// Joins as someone new.
    RejoinAnew,
    /// Tells its user.
    GiveUp,
}

impl Reaction {
    pub(super) fn to(failure: &ClientFailure) -> Self {
        match failure.code() {
            Some(ErrorCode::CoordinatorLoadInProgress | ErrorCode::UnstableOffsetCommit) => {
                Reaction::Wait
            }
            Some(ErrorCode::MemberIdRequired | ErrorCode::RebalanceInProgress) => Reaction::Rejoin,
            Some(ErrorCode::IllegalGeneration) => Reaction::RejoinEmpty,
            Some(ErrorCode::UnknownMemberId) => Reaction::RejoinAnew,
            Some(_) | None if failure.is_retriable() => Reaction::FindCoordinator,
            Some(_) | None => Reaction::GiveUp,
        }
    }
}

/// A member, or one who wants to become one.
#[derive(Debug)]
pub(super) struct Member {
    cluster: Arc<Cluster>,
    options: GroupOptions,
    /// Who it is; no generation, no member.
    pub(super) membership: Membership,
    coordinator: Option<Coordinator>,
    /// A connection on which an answer may take as long as a rebalance.
    patient: Option<Arc<Connection>>,
    /// How many partitions the topics had of which it made the assignment, if it leads.
    pub(super) led: Option<BTreeMap<TopicName, usize>>,
}

impl Member {
    pub(super) fn new(cluster: Arc<Cluster>, options: GroupOptions) -> Self {
        let membership =
            Membership { instance_id: options.instance_id.clone(), ..Membership::outside() };
        Self { cluster, options, membership, coordinator: None, patient: None, led: None }
    }

    /// Who coordinates the group.
    pub(super) async fn coordinator(&mut self) -> Result<Coordinator, ClientFailure> {
        if let Some(known) = &self.coordinator {
            return Ok(known.clone());
        }
        let group = &self.options.group_id;
        let mut found = self.cluster.find_coordinators(&BTreeSet::from([group.clone()])).await?;
        let missing = Err(ClientFailure::Unsupported("finding this group's coordinator"));
        let coordinator = found.remove(group).unwrap_or(missing)?;
        self.coordinator = Some(coordinator.clone());
        Ok(coordinator)
    }

    /// A connection to the coordinator.
    pub(super) async fn connection(&mut self) -> Result<Arc<Connection>, ClientFailure> {
        let coordinator = self.coordinator().await?;
        self.cluster.coordinator_connection(&coordinator).await
    }

    /// Does what a failure calls for, other than joining; gives the failure back if that is all
    /// that is left.
    pub(super) async fn react(&mut self, failure: ClientFailure) -> Result<(), ClientFailure> {
        match Reaction::to(&failure) {
            Reaction::GiveUp => return Err(failure),
            Reaction::Rejoin => {}
            Reaction::RejoinEmpty => self.membership.generation = Membership::outside().generation,
            Reaction::RejoinAnew => self.forget_membership(),
            Reaction::FindCoordinator => {
                self.coordinator = None;
                self.patient = None;
                tokio::time::sleep(self.cluster.options().retry_backoff).await;
            }
            Reaction::Wait => tokio::time::sleep(self.cluster.options().retry_backoff).await,
        }
        Ok(())
    }

    /// From now on it is no member.
    pub(super) fn forget_membership(&mut self) {
        let instance_id = self.options.instance_id.clone();
        self.membership = Membership { instance_id, ..Membership::outside() };
    }

    /// Joins until it is in a generation, and gives what it was assigned there.
    pub(super) async fn join(
        &mut self,
        topics: &BTreeSet<TopicName>,
    ) -> Result<BTreeSet<TopicPartition>, ClientFailure> {
        let start = self.cluster.clock().monotonic();
        let mut is_told = false;
        loop {
            let failure = match self.attempt(topics).await {
                Ok(assignment) => return Ok(assignment),
                Err(failure) => failure,
            };
            let waited = self.cluster.clock().monotonic().since(start);
            if Reaction::to(&failure) == Reaction::FindCoordinator && waited >= SILENCE && !is_told
            {
                let group = &self.options.group_id;
                eprintln!("WARN group '{group}' has no coordinator yet: {failure}");
                is_told = true;
            }
            self.react(failure).await?;
        }
    }

    /// Joins and gets an assignment once.
    async fn attempt(
        &mut self,
        topics: &BTreeSet<TopicName>,
    ) -> Result<BTreeSet<TopicPartition>, ClientFailure> {
        let connection = self.patient_connection().await?;
        let joined = connection.call(&self.join_request(topics)?).await?;
        let code = joined.error_code;
        if ErrorCode::from_code(code) == Some(ErrorCode::MemberIdRequired) {
            self.membership.member_id = joined.member_id.to_string();
        }
        ClientFailure::check(code, None)?;
        self.membership.member_id = joined.member_id.to_string();
        self.membership.generation = joined.generation_id;
        let assignments = self.lead(&joined).await?;
        let synced = connection.call(&self.sync_request(assignments)).await?;
        ClientFailure::check(synced.error_code, None)?;
        assigned(&synced.assignment)
            .map_err(|error| ClientFailure::Group(format!("cannot read the assignment: {error}")))
    }

    async fn patient_connection(&mut self) -> Result<Arc<Connection>, ClientFailure> {
        if let Some(open) = self.patient.as_ref().filter(|open| !open.is_closed()) {
            return Ok(open.clone());
        }
        let coordinator = self.coordinator().await?;
        let limit = self.options.max_poll_interval + JOIN_GRACE;
        let limit = limit.max(self.cluster.options().request_timeout);
        let connection = self.cluster.dial_for(&coordinator.address, limit).await?;
        self.patient = Some(connection.clone());
        Ok(connection)
    }

    fn join_request(
        &self,
        topics: &BTreeSet<TopicName>,
    ) -> Result<JoinGroupRequest, ClientFailure> {
        let subscription = ConsumerProtocolSubscription {
            topics: topics.iter().map(|topic| topic.as_str().into()).collect(),
            ..Default::default()
        };
        let metadata = encode_versioned(&subscription, SUBSCRIPTION_VERSION)
            .map_err(|error| ClientFailure::Group(error.to_string()))?;
        Ok(JoinGroupRequest {
            group_id: self.options.group_id.as_str().into(),
            session_timeout_ms: millis(self.options.session_timeout),
            rebalance_timeout_ms: millis(self.options.max_poll_interval),
            member_id: self.membership.member_id.as_str().into(),
            group_instance_id: self.membership.instance_id.as_deref().map(Into::into),
            protocol_type: CONSUMER.into(),
            protocols: vec![JoinGroupRequestProtocol { name: RANGE.into(), metadata }],
            reason: None,
        })
    }

    fn sync_request(&self, assignments: Vec<SyncGroupRequestAssignment>) -> SyncGroupRequest {
        SyncGroupRequest {
            group_id: self.options.group_id.as_str().into(),
            generation_id: self.membership.generation,
            member_id: self.membership.member_id.as_str().into(),
            group_instance_id: self.membership.instance_id.as_deref().map(Into::into),
            protocol_type: Some(CONSUMER.into()),
            protocol_name: Some(RANGE.into()),
            assignments,
        }
    }

    /// Makes the assignment if this member leads. A static leader that came back is told to leave
    /// the assignment as it is.
    async fn lead(
        &mut self,
        joined: &JoinGroupResponse,
    ) -> Result<Vec<SyncGroupRequestAssignment>, ClientFailure> {
        self.led = None;
        if joined.leader != joined.member_id || joined.skip_assignment {
            return Ok(Vec::new());
        }
        let members: Vec<Subscriber> = joined.members.iter().map(subscriber).collect();
        let topics: BTreeSet<TopicName> =
            members.iter().flat_map(|member| &member.topics).cloned().collect();
        let counts = partition_counts(&self.cluster, &topics).await?;
        let assignment = range::assign(&members, &counts);
        self.led = Some(counts);
        assignment
            .into_iter()
            .map(|(member_id, partitions)| {
                let assignment = encode_assignment(&partitions)?;
                Ok(SyncGroupRequestAssignment { member_id: member_id.into(), assignment })
            })
            .collect()
    }

    /// Says goodbye, so that the others need not wait for this member's silence. A static member
    /// keeps its place (KIP-345).
    pub(super) async fn leave(&mut self) -> Result<(), ClientFailure> {
        if self.membership.member_id.is_empty() || self.membership.instance_id.is_some() {
            return Ok(());
        }
        let connection = self.connection().await?;
        let is_list = connection.version_of::<LeaveGroupRequest>()? >= LEAVES_IN_LISTS;
        let request = leave_request(&self.options, &self.membership, is_list);
        self.forget_membership();
        ClientFailure::check(connection.call(&request).await?.error_code, None)
    }
}

pub(super) fn leave_request(
    options: &GroupOptions,
    membership: &Membership,
    is_list: bool,
) -> LeaveGroupRequest {
    let member_id = membership.member_id.as_str().into();
    let group_id = options.group_id.as_str().into();
    if !is_list {
        return LeaveGroupRequest { group_id, member_id, ..Default::default() };
    }
    let reason = Some("the consumer is being closed".into());
    let members = vec![MemberIdentity { member_id, group_instance_id: None, reason }];
    LeaveGroupRequest { group_id, members, ..Default::default() }
}

/// How many partitions each topic has; topics that do not exist have none.
pub(super) async fn partition_counts(
    cluster: &Cluster,
    topics: &BTreeSet<TopicName>,
) -> Result<BTreeMap<TopicName, usize>, ClientFailure> {
    let list: Vec<TopicName> = topics.iter().cloned().collect();
    let metadata = cluster.refresh(Some(&list), false).await?;
    let count =
        |topic: &TopicName| metadata.topics.get(topic).map_or(0, |one| one.partitions.len());
    Ok(list.into_iter().map(|topic| (topic.clone(), count(&topic))).collect())
}

/// A member whose subscription cannot be read gets nothing.
fn subscriber(member: &JoinGroupResponseMember) -> Subscriber {
    let subscription = decode_versioned::<ConsumerProtocolSubscription>(member.metadata.clone())
        .unwrap_or_default();
    Subscriber {
        member_id: member.member_id.to_string(),
        instance_id: member.group_instance_id.as_deref().map(str::to_owned),
        topics: subscription.topics.iter().map(|topic| TopicName::new(topic)).collect(),
    }
}

fn encode_assignment(partitions: &BTreeSet<TopicPartition>) -> Result<Bytes, ClientFailure> {
    let mut topics: BTreeMap<&TopicName, Vec<i32>> = BTreeMap::new();
    for TopicPartition { topic, partition } in partitions {
        topics.entry(topic).or_default().push(partition.0);
    }
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: topics
            .into_iter()
            .map(|(topic, partitions)| ConsumerProtocolTopicPartitions {
                topic: topic.as_str().into(),
                partitions,
            })
            .collect(),
        user_data: None,
    };
    encode_versioned(&assignment, ASSIGNMENT_VERSION)
        .map_err(|error| ClientFailure::Group(error.to_string()))
}

fn millis(duration: Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::protocol::{Message, Writer};

    #[test]
    fn each_refusal_has_its_reaction() {
        for (code, reaction) in [
            (ErrorCode::CoordinatorLoadInProgress, Reaction::Wait),
            (ErrorCode::UnstableOffsetCommit, Reaction::Wait),
            (ErrorCode::NotCoordinator, Reaction::FindCoordinator),
            (ErrorCode::CoordinatorNotAvailable, Reaction::FindCoordinator),
            (ErrorCode::RequestTimedOut, Reaction::FindCoordinator),
            (ErrorCode::RebalanceInProgress, Reaction::Rejoin),
            (ErrorCode::MemberIdRequired, Reaction::Rejoin),
            (ErrorCode::IllegalGeneration, Reaction::RejoinEmpty),
            (ErrorCode::UnknownMemberId, Reaction::RejoinAnew),
            (ErrorCode::FencedInstanceId, Reaction::GiveUp),
            (ErrorCode::InvalidGroupId, Reaction::GiveUp),
            (ErrorCode::InvalidSessionTimeout, Reaction::GiveUp),
            (ErrorCode::InconsistentGroupProtocol, Reaction::GiveUp),
            (ErrorCode::GroupMaxSizeReached, Reaction::GiveUp),
            (ErrorCode::GroupAuthorizationFailed, Reaction::GiveUp),
        ] {
            let refused = ClientFailure::Refused { code, message: None };
            assert_eq!(Reaction::to(&refused), reaction, "{code:?}");
        }
        let gone = ClientFailure::UnknownBroker(crate::types::NodeId(1));
        assert_eq!(Reaction::to(&gone), Reaction::FindCoordinator);
        assert_eq!(Reaction::to(&ClientFailure::UnknownCode(999)), Reaction::GiveUp);
    }

    #[test]
    fn what_the_leader_writes_the_others_read() {
        for all in [&[][..], &[("a", 0)], &[("a", 0), ("a", 2), ("b", 1)]] {
            let partitions: BTreeSet<TopicPartition> =
                all.iter().map(|&(topic, index)| TopicPartition::new(topic, index)).collect();
            let bytes = encode_assignment(&partitions).unwrap();
            assert_eq!(assigned(&bytes).unwrap(), partitions);
        }
    }

    #[test]
    fn a_subscription_that_cannot_be_read_asks_for_nothing() {
        let member = |metadata: Bytes| JoinGroupResponseMember {
            member_id: "m".into(),
            metadata,
            ..Default::default()
        };
        let subscription = ConsumerProtocolSubscription {
            topics: vec!["b".into(), "a".into()],
            ..Default::default()
        };
        for version in 0..=3 {
            let bytes = encode_versioned(&subscription, version).unwrap();
            let topics = subscriber(&member(bytes)).topics;
            assert_eq!(topics, ["a", "b"].map(TopicName::new).into(), "version {version}");
        }
        assert!(subscriber(&member(Bytes::from_static(b"x"))).topics.is_empty());
    }

    #[test]
    fn goodbye_is_said_in_every_version() {
        let properties = crate::cli::properties::Properties::default();
        let options = GroupOptions::from_properties("g", &properties).unwrap();
        let membership = Membership { member_id: "m".to_owned(), ..Membership::outside() };
        for version in 0..=5 {
            let request = leave_request(&options, &membership, version >= LEAVES_IN_LISTS);
            request.encode(&mut Writer::new(), version).unwrap();
        }
    }
}
