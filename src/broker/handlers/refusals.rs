//! How a refusal is told on the wire, alike in all answers that tell of each thing by itself.

use crate::controller::machine::Refusal;
use crate::protocol::codec::Str;

/// Kafka's error code, 0 where nothing was refused, and the sentence for people.
pub(super) fn code_and_message(result: Result<(), Refusal>) -> (i16, Option<Str>) {
    match result {
        Ok(()) => (0, None),
        Err(Refusal { code, message }) => (code.code(), Some(message.into())),
    }
}
