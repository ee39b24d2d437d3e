//! Records to a batch.

use bytes::Bytes;

use super::ShardMachine;
use crate::record::{BatchBuilder, Compression, RecordError};
use crate::types::{Offset, TimestampMs};

/// One batch of all `records`, which were made at `now`.
pub(super) fn encode<M: ShardMachine>(
    records: &[M::Record],
    now: TimestampMs,
    compression: Compression,
) -> Result<Bytes, RecordError> {
    let mut batch = BatchBuilder::new(Offset::ZERO).compression(compression);
    for record in records {
        let (key, value) = M::encode(record);
        batch.push(now, Some(&key), value.as_deref(), &[])?;
    }
    batch.build()
}
