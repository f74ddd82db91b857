//! Source files as the rules see them.
//!
//! What lives here: finding the files, and telling code from comments, strings and tests.
//! What must never live here: a rule.
//! Who calls it: the rules of `tidy`.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// One Rust file.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its path from the root of the repository, with `/`.
    pub(crate) path: String,
    /// As it is written.
    pub(crate) text: String,
    /// The same with every comment and the content of every literal blanked: lines and columns stay.
    pub(crate) code: String,
    /// The same with everything blanked but comments.
    pub(crate) comments: String,
    /// Whether the whole file is test code.
    pub(crate) is_test: bool,
    /// Lines (from 0) of test modules inside a file of product code.
    test_lines: Vec<std::ops::Range<usize>>,
}

impl Source {
    /// Parses a text; `is_test` is what the name alone says.
    #[must_use]
    pub(crate) fn parse(path: &str, text: &str) -> Self {
        let (code, comments) = split(text);
        let test_lines = test_modules(&code);
        Self {
            path: path.to_owned(),
            text: text.to_owned(),
            code,
            comments,
            is_test: is_test_path(path),
            test_lines,
        }
    }

    /// Whether a line (from 0) belongs to tests.
    #[must_use]
    pub(crate) fn is_test_line(&self, line: usize) -> bool {
        self.is_test || self.test_lines.iter().any(|range| range.contains(&line))
    }

    /// Files that it declares as test modules: `#[cfg(test)] mod name;`, with or without a `#[path]`.
    fn test_files(&self) -> Vec<String> {
        let mut found = Vec::new();
        let mut is_test = false;
        let mut named = None;
        for (line, text) in self.code.lines().zip(self.text.lines()) {
            let line = line.trim();
            if line.starts_with("#[cfg(test)]") {
                is_test = true;
            } else if line.starts_with("#[path") {
                named = text.split('"').nth(1).map(str::to_owned);
            } else if let Some(name) = module_declaration(line) {
                if is_test {
                    found.extend(self.module_files(name, named.as_deref()));
                }
                (is_test, named) = (false, None);
            } else if !line.is_empty() && !line.starts_with("#[") {
                (is_test, named) = (false, None);
            }
        }
        found
    }

    fn module_files(&self, name: &str, named: Option<&str>) -> Vec<String> {
        let path = Path::new(&self.path);
        let parent = path.parent().unwrap_or_else(|| Path::new(""));
        let stem = path
            .file_stem()
            .and_then(|stem| stem.to_str())
            .unwrap_or_default();
        let files = match named {
            Some(named) => vec![parent.join(named)],
            None => {
                let below = match stem {
                    "mod" | "lib" | "main" => parent.to_path_buf(),
                    _ => parent.join(stem),
                };
                vec![
                    below.join(format!("{name}.rs")),
                    below.join(name).join("mod.rs"),
                ]
            }
        };
        files
            .iter()
            .map(|file| file.display().to_string())
            .collect()
    }
}

/// Every Rust file of the repository, with test files marked.
///
/// # Errors
/// When a file cannot be read.
pub(crate) fn sources(root: &Path) -> io::Result<Vec<Source>> {
    let mut paths = Vec::new();
    walk(root, &mut paths)?;
    paths.sort();
    let mut all = Vec::new();
    for path in paths {
        let text = fs::read_to_string(&path)?;
        let name = path
            .strip_prefix(root)
            .unwrap_or(&path)
            .display()
            .to_string();
        all.push(Source::parse(&name, &text));
    }
    let declared: BTreeSet<String> = all.iter().flat_map(Source::test_files).collect();
    for source in &mut all {
        source.is_test |= declared.contains(&source.path);
    }
    Ok(all)
}

fn walk(directory: &Path, found: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        let name = path
            .file_name()
            .and_then(|name| name.to_str())
            .unwrap_or_default();
        if name.starts_with('.') || name == "target" {
            continue;
        }
        if path.is_dir() {
            walk(&path, found)?;
        } else if name.ends_with(".rs") {
            found.push(path);
        }
    }
    Ok(())
}

fn is_test_path(path: &str) -> bool {
    let stem = path
        .rsplit('/')
        .next()
        .unwrap_or(path)
        .trim_end_matches(".rs");
    path.split('/').any(|part| part == "tests") || stem == "tests" || stem.ends_with("_tests")
}

fn module_declaration(line: &str) -> Option<&str> {
    let rest = line
        .trim_start_matches("pub(crate) ")
        .trim_start_matches("pub ");
    rest.strip_prefix("mod ")?.strip_suffix(';')
}

/// Lines of every `#[cfg(test)] mod name { … }`.
fn test_modules(code: &str) -> Vec<std::ops::Range<usize>> {
    let mut found = Vec::new();
    let mut from = 0;
    while let Some(at) = code[from..].find("#[cfg(test)]").map(|at| at + from) {
        from = at + 1;
        let Some(open) = code[at..].find(['{', ';']).map(|open| open + at) else {
            break;
        };
        if code.as_bytes().get(open) == Some(&b'{') {
            let close = matching_brace(code, open).unwrap_or(code.len());
            found.push(line_of(code, at)..line_of(code, close) + 1);
            from = close;
        }
    }
    found
}

