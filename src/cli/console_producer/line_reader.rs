//! How a line becomes a record: keys, headers and nulls by their separators, as Kafka's
//! `LineMessageReader` reads them.

use anyhow::{Context, bail};
use bytes::Bytes;

use crate::cli::properties::Properties;

/// The properties that the reader knows; others are told to the user.
const KNOWN: [&str; 8] = [
    "parse.key",
    "key.separator",
    "parse.headers",
    "headers.delimiter",
    "headers.separator",
    "headers.key.separator",
    "ignore.error",
    "null.marker",
];

/// Reads lines into records.
#[derive(Debug, Clone)]
pub(super) struct LineReader {
    parse_key: bool,
    key_separator: String,
    parse_headers: bool,
    headers_delimiter: String,
    headers_separator: String,
    headers_key_separator: String,
    ignore_error: bool,
    null_marker: Option<String>,
}

/// What one line says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Line {
    pub(super) key: Option<Bytes>,
    pub(super) value: Option<Bytes>,
    pub(super) headers: Vec<(String, Option<Bytes>)>,
}

impl LineReader {
    /// A reader as the properties want it; also the properties that it does not know.
    pub(super) fn new(properties: &Properties) -> anyhow::Result<(Self, Vec<String>)> {
        let text = |key: &str, default: &str| properties.get(key).unwrap_or(default).to_owned();
        let reader = Self {
            parse_key: properties.is_true("parse.key", false),
            key_separator: text("key.separator", "\t"),
            parse_headers: properties.is_true("parse.headers", false),
            headers_delimiter: text("headers.delimiter", "\t"),
            headers_separator: text("headers.separator", ","),
            headers_key_separator: text("headers.key.separator", ":"),
            ignore_error: properties.is_true("ignore.error", false),
            null_marker: properties.get("null.marker").map(str::to_owned),
        };
        reader.check()?;
        let unknown =
            properties.keys().filter(|key| !KNOWN.contains(key)).map(str::to_owned).collect();
        Ok((reader, unknown))
    }

    fn check(&self) -> anyhow::Result<()> {
        let separators = [
            ("key.separator", &self.key_separator),
            ("headers.delimiter", &self.headers_delimiter),
            ("headers.separator", &self.headers_separator),
            ("headers.key.separator", &self.headers_key_separator),
        ];
        for (name, separator) in separators {
            if separator.is_empty() {
                bail!("{name} may not be empty");
            }
            if Some(separator) == self.null_marker.as_ref() {
                bail!("null.marker and {name} may not be equal");
            }
        }
        for (first, second) in [(1, 2), (1, 3), (2, 3)] {
            if separators[first].1 == separators[second].1 {
                let (first, second) = (separators[first].0, separators[second].0);
                bail!("{first} and {second} may not be equal");
            }
        }
        Ok(())
    }

    /// Reads one line, which has no line end any more. `number` counts from 1. A line is bytes:
    /// what is not UTF-8 arrives as it is.
    pub(super) fn read(&self, line: &Bytes, number: u64) -> anyhow::Result<Line> {
        let mut rest = line.clone();
        let headers = if self.parse_headers {
            self.cut(&mut rest, &self.headers_delimiter, "headers delimiter", number, line)?
        } else {
            None
        };
        let key = if self.parse_key {
            self.cut(&mut rest, &self.key_separator, "key separator", number, line)?
        } else {
            None
        };
        Ok(Line {
            key: key.and_then(|key| self.unless_null(key)),
            headers: match headers.and_then(|headers| self.unless_null(headers)) {
                Some(headers) => self.split_headers(&headers, number)?,
                None => Vec::new(),
            },
            value: self.unless_null(rest),
        })
    }

    /// Takes what stands before `separator` off `rest`. `None`: there is no separator, and that
    /// is to be ignored.
    fn cut(
        &self,
        rest: &mut Bytes,
        separator: &str,
        name: &str,
        number: u64,
        line: &Bytes,
    ) -> anyhow::Result<Option<Bytes>> {
        match find(rest, separator.as_bytes()) {
            Some(at) => {
                let taken = rest.slice(..at);
                *rest = rest.slice(at + separator.len()..);
                Ok(Some(taken))
            }
            None if self.ignore_error => Ok(None),
            None => bail!(
                "No {name} found on line number {number}: '{}'",
                String::from_utf8_lossy(line)
            ),
        }
    }

    fn split_headers(
        &self,
        headers: &Bytes,
        number: u64,
    ) -> anyhow::Result<Vec<(String, Option<Bytes>)>> {
        let text = std::str::from_utf8(headers)
            .with_context(|| format!("the headers on line number {number} are not UTF-8"))?;
        text.split(&self.headers_separator)
            .map(|pair| match pair.split_once(&self.headers_key_separator) {
                Some((key, _)) if Some(key) == self.null_marker.as_deref() => bail!(
                    "Header keys should not be equal to the null marker '{key}' as they can't be null"
                ),
                Some((key, value)) => Ok((
                    key.to_owned(),
                    self.unless_null(Bytes::copy_from_slice(value.as_bytes())),
                )),
                None if self.ignore_error => Ok((pair.to_owned(), None)),
                None => bail!(
                    "No header key separator found in pair '{pair}' on line number {number}"
                ),
            })
            .collect()
    }

