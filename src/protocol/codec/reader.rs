//! Taking values off a frame. Nothing is allocated for what the wire merely claims.

use bytes::{Buf, Bytes};
use uuid::Uuid;

use crate::protocol::codec::Str;

/// Why bytes are not the message that they should be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// The frame ends too early.
    #[error("{wanted} bytes are wanted where {remaining} remain")]
    Truncated {
        /// How many bytes the value takes.
        wanted: usize,
        /// How many there are.
        remaining: usize,
    },
    /// A count of elements that the remaining bytes cannot hold.
    #[error("a count of {count} where {remaining} bytes remain")]
    BadCount {
        /// What the wire claims.
        count: i64,
        /// How many bytes there are.
        remaining: usize,
    },
    /// A length below zero where null is not allowed.
    #[error("a length of {0}")]
    BadLength(i64),
    /// A variable-length number that does not end.
    #[error("a variable-length number of more than {0} bytes")]
    BadVarint(usize),
    /// A string that is not UTF-8.
    #[error("a string that is not UTF-8")]
    NotUtf8,
    /// Null where the field must be there.
    #[error("null where a value must be")]
    UnexpectedNull,
    /// A tag twice, or out of order.
    #[error("the tagged field {0} is out of order")]
    BadTag(u32),
    /// A tagged field whose value is shorter than its size says.
    #[error("the tagged field {0} leaves bytes over")]
    TagLeftover(u32),
    /// More bytes than the message has.
    #[error("{0} bytes are left over")]
    Leftover(usize),
    /// A version that is not known.
    #[error("version {0} is not known")]
    UnknownVersion(i16),
    /// A value outside what its field may hold.
    #[error("{0}")]
    BadValue(String),
}

/// A position in a frame. What is taken out are slices of it.
#[derive(Debug, Clone)]
pub struct Reader {
    bytes: Bytes,
}

impl Reader {
    /// At the beginning of `bytes`.
    pub fn new(bytes: Bytes) -> Self {
        Self { bytes }
    }

    /// How many bytes are left.
    pub fn remaining(&self) -> usize {
        self.bytes.len()
    }

    /// What is left.
    pub fn rest(&self) -> &Bytes {
        &self.bytes
    }

    /// Nothing may be left.
    pub fn finish(&self) -> Result<(), DecodeError> {
        match self.remaining() {
            0 => Ok(()),
            left => Err(DecodeError::Leftover(left)),
        }
    }

    /// The next `length` bytes, as a slice of the frame.
    pub fn take(&mut self, length: usize) -> Result<Bytes, DecodeError> {
        self.ensure(length)?;
        Ok(self.bytes.split_to(length))
    }

    fn ensure(&self, wanted: usize) -> Result<(), DecodeError> {
        let remaining = self.bytes.len();
        if wanted > remaining {
            return Err(DecodeError::Truncated { wanted, remaining });
        }
        Ok(())
    }

    /// One byte, signed.
    pub fn i8(&mut self) -> Result<i8, DecodeError> {
        self.ensure(1)?;
        Ok(self.bytes.get_i8())
    }

    /// Two bytes, signed.
    pub fn i16(&mut self) -> Result<i16, DecodeError> {
        self.ensure(2)?;
        Ok(self.bytes.get_i16())
    }

    /// Two bytes, unsigned.
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.ensure(2)?;
        Ok(self.bytes.get_u16())
    }

    /// Four bytes, signed.
    pub fn i32(&mut self) -> Result<i32, DecodeError> {
        self.ensure(4)?;
        Ok(self.bytes.get_i32())
    }

    /// Four bytes, unsigned.
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.ensure(4)?;
        Ok(self.bytes.get_u32())
    }

    /// Eight bytes, signed.
    pub fn i64(&mut self) -> Result<i64, DecodeError> {
        self.ensure(8)?;
        Ok(self.bytes.get_i64())
    }

    /// Eight bytes, an IEEE 754 number.
    pub fn f64(&mut self) -> Result<f64, DecodeError> {
        self.ensure(8)?;
        Ok(self.bytes.get_f64())
    }

    /// Sixteen bytes.
    pub fn uuid(&mut self) -> Result<Uuid, DecodeError> {
        self.ensure(16)?;
        Ok(Uuid::from_u128(self.bytes.get_u128()))
    }

    /// An unsigned number of up to five bytes, seven bits each, the lowest first.
    pub fn unsigned_varint(&mut self) -> Result<u32, DecodeError> {
        let mut value = 0_u32;
        for index in 0..5 {
            let byte = self.i8()? as u8;
            let bits = u32::from(byte & 0x7f);
            if index == 4 && bits > 0x0f {
                return Err(DecodeError::BadVarint(5));
            }
            value |= bits << (7 * index);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(DecodeError::BadVarint(5))
    }

    /// A length in front of a string, byte string or array; `None` is null.
    pub(super) fn length(&mut self, form: LengthForm) -> Result<Option<usize>, DecodeError> {
        let length = match form {
            LengthForm::Compact => i64::from(self.unsigned_varint()?) - 1,
            LengthForm::Two => i64::from(self.i16()?),
            LengthForm::Four => i64::from(self.i32()?),
        };
        match length {
            -1 => Ok(None),
            0.. => usize::try_from(length).map(Some).map_err(|_| DecodeError::BadLength(length)),
            _ => Err(DecodeError::BadLength(length)),
        }
    }

    /// A count of elements of at least `element_size` bytes each; `None` is null.
    pub(super) fn count(
        &mut self,
        form: LengthForm,
        element_size: usize,
    ) -> Result<Option<usize>, DecodeError> {
        let Some(count) = self.length(form)? else { return Ok(None) };
        let remaining = self.remaining();
        if count.checked_mul(element_size.max(1)).is_none_or(|size| size > remaining) {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            return Err(DecodeError::BadCount { count, remaining });
        }
        Ok(Some(count))
    }

    /// A string of `length` bytes.
    pub(super) fn text(&mut self, length: usize) -> Result<Str, DecodeError> {
        Str::from_utf8(self.take(length)?)
    }
}

impl LengthForm {
    /// No length takes fewer bytes.
    pub(super) fn size(self) -> usize {
        match self {
            LengthForm::Compact => 1,
            LengthForm::Two => 2,
            LengthForm::Four => 4,
        }
    }
}

/// How a length is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LengthForm {
    /// As an unsigned varint of the length plus one.
    Compact,
    /// In two bytes.
    Two,
    /// In four bytes.
    Four,
}
