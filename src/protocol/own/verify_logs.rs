//! VerifyLogs (key 10001), version 0: has a broker verify the segments of its logs against their
//! checksums, and tells how far that has come.

use crate::message;
use crate::protocol::ApiKey;
use crate::protocol::codec::Str;

message! {
    /// Begins a verification, or asks for one that was begun.
    pub request VerifyLogsRequest: ApiKey::VerifyLogs, (0..=0, flexible 0) => VerifyLogsResponse {
        /// The verification that is asked for; -1: a new one.
        verification_id: i64 [0..] = -1;
        /// What a new one shall verify; null: all logs of the broker.
        topics: Option<Vec<VerifyLogsTopic>> [0..];
        /// How fast a new one may read; -1: as fast as the disks are.
        bytes_per_second: i64 [0..] = -1;
    }

    /// Some logs of one topic.
    pub struct VerifyLogsTopic {
        /// The topic's name.
        name: Str [0..];
        /// The partitions; empty: all that the broker has.
        partitions: Vec<i32> [0..];
    }

    /// How far a verification has come.
    pub message VerifyLogsResponse (flexible 0) {
        throttle_time_ms: i32 [0..];
        error_code: i16 [0..];
        error_message: Option<Str> [0..];
        /// What to ask for later.
        verification_id: i64 [0..] = -1;
        /// Whether all is verified, and mended where that was possible.
        is_done: bool [0..];
        /// How many bytes there were when it began.
        total_bytes: i64 [0..];
        /// How many of them are verified.
        verified_bytes: i64 [0..];
        /// How many segments are verified.
        verified_segments: i32 [0..];
        /// What was found so far.
        findings: Vec<VerifyLogsFinding> [0..];
    }

    /// Damage.
    pub struct VerifyLogsFinding {
        /// The log directory.
        log_dir: Str [0..];
        /// The topic.
        topic: Str [0..];
        /// The partition.
        partition: i32 [0..];
        /// The base offset of the segment.
        segment: i64 [0..];
        /// Where in its file the damage begins.
        position: i64 [0..];
        /// The first offset that is damaged.
        from_offset: i64 [0..];
        /// The offset after the last that is damaged.
        to_offset: i64 [0..];
        /// What is wrong there.
        reason: Str [0..];
        /// 0: it is being mended; 1: it is mended; 2: it could not be mended.
        state: i8 [0..];
        /// Why it could not be mended.
        obstacle: Option<Str> [0..];
    }
}
