//! Groups and their members, of both protocols. A group is first asked for as one of the consumer
//! protocol (KIP-848); of those that the coordinator does not know as such it is asked as classic
//! ones.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::cli::client::cluster::Cluster;
use crate::cli::client::error::ClientFailure;
use crate::cli::client::groups::{Coordinator, PerGroup};
use crate::net::client::Connection;
use crate::protocol::consumer_protocol::{CONSUMER, ConsumerProtocolAssignment, decode_versioned};
use crate::protocol::messages::consumer_group_describe::{
    ConsumerGroupDescribeRequest, ConsumerGroupDescribedAssignment, ConsumerGroupDescribedGroup,
    ConsumerGroupDescribedMember,
};
use crate::protocol::messages::describe_groups::{
    DescribeGroupsRequest, DescribedGroup, DescribedGroupMember,
};
use crate::types::{ErrorCode, TopicPartition};

/// A group as its coordinator sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupDescription {
    /// Its id.
    pub group_id: String,
    /// Kafka's name of its state.
    pub state: String,
    /// The assignor that made its assignment; empty if there is none.
    pub assignor: String,
    /// The epoch of the group; none in the classic protocol.
    pub group_epoch: Option<i32>,
    /// The epoch of the target assignment; none in the classic protocol.
    pub assignment_epoch: Option<i32>,
    /// Its members.
    pub members: Vec<MemberDescription>,
    /// Who told.
    pub coordinator: Coordinator,
}

/// One member of a group.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MemberDescription {
    /// Its id.
    pub member_id: String,
    /// Its `group.instance.id`, if it is a static one.
    pub instance_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it was seen.
    pub host: String,
    /// What it reads.
    pub assignment: BTreeSet<TopicPartition>,
    /// What it shall read; empty in the classic protocol.
    pub target: BTreeSet<TopicPartition>,
    /// The epoch that it has come to; none in the classic protocol.
    pub epoch: Option<i32>,
    /// Whether it speaks the consumer protocol; `None` if the broker did not tell.
    pub is_upgraded: Option<bool>,
}

impl GroupDescription {
    /// Whether there is no such group: older brokers describe it as dead.
    pub fn is_dead(&self) -> bool {
        self.state == "Dead"
    }
}

impl Cluster {
    /// What the coordinators know of `groups`.
    pub async fn describe_groups(
        &self,
        groups: &[String],
    ) -> Result<PerGroup<GroupDescription>, ClientFailure> {
        self.ask_coordinators(groups.iter().cloned(), describe_at).await
    }
}

async fn describe_at(
    connection: &Connection,
    coordinator: &Coordinator,
    groups: &BTreeSet<String>,
) -> Result<PerGroup<GroupDescription>, ClientFailure> {
    let mut all = PerGroup::new();
    let mut classic = groups.clone();
    if connection.version_of::<ConsumerGroupDescribeRequest>().is_ok() {
        let request = ConsumerGroupDescribeRequest {
            group_ids: groups.iter().map(Into::into).collect(),
            ..Default::default()
        };
        for group in &connection.call(&request).await?.groups {
            let code = ErrorCode::from_code(group.error_code);
            if matches!(code, Some(ErrorCode::GroupIdNotFound | ErrorCode::UnsupportedVersion)) {
                continue;
            }
            classic.remove(group.group_id.as_str());
            let described = ClientFailure::check(group.error_code, group.error_message.as_deref())
                .map(|()| of_consumer_protocol(group, coordinator));
            all.insert(group.group_id.to_string(), described);
        }
    }
    if classic.is_empty() {
        return Ok(all);
    }
    let request = DescribeGroupsRequest {
        groups: classic.iter().map(Into::into).collect(),
        ..Default::default()
    };
    for group in &connection.call(&request).await?.groups {
        let described = ClientFailure::check(group.error_code, group.error_message.as_deref())
            .and_then(|()| of_classic_protocol(group, coordinator));
        all.insert(group.group_id.to_string(), described);
    }
    Ok(all)
}

fn of_consumer_protocol(
    group: &ConsumerGroupDescribedGroup,
    coordinator: &Coordinator,
) -> GroupDescription {
    GroupDescription {
        group_id: group.group_id.to_string(),
        state: group.group_state.to_string(),
        assignor: group.assignor_name.to_string(),
        group_epoch: Some(group.group_epoch),
        assignment_epoch: Some(group.assignment_epoch),
        members: group.members.iter().map(consumer_member).collect(),
        coordinator: coordinator.clone(),
    }
}

fn consumer_member(member: &ConsumerGroupDescribedMember) -> MemberDescription {
    MemberDescription {
        member_id: member.member_id.to_string(),
        instance_id: member.instance_id.as_deref().map(str::to_owned),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        assignment: partitions(&member.assignment),
        target: partitions(&member.target_assignment),
        epoch: Some(member.member_epoch),
        is_upgraded: match member.member_type {
            0 => Some(false),
            1 => Some(true),
            _ => None,
        },
    }
}

