//! Bugs that the simulation has to find: each is a small change of the product's source that breaks
//! one of its rules. The source itself knows nothing of them.
//!
//! - [`following`], [`leading`]: replication
//! - [`logs`]: logs, and what of them is on the disk
//! - [`deciding`]: the controller and its quorum
//! - [`serving`]: what clients are answered; producers, groups and topics
//! - [`plant`]: a copy of this package in which all of them can be chosen
//!
//! `scripts/planted.sh` makes the copy, and tells of each how many seeds it takes to be found.

mod deciding;
mod following;
mod leading;
mod logs;
mod plant;
mod serving;

use std::collections::BTreeSet;

/// What stands in an edit's new text for the question whether its bug is chosen.
const PLANTED: &str = "PLANTED";

/// A bug.
#[derive(Debug)]
struct Bug {
    /// By which it is chosen.
    name: &'static str,
    /// What it breaks, and which rule.
    breaks: &'static str,
    /// The file, what stands in it once, and what takes its place. Bugs may change the same
    /// function, but not the same text.
    edits: &'static [(&'static str, &'static str, &'static str)],
}

fn all() -> impl Iterator<Item = &'static Bug> {
    [following::BUGS, leading::BUGS, logs::BUGS, deciding::BUGS, serving::BUGS]
        .into_iter()
        .flatten()
}

#[test]
fn every_bug_can_still_be_planted() {
    let mut names = BTreeSet::new();
    for bug in all() {
        assert!(names.insert(bug.name), "two bugs are called {}", bug.name);
        assert!(!bug.breaks.is_empty() && !bug.edits.is_empty(), "{}", bug.name);
        let is_asked = |(_, _, new): &(&str, &str, &str)| new.contains(PLANTED);
        assert!(bug.edits.iter().any(is_asked), "{} cannot be chosen", bug.name);
    }
    let changed = plant::changed_files().unwrap_or_else(|error| panic!("{error}"));
    assert!(!changed.is_empty());
}
