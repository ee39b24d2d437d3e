//! A copy of this package in which every bug can be chosen by `OTTLA_PLANTED`.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::Path;

use super::{PLANTED, all};

/// What the product's copy has besides.
const CHOICE: &str = "//! Which bug is planted.

use std::sync::LazyLock;

static CHOSEN: LazyLock<Option<String>> = LazyLock::new(|| {
    let chosen = std::env::var(\"OTTLA_PLANTED\").ok();
    println!(\"planted: {chosen:?}\");
    chosen
});

/// Whether it is the one of that name.
#[must_use]
pub fn is(name: &str) -> bool {
    CHOSEN.as_deref() == Some(name)
}
";

/// Where this package lies.
fn package() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files that bugs change, as they are with all of them; what cannot be applied, in words.
pub fn changed_files() -> Result<BTreeMap<&'static str, String>, String> {
    let mut places: BTreeMap<&str, Vec<(usize, &str, String)>> = BTreeMap::new();
    let mut texts = BTreeMap::new();
    for bug in all() {
        for &(file, old, new) in bug.edits {
            let text = match texts.entry(file) {
                std::collections::btree_map::Entry::Occupied(known) => known.into_mut(),
                std::collections::btree_map::Entry::Vacant(place) => {
                    let text = fs::read_to_string(package().join(file));
                    place.insert(text.map_err(|error| format!("{}: {file}: {error}", bug.name))?)
                }
            };
            let mut found = text.match_indices(old).map(|(at, _)| at);
            let (Some(at), None) = (found.next(), found.next()) else {
                let count = text.matches(old).count();
                return Err(format!("{}: {file} has {count} times:\n{old}", bug.name));
            };
            let choice = format!("crate::planted::is(\"{}\")", bug.name);
            places.entry(file).or_default().push((at, old, new.replace(PLANTED, &choice)));
        }
    }
    let edit = |(file, mut places): (&'static str, Vec<(usize, &str, String)>)| {
        places.sort_unstable();
        let text = &texts[file];
        let (mut edited, mut done) = (String::new(), 0);
        for (at, old, new) in places {
            if at < done {
                return Err(format!("{file}: two bugs change the same text:\n{old}"));
            }
            edited.push_str(&text[done..at]);
            edited.push_str(&new);
            done = at + old.len();
        }
        edited.push_str(&text[done..]);
        Ok((file, edited))
    };
    places.into_iter().map(edit).collect()
}

/// Not a test of anything: `scripts/planted.sh` has it write the copy to `OTTLA_PLANTED_COPY`.
#[test]
#[ignore = "writes a copy of the package"]
fn write_the_copy() {
    let to = std::env::var("OTTLA_PLANTED_COPY").expect("OTTLA_PLANTED_COPY says where to");
    let to = Path::new(&to);
    let mut changed = changed_files().unwrap_or_else(|error| panic!("{error}"));
    let root = fs::read_to_string(package().join("src/lib.rs")).unwrap();
    let root = root.replacen("pub mod broker;", "pub mod broker;\npub mod planted;", 1);
    changed.insert("src/lib.rs", root);
    changed.insert("src/planted.rs", CHOICE.to_owned());
    changed.insert("Cargo.toml", manifest());
    let locked = fs::read_to_string(package().join("Cargo.lock")).unwrap();
    let locked = locked.replacen("name = \"ottla\"\n", "name = \"ottla-planted\"\n", 1);
    changed.insert("Cargo.lock", locked);
    for part in ["src", "tests/sim"] {
        copy(part, to, &changed).unwrap_or_else(|error| panic!("{part}: {error}"));
    }
    for (file, text) in &changed {
        write(&to.join(file), text.as_bytes()).unwrap();
    }
    let list: String = all().map(|bug| format!("{}\t{}\n", bug.name, bug.breaks)).collect();
    write(&to.join("bugs.tsv"), list.as_bytes()).unwrap();
}

/// The library and the simulation, and nothing else of the package. Under a name of its own: cargo
/// would take what it has built of this package for what it has built of the copy.
fn manifest() -> String {
    let text = fs::read_to_string(package().join("Cargo.toml")).unwrap();
    let is_needless = |section: &&str| {
        ["[bin]]", "[bench]]"].iter().any(|needless| section.starts_with(needless))
    };
    let kept: Vec<&str> = text.split("\n[").filter(|section| !is_needless(section)).collect();
    kept.join("\n[")
        .replace("default-run = \"ottla\"", "autobins = false\nautobenches = false")
        .replace("[profile.dev]", "[profile.dev]\nopt-level = 1")
        .replacen("name = \"ottla\"", "name = \"ottla-planted\"", 1)
        .replace("[lib]", "[lib]\nname = \"ottla\"")
}

/// Copies what is not among `changed`, and takes away what is not here any more.
fn copy(part: &str, to: &Path, changed: &BTreeMap<&str, String>) -> io::Result<()> {
    let (from, there) = (package().join(part), to.join(part));
    if from.is_file() {
        return match changed.contains_key(part) {
            true => Ok(()),
            false => write(&there, &fs::read(from)?),
        };
    }
    fs::create_dir_all(&there)?;
    for old in fs::read_dir(&there)? {
        let name = old?.file_name();
        let name = name.to_string_lossy();
        let kept = from.join(&*name).exists() || changed.contains_key(&*format!("{part}/{name}"));
        match there.join(&*name) {
            _ if kept => {}
            gone if gone.is_dir() => fs::remove_dir_all(gone)?,
            gone => fs::remove_file(gone)?,
        }
    }
    for new in fs::read_dir(&from)? {
        let name = new?.file_name();
        copy(&format!("{part}/{}", name.to_string_lossy()), to, changed)?;
    }
    Ok(())
}

/// Only what differs is written, so that only that is built again.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if fs::read(path).is_ok_and(|known| known == bytes) {
        return Ok(());
    }
    path.parent().map_or(Ok(()), fs::create_dir_all)?;
    fs::write(path, bytes)
}
