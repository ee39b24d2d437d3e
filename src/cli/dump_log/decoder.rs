//! A record's key and value as text.

use std::str::FromStr;

use bytes::Bytes;

use crate::cli::dump_log::{metadata, offsets};
use crate::record::{Batch, Record};

/// How keys or values of an ordinary topic are printed: the decoders that come with Kafka's tools,
/// by their names.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) enum PlainDecoder {
    /// As UTF-8.
    #[default]
    Text,
    /// As a number of four bytes.
    Integer,
    /// As a number of eight bytes.
    Long,
    /// As the bytes are, in hexadecimal digits.
    Raw,
}

impl FromStr for PlainDecoder {
    type Err = String;

    fn from_str(class: &str) -> Result<Self, String> {
        let (package, name) = class.rsplit_once('.').unwrap_or(("", class));
        match (package, name) {
            ("" | "kafka.serializer" | "org.apache.kafka.tools.api", _) => {}
            _ => return Err(not_known(class)),
        }
        match name {
            "StringDecoder" => Ok(Self::Text),
            "IntegerDecoder" => Ok(Self::Integer),
            "LongDecoder" => Ok(Self::Long),
            "DefaultDecoder" => Ok(Self::Raw),
            _ => Err(not_known(class)),
        }
    }
}

fn not_known(class: &str) -> String {
    format!(
        "{class} is a class for the JVM, which cannot be loaded here; there are StringDecoder, \
         IntegerDecoder, LongDecoder and DefaultDecoder"
    )
}

impl PlainDecoder {
    fn text(self, bytes: &Bytes) -> String {
        let wrong = |needed: usize| format!("<{} bytes instead of {needed}>", bytes.len());
        match self {
            Self::Text => String::from_utf8_lossy(bytes).into_owned(),
            Self::Integer => <[u8; 4]>::try_from(&bytes[..])
                .map_or_else(|_| wrong(4), |bytes| i32::from_be_bytes(bytes).to_string()),
            Self::Long => <[u8; 8]>::try_from(&bytes[..])
                .map_or_else(|_| wrong(8), |bytes| i64::from_be_bytes(bytes).to_string()),
            Self::Raw => bytes.iter().map(|byte| format!("{byte:02x}")).collect(),
        }
    }
}

/// What the records of the files are.
#[derive(Debug, Clone, Copy)]
pub(super) enum Contents {
    /// A producer's.
    Plain {
        /// How keys are printed.
        key: PlainDecoder,
        /// How values are.
        value: PlainDecoder,
    },
    /// Those of `__consumer_offsets`.
    Offsets,
    /// Entries of the metadata log.
    Metadata,
}

impl Contents {
    /// ` key: ...` and ` payload: ...`, as far as there are any.
    pub(super) fn text(self, batch: &Batch, record: &Record) -> String {
        let (key, payloads) = match self {
            Self::Plain { key, value } => (
                record.key.as_ref().map(|bytes| key.text(bytes)),
                record.value.as_ref().map(|bytes| value.text(bytes)).into_iter().collect(),
            ),
            Self::Offsets => {
                let (key, payload) = offsets::text(record);
                (Some(key), payload.into_iter().collect())
            }
            Self::Metadata => (None, metadata::lines(batch)),
        };
        let mut text = key.map(|key| format!(" key: {key}")).unwrap_or_default();
        for payload in payloads {
            text += &format!(" payload: {payload}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn kafkas_own_decoders_are_known_by_their_names() {
        for (class, bytes, expected) in [
            ("org.apache.kafka.tools.api.StringDecoder", &b"abc"[..], "abc"),
            ("kafka.serializer.StringDecoder", b"", ""),
            ("org.apache.kafka.tools.api.IntegerDecoder", &[0, 0, 1, 0], "256"),
            ("LongDecoder", &[255; 8], "-1"),
            ("LongDecoder", &[1], "<1 bytes instead of 8>"),
            ("org.apache.kafka.tools.api.DefaultDecoder", &[0, 171], "00ab"),
        ] {
            let decoder: PlainDecoder = class.parse().unwrap();
            assert_eq!(decoder.text(&Bytes::copy_from_slice(bytes)), expected, "{class}");
        }
        for class in ["com.example.MyDecoder", "AvroDecoder", "com.example.StringDecoder"] {
            let error = class.parse::<PlainDecoder>().unwrap_err();
            assert!(error.contains("cannot be loaded"), "{error}");
        }
    }
}
