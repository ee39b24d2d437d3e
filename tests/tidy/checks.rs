//! The checks. Each takes one file and returns its complaints, as `src/path:line: what to do`.

use crate::source::Source;
use crate::{EMPTY_NAMES, FLOORS, MAX_LINES, PURE, SEAM_WORDS, SEAMS};

fn floor_of(room: &str) -> Option<u8> {
    FLOORS.iter().find(|(name, _)| *name == room).map(|(_, floor)| *floor)
}

/// A room uses only rooms on lower floors.
pub fn floors(source: &Source) -> Vec<String> {
    let Some(room) = source.room() else { return Vec::new() };
    let Some(floor) = floor_of(room) else {
        return vec![format!(
            "src/{}:1: the room '{room}' has no floor: give it one in tests/tidy",
            source.path
        )];
    };
    rooms_used(source)
        .into_iter()
        .filter(|(_, used)| used != room && floor_of(used).is_some_and(|other| other >= floor))
        .map(|(line, used)| {
            format!(
                "src/{}:{line}: '{room}' (floor {floor}) uses '{used}' (floor {}): only lower floors",
                source.path,
                floor_of(&used).unwrap_or_default()
            )
        })
        .collect()
}

/// What follows `crate::`, also in braces, and what `super::` reaches outside of the room.
fn rooms_used(source: &Source) -> Vec<(usize, String)> {
    let mut used = Vec::new();
    for (at, _) in source.code.match_indices("crate::") {
        let line = line_of(&source.code, at);
        let rest = source.code[at + "crate::".len()..].trim_start();
        match rest.strip_prefix('{') {
            Some(group) => used.extend(heads_of_group(group).map(|head| (line, head))),
            None => used.push((line, word(rest).to_owned())),
        }
    }
    for (at, _) in source.shipped.match_indices("super::") {
        let before = &source.shipped[..at];
        if before.ends_with("super::") {
            continue;
        }
        let rest = &source.shipped[at..];
        let after = rest.trim_start_matches("super::");
        let steps = (rest.len() - after.len()) / "super::".len();
        if steps >= source.depth() {
            used.push((line_of(&source.shipped, at), word(after).to_owned()));
        }
    }
    used
}

