//! From texts to checked values: the file, the environment, the overrides.

use std::collections::BTreeMap;

use java_properties::{LineContent, PropertiesError, PropertiesIter};

use crate::broker::config::ignored::why_refused;
use crate::broker::config::keys::{Known, find, nearest};

/// What is wrong with a configuration, in one line that says where and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}{message}", self.prefix())]
pub struct ConfigError {
    message: String,
    /// Where the value came from that is wrong; none if it is something that nobody set.
    pub origin: Option<Origin>,
    /// The environment variable, where that is the origin.
    variable: Option<String>,
}

impl ConfigError {
    /// An error that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), origin: None, variable: None }
    }

    /// An error about what `key` was set to there.
    fn at(origin: Origin, key: &str, message: String) -> Self {
        let variable = (origin == Origin::Environment).then(|| environment_name(key));
        Self { message, origin: Some(origin), variable }
    }

    /// The error in one line, with the file's name and the line where it is about the file.
    pub fn in_file(&self, file: &str) -> String {
        match self.origin {
            Some(Origin::File { line }) => format!("{file}:{line}: {self}"),
            Some(Origin::Environment | Origin::Override | Origin::Cluster | Origin::Broker) => {
                self.to_string()
            }
            None => format!("{file}: {self}"),
        }
    }

    fn prefix(&self) -> String {
        match self.origin {
            Some(Origin::Environment) => {
                format!("{}: ", self.variable.as_deref().unwrap_or("the environment"))
            }
            Some(Origin::Override) => "--override: ".to_owned(),
            Some(Origin::File { .. } | Origin::Cluster | Origin::Broker) | None => String::new(),
        }
    }
}

/// Where a value came from; a later one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The properties file.
    File {
        /// The line where the key begins, counted from 1.
        line: usize,
    },
    /// An environment variable.
    Environment,
    /// `--override key=value`.
    Override,
    /// Set for all brokers while they run.
    Cluster,
    /// Set for this broker while it runs.
    Broker,
}

/// The values that somebody set, checked one by one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Values {
    set: BTreeMap<String, (String, Origin)>,
    /// Keys that were set and have no use here.
    pub ignored: Vec<String>,
}

/// The environment variable that stands for `name`: `OTTLA_LOG_DIRS` for `log.dirs`.
pub fn environment_name(name: &str) -> String {
    let own = name.strip_prefix("ottla.").unwrap_or(name);
    format!("OTTLA_{}", own.replace(['.', '-'], "_").to_uppercase())
}

/// The file is no properties file.
fn unreadable(error: &PropertiesError) -> ConfigError {
    let text = error.to_string();
    let reason = text.split(" (line_number").next().unwrap_or_default();
    let message = format!("the properties cannot be read: {reason}");
    ConfigError {
        origin: error.line_number().map(|line| Origin::File { line }),
        ..ConfigError::new(message)
    }
}

impl Values {
    /// Reads a properties file's text.
    pub fn read(text: &str) -> Result<Values, ConfigError> {
        let mut last: BTreeMap<String, (usize, String)> = BTreeMap::new();
        for line in PropertiesIter::new(text.as_bytes()) {
            let line = line.map_err(|error| unreadable(&error))?;
            if let LineContent::KVPair(name, value) = line.content() {
                // As in Java, the last of several lines for one key counts.
                last.insert(name.clone(), (line.line_number(), value.clone()));
            }
        }
        let mut in_order: Vec<_> = last.into_iter().collect();
        in_order.sort_by_key(|(_, (line, _))| *line);
        let mut values = Values::default();
        for (name, (line, value)) in in_order {
            values.set(&name, &value, Origin::File { line })?;
        }
        Ok(values)
    }

    /// An error about the values of `keys`: it is said to be where the first of them is set that is
    /// set at all.
    pub fn wrong(&self, keys: &[&str], message: impl Into<String>) -> ConfigError {
        let set = keys.iter().find_map(|key| Some((*key, self.set.get(*key)?.1)));
        match set {
            Some((key, origin)) => ConfigError::at(origin, key, message.into()),
            None => ConfigError::new(message),
        }
    }

    /// Sets one value, unless a stronger origin has set it.
    pub fn set(&mut self, name: &str, value: &str, origin: Origin) -> Result<(), ConfigError> {
        let value = value.trim();
        let at = |message: String| ConfigError::at(origin, name, message);
        let wrong = |why: String| at(format!("{name}={value}: {why}"));
        match find(name) {
            Some(Known::Broker(key)) => key.kind.judge(key.name, value).map_err(wrong)?,
            Some(Known::TopicDefault(key)) => {
                key.validate(value)
                    .map_err(|why| wrong(format!("{why} (as the default of {})", key.name)))?;
            }
            Some(Known::Ignored(_)) => {
                if !self.ignored.iter().any(|ignored| ignored == name) {
                    self.ignored.push(name.to_owned());
                }
                return Ok(());
            }
            None => {
                if let Some(advice) = why_refused(name) {
                    return Err(at(format!("{name} is not supported: {advice}")));
                }
                let hint = match nearest(name) {
                    Some(nearest) => format!("; did you mean {nearest}?"),
                    None => "; remove it".to_owned(),
                };
                return Err(at(format!("{name} is not a configuration key{hint}")));
            }
        }
        let stronger = self.set.get(name).is_some_and(|(_, present)| *present > origin);
        if !stronger {
            self.set.insert(name.to_owned(), (value.to_owned(), origin));
        }
        Ok(())
    }

    /// What somebody set for `name`, else its default.
    pub fn get(&self, name: &str) -> Option<&str> {
        if let Some((value, _)) = self.set.get(name) {
            return Some(value);
        }
        match find(name) {
            Some(Known::Broker(key)) => key.default,
            _ => None,
        }
    }

    /// What somebody set for `name`; an empty value counts as not set.
    pub fn explicit(&self, name: &str) -> Option<&str> {
        self.set.get(name).map(|(value, _)| value.as_str()).filter(|value| !value.is_empty())
    }

    /// Everything that was set, by name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.set.iter().map(|(name, (value, _))| (name.as_str(), value.as_str()))
    }

    /// A number; it was checked when it was set.
    pub fn number(&self, name: &str) -> Result<i64, ConfigError> {
        let value = self.required(name)?;
        value.parse().map_err(|_| self.wrong(&[name], format!("{name}={value}: not a number")))
    }

    /// Whether it is true; it was checked when it was set.
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A value that must be there.
    pub fn required(&self, name: &str) -> Result<&str, ConfigError> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| self.wrong(&[name], format!("{name} is not set; it has no default")))
    }

    /// A list, its items trimmed and without empty ones.
    pub fn list(&self, name: &str) -> Vec<&str> {
        let items = self.get(name).unwrap_or_default().split(',');
        items.map(str::trim).filter(|item| !item.is_empty()).collect()
    }
}
