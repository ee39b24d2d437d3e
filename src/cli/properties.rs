//! `key=value` pairs as Kafka's tools take them: from flags and from `.properties` files.

use std::collections::BTreeMap;
use std::path::Path;
use std::str::FromStr;

use anyhow::{Context, bail};

/// Settings by their Kafka names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Properties(BTreeMap<String, String>);

impl Properties {
    /// Reads `key=value` pairs; a later one replaces an earlier one. The value is taken as it is
    /// (a separator may be a space), but for the key nothing around it counts.
    pub fn from_pairs<'a>(pairs: impl IntoIterator<Item = &'a String>) -> anyhow::Result<Self> {
        let mut properties = Self::default();
        for pair in pairs {
            let Some((key, value)) = pair.split_once('=') else {
                bail!("'{pair}' is not of the form key=value");
            };
            if key.trim().is_empty() {
                bail!("'{pair}' has no key before the '='");
            }
            properties.set(key.trim(), value);
        }
        Ok(properties)
    }

    /// Reads a Java properties file.
    pub fn from_file(path: &Path) -> anyhow::Result<Self> {
        let file = std::fs::File::open(path)
            .with_context(|| format!("cannot read the properties file {}", path.display()))?;
        let read = java_properties::read(std::io::BufReader::new(file))
            .with_context(|| format!("{} is not a properties file", path.display()))?;
        Ok(Self(read.into_iter().collect()))
    }

    /// An optional file's pairs, and over them those of flags.
    pub fn from_file_and_pairs<'a>(
        file: Option<&Path>,
        pairs: impl IntoIterator<Item = &'a String>,
    ) -> anyhow::Result<Self> {
        let mut properties = file.map(Self::from_file).transpose()?.unwrap_or_default();
        properties.extend(Self::from_pairs(pairs)?);
        Ok(properties)
    }

    /// Sets one value.
    pub fn set(&mut self, key: &str, value: &str) {
        self.0.insert(key.to_owned(), value.to_owned());
    }

    /// Sets one value unless there is one.
    pub fn set_default(&mut self, key: &str, value: &str) {
        self.0.entry(key.to_owned()).or_insert_with(|| value.to_owned());
    }

    /// Takes over what `other` says.
    pub fn extend(&mut self, other: Properties) {
        self.0.extend(other.0);
    }

    /// The value of `key`.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).map(String::as_str)
    }

    /// Whether `key` is set to `true`, in any case; `default` if it is not set.
    pub fn is_true(&self, key: &str, default: bool) -> bool {
        self.get(key).map_or(default, |value| value.trim().eq_ignore_ascii_case("true"))
    }

    /// The value of `key` as a `T`, or `default`.
    pub fn parse<T: FromStr>(&self, key: &str, default: T) -> anyhow::Result<T> {
        match self.get(key) {
            None => Ok(default),
            Some(value) => value
                .trim()
                .parse()
                .ok()
                .with_context(|| format!("Invalid value '{value}' for configuration {key}")),
        }
    }

    /// All keys, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    fn pairs(list: &[&str]) -> anyhow::Result<Properties> {
        Properties::from_pairs(&list.iter().map(|pair| (*pair).to_owned()).collect::<Vec<_>>())
    }

    #[test]
    fn only_the_first_equals_sign_separates() {
        for (given, key, value) in [
            ("parse.key=true", "parse.key", Some("true")),
            ("key.separator==", "key.separator", Some("=")),
            ("key.separator= ", "key.separator", Some(" ")),
            ("null.marker=", "null.marker", Some("")),
            (" acks =all", "acks", Some("all")),
        ] {
            assert_eq!(pairs(&[given]).unwrap().get(key), value, "{given}");
        }
        assert!(pairs(&["acks"]).is_err());
        assert!(pairs(&["=all"]).is_err());
    }

    #[test]
    fn flags_replace_what_the_file_says() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("client.properties");
        std::fs::write(&path, "# a comment\nacks=1\nlinger.ms = 5\n").unwrap();
        let properties =
            Properties::from_file_and_pairs(Some(&path), &["acks=all".to_owned()]).unwrap();
        assert_eq!(properties.get("acks"), Some("all"));
        assert_eq!(properties.parse("linger.ms", 0).unwrap(), 5);
    }

    #[test]
    fn a_value_of_the_wrong_type_is_named() {
        let error = pairs(&["linger.ms=soon"]).unwrap().parse("linger.ms", 0_u64).unwrap_err();
        assert_eq!(error.to_string(), "Invalid value 'soon' for configuration linger.ms");
    }
}