fn partitions(assignment: &ConsumerGroupDescribedAssignment) -> BTreeSet<TopicPartition> {
    let topics = assignment.topic_partitions.iter();
    topics
        .flat_map(|topic| {
            let name = topic.topic_name.as_str();
            topic.partitions.iter().map(move |&index| TopicPartition::new(name, index))
        })
        .collect()
}

fn of_classic_protocol(
    group: &DescribedGroup,
    coordinator: &Coordinator,
) -> Result<GroupDescription, ClientFailure> {
    let protocol = group.protocol_type.as_str();
    if !protocol.is_empty() && protocol != CONSUMER {
        let id = &group.group_id;
        return Err(ClientFailure::Group(format!("'{id}' is not a consumer group ({protocol})")));
    }
    Ok(GroupDescription {
        group_id: group.group_id.to_string(),
        state: group.group_state.to_string(),
        assignor: group.protocol_data.to_string(),
        group_epoch: None,
        assignment_epoch: None,
        members: group.members.iter().map(classic_member).collect::<Result<_, _>>()?,
        coordinator: coordinator.clone(),
    })
}

fn classic_member(member: &DescribedGroupMember) -> Result<MemberDescription, ClientFailure> {
    let assignment = assigned(&member.member_assignment).map_err(|error| {
        let id = &member.member_id;
        ClientFailure::Group(format!("the assignment of member {id} cannot be read: {error}"))
    })?;
    Ok(MemberDescription {
        member_id: member.member_id.to_string(),
        instance_id: member.group_instance_id.as_deref().map(str::to_owned),
        client_id: member.client_id.to_string(),
        host: member.client_host.to_string(),
        assignment,
        ..MemberDescription::default()
    })
}

/// The partitions in the bytes that a classic member was assigned. A member that has not been given
/// anything yet has no bytes.
pub fn assigned(bytes: &Bytes) -> Result<BTreeSet<TopicPartition>, crate::protocol::DecodeError> {
    if bytes.is_empty() {
        return Ok(BTreeSet::new());
    }
    let assignment: ConsumerProtocolAssignment = decode_versioned(bytes.clone())?;
    let topics = assignment.assigned_partitions.iter();
    Ok(topics
        .flat_map(|topic| {
            let name = topic.topic.as_str();
            topic.partitions.iter().map(move |&index| TopicPartition::new(name, index))
        })
        .collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::net::transport::HostPort;
    use crate::protocol::consumer_protocol::{ConsumerProtocolTopicPartitions, encode_versioned};
    use crate::types::NodeId;

    fn coordinator() -> Coordinator {
        Coordinator { node: NodeId(2), address: HostPort::new("b", 9092) }
    }

    fn blob(version: i16) -> Bytes {
        let topic = |name: &str, partitions: &[i32]| ConsumerProtocolTopicPartitions {
            topic: name.into(),
            partitions: partitions.to_vec(),
        };
        let assignment = ConsumerProtocolAssignment {
            assigned_partitions: vec![topic("b", &[1, 0]), topic("a", &[2])],
            user_data: None,
        };
        encode_versioned(&assignment, version).unwrap()
    }

    #[test]
    fn assignments_are_read_in_every_version() {
        let expected: BTreeSet<TopicPartition> =
            [("a", 2), ("b", 0), ("b", 1)].map(|(t, p)| TopicPartition::new(t, p)).into();
        for version in 0..=3 {
            assert_eq!(assigned(&blob(version)).unwrap(), expected, "version {version}");
        }
        // A version from the future has the known fields first.
        let mut later = blob(3).to_vec();
        later[1] = 9;
        later.push(0);
        assert_eq!(assigned(&later.into()).unwrap(), expected);
        assert_eq!(assigned(&Bytes::new()).unwrap(), BTreeSet::new());
        for cut in 1..blob(0).len() {
            assert!(assigned(&blob(0).slice(..cut)).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn classic_groups_are_told_apart_by_their_protocol_type() {
        for (protocol, is_known) in [("consumer", true), ("", true), ("connect", false)] {
            let group = DescribedGroup {
                group_id: "g".into(),
                protocol_type: protocol.into(),
                group_state: "Stable".into(),
                members: vec![DescribedGroupMember {
                    member_id: "m".into(),
                    member_assignment: blob(1),
                    ..Default::default()
                }],
                ..Default::default()
            };
            let described = of_classic_protocol(&group, &coordinator());
            assert_eq!(described.is_ok(), is_known, "{protocol}");
            if let Ok(described) = described {
                assert_eq!(described.members[0].assignment.len(), 3);
                assert_eq!(described.group_epoch, None);
            }
        }
    }

    #[test]
    fn a_member_tells_which_protocol_it_speaks() {
        for (member_type, is_upgraded) in [(-1, None), (0, Some(false)), (1, Some(true))] {
            let member = ConsumerGroupDescribedMember { member_type, ..Default::default() };
            assert_eq!(consumer_member(&member).is_upgraded, is_upgraded, "{member_type}");
        }
    }
}
