//! A node's listener: ApiVersions, Fetch and ListOffsets, as far as fetchers need them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures::future::BoxFuture;

use crate::net::server::{Answer, Handled, RequestContext, Service};
use crate::protocol::ApiKey;
use crate::protocol::codec::{Message, Reader, Request, Writer};
use crate::protocol::header::{RequestHeader, encode_response_header};
use crate::protocol::messages::api_versions::{
    ApiVersion, ApiVersionsRequest, ApiVersionsResponse,
};
use crate::protocol::messages::fetch::{
    EpochEndOffset, FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use crate::protocol::messages::list_offsets::{
    ListOffsetsPartitionResponse, ListOffsetsRequest, ListOffsetsResponse, ListOffsetsTopicResponse,
};
use crate::replication::{
    FetchPartition, FetchSpec, FetchedPartition, Isolation, ListOffset, ListedOffset, Replicas,
};
use crate::types::{
    BrokerEpoch, ErrorCode, LeaderEpoch, NodeId, Offset, TimestampMs, TopicId, TopicPartition,
};

pub(super) struct ReplicaService(pub(super) Arc<Replicas>);

impl Service for ReplicaService {
    fn handle(
        &self,
        _context: Arc<RequestContext>,
        header: RequestHeader,
        body: Bytes,
    ) -> BoxFuture<'static, Handled> {
        let replicas = Arc::clone(&self.0);
        Box::pin(async move {
            let version = header.api_version;
            let mut reader = Reader::new(body);
            match ApiKey::from_i16(header.api_key) {
                Some(ApiKey::ApiVersions) => Handled::Now(answer(&header, &versions())),
                Some(ApiKey::Fetch) => {
                    let request = FetchRequest::decode(&mut reader, version).unwrap();
                    Handled::Later(Box::pin(async move {
                        answer(&header, &fetch(&replicas, request).await)
                    }))
                }
                Some(ApiKey::ListOffsets) => {
                    let request = ListOffsetsRequest::decode(&mut reader, version).unwrap();
                    Handled::Now(answer(&header, &list_offsets(&replicas, &request)))
                }
                other => panic!("nobody asks for {other:?}"),
            }
        })
    }
}

fn answer<M: Message>(header: &RequestHeader, response: &M) -> Answer {
    let mut writer = Writer::new();
    let api = ApiKey::from_i16(header.api_key).unwrap();
    encode_response_header(api, header.api_version, header.correlation_id, &mut writer);
    response.encode(&mut writer, header.api_version).unwrap();
    Answer::Response(writer.into_parts())
}

fn versions() -> ApiVersionsResponse {
    let row = |api: ApiKey, versions: std::ops::RangeInclusive<i16>| ApiVersion {
        api_key: api.code(),
        min_version: *versions.start(),
        max_version: *versions.end(),
    };
    ApiVersionsResponse {
        api_keys: vec![
            row(ApiVersionsRequest::API, ApiVersionsRequest::VERSIONS),
            row(FetchRequest::API, FetchRequest::VERSIONS),
            row(ListOffsetsRequest::API, ListOffsetsRequest::VERSIONS),
        ],
        ..ApiVersionsResponse::default()
    }
}

async fn fetch(replicas: &Replicas, request: FetchRequest) -> FetchResponse {
    let image = replicas.image();
    let mut partitions = Vec::new();
    for topic in &request.topics {
        let known = image.topic_by_id(TopicId(topic.topic_id));
        let name = known.map_or("?", |known| known.name.as_str());
        partitions.extend(topic.partitions.iter().map(|partition| FetchPartition {
            topic_partition: TopicPartition::new(name, partition.partition),
            topic_id: TopicId(topic.topic_id),
            fetch_offset: Offset(partition.fetch_offset),
            log_start_offset: Offset(partition.log_start_offset),
            last_fetched_epoch: LeaderEpoch(partition.last_fetched_epoch),
            current_leader_epoch: LeaderEpoch(partition.current_leader_epoch),
            max_bytes: partition.partition_max_bytes as usize,
        }));
    }
    let state = &request.replica_state;
    let wanted = partitions.clone();
    let is_replica = state.replica_id >= 0;
    let spec = FetchSpec {
        replica: is_replica.then_some((NodeId(state.replica_id), BrokerEpoch(state.replica_epoch))),
        max_wait: Duration::from_millis(request.max_wait_ms as u64),
        min_bytes: request.min_bytes as usize,
        max_bytes: request.max_bytes as usize,
        isolation: Isolation::ReadUncommitted,
        client_rack: (!is_replica).then(|| Arc::from(&*request.rack_id)),
        every_batch: request.cluster_id.is_some(),
        partitions,
    };
    let answers = replicas.fetch(spec).await;
    let answers = wanted.iter().zip(answers).map(|(wanted, fetched)| FetchableTopicResponse {
        topic_id: wanted.topic_id.0,
        partitions: vec![partition_data(wanted, fetched)],
        ..FetchableTopicResponse::default()
    });
    FetchResponse { responses: answers.collect(), ..FetchResponse::default() }
}

fn partition_data(wanted: &FetchPartition, fetched: FetchedPartition) -> PartitionData {
    let diverging_epoch = fetched.diverging_epoch.map_or_else(EpochEndOffset::default, |it| {
        EpochEndOffset { epoch: it.epoch.0, end_offset: it.end_offset.0 }
    });
    PartitionData {
        partition_index: wanted.topic_partition.partition.0,
        error_code: fetched.error.code(),
        high_watermark: fetched.high_watermark.0,
        last_stable_offset: fetched.last_stable_offset.0,
        log_start_offset: fetched.log_start_offset.0,
        diverging_epoch,
        records: Some(fetched.records),
        ..PartitionData::default()
    }
}

fn list_offsets(replicas: &Replicas, request: &ListOffsetsRequest) -> ListOffsetsResponse {
    let list = |topic: &str, index: i32, current: i32, timestamp: i64| {
        let partition = replicas.partition(&TopicPartition::new(topic, index))?;
        partition.list_offset(ListOffset {
            timestamp: TimestampMs(timestamp),
            isolation: Isolation::ReadUncommitted,
            current_leader_epoch: LeaderEpoch(current),
            is_replica: request.replica_id >= 0,
        })
    };
    let topics = request.topics.iter().map(|topic| ListOffsetsTopicResponse {
        name: topic.name.clone(),
        partitions: topic
            .partitions
            .iter()
            .map(|it| {
                let index = it.partition_index;
                let listed = list(&topic.name, index, it.current_leader_epoch, it.timestamp);
                let error = listed.err().unwrap_or(ErrorCode::None);
                let found = listed.unwrap_or(ListedOffset::NONE);
                ListOffsetsPartitionResponse {
                    partition_index: index,
                    error_code: error.code(),
                    timestamp: found.timestamp.0,
                    offset: found.offset.0,
                    leader_epoch: found.leader_epoch.0,
                }
            })
            .collect(),
    });
    ListOffsetsResponse { topics: topics.collect(), ..ListOffsetsResponse::default() }
}
