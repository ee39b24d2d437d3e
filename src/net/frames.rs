//! From bytes to frames: Kafka's four-byte length and what follows. Nothing is believed: memory
//! grows with what has arrived, never with what a length claims.

use std::io;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The bytes of a frame's length.
pub const LENGTH_BYTES: usize = 4;

/// What a connection that is silent holds ready for the next bytes.
const MIN_ROOM_BYTES: usize = 4 << 10;

/// What a connection that fills its buffer with every read holds ready.
const MAX_ROOM_BYTES: usize = 64 << 10;

/// A peer that has sent frames as large as this gets a buffer of their size ahead of the bytes.
const MAX_TRUST_BYTES: usize = 1 << 20;

/// Why a connection's bytes are not frames. Shown, it completes "closed the connection: ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The peer speaks TLS.
    #[error(
        "this looks like a TLS hello: is the client using the right port and security protocol?"
    )]
    TlsHello,
    /// The peer speaks HTTP.
    #[error("this looks like HTTP ({0}): is the client using the right port?")]
    Http(String),
    /// A length below zero.
    #[error("a frame claims a length of {0} bytes")]
    Negative(i32),
    /// A length of zero: not even a header.
    #[error("a frame of no bytes")]
    Empty,
    /// A length over the limit.
    #[error("a frame of {length} bytes is over the limit of {limit} ({limit_name})")]
    TooLarge {
        /// What the frame claims.
        length: usize,
        /// What is allowed.
        limit: usize,
        /// The key by which the limit is set.
        limit_name: &'static str,
    },
}

/// What the bytes received so far amount to.
#[derive(Debug, PartialEq, Eq)]
pub enum Progress {
    /// A whole frame, without its length.
    Frame(Bytes),
    /// The beginning of a frame of that many bytes.
    Partial(usize),
    /// Not even a length.
    Nothing,
}

/// The bytes that a connection has received and nobody has taken yet.
#[derive(Debug)]
pub struct FrameBuffer {
    bytes: BytesMut,
    limit: usize,
    limit_name: &'static str,
    had_frame: bool,
    room: usize,
    previous_frame: usize,
}

impl FrameBuffer {
    /// Takes frames of up to `limit` bytes, a limit that is set by the key `limit_name`.
    pub fn new(limit: usize, limit_name: &'static str) -> Self {
        Self {
            bytes: BytesMut::new(),
            limit,
            limit_name,
            had_frame: false,
            room: MIN_ROOM_BYTES,
            previous_frame: 0,
        }
    }

    /// The next whole frame, or how far it has come.
    pub fn next_frame(&mut self) -> Result<Progress, FrameError> {
        let Some(length) = self.claimed_length()? else { return Ok(Progress::Nothing) };
        if self.bytes.len() < LENGTH_BYTES + length {
            return Ok(Progress::Partial(length));
        }
        self.bytes.advance(LENGTH_BYTES);
        self.had_frame = true;
        self.previous_frame = length;
        Ok(Progress::Frame(self.bytes.split_to(length).freeze()))
    }

    /// The length of the frame that has begun to arrive and is not whole yet.
    pub fn partial(&self) -> Result<Option<usize>, FrameError> {
        let length = self.claimed_length()?;
        Ok(length.filter(|length| self.bytes.len() < LENGTH_BYTES + length))
    }

    /// Whether a whole frame waits to be taken.
    pub fn has_frame(&self) -> Result<bool, FrameError> {
        let length = self.claimed_length()?;
        Ok(length.is_some_and(|length| self.bytes.len() >= LENGTH_BYTES + length))
    }

    /// Receives more: how many bytes, 0 when the peer has closed. May be dropped and called again.
    pub async fn read_from<R: AsyncRead + Unpin>(&mut self, stream: &mut R) -> io::Result<usize> {
        self.make_room();
        let received = stream.read_buf(&mut self.bytes).await?;
        if self.bytes.len() == self.bytes.capacity() {
            self.room = (self.room * 2).min(MAX_ROOM_BYTES);
        }
        Ok(received)
    }

    /// The bytes that have arrived and are not taken.
    pub fn received(&self) -> &[u8] {
        &self.bytes
    }

    /// Takes everything that has arrived, for somebody else to read.
    pub fn take(&mut self) -> Bytes {
        self.bytes.split().freeze()
    }

    /// Gives back the memory of busier times, if nothing stands in it.
    pub fn rest(&mut self) {
        if self.bytes.is_empty() {
            self.bytes = BytesMut::new();
            self.room = MIN_ROOM_BYTES;
            self.previous_frame = 0;
        }
    }

    /// How much memory it holds.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    fn claimed_length(&self) -> Result<Option<usize>, FrameError> {
        let Some(first) = self.bytes.first_chunk::<LENGTH_BYTES>() else { return Ok(None) };
        if !self.had_frame {
            refuse_strangers(*first, &self.bytes)?;
        }
        let claimed = i32::from_be_bytes(*first);
        let length = usize::try_from(claimed).map_err(|_| FrameError::Negative(claimed))?;
        if length == 0 {
            return Err(FrameError::Empty);
        }
        if length > self.limit {
            let (limit, limit_name) = (self.limit, self.limit_name);
            return Err(FrameError::TooLarge { length, limit, limit_name });
        }
        Ok(Some(length))
    }

    /// Room for the rest of the frame, but for no more than has arrived of it already (so that the
    /// buffer doubles at most) or than the previous frame had.
    fn make_room(&mut self) {
        let have = self.bytes.len();
        let missing = match self.claimed_length() {
            Ok(Some(length)) => (LENGTH_BYTES + length).saturating_sub(have),
            Ok(None) | Err(_) => 0,
        };
        let trusted = have.max(self.previous_frame.min(MAX_TRUST_BYTES)).max(MIN_ROOM_BYTES);
        let needed = if missing > 0 { missing.min(trusted) } else { MIN_ROOM_BYTES };
        if self.bytes.capacity() - have < needed {
            self.bytes.reserve(needed.max(self.room));
        }
    }
}

