//! What a path that was given stands for.

use std::path::{Path, PathBuf};

use anyhow::{Context, bail};

use crate::types::Offset;

/// What Kafka keeps in a file of its own, and Ottla in the catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fact {
    /// A segment's index by offset.
    Index(Offset),
    /// A segment's index by time.
    TimeIndex(Offset),
    /// The producers.
    Producers,
    /// The aborted transactions.
    Aborted,
    /// The leader epochs.
    Epochs,
}

/// What to dump.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// A segment, or what is left of one that was replaced or removed.
    Segment {
        /// The offset that its name tells.
        base_offset: Offset,
    },
    /// Something that the catalog knows of the log in a directory.
    Fact {
        /// The partition's directory.
        directory: PathBuf,
        /// What.
        fact: Fact,
    },
    /// A snapshot of the metadata.
    Snapshot,
    /// A partition's directory.
    Log,
    /// A directory with the logs of a broker.
    DataDirectory,
    /// Something else.
    Unknown,
}

/// What `path` stands for, by what is there and by its name.
pub(super) fn of(path: &Path) -> anyhow::Result<Target> {
    if path.is_dir() {
        let is_data = path.join("meta.properties").exists() || path.join("catalog").exists();
        return Ok(if is_data { Target::DataDirectory } else { Target::Log });
    }
    let name = path.file_name().map(|name| name.to_string_lossy()).unwrap_or_default();
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent.to_owned(),
        Some(_) | None => PathBuf::from("."),
    };
    if name == "leader-epoch-checkpoint" {
        return Ok(Target::Fact { directory, fact: Fact::Epochs });
    }
    let Some((stem, suffix)) = name.split_once('.') else { return Ok(Target::Unknown) };
    // What was cleaned, swapped or deleted has a second ending.
    let kind = suffix.split('.').next().unwrap_or_default();
    let fact = |fact: Fact| Target::Fact { directory: directory.clone(), fact };
    Ok(match kind {
        "log" => Target::Segment { base_offset: base_offset(path, stem)? },
        "index" => fact(Fact::Index(base_offset(path, stem)?)),
        "timeindex" => fact(Fact::TimeIndex(base_offset(path, stem)?)),
        "snapshot" => fact(Fact::Producers),
        "txnindex" => fact(Fact::Aborted),
        "checkpoint" => Target::Snapshot,
        _ => Target::Unknown,
    })
}

fn base_offset(path: &Path, stem: &str) -> anyhow::Result<Offset> {
    let path = path.display();
    let offset: i64 = stem
        .parse()
        .with_context(|| format!("{path} is not a segment: its name is not an offset"))?;
    if offset < 0 {
        bail!("{path} is not a segment: its name is a negative offset");
    }
    Ok(Offset(offset))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    use super::*;

    #[test]
    fn names_tell_what_is_meant() {
        let fact = |fact| Target::Fact { directory: PathBuf::from("d/t-0"), fact };
        for (path, expected) in [
            ("d/t-0/00000000000000000005.log", Target::Segment { base_offset: Offset(5) }),
            ("d/t-0/00000000000000000005.log.swap", Target::Segment { base_offset: Offset(5) }),
            ("d/t-0/00000000000000000005.log.deleted", Target::Segment { base_offset: Offset(5) }),
            ("d/t-0/00000000000000000005.index", fact(Fact::Index(Offset(5)))),
            ("d/t-0/00000000000000000005.timeindex", fact(Fact::TimeIndex(Offset(5)))),
            ("d/t-0/00000000000000000005.snapshot", fact(Fact::Producers)),
            ("d/t-0/00000000000000000005.txnindex", fact(Fact::Aborted)),
            ("d/t-0/leader-epoch-checkpoint", fact(Fact::Epochs)),
            ("d/m-0/00000000000000000005-0000000001.checkpoint", Target::Snapshot),
            ("d/t-0/partition.metadata", Target::Unknown),
            ("d/t-0/notes", Target::Unknown),
        ] {
            assert_eq!(of(Path::new(path)).unwrap(), expected, "{path}");
        }
        for path in ["five.log", "-5.log"] {
            assert!(of(Path::new(path)).unwrap_err().to_string().contains("not a segment"));
        }
    }
}
