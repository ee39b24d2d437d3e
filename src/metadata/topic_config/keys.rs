//! Kafka's topic configuration keys: one row each.

use super::Kind::{Boolean, Double, Int, IntOr, List, Long, Replicas, Text};
use super::{Synonym, TopicConfigKey};

const fn same(name: &'static str) -> Synonym {
    Synonym { name, to_topic_unit: 1 }
}

const MINUTES: i64 = 60_000;
const HOURS: i64 = 3_600_000;
const MAX: i64 = i64::MAX;

macro_rules! keys {
    ($($name:literal $kind:expr, $default:literal, [$($synonym:expr),*], $doc:literal;)*) => {
        /// Every topic configuration key, by name.
        pub const KEYS: &[TopicConfigKey] = &[$(TopicConfigKey {
            name: $name, kind: $kind, default: $default, synonyms: &[$($synonym),*], doc: $doc,
        }),*];
    };
}

keys! {
    "cleanup.policy" List(&["compact", "delete"]), "delete", [same("log.cleanup.policy")],
        "What happens to old data: 'delete' drops old segments, 'compact' keeps the last value of each key.";
    "compression.gzip.level" IntOr(1, 9, -1), "-1", [same("compression.gzip.level")],
        "The gzip level when compression.type is gzip; -1 is the codec's default.";
    "compression.lz4.level" Int(1, 17), "9", [same("compression.lz4.level")],
        "The LZ4 level when compression.type is lz4.";
    "compression.type" Text(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]), "producer",
        [same("compression.type")],
        "How batches are stored; 'producer' keeps them as the producer sent them.";
    "compression.zstd.level" Int(-131_072, 22), "3", [same("compression.zstd.level")],
        "The zstd level when compression.type is zstd.";
    "delete.retention.ms" Long(0, MAX), "86400000", [same("log.cleaner.delete.retention.ms")],
        "How long a compacted topic keeps the markers of deleted keys.";
    "file.delete.delay.ms" Long(0, MAX), "60000", [same("log.segment.delete.delay.ms")],
        "How long a segment's file outlives its removal from the log.";
    "flush.messages" Long(1, MAX), "9223372036854775807", [same("log.flush.interval.messages")],
        "How many messages may be unsynced; 1 syncs before every acknowledgement.";
    "flush.ms" Long(0, MAX), "9223372036854775807", [same("log.flush.interval.ms")],
        "How long a message may be unsynced.";
    "follower.replication.throttled.replicas" Replicas, "", [],
        "Replicas whose replication is throttled on the follower's side: partition:broker pairs, or '*'. Kept; nothing is throttled yet.";
    "index.interval.bytes" Int(0, 2_147_483_647), "4096", [same("log.index.interval.bytes")],
        "How many bytes of log lie between two entries of its offset index. Kept; Ottla's index has one entry per MiB.";
    "internal.segment.bytes" Int(14, 2_147_483_647), "", [],
        "For tests: overrides segment.bytes and knows no lower limit.";
    "leader.replication.throttled.replicas" Replicas, "", [],
        "Replicas whose replication is throttled on the leader's side: partition:broker pairs, or '*'. Kept; nothing is throttled yet.";
    "local.retention.bytes" Long(-2, MAX), "-2", [same("log.local.retention.bytes")],
        "With remote storage: how many bytes of log stay on the broker; -2 means retention.bytes. Without effect: remote storage is not there yet.";
    "local.retention.ms" Long(-2, MAX), "-2", [same("log.local.retention.ms")],
        "With remote storage: how long a segment stays on the broker; -2 means retention.ms. Without effect: remote storage is not there yet.";
    "max.compaction.lag.ms" Long(1, MAX), "9223372036854775807",
        [same("log.cleaner.max.compaction.lag.ms")],
        "How long a message may stay uncompacted.";
    "max.message.bytes" Int(0, 2_147_483_647), "1048588", [same("message.max.bytes")],
        "The largest record batch that is accepted.";
    "message.timestamp.after.max.ms" Long(0, MAX), "3600000",
        [same("log.message.timestamp.after.max.ms")],
        "How far a message's timestamp may lie ahead of the broker's clock.";
    "message.timestamp.before.max.ms" Long(0, MAX), "9223372036854775807",
        [same("log.message.timestamp.before.max.ms")],
        "How far a message's timestamp may lie behind the broker's clock.";
    "message.timestamp.type" Text(&["CreateTime", "LogAppendTime"]), "CreateTime",
        [same("log.message.timestamp.type")],
        "Whether a message bears the time it was made or the time it was appended.";
    "min.cleanable.dirty.ratio" Double(0.0, 1.0), "0.5", [same("log.cleaner.min.cleanable.ratio")],
        "How much of a compacted log must be uncompacted before it is compacted again.";
    "min.compaction.lag.ms" Long(0, MAX), "0", [same("log.cleaner.min.compaction.lag.ms")],
        "How long a message stays uncompacted at least.";
    "min.insync.replicas" Int(1, 2_147_483_647), "1", [same("min.insync.replicas")],
        "How many replicas must be in sync for a write with acks=all to be accepted.";
    "preallocate" Boolean, "false", [same("log.preallocate")],
        "Whether a new segment's file is allocated in full.";
    "remote.log.copy.disable" Boolean, "false", [],
        "Whether segments are no longer copied to remote storage. Without effect: remote storage is not there yet.";
    "remote.log.delete.on.disable" Boolean, "false", [],
        "Whether disabling remote storage deletes what is stored there. Without effect: remote storage is not there yet.";
    "remote.storage.enable" Boolean, "false", [],
        "Whether old segments move to remote storage. Only false: remote storage is not there yet.";
    "retention.bytes" Long(-9_223_372_036_854_775_808, MAX), "-1", [same("log.retention.bytes")],
        "How large a partition may grow before old segments are dropped; -1: no limit.";
    "retention.ms" Long(-1, MAX), "604800000",
        [same("log.retention.ms"),
         Synonym { name: "log.retention.minutes", to_topic_unit: MINUTES },
         Synonym { name: "log.retention.hours", to_topic_unit: HOURS }],
        "How long messages are kept; -1: for ever.";
    "segment.bytes" Int(1_048_576, 2_147_483_647), "1073741824", [same("log.segment.bytes")],
        "How large a segment grows before another is begun.";
    "segment.index.bytes" Int(4, 2_147_483_647), "10485760", [same("log.index.size.max.bytes")],
        "How large a segment's index may grow. Kept; Ottla's index needs no bound.";
    "segment.jitter.ms" Long(0, MAX), "0",
        [same("log.roll.jitter.ms"), Synonym { name: "log.roll.jitter.hours", to_topic_unit: HOURS }],
        "How much segment.ms varies by chance, so that not all logs roll at once.";
    "segment.ms" Long(1, MAX), "604800000",
        [same("log.roll.ms"), Synonym { name: "log.roll.hours", to_topic_unit: HOURS }],
        "How long a segment is written before another is begun.";
    "unclean.leader.election.enable" Boolean, "false", [same("unclean.leader.election.enable")],
        "Whether a replica that may lack acknowledged messages may lead when no other can.";
}
