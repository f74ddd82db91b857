//! Sizes: lines of functions and files.
//!
//! What lives here: measuring.
//! What must never live here: who may be longer (settings).
//! Who calls it: `tidy`.

use std::collections::BTreeMap;

use super::settings::Settings;
use crate::source::{Source, line_of, matching_brace};

/// A function ends where a screen ends.
pub(super) const FUNCTION_LINES_MAX: usize = 70;
/// A file is read in one sitting.
pub(super) const FILE_LINES_MAX: usize = 600;

/// What is longer than it should be, by name: `path` for files, `path::function` for functions.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Sizes {
    /// Files over the limit.
    pub(super) files: BTreeMap<String, usize>,
    /// Functions over the limit.
    pub(super) functions: BTreeMap<String, usize>,
}

/// Measures product code; tests may be as long as their cases.
pub(super) fn measure(sources: &[Source], settings: &Settings) -> Sizes {
    let mut sizes = Sizes::default();
    for file in sources.iter().filter(|file| !file.is_test) {
        let lines = file.text.lines().count();
        if lines > FILE_LINES_MAX && !settings.tables.contains_key(&file.path) {
            sizes.files.insert(file.path.clone(), lines);
        }
        for (line, name, lines) in functions(&file.code) {
            if lines > FUNCTION_LINES_MAX && !file.is_test_line(line) {
                let longest = sizes
                    .functions
                    .entry(format!("{}::{name}", file.path))
                    .or_default();
                *longest = lines.max(*longest);
            }
        }
    }
    sizes
}

/// Every function with a body: its line (from 0), name, and number of lines from signature to closing brace.
fn functions(code: &str) -> Vec<(usize, &str, usize)> {
    let mut found = Vec::new();
    for (at, _) in code.match_indices("fn ") {
        let inside_word = code[..at]
            .chars()
            .next_back()
            .is_some_and(|one| one.is_alphanumeric() || one == '_');
        let rest = &code[at + 3..];
        let length = rest
            .find(|one: char| !one.is_alphanumeric() && one != '_')
            .unwrap_or(rest.len());
        if inside_word || length == 0 {
            continue;
        }
        let Some(open) = body(code, at + 3 + length) else {
            continue;
        };
        let Some(close) = matching_brace(code, open) else {
            continue;
        };
        let first = line_of(code, at);
        found.push((first, &rest[..length], line_of(code, close) - first + 1));
    }
    found
}

/// Where the body of a function begins; none for a declaration.
fn body(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (offset, byte) in code.bytes().enumerate().skip(from) {
        match byte {
            b'(' | b'[' => depth += 1,
            b')' | b']' => depth -= 1,
            b'{' if depth == 0 => return Some(offset),
            b';' if depth == 0 => return None,
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn source(path: &str, lines: usize) -> Source {
        let body = "    step();\n".repeat(lines);
        Source::parse(
            path,
            &format!("//! A.\nfn short() {{}}\nfn long(a: [u8; 4]) -> [u8; 2]\n{{\n{body}}}\n"),
        )
    }

    #[test]
    fn a_function_of_71_lines_is_found_and_one_of_70_is_not() {
        let settings = Settings::default();
        assert_eq!(
            measure(&[source("src/a.rs", 67)], &settings),
            Sizes::default()
        );
        let sizes = measure(&[source("src/a.rs", 68)], &settings);
        assert_eq!(
            sizes.functions,
            BTreeMap::from([("src/a.rs::long".to_owned(), 71)])
        );
        assert!(
            measure(&[source("tests/src/a.rs", 68)], &settings)
                .functions
                .is_empty()
        );
    }

    #[test]
    fn a_file_of_601_lines_is_found_unless_it_is_a_table() {
        let mut settings = Settings::default();
        let long = || Source::parse("src/a.rs", &format!("//! A.\n{}", "// a\n".repeat(600)));
        assert_eq!(
            measure(&[long()], &settings).files,
            BTreeMap::from([("src/a.rs".to_owned(), 601)])
        );
        settings
            .tables
            .insert("src/a.rs".to_owned(), "one row a thing".to_owned());
        assert!(measure(&[long()], &settings).files.is_empty());
    }

    #[test]
    fn declarations_and_words_that_end_in_fn_are_no_functions() {
        let code =
            "trait A { fn a(&self) -> [u8; 2]; }\nlet often = 1; type F = fn (u8);\nfn b() {\n}\n";
        assert_eq!(functions(code), [(2, "b", 2)]);
    }
}
