//! Produce (key 0), versions 3-13; 0-2 are advertised, because librdkafka before 2.8 stops
//! compressing where the minimum is higher (KAFKA-18659), and refused with UNSUPPORTED_VERSION.
//!
//! Phase one appends every partition's batch, so that a connection's pipelined requests reach the
//! log in their order; small ones of different connections share a write. With acks=all the answer then waits for the high watermark (rule 9).
//! With acks=0 nothing is answered; an error closes the connection, which is the only way such a
//! producer learns that its metadata is old.
//!
//! Only Kafka's own administrative client, which is known by its client id, may write to internal topics.
//!
//! Deviation: transactional batches are refused, as transactions are not served yet.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::group_history::ADMIN_CLIENT;
use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::broker::handlers::leaders::Leaders;
use crate::metadata::{MetadataSource, topic_name};
use crate::protocol::Request;
use crate::protocol::codec::Str;
use crate::protocol::messages::produce::{
    BatchIndexAndErrorMessage, PartitionProduceData, PartitionProduceResponse, ProduceRequest,
    ProduceResponse, TopicProduceData, TopicProduceResponse,
};
use crate::replication::{Partition, ProduceError, Produced, Replicas};
use crate::types::{ErrorCode, TimestampMs, TopicName, TopicPartition};

/// See the module's documentation.
pub(crate) struct Produce {
    /// This node's replicas.
    pub replicas: Arc<Replicas>,
    /// Who leads what, for the answer to a client whose metadata is old.
    pub leaders: Leaders,
    /// Topic ids to names.
    pub metadata: Arc<dyn MetadataSource>,
}

/// What a request says for all its partitions.
#[derive(Debug, Clone, Copy)]
struct Asked {
    acks: i16,
    version: i16,
    is_admin: bool,
    /// It is for one partition, and may wait a moment for others' batches to be written with.
    is_single: bool,
}

/// An append, and where its answer stands in the response.
struct Waiting {
    topic: usize,
    partition: usize,
    appended: (Arc<Partition>, Produced),
}

impl Handler for Produce {
    type Request = ProduceRequest;

    async fn handle(self: Arc<Self>, call: Call<ProduceRequest>) -> Outcome<ProduceResponse> {
        let Call { context, version, request } = call;
        let acks = request.acks;
        if version < *ProduceRequest::VERSIONS.start() {
            return match acks {
                0 => Outcome::Close(format!("a produce with acks=0 of version {version}")),
                _ => Outcome::Now(unsupported(request)),
            };
        }
        let timeout = Duration::from_millis(request.timeout_ms.max(0).unsigned_abs().into());
        let asked = Asked {
            acks,
            version,
            is_admin: context.client_id.as_deref() == Some(ADMIN_CLIENT),
            is_single: request.topic_data.iter().map(|it| it.partition_data.len()).sum::<usize>()
                == 1,
        };
        let mut waiting = Vec::new();
        let mut response = ProduceResponse::default();
        for topic in request.topic_data {
            let index = response.responses.len();
            response.responses.push(self.append_topic(topic, index, asked, &mut waiting).await);
        }
        if acks == 0 {
            return match first_error(&response) {
                None => Outcome::Silence,
                Some(error) => Outcome::Close(format!("a produce with acks=0 failed: {error}")),
            };
        }
        let is_settled = |waiting: &Waiting| {
            let (partition, produced) = &waiting.appended;
            partition.committed(produced) == Some(Ok(()))
        };
        if waiting.iter().all(is_settled) {
            self.leaders.complete_produce(&mut response, version, &context.listener);
            return Outcome::Now(response);
        }
        Outcome::later(async move {
            self.await_acknowledgement(&mut response, waiting, timeout).await;
            self.leaders.complete_produce(&mut response, version, &context.listener);
            response
        })
    }
}

impl Produce {
    async fn append_topic(
        &self,
        topic: TopicProduceData,
        topic_index: usize,
        asked: Asked,
        waiting: &mut Vec<Waiting>,
    ) -> TopicProduceResponse {
        let version = asked.version;
        let image = self.metadata.image();
        let (name, unknown) = if version >= 13 {
            match image.topic_by_id(topic.topic_id.into()) {
                Some(found) => (Some(found.name.clone()), ErrorCode::UnknownTopicId),
                None => (None, ErrorCode::UnknownTopicId),
            }
        } else {
            (Some(TopicName::new(&topic.name)), ErrorCode::UnknownTopicOrPartition)
        };
        let mut response = TopicProduceResponse {
            name: if version >= 13 { Str::default() } else { topic.name.clone() },
            topic_id: topic.topic_id,
            ..Default::default()
        };
        for data in topic.partition_data {
            let index = data.index;
            let outcome = match &name {
                Some(name) => self.append(name, data, asked).await,
                None => Err(unknown.into()),
            };
            let answer = match outcome {
                Ok(appended) => {
                    let answer = succeeded(index, &appended.1);
                    let partition = response.partition_responses.len();
                    waiting.push(Waiting { topic: topic_index, partition, appended });
                    answer
                }
                Err(error) => failed(index, error),
            };
            response.partition_responses.push(answer);
        }
        response
    }

