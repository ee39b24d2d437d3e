//! Committed batches from another replica, by Kafka's own Fetch, as a consumer asks who may read from
//! followers (rule 18): any in-sync replica answers, nothing beyond its high watermark is given, and
//! the leader does not take it for anybody's progress.

use std::time::Duration;

use bytes::Bytes;

use crate::net::client::{ClientError, ClientOptions, Connection};
use crate::protocol::Str;
use crate::protocol::messages::fetch::{self, FetchRequest, FetchTopic};
use crate::replication::fetcher::Way;
use crate::replication::partition::Partition;
use crate::types::{ErrorCode, LeaderEpoch, NodeId, Offset};

/// From this version on a follower answers.
const OLDEST_FETCH: i16 = 12;
/// How much is asked for at once.
const FETCH_BYTES: i32 = 1 << 20;
/// How long a replica may wait for its high watermark, which runs behind the leader's.
const WAIT: Duration = Duration::from_millis(500);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why another replica gave nothing.
#[derive(Debug, thiserror::Error)]
pub(super) enum SourceError {
    #[error("it has no address on the inter-broker listener")]
    NoAddress,
    #[error("it serves Fetch up to version {0} only")]
    TooOld(i16),
    #[error("it answers {0}")]
    Refused(ErrorCode),
    #[error("its answer is not about the partition")]
    NoAnswer,
    #[error(transparent)]
    Client(#[from] ClientError),
}

/// What another replica gave.
#[derive(Debug)]
pub(super) struct Given {
    /// Whole batches, the first of which holds the offset that was asked for or is the next.
    pub(super) records: Bytes,
    /// Everything below is committed there.
    pub(super) high_watermark: Offset,
}

/// A connection to another replica.
pub(super) struct Source {
    connection: Connection,
    version: i16,
}

impl Source {
    pub(super) async fn connect(way: &Way, node: NodeId) -> Result<Self, SourceError> {
        let address = way.address_of(node).ok_or(SourceError::NoAddress)?;
        let client = ClientOptions {
            client_id: format!("broker-{}-repair", way.node()),
            connect_timeout: PATIENCE,
            request_timeout: PATIENCE + WAIT,
            ..ClientOptions::default()
        };
        let connection = Connection::connect(way.network(), &address, client).await?;
        let version = connection.version_of::<FetchRequest>()?;
        if version < OLDEST_FETCH {
            return Err(SourceError::TooOld(version));
        }
        Ok(Self { connection, version })
    }

    /// The committed batches from `from` on, in the reign `leader_epoch`.
    pub(super) async fn fetch(
        &self,
        partition: &Partition,
        leader_epoch: LeaderEpoch,
        from: Offset,
    ) -> Result<Given, SourceError> {
        let entry = fetch::FetchPartition {
            partition: partition.topic_partition().partition.0,
            current_leader_epoch: leader_epoch.0,
            fetch_offset: from.0,
            last_fetched_epoch: LeaderEpoch::NONE.0,
            log_start_offset: Offset::UNKNOWN.0,
            partition_max_bytes: FETCH_BYTES,
            ..fetch::FetchPartition::default()
        };
        let request = FetchRequest {
            replica_id: -1,
            max_wait_ms: i32::try_from(WAIT.as_millis()).unwrap_or(i32::MAX),
            min_bytes: 1,
            max_bytes: FETCH_BYTES,
            // No consumer names a cluster: who does wants batches without records, too.
            cluster_id: Some(Str::default()),
            topics: vec![FetchTopic {
                topic: partition.topic_partition().topic.as_str().into(),
                topic_id: partition.topic_id().0,
                partitions: vec![entry],
            }],
            ..FetchRequest::default()
        };
        let response = self.connection.call_at(self.version, &request).await?;
        refuse(response.error_code)?;
        let answers = response.responses.into_iter().flat_map(|topic| topic.partitions);
        let index = partition.topic_partition().partition.0;
        let answer = answers
            .into_iter()
            .find(|answer| answer.partition_index == index)
            .ok_or(SourceError::NoAnswer)?;
        refuse(answer.error_code)?;
        Ok(Given {
            records: answer.records.unwrap_or_default(),
            high_watermark: Offset(answer.high_watermark),
        })
    }
}

fn refuse(code: i16) -> Result<(), SourceError> {
    match ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError) {
        ErrorCode::None => Ok(()),
        error => Err(SourceError::Refused(error)),
    }
}
