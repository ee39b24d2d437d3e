//! How Kafka's types stand on the wire, and the `message!` macro that makes messages of them.
//!
//! - `reader`: slices of a frame; every count is checked against the bytes that remain
//! - `writer`: parts of a frame; large byte strings are kept by reference
//! - `text`: [`Str`], a string that is a slice of its frame
//! - `field`: which bytes each type takes, compact (flexible versions, KIP-482) and not
//! - `macros`: `message!`

mod field;
mod macros;
mod reader;
#[cfg(test)]
mod tests;
mod text;
mod writer;

use std::fmt::Debug;
use std::ops::RangeInclusive;

use bytes::Bytes;

pub use field::{
    Draw, Field, Form, TaggedFields, read_present, read_tagged_fields, sample_present,
    write_present, write_tagged_fields,
};
pub use reader::{DecodeError, Reader};
pub use text::Str;
pub use writer::{EncodeError, Writer};

use crate::protocol::ApiKey;

/// Something that is written and read in versions.
pub trait Message: Sized + Default + Clone + Debug + PartialEq {
    /// Appends the message in `version`.
    ///
    /// # Errors
    /// A field that the version does not have holds something that must not be dropped, or a
    /// length does not fit its field.
    fn encode(&self, writer: &mut Writer, version: i16) -> Result<(), EncodeError>;

    /// Takes the message in `version`. Fields that the version does not have get their defaults.
    ///
    /// # Errors
    /// The bytes are not such a message.
    fn decode(reader: &mut Reader, version: i16) -> Result<Self, DecodeError>;

    /// The message in `version` that `bytes` are, all of them.
    ///
    /// # Errors
    /// The bytes are not such a message, or are more than it.
    fn decode_all(bytes: Bytes, version: i16) -> Result<Self, DecodeError> {
        let mut reader = Reader::new(bytes);
        let message = Self::decode(&mut reader, version)?;
        reader.finish()?;
        Ok(message)
    }

    /// A random message that is legal in `version`: for tests.
    #[doc(hidden)]
    fn sample(draw: Draw<'_>, version: i16) -> Self;
}

/// A message that is asked and answered.
pub trait Request: Message + Send + 'static {
    /// Which API it belongs to.
    const API: ApiKey;
    /// The versions that are read and written here.
    const VERSIONS: RangeInclusive<i16>;
    /// The first flexible version (KIP-482); `i16::MAX` if there is none.
    const FLEXIBLE: i16;
    /// The answer.
    type Response: Message + Send + 'static;
}