/// The first word of each branch of `a::b, c::{d, e}, f}`.
fn heads_of_group(group: &str) -> impl Iterator<Item = String> {
    let mut heads = Vec::new();
    let (mut open, mut start) = (0_usize, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => open += 1,
            '}' | ',' if open == 0 => {
                heads.push(word(group[start..at].trim_start()).to_owned());
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            '}' => open -= 1,
            _ => {}
        }
    }
    heads.into_iter()
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn word(text: &str) -> &str {
    text.split(|c| !is_word(c)).next().unwrap_or_default()
}

fn line_of(text: &str, at: usize) -> usize {
    text[..at].matches('\n').count() + 1
}

/// Where `phrase` stands as whole words.
fn places(text: &str, phrase: &str) -> Vec<usize> {
    text.match_indices(phrase)
        .filter(|(at, _)| {
            let before = text[..*at].chars().next_back();
            let after = text[at + phrase.len()..].chars().next();
            let starts_word = phrase.starts_with(is_word);
            let ends_word = phrase.ends_with(is_word);
            !(starts_word && before.is_some_and(is_word) || ends_word && after.is_some_and(is_word))
        })
        .map(|(at, _)| at)
        .collect()
}

/// What a pure room does without.
const IMPURE: &[(&str, &str)] = &[
    ("async", "async"),
    (".await", "async"),
    ("tokio::", "tokio"),
    ("std::fs", "I/O"),
    ("std::io", "I/O"),
    ("TcpStream", "I/O"),
    ("TcpListener", "I/O"),
    ("UdpSocket", "I/O"),
    ("std::env", "the environment"),
    ("Instant", "a clock"),
    ("SystemTime", "a clock"),
    ("dyn Clock", "a clock"),
    ("dyn Random", "randomness"),
    ("rand::", "randomness"),
    ("Uuid::new_v4", "randomness"),
];

/// Codecs write into memory through these traits: no device is behind them in a pure room.
const IN_MEMORY: &[&str] = &[
    "std::io::Read",
    "std::io::Write",
    "std::io::Cursor",
    "std::io::Error",
    "std::io::Result",
    "std::io::{Read",
    "std::io::{Write",
    "std::io::{self",
    "std::io::{Cursor",
    "std::io;",
];

/// Pure rooms have no async, no I/O, no clock, no randomness and iterate over no hash map.
pub fn purity(source: &Source) -> Vec<String> {
    if !PURE.iter().any(|place| source.is_in(place)) {
        return Vec::new();
    }
    let text = &source.shipped;
    let mut complaints = Vec::new();
    for (phrase, what) in IMPURE {
        for at in places(text, phrase) {
            let here = &text[at..];
            if !IN_MEMORY.iter().any(|allowed| here.starts_with(allowed)) {
                complaints.push(format!(
                    "src/{}:{}: a pure room does without {what}: '{phrase}' (take it as an argument, \
                     or leave it to the shell)",
                    source.path,
                    line_of(text, at)
                ));
            }
        }
    }
    complaints.extend(hash_order(source));
    complaints
}

/// Iterating over anything that this file declares as a HashMap or HashSet.
fn hash_order(source: &Source) -> Vec<String> {
    let text = &source.shipped;
    let mut complaints = Vec::new();
    for name in hash_names(text) {
        for at in places(text, &name) {
            let after = &text[at + name.len()..].trim_start();
            let iterated = [
                ".iter(",
                ".iter_mut(",
                ".into_iter(",
                ".keys(",
                ".values(",
                ".values_mut(",
                ".into_keys(",
                ".into_values(",
                ".drain(",
            ]
            .iter()
            .any(|call| after.starts_with(call));
            let before = text[..at].trim_end_matches("self.").trim_end_matches(['&', ' ']);
            let before = before.strip_suffix("&mut").unwrap_or(before).trim_end();
            let looped = before.ends_with(" in") && after.starts_with('{');
            if iterated || looped {
                complaints.push(format!(
                    "src/{}:{}: the order of the hash map '{name}' must not be seen: use a BTreeMap",
                    source.path,
                    line_of(text, at)
                ));
            }
        }
    }
    complaints
}

/// Names declared as `name: HashMap<` or bound by `name = HashMap::`.
fn hash_names(text: &str) -> Vec<String> {
    let mut names = Vec::new();
    for kind in ["HashMap", "HashSet"] {
        for at in places(text, kind) {
            let before = text[..at]
                .trim_end_matches("collections::")
                .trim_end_matches("std::")
                .trim_end_matches("mut ")
                .trim_end_matches(['&', ' ']);
            if let Some(before) = before.strip_suffix([':', '=']) {
                let before = before.trim_end();
                let start = before.rfind(|c| !is_word(c)).map_or(0, |at| at + 1);
                names.push(before[start..].to_owned());
            }
        }
    }
    names.retain(|name| !name.is_empty());
    names.sort();
    names.dedup();
    names
}

/// Threads, clocks and randomness come in through the seams only.
pub fn seams(source: &Source) -> Vec<String> {
    if SEAMS.contains(&source.path.as_str()) {
        return Vec::new();
    }
    let mut complaints = Vec::new();
    for (phrase, instead) in SEAM_WORDS {
        for at in places(&source.shipped, phrase) {
            complaints.push(format!(
                "src/{}:{}: '{phrase}' stands only in the seams: use {instead}",
                source.path,
                line_of(&source.shipped, at)
            ));
        }
    }
    complaints
}

/// What tokio does in random order stays out: `select!` says `biased`, and values are watched by
/// `types::watch`. The tools of the command line may.
pub fn order(source: &Source) -> Vec<String> {
    if source.is_in("cli") || source.is_in("types/watch") {
        return Vec::new();
    }
    let text = &source.shipped;
    let mut complaints = Vec::new();
    for at in places(text, "select!") {
        let inside = text[at + "select!".len()..].trim_start_matches([' ', '{', '\n']);
        if !inside.starts_with("biased;") {
            complaints.push((at, "'select!' without 'biased;' takes a branch at random"));
        }
    }
    for at in places(text, "tokio::sync::") {
        let rest = &text[at + "tokio::sync::".len()..];
        let names: Vec<String> = match rest.strip_prefix('{') {
            Some(group) => heads_of_group(group).collect(),
            None => vec![word(rest).to_owned()],
        };
        if names.iter().any(|name| name == "watch") {
            complaints.push((at, "tokio's 'watch' wakes in random order: use types::watch"));
        }
    }
    let told = |(at, what)| format!("src/{}:{}: {what}", source.path, line_of(text, at));
    complaints.into_iter().map(told).collect()
}

/// A file is short before its tests begin.
pub fn size(source: &Source) -> Vec<String> {
    let lines = source.raw.lines().take_while(|line| line.trim() != "#[cfg(test)]").count();
    if lines <= MAX_LINES || source.shipped.trim().is_empty() {
        return Vec::new();
    }
    vec![format!(
        "src/{}:{lines}: {lines} lines before the tests, {MAX_LINES} at most: split it by meaning",
        source.path
    )]
}

/// No file or folder is a drawer.
pub fn name(source: &Source) -> Vec<String> {
    source
        .path
        .split('/')
        .map(|part| part.strip_suffix(".rs").unwrap_or(part))
        .filter(|stem| EMPTY_NAMES.contains(stem))
        .map(|stem| {
            format!("src/{}:1: '{stem}' says nothing: name it for what is inside", source.path)
        })
        .collect()
}

/// Rooms open with their layout, and request handlers with what they do and where they deviate.
pub fn header(source: &Source) -> Vec<String> {
    let handler = source.is_in("broker/handlers") && !source.shipped.trim().is_empty();
    let opens_room = source.path.ends_with("mod.rs") || source.path == "lib.rs";
    if !(handler || opens_room) || source.raw.starts_with("//! ") {
        return Vec::new();
    }
    vec![format!(
        "src/{}:1: open it with a `//!` header: {}",
        source.path,
        if opens_room { "the layout of the room" } else { "versions, behaviour, deviations" }
    )]
}

/// Says how many complaints `check` has about `text` standing at `path`.
#[cfg(test)]
fn count(check: fn(&Source) -> Vec<String>, path: &str, text: &str) -> usize {
    check(&Source::new(path, text)).len()
}

#[test]
fn a_room_uses_only_lower_floors() {
    for (path, text, complaints) in [
        ("net/x.rs", "use crate::types::NodeId;", 0),
        ("net/x.rs", "use crate::net::y;", 0),
        ("net/x.rs", "use crate::log::Log;", 1),
        ("net/x.rs", "use crate::{types::A, log::{B, C}, broker};", 2),
        ("net/x.rs", "fn a() { crate::cli::run() }", 1),
        ("net/x.rs", "pub(crate) fn a() {}", 0),
        ("net/x.rs", "use crate::message;", 0),
        ("net/x.rs", "// use crate::log::Log;", 0),
        ("net/x.rs", "use super::super::log::Log;", 1),
        ("net/x.rs", "use super::log::Log;", 0),
        ("protocol/x.rs", "use crate::record::Batch;", 1),
        ("main.rs", "use ottla::cli;", 0),
        ("cellar/x.rs", "", 1),
    ] {
        assert_eq!(count(floors, path, text), complaints, "{path}: {text}");
    }
}

#[test]
fn pure_rooms_stay_pure() {
    for (text, complaints) in [
        ("async fn a() {}", 1),
        ("fn a() { b.await }", 1),
        ("use tokio::time::sleep;", 1),
        ("use std::fs::File;", 1),
        ("use std::io::Write;", 0),
        ("std::io::stdin()", 1),
        ("use std::net::IpAddr;", 0),
        ("use std::net::TcpStream;", 1),
        ("use std::time::Instant;", 1),
        ("struct InstantCoffee;", 0),
        ("rand::random()", 1),
        ("fn operand() {}", 0),
        ("// async", 0),
        ("#[cfg(test)]\nmod tests { async fn a() {} }", 0),
        ("struct A { b: HashMap<u8, u8> } fn c(a: &A) { a.b.get(&1); }", 0),
        ("struct A { b: HashMap<u8, u8> } fn c(a: &A) { a.b.iter(); }", 1),
        ("fn a() { let b = HashMap::new(); for c in &b {} }", 1),
        ("fn a(b: &std::collections::HashSet<u8>) { for c in b {} }", 1),
        ("struct A { b: HashMap<u8, u8> } fn c(&self) { for d in &self.b {} }", 1),
        ("struct A { b: HashMap<u8, u8> } fn c(a: &A) { a.b\n    .values() }", 1),
    ] {
        assert_eq!(count(purity, "metadata/x.rs", text), complaints, "{text}");
    }
    assert_eq!(count(purity, "net/x.rs", "async fn a() {}"), 0);
    assert_eq!(count(purity, "controller/machine/x.rs", "async fn a() {}"), 1);
}

#[test]
fn threads_and_clocks_stay_in_the_seams() {
    for (path, text, complaints) in [
        ("net/x.rs", "std::thread::spawn(f)", 1),
        ("net/x.rs", "tokio::task::spawn_blocking(f)", 1),
        ("net/x.rs", "tokio::time::Instant::now()", 1),
        ("net/x.rs", "SystemTime::now()", 1),
        ("net/x.rs", "RandomState::new()", 1),
        ("net/x.rs", "tokio::time::sleep(d)", 0),
        ("types/clock.rs", "SystemTime::now()", 0),
        ("net/x.rs", "#[cfg(test)]\nmod tests { fn a() { Instant::now(); } }", 0),
    ] {
        assert_eq!(count(seams, path, text), complaints, "{path}: {text}");
    }
}

#[test]
fn long_files_are_noticed() {
    let long = "fn a() {}\n".repeat(MAX_LINES + 1);
    assert_eq!(count(size, "net/x.rs", &long), 1);
    assert_eq!(count(size, "net/x.rs", &long[10..]), 0);
    assert_eq!(count(size, "net/x.rs", &format!("fn a() {{}}\n#[cfg(test)]\n{long}")), 0);
    assert_eq!(count(size, "net/tests.rs", &long), 0);
}

#[test]
fn empty_names_are_noticed() {
    for (path, complaints) in
        [("net/utils.rs", 1), ("net/helpers/mod.rs", 1), ("common.rs", 1), ("net/transport.rs", 0)]
    {
        assert_eq!(count(name, path, ""), complaints, "{path}");
    }
}

#[test]
fn rooms_and_handlers_open_with_a_header() {
    for (path, text, complaints) in [
        ("net/mod.rs", "mod x;", 1),
        ("net/mod.rs", "//! Layout.\nmod x;", 0),
        ("broker/handlers/produce.rs", "fn a() {}", 1),
        ("broker/handlers/produce.rs", "//! Produce 3-13.\nfn a() {}", 0),
        ("net/x.rs", "fn a() {}", 0),
    ] {
        assert_eq!(count(header, path, text), complaints, "{path}: {text}");
    }
}

#[test]
fn nothing_happens_in_random_order() {
    for (path, text, complaints) in [
        ("net/x.rs", "tokio::select! { biased; a = b => {} }", 0),
        ("net/x.rs", "tokio::select! {\n    biased;\n    a = b => {} }", 0),
        ("net/x.rs", "tokio::select! { a = b => {} }", 1),
        ("cli/x.rs", "tokio::select! { a = b => {} }", 0),
        ("net/x.rs", "use tokio::sync::{Notify, watch};", 1),
        ("net/x.rs", "use tokio::sync::watch;", 1),
        ("net/x.rs", "use tokio::sync::{Notify, mpsc};", 0),
        ("net/x.rs", "use crate::types::watch;", 0),
    ] {
        assert_eq!(count(order, path, text), complaints, "{path}: {text}");
    }
}
