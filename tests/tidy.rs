//! The house keeps itself in order: floors, purity, seams, file sizes and names, checked on the
//! source text. Each check has a test that shows it can fail.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

#[path = "tidy/checks.rs"]
mod checks;
#[path = "tidy/source.rs"]
mod source;

use source::Source;

/// The rooms and the floor that each stands on. A room uses only rooms on lower floors.
const FLOORS: &[(&str, u8)] = &[
    ("types", 0),
    ("protocol", 1),
    ("record", 1),
    ("storage", 1),
    ("security", 2),
    ("net", 3),
    ("log", 4),
    ("metadata", 5),
    ("controller", 6),
    ("replication", 7),
    ("coordinator", 8),
    ("broker", 9),
    ("http", 10),
    ("cli", 11),
];

/// Where there is no async, no I/O, no clock, no randomness and no order of a hash map. A path
/// covers `path.rs` and everything in `path/`.
const PURE: &[&str] = &[
    "protocol",
    "record",
    "security",
    "log/compact/batch",
    "log/compact/decide",
    "log/compact/hash",
    "log/compact/offset_map",
    "log/compact/range",
    "metadata",
    "controller/machine",
    "replication/leader",
    "replication/follower",
    "coordinator/group",
    "coordinator/history",
];

/// Words that let threads, clocks or randomness in past the seams, and what to use instead.
const SEAM_WORDS: &[(&str, &str)] = &[
    ("std::thread", "storage::Offload"),
    ("spawn_blocking", "storage::Offload"),
    ("block_in_place", "storage::Offload"),
    ("Instant::now", "types::Clock"),
    ("SystemTime::now", "types::Clock"),
    ("RandomState", "a BTreeMap or types::Random"),
    ("rand::rng", "types::Random"),
    ("rand::random", "types::Random"),
    ("thread_rng", "types::Random"),
];

/// The seams: the only files in which those words may stand.
const SEAMS: &[&str] = &[
    "types/clock.rs",
    "types/random.rs",
    "storage/offload.rs",
    // openraft names a method so; it draws from types::Random.
    "controller/raft/runtime.rs",
];

/// Lines that a file may have before its tests.
const MAX_LINES: usize = 700;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] =
    &["utils", "util", "common", "helpers", "helper", "manager", "managers", "misc"];

#[test]
fn the_house_is_in_order() {
    let sources = source::read_tree(&std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src"));
    assert!(sources.len() > 5, "found only {} files: is this the right folder?", sources.len());
    let complaints = complaints(&sources);
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

fn complaints(sources: &[Source]) -> Vec<String> {
    let mut all = Vec::new();
    for source in sources {
        all.extend(checks::floors(source));
        all.extend(checks::purity(source));
        all.extend(checks::seams(source));
        all.extend(checks::order(source));
        all.extend(checks::size(source));
        all.extend(checks::name(source));
        all.extend(checks::header(source));
    }
    all
}
