//! Building a frame out of parts.

use bytes::{BufMut, Bytes, BytesMut};

/// Why a message cannot be written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A field holds something that the version has no place for.
    #[error("{field} holds a value that version {version} cannot carry")]
    NotInVersion {
        /// The field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A field is null that the version wants to have a value.
    #[error("{field} is null, which version {version} does not allow")]
    NullInVersion {
        /// The field.
        field: &'static str,
        /// The version asked for.
        version: i16,
    },
    /// A string, byte string or array that is too long for its length field.
    #[error("a length of {0} does not fit")]
    TooLong(usize),
}

/// Byte strings from this size on become parts of their own instead of being copied.
const BY_REFERENCE: usize = 4 * 1024;

/// Collects a frame's bytes. Small things are copied together, large ones kept by reference.
#[derive(Debug, Default)]
pub struct Writer {
    parts: Vec<Bytes>,
    tail: BytesMut,
    length: usize,
}

impl Writer {
    /// An empty frame.
    pub fn new() -> Self {
        Self::default()
    }

    /// How many bytes are in it.
    pub fn len(&self) -> usize {
        self.length
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.length == 0
    }

    /// The parts, in order.
    pub fn into_parts(mut self) -> Vec<Bytes> {
        self.seal();
        self.parts
    }

    /// Everything as one piece.
    pub fn into_bytes(mut self) -> Bytes {
        self.seal();
        match self.parts.len() {
            0 => Bytes::new(),
            1 => self.parts.swap_remove(0),
            _ => {
                let mut all = BytesMut::with_capacity(self.length);
                self.parts.iter().for_each(|part| all.put_slice(part));
                all.freeze()
            }
        }
    }

    fn seal(&mut self) {
        if !self.tail.is_empty() {
            self.parts.push(self.tail.split().freeze());
        }
    }

    /// Copies `bytes` in.
    pub fn put(&mut self, bytes: &[u8]) {
        self.length += bytes.len();
        self.tail.put_slice(bytes);
    }

    /// Takes `bytes` in, by reference if they are many.
    pub fn put_bytes(&mut self, bytes: &Bytes) {
        if bytes.len() < BY_REFERENCE {
            return self.put(bytes);
        }
        self.seal();
        self.length += bytes.len();
        self.parts.push(bytes.clone());
    }

    /// Takes everything of `other` in.
    pub fn append(&mut self, other: Writer) {
        other.into_parts().iter().for_each(|part| self.put_bytes(part));
    }

    /// An unsigned number in seven-bit groups, the lowest first.
    pub fn unsigned_varint(&mut self, mut value: u32) {
        while value > 0x7f {
            self.put(&[(value as u8 & 0x7f) | 0x80]);
            value >>= 7;
        }
        self.put(&[value as u8]);
    }
}