/// Other protocols, by the first bytes with which they open a connection.
fn refuse_strangers(first: [u8; LENGTH_BYTES], bytes: &[u8]) -> Result<(), FrameError> {
    const METHODS: [&[u8; LENGTH_BYTES]; 11] = [
        b"HTTP", b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"CONN", b"TRAC",
        b"PRI ",
    ];
    // A handshake record of TLS 1.x begins 16 03; as a length that would be some 350 MB.
    if first[0] == 0x16 && first[1] == 0x03 {
        return Err(FrameError::TlsHello);
    }
    if METHODS.contains(&&first) {
        let line = bytes.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
        let start = &line[..line.len().min(80)];
        return Err(FrameError::Http(start.escape_ascii().to_string()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 100 << 20;

    fn buffer() -> FrameBuffer {
        FrameBuffer::new(LIMIT, "socket.request.max.bytes")
    }

    /// Feeds `bytes` in reads of at most `step` bytes and returns what comes out, with the most
    /// memory that was held.
    async fn feed(
        buffer: &mut FrameBuffer,
        bytes: &[u8],
        step: usize,
    ) -> Result<(Vec<Bytes>, usize), FrameError> {
        let (mut frames, mut most) = (Vec::new(), 0);
        for piece in bytes.chunks(step) {
            let mut rest = piece;
            while !rest.is_empty() {
                buffer.read_from(&mut rest).await.unwrap();
                most = most.max(buffer.capacity());
                while let Progress::Frame(frame) = buffer.next_frame()? {
                    frames.push(frame);
                }
            }
        }
        Ok((frames, most))
    }

    fn framed(body: &[u8]) -> Vec<u8> {
        let mut bytes = i32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
        bytes.extend_from_slice(body);
        bytes
    }

    #[tokio::test]
    async fn strangers_are_recognised() {
        for (bytes, part) in [
            (&[0x16, 0x03, 0x01, 0x02, 0x00, 0x01][..], "TLS hello"),
            (b"GET /metrics HTTP/1.1\r\nHost: x\r\n", "HTTP (GET /metrics HTTP/1.1)"),
            (b"POST / HTTP/1.1\r\n", "HTTP (POST"),
            (b"PRI * HTTP/2.0\r\n", "HTTP (PRI"),
            (&[0xff, 0xff, 0xff, 0xff], "claims a length of -1"),
            (&[0x80, 0, 0, 0], "claims a length of -2147483648"),
            (&[0, 0, 0, 0], "no bytes"),
            (&[0x7f, 0xff, 0xff, 0xff], "2147483647 bytes is over the limit of 104857600"),
            (&[0x7f, 0xff, 0xff, 0xff], "(socket.request.max.bytes)"),
            (&[0x06, 0x40, 0x00, 0x01], "104857601 bytes is over"),
        ] {
            let message = feed(&mut buffer(), bytes, 1000).await.unwrap_err().to_string();
            assert!(message.contains(part), "{bytes:?}: {message}");
        }
    }

    #[tokio::test]
    async fn a_later_frame_may_have_a_length_that_looks_like_a_stranger() {
        let mut buffer = FrameBuffer::new(usize::MAX, "none");
        let mut bytes = framed(b"x");
        bytes.extend_from_slice(&[0x16, 0x03, 0x01, 0x02]);
        feed(&mut buffer, &bytes, 1000).await.unwrap();
        assert_eq!(buffer.next_frame(), Ok(Progress::Partial(0x1603_0102)));
    }

    #[tokio::test]
    async fn a_claim_of_a_hundred_megabytes_costs_what_has_arrived() {
        let mut bytes = i32::try_from(LIMIT).unwrap().to_be_bytes().to_vec();
        bytes.extend(vec![0; 5_000]);
        let mut buffer = buffer();
        let (frames, most) = feed(&mut buffer, &bytes, 10).await.unwrap();
        assert!(frames.is_empty());
        assert!(most <= 4 * bytes.len(), "{most}");
        assert_eq!(buffer.next_frame(), Ok(Progress::Partial(LIMIT)));
    }

    #[tokio::test]
    async fn a_connection_at_rest_gives_its_memory_back() {
        let mut buffer = buffer();
        feed(&mut buffer, &framed(&vec![7; 1 << 20]), 1 << 16).await.unwrap();
        buffer.rest();
        assert_eq!(buffer.capacity(), 0);
        let (_, most) = feed(&mut buffer, &framed(b"small"), 100).await.unwrap();
        assert!(most <= 2 * MIN_ROOM_BYTES, "{most}");
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        #[test]
        fn frames_come_out_as_they_went_in(
            bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..20_000), 1..6),
            step in 1_usize..70_000,
        ) {
            let sent: Vec<u8> = bodies.iter().flat_map(|body| framed(body)).collect();
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let (frames, most) = runtime.block_on(feed(&mut buffer(), &sent, step)).unwrap();
            prop_assert_eq!(frames, bodies);
            prop_assert!(most <= 4 * sent.len() + 2 * MAX_ROOM_BYTES);
        }

        #[test]
        fn garbage_is_an_error_or_waits_and_never_costs_more_than_it_sent(
            bytes in prop::collection::vec(any::<u8>(), 0..5_000),
            step in 1_usize..2_000,
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let mut buffer = buffer();
            if let Ok((_, most)) = runtime.block_on(feed(&mut buffer, &bytes, step)) {
                prop_assert!(most <= 4 * bytes.len() + 2 * MAX_ROOM_BYTES);
            }
        }
    }
}
