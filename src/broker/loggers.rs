//! The loggers of this process and their levels, which clients see and change (KIP-412). What they change is
//! gone with the process.
//!
//! A logger is a room, or a library that logs; its name has dots where Rust has colons, since Kafka's tools
//! take no colons in a key: `ottla.replication`. `root` is what a logger without a level of its own has.

use std::collections::BTreeMap;
use std::fmt;

use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::controller::machine::Refusal;
use crate::types::ErrorCode;

/// Kafka's name of the logger above all others.
pub const ROOT: &str = "root";

/// What is logged where nobody says anything else. openraft says several lines per heartbeat while a peer is
/// down, and nothing that a node does not say itself.
pub const DEFAULT_DIRECTIVES: &str = "info,openraft=off,sled=warn";

/// The targets that always have a logger: the crate, its rooms, and the libraries that say most.
const TARGETS: &[&str] = &[
    "openraft",
    "ottla",
    "ottla::broker",
    "ottla::cli",
    "ottla::controller",
    "ottla::coordinator",
    "ottla::http",
    "ottla::log",
    "ottla::metadata",
    "ottla::net",
    "ottla::protocol",
    "ottla::record",
    "ottla::replication",
    "ottla::storage",
    "ottla::types",
    "sled",
];

/// The levels that may be set, as Kafka lists them.
const SETTABLE: &str = "DEBUG, ERROR, FATAL, INFO, TRACE, WARN";

/// A level, under Kafka's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Level {
    /// Nothing. Only from the environment: Kafka has no such level to set.
    Off,
    /// What ends the process. Nothing is logged as such, so it is silence too.
    Fatal,
    /// Errors.
    Error,
    /// And warnings.
    Warn,
    /// And what an operator may want to know.
    Info,
    /// And what a developer may want to know.
    Debug,
    /// Everything.
    Trace,
}

impl Level {
    fn settable(name: &str) -> Option<Level> {
        Some(match name {
            "FATAL" => Level::Fatal,
            "ERROR" => Level::Error,
            "WARN" => Level::Warn,
            "INFO" => Level::Info,
            "DEBUG" => Level::Debug,
            "TRACE" => Level::Trace,
            _ => return None,
        })
    }

    /// As it stands in a directive.
    fn of_directive(text: &str) -> Option<Level> {
        Some(match text.to_ascii_lowercase().as_str() {
            "off" | "0" => Level::Off,
            "error" | "1" => Level::Error,
            "warn" | "2" => Level::Warn,
            "info" | "3" => Level::Info,
            "debug" | "4" => Level::Debug,
            "trace" | "5" => Level::Trace,
            _ => return None,
        })
    }

    fn directive(self) -> &'static str {
        match self {
            Level::Off | Level::Fatal => "off",
            Level::Error => "error",
            Level::Warn => "warn",
            Level::Info => "info",
            Level::Debug => "debug",
            Level::Trace => "trace",
        }
    }
}

impl fmt::Display for Level {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Level::Off => "OFF",
            Level::Fatal => "FATAL",
            Level::Error => "ERROR",
            Level::Warn => "WARN",
            Level::Info => "INFO",
            Level::Debug => "DEBUG",
            Level::Trace => "TRACE",
        })
    }
}

/// What a client asks of one logger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LevelChange {
    /// This level from now on.
    Set(String),
    /// The level of what is above it.
    Delete,
    /// Something that levels do not take, by Kafka's name.
    Other(String),
}

/// The levels by target, the empty one being the root; and what is no level of a target.
#[derive(Debug, Clone, Default)]
struct Levels {
    of: BTreeMap<String, Level>,
    /// Directives about spans and fields, as they were given.
    further: Vec<String>,
}

impl Levels {
    fn read(directives: &str) -> Levels {
        let mut levels = Levels::default();
        let mut depth = 0;
        // A comma may stand within the brackets of a span.
        let is_between = |letter: char| {
            match letter {
                '[' | '{' => depth += 1,
                ']' | '}' => depth -= 1,
                _ => {}
            }
            letter == ',' && depth == 0
        };
        for directive in directives.split(is_between).map(str::trim).filter(|it| !it.is_empty()) {
            if directive.contains('[') {
                levels.further.push(directive.to_owned());
                continue;
            }
            let (target, level) = match directive.split_once('=') {
                Some((target, level)) => (target, Level::of_directive(level)),
                None => match Level::of_directive(directive) {
                    Some(level) => ("", Some(level)),
                    None => (directive, Some(Level::Trace)),
                },
            };
            if let Some(level) = level {
                levels.of.insert(target.to_owned(), level);
            }
        }
        levels
    }

