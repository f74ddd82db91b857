//! Headers and marks in comments.
//!
//! What lives here: every file begins by saying what it is; nothing is left to do without a number.
//! What must never live here: rules about code.
//! Who calls it: `tidy`.

use super::Finding;
use crate::source::Source;

/// A file must begin with a module header whose first line says something.
pub(super) fn missing(file: &Source) -> Option<Finding> {
    let first = file.text.lines().next().unwrap_or_default();
    let says_something = first
        .strip_prefix("//!")
        .is_some_and(|rest| rest.trim().len() > 2);
    (!says_something).then(|| {
        Finding::in_file(
            &file.path,
            "begins without a module header (`//!` and what the file is)",
        )
    })
}

/// A mark for later must name an issue: `TODO(#12)`.
pub(super) fn unnumbered_todos(file: &Source) -> Vec<Finding> {
    let mut findings = Vec::new();
    for (line, text) in file.comments.lines().enumerate() {
        for mark in ["TODO", "FIXME", "XXX"] {
            let numbered = format!("{mark}(#");
            if text.replace(&numbered, "").contains(mark) {
                let what = format!("{mark} without an issue number; write {mark}(#12) or do it");
                findings.push(Finding::at_line(&file.path, line, what));
            }
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_header_is_found() {
        assert!(missing(&Source::parse("src/a.rs", "use std::fmt;\n")).is_some());
        assert!(missing(&Source::parse("src/a.rs", "//!\n//! Late.\n")).is_some());
        assert!(missing(&Source::parse("src/a.rs", "")).is_some());
        assert!(missing(&Source::parse("src/a.rs", "//! Things.\n")).is_none());
    }

    #[test]
    fn a_todo_needs_a_number() {
        let bad = Source::parse("src/a.rs", "//! A.\n// TODO: later\n");
        assert_eq!(unnumbered_todos(&bad).len(), 1);
        assert_eq!(unnumbered_todos(&bad)[0].place, "src/a.rs:2");
        let good = Source::parse(
            "src/a.rs",
            "//! A.\n// TODO(#7): later\nlet a = \"TODO\";\n",
        );
        assert!(unnumbered_todos(&good).is_empty());
    }
}
