//! What consumers put into the classic group protocol's opaque fields when its type is `consumer`:
//! a version, then the message. A version above the latest known is read as the latest: later ones
//! only add at the end.

use bytes::Bytes;

use crate::message;
use crate::protocol::codec::{DecodeError, EncodeError, Message, Reader, Str, Writer};

/// The protocol type of consumers.
pub const CONSUMER: &str = "consumer";

/// The latest version of both messages.
const LATEST: i16 = 3;

message! {
    /// What a member subscribes to: a protocol's metadata in JoinGroup.
    pub message ConsumerProtocolSubscription (flexible i16::MAX) {
        topics: Vec<Str> [0..];
        user_data: Option<Bytes> [0..];
        /// What the member owns (KIP-429).
        owned_partitions: Vec<ConsumerProtocolTopicPartitions> [1..; ignorable];
        /// The generation in which it came to own that; -1: none.
        generation_id: i32 [2..; ignorable] = -1;
        rack_id: Option<Str> [3..; ignorable];
    }

    /// Partitions of one topic.
    pub struct ConsumerProtocolTopicPartitions {
        topic: Str [0..];
        partitions: Vec<i32> [0..];
    }

    /// What a member gets: an assignment in SyncGroup.
    pub message ConsumerProtocolAssignment (flexible i16::MAX) {
        assigned_partitions: Vec<ConsumerProtocolTopicPartitions> [0..];
        user_data: Option<Bytes> [0..];
    }
}

/// Reads a subscription or an assignment with the version in front of it.
///
/// # Errors
/// The bytes are no such message, or their version is negative.
pub fn decode_versioned<M: Message>(bytes: Bytes) -> Result<M, DecodeError> {
    let (version, body) = split_version(bytes)?;
    M::decode(&mut Reader::new(body), version.min(LATEST))
}

fn split_version(bytes: Bytes) -> Result<(i16, Bytes), DecodeError> {
    match bytes.first_chunk::<2>() {
        Some(version) if i16::from_be_bytes(*version) >= 0 => {
            Ok((i16::from_be_bytes(*version), bytes.slice(2..)))
        }
        _ => Err(DecodeError::BadLength(-1)),
    }
}

/// Writes a subscription or an assignment in `version`, with the version in front of it.
///
/// # Errors
/// The message says something that the version cannot.
pub fn encode_versioned<M: Message>(message: &M, version: i16) -> Result<Bytes, EncodeError> {
    let mut writer = Writer::new();
    writer.put(&version.to_be_bytes());
    message.encode(&mut writer, version)?;
    Ok(writer.into_bytes())
}
