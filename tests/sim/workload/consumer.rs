//! A consumer of one partition, from its start on.

use std::time::Duration;

use bytes::Bytes;
use ottla::net::HostPort;
use ottla::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic, PartitionData};
use ottla::protocol::messages::list_offsets::{
    ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic,
};
use ottla::record::{RecordError, batches};
use ottla::types::{ErrorCode, Offset};
use uuid::Uuid;

use super::recorder::read;
use super::{Surroundings, TOPIC};
use crate::checker::history::{Action, Log, Outcome, Polled, Process, Value};
use crate::client::Client;

/// What stands in ListOffsets for the start of the log.
const EARLIEST: i64 = -2;

struct Consumer {
    process: Process,
    around: Surroundings,
    client: Client,
    partition: i32,
    offset: Offset,
}

/// Reads until `until`, each record once.
pub async fn run(
    around: Surroundings,
    number: u32,
    partition: i32,
    until: Duration,
) -> turmoil::Result {
    let name = format!("r{number}");
    let (process, client) = (around.recorder.process(&name), around.client(&name));
    let mut consumer = Consumer { process, client, partition, offset: Offset::ZERO, around };
    let mut assigned = false;
    while consumer.around.trace.now() < until {
        let Some((topic_id, leader)) = consumer.client.leader(TOPIC, partition).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        if !std::mem::replace(&mut assigned, true) {
            let logs = [consumer.around.recorder.log(topic_id, partition)].into();
            consumer.note(Action::Assign { logs, subscribed: false });
        }
        consumer.poll(topic_id, &leader).await?;
    }
    Ok(())
}

impl Consumer {
    async fn poll(&mut self, topic_id: Uuid, leader: &HostPort) -> turmoil::Result {
        let log = self.around.recorder.log(topic_id, self.partition);
        let (committed, outcome) = (false, Outcome::Unknown);
        let place = self.around.recorder.begin(self.process, Action::Poll { committed, outcome });
        let answer = self.client.ask(leader, &self.fetch(topic_id)).await;
        let fetched = answer.ok().and_then(|answer| {
            answer.responses.into_iter().flat_map(|topic| topic.partitions).next()
        });
        match fetched.map(|fetched| (ErrorCode::from_code(fetched.error_code), fetched)) {
            Some((Some(ErrorCode::None), fetched)) => {
                let polled = self.take(log, fetched)?;
                if polled.records.is_empty() {
                    return Ok(());
                }
                if let Some((last, _)) = polled.records.last() {
                    self.around.told.read(topic_id, self.partition, last.0);
                }
                self.around.recorder.answered();
                self.around.recorder.end(place, |action| {
                    if let Action::Poll { outcome, .. } = action {
                        *outcome = Outcome::Acknowledged(vec![polled]);
                    }
                });
            }
            Some((Some(ErrorCode::OffsetOutOfRange), _)) => self.reset(log, leader).await,
            _ => {
                self.client.forget(TOPIC);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        Ok(())
    }

    fn fetch(&self, topic_id: Uuid) -> FetchRequest {
        let wanted = FetchPartition {
            partition: self.partition,
            fetch_offset: self.offset.0,
            partition_max_bytes: 4_096,
            ..Default::default()
        };
        let topic = FetchTopic { topic_id, partitions: vec![wanted], ..Default::default() };
        FetchRequest { max_wait_ms: 200, min_bytes: 1, topics: vec![topic], ..Default::default() }
    }

    /// The records that come next.
    fn take(&mut self, log: Log, fetched: PartitionData) -> Result<Polled, RecordError> {
        let from = self.offset;
        let (records, next) = records(&fetched.records.unwrap_or_default(), from)?;
        self.offset = next;
        Ok(Polled { log, from, records })
    }

    /// Goes on where the log begins now.
    async fn reset(&mut self, log: Log, leader: &HostPort) {
        let partition = ListOffsetsPartition {
            partition_index: self.partition,
            timestamp: EARLIEST,
            ..Default::default()
        };
        let topic = ListOffsetsTopic { name: TOPIC.into(), partitions: vec![partition] };
        let request = ListOffsetsRequest {
            replica_id: -1,
            topics: vec![topic],
            timeout_ms: 1_000,
            ..Default::default()
        };
        let Ok(answer) = self.client.ask(leader, &request).await else { return };
        let mut found = answer.topics.into_iter().flat_map(|topic| topic.partitions);
        if let Some(found) = found.next().filter(|found| found.error_code == 0) {
            self.offset = Offset(found.offset);
            self.note(Action::Seek { log, to: self.offset });
        } else {
            self.client.forget(TOPIC);
        }
    }

    fn note(&self, action: Action) {
        let place = self.around.recorder.begin(self.process, action);
        self.around.recorder.end(place, |_| {});
    }
}

/// The records from `from` on, and where to go on.
pub fn records(bytes: &Bytes, from: Offset) -> Result<(Vec<(Offset, Value)>, Offset), RecordError> {
    let (mut records, mut next) = (Vec::new(), from);
    for batch in batches(bytes) {
        let batch = batch?;
        batch.verify_crc()?;
        for record in batch.records()? {
            if record.offset < from || batch.header.is_control() {
                continue;
            }
            let value = record.value.as_deref().and_then(read);
            let value = value.ok_or(RecordError::Invalid("a record that nobody wrote"))?;
            records.push((record.offset, value));
        }
        next = next.max(batch.header.next_offset());
    }
    Ok((records, next))
}
