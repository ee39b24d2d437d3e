//! Committed offsets, read, written and deleted. Topics are named, not numbered: the versions that
//! number them (10) are left alone, as Kafka's own admin client does.

use std::collections::BTreeMap;

use crate::cli::client::cluster::Cluster;
use crate::cli::client::error::ClientFailure;
use crate::net::client::Connection;
use crate::protocol::messages::offset_commit::{
    OffsetCommitRequest, OffsetCommitRequestPartition, OffsetCommitRequestTopic,
    OffsetCommitResponse,
};
use crate::protocol::messages::offset_delete::{
    OffsetDeleteRequest, OffsetDeleteRequestPartition, OffsetDeleteRequestTopic,
};
use crate::protocol::messages::offset_fetch::{
    OffsetFetchRequest, OffsetFetchRequestGroup, OffsetFetchRequestTopic, OffsetFetchRequestTopics,
    OffsetFetchResponse,
};
use crate::types::{LeaderEpoch, Offset, TopicName, TopicPartition};

/// The last versions in which topics have names.
const NAMES: i16 = 9;
/// OffsetFetch takes groups from this version on (KIP-709).
const MANY_GROUPS: i16 = 8;
/// OffsetFetch says whether it takes offsets of open transactions from this version on (KIP-447).
const STABLE: i16 = 7;

/// How far a group has come in a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Committed {
    /// What is read next.
    pub offset: Offset,
    /// The epoch of the last record that was read; none if that was not said.
    pub leader_epoch: LeaderEpoch,
}

/// Committed offsets by partition.
pub type Offsets = BTreeMap<TopicPartition, Committed>;

/// As whom a member of a classic group commits.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Membership {
    /// The id that the coordinator gave it; empty: none yet.
    pub member_id: String,
    /// Its `group.instance.id`, if it is a static one.
    pub instance_id: Option<String>,
    /// The generation that it belongs to; -1: none.
    pub generation: i32,
}

impl Membership {
    /// Of one who is no member: tools, and consumers that assign partitions to themselves.
    pub fn outside() -> Self {
        Self { generation: -1, ..Self::default() }
    }
}

impl Cluster {
    /// What a group has committed, in all partitions.
    pub async fn committed_offsets(&self, group: &str) -> Result<Offsets, ClientFailure> {
        self.ask_coordinator(group, async |connection, _| {
            fetch_committed(connection, group, None, false).await
        })
        .await
    }

    /// Commits as one who is no member. That is refused while the group has members.
    pub async fn commit_offsets(
        &self,
        group: &str,
        offsets: &Offsets,
    ) -> Result<(), ClientFailure> {
        self.ask_coordinator(group, async |connection, _| {
            commit(connection, group, &Membership::outside(), offsets).await
        })
        .await
    }

    /// Forgets committed offsets; says for each partition whether it could be done.
    pub async fn delete_offsets(
        &self,
        group: &str,
        partitions: &[TopicPartition],
    ) -> Result<BTreeMap<TopicPartition, Result<(), ClientFailure>>, ClientFailure> {
        let request = delete_request(group, partitions);
        self.ask_coordinator(group, async |connection, _| {
            let response = connection.call(&request).await?;
            ClientFailure::check(response.error_code, None)?;
            let mut all = BTreeMap::new();
            for topic in &response.topics {
                for partition in &topic.partitions {
                    all.insert(
                        TopicPartition::new(topic.name.as_str(), partition.partition_index),
                        ClientFailure::check(partition.error_code, None),
                    );
                }
            }
            Ok(all)
        })
        .await
    }
}

/// Asks a coordinator what a group has committed in `partitions`, or in all. With
/// `require_stable`, offsets that an open transaction may replace are an error that passes.
pub async fn fetch_committed(
    connection: &Connection,
    group: &str,
    partitions: Option<&[TopicPartition]>,
    require_stable: bool,
) -> Result<Offsets, ClientFailure> {
    let version = connection.version_of::<OffsetFetchRequest>()?.min(NAMES);
    let request = fetch_request(version, group, partitions, require_stable);
    read_committed(version, &connection.call_at(version, &request).await?)
}

