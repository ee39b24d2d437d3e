//! Finding records by time.

use std::sync::Arc;

use crate::log::error::ReadError;
use crate::log::partition_log::Log;
use crate::log::scan::{Headers, Located};
use crate::log::segment::Segment;
use crate::record::Record;
use crate::types::{LeaderEpoch, Offset, TimestampMs};

/// A record that was found by time.
pub type FoundByTime = (TimestampMs, Offset, LeaderEpoch);

impl Log {
    /// The first record whose timestamp is at least `timestamp`.
    pub fn offset_for_timestamp(
        &self,
        timestamp: TimestampMs,
    ) -> Result<Option<FoundByTime>, ReadError> {
        let log_start = self.log_start_offset();
        for segment in self.segments.load().iter() {
            if segment.max_timestamp() < timestamp || segment.next_offset() <= log_start {
                continue;
            }
            let from = segment.with_index(|index| index.position_for_timestamp(timestamp));
            for located in Headers::new(segment, from, segment.size_bytes()) {
                let located = located?;
                let header = &located.header;
                if header.max_timestamp < timestamp || header.last_offset() < log_start {
                    continue;
                }
                let found = records_of(segment, &located)?
                    .into_iter()
                    .find(|record| record.timestamp >= timestamp && record.offset >= log_start);
                if let Some(record) = found {
                    let epoch = header.partition_leader_epoch;
                    return Ok(Some((record.timestamp, record.offset, epoch)));
                }
            }
        }
        Ok(None)
    }

    /// The first record that bears the largest timestamp of the log.
    pub fn max_timestamp_offset(&self) -> Result<Option<FoundByTime>, ReadError> {
        let segments = self.segments.load();
        let mut newest = None;
        for segment in segments.iter().filter(|segment| segment.size_bytes() > 0) {
            let max = segment.max_timestamp();
            if newest.is_none_or(|(best, _)| max > best) {
                newest = Some((max, segment));
            }
        }
        let Some((max_timestamp, segment)) = newest else { return Ok(None) };
        let position = segment.with_index(|index| index.max_timestamp_position());
        let Some(located) = Headers::new(segment, position, segment.size_bytes()).next() else {
            return Ok(None);
        };
        let located = located?;
        if located.header.record_count > 0 {
            return first_at(segment, &located, max_timestamp);
        }
        // Compaction took the records and left the batch.
        let Some((segment, located)) = self.newest_with_records()? else { return Ok(None) };
        first_at(&segment, &located, located.header.max_timestamp)
    }

    /// The first batch with the largest timestamp of those that have records.
    fn newest_with_records(&self) -> Result<Option<(Arc<Segment>, Located)>, ReadError> {
        let mut newest: Option<(Arc<Segment>, Located)> = None;
        for segment in self.segments.load().iter() {
            for located in Headers::new(segment, 0, segment.size_bytes()) {
                let located = located?;
                let at = located.header.max_timestamp;
                if located.header.record_count > 0
                    && newest.as_ref().is_none_or(|(_, best)| at > best.header.max_timestamp)
                {
                    newest = Some((Arc::clone(segment), located));
                }
            }
        }
        Ok(newest)
    }
}

/// The first record of a batch whose timestamp is at least `timestamp`.
fn first_at(
    segment: &Segment,
    located: &Located,
    timestamp: TimestampMs,
) -> Result<Option<FoundByTime>, ReadError> {
    let records = records_of(segment, located)?.into_iter();
    let epoch = located.header.partition_leader_epoch;
    let found = records.into_iter().find(|record| record.timestamp >= timestamp);
    Ok(found.map(|record| (record.timestamp, record.offset, epoch)))
}

fn records_of(segment: &Segment, located: &Located) -> Result<Vec<Record>, ReadError> {
    let batch = segment.batch_at(located.position, &located.header)?;
    batch.records().map_err(|error| segment.corrupt(located.position, error.to_string()))
}
