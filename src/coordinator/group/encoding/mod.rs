//! Records as Kafka stores them in `__consumer_offsets`, and back. Tools that read that topic of
//! Kafka 4.3 read this one.
//!
//! A key is the number of its kind and then its fields, a value its version and then its fields.
//!
//! | kind  | key                     | value, read                               | written |
//! |-------|-------------------------|-------------------------------------------|---------|
//! | 0, 1  | group, topic, partition | `OffsetCommitValue` 0-4                   | 4, or 1 |
//! | 2     | group                   | `GroupMetadataValue` 0-4                  | 3       |
//! | 3     | group                   | `ConsumerGroupMetadataValue` 0            | 0       |
//! | 4     | group                   | partition metadata of Kafka 4.0: skipped  | -       |
//! | 5     | group, member           | `ConsumerGroupMemberMetadataValue` 0      | 0       |
//! | 6     | group                   | `ConsumerGroupTargetAssignmentMetadataValue` 0 | 0  |
//! | 7     | group, member           | `ConsumerGroupTargetAssignmentMemberValue` 0   | 0  |
//! | 8     | group, member           | `ConsumerGroupCurrentMemberAssignmentValue` 0  | 0  |
//! | 16    | group, expression       | `ConsumerGroupRegularExpressionValue` 0   | 0       |
//! | other | share and streams groups | skipped                                  | -       |
//!
//! As in Kafka, bytes after a message's last field are not looked at.

mod shard;
#[cfg(test)]
mod tests;

use std::ops::RangeInclusive;

use bytes::Bytes;

use crate::coordinator::group::ids::{GroupId, MemberId};
use crate::coordinator::group::record::GroupRecord;
use crate::coordinator::group::stored::{GroupMetadataValue, OffsetCommitValue};
use crate::message;
use crate::protocol::{DecodeError, Message, Reader, Str, Writer};
use crate::types::{PartitionId, TopicName, TopicPartition};

const OFFSET_COMMIT: i16 = 1;
const GROUP_METADATA: i16 = 2;
const CONSUMER_GROUP_METADATA: i16 = 3;
const CONSUMER_GROUP_MEMBER: i16 = 5;
const CONSUMER_GROUP_TARGET_EPOCH: i16 = 6;
const CONSUMER_GROUP_TARGET_MEMBER: i16 = 7;
const CONSUMER_GROUP_CURRENT_MEMBER: i16 = 8;
const CONSUMER_GROUP_REGEX: i16 = 16;

message! {
    /// Keys 0 and 1, which have the same fields.
    pub message OffsetKey (flexible i16::MAX) {
        group: Str [0..];
        topic: Str [0..];
        partition: i32 [0..];
    }

    /// Keys of a group as a whole.
    pub message GroupKey (flexible i16::MAX) {
        group: Str [0..];
    }

    /// Keys of something that is named within a group: a member, a regular expression.
    pub message NamedKey (flexible i16::MAX) {
        group: Str [0..];
        name: Str [0..];
    }
}

/// A record's key and value; no value: a tombstone.
pub fn encode(record: &GroupRecord) -> (Bytes, Option<Bytes>) {
    match record {
        GroupRecord::Offset { group, partition, value } => {
            let key = OffsetKey {
                group: text(group),
                topic: text(&partition.topic),
                partition: partition.partition.0,
            };
            (key_bytes(OFFSET_COMMIT, &key), value.as_ref().map(offset_bytes))
        }
        GroupRecord::Classic { group, value } => {
            (group_key(GROUP_METADATA, group), value.as_ref().map(group_bytes))
        }
        GroupRecord::Consumer { group, value } => {
            (group_key(CONSUMER_GROUP_METADATA, group), value.as_ref().map(value_bytes))
        }
        GroupRecord::Member { group, member, value } => {
            (named_key(CONSUMER_GROUP_MEMBER, group, member), value.as_ref().map(value_bytes))
        }
        GroupRecord::TargetEpoch { group, value } => {
            (group_key(CONSUMER_GROUP_TARGET_EPOCH, group), value.as_ref().map(value_bytes))
        }
        GroupRecord::Target { group, member, value } => (
            named_key(CONSUMER_GROUP_TARGET_MEMBER, group, member),
            value.as_ref().map(value_bytes),
        ),
        GroupRecord::Current { group, member, value } => (
            named_key(CONSUMER_GROUP_CURRENT_MEMBER, group, member),
            value.as_ref().map(value_bytes),
        ),
        GroupRecord::Regex { group, regex, value } => {
            (named_key(CONSUMER_GROUP_REGEX, group, regex), value.as_ref().map(value_bytes))
        }
    }
}

