//! Where logs begin and end, and which offset belongs to a time: many partitions at once, each
//! leader asked for its own.

use std::collections::{BTreeMap, BTreeSet};

use crate::cli::client::cluster::Cluster;
use crate::cli::client::error::ClientFailure;
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopic,
};
use crate::types::{
    ErrorCode, LeaderEpoch, NodeId, Offset, TimestampMs, TopicName, TopicPartition,
};

/// Which offset of a log is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LogPoint {
    /// That of the first record there is.
    Start,
    /// One past the last record that is committed.
    End,
    /// That of the first record that is not older.
    At(TimestampMs),
}

impl LogPoint {
    /// The number on the wire.
    fn code(self) -> i64 {
        match self {
            LogPoint::Start => -2,
            LogPoint::End => -1,
            LogPoint::At(timestamp) => timestamp.0.max(0),
        }
    }
}

/// The partitions that each leader is asked for.
pub(super) type ByLeader = BTreeMap<NodeId, Vec<(TopicPartition, LeaderEpoch)>>;

impl Cluster {
    /// The offsets of `partitions` at `point`. A partition that does not exist, has no leader, or
    /// has no record that young, is left out.
    pub async fn log_offsets(
        &self,
        partitions: &BTreeSet<TopicPartition>,
        point: LogPoint,
        is_read_committed: bool,
    ) -> Result<BTreeMap<TopicPartition, Offset>, ClientFailure> {
        let mut pending = partitions.clone();
        let mut found = BTreeMap::new();
        let start = self.clock().monotonic();
        while !pending.is_empty() {
            let mut failure = None;
            let (by_leader, missing) = self.by_leader(&pending).await?;
            pending.retain(|partition| !missing.contains(partition));
            for (leader, asked) in by_leader {
                let request = request(&asked, point, is_read_committed);
                let answer = async { Ok(self.broker(leader).await?.call(&request).await?) };
                match answer.await {
                    Ok(response) => {
                        failure = settle(&response, &mut pending, &mut found)?.or(failure);
                    }
                    Err(error) if ClientFailure::is_retriable(&error) => failure = Some(error),
                    Err(error) => return Err(error),
                }
            }
            if pending.is_empty() {
                break;
            }
            let failure =
                failure.unwrap_or(ClientFailure::Unsupported("an answer for every partition"));
            if !failure.is_retriable() {
                return Err(failure);
            }
            if self.clock().monotonic().since(start) >= self.options().api_timeout {
                return Err(failure);
            }
            tokio::time::sleep(self.options().retry_backoff).await;
        }
        Ok(found)
    }

    /// Who leads each of `partitions` now, and those that nobody leads.
    pub(super) async fn by_leader(
        &self,
        partitions: &BTreeSet<TopicPartition>,
    ) -> Result<(ByLeader, Vec<TopicPartition>), ClientFailure> {
        let topics: BTreeSet<TopicName> =
            partitions.iter().map(|partition| partition.topic.clone()).collect();
        let topics: Vec<TopicName> = topics.into_iter().collect();
        self.retry("the partitions' leaders", || self.refresh(Some(&topics), false)).await?;
        let mut by_leader = ByLeader::new();
        let mut missing = Vec::new();
        for partition in partitions {
            let known = self.partition(&partition.topic, partition.partition);
            match known.and_then(|known| Some((known.leader?, known.leader_epoch))) {
                Some((leader, epoch)) => {
                    by_leader.entry(leader).or_default().push((partition.clone(), epoch));
                }
                None => missing.push(partition.clone()),
            }
        }
        Ok((by_leader, missing))
    }
}

fn request(
    partitions: &[(TopicPartition, LeaderEpoch)],
    point: LogPoint,
    is_read_committed: bool,
) -> ListOffsetsRequest {
    let mut topics: BTreeMap<&TopicName, Vec<ListOffsetsPartition>> = BTreeMap::new();
    for (TopicPartition { topic, partition }, epoch) in partitions {
        topics.entry(topic).or_default().push(ListOffsetsPartition {
            partition_index: partition.0,
            current_leader_epoch: epoch.0,
            timestamp: point.code(),
        });
    }
    ListOffsetsRequest {
        replica_id: NodeId::NONE.0,
        isolation_level: i8::from(is_read_committed),
        topics: topics
            .into_iter()
            .map(|(topic, partitions)| ListOffsetsTopic { name: topic.as_str().into(), partitions })
            .collect(),
        ..Default::default()
    }
}

/// Takes an answer over; gives what must be asked again for, if anything must.
fn settle(
    response: &ListOffsetsResponse,
    pending: &mut BTreeSet<TopicPartition>,
    found: &mut BTreeMap<TopicPartition, Offset>,
) -> Result<Option<ClientFailure>, ClientFailure> {
    let mut again = None;
    for topic in &response.topics {
        for partition in &topic.partitions {
            let name = TopicPartition::new(topic.name.as_str(), partition.partition_index);
            match ClientFailure::check(partition.error_code, None) {
                Ok(()) => {
                    pending.remove(&name);
                    if partition.offset >= 0 {
                        found.insert(name, Offset(partition.offset));
                    }
                }
                Err(failure) if failure.is_retriable() => again = Some(failure),
                Err(ClientFailure::Refused { code, .. }) => return Err(refused(&name, code)),
                Err(failure) => return Err(failure),
            }
        }
    }
    Ok(again)
}

fn refused(partition: &TopicPartition, code: ErrorCode) -> ClientFailure {
    let reason = code.message().trim_end_matches('.');
    let message = Some(format!("cannot ask for the offsets of {partition}: {reason}"));
    ClientFailure::Refused { code, message }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::protocol::messages::list_offsets::{
        ListOffsetsPartitionResponse, ListOffsetsTopicResponse,
    };

    #[test]
    fn an_answer_settles_what_it_can() {
        let answer = |code: ErrorCode, offset: i64| ListOffsetsResponse {
            topics: vec![ListOffsetsTopicResponse {
                name: "t".into(),
                partitions: vec![ListOffsetsPartitionResponse {
                    error_code: code as i16,
                    offset,
                    ..Default::default()
                }],
            }],
            ..Default::default()
        };
        let partition = TopicPartition::new("t", 0);
        for (code, offset, is_settled, expected) in [
            (ErrorCode::None, 5, true, Some(Offset(5))),
            // No record is that young.
            (ErrorCode::None, -1, true, None),
            (ErrorCode::NotLeaderOrFollower, -1, false, None),
        ] {
            let mut pending = BTreeSet::from([partition.clone()]);
            let mut found = BTreeMap::new();
            let again = settle(&answer(code, offset), &mut pending, &mut found).unwrap();
            assert_eq!(again.is_none(), is_settled, "{code:?}");
            assert_eq!(pending.is_empty(), is_settled, "{code:?}");
            assert_eq!(found.get(&partition).copied(), expected, "{code:?}");
        }
        let denied = answer(ErrorCode::TopicAuthorizationFailed, -1);
        let mut pending = BTreeSet::from([partition]);
        let failure = settle(&denied, &mut pending, &mut BTreeMap::new()).unwrap_err();
        assert!(failure.to_string().contains("t-0"), "{failure}");
    }
}
