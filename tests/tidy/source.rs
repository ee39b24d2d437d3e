//! Source files as the checks see them: without comments and the insides of literals, and with
//! the tests told apart from the rest.

use std::path::Path;

/// One file of the library.
pub struct Source {
    /// Relative to `src`, with forward slashes: `net/transport.rs`.
    pub path: String,
    /// As written.
    pub raw: String,
    /// Comments and the insides of literals blanked, line for line.
    pub code: String,
    /// `code` with its `#[cfg(test)]` modules blanked too; empty where all of the file is tests.
    pub shipped: String,
}

impl Source {
    pub fn new(path: &str, raw: &str) -> Self {
        let code = blank_comments_and_literals(raw);
        let shipped = if is_test_file(path) { blank(&code) } else { blank_test_modules(&code) };
        Self { path: path.to_owned(), raw: raw.to_owned(), code, shipped }
    }

    /// The room it stands in, or nothing for `lib.rs` and `main.rs`.
    pub fn room(&self) -> Option<&str> {
        match self.path.split_once('/') {
            Some((room, _)) => Some(room),
            None => self.path.strip_suffix(".rs").filter(|stem| !matches!(*stem, "lib" | "main")),
        }
    }

    /// Whether it is `place.rs` or lies in `place/`.
    pub fn is_in(&self, place: &str) -> bool {
        self.path.strip_prefix(place).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }

    /// How many modules lie between it and the crate's root.
    pub fn depth(&self) -> usize {
        let parts = self.path.split('/').count();
        if self.path.ends_with("/mod.rs") { parts - 1 } else { parts }
    }
}

/// Every `.rs` file below `root`, in order of path.
pub fn read_tree(root: &Path) -> Vec<Source> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let relative = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push(Source::new(&relative, &std::fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Files that hold nothing but tests are declared `#[cfg(test)] mod tests;` or
/// `#[cfg(test)] mod something_tests;` and are known by that name.
fn is_test_file(path: &str) -> bool {
    path.split('/').any(|part| {
        let stem = part.strip_suffix(".rs").unwrap_or(part);
        stem == "tests" || stem.ends_with("_tests")
    })
}

fn blank(text: &str) -> String {
    text.chars().map(|c| if c == '\n' { c } else { ' ' }).collect()
}

/// Blanks each `#[cfg(test)] mod name { ... }`.
fn blank_test_modules(code: &str) -> String {
    let mut kept = String::new();
    let mut rest = code;
    while let Some(at) = rest.find("#[cfg(test)]") {
        let (before, from) = rest.split_at(at);
        kept.push_str(before);
        let body = from["#[cfg(test)]".len()..].trim_start();
        let opens = from.find('{').unwrap_or(from.len());
        let ends = from.find(';').unwrap_or(from.len());
        let is_module = body.starts_with("mod ") || body.starts_with("pub mod ");
        let length = if !is_module || ends < opens {
            "#[cfg(test)]".len()
        } else {
            opens + block_length(&from[opens..])
        };
        kept.push_str(&blank(&from[..length]));
        rest = &from[length..];
    }
    kept + rest
}

/// The length of the block whose opening brace `text` begins with.
fn block_length(text: &str) -> usize {
    let mut open = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '{' => open += 1,
            '}' if open <= 1 => return at + 1,
            '}' => open -= 1,
            _ => {}
        }
    }
    text.len()
}

/// Blanks comments and what stands between quotes, keeping every line where it is.
fn blank_comments_and_literals(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            block_comment_length(rest)
        } else if let Some(hashes) = raw_string_hashes(rest, out.chars().next_back()) {
            let close = format!("\"{}", "#".repeat(hashes));
            let body = hashes + 2;
            rest[body..].find(&close).map_or(rest.len(), |at| body + at + close.len())
        } else if first == '"' {
            1 + quoted_length(&rest[1..], '"')
        } else if first == '\'' && is_char_literal(rest) {
            1 + quoted_length(&rest[1..], '\'')
        } else {
            0
        };
        if skipped == 0 {
            out.push(first);
            rest = &rest[first.len_utf8()..];
        } else {
            out.push_str(&blank(&rest[..skipped]));
            rest = &rest[skipped..];
        }
    }
    out
}

fn block_comment_length(text: &str) -> usize {
    let (mut open, mut at) = (0_usize, 0);
    while at < text.len() {
        if text[at..].starts_with("/*") {
            open += 1;
            at += 2;
        } else if text[at..].starts_with("*/") {
            open -= 1;
            at += 2;
            if open == 0 {
                return at;
            }
        } else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    text.len()
}

/// The number of `#` in `r##"`, if a raw string begins here and not inside a word.
fn raw_string_hashes(text: &str, before: Option<char>) -> Option<usize> {
    if before.is_some_and(|c| c != 'b' && (c.is_alphanumeric() || c == '_')) {
        return None;
    }
    let after = text.strip_prefix('r')?;
    let hashes = after.len() - after.trim_start_matches('#').len();
    after[hashes..].starts_with('"').then_some(hashes)
}

/// Up to and with the closing quote.
fn quoted_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == quote {
            return at + 1;
        }
    }
    text.len()
}

/// `'x'` and `'\n'`, but not the lifetime `'x`.
fn is_char_literal(text: &str) -> bool {
    let mut chars = text.chars().skip(1);
    match chars.next() {
        Some('\\') => true,
        Some(_) => chars.next() == Some('\''),
        None => false,
    }
}

#[test]
fn comments_and_literals_are_blanked_and_lines_stay() {
    for (text, expected) in [
        ("a // b\nc", "a     \nc"),
        ("a /* b /* c */ d */ e", "a                   e"),
        ("x = \"y // \\\" z\"; w", "x =            ; w"),
        ("r#\"a \" b\"# c", "           c"),
        ("'a' 'b", "    'b"),
        ("'\\'' c", "     c"),
        ("\"a\nb\" c", "  \n   c"),
    ] {
        assert_eq!(blank_comments_and_literals(text), expected, "{text}");
    }
}

#[test]
fn test_modules_are_not_shipped() {
    let source = Source::new(
        "net/x.rs",
        "fn a() {}\n#[cfg(test)]\nmod tests { fn b() { if c {} } }\nfn d() {}\n#[cfg(test)]\nfn e() {}",
    );
    assert!(source.shipped.contains("fn a"));
    assert!(!source.shipped.contains("fn b"));
    assert!(source.shipped.contains("fn d"));
    assert!(source.shipped.contains("fn e"));
    assert!(Source::new("net/x_tests.rs", "fn a() {}").shipped.trim().is_empty());
    assert!(Source::new("net/x/tests.rs", "fn a() {}").shipped.trim().is_empty());
}

#[test]
fn a_file_knows_its_room() {
    for (path, room, depth) in [
        ("lib.rs", None, 1),
        ("net/mod.rs", Some("net"), 1),
        ("net/transport.rs", Some("net"), 2),
        ("record.rs", Some("record"), 1),
    ] {
        let source = Source::new(path, "");
        assert_eq!((source.room(), source.depth()), (room, depth), "{path}");
    }
    assert!(Source::new("controller/machine/decide.rs", "").is_in("controller/machine"));
    assert!(Source::new("controller/machine.rs", "").is_in("controller/machine"));
    assert!(!Source::new("controller/machinery.rs", "").is_in("controller/machine"));
}
