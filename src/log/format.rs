//! What the catalog and the state files hold, as bytes: a version, then the message in that
//! version. A version that is not known here is an error, never a guess.

use bytes::Bytes;
use uuid::Uuid;

use crate::protocol::{Message, Reader, Str, Writer};

/// The version in which everything is written.
const VERSION: i16 = 0;

/// Bytes that are not what they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("not a stored {what}: {reason}")]
pub struct FormatError {
    /// What was to be read.
    pub what: &'static str,
    /// Why it could not be.
    pub reason: String,
}

/// The bytes of something stored.
pub fn to_bytes<M: Message>(message: &M) -> Vec<u8> {
    let mut writer = Writer::default();
    writer.put(&VERSION.to_be_bytes());
    if let Err(error) = message.encode(&mut writer, VERSION) {
        // No stored field comes near the limits of its type; reading it back would fail loudly.
        tracing::error!(%error, ?message, "cannot be stored");
        return Vec::new();
    }
    writer.into_bytes().to_vec()
}

/// Reads something stored; nothing may be left over.
pub fn from_bytes<M: Message>(bytes: &[u8]) -> Result<M, FormatError> {
    let what = std::any::type_name::<M>().rsplit(':').next().unwrap_or_default();
    let error = |reason: String| FormatError { what, reason };
    let (version, body) =
        bytes.split_first_chunk::<2>().ok_or_else(|| error("it is cut off".to_owned()))?;
    let version = i16::from_be_bytes(*version);
    if version != VERSION {
        return Err(error(format!("version {version} is not known here")));
    }
    let mut reader = Reader::new(Bytes::copy_from_slice(body));
    let message = M::decode(&mut reader, version).map_err(|reason| error(reason.to_string()))?;
    if reader.remaining() > 0 {
        return Err(error(format!("{} bytes are left over", reader.remaining())));
    }
    Ok(message)
}

