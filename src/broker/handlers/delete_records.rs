//! DeleteRecords (key 21), versions 0-2 (KIP-107).
//!
//! The leader moves its log start in the order of the connection's requests; the answer waits
//! until every replica that is up has done the same, or the timeout is over.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::handlers::dispatch::{Call, Handler, Outcome};
use crate::metadata::topic_name;
use crate::protocol::messages::delete_records::{
    DeleteRecordsPartitionResult, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteRecordsTopicResult,
};
use crate::replication::{Deletion, Replicas};
use crate::types::{ErrorCode, Offset, TopicPartition};

/// See the module's documentation.
pub(crate) struct DeleteRecords {
    /// This node's replicas.
    pub replicas: Arc<Replicas>,
}

/// A deletion that is waited for, and where its answer goes.
type Waiting = (Deletion, (usize, usize));

impl Handler for DeleteRecords {
    type Request = DeleteRecordsRequest;

    async fn handle(
        self: Arc<Self>,
        call: Call<DeleteRecordsRequest>,
    ) -> Outcome<DeleteRecordsResponse> {
        let timeout = Duration::from_millis(call.request.timeout_ms.max(0).unsigned_abs().into());
        let (mut response, asked) = prepared(call.request);
        let (places, asked): (Vec<_>, Vec<_>) = asked.into_iter().unzip();
        let made = self.replicas.delete_records(asked).await;
        let mut waiting: Vec<Waiting> = Vec::new();
        for (place, made) in places.into_iter().zip(made) {
            match made {
                Ok(deletion) => waiting.push((deletion, place)),
                Err(error) => result_at(&mut response, place).error_code = error.code(),
            }
        }
        if waiting.is_empty() {
            return Outcome::Now(response);
        }
        Outcome::later(async move {
            let (deletions, places): (Vec<_>, Vec<_>) = waiting.into_iter().unzip();
            let outcomes = self.replicas.wait_deleted(&deletions, timeout).await;
            for ((outcome, place), deletion) in outcomes.into_iter().zip(places).zip(&deletions) {
                let result = result_at(&mut response, place);
                match outcome {
                    Ok(low_watermark) => result.low_watermark = low_watermark.0,
                    Err(error) => {
                        result.error_code = error.code();
                        result.low_watermark = deletion.first_low_watermark().0;
                    }
                }
            }
            response
        })
    }
}

/// One partition that is asked for, with the place of its answer.
type Asked = ((usize, usize), (TopicPartition, Offset));

/// The response with a place for every partition, and what is to be done; partitions of internal
/// topics are refused.
fn prepared(request: DeleteRecordsRequest) -> (DeleteRecordsResponse, Vec<Asked>) {
    let mut response = DeleteRecordsResponse::default();
    let mut asked = Vec::new();
    for (topic_place, topic) in request.topics.into_iter().enumerate() {
        let is_internal = topic_name::is_internal(&topic.name);
        let mut partitions = Vec::with_capacity(topic.partitions.len());
        for (place, partition) in topic.partitions.into_iter().enumerate() {
            let index = partition.partition_index;
            let refusal =
                if is_internal { ErrorCode::InvalidTopicException } else { ErrorCode::None };
            partitions.push(DeleteRecordsPartitionResult {
                partition_index: index,
                low_watermark: -1,
                error_code: refusal.code(),
            });
            if !is_internal {
                let name = TopicPartition::new(&*topic.name, index);
                asked.push(((topic_place, place), (name, Offset(partition.offset))));
            }
        }
        response.topics.push(DeleteRecordsTopicResult { name: topic.name, partitions });
    }
    (response, asked)
}

fn result_at(
    response: &mut DeleteRecordsResponse,
    (topic, partition): (usize, usize),
) -> &mut DeleteRecordsPartitionResult {
    &mut response.topics[topic].partitions[partition]
}
