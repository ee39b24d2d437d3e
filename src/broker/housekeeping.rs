//! What is done now and then: segments that retention allows to go are removed.

use std::sync::Arc;
use std::time::Duration;

use crate::replication::Replicas;
use crate::types::Clock;

/// Between two rounds (`log.retention.check.interval.ms` in Kafka, with the same default).
const INTERVAL: Duration = Duration::from_secs(300);

/// Goes round for as long as the node lives.
pub(crate) async fn run(replicas: Arc<Replicas>, clock: Arc<dyn Clock>) {
    loop {
        tokio::time::sleep(INTERVAL).await;
        for partition in replicas.online() {
            let log = partition.log();
            match log.delete_old_segments(clock.wall()).await {
                Ok(0) => {}
                Ok(removed) => {
                    tracing::info!(log = %log.topic_partition(), removed, "old segments removed");
                }
                Err(error) => {
                    tracing::warn!(log = %log.topic_partition(), %error, "old segments stay");
                }
            }
        }
    }
}