/// Commits to a coordinator; the first refusal is the outcome.
pub async fn commit(
    connection: &Connection,
    group: &str,
    membership: &Membership,
    offsets: &Offsets,
) -> Result<(), ClientFailure> {
    let version = connection.version_of::<OffsetCommitRequest>()?.min(NAMES);
    let request = commit_request(group, membership, offsets);
    check_commit(&connection.call_at(version, &request).await?)
}

fn by_topic<T>(
    partitions: impl IntoIterator<Item = (TopicPartition, T)>,
) -> BTreeMap<TopicName, Vec<(i32, T)>> {
    let mut topics: BTreeMap<TopicName, Vec<(i32, T)>> = BTreeMap::new();
    for (TopicPartition { topic, partition }, value) in partitions {
        topics.entry(topic).or_default().push((partition.0, value));
    }
    topics
}

fn fetch_request(
    version: i16,
    group: &str,
    partitions: Option<&[TopicPartition]>,
    require_stable: bool,
) -> OffsetFetchRequest {
    let topics = partitions.map(|all| by_topic(all.iter().cloned().map(|one| (one, ()))));
    let indexes = |partitions: Vec<(i32, ())>| partitions.into_iter().map(|(i, ())| i).collect();
    let require_stable = require_stable && version >= STABLE;
    if version < MANY_GROUPS {
        let topic = |(name, partitions): (TopicName, _)| OffsetFetchRequestTopic {
            name: name.as_str().into(),
            partition_indexes: indexes(partitions),
        };
        return OffsetFetchRequest {
            group_id: group.into(),
            topics: topics.map(|topics| topics.into_iter().map(topic).collect()),
            require_stable,
            ..Default::default()
        };
    }
    let topic = |(name, partitions): (TopicName, _)| OffsetFetchRequestTopics {
        name: name.as_str().into(),
        partition_indexes: indexes(partitions),
        ..Default::default()
    };
    OffsetFetchRequest {
        groups: vec![OffsetFetchRequestGroup {
            group_id: group.into(),
            topics: topics.map(|topics| topics.into_iter().map(topic).collect()),
            ..Default::default()
        }],
        require_stable,
        ..Default::default()
    }
}

fn read_committed(version: i16, response: &OffsetFetchResponse) -> Result<Offsets, ClientFailure> {
    let mut found = Offsets::new();
    let mut add = |topic: &str, index: i32, code: i16, offset: i64, epoch: i32| {
        ClientFailure::check(code, None)?;
        if offset >= 0 {
            let committed = Committed { offset: Offset(offset), leader_epoch: LeaderEpoch(epoch) };
            found.insert(TopicPartition::new(topic, index), committed);
        }
        Ok::<(), ClientFailure>(())
    };
    if version < MANY_GROUPS {
        ClientFailure::check(response.error_code, None)?;
        for topic in &response.topics {
            for one in &topic.partitions {
                let (offset, epoch) = (one.committed_offset, one.committed_leader_epoch);
                add(&topic.name, one.partition_index, one.error_code, offset, epoch)?;
            }
        }
    }
    for group in &response.groups {
        ClientFailure::check(group.error_code, None)?;
        for topic in &group.topics {
            for one in &topic.partitions {
                let (offset, epoch) = (one.committed_offset, one.committed_leader_epoch);
                add(&topic.name, one.partition_index, one.error_code, offset, epoch)?;
            }
        }
    }
    Ok(found)
}

