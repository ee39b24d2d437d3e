//! Dropping the oldest records of partitions: each leader is asked for its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::cli::client::cluster::Cluster;
use crate::cli::client::error::ClientFailure;
use crate::protocol::messages::delete_records::{
    DeleteRecordsPartition, DeleteRecordsRequest, DeleteRecordsResponse, DeleteRecordsTopic,
};
use crate::types::{ErrorCode, Offset, TopicName, TopicPartition};

/// How long a partition that nobody leads may take to get a leader, or to be there at all.
const LEADER_PATIENCE: Duration = Duration::from_secs(2);

/// What became of each partition: its low watermark, or why it has none.
pub type Deleted = BTreeMap<TopicPartition, Result<Offset, ClientFailure>>;

impl Cluster {
    /// Drops what lies below the offsets (-1: below the high watermark), on all replicas that are
    /// up.
    ///
    /// # Errors
    /// The leaders cannot be found out.
    pub async fn delete_records(
        &self,
        offsets: &BTreeMap<TopicPartition, Offset>,
    ) -> Result<Deleted, ClientFailure> {
        let mut pending: BTreeSet<TopicPartition> = offsets.keys().cloned().collect();
        let mut outcomes = Deleted::new();
        let start = self.clock().monotonic();
        loop {
            let (by_leader, missing) = self.by_leader(&pending).await?;
            for partition in &missing {
                let code = ErrorCode::UnknownTopicOrPartition;
                let failure = ClientFailure::Refused { code, message: None };
                outcomes.insert(partition.clone(), Err(failure));
            }
            for (leader, asked) in by_leader {
                let asked: Vec<TopicPartition> = asked.into_iter().map(|(name, _)| name).collect();
                let request = request(&asked, offsets, self.request_timeout_ms());
                let answer = async { Ok(self.broker(leader).await?.call(&request).await?) };
                outcomes.extend(told(asked, answer.await));
            }
            let waited = self.clock().monotonic().since(start);
            pending.retain(|partition| match outcomes.get(partition) {
                Some(Err(failure)) => {
                    let patience = self.options().api_timeout;
                    let is_missing = missing.contains(partition);
                    let patience =
                        if is_missing { patience.min(LEADER_PATIENCE) } else { patience };
                    failure.is_retriable() && waited < patience
                }
                Some(Ok(_)) => false,
                None => true,
            });
            if pending.is_empty() {
                return Ok(outcomes);
            }
            tokio::time::sleep(self.options().retry_backoff).await;
        }
    }
}

fn request(
    asked: &[TopicPartition],
    offsets: &BTreeMap<TopicPartition, Offset>,
    timeout_ms: i32,
) -> DeleteRecordsRequest {
    let mut topics: BTreeMap<&TopicName, Vec<DeleteRecordsPartition>> = BTreeMap::new();
    for name in asked {
        topics.entry(&name.topic).or_default().push(DeleteRecordsPartition {
            partition_index: name.partition.0,
            offset: offsets.get(name).copied().unwrap_or(Offset::ZERO).0,
        });
    }
    let topic = |(name, partitions): (&TopicName, _)| DeleteRecordsTopic {
        name: name.as_str().into(),
        partitions,
    };
    DeleteRecordsRequest { topics: topics.into_iter().map(topic).collect(), timeout_ms }
}

/// What an answer, or its absence, says of the partitions that were asked for.
fn told(
    asked: Vec<TopicPartition>,
    answer: Result<DeleteRecordsResponse, ClientFailure>,
) -> Deleted {
    let response = match answer {
        Ok(response) => response,
        Err(failure) => {
            let reason = failure.to_string();
            let is_retriable = failure.is_retriable();
            let failed = move |name| {
                let code = if is_retriable {
                    ErrorCode::NetworkException
                } else {
                    ErrorCode::UnknownServerError
                };
                let message = Some(reason.clone());
                (name, Err(ClientFailure::Refused { code, message }))
            };
            return asked.into_iter().map(failed).collect();
        }
    };
    let mut outcomes = Deleted::new();
    for topic in &response.topics {
        for partition in &topic.partitions {
            let name = TopicPartition::new(&*topic.name, partition.partition_index);
            let outcome = ClientFailure::check(partition.error_code, None)
                .map(|()| Offset(partition.low_watermark));
            outcomes.insert(name, outcome);
        }
    }
    for name in asked {
        let missing = || Err(ClientFailure::Unsupported("an answer for every partition"));
        outcomes.entry(name).or_insert_with(missing);
    }
    outcomes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::protocol::messages::delete_records::{
        DeleteRecordsPartitionResult, DeleteRecordsTopicResult,
    };

    #[test]
    fn every_partition_that_was_asked_for_has_an_outcome() {
        let asked: Vec<TopicPartition> = (0..3).map(|i| TopicPartition::new("t", i)).collect();
        let offsets = asked.iter().cloned().map(|name| (name, Offset(5))).collect();
        let request = request(&asked, &offsets, 100);
        assert_eq!((request.topics.len(), request.topics[0].partitions.len()), (1, 3));
        assert_eq!(request.topics[0].partitions[2].offset, 5);

        let result = |partition_index, error: ErrorCode| DeleteRecordsPartitionResult {
            partition_index,
            low_watermark: 5,
            error_code: error.code(),
        };
        let partitions = vec![result(0, ErrorCode::None), result(1, ErrorCode::OffsetOutOfRange)];
        let topic = DeleteRecordsTopicResult { name: "t".into(), partitions };
        let response = DeleteRecordsResponse { topics: vec![topic], ..Default::default() };
        let outcomes = told(asked.clone(), Ok(response));
        assert!(matches!(outcomes[&asked[0]], Ok(Offset(5))));
        let code = outcomes[&asked[1]].as_ref().unwrap_err().code();
        assert_eq!(code, Some(ErrorCode::OffsetOutOfRange));
        assert!(outcomes[&asked[2]].is_err(), "nothing was told of it");

        let broken = told(asked, Err(ClientFailure::Unreachable { reasons: "gone".to_owned() }));
        assert_eq!(broken.len(), 3);
        assert!(broken.values().all(|outcome| outcome.as_ref().unwrap_err().is_retriable()));
    }
}