    async fn append(
        &self,
        topic: &TopicName,
        data: PartitionProduceData,
        asked: Asked,
    ) -> Result<(Arc<Partition>, Produced), ProduceError> {
        if !matches!(asked.acks, -1..=1) {
            return Err(ErrorCode::InvalidRequiredAcks.into());
        }
        if topic_name::is_internal(topic) && !asked.is_admin {
            return Err(ErrorCode::InvalidTopicException.into());
        }
        let place = TopicPartition::new(topic.clone(), data.index);
        let partition = self.replicas.partition(&place)?;
        let records = data.records.unwrap_or_default();
        let produced = if asked.is_single {
            partition.produce_together(records, asked.acks).await?
        } else {
            partition.produce(records, asked.acks)?
        };
        Ok((partition, produced))
    }

    async fn await_acknowledgement(
        &self,
        response: &mut ProduceResponse,
        waiting: Vec<Waiting>,
        timeout: Duration,
    ) {
        let (places, appended): (Vec<_>, Vec<_>) =
            waiting.into_iter().map(|w| ((w.topic, w.partition), w.appended)).unzip();
        let results = self.replicas.wait_committed(appended, timeout).await;
        for ((topic, partition), result) in places.into_iter().zip(results) {
            if let Err(error) = result {
                let answer = &mut response.responses[topic].partition_responses[partition];
                *answer = failed(answer.index, error.into());
            }
        }
    }
}

/// The answer to versions 0-2, whose records may be in a format older than batches.
fn unsupported(request: ProduceRequest) -> ProduceResponse {
    let refused =
        |data: &PartitionProduceData| failed(data.index, ErrorCode::UnsupportedVersion.into());
    let topics = request.topic_data.into_iter().map(|topic| TopicProduceResponse {
        partition_responses: topic.partition_data.iter().map(refused).collect(),
        name: topic.name,
        ..Default::default()
    });
    ProduceResponse { responses: topics.collect(), ..Default::default() }
}

fn first_error(response: &ProduceResponse) -> Option<ErrorCode> {
    let answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    answers
        .map(|answer| answer.error_code)
        .find(|&code| code != ErrorCode::None.code())
        .map(|code| ErrorCode::from_code(code).unwrap_or(ErrorCode::UnknownServerError))
}

fn succeeded(index: i32, produced: &Produced) -> PartitionProduceResponse {
    PartitionProduceResponse {
        index,
        error_code: ErrorCode::None.code(),
        base_offset: produced.base_offset.0,
        log_append_time_ms: produced.log_append_time.unwrap_or(TimestampMs::NONE).0,
        log_start_offset: produced.log_start_offset.0,
        ..Default::default()
    }
}

fn failed(index: i32, error: ProduceError) -> PartitionProduceResponse {
    let record_errors = error.record_errors.into_iter().map(|(batch_index, message)| {
        BatchIndexAndErrorMessage { batch_index, batch_index_error_message: Some(message.into()) }
    });
    PartitionProduceResponse {
        index,
        error_code: error.code.code(),
        base_offset: -1,
        log_append_time_ms: -1,
        log_start_offset: -1,
        record_errors: record_errors.collect(),
        error_message: Some(error.message.into()),
        ..Default::default()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use bytes::Bytes;

    use crate::protocol::{Message, Writer};

    /// Versions 0-2 have one form of request; the response grows by the throttle time (1) and the
    /// append time (2).
    #[test]
    fn versions_before_batches_are_refused_partition_by_partition() {
        #[rustfmt::skip]
        let request: &[u8] = &[
            0, 1,                         // acks
            0, 0, 0x75, 0x30,             // timeout
            0, 0, 0, 1,                   // one topic
            0, 1, b't',                   // its name
            0, 0, 0, 2,                   // two partitions
            0, 0, 0, 0,                   // index
            0, 0, 0, 3, 1, 2, 3,          // three bytes of records
            0, 0, 0, 5,                   // index
            0xff, 0xff, 0xff, 0xff,       // no records
        ];
        let minus_one = [0xff; 8];
        for version in 0..3 {
            let request = ProduceRequest::decode_all(Bytes::from_static(request), version).unwrap();
            assert_eq!((request.acks, request.timeout_ms), (1, 30_000));
            let mut expected = vec![0, 0, 0, 1, 0, 1, b't', 0, 0, 0, 2];
            for index in [0, 5] {
                expected.extend([0, 0, 0, index, 0, 35]); // UNSUPPORTED_VERSION
                expected.extend(minus_one); // base offset
                if version >= 2 {
                    expected.extend(minus_one); // append time
                }
            }
            if version >= 1 {
                expected.extend([0, 0, 0, 0]); // throttle time
            }
            let mut writer = Writer::new();
            unsupported(request).encode(&mut writer, version).unwrap();
            assert_eq!(writer.into_bytes(), expected, "version {version}");
        }
    }
}
