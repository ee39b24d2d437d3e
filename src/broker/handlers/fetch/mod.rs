//! Fetch (key 1), versions 4-18: consumers and followers take the same road.
//!
//! Phase one settles the fetch session (KIP-227); reading and the long poll come after it and hold
//! up nobody. Records are never null: librdkafka refuses that, an empty set is sent.
//!
//! `session` keeps the incremental sessions.

pub(crate) mod session;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;

use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::broker::handlers::leaders::Leaders;
use crate::broker::handlers::list_offsets::isolation;
use crate::metadata::MetadataSource;
use crate::protocol::codec::Str;
use crate::protocol::messages::fetch::{
    AbortedTransaction, FetchRequest, FetchResponse, FetchableTopicResponse, PartitionData,
};
use crate::replication::{FetchPartition, FetchSpec, FetchedPartition, Replicas};
use crate::types::{
    BrokerEpoch, Clock, ErrorCode, LeaderEpoch, NodeId, Offset, PartitionId, TopicId,
    TopicIdPartition, TopicName, TopicPartition,
};

use session::{Ask, Context, Sessions, Told, Wanted};

/// See the module's documentation.
pub(crate) struct Fetch {
    /// This node's replicas.
    pub replicas: Arc<Replicas>,
    /// Topic ids to names.
    pub metadata: Arc<dyn MetadataSource>,
    /// Endpoints for clients whose metadata is old.
    pub leaders: Leaders,
    /// The incremental sessions.
    pub sessions: Arc<Mutex<Sessions>>,
    /// For the age of sessions.
    pub clock: Arc<dyn Clock>,
    /// `fetch.max.bytes`: no answer is larger, but for a first batch that is.
    pub max_bytes: usize,
}

impl Handler for Fetch {
    type Request = FetchRequest;

    async fn handle(self: Arc<Self>, call: Call<FetchRequest>) -> Outcome<FetchResponse> {
        let Call { context, version, request } = call;
        let replica = replica(&request, version);
        let (wanted, unknown) = self.wanted(&request, version);
        let asked_epoch = if version >= 7 { request.session_epoch } else { session::FINAL_EPOCH };
        // A session must not begin or go on without a partition that the client believes to be in
        // it: it would never be asked for again.
        let epoch = match (unknown.is_empty(), asked_epoch) {
            (true, epoch) | (false, epoch @ session::FINAL_EPOCH) => epoch,
            (false, session::INITIAL_EPOCH) => session::FINAL_EPOCH,
            (false, _) => return Outcome::Now(refused(ErrorCode::FetchSessionTopicIdError)),
        };
        let ask = Ask {
            session_id: if version >= 7 { request.session_id } else { session::NO_SESSION },
            epoch,
            is_replica: replica.is_some(),
            wanted,
            forgotten: self.forgotten(&request, version),
        };
        let entered = self.sessions.lock().enter(ask, self.clock.monotonic());
        let (session, wanted) = match entered {
            Ok(entered) => entered,
            Err(error) => return Outcome::Now(refused(error)),
        };
        let spec = FetchSpec {
            replica,
            // A topic id that is not known yet is answered at once, so that the client can look
            // for newer metadata.
            max_wait: match unknown.is_empty() {
                true => Duration::from_millis(request.max_wait_ms.max(0).unsigned_abs().into()),
                false => Duration::ZERO,
            },
            min_bytes: usize::try_from(request.min_bytes).unwrap_or(0),
            max_bytes: usize::try_from(request.max_bytes).unwrap_or(0).min(self.max_bytes),
            isolation: isolation(request.isolation_level),
            // Before version 11 a consumer cannot name its rack, and reads from leaders only.
            client_rack: (version >= 11).then(|| Arc::from(&*request.rack_id)),
            every_batch: request.cluster_id.is_some(),
            partitions: wanted.iter().map(to_fetch).collect(),
        };
        Outcome::later(async move {
            let fetched = self.replicas.fetch(spec).await;
            let mut response = self.response(session, &wanted, fetched, unknown, version);
            self.leaders.complete_fetch(&mut response, version, &context.listener);
            response
        })
    }
}

/// The answer to a request whose session is refused.
fn refused(error: ErrorCode) -> FetchResponse {
    FetchResponse { error_code: error.code(), ..Default::default() }
}

/// Which replica asks, with the epoch that it claims; `None` for a consumer.
fn replica(request: &FetchRequest, version: i16) -> Option<(NodeId, BrokerEpoch)> {
    let (id, epoch) = match version {
        15.. => (request.replica_state.replica_id, request.replica_state.replica_epoch),
        _ => (request.replica_id, -1),
    };
    (id >= 0).then_some((NodeId(id), BrokerEpoch(epoch)))
}

fn to_fetch(wanted: &Wanted) -> FetchPartition {
    FetchPartition {
        topic_partition: wanted.place.clone(),
        topic_id: wanted.id.topic_id,
        fetch_offset: wanted.fetch_offset,
        log_start_offset: wanted.log_start_offset,
        last_fetched_epoch: wanted.last_fetched_epoch,
        current_leader_epoch: wanted.current_leader_epoch,
        max_bytes: usize::try_from(wanted.max_bytes).unwrap_or(0),
    }
}

impl Fetch {
    fn name(&self, name: &Str, id: TopicId, version: i16) -> Option<TopicName> {
        match version {
            13.. => Some(self.metadata.image().topic_by_id(id)?.name.clone()),
            _ => Some(TopicName::new(name)),
        }
    }