    /// As directives; the longest target that fits goes first.
    fn directives(&self) -> String {
        let levels = self.of.iter().map(|(target, level)| match target.as_str() {
            "" => level.directive().to_owned(),
            target => format!("{target}={}", level.directive()),
        });
        let directives: Vec<String> = self.further.iter().cloned().chain(levels).collect();
        // None at all would let errors through.
        if directives.is_empty() { "off".to_owned() } else { directives.join(",") }
    }

    /// The level that counts for a target.
    fn effective(&self, target: &str) -> Level {
        let fits = self.of.iter().filter(|(of, _)| target.starts_with(of.as_str()));
        fits.max_by_key(|(of, _)| of.len()).map_or(Level::Off, |(_, level)| *level)
    }

    /// Every logger by its name, with its target.
    fn loggers(&self) -> BTreeMap<String, String> {
        let named = self.of.keys().filter(|target| !target.is_empty()).cloned();
        let targets = TARGETS.iter().map(|target| (*target).to_owned()).chain(named);
        let mut loggers: BTreeMap<String, String> =
            targets.map(|target| (target.replace("::", "."), target)).collect();
        loggers.insert(ROOT.to_owned(), String::new());
        loggers
    }
}

type Apply = Box<dyn Fn(&str) -> Result<(), String> + Send + Sync>;

/// See the module's documentation.
pub struct Loggers {
    levels: Mutex<Levels>,
    apply: Apply,
}

impl fmt::Debug for Loggers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Loggers").field("levels", &*self.levels.lock()).finish_non_exhaustive()
    }
}

impl Loggers {
    /// Loggers with the levels of `directives`; `apply` makes others hold.
    pub fn new(
        directives: &str,
        apply: impl Fn(&str) -> Result<(), String> + Send + Sync + 'static,
    ) -> Loggers {
        Loggers { levels: Mutex::new(Levels::read(directives)), apply: Box::new(apply) }
    }

