//! Records as a consumer hands them out.

use bytes::Bytes;

use crate::types::{LeaderEpoch, Offset, PartitionId, TimestampMs, TopicName};

/// One record and where it was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ConsumedRecord {
    /// Its topic.
    pub topic: TopicName,
    /// Its partition.
    pub partition: PartitionId,
    /// Its place in the partition.
    pub offset: Offset,
    /// The reign in which its batch was appended.
    pub leader_epoch: LeaderEpoch,
    /// When it was made or appended.
    pub timestamp: TimestampMs,
    /// Which of the two.
    pub timestamp_kind: TimestampKind,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers, in their order.
    pub headers: Vec<(String, Option<Bytes>)>,
}

/// What a record's timestamp means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TimestampKind {
    /// When the producer made the record.
    CreateTime,
    /// When the broker appended it.
    LogAppendTime,
}
