//! Kafka's wire protocol: its types, its messages in all their versions. Pure.
//!
//! - [`codec`]: how types stand on the wire; the `message!` macro; [`Message`], [`Request`]
//! - [`messages`]: one file per API
//! - [`own`]: the same for the APIs that Kafka does not have
//! - [`header`]: request and response headers, flexible and not
//! - [`consumer_protocol`]: what consumers put into the classic group protocol's opaque fields
//! - `api_key`: [`ApiKey`], the APIs by number

mod api_key;
pub mod codec;
pub mod consumer_protocol;
pub mod header;
pub mod messages;
pub mod own;

pub use api_key::ApiKey;
pub use codec::{DecodeError, EncodeError, Message, Reader, Request, Str, Writer};