fn commit_request(group: &str, membership: &Membership, offsets: &Offsets) -> OffsetCommitRequest {
    let topics =
        by_topic(offsets.iter().map(|(partition, &committed)| (partition.clone(), committed)));
    OffsetCommitRequest {
        group_id: group.into(),
        generation_id_or_member_epoch: membership.generation,
        member_id: membership.member_id.as_str().into(),
        group_instance_id: membership.instance_id.as_deref().map(Into::into),
        topics: topics
            .into_iter()
            .map(|(name, partitions)| OffsetCommitRequestTopic {
                name: name.as_str().into(),
                partitions: partitions
                    .into_iter()
                    .map(|(partition_index, committed)| OffsetCommitRequestPartition {
                        partition_index,
                        committed_offset: committed.offset.0,
                        committed_leader_epoch: committed.leader_epoch.0,
                        committed_metadata: Some("".into()),
                    })
                    .collect(),
                ..Default::default()
            })
            .collect(),
        ..Default::default()
    }
}

fn check_commit(response: &OffsetCommitResponse) -> Result<(), ClientFailure> {
    let mut partitions = response.topics.iter().flat_map(|topic| &topic.partitions);
    partitions.try_for_each(|partition| ClientFailure::check(partition.error_code, None))
}

fn delete_request(group: &str, partitions: &[TopicPartition]) -> OffsetDeleteRequest {
    let topics = by_topic(partitions.iter().cloned().map(|partition| (partition, ())));
    OffsetDeleteRequest {
        group_id: group.into(),
        topics: topics
            .into_iter()
            .map(|(name, partitions)| OffsetDeleteRequestTopic {
                name: name.as_str().into(),
                partitions: partitions
                    .into_iter()
                    .map(|(partition_index, ())| OffsetDeleteRequestPartition { partition_index })
                    .collect(),
            })
            .collect(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::protocol::messages::offset_fetch::{
        OffsetFetchResponseGroup, OffsetFetchResponsePartition, OffsetFetchResponsePartitions,
        OffsetFetchResponseTopic, OffsetFetchResponseTopics,
    };
    use crate::protocol::{Message, Writer};

    #[test]
    fn a_request_says_only_what_its_version_can() {
        let partitions = [TopicPartition::new("a", 1), TopicPartition::new("b", 0)];
        for version in 2..=NAMES {
            for asked in [None, Some(&partitions[..])] {
                let request = fetch_request(version, "g", asked, true);
                request.encode(&mut Writer::new(), version).unwrap();
            }
        }
        let offsets = Offsets::from([(
            TopicPartition::new("a", 1),
            Committed { offset: Offset(5), leader_epoch: LeaderEpoch(2) },
        )]);
        let request = commit_request("g", &Membership::outside(), &offsets);
        for version in 2..=NAMES {
            request.encode(&mut Writer::new(), version).unwrap();
        }
        delete_request("g", &partitions).encode(&mut Writer::new(), 0).unwrap();
    }

    #[test]
    fn partitions_without_an_offset_are_left_out_in_both_forms() {
        let old = |index: i32, offset: i64, error_code: i16| OffsetFetchResponsePartition {
            partition_index: index,
            committed_offset: offset,
            error_code,
            ..Default::default()
        };
        let new = |index: i32, offset: i64, error_code: i16| OffsetFetchResponsePartitions {
            partition_index: index,
            committed_offset: offset,
            error_code,
            ..Default::default()
        };
        for (code, expected) in [(0, Some(1)), (ErrorCode::UnstableOffsetCommit as i16, None)] {
            let first = OffsetFetchResponse {
                topics: vec![OffsetFetchResponseTopic {
                    name: "t".into(),
                    partitions: vec![old(0, 7, 0), old(1, -1, code)],
                }],
                ..Default::default()
            };
            let second = OffsetFetchResponse {
                groups: vec![OffsetFetchResponseGroup {
                    topics: vec![OffsetFetchResponseTopics {
                        name: "t".into(),
                        partitions: vec![new(0, 7, 0), new(1, -1, code)],
                        ..Default::default()
                    }],
                    ..Default::default()
                }],
                ..Default::default()
            };
            for (version, response) in [(7, first), (8, second)] {
                let found = read_committed(version, &response).ok();
                assert_eq!(found.as_ref().map(BTreeMap::len), expected, "version {version}");
            }
        }
    }

    use crate::types::ErrorCode;
}
