//! Damaged segments are mended by themselves, from whichever in-sync replica has what is missing.
//!
//! - `source`: asking another replica for committed batches
//! - `segment`: the mending of one segment
//! - `outcome`: what is told of it
//!
//! A follower asks the leader first, a leader its in-sync followers: the committed part of all their
//! logs is the same, so leadership need not move. One segment of this node is mended at a time. What
//! cannot be mended stays known, is not served, and is tried again.

mod outcome;
mod segment;
mod source;

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{FuturesUnordered, StreamExt};

use super::fetcher::Way;
use super::partition::Partition;
use super::replicas::Replicas;
use crate::types::{NodeId, Offset};

pub use outcome::{MendOutcome, SegmentMend};

/// How often it is looked even if nothing is reported: what was known to be damaged when the node
/// started becomes a replica only later.
const LOOK_EVERY: Duration = Duration::from_secs(60);
/// When what could not be mended is tried again, doubled each time: a checkpoint may be all that it
/// waits for, but each attempt reads the segment.
const AGAIN_MIN: Duration = Duration::from_millis(500);
const AGAIN_MAX: Duration = Duration::from_secs(900);

/// Mends the segments of one node.
pub(super) struct Repairer {
    way: Arc<Way>,
    turn: tokio::sync::Mutex<()>,
}

impl Repairer {
    pub(super) fn new(way: Arc<Way>) -> Self {
        Self { way, turn: tokio::sync::Mutex::new(()) }
    }

    /// Verifies the segments of a partition that are known or feared to be damaged, and mends them.
    pub(super) async fn mend(&self, partition: &Arc<Partition>) -> Vec<SegmentMend> {
        let _turn = self.turn.lock().await;
        let mut mends = Vec::new();
        for base in partition.log().segments_to_mend() {
            let outcome = self.mend_segment(partition, base).await;
            outcome.tell(partition.topic_partition(), base);
            mends.push(SegmentMend { segment: base, outcome });
        }
        mends
    }

    /// Whom to ask, best first.
    fn sources(&self, partition: &Partition) -> Vec<NodeId> {
        let image = self.way.image();
        let Some(registered) = image.partition(partition.topic_partition()) else {
            return Vec::new();
        };
        let leader = registered.leader;
        let mut nodes: Vec<NodeId> = leader.into_iter().collect();
        nodes.extend(registered.isr.iter().filter(|node| Some(**node) != leader));
        nodes.retain(|node| {
            *node != self.way.node() && image.broker(*node).is_some_and(|broker| broker.is_active())
        });
        nodes
    }
}

impl Replicas {
    /// Verifies the segments of a partition that are known or feared to be damaged, and mends them
    /// from other replicas; what became of each.
    pub async fn mend(&self, partition: &Arc<Partition>) -> Vec<SegmentMend> {
        self.repairer().mend(partition).await
    }

    /// Mends what readers and verifications report, until it is dropped.
    pub(super) async fn mend_what_is_reported(self: Arc<Self>) {
        let mut notices: Vec<_> =
            self.directories().iter().map(|directory| directory.watch_damage()).collect();
        let mut again = AGAIN_MIN;
        loop {
            for notice in &mut notices {
                notice.borrow_and_update();
            }
            let (pause, next) = match self.mend_all().await {
                true => (LOOK_EVERY, AGAIN_MIN),
                false => (again, again.saturating_mul(2).min(AGAIN_MAX)),
            };
            again = next;
            let mut reported: FuturesUnordered<_> =
                notices.iter_mut().map(|notice| notice.changed()).collect();
            tokio::select! {
                biased;
                _ = reported.next(), if !reported.is_empty() => again = AGAIN_MIN,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Mends what there is to mend; whether nothing is left.
    async fn mend_all(&self) -> bool {
        let mut is_all_sound = true;
        for partition in self.online() {
            if partition.log().segments_to_mend().is_empty() {
                continue;
            }
            for mend in self.mend(&partition).await {
                is_all_sound &= mend.outcome.is_sound();
            }
        }
        is_all_sound
    }
}

/// A range of offsets, for people.
fn range(from: Offset, to: Offset) -> String {
    format!("offsets {from} to {}", to.plus(-1))
}
