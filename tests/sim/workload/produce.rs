//! Produce requests and what their answers say.

use ottla::protocol::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use ottla::record::{BatchBuilder, RecordError};
use ottla::types::{ErrorCode, Offset, ProducerEpoch, ProducerId, TimestampMs};
use uuid::Uuid;

use super::recorder::written;
use crate::checker::history::{Acks, Value};

/// How long a leader may wait for its followers.
const TIMEOUT_MS: i32 = 1_500;

/// Records for one partition.
#[derive(Debug, Clone)]
pub struct Batch {
    pub partition: i32,
    pub values: Vec<Value>,
    /// Whose they are, and the first one's sequence number.
    pub sequence: Option<(ProducerId, ProducerEpoch, i32)>,
}

/// The number that says whose acknowledgement is waited for.
pub fn number(acks: Acks) -> i16 {
    match acks {
        Acks::Zero => 0,
        Acks::One => 1,
        Acks::All => -1,
    }
}

/// Sends the batches to the topic of that id.
pub fn request(
    topic_id: Uuid,
    acks: Acks,
    batches: &[Batch],
    now: TimestampMs,
) -> Result<ProduceRequest, RecordError> {
    let mut partition_data = Vec::new();
    for batch in batches {
        let mut builder = BatchBuilder::new(Offset::ZERO);
        if let Some((id, epoch, sequence)) = batch.sequence {
            builder = builder.producer(id, epoch, sequence);
        }
        for value in &batch.values {
            builder.push(now, None, Some(&written(*value)), &[])?;
        }
        let records = Some(builder.build()?);
        partition_data.push(PartitionProduceData { index: batch.partition, records });
    }
    let topic = TopicProduceData { topic_id, partition_data, ..Default::default() };
    let (acks, timeout_ms) = (number(acks), TIMEOUT_MS);
    Ok(ProduceRequest { acks, timeout_ms, topic_data: vec![topic], ..Default::default() })
}

/// What the answer says of the batch for one partition.
pub fn answer(response: &ProduceResponse, partition: i32) -> Result<Offset, ErrorCode> {
    let mut answers = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let Some(answer) = answers.find(|answer| answer.index == partition) else {
        return Err(ErrorCode::UnknownServerError);
    };
    match ErrorCode::from_code(answer.error_code) {
        Some(ErrorCode::None) => Ok(Offset(answer.base_offset)),
        Some(error) => Err(error),
        None => Err(ErrorCode::UnknownServerError),
    }
}

/// Whether nothing was appended: the leader refuses before it does. After most others it may have
/// been, and may stay: the leader may have been deposed while the records waited for its followers.
pub fn is_refusal(error: ErrorCode) -> bool {
    matches!(error, ErrorCode::NotEnoughReplicas | ErrorCode::OutOfOrderSequenceNumber)
}