/// The line (from 0) of an offset.
#[must_use]
pub(crate) fn line_of(text: &str, offset: usize) -> usize {
    text.as_bytes()
        .iter()
        .take(offset)
        .filter(|byte| **byte == b'\n')
        .count()
}

/// The brace that closes the one at `open`; `code` has no braces in comments or literals.
#[must_use]
pub(crate) fn matching_brace(code: &str, open: usize) -> Option<usize> {
    let mut depth = 0_usize;
    for (offset, byte) in code.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' => {
                depth = depth.saturating_sub(1);
                if depth == 0 {
                    return Some(offset);
                }
            }
            _ => {}
        }
    }
    None
}

/// Splits a text into its code and its comments, each with the rest blanked.
fn split(text: &str) -> (String, String) {
    let mut code = String::with_capacity(text.len());
    let mut comments = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let (length, kind) = piece(rest, first, code.chars().last());
        let (now, later) = rest.split_at(length);
        match kind {
            Kind::Code => {
                code.push_str(now);
                blank(now, &mut comments);
            }
            Kind::Comment => {
                blank(now, &mut code);
                comments.push_str(now);
            }
            Kind::Literal => {
                blank(now, &mut code);
                blank(now, &mut comments);
            }
        }
        rest = later;
    }
    (code, comments)
}

enum Kind {
    Code,
    Comment,
    Literal,
}

/// The length in bytes and the kind of what begins here.
fn piece(rest: &str, first: char, before: Option<char>) -> (usize, Kind) {
    let inside_word = before.is_some_and(|one| one.is_alphanumeric() || one == '_');
    if rest.starts_with("//") {
        return (rest.find('\n').unwrap_or(rest.len()), Kind::Comment);
    }
    if rest.starts_with("/*") {
        return (block_comment(rest), Kind::Comment);
    }
    if let Some(length) = raw_string(rest).filter(|_| !inside_word) {
        return (length, Kind::Literal);
    }
    match first {
        '"' => (quoted(rest, b'"'), Kind::Literal),
        '\'' if is_character(rest) => (quoted(rest, b'\''), Kind::Literal),
        _ => (first.len_utf8(), Kind::Code),
    }
}

fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        let here = rest.as_bytes().get(at..at + 2);
        match here {
            Some(b"/*") => (depth, at) = (depth + 1, at + 2),
            Some(b"*/") => {
                (depth, at) = (depth - 1, at + 2);
                if depth == 0 {
                    return at;
                }
            }
            _ => at += 1,
        }
    }
    rest.len()
}

/// `r"…"`, `r#"…"#`, `br"…"`, `cr"…"`.
fn raw_string(rest: &str) -> Option<usize> {
    let marker = ["br", "cr", "r"]
        .iter()
        .find(|marker| rest.starts_with(**marker))?;
    let after = &rest[marker.len()..];
    let hashes = after.bytes().take_while(|byte| *byte == b'#').count();
    let content = after[hashes..].strip_prefix('"')?;
    let end = format!("\"{}", "#".repeat(hashes));
    let length = content.find(&end)?;
    Some(marker.len() + hashes + 1 + length + end.len())
}

/// Tells a character from a lifetime.
fn is_character(rest: &str) -> bool {
    let mut characters = rest.chars().skip(1);
    match characters.next() {
        Some('\\') => true,
        Some(_) => characters.next() == Some('\''),
        None => false,
    }
}

fn quoted(rest: &str, quote: u8) -> usize {
    let mut escaped = false;
    for (offset, byte) in rest.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            _ if byte == quote => return offset + 1,
            _ => {}
        }
    }
    rest.len()
}

fn blank(text: &str, into: &mut String) {
    into.extend(text.chars().map(|one| if one == '\n' { '\n' } else { ' ' }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn code_comments_and_literals_are_told_apart() {
        let source = Source::parse(
            "src/a.rs",
            "fn a() { let s = \"unsafe {\"; /* CK_ { /* x */ } */ let c = '{'; } // TODO\nlet r = r#\"}\"#; fn b<'a>() {}",
        );
        assert!(!source.code.contains("unsafe"));
        assert!(!source.code.contains("CK_"));
        assert!(source.comments.contains("TODO"));
        assert!(!source.comments.contains("unsafe"));
        assert_eq!(
            source.code.matches('{').count(),
            source.code.matches('}').count()
        );
        assert!(source.code.contains("fn b<'a>"));
    }

    #[test]
    fn test_modules_are_found_in_files_and_beside_them() {
        let source = Source::parse(
            "src/a.rs",
            "fn a() {}\n#[cfg(test)]\nmod tests {\n fn b() {}\n}\nfn c() {}\n#[cfg(test)]\n#[path = \"x/y.rs\"]\nmod z;\n#[cfg(test)]\nmod rig;\nmod product;",
        );
        assert!(!source.is_test_line(0));
        assert!(source.is_test_line(3));
        assert!(!source.is_test_line(5));
        assert_eq!(
            source.test_files(),
            ["src/x/y.rs", "src/a/rig.rs", "src/a/rig/mod.rs"]
        );
        assert!(Source::parse("keymem/src/pool_tests.rs", "").is_test);
        assert!(Source::parse("tests/src/hsm.rs", "").is_test);
    }
}
