//! Dropping the oldest records of many partitions at once, and waiting until their followers have
//! done the same (KIP-107).

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;

use super::fetch::Entered;
use super::partition::Partition;
use super::replicas::Replicas;
use super::waiters::{Interest, Waiter};
use crate::types::{ErrorCode, Offset, TopicPartition};

/// How many log starts are moved at a time: enough to share syncs of the catalog.
const AT_A_TIME: usize = 64;

/// A deletion that the leader has made and the followers may still have to make.
#[derive(Debug, Clone)]
pub struct Deletion {
    partition: Arc<Partition>,
    /// The leader's log begins here or behind it.
    offset: Offset,
    /// The low watermark when the leader had made it.
    low_watermark: Offset,
}

impl Deletion {
    /// The low watermark, once it is not below the offset; or why that will not be told.
    fn outcome(&self) -> Option<Result<Offset, ErrorCode>> {
        match self.partition.low_watermark() {
            Ok(low_watermark) if low_watermark < self.offset => None,
            told => Some(told),
        }
    }

    /// The low watermark when the leader had made it.
    pub fn first_low_watermark(&self) -> Offset {
        self.low_watermark
    }
}

impl Replicas {
    /// Moves the log starts of partitions that this node leads, in the order given; -1 stands for
    /// the high watermark. Followers are not waited for.
    pub async fn delete_records(
        &self,
        asked: Vec<(TopicPartition, Offset)>,
    ) -> Vec<Result<Deletion, ErrorCode>> {
        let deletions = asked.into_iter().map(|(name, offset)| async move {
            let partition = self.partition(&name)?;
            let offset = partition.delete_records(offset).await?;
            let low_watermark = partition.low_watermark()?;
            Ok(Deletion { partition, offset, low_watermark })
        });
        futures::stream::iter(deletions).buffered(AT_A_TIME).collect().await
    }

    /// Waits until every replica that is up has made its part of each deletion; the low
    /// watermarks then, in the order given. REQUEST_TIMED_OUT where one has not by then. May be
    /// dropped at any time.
    pub async fn wait_deleted(
        &self,
        deletions: &[Deletion],
        timeout: Duration,
    ) -> Vec<Result<Offset, ErrorCode>> {
        let mut outcomes: Vec<_> = deletions.iter().map(Deletion::outcome).collect();
        if outcomes.iter().any(Option::is_none) {
            let waiting = wait_for_all(deletions, &mut outcomes);
            // Those that are still open have timed out.
            tokio::time::timeout(timeout, waiting).await.unwrap_or_default();
        }
        let timed_out = Err(ErrorCode::RequestTimedOut);
        outcomes.into_iter().map(|outcome| outcome.unwrap_or(timed_out)).collect()
    }
}

async fn wait_for_all(deletions: &[Deletion], outcomes: &mut [Option<Result<Offset, ErrorCode>>]) {
    let waiter = Arc::new(Waiter::default());
    let open: Vec<usize> =
        (0..deletions.len()).filter(|&index| outcomes[index].is_none()).collect();
    let partitions = open.iter().map(|&index| (index, &deletions[index].partition));
    let _entered = Entered::enter(&waiter, Interest::LowWatermark, partitions);
    // What moved before the waiter was entered woke nobody.
    let mut moved = open;
    loop {
        for index in moved {
            if outcomes[index].is_none() {
                outcomes[index] = deletions[index].outcome();
            }
        }
        if outcomes.iter().all(Option::is_some) {
            return;
        }
        moved = waiter.moved().await;
    }
}
