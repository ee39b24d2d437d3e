//! How a record is printed: as Kafka's `DefaultMessageFormatter` prints it.

use std::io::{self, Write};

use anyhow::bail;

use crate::cli::client::consumed::{ConsumedRecord, TimestampKind};
use crate::cli::properties::Properties;

/// Prints records.
#[derive(Debug, Clone)]
pub(super) struct Formatter {
    print_timestamp: bool,
    print_partition: bool,
    print_offset: bool,
    print_epoch: bool,
    print_headers: bool,
    print_key: bool,
    print_value: bool,
    key_separator: String,
    line_separator: String,
    headers_separator: String,
    null_literal: String,
}

/// The properties that the formatter knows.
const KNOWN: [&str; 11] = [
    "print.timestamp",
    "print.partition",
    "print.offset",
    "print.epoch",
    "print.headers",
    "print.key",
    "print.value",
    "key.separator",
    "line.separator",
    "headers.separator",
    "null.literal",
];

impl Formatter {
    /// A formatter as the properties want it; also the properties that it does not know.
    pub(super) fn new(properties: &Properties) -> anyhow::Result<(Self, Vec<String>)> {
        for key in ["key.deserializer", "value.deserializer", "headers.deserializer"] {
            if properties.get(key).is_some_and(|class| !class.ends_with(".StringDeserializer")) {
                bail!("{key} names a Java class; this tool prints the bytes as they are");
            }
        }
        let text = |key: &str, default: &str| properties.get(key).unwrap_or(default).to_owned();
        let formatter = Self {
            print_timestamp: properties.is_true("print.timestamp", false),
            print_partition: properties.is_true("print.partition", false),
            print_offset: properties.is_true("print.offset", false),
            print_epoch: properties.is_true("print.epoch", false),
            print_headers: properties.is_true("print.headers", false),
            print_key: properties.is_true("print.key", false),
            print_value: properties.is_true("print.value", true),
            key_separator: text("key.separator", "\t"),
            line_separator: text("line.separator", "\n"),
            headers_separator: text("headers.separator", ","),
            null_literal: text("null.literal", "null"),
        };
        let unknown = properties
            .keys()
            .filter(|key| !KNOWN.contains(key) && !key.contains("deserializer"))
            .map(str::to_owned)
            .collect();
        Ok((formatter, unknown))
    }

    /// Prints one record: the columns asked for, in Kafka's order.
    pub(super) fn print(&self, out: &mut impl Write, record: &ConsumedRecord) -> io::Result<()> {
        let mut columns = Columns { out, separator: &self.key_separator, is_first: true };
        if self.print_timestamp {
            match record.timestamp_kind {
                _ if record.timestamp.0 < 0 => columns.next()?.write_all(b"NO_TIMESTAMP")?,
                TimestampKind::CreateTime => {
                    write!(columns.next()?, "CreateTime:{}", record.timestamp)?;
                }
                TimestampKind::LogAppendTime => {
                    write!(columns.next()?, "LogAppendTime:{}", record.timestamp)?;
                }
            }
        }
        if self.print_partition {
            write!(columns.next()?, "Partition:{}", record.partition)?;
        }
        if self.print_offset {
            write!(columns.next()?, "Offset:{}", record.offset)?;
        }
        if self.print_epoch {
            write!(columns.next()?, "Epoch:{}", record.leader_epoch)?;
        }
        if self.print_headers {
            self.print_headers(columns.next()?, record)?;
        }
        if self.print_key {
            columns.next()?.write_all(self.or_null(record.key.as_deref()))?;
        }
        if self.print_value {
            columns.next()?.write_all(self.or_null(record.value.as_deref()))?;
        }
        if !columns.is_first {
            columns.out.write_all(self.line_separator.as_bytes())?;
        }
        Ok(())
    }

    fn print_headers(&self, out: &mut impl Write, record: &ConsumedRecord) -> io::Result<()> {
        if record.headers.is_empty() {
            return out.write_all(b"NO_HEADERS");
        }
        for (index, (key, value)) in record.headers.iter().enumerate() {
            if index > 0 {
                out.write_all(self.headers_separator.as_bytes())?;
            }
            write!(out, "{key}:")?;
            out.write_all(self.or_null(value.as_deref()))?;
        }
        Ok(())
    }

    fn or_null<'a>(&'a self, field: Option<&'a [u8]>) -> &'a [u8] {
        field.unwrap_or(self.null_literal.as_bytes())
    }
}

/// Puts the separator between columns, and only there.
struct Columns<'a, W> {
    out: &'a mut W,
    separator: &'a str,
    is_first: bool,
}

impl<W: Write> Columns<'_, W> {
    fn next(&mut self) -> io::Result<&mut W> {
        if !self.is_first {
            self.out.write_all(self.separator.as_bytes())?;
        }
        self.is_first = false;
        Ok(self.out)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;
    use crate::types::{LeaderEpoch, Offset, PartitionId, TimestampMs, TopicName};
    use bytes::Bytes;

    fn record() -> ConsumedRecord {
        ConsumedRecord {
            topic: TopicName::from("orders"),
            partition: PartitionId(2),
            offset: Offset(41),
            leader_epoch: LeaderEpoch(3),
            timestamp: TimestampMs(1_700_000_000_000),
            timestamp_kind: TimestampKind::CreateTime,
            key: Some(Bytes::from_static(b"k")),
            value: Some(Bytes::from_static(b"v")),
            headers: vec![("a".to_owned(), Some(Bytes::from_static(b"1"))), ("b".to_owned(), None)],
        }
    }

    fn printed(properties: &[&str], record: &ConsumedRecord) -> String {
        let pairs: Vec<String> = properties.iter().map(|pair| (*pair).to_owned()).collect();
        let (formatter, unknown) =
            Formatter::new(&Properties::from_pairs(&pairs).unwrap()).unwrap();
        assert_eq!(unknown, [""; 0]);
        let mut out = Vec::new();
        formatter.print(&mut out, record).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn records_are_printed_as_kafkas_console_consumer_prints_them() {
        let all = [
            "print.timestamp=true",
            "print.partition=true",
            "print.offset=true",
            "print.headers=true",
            "print.key=true",
        ];
        for (properties, text) in [
            (&[][..], "v\n"),
            (&["print.key=true"], "k\tv\n"),
            (&["print.key=true", "key.separator=:"], "k:v\n"),
            (&["print.key=true", "print.value=false"], "k\n"),
            (&["print.value=false"], ""),
            (&["line.separator=;"], "v;"),
            (&["print.headers=true", "headers.separator=|"], "a:1|b:null\tv\n"),
            (&["print.epoch=true"], "Epoch:3\tv\n"),
            (&all, "CreateTime:1700000000000\tPartition:2\tOffset:41\ta:1,b:null\tk\tv\n"),
        ] {
            assert_eq!(printed(properties, &record()), text, "{properties:?}");
        }
    }

    #[test]
    fn what_is_not_there_has_its_word() {
        let bare = ConsumedRecord {
            key: None,
            value: None,
            headers: Vec::new(),
            timestamp: TimestampMs::NONE,
            ..record()
        };
        let properties =
            ["print.key=true", "print.headers=true", "print.timestamp=true", "null.literal=NIL"];
        assert_eq!(printed(&properties, &bare), "NO_TIMESTAMP\tNO_HEADERS\tNIL\tNIL\n");
        let appended = ConsumedRecord { timestamp_kind: TimestampKind::LogAppendTime, ..record() };
        let text = printed(&["print.timestamp=true"], &appended);
        assert_eq!(text, "LogAppendTime:1700000000000\tv\n");
    }
}