    /// What is asked for, and the partitions of topic ids that are not known here.
    fn wanted(&self, request: &FetchRequest, version: i16) -> (Vec<Wanted>, Vec<TopicIdPartition>) {
        let mut wanted = Vec::new();
        let mut unknown = Vec::new();
        for topic in &request.topics {
            let topic_id = TopicId(topic.topic_id);
            let name = self.name(&topic.topic, topic_id, version);
            for asked in &topic.partitions {
                let id = TopicIdPartition { topic_id, partition: PartitionId(asked.partition) };
                let Some(name) = &name else {
                    unknown.push(id);
                    continue;
                };
                wanted.push(Wanted {
                    place: TopicPartition::new(name.clone(), asked.partition),
                    id,
                    fetch_offset: Offset(asked.fetch_offset),
                    log_start_offset: Offset(asked.log_start_offset),
                    last_fetched_epoch: LeaderEpoch(asked.last_fetched_epoch),
                    current_leader_epoch: LeaderEpoch(asked.current_leader_epoch),
                    max_bytes: asked.partition_max_bytes,
                });
            }
        }
        (wanted, unknown)
    }

    fn forgotten(&self, request: &FetchRequest, version: i16) -> Vec<TopicPartition> {
        let mut places = Vec::new();
        for topic in &request.forgotten_topics_data {
            let name = self.name(&topic.topic, TopicId(topic.topic_id), version);
            let Some(name) = name else { continue };
            let named =
                topic.partitions.iter().map(|&index| TopicPartition::new(name.clone(), index));
            places.extend(named);
        }
        places
    }

    fn response(
        &self,
        session: Context,
        wanted: &[Wanted],
        fetched: Vec<FetchedPartition>,
        unknown: Vec<TopicIdPartition>,
        version: i16,
    ) -> FetchResponse {
        let mut response = FetchResponse { session_id: session.session_id(), ..Default::default() };
        for (wanted, fetched) in wanted.iter().zip(fetched) {
            if self.is_mentioned(session, wanted, &fetched) {
                let data = partition_data(wanted.place.partition, fetched);
                push(&mut response, &wanted.place.topic, wanted.id.topic_id, data, version);
            }
        }
        for id in unknown {
            let mut data = empty(id.partition);
            data.error_code = ErrorCode::UnknownTopicId.code();
            push(&mut response, &TopicName::new(""), id.topic_id, data, version);
        }
        response
    }

    fn is_mentioned(&self, session: Context, wanted: &Wanted, fetched: &FetchedPartition) -> bool {
        let told = Told {
            high_watermark: fetched.high_watermark,
            log_start_offset: fetched.log_start_offset,
        };
        let has_error = !fetched.error.is_none() || fetched.diverging_epoch.is_some();
        let has_records = !fetched.records.is_empty();
        let note =
            |id| self.sessions.lock().is_news(id, &wanted.place, told, has_records, has_error);
        match session {
            Context::Sessionless => true,
            Context::New(id) => {
                note(id);
                true
            }
            Context::Incremental(id) => note(id),
        }
    }
}

/// Puts `data` under its topic; neighbours of one topic share an entry.
fn push(
    response: &mut FetchResponse,
    topic: &TopicName,
    topic_id: TopicId,
    data: PartitionData,
    version: i16,
) {
    let by_id = version >= 13;
    let is_same = |last: &FetchableTopicResponse| match by_id {
        true => last.topic_id == topic_id.0,
        false => &*last.topic == topic.as_str(),
    };
    match response.responses.last_mut().filter(|last| is_same(last)) {
        Some(last) => last.partitions.push(data),
        None => response.responses.push(FetchableTopicResponse {
            topic: if by_id { Str::default() } else { topic.as_str().into() },
            topic_id: if by_id { topic_id.0 } else { Default::default() },
            partitions: vec![data],
        }),
    }
}

fn empty(partition: PartitionId) -> PartitionData {
    PartitionData {
        partition_index: partition.0,
        high_watermark: -1,
        last_stable_offset: -1,
        log_start_offset: -1,
        records: Some(Bytes::new()),
        preferred_read_replica: -1,
        ..Default::default()
    }
}

fn partition_data(partition: PartitionId, fetched: FetchedPartition) -> PartitionData {
    let mut data = empty(partition);
    data.error_code = fetched.error.code();
    data.high_watermark = fetched.high_watermark.0;
    data.last_stable_offset = fetched.last_stable_offset.0;
    data.log_start_offset = fetched.log_start_offset.0;
    data.records = Some(fetched.records);
    if let Some(diverging) = fetched.diverging_epoch {
        data.diverging_epoch.epoch = diverging.epoch.0;
        data.diverging_epoch.end_offset = diverging.end_offset.0;
    }
    if let Some(current) = fetched.current_leader {
        data.current_leader.leader_id = current.leader.unwrap_or(NodeId::NONE).0;
        data.current_leader.leader_epoch = current.leader_epoch.0;
    }
    data.aborted_transactions = fetched.aborted.map(|aborted| {
        let aborted = aborted.into_iter();
        aborted
            .map(|aborted| AbortedTransaction {
                producer_id: aborted.producer_id.0,
                first_offset: aborted.first_offset.0,
            })
            .collect()
    });
    data.preferred_read_replica = fetched.preferred_read_replica.unwrap_or(NodeId::NONE).0;
    data
}