    fn unless_null(&self, field: Bytes) -> Option<Bytes> {
        let is_null = self.null_marker.as_ref().is_some_and(|marker| field == marker.as_bytes());
        (!is_null).then_some(field)
    }
}

fn find(text: &[u8], pattern: &[u8]) -> Option<usize> {
    text.windows(pattern.len()).position(|window| window == pattern)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn reader(properties: &[&str]) -> anyhow::Result<LineReader> {
        let pairs: Vec<String> = properties.iter().map(|pair| (*pair).to_owned()).collect();
        Ok(LineReader::new(&Properties::from_pairs(&pairs).unwrap())?.0)
    }

    fn read(properties: &[&str], line: &str) -> anyhow::Result<Line> {
        reader(properties)?.read(&Bytes::copy_from_slice(line.as_bytes()), 7)
    }

    fn line(key: Option<&str>, value: Option<&str>, headers: &[(&str, Option<&str>)]) -> Line {
        let bytes = |text: &str| Bytes::copy_from_slice(text.as_bytes());
        Line {
            key: key.map(bytes),
            value: value.map(bytes),
            headers: headers.iter().map(|(k, v)| ((*k).to_owned(), v.map(bytes))).collect(),
        }
    }

    #[test]
    fn lines_are_read_as_kafkas_console_producer_reads_them() {
        const KEY: &str = "parse.key=true";
        const HEADERS: &str = "parse.headers=true";
        for (properties, text, expected) in [
            (vec![], "value", line(None, Some("value"), &[])),
            (vec![], "", line(None, Some(""), &[])),
            (vec![], "a\tb", line(None, Some("a\tb"), &[])),
            (vec![KEY], "key\tvalue", line(Some("key"), Some("value"), &[])),
            (vec![KEY, "key.separator=:"], "key:v:w", line(Some("key"), Some("v:w"), &[])),
            (vec![KEY, "key.separator=:"], ":v", line(Some(""), Some("v"), &[])),
            (vec![KEY, "key.separator=--"], "k--v", line(Some("k"), Some("v"), &[])),
            (vec![KEY, "ignore.error=true"], "no key", line(None, Some("no key"), &[])),
            (
                vec![KEY, HEADERS],
                "h1:v1,h2:v2\tkey\tvalue",
                line(Some("key"), Some("value"), &[("h1", Some("v1")), ("h2", Some("v2"))]),
            ),
            (vec![HEADERS], "h1:a:b\tv", line(None, Some("v"), &[("h1", Some("a:b"))])),
            (vec![HEADERS, "ignore.error=true"], "h1\tv", line(None, Some("v"), &[("h1", None)])),
            (vec![KEY, "null.marker=NULL"], "NULL\tNULL", line(None, None, &[])),
            (vec![HEADERS, "null.marker=NULL"], "h:NULL\tv", line(None, Some("v"), &[("h", None)])),
            (vec![HEADERS, "null.marker=NULL"], "NULL\tv", line(None, Some("v"), &[])),
        ] {
            assert_eq!(read(&properties, text).unwrap(), expected, "{properties:?} {text}");
        }
    }

    #[test]
    fn bad_lines_are_named_with_their_number() {
        for (properties, text, says) in [
            (vec!["parse.key=true"], "no key", "No key separator found on line number 7: 'no key'"),
            (
                vec!["parse.headers=true"],
                "no headers",
                "No headers delimiter found on line number 7: 'no headers'",
            ),
            (
                vec!["parse.headers=true"],
                "h\tv",
                "No header key separator found in pair 'h' on line number 7",
            ),
            (
                vec!["parse.headers=true", "null.marker=N"],
                "N:x\tv",
                "Header keys should not be equal to the null marker 'N' as they can't be null",
            ),
        ] {
            assert_eq!(read(&properties, text).unwrap_err().to_string(), says);
        }
    }

    #[test]
    fn separators_must_differ() {
        for properties in [
            ["headers.delimiter=,", "headers.separator=,"],
            ["headers.delimiter=:", "headers.key.separator=:"],
            ["headers.separator=:", "headers.key.separator=:"],
            ["key.separator=N", "null.marker=N"],
            ["headers.separator=N", "null.marker=N"],
        ] {
            assert!(reader(&properties).is_err(), "{properties:?}");
        }
        assert!(reader(&["key.separator="]).is_err());
    }

    #[test]
    fn unknown_properties_are_told() {
        let properties = Properties::from_pairs(&["parse.keys=true".to_owned()]).unwrap();
        assert_eq!(LineReader::new(&properties).unwrap().1, ["parse.keys"]);
    }
}
