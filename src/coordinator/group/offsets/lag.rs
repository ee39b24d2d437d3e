//! What metrics and tools are told.

use crate::coordinator::group::GroupMachine;
use crate::coordinator::group::ids::GroupId;
use crate::types::{Offset, TopicPartition};

/// How many records lie between what a group has committed for a partition and the end of the
/// partition's log (of what is readable: the high watermark); none if it is ahead, as after the log
/// lost its end.
pub fn lag(committed: Offset, log_end: Offset) -> i64 {
    log_end.0.saturating_sub(committed.0).max(0)
}

impl GroupMachine {
    /// What every group has committed, by group, topic and partition. With the ends of the logs,
    /// which are not known here, that is the lag: see [`lag`].
    pub fn committed_offsets(&self) -> impl Iterator<Item = (&GroupId, &TopicPartition, Offset)> {
        self.offsets.all().map(|(group, partition, committed)| (group, partition, committed.offset))
    }
}
