//! From texts to checked values: the file, the environment, the overrides.

use std::collections::BTreeMap;

use crate::broker::config::ignored::why_refused;
use crate::broker::config::keys::{Known, find, nearest};
use crate::metadata::topic_config::{Kind, TopicConfigKey};

/// What is wrong with a configuration, in one line that says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct ConfigError(pub String);

impl ConfigError {
    /// An error that says `message`.
    pub fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// Where a value came from; a later one wins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// The properties file.
    File,
    /// An environment variable.
    Environment,
    /// `--override key=value`.
    Override,
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

/// Says what is wrong with `value` for a key of that kind.
pub fn judge(name: &'static str, kind: Kind, value: &str) -> Result<(), String> {
    let key = TopicConfigKey { name, kind, default: "", synonyms: &[], doc: "" };
    key.validate(value)
}

impl Values {
    /// Reads a properties file's text.
    pub fn read(text: &str) -> Result<Values, ConfigError> {
        let properties = java_properties::read(text.as_bytes())
            .map_err(|error| ConfigError(format!("the properties cannot be read: {error}")))?;
        let mut values = Values::default();
        let sorted: BTreeMap<String, String> = properties.into_iter().collect();
        for (name, value) in sorted {
            values.set(&name, &value, Origin::File)?;
        }
        Ok(values)
    }

    /// Sets one value, unless a stronger origin has set it.
    pub fn set(&mut self, name: &str, value: &str, origin: Origin) -> Result<(), ConfigError> {
        let value = value.trim();
        let wrong = |why: String| ConfigError(format!("{name}={value}: {why}"));
        match find(name) {
            Some(Known::Broker(key)) => judge(key.name, key.kind, value).map_err(wrong)?,
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
                    return Err(ConfigError(format!("{name} is not supported: {advice}")));
                }
                let hint = match nearest(name) {
                    Some(nearest) => format!("; did you mean {nearest}?"),
                    None => "; remove it".to_owned(),
                };
                return Err(ConfigError(format!("{name} is not a configuration key{hint}")));
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
        value.parse().map_err(|_| ConfigError(format!("{name}={value}: not a number")))
    }

    /// Whether it is true; it was checked when it was set.
    pub fn is_true(&self, name: &str) -> bool {
        self.get(name).is_some_and(|value| value.eq_ignore_ascii_case("true"))
    }

    /// A value that must be there.
    pub fn required(&self, name: &str) -> Result<&str, ConfigError> {
        self.get(name)
            .filter(|value| !value.is_empty())
            .ok_or_else(|| ConfigError(format!("{name} is not set; it has no default")))
    }

    /// A list, its items trimmed and without empty ones.
    pub fn list(&self, name: &str) -> Vec<&str> {
        let items = self.get(name).unwrap_or_default().split(',');
        items.map(str::trim).filter(|item| !item.is_empty()).collect()
    }
}
