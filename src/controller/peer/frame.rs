//! Bytes on the wire: the opening words and the frames.

use std::io;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::types::{DirectoryId, NodeId};

/// The first bytes of a peer connection. As a length they would be negative, so that no Kafka
/// client begins with them; nor does a TLS hello or an HTTP request.
pub const MAGIC: [u8; 4] = [0xFF, b'O', b'T', b'T'];

/// The version of everything after the magic.
pub const VERSION: u16 = 3;

/// No frame may be longer: a snapshot's chunk or a few entries of at most 1 MiB fit well.
pub const MAX_FRAME_BYTES: usize = 16 << 20;

/// No hello may be longer.
const MAX_HELLO_BYTES: usize = 64 << 10;

/// What a connection is for. Each kind has a connection of its own per pair of nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// Votes and entries.
    Raft,
    /// Snapshots.
    Snapshot,
    /// Heartbeats, commands, formation.
    Requests,
}

/// The opener's introduction.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// The opener's node id.
    pub node_id: NodeId,
    /// The opener's metadata directory: its name in the raft group.
    pub directory_id: DirectoryId,
    /// The cluster to which the opener is bound, if any yet.
    pub cluster_id: Option<String>,
    /// The directory that the opener means to speak with, if it knows.
    pub expected_directory: Option<DirectoryId>,
    /// What the connection is for.
    pub kind: Kind,
}

/// The acceptor's answer to a [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Greeting {
    /// Go ahead.
    Welcome {
        /// The acceptor's node id.
        node_id: NodeId,
        /// The acceptor's metadata directory.
        directory_id: DirectoryId,
    },
    /// The acceptor will close the connection.
    Refused {
        /// Why, for people.
        reason: String,
    },
}

/// Sends the opening words.
pub async fn write_hello<W: AsyncWrite + Unpin>(stream: &mut W, hello: &Hello) -> io::Result<()> {
    let body = encode(hello)?;
    let mut bytes = Vec::with_capacity(10 + body.len());
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&length(body.len())?);
    bytes.extend_from_slice(&body);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// Receives the opening words, magic included. A version that is not ours comes back as `Err` of
/// the inner result, so that the peer can be told.
pub async fn read_hello<R: AsyncRead + Unpin>(stream: &mut R) -> io::Result<Result<Hello, String>> {
    let mut magic = [0; 4];
    stream.read_exact(&mut magic).await?;
    if magic != MAGIC {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "not a peer connection"));
    }
    let version = stream.read_u16().await?;
    if version != VERSION {
        return Ok(Err(format!(
            "this node speaks version {VERSION} of the RPC between nodes, not {version}"
        )));
    }
    let body = read_block(stream, MAX_HELLO_BYTES).await?;
    decode(&body).map(Ok)
}

/// Sends the answer to a [`Hello`].
pub async fn write_greeting<W: AsyncWrite + Unpin>(
    stream: &mut W,
    greeting: &Greeting,
) -> io::Result<()> {
    let body = encode(greeting)?;
    let mut bytes = length(body.len())?.to_vec();
    bytes.extend_from_slice(&body);
    stream.write_all(&bytes).await?;
    stream.flush().await
}

/// Receives the answer to a [`Hello`].
pub async fn read_greeting<R: AsyncRead + Unpin>(stream: &mut R) -> io::Result<Greeting> {
    let body = read_block(stream, MAX_HELLO_BYTES).await?;
    decode(&body)
}

/// A frame, ready to be written: its length, its correlation id, its body.
pub fn frame<T: Serialize>(correlation_id: u64, body: &T) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; 12];
    bincode::serialize_into(&mut bytes, body).map_err(invalid)?;
    let prefix = length(bytes.len() - 4)?;
    bytes[..4].copy_from_slice(&prefix);
    bytes[4..12].copy_from_slice(&correlation_id.to_be_bytes());
    if bytes.len() - 4 > MAX_FRAME_BYTES {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("a frame of {} bytes is too long", bytes.len()),
        ));
    }
    Ok(bytes)
}

/// Receives a frame: its correlation id and its body.
pub async fn read_frame<R: AsyncRead + Unpin>(stream: &mut R) -> io::Result<(u64, Vec<u8>)> {
    let length = stream.read_u32().await? as usize;
    if !(8..=MAX_FRAME_BYTES).contains(&length) {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a frame claims {length} bytes"),
        ));
    }
    let correlation_id = stream.read_u64().await?;
    Ok((correlation_id, read_bytes(stream, length - 8).await?))
}

/// Reads a body; it must be used up.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> io::Result<T> {
    bincode::deserialize(bytes).map_err(invalid)
}

fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    bincode::serialize(value).map_err(invalid)
}

fn invalid(error: bincode::Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn length(bytes: usize) -> io::Result<[u8; 4]> {
    u32::try_from(bytes)
        .map(u32::to_be_bytes)
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, "a block is too long"))
}

async fn read_block<R: AsyncRead + Unpin>(stream: &mut R, limit: usize) -> io::Result<Vec<u8>> {
    let length = stream.read_u32().await? as usize;
    if length > limit {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            format!("a block claims {length} bytes"),
        ));
    }
    read_bytes(stream, length).await
}

/// Reads `length` bytes; memory grows with what arrives, not with what was claimed.
async fn read_bytes<R: AsyncRead + Unpin>(stream: &mut R, length: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::with_capacity(length.min(64 << 10));
    let read = stream.take(length as u64).read_to_end(&mut bytes).await?;
    if read < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn hello() -> Hello {
        Hello {
            node_id: NodeId(1),
            directory_id: DirectoryId(uuid::Uuid::from_u128(7)),
            cluster_id: Some("c".to_owned()),
            expected_directory: None,
            kind: Kind::Raft,
        }
    }

    #[tokio::test]
    async fn the_opening_words_round_trip() {
        let mut bytes = Vec::new();
        write_hello(&mut bytes, &hello()).await.unwrap();
        assert_eq!(read_hello(&mut bytes.as_slice()).await.unwrap(), Ok(hello()));
        bytes[5] = 9;
        let other_version = read_hello(&mut bytes.as_slice()).await.unwrap();
        assert!(other_version.unwrap_err().contains("not 9"));
    }

    #[tokio::test]
    async fn hostile_frames_are_errors_and_reserve_nothing() {
        for bytes in [
            &b""[..],
            &[0xFF, 0xFF, 0xFF, 0xFF, 0, 0][..],
            &[0, 0, 0, 7, 1, 2, 3, 4, 5, 6, 7][..],
            &[0, 0xF0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 9][..],
        ] {
            assert!(read_frame(&mut &bytes[..]).await.is_err(), "{bytes:?}");
        }
        assert!(read_hello(&mut &b"GET / HTTP/1.1\r\n"[..]).await.is_err());
        assert!(decode::<Vec<u64>>(&u64::MAX.to_le_bytes()).is_err());
    }

    #[tokio::test]
    async fn a_frame_round_trips() {
        let bytes = frame(42, &"hello").unwrap();
        let (id, body) = read_frame(&mut bytes.as_slice()).await.unwrap();
        assert_eq!((id, decode::<String>(&body).unwrap().as_str()), (42, "hello"));
    }
}
