//! Puts proposed changes of ISRs to the controller, and has lagging members looked for.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::stream::FuturesUnordered;

use super::leader::IsrProposal;
use super::options::{AlterIsr, IsrChange};
use super::partition::Partition;
use crate::types::ErrorCode;

/// The pause before the same change is put again; doubled each time up to [`PAUSE_MAX`].
const PAUSE_MIN: Duration = Duration::from_millis(50);
const PAUSE_MAX: Duration = Duration::from_millis(1_000);

/// How long one attempt may take before it counts as lost.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(10);

/// Puts one change until its fate is known or it no longer matters.
pub(super) async fn put(
    partition: Arc<Partition>,
    proposal: IsrProposal,
    controller: Arc<dyn AlterIsr>,
) {
    let mut pause = PAUSE_MIN;
    loop {
        let change = IsrChange {
            topic: partition.topic_partition().topic.clone(),
            topic_id: partition.topic_id(),
            partition: partition.topic_partition().partition,
            leader_epoch: proposal.leader_epoch,
            partition_epoch: proposal.partition_epoch,
            isr: proposal.isr.clone(),
        };
        let answer = tokio::time::timeout(ATTEMPT_TIMEOUT, controller.alter_partition(change))
            .await
            .unwrap_or(Err(ErrorCode::RequestTimedOut));
        tracing::debug!(
            partition = %partition.topic_partition(),
            proposed = ?proposal.isr,
            ?answer,
            "put an ISR change to the controller"
        );
        if !partition.isr_answered(&proposal, answer) {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// The changes under way: at most one per partition.
#[derive(Default)]
pub(super) struct UnderWay {
    changes: FuturesUnordered<futures::future::BoxFuture<'static, ()>>,
}

impl UnderWay {
    pub(super) fn put(
        &mut self,
        partition: Arc<Partition>,
        proposal: IsrProposal,
        controller: Arc<dyn AlterIsr>,
    ) {
        self.changes.push(Box::pin(put(partition, proposal, controller)));
    }

    /// Drives the changes; waits for ever if there are none. May be dropped.
    pub(super) async fn drive(&mut self) {
        if self.changes.next().await.is_none() {
            futures::future::pending::<()>().await;
        }
    }
}
