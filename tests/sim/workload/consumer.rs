//! A consumer of one partition, from its start on.

use std::time::Duration;

use ottla::protocol::messages::fetch::{FetchPartition, FetchRequest, FetchTopic};
use ottla::record::batches;
use ottla::types::ErrorCode;

use super::record::Value;
use super::{Surroundings, TOPIC};

/// Reads until `until`, each record once.
pub async fn run(
    around: Surroundings,
    consumer: u32,
    partition: i32,
    until: Duration,
) -> turmoil::Result {
    let name = format!("r{consumer}");
    let mut client = around.client(&name);
    let mut offset = 0;
    while around.trace.now() < until {
        let Some((topic_id, leader)) = client.leader(TOPIC, partition).await else {
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let wanted = FetchPartition {
            partition,
            fetch_offset: offset,
            partition_max_bytes: 4_096,
            ..Default::default()
        };
        let topic = FetchTopic { topic_id, partitions: vec![wanted], ..Default::default() };
        let request = FetchRequest {
            max_wait_ms: 200,
            min_bytes: 1,
            topics: vec![topic],
            ..Default::default()
        };
        let answer = client.ask(&leader, &request).await;
        around.record.lock().operations += 1;
        let read = answer.ok().and_then(|answer| {
            let mut found = answer.responses.into_iter().flat_map(|topic| topic.partitions);
            found.next()
        });
        let Some(read) = read.filter(|read| read.error_code == ErrorCode::None.code()) else {
            client.forget(TOPIC);
            tokio::time::sleep(Duration::from_millis(20)).await;
            continue;
        };
        for batch in batches(&read.records.unwrap_or_default()) {
            let batch = batch?;
            batch.verify_crc()?;
            for record in batch.records()? {
                if record.offset.0 < offset || batch.header.is_control() {
                    continue;
                }
                let value = record.value.as_deref().and_then(Value::read);
                let value = value.ok_or("a record that nobody wrote")?;
                around.told.read(topic_id, partition, record.offset.0);
                let mut all = around.record.lock();
                all.reads.entry((consumer, partition)).or_default().push((record.offset.0, value));
            }
            offset = offset.max(batch.header.next_offset().0);
        }
    }
    Ok(())
}