/// The record that a key and a value are; `None`: of a kind that is of no use here. What it holds
/// are slices of `key` and `value`.
///
/// # Errors
/// The bytes are damaged, or a value is of a version that Kafka 4.3 does not know.
pub fn decode(key: Bytes, value: Option<Bytes>) -> Result<Option<GroupRecord>, DecodeError> {
    let mut key = Reader::new(key);
    let kind = key.i16()?;
    let record = match kind {
        0 | OFFSET_COMMIT => {
            let key = OffsetKey::decode(&mut key, 0)?;
            let topic = TopicName::new(&key.topic);
            let partition = TopicPartition { topic, partition: PartitionId(key.partition) };
            let value = read_value(value, 0..=4)?;
            GroupRecord::Offset { group: GroupId::from(&*key.group), partition, value }
        }
        GROUP_METADATA => {
            GroupRecord::Classic { group: read_group(&mut key)?, value: read_value(value, 0..=4)? }
        }
        CONSUMER_GROUP_METADATA => {
            GroupRecord::Consumer { group: read_group(&mut key)?, value: read_value(value, 0..=0)? }
        }
        CONSUMER_GROUP_TARGET_EPOCH => {
            let group = read_group(&mut key)?;
            GroupRecord::TargetEpoch { group, value: read_value(value, 0..=0)? }
        }
        CONSUMER_GROUP_MEMBER
        | CONSUMER_GROUP_TARGET_MEMBER
        | CONSUMER_GROUP_CURRENT_MEMBER
        | CONSUMER_GROUP_REGEX => return read_named(kind, &mut key, value).map(Some),
        _ => return Ok(None),
    };
    Ok(Some(record))
}

fn read_named(
    kind: i16,
    key: &mut Reader,
    value: Option<Bytes>,
) -> Result<GroupRecord, DecodeError> {
    let NamedKey { group, name } = NamedKey::decode(key, 0)?;
    let (group, member) = (GroupId::from(&*group), MemberId::from(&*name));
    Ok(match kind {
        CONSUMER_GROUP_MEMBER => {
            GroupRecord::Member { group, member, value: read_value(value, 0..=0)? }
        }
        CONSUMER_GROUP_TARGET_MEMBER => {
            GroupRecord::Target { group, member, value: read_value(value, 0..=0)? }
        }
        CONSUMER_GROUP_CURRENT_MEMBER => {
            GroupRecord::Current { group, member, value: read_value(value, 0..=0)? }
        }
        _ => {
            let value = read_value(value, 0..=0)?;
            GroupRecord::Regex { group, regex: name.to_string(), value }
        }
    })
}

fn read_group(key: &mut Reader) -> Result<GroupId, DecodeError> {
    Ok(GroupId::from(&*GroupKey::decode(key, 0)?.group))
}

fn read_value<M: Message>(
    value: Option<Bytes>,
    versions: RangeInclusive<i16>,
) -> Result<Option<M>, DecodeError> {
    let Some(value) = value else { return Ok(None) };
    let mut reader = Reader::new(value);
    let version = reader.i16()?;
    if !versions.contains(&version) {
        return Err(DecodeError::UnknownVersion(version));
    }
    M::decode(&mut reader, version).map(Some)
}

/// A name in a key, which has room for 32,767 bytes. Only a member id that the coordinator made of a
/// client id of almost that length is longer: cut, it is not found again after a failover, and the
/// member joins anew.
fn text(text: &str) -> Str {
    Str::from(&text[..text.floor_char_boundary(i16::MAX as usize)])
}

fn group_key(kind: i16, group: &str) -> Bytes {
    key_bytes(kind, &GroupKey { group: text(group) })
}

fn named_key(kind: i16, group: &str, name: &str) -> Bytes {
    key_bytes(kind, &NamedKey { group: text(group), name: text(name) })
}

fn key_bytes<M: Message>(kind: i16, key: &M) -> Bytes {
    let mut writer = Writer::new();
    writer.put(&kind.to_be_bytes());
    // Every text was cut to what its length field can say.
    let written = key.encode(&mut writer, 0);
    debug_assert!(written.is_ok(), "{written:?}");
    writer.into_bytes()
}

/// Version 1 is the only one with a time of expiry, but has neither leader epoch nor topic id.
fn offset_bytes(value: &OffsetCommitValue) -> Bytes {
    let expires = value.expire_timestamp != -1;
    expires.then(|| versioned(value, 1)).flatten().unwrap_or_else(|| flexible(value, 4))
}

/// Version 3 has room for 32,767 bytes of a text, which a member id that the coordinator made may
/// exceed; 4 has the same fields, and room.
fn group_bytes(value: &GroupMetadataValue) -> Bytes {
    versioned(value, 3).unwrap_or_else(|| flexible(value, 4))
}

fn value_bytes<M: Message>(value: &M) -> Bytes {
    flexible(value, 0)
}

/// In a flexible version, which has room for everything that fits a frame.
fn flexible<M: Message>(value: &M, version: i16) -> Bytes {
    let written = versioned(value, version);
    debug_assert!(written.is_some(), "{value:?}");
    written.unwrap_or_default()
}

fn versioned<M: Message>(value: &M, version: i16) -> Option<Bytes> {
    let mut writer = Writer::new();
    writer.put(&version.to_be_bytes());
    value.encode(&mut writer, version).ok()?;
    Some(writer.into_bytes())
}
