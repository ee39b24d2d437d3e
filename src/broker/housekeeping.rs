//! What is done now and then: segments that retention allows to go are removed.

use std::sync::Arc;
use std::time::Duration;

use crate::broker::config::{BrokerConfig, LiveConfig};
use crate::replication::Replicas;
use crate::types::Clock;

/// As good as never.
const LONGEST_PAUSE: Duration = Duration::from_secs(365 * 24 * 3600);

/// Goes round for as long as the node lives, for the first time after `log.initial.task.delay.ms`.
pub(crate) async fn run(replicas: Arc<Replicas>, clock: Arc<dyn Clock>, live: LiveConfig) {
    pause(&live, |config| config.initial_task_delay).await;
    loop {
        apply_retention(&replicas, &*clock).await;
        pause(&live, |config| config.retention_check_interval).await;
    }
}

/// Sleeps for as long as the configuration says, also where it changes meanwhile.
async fn pause(live: &LiveConfig, length: impl Fn(&BrokerConfig) -> Duration) {
    let mut changes = live.subscribe();
    let first = length(&live.current()).min(LONGEST_PAUSE);
    let pause = tokio::time::sleep(first);
    tokio::pin!(pause);
    let begin = pause.deadline() - first;
    loop {
        tokio::select! {
            biased;
            () = &mut pause => return,
            Ok(()) = changes.changed() => {
                pause.as_mut().reset(begin + length(&live.current()).min(LONGEST_PAUSE));
            }
        }
    }
}

async fn apply_retention(replicas: &Replicas, clock: &dyn Clock) {
    for partition in replicas.online() {
        let name = partition.topic_partition();
        match partition.apply_retention(clock.wall()).await {
            Ok(0) => {}
            Ok(removed) => tracing::info!(log = %name, removed, "old segments removed"),
            Err(error) => tracing::warn!(log = %name, %error, "old segments stay"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::broker::tests::world::CONFIG;
    use crate::metadata::{ConfigResource, Image, MetadataRecord};

    fn config(interval_ms: u64) -> Arc<BrokerConfig> {
        let interval = ("log.retention.check.interval.ms".to_owned(), interval_ms.to_string());
        Arc::new(BrokerConfig::load(CONFIG, &[interval], |_| None).unwrap())
    }

    fn image_with_interval(interval_ms: &str) -> Image {
        let mut image = Image::default();
        let record = MetadataRecord::Config {
            resource: ConfigResource::DefaultBroker,
            key: "log.retention.check.interval.ms".to_owned(),
            value: Some(interval_ms.to_owned()),
        };
        let offset = image.offset().plus(1);
        image.apply_entry([&record], offset).unwrap();
        image
    }

    #[tokio::test(start_paused = true)]
    async fn a_shorter_interval_holds_for_the_pause_that_has_begun() {
        let live = LiveConfig::new(config(600_000));
        let whole = tokio::time::sleep(Duration::from_secs(7));
        let end = whole.deadline();
        let pausing = pause(&live, |config| config.retention_check_interval);
        let changing = async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            live.at(&image_with_interval("7000"));
        };
        tokio::join!(pausing, changing);
        let now = tokio::time::sleep(Duration::ZERO).deadline();
        assert_eq!(now - end, Duration::ZERO);
    }
}