    /// A subscriber that writes what `directives` let through, and the loggers that change them.
    ///
    /// # Errors
    /// The directives cannot be understood.
    pub fn subscriber<W>(
        directives: &str,
        writer: W,
        is_terminal: bool,
    ) -> Result<(impl tracing::Subscriber + Send + Sync + 'static + use<W>, Loggers), String>
    where
        W: for<'writer> MakeWriter<'writer> + Send + Sync + 'static,
    {
        let filter = |directives: &str| {
            EnvFilter::builder().parse(directives).map_err(|error| error.to_string())
        };
        let builder = tracing_subscriber::fmt()
            .with_env_filter(filter(directives)?)
            .with_writer(writer)
            .with_ansi(is_terminal)
            .with_filter_reloading();
        let handle = builder.reload_handle();
        let loggers = Loggers::new(directives, move |directives| {
            handle.reload(filter(directives)?).map_err(|error| error.to_string())?;
            hold_libraries_to(LevelFilter::current());
            Ok(())
        });
        Ok((builder.finish(), loggers))
    }

    /// Every logger by its name, with the level that counts for it.
    pub fn all(&self) -> Vec<(String, Level)> {
        let levels = self.levels.lock();
        let loggers = levels.loggers().into_iter();
        loggers.map(|(name, target)| (name, levels.effective(&target))).collect()
    }

    /// Changes levels: all of `changes` or, with the reason, nothing.
    ///
    /// # Errors
    /// Kafka's, in its words.
    pub fn alter(
        &self,
        changes: &[(String, LevelChange)],
        validate_only: bool,
    ) -> Result<(), Refusal> {
        let mut levels = self.levels.lock();
        let loggers = levels.loggers();
        let mut next = levels.clone();
        for (name, change) in changes {
            if let LevelChange::Other(operation) = change {
                let message = format!("{operation} is not allowed for the BROKER_LOGGER resource");
                return Err(Refusal::new(ErrorCode::InvalidRequest, message));
            }
            let Some(target) = loggers.get(name) else {
                let message = format!("Logger {name} does not exist!");
                return Err(Refusal::new(ErrorCode::InvalidConfig, message));
            };
            change_one(&mut next, name, target, change)?;
        }
        if validate_only || changes.is_empty() {
            return Ok(());
        }
        if let Err(why) = (self.apply)(&next.directives()) {
            let message = format!("The levels cannot be changed: {why}");
            return Err(Refusal::new(ErrorCode::UnknownServerError, message));
        }
        *levels = next;
        drop(levels);
        for (name, change) in changes {
            tracing::warn!("the level of the logger {name} has changed: {change:?}");
        }
        Ok(())
    }
}

/// Libraries that log by the `log` crate are held to the most that was let through at the start.
fn hold_libraries_to(most: LevelFilter) {
    ::log::set_max_level(match most.into_level() {
        None => ::log::LevelFilter::Off,
        Some(tracing::Level::ERROR) => ::log::LevelFilter::Error,
        Some(tracing::Level::WARN) => ::log::LevelFilter::Warn,
        Some(tracing::Level::INFO) => ::log::LevelFilter::Info,
        Some(tracing::Level::DEBUG) => ::log::LevelFilter::Debug,
        Some(tracing::Level::TRACE) => ::log::LevelFilter::Trace,
    });
}

fn change_one(
    levels: &mut Levels,
    name: &str,
    target: &str,
    change: &LevelChange,
) -> Result<(), Refusal> {
    match change {
        LevelChange::Set(text) => {
            let Some(level) = Level::settable(text) else {
                let message = format!(
                    "Cannot set the log level of {name} to {text} as it is not a supported log \
                     level. Valid log levels are {SETTABLE}"
                );
                return Err(Refusal::new(ErrorCode::InvalidConfig, message));
            };
            levels.of.insert(target.to_owned(), level);
        }
        LevelChange::Delete if name == ROOT => {
            let message = format!("Removing the log level of the {ROOT} logger is not allowed");
            return Err(Refusal::new(ErrorCode::InvalidRequest, message));
        }
        LevelChange::Delete => {
            levels.of.remove(target);
        }
        // Refused before anything is looked at.
        LevelChange::Other(_) => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use std::io;
    use std::sync::Arc;

    use super::*;

    fn set(name: &str, level: &str) -> (String, LevelChange) {
        (name.to_owned(), LevelChange::Set(level.to_owned()))
    }

    fn delete(name: &str) -> (String, LevelChange) {
        (name.to_owned(), LevelChange::Delete)
    }

    fn level_of(loggers: &Loggers, name: &str) -> String {
        let all = loggers.all();
        let found = all.iter().find(|(known, _)| known == name);
        found.unwrap_or_else(|| panic!("no {name}: {all:?}")).1.to_string()
    }

    /// Loggers that nothing hears.
    fn unheard(directives: &str) -> Loggers {
        Loggers::new(directives, |_| Ok(()))
    }

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn every_room_has_a_logger() {
        let rooms = include_str!("../lib.rs").lines().filter_map(|line| {
            line.strip_prefix("pub mod ")?.strip_suffix(';').map(|room| format!("ottla::{room}"))
        });
        let own = TARGETS.iter().filter(|target| target.starts_with("ottla::"));
        assert_eq!(rooms.collect::<Vec<_>>(), own.copied().collect::<Vec<_>>());
    }

    #[test]
    fn levels_are_inherited_from_the_nearest_above() {
        for (directives, expected) in [
            (DEFAULT_DIRECTIVES, [("root", "INFO"), ("openraft", "OFF"), ("ottla.log", "INFO")]),
            ("ottla=debug", [("root", "OFF"), ("openraft", "OFF"), ("ottla.log", "DEBUG")]),
            ("WARN,ottla::log", [("root", "WARN"), ("openraft", "WARN"), ("ottla.log", "TRACE")]),
            ("1, ottla=5", [("root", "ERROR"), ("openraft", "ERROR"), ("ottla.log", "TRACE")]),
            ("error,a::b=info", [("root", "ERROR"), ("a.b", "INFO"), ("ottla.log", "ERROR")]),
        ] {
            let loggers = unheard(directives);
            for (name, level) in expected {
                assert_eq!(level_of(&loggers, name), level, "{directives}: {name}");
            }
        }
    }

    #[test]
    fn a_level_that_is_set_changes_what_is_logged_until_it_is_deleted() {
        let kept = Kept::default();
        let writer = kept.clone();
        let (subscriber, loggers) =
            Loggers::subscriber("info,ottla::net=off", move || writer.clone(), false).unwrap();
        let logged = || {
            kept.0.lock().clear();
            tracing::debug!(target: "ottla::replication::fetcher", "fetches");
            tracing::info!(target: "ottla::net", "connects");
            tracing::error!(target: "elsewhere", "fails");
            let text = String::from_utf8(kept.0.lock().clone()).unwrap();
            ["fetches", "connects", "fails"].map(|word| text.contains(word))
        };
        tracing::subscriber::with_default(subscriber, || {
            for (changes, expected) in [
                (vec![], [false, false, true]),
                (vec![set("ottla.replication", "DEBUG")], [true, false, true]),
                (vec![set("ottla.net", "INFO"), set("root", "FATAL")], [true, true, false]),
                (vec![set("ottla", "WARN")], [true, true, false]),
                (vec![delete("ottla.replication"), delete("ottla.net")], [false, false, false]),
                (vec![set("root", "TRACE"), delete("ottla")], [true, true, true]),
            ] {
                loggers.alter(&changes, true).unwrap();
                loggers.alter(&changes, false).unwrap();
                assert_eq!(logged(), expected, "{changes:?}: {:?}", loggers.all());
            }
        });
        assert_eq!(level_of(&loggers, "ottla.net"), "TRACE", "as what is above it");
    }

    #[test]
    fn what_is_wrong_is_refused_in_kafkas_words_and_nothing_changes() {
        let loggers = unheard(DEFAULT_DIRECTIVES);
        let before = loggers.all();
        let other = |operation: &str| ("root".to_owned(), LevelChange::Other(operation.to_owned()));
        let (config, request) = (ErrorCode::InvalidConfig, ErrorCode::InvalidRequest);
        for (change, code, says) in [
            (set("nobody", "INFO"), config, "Logger nobody does not exist!"),
            (delete("nobody"), config, "Logger nobody does not exist!"),
            (set("ottla.log", "LOUD"), config, "Cannot set the log level of ottla.log to LOUD"),
            (set("ottla.log", "info"), config, "Valid log levels are DEBUG, ERROR, FATAL"),
            (set("ottla.log", "OFF"), config, "not a supported log level"),
            (delete("root"), request, "Removing the log level of the root logger is not allowed"),
            (other("APPEND operation"), request, "APPEND operation is not allowed for"),
        ] {
            let changes = [set("root", "TRACE"), change];
            let refusal = loggers.alter(&changes, false).unwrap_err();
            assert_eq!(refusal.code, code, "{changes:?}");
            assert!(refusal.message.contains(says), "{changes:?}: {}", refusal.message);
        }
        assert_eq!(loggers.all(), before);
    }

    #[test]
    fn directives_about_spans_stay() {
        let loggers = Loggers::new("info,[request{key=1,other}]=debug", |directives| {
            if directives == "[request{key=1,other}]=debug,info,ottla::log=warn" {
                return Ok(());
            }
            Err(directives.to_owned())
        });
        loggers.alter(&[set("ottla.log", "WARN")], false).unwrap();
        assert_eq!(level_of(&loggers, "ottla.log"), "WARN");
        assert_eq!(level_of(&loggers, "root"), "INFO");
    }

    #[test]
    fn without_any_level_nothing_is_logged() {
        let loggers = Loggers::new("ottla=debug", |directives| {
            if directives == "off" { Ok(()) } else { Err(directives.to_owned()) }
        });
        loggers.alter(&[delete("ottla")], false).unwrap();
        assert_eq!(level_of(&loggers, "ottla"), "OFF");
    }
}
