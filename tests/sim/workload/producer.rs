//! A producer without retries: each record is sent once, so that what became of it is plain.

use std::time::Duration;

use ottla::net::client::ClientError;
use ottla::protocol::messages::produce::{
    PartitionProduceData, ProduceRequest, ProduceResponse, TopicProduceData,
};
use ottla::record::BatchBuilder;
use ottla::types::{ErrorCode, Offset, TimestampMs};
use uuid::Uuid;

use super::record::{Outcome, Value, Write};
use super::{Surroundings, TOPIC};

/// Sends one record after the other until `until`.
pub async fn run(around: Surroundings, producer: u32, until: Duration) -> turmoil::Result {
    let name = format!("p{producer}");
    let random = around.random(&name);
    let mut client = around.client(&name);
    let mut number = 0;
    while around.trace.now() < until {
        tokio::time::sleep(Duration::from_micros(random.below(20_000))).await;
        let partition = i32::try_from(random.below(around.partitions.unsigned_abs().into()))?;
        let acks = if random.below(4) == 0 { 1 } else { -1 };
        let Some((topic_id, leader)) = client.leader(TOPIC, partition).await else {
            continue;
        };
        let value = Value { producer, number };
        number += 1;
        let write = Write { partition, acks, answered: Duration::MAX, outcome: Outcome::Unknown };
        around.record.lock().writes.insert(value, write);
        let now = TimestampMs(i64::try_from(around.trace.now().as_millis())?);
        let request = request(topic_id, partition, acks, value, now)?;
        let outcome = match client.ask(&leader, &request).await {
            Ok(answer) => outcome(&answer),
            Err(ClientError::Refused { .. } | ClientError::Unreachable { .. }) => Outcome::Failed,
            Err(_) => Outcome::Unknown,
        };
        if !matches!(outcome, Outcome::Acknowledged(_)) {
            client.forget(TOPIC);
        }
        if let (Outcome::Acknowledged(offset), -1) = (outcome, acks) {
            around.told.acknowledged(topic_id, partition, offset);
        }
        let mut record = around.record.lock();
        record.operations += 1;
        if let Some(write) = record.writes.get_mut(&value) {
            (write.outcome, write.answered) = (outcome, around.trace.now());
        }
        let to = format_args!("{value} to {TOPIC}-{partition} acks {acks}");
        around.trace.note(&name, format_args!("{to}: {outcome:?}"));
    }
    Ok(())
}

fn request(
    topic_id: Uuid,
    partition: i32,
    acks: i16,
    value: Value,
    now: TimestampMs,
) -> Result<ProduceRequest, Box<dyn std::error::Error>> {
    let mut batch = BatchBuilder::new(Offset::ZERO);
    batch.push(now, None, Some(&value.bytes()), &[])?;
    let data = PartitionProduceData { index: partition, records: Some(batch.build()?) };
    let topic = TopicProduceData { topic_id, partition_data: vec![data], ..Default::default() };
    Ok(ProduceRequest { acks, timeout_ms: 1_500, topic_data: vec![topic], ..Default::default() })
}

/// What the answer says of the only record.
fn outcome(answer: &ProduceResponse) -> Outcome {
    let answers = answer.responses.iter().flat_map(|topic| &topic.partition_responses);
    let Some(answer) = answers.last() else { return Outcome::Unknown };
    match ErrorCode::from_code(answer.error_code) {
        Some(ErrorCode::None) => Outcome::Acknowledged(answer.base_offset),
        // Appended, and perhaps kept.
        Some(ErrorCode::RequestTimedOut | ErrorCode::NotEnoughReplicasAfterAppend) | None => {
            Outcome::Unknown
        }
        // The leader may have been deposed while the record waited for its followers.
        Some(_) => Outcome::Unknown,
    }
}