crate::message! {
    /// Which partition a log belongs to.
    pub message Identity (flexible 0) {
        /// The topic's name.
        topic: Str [0..];
        /// The partition's index.
        partition: i32 [0..];
        /// The topic's id.
        topic_id: Uuid [0..];
    }

    /// How far a log had come at a checkpoint.
    pub message Progress (flexible 0) {
        /// Everything below was on the device.
        recovery_point: i64 [0..];
        /// The high watermark then.
        high_watermark: i64 [0..];
        /// The first offset that can be read.
        log_start: i64 [0..];
        /// The largest producer id whose state was dropped; -1: none.
        highest_forgotten_producer: i64 [0..];
        /// Producers may be unknown that have written before.
        producers_incomplete: bool [0..];
    }

    /// One segment, as far as it was on the device at a checkpoint.
    pub message SegmentEntry (flexible 0) {
        /// Its bytes.
        size_bytes: i64 [0..];
        /// The offset after its last record.
        next_offset: i64 [0..];
        /// The largest timestamp of its first batch; -1: it is empty.
        first_timestamp: i64 [0..];
        /// The largest timestamp in it; -1: it is empty.
        max_timestamp: i64 [0..];
        /// Where the first batch with that timestamp begins.
        max_timestamp_position: i64 [0..];
        /// How many marks of its index there are.
        marks: i32 [0..];
    }

    /// A mark of a segment's index.
    pub struct Mark {
        /// The base offset of the batch.
        offset: i64 [0..];
        /// Where it begins.
        position: i64 [0..];
        /// The largest timestamp before it in the segment.
        timestamp_before: i64 [0..];
    }

    /// Some of the marks of a segment.
    pub message Marks (flexible 0) {
        /// By position.
        entries: Vec<Mark> [0..];
    }

    /// The beginning of one reign.
    pub struct EpochEntry {
        /// The leader epoch.
        epoch: i32 [0..];
        /// The log's end when it began.
        start_offset: i64 [0..];
    }

    /// Some of the leader epochs of a log.
    pub message Epochs (flexible 0) {
        /// Oldest first.
        entries: Vec<EpochEntry> [0..];
    }

    /// A remembered batch of a producer.
    pub struct ProducerBatchEntry {
        /// The sequence number of its first record.
        base_sequence: i32 [0..];
        /// The sequence number of its last record.
        last_sequence: i32 [0..];
        /// The offset of its first record.
        base_offset: i64 [0..];
        /// The offset of its last record.
        last_offset: i64 [0..];
        /// Its largest timestamp.
        timestamp: i64 [0..];
    }

    /// What is known of one producer.
    pub message ProducerEntry (flexible 0) {
        /// The epoch of the batches.
        epoch: i16 [0..];
        /// When it last wrote.
        last_seen: i64 [0..];
        /// The coordinator that wrote the last marker; -1: none.
        coordinator_epoch: i32 [0..];
        /// Where the open transaction began; -1: none is open.
        transaction_start: i64 [0..];
        /// The first offset at which it was seen.
        first_offset: i64 [0..];
        /// Its last batches, oldest first.
        batches: Vec<ProducerBatchEntry> [0..];
    }

    /// An aborted transaction.
    pub message AbortedEntry (flexible 0) {
        /// Whose it was.
        producer_id: i64 [0..];
        /// Its first record's offset.
        first_offset: i64 [0..];
        /// The offset of its marker.
        last_offset: i64 [0..];
        /// The last stable offset when it was aborted.
        last_stable_offset: i64 [0..];
    }

    /// How far a log was compacted.
    pub message Compacted (flexible 0) {
        /// No key stands twice below.
        first_dirty: i64 [0..];
    }

    /// A replacement of segments by one file, decided but perhaps not finished: the file bears the
    /// ending `.swap`, or has its place already.
    pub message PendingSwap (flexible 0) {
        /// The offset after the last that the new file covers; its first stands in the key.
        next_offset: i64 [0..];
    }

    /// Something that happened to a log.
    pub struct IncidentEntry {
        /// When it was noticed.
        at: i64 [0..];
        /// What happened, as a number.
        kind: i8 [0..];
        /// The first offset that is concerned.
        from_offset: i64 [0..];
        /// One past the last.
        to_offset: i64 [0..];
        /// How many bytes are concerned.
        bytes: i64 [0..];
        /// Why, for people.
        reason: Str [0..];
    }

    /// The last things that happened to a log.
    pub message Incidents (flexible 0) {
        /// Oldest first.
        entries: Vec<IncidentEntry> [0..];
    }

    /// Whose a catalog is.
    pub message CatalogOwner (flexible 0) {
        /// The id of the directory that it was made in.
        directory_id: Uuid [0..];
    }

    /// The log is about to move to another data directory of its broker.
    pub message MovingTo (flexible 0) {
        /// Its id.
        directory_id: Uuid [0..];
    }

    /// A part of a segment that is known to be damaged.
    pub struct DamagedPart {
        /// Where in the file it begins.
        position: i64 [0..];
        /// Where it ends.
        end: i64 [0..];
        /// The first offset that cannot be read.
        from_offset: i64 [0..];
        /// The offset after the last that cannot be read.
        to_offset: i64 [0..];
        /// What is wrong there.
        reason: Str [0..];
    }

    /// A segment that is known to be damaged.
    pub message DamagedSegment (flexible 0) {
        /// By offset.
        parts: Vec<DamagedPart> [0..];
    }

    /// How far a pass over the segments of a directory has come.
    pub message ScrubEntry (flexible 0) {
        /// When it began.
        began: i64 [0..];
        /// The topic of the segment that was verified last; empty: none was.
        topic: Str [0..];
        /// Its partition.
        partition: i32 [0..];
        /// Its base offset.
        segment: i64 [0..];
        /// Whether the pass is over.
        is_over: bool [0..];
    }

    /// Which run of which node had a directory open.
    pub message RunningMarker (flexible 0) {
        /// The broker epoch of the run; -1: it never got one, or its logs are not what the
        /// controller believes.
        broker_epoch: i64 [0..];
        /// The directory's id, so that a copy is recognised.
        directory_id: Uuid [0..];
        /// The kernel's boot id; empty: not known.
        boot_id: Str [0..];
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    /// What was released must be read for ever.
    #[test]
    fn what_compaction_stores() {
        let bytes = [0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 0];
        let swap = PendingSwap { next_offset: 258 };
        assert_eq!((to_bytes(&swap), from_bytes(&bytes)), (bytes.to_vec(), Ok(swap)));
        let compacted = Compacted { first_dirty: 258 };
        assert_eq!((to_bytes(&compacted), from_bytes(&bytes)), (bytes.to_vec(), Ok(compacted)));
    }
}
