//! Leaders whose connections have broken under a fetch of ours and whom nobody here has reached
//! since. That is no proof of death, and who leads is the controller's to say; but until it has
//! said so a client that asks who leads is better told "nobody yet", upon which it soon asks again,
//! than sent back to a process that is most likely dead: librdkafka asks no more than once a second
//! after that.

use std::collections::BTreeMap;
use std::time::Duration;

use parking_lot::Mutex;

use crate::types::{BrokerEpoch, Monotonic, NodeId};

/// If the controller has not deposed a broker by then, others reach it although this node does not.
const AT_MOST: Duration = Duration::from_secs(3);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Suspects {
    since: Mutex<BTreeMap<NodeId, (BrokerEpoch, Monotonic)>>,
}

impl Suspects {
    /// A connection to that incarnation has ended, or it refuses one.
    pub(super) fn suspect(&self, node: NodeId, broker_epoch: BrokerEpoch, now: Monotonic) {
        let mut since = self.since.lock();
        let entry = since.entry(node).or_insert((broker_epoch, now));
        if entry.0 != broker_epoch {
            *entry = (broker_epoch, now);
        }
    }

    /// It has answered.
    pub(super) fn clear(&self, node: NodeId) {
        self.since.lock().remove(&node);
    }

    /// Whether that incarnation is probably dead.
    pub(super) fn has(&self, node: NodeId, broker_epoch: BrokerEpoch, now: Monotonic) -> bool {
        let since = self.since.lock();
        since.get(&node).is_some_and(|(suspected, since)| {
            *suspected == broker_epoch && now.since(*since) < AT_MOST
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_suspicion_ends_with_an_answer_another_incarnation_or_time() {
        let (node, epoch) = (NodeId(1), BrokerEpoch(7));
        let at = |ms| Monotonic(Duration::from_millis(ms));
        let suspects = Suspects::default();
        assert!(!suspects.has(node, epoch, at(0)));
        suspects.suspect(node, epoch, at(0));
        suspects.suspect(node, epoch, at(2_900));
        assert!(suspects.has(node, epoch, at(2_900)));
        assert!(!suspects.has(NodeId(2), epoch, at(0)));
        assert!(!suspects.has(node, BrokerEpoch(8), at(0)), "its successor");
        assert!(!suspects.has(node, epoch, at(3_000)), "repeated failures do not prolong it");
        suspects.suspect(node, BrokerEpoch(8), at(3_000));
        assert!(suspects.has(node, BrokerEpoch(8), at(3_100)));
        suspects.clear(node);
        assert!(!suspects.has(node, BrokerEpoch(8), at(3_100)));
    }
}
